"""Updates of an installation's index from registries: what they cost beforehand, only what has changed, resumable."""

from __future__ import annotations

import os
import time

import msgspec

from ...errors import NotFound, RateLimited, UnderlayError, Unreachable
from ...events import Event
from ...files import write_atomic
from ...human import duration
from ...oci import platform as platforms
from ...oci import reference as references
from ..identify.identify import directory
from ..identify.marks import spelling
from . import learn
from .learn import Index, Learned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...store.store import Store

_FILE = "/updates.json"
_PACE = 0.05  # seconds that a question takes, before any was asked
_AT_ONCE = 8  # questions
_BATCH = 64
_BETWEEN_SAVES = 20.0  # seconds of work that may be lost
_GOES_ON = 7 * 86_400  # seconds: an older run that was interrupted is begun anew
# Of what a registry allows, this share is left for other work.
_LEFT = 0.1


class Plan(msgspec.Struct, frozen=True):
    """What an update will ask: of how many `repositories` and `tags` (as far as known beforehand), for how many `seconds`
    if nothing has changed; each new build costs two or three more questions. `goes_on`: an interrupted one is continued."""

    repositories: int
    tags: int
    seconds: float
    goes_on: bool


class _Head(msgspec.Struct, array_like=True):
    """What a tag was found to point at: the digest, the platform that was read ("" for all), when (seconds)."""

    digest: str
    platform: str
    seen: float


class _State(msgspec.Struct):
    """What is kept between updates: tags by name, the run that is not finished, seconds that a question takes."""

    heads: dict[str, _Head] = {}
    started: float = 0.0
    names: list[str] = []
    platform: str = ""
    pace: float = _PACE


def plan(store: Store, names: Sequence[str] = (), platform: str = "") -> Plan:
    """Return what an update of these names (default: all of the index, and the official library) will ask."""
    state = _read(store)
    wanted = list(names) or _defaults(store)
    goes_on = _same_run(state, wanted, _only(platform))
    since = state.started if goes_on else time.time()
    known = {name for name, head in state.heads.items() if head.seen >= since}
    tags = 0
    for name in wanted:
        repository = references.parse(name).familiar_repository
        if ":" in name.rpartition("/")[2]:
            tags += name not in known
            continue
        official = spelling.official().repositories.get(repository, [])
        listed = {f"{repository}:{tag}" for variant in official for tag in variant}
        listed |= {each for each in state.heads if each.rpartition(":")[0] == repository}
        tags += len(listed - known)
    return Plan(len({references.parse(name).repository for name in wanted}), tags, tags * state.pace, goes_on)


def update(store: Store, names: Sequence[str] = (), platform: str = "", today: str = "") -> Learned:
    """Ask registries for the images of these names, by default of all in the index and of the official library.

    A tag is asked what it points at (HEAD); manifests and configurations are read where that is new. `platform` is the only
    one that is read (default: all). What was read is saved every few seconds, and a run that was interrupted goes on. When
    a registry allows no more for now, its repositories are left for another run, which the problems say. Raises NotFound
    for a repository, if no other was asked for.
    """
    from ...registry.registries import Registries

    wanted, only = list(names) or _defaults(store), _only(platform)
    with Registries(store.emit) as registries, Index(store) as index:
        run = _Run(store, registries, index, _read(store), only, today)
        try:
            return run.all(wanted)
        except KeyboardInterrupt:
            run.save()
            raise


