"""Pulls that the site has begun: images of registries, and archives, on their way into the store."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ...api.streaming.progress import own_engine
from ...engine.images import wording
from ...errors import Conflict, NotFound, UnderlayError
from . import remote

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...events import Event

RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"
_AT_ONCE = 4  # pulls
_KEPT = 100  # pulls that are remembered
_OVER = ("layer.done", "layer.exists")


class LayerProgress:
    """A layer on its way: its `digest`, `words` for what happens to it, and how many of `total` bytes have come (`done`);
    `total` is 0 where it is not known."""

    __slots__ = ("digest", "done", "total", "words")

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.words = ""
        self.done = self.total = 0


class Pull:
    """One pull: its `number`, the `name` and `platform` that were asked for ("" for this host's), and how far it is.

    `state` is RUNNING, DONE (`image_id` is here then), FAILED (for the reason `problem`, with a `hint`) or STOPPED (the
    user does not want it any more). `note` is what a registry makes wait for. It takes the events of the pull, from several
    threads.
    """

    def __init__(self, number: int, name: str, platform: str) -> None:
        self.number = number
        self.name = name
        self.platform = platform
        self.state = RUNNING
        self.image_id = self.problem = self.hint = self.note = ""
        self._layers: dict[str, LayerProgress] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take in what an event says. Raises Conflict in a pull that was stopped, which ends it."""
        if self.state == STOPPED:
            raise Conflict(f"the pull of {self.name} was stopped")
        if event.kind.startswith("registry."):
            self.note = f"{event.subject}: {event.attributes.get('reason', '')}"
        elif event.kind.startswith("layer.") and event.kind in wording.LAYER:
            with self._lock:
                layer = self._layers.setdefault(event.subject, LayerProgress(event.subject))
            layer.total = int(str(event.attributes.get("total") or 0)) or layer.total
            layer.done = layer.total if event.kind in _OVER else int(str(event.attributes.get("done") or layer.done))
            layer.words = wording.LAYER[event.kind]

    @property
    def layers(self) -> list[LayerProgress]:
        """The layers that are known so far."""
        with self._lock:
            return list(self._layers.values())

    def stop(self) -> None:
        """Stop a pull that is running: its thread ends with its next event, and what it has begun to store is removed."""
        with self._lock:
            if self.state == RUNNING:
                self.state = STOPPED

    def _end(self, state: str, problem: str = "", hint: str = "") -> None:
        with self._lock:
            if self.state == RUNNING:
                self.problem, self.hint, self.state = problem, hint, state

    def run(self, shared: Engine) -> None:
        """Do the work, in an engine of its own on the installation of the shared one. Raises nothing."""
        try:
            with own_engine(shared, self) as engine:
                if remote.is_archive(self.name):
                    self.image_id = engine.images.load(remote.path_of(self.name), self.platform or ())[0].id
                else:
                    self.image_id = engine.images.pull(self.name, self.platform or ()).id
            self._end(DONE)
        except UnderlayError as error:
            self._end(FAILED, error.message, error.hint)
        except BaseException as error:  # whatever it is, the page must tell that the pull has ended
            self._end(FAILED, f"the pull of {self.name} failed: {error!r}")


class Pulls:
    """The pulls of the site, the last ones remembered. Several threads may use it."""

    def __init__(self, engine: Engine, at_once: int = _AT_ONCE) -> None:
        self._engine = engine
        self._at_once = at_once
        self._pulls: dict[int, Pull] = {}
        self._last = 0
        self._lock = threading.Lock()

    def begin(self, name: str, platform: str = "") -> Pull:
        """Begin to pull an image, in a thread; return the pull, or the one of the same image that is under way.

        `name` is as `remote.normal` returns it. Raises Conflict when as many as may be are under way.
        """
        with self._lock:
            running = [pull for pull in self._pulls.values() if pull.state == RUNNING]
            for pull in running:
                if (pull.name, pull.platform) == (name, platform):
                    return pull
            if len(running) >= self._at_once:
                raise Conflict(
                    f"cannot pull {name}: {len(running)} other pulls are running", "try again when one has ended"
                )
            self._last += 1
            pull = self._pulls[self._last] = Pull(self._last, name, platform)
            for old in [one for one in self._pulls.values() if one.state != RUNNING][
                : max(0, len(self._pulls) - _KEPT)
            ]:
                del self._pulls[old.number]
        threading.Thread(target=pull.run, args=(self._engine,), daemon=True).start()
        return pull

    def get(self, number: int) -> Pull:
        """Return a pull by its number. Raises NotFound for an unknown number and for a pull that has been forgotten."""
        with self._lock:
            if number not in self._pulls:
                raise NotFound(f"pull {number} is not remembered", "the images that are here are under Images")
            return self._pulls[number]

    def all(self) -> list[Pull]:
        """Return the pulls that are remembered, the newest first."""
        with self._lock:
            return list(self._pulls.values())[::-1]
