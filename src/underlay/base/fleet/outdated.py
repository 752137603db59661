"""Whether an image's base is outdated: what its name points to now, what is newer, when support ends."""

from __future__ import annotations

import time

import msgspec

from ...packages import osrelease
from . import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...store.store import Store
    from ..identify.answers import Candidate
    from ..identify.identify import Identified
    from ..identify.image_source import Subject

REGISTRY, STORE, INDEX = "registry", "store", "index"


class Outdated(msgspec.Struct, frozen=True):
    """How current an image's base is: `moved` says whether its name refers to another image now (None: unknown), `now`
    is that image, and `asked` the source of this answer (registry, store, index). `life` is supported, near, extended,
    ended or unknown, `ends` the last day with fixes ("" unknown), `release` the release that this is about; `newest` the
    newest release of the same product ("" if this is the newest), `problem` why a registry could not be queried."""

    image: str
    base: str
    confidence: float
    moved: bool | None = None
    now: str = ""
    asked: str = ""
    life: str = "unknown"
    ends: str = ""
    release: str = ""
    newest: str = ""
    problem: str = ""

    @property
    def outdated(self) -> bool:
        """Whether the base should be updated: its name refers to another image, or its support has ended."""
        return self.moved is True or self.life == lifecycle.ENDED


def outdated(store: Store, subject: Subject, offline: bool, today: str = "") -> Outdated:
    """Return how current an image's base is. Raises Corrupt when an index is damaged."""
    from ..identify import identify

    files = subject.seen()
    release = osrelease.read(files) if files is not None else {}
    return of_identified(store, subject, identify.identify(store, subject), offline, release, today)


def of_identified(
    store: Store, subject: Subject, identified: Identified, offline: bool, release: dict[str, str], today: str = ""
) -> Outdated:
    """Return how current the base of an image is that has been identified; `release` is what its os-release says, {} if
    that is not known."""
    day = today or time.strftime("%Y-%m-%d", time.gmtime())
    life = life_of(release, (name for link in reversed(identified.chain) for name in link.names or (link.name,)))
    state: dict[str, Any] = {
        "life": life.state(day) if life is not None else "unknown",
        "ends": life.final if life is not None else "",
        "release": f"{life.title} {life.cycle}" if life is not None else "",
        "newest": _newest(life, day),
    }
    base = identified.base
    if base is None:
        return Outdated(subject.name, "", identified.certainty, **state)
    moved, now, asked, problem = _moved(store, subject, base, identified, offline)
    return Outdated(subject.name, base.name, identified.certainty, moved, now, asked, problem=problem, **state)


def life_of(release: dict[str, str], names: Iterable[str]) -> lifecycle.Lifecycle | None:
    """Return the life of the distribution that the image says it is (os-release), or that names of its bases say, of which
    the first that does counts."""
    life = lifecycle.of_release(release)
    if life is not None:
        return life
    for name in names:
        repository, _, tag = name.rpartition(":")
        life = lifecycle.of_name(repository, tag)
        if life is not None:
            return life
    return None


def _newest(life: lifecycle.Lifecycle | None, day: str) -> str:
    if life is None:
        return ""
    newest = lifecycle.newest(life.product, day)
    return f"{newest.title} {newest.cycle}" if newest is not None and newest.cycle != life.cycle else ""


def _moved(
    store: Store, subject: Subject, base: Candidate, identified: Identified, offline: bool
) -> tuple[bool | None, str, str, str]:
    from ..identify import identify

    if identified.certainty < identify.LIKELY:
        return None, "", "", ""  # what a guess stands for now says nothing of the image
    from . import current

    now, where, problem = current.look(store, base.name, subject.platform, offline)
    if now is None:
        return identified.outdated, "", INDEX, problem
    return _another(subject, base, now.id, now.view.diff_ids), now.id, where, problem


def _another(subject: Subject, base: Candidate, current: str, diff_ids: list[str]) -> bool | None:
    """Tell whether what the name stands for now is not what is beneath the image; None where only files or packages of
    the base are in the image, of which layers say nothing."""
    if base.config_digest is not None:
        return base.config_digest != current
    if subject.view.diff_ids[: len(diff_ids)] == diff_ids:
        return False
    return True if base.layers else None
