"""The list of images: what is shown of each at once, and its base, which takes longer to find."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..base.identify.identify import LIKELY
from ..engine.images.listing import listed
from ..errors import UnderlayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..base.fleet.outdated import Outdated
    from ..engine.engine import Engine

ROWS = 100  # images on one page
_KEPT = 4096  # images whose bases are remembered


class Row:
    """An image in the list.

    `names` are all its names, `created` is RFC 3339 text, `size` the bytes of its layers, of which `shared` are in other
    images too and `own` in this one alone; `containers` is the number of those that were made from it.
    """

    __slots__ = ("containers", "created", "id", "names", "own", "shared", "size")

    def __init__(self, id: str, created: str, size: int) -> None:
        self.id = id
        self.created = created
        self.size = size
        self.names: list[str] = []
        self.shared = self.own = self.containers = 0


class BaseSummary:
    """The base of an image in a few words.

    `base` is its name ("" if it is not known), `confidence` the probability that this is right. `state` is fine, old, ended
    or unknown, and `reason` says why. `problem` is the error, if the base could not be looked for.
    """

    __slots__ = ("base", "confidence", "id", "problem", "reason", "state")

    def __init__(self, id: str) -> None:
        self.id = id
        self.base = self.reason = self.problem = ""
        self.confidence = 0.0
        self.state = "unknown"


class Listing:
    """The images of an engine; it remembers their bases. Several threads may use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._bases: dict[str, BaseSummary] = {}
        self._lock = threading.Lock()

    def rows(self, wanted: str = "") -> list[Row]:
        """Return the images with `wanted` in one of their names or at the beginning of their id, the newest first."""
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

    def measure(self, rows: Iterable[Row]) -> None:
        """Fill in the bytes that images share, and the containers that were made from them."""
        usage = self._engine.system.image_usage()
        for row in rows:
            if row.id in usage:
                known = usage[row.id]
                row.shared, row.own, row.containers = known.shared, known.unique, known.containers

    def base_of(self, image_id: str) -> BaseSummary:
        """Return the base of an image; it is looked for once."""
        with self._lock:
            known = self._bases.get(image_id)
        if known is None:
            known = self._find(image_id)
            with self._lock:
                if len(self._bases) >= _KEPT:
                    self._bases.clear()
                self._bases[image_id] = known
        return known

    def _find(self, image_id: str) -> BaseSummary:
        summary = BaseSummary(image_id)
        try:
            current = self._engine.bases.outdated(image_id, offline=True)
        except UnderlayError as error:
            summary.problem = error.message
            return summary
        summary.confidence = current.confidence
        summary.base = current.base or ("scratch" if current.confidence >= LIKELY else "")
        summary.state, summary.reason = _state(current)
        return summary


def _state(current: Outdated) -> tuple[str, str]:
    """Return the state of a base, and the reason for it."""
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
