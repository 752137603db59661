"""What `run` and `create` print while their image is pulled. Nothing is imported before that happens."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..events import Event
    from .progress.transferprogress import TransferProgress


class Fetching:
    """Receives the engine's events in place of its `emit`; shows a pull on standard error unless `quiet`."""

    def __init__(self, engine: Engine, quiet: bool) -> None:
        self._engine = engine
        self._before = engine._store.emit
        self._quiet = quiet
        self._progress: TransferProgress | None = None

    def __call__(self, event: Event) -> None:
        """Take an event: `image.missing` announces a pull, `image.pull` and `image.failed` end it."""
        self._before(event)
        if self._quiet:
            return
        if event.kind == "image.missing":
            sys.stderr.write(f"Unable to find image '{event.subject}' locally\n")
        elif event.kind == "pull.start":
            from .progress.transferprogress import TransferProgress

            self._progress = TransferProgress(self._engine, "auto", sys.stderr)
            self._progress.start()
        if self._progress is not None:
            self._progress.show(event)
            if event.kind == "image.pull":
                from ..engine.images.wording import pulled
                from ..oci.reference import parse

                self._progress.say(pulled(parse(str(event.attributes["name"])), bool(event.attributes["new"])))
            if event.kind in ("image.pull", "image.failed"):
                self._progress.stop()
                self._progress = None