class _Run:
    """One update, or the rest of one that was interrupted."""

    def __init__(
        self, store: Store, registries: Registries, index: Index, state: _State, only: str, today: str
    ) -> None:
        self._store, self._registries, self._index, self._state, self._only = store, registries, index, state, only
        self._day = today or time.strftime("%Y-%m-%d", time.gmtime())
        self._problems: list[str] = []
        self._tags = 0
        self._asked = 0
        self._saved = time.monotonic()

    def all(self, wanted: list[str]) -> Learned:
        """Ask for all names. Each registry that allows no more is left."""
        state = self._state
        if not _same_run(state, wanted, self._only):
            state.started, state.names, state.platform = time.time(), wanted, self._only
        begun = time.monotonic()
        left: dict[str, list[str]] = {}
        reasons: dict[str, str] = {}
        for name in wanted:
            domain = references.parse(name).domain
            if domain in left:
                left[domain].append(name)
                continue
            try:
                self._one(name)
            except RateLimited as error:
                left[domain] = [name]
                until = f" for {duration(error.wait)}" if error.wait else " for now"
                reasons[domain] = f"{domain} allows no more{until}"
            except Unreachable as error:
                if len(wanted) == 1:
                    self.save()
                    raise
                left[domain] = [name]
                reasons[domain] = f"{domain} cannot be reached ({error.message})"
            except UnderlayError as error:
                if len(wanted) == 1:
                    self.save()
                    raise
                self._problems.append(f"{name}: {error.message}")
        if self._asked:
            state.pace = round((time.monotonic() - begun) / self._asked, 4)
        for domain, names in left.items():
            what = f"{len(names)} of {len(wanted)} repositories or tags are left"
            self._problems.append(f"{reasons[domain]}: {what}; the same command goes on with them")
        if not left:
            state.started, state.names = 0.0, []
        self.save()
        return self._index.learned(self._tags, self._problems)

    def _one(self, name: str) -> None:
        """Ask for one repository or tag; tags that this run has asked for already are passed over."""
        from concurrent.futures import ThreadPoolExecutor

        found = learn.wanted_references(self._registries, name)
        self._tags += len(found)
        waiting = [reference for reference in found if not self._is_done(reference)]
        if not waiting:
            return
        repository = self._registries.repository(waiting[0])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(waiting), _BATCH):
                some = waiting[start : start + _BATCH]
                heads = [pool.submit(repository.head, reference.tag) for reference in some]
                for reference, head in zip(some, heads, strict=True):
                    self._store.emit(Event("bases.look", reference.familiar))
                    try:
                        self._tag(repository, reference, head.result())
                    except (RateLimited, Unreachable):
                        raise
                    except UnderlayError as error:
                        self._problems.append(f"{reference.familiar}: {error.message}")
                if time.monotonic() - self._saved > _BETWEEN_SAVES:
                    self.save()

    def _is_done(self, reference: Reference) -> bool:
        head = self._state.heads.get(reference.familiar)
        return head is not None and head.seen >= self._state.started and head.platform in ("", self._only)

    def _tag(self, repository: Repository, reference: Reference, found: tuple[str, int, str] | None) -> None:
        """Take what a tag points at (see `Repository.head`), and read it if that is new."""
        self._asked += 1
        if found is None:
            raise NotFound(f"{reference.familiar} not found")
        digest, name = found[0], reference.familiar
        head = self._state.heads.get(name)
        same = head is not None and digest and head.digest == digest and head.platform in ("", self._only)
        records = self._index.of_tag(digest) if same else []
        if not records:
            _leave_some(repository)
            records = list(learn.builds_of(repository, reference, self._index, self._only))
        for record in records:
            self._index.point(reference.familiar_repository, reference.tag, record, self._day)
        if digest:
            read = head.platform if same and head is not None else self._only
            self._state.heads[name] = _Head(digest, read, time.time())

    def save(self) -> None:
        """Keep what was read so far."""
        self._index.save()
        write_atomic(directory(self._store) + _FILE, msgspec.json.encode(self._state))
        self._saved = time.monotonic()


def _leave_some(repository: Repository) -> None:
    """Raise RateLimited when a registry has told that little is left of what it allows."""
    allowed = repository.allowance
    if allowed is not None and allowed.left <= allowed.limit * _LEFT:
        limited = RateLimited(f"{repository.domain} allows {allowed.limit} manifests, of which {allowed.left} are left")
        limited.wait = float(allowed.window)
        raise limited


def _defaults(store: Store) -> list[str]:
    """Return the names of an installation's index, and the repositories of the official library, which are read whole."""
    official = spelling.repositories()
    own = [name for name, *_ in learn.names(store) if name.rpartition(":")[0] not in official]
    return [*own, *sorted(official)]


def _only(platform: str) -> str:
    return str(platforms.parse(platform)) if platform else ""


def _same_run(state: _State, names: list[str], only: str) -> bool:
    recent = time.time() - state.started < _GOES_ON
    return bool(state.started) and recent and state.names == names and state.platform == only


def _read(store: Store) -> _State:
    """Return what earlier updates have kept; nothing where that cannot be read."""
    path = directory(store) + _FILE
    if not os.path.exists(path):
        return _State()
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=_State)
    except (OSError, msgspec.MsgspecError):
        return _State()
