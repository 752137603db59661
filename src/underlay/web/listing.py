"""The list of images: what it shows of each, and what is looked up a little later, since it takes longer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..base.identify.identify import LIKELY
from ..engine.images.listing import listed
from ..errors import UnderlayError

if TYPE_CHECKING:
    from ..base.fleet.outdated import Outdated
    from ..engine.engine import Engine

ROWS = 100  # images on one page
_KEPT = 4096  # images of which is remembered what they stand on


class Row:
    """An image in the list: all its `names`, `id`, `created` (RFC 3339), `size`, `shared` and `own` bytes of its layers,
    how many `containers` use it."""

    __slots__ = ("containers", "created", "id", "names", "own", "shared", "size")

    def __init__(self, id: str, created: str, size: int) -> None:
        self.id = id
        self.created = created
        self.size = size
        self.names: list[str] = []
        self.shared = self.own = self.containers = 0


class Ground:
    """What an image stands on, in a few words: `base` ("" for nothing known), its `share` of certainty, `state` (a word for
    the colour: fine, old, ended, unknown) and why, `problem` if it could not be found out."""

    __slots__ = ("base", "id", "problem", "share", "state", "why")

    def __init__(self, id: str) -> None:
        self.id = id
        self.base = self.why = self.problem = ""
        self.share = 0.0
        self.state = "unknown"


class Listing:
    """The images of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._grounds: dict[str, Ground] = {}
        self._lock = threading.Lock()

    def rows(self, wanted: str = "") -> list[Row]:
        """Return the images with `wanted` in a name or at the beginning of the id, the newest first."""
        rows: dict[str, Row] = {}
        for each in listed(self._engine._store):
            row = rows.get(each.id)
            if row is None:
                row = rows[each.id] = Row(each.id, each.image.created, each.image.size)
            if each.repository:
                row.names.append(f"{each.repository}:{each.tag}" if each.tag else f"{each.repository}@{each.digest}")
        wanted = wanted.strip().lower()
        return [
            row
            for row in rows.values()
            if not wanted
            or any(wanted in name.lower() for name in row.names)
            or row.id.partition(":")[2].startswith(wanted)
        ]

    def measure(self, rows: list[Row]) -> None:
        """Fill in what images share and who uses them."""
        usage = self._engine.system.image_usage()
        for row in rows:
            if row.id in usage:
                known = usage[row.id]
                row.shared, row.own, row.containers = known.shared, known.unique, known.containers

    def ground(self, image_id: str) -> Ground:
        """Return what an image stands on; it is looked up once."""
        with self._lock:
            known = self._grounds.get(image_id)
        if known is None:
            known = self._found(image_id)
            with self._lock:
                if len(self._grounds) >= _KEPT:
                    self._grounds.clear()
                self._grounds[image_id] = known
        return known

    def _found(self, image_id: str) -> Ground:
        ground = Ground(image_id)
        try:
            current = self._engine.bases.outdated(image_id, offline=True)
        except UnderlayError as error:
            ground.problem = error.message
            return ground
        ground.share = current.confidence
        ground.base = current.base or ("scratch" if current.confidence >= LIKELY else "")
        ground.state, ground.why = _state(current)
        return ground


def _state(current: Outdated) -> tuple[str, str]:
    """Return the word for the colour of a base, and why."""
    ends = current.ends
    if current.life == "ended":
        return "ended", f"no fixes since {ends}" if ends else "no fixes any more"
    if current.moved:
        return "old", "its name is another build by now"
    if current.life == "near":
        return "old", f"fixes end on {ends}"
    if current.moved is not None or current.life in ("supported", "extended"):
        return "fine", f"fixes until {ends}" if ends else "nothing newer is known"
    return "unknown", "nothing is known of its age" if current.base else ""
