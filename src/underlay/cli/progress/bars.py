"""Moving bars on a terminal, with rich where it can be imported; where they are not wanted, or cannot be had, none."""

from __future__ import annotations

import os

from ... import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO


def wanted(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that may be drawn on: not with NO_COLOR, colour = never, TERM=dumb."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    colour = settings.value("colour")
    return colour == "always" or (colour == "auto" and not os.environ.get("NO_COLOR"))


class Bars:
    """A bar for each piece of work. Raises ImportError without rich; texts come below the bars when these have ended."""

    def __init__(self, stream: TextIO, transient: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TextColumn, TransferSpeedColumn
        from rich.text import Text

        class Size(DownloadColumn):
            """How much there is of what; nothing where there is nothing to count."""

            def render(self, task: Any) -> Text:
                """Return the text of one bar."""
                return super().render(task) if task.fields.get("counted") else Text()

        class Speed(ProgressColumn):
            """The rate, once it is known, and while something comes."""

            _speed = TransferSpeedColumn()

            def render(self, task: Any) -> Text:
                """Return the text of one bar."""
                known = task.fields.get("counted") and not task.finished and task.speed
                return self._speed.render(task) if known else Text()

        self._stream = stream
        self._tasks: dict[str, Any] = {}
        self._later: list[str] = []
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), Size(), Speed())
        self._progress = Progress(*columns, console=Console(file=stream), transient=transient)
        self._progress.start()

    def show(self, subject: str, text: str, done: int, total: int, ended: bool) -> None:
        """Set the bar of `subject` to `done` of `total` bytes, 0 for an unknown number, under `text`."""
        if subject not in self._tasks:
            self._tasks[subject] = self._progress.add_task(text, total=total or None, counted=False)
        task = self._tasks[subject]
        if ended:
            full = total or 1  # an end without a number is a full bar
            self._progress.update(task, description=text, total=full, completed=full, counted=bool(total))
        else:
            self._progress.update(task, description=text, completed=done, total=total or None, counted=bool(done))

    def say(self, text: str) -> None:
        """Write a line: at once as long as there is no bar, else below them."""
        if self._tasks:
            self._later.append(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the bars as they are, and write what has been said since."""
        self._progress.stop()
        self._stream.write("".join(f"{text}\n" for text in self._later))
        self._stream.flush()
        self._later.clear()
