"""What the workers of a scan do: they look at names, fetch documents, and read layers.

A worker may be a process of this machine or of another one. Tasks and what they return are plain values, and no credential
is in them: a worker asks registries with its own user's.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from ...errors import InvalidInput, UnderlayError
from ...oci import config as configs
from ...oci import platform as platforms
from ...oci import reference as references
from ...oci.descriptor import Descriptor
from ...paths import Paths, default_paths
from ...registry.registries import Registries
from ...store import layers as stored
from ...store.rootfs.imagefiles import stored_layer
from ...store.store import Store
from ...transfer import passing
from ...transfer.choose import choose
from ...transfer.registry.remote import InRegistry
from ...version import __version__
from . import facts
from .database import ImageFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...registry.repository import Repository

_DIGITS = frozenset("0123456789")


class Place(NamedTuple):
    """Where a worker finds an installation: its directories, "" for those that its user has on its machine; and of which
    version it has to be."""

    root: str
    state: str
    version: str = __version__

    def store(self) -> Store:
        """Return the store, unopened. Raises InvalidInput if this is another version of underlay."""
        if self.version != __version__:
            raise InvalidInput(
                f"a worker has underlay {__version__}, the scan {self.version}", "install the same version everywhere"
            )
        return Store(Paths(self.root, self.state) if self.root else default_paths())


class Looking(NamedTuple):
    """A repository to be looked at: its `tags` (names or digests), None for those of all that match a pattern of `chosen`,
    of these the `newest` if it is not 0."""

    place: Place
    repository: str
    tags: tuple[str, ...] | None
    chosen: tuple[str, ...]
    newest: int


class Looked(NamedTuple):
    """What was seen of a name: a `problem`, or its tag or digest, the digest that it stands for ("" if the registry does
    not tell it without the manifest), and the media type of that."""

    name: str
    problem: str = ""
    tag: str = ""
    root: str = ""
    media_type: str = ""


def look(task: Looking) -> list[Looked]:
    """Look at the names of a repository; what cannot be seen is a problem of its name."""
    store = task.place.store()
    with Registries(store.emit, credentials=store.credentials) as registries:
        reference = references.parse(task.repository)
        repository = registries.repository(reference)
        try:
            tags = task.tags if task.tags is not None else _chosen(repository.tags(), task.chosen, task.newest)
        except UnderlayError as error:
            return [Looked(reference.familiar_repository, error.message)]
        return [_looked(repository, reference.familiar_repository, tag) for tag in tags]


def _looked(repository: Repository, familiar: str, tag: str) -> Looked:
    if ":" in tag:
        return Looked(f"{familiar}@{tag}", "", tag, tag)
    name = f"{familiar}:{tag}"
    try:
        head = repository.head(tag)
    except UnderlayError as error:
        return Looked(name, error.message)
    if head is None:
        return Looked(name, f"there is no {name} in its registry")
    digest, _, media_type = head
    return Looked(name, "", tag, digest, media_type)


def _chosen(tags: Iterable[str], patterns: Sequence[str], newest: int) -> list[str]:
    """Return the tags that match a pattern, the newest first as far as their numbers tell."""
    found = [tag for tag in tags if not patterns or any(fnmatchcase(tag, pattern) for pattern in patterns)]
    found.sort(key=_age, reverse=True)
    return found[:newest] if newest else found


def _age(tag: str) -> tuple[bool, list[tuple[int, str]]]:
    """Return what sorts a tag among others: `latest` above all, numbers as numbers, 1.2-rc1 below 1.2, that below 1.2.1."""
    parts: list[tuple[int, str]] = []
    number = ""
    text = tag.removeprefix("v")
    for letter, after in zip(text, [*text[1:], ""], strict=True):
        if letter in _DIGITS:
            number += letter
            if after not in _DIGITS or not after:
                parts.append((int(number), ""))
                number = ""
        elif letter != "." or after not in _DIGITS:
            parts.append((-2, letter))
    return tag == references.DEFAULT_TAG, [*parts, (-1, "")]


class Fetching(NamedTuple):
    """Names of a repository whose documents are wanted, for a `platform`; `known` are documents by digest that need not be
    fetched."""

    place: Place
    repository: str
    platform: str
    names: tuple[Looked, ...]
    known: dict[str, bytes]


class Fetched(NamedTuple):
    """What a name stands for: a `problem`, or the digest of its manifest or index, the image, and the documents that led to
    it, by digest."""

    name: str
    problem: str = ""
    root: str = ""
    image: ImageFacts | None = None
    documents: tuple[tuple[str, bytes], ...] = ()


def fetch(task: Fetching) -> list[Fetched]:
    """Fetch manifests and configurations; what cannot be had is a problem of its name."""
    store = task.place.store()
    seen = dict(task.known)
    done = []
    with Registries(store.emit, credentials=store.credentials) as registries:
        repository = registries.repository(references.parse(task.repository))
        for each in task.names:
            try:
                done.append(_fetched(repository, each, task.platform, seen))
                seen.update(done[-1].documents)
            except UnderlayError as error:
                done.append(Fetched(each.name, error.message))
    return done


def _fetched(repository: Repository, looked: Looked, platform: str, known: dict[str, bytes]) -> Fetched:
    source = InRegistry(repository, looked.name, known.get)
    there = known.get(looked.root)
    if there is not None:
        source.documents[looked.root] = there
        root = Descriptor(digest=looked.root, size=len(there), media_type=looked.media_type or None)
    else:
        root = source.root(looked.root or looked.tag)
    found = choose(source, [root], [platforms.parse(platform)] if platform else [])[0]
    layers = found.manifest.view.layers or []
    view: configs.Config = found.config.view
    triples = tuple((diff_id, each.digest, each.size) for diff_id, each in zip(view.diff_ids, layers, strict=True))
    image = ImageFacts(found.manifest.digest, found.config.digest, str(found.platform), triples)
    documents = {**source.documents, found.config.digest: found.config.data}
    return Fetched(looked.name, "", root.digest, image, tuple(documents.items()))


class Reading(NamedTuple):
    """Layers of a repository to be read: the diff id of each, and its descriptor in a manifest."""

    place: Place
    repository: str
    layers: tuple[tuple[str, Descriptor], ...]


class Read(NamedTuple):
    """The packed facts of a layer, whether they tell anything, the `fetched` bytes (0: it was in the store); or a
    `problem`."""

    diff_id: str
    facts: bytes = b""
    tells: bool = False
    fetched: int = 0
    problem: str = ""


def read(task: Reading) -> list[Read]:
    """Read layers: those with a table of contents by ranges, others to their end; none is kept."""
    store = task.place.store()
    done = []
    with Registries(store.emit, credentials=store.credentials) as registries:
        repository = registries.repository(references.parse(task.repository))
        for diff_id, descriptor in task.layers:
            try:
                done.append(_read(store, repository, diff_id, descriptor))
            except UnderlayError as error:
                done.append(Read(diff_id, problem=error.message))
    return done


def _read(store: Store, repository: Repository, diff_id: str, descriptor: Descriptor) -> Read:
    if stored.exists(store.paths, diff_id):
        found = facts.of_layer(store.paths, stored_layer(store.paths, diff_id))
        return Read(diff_id, found.pack(), found.tells)
    with passing.layer(store, repository, descriptor, diff_id, passing.Wanted(keep=facts.wanted)) as layer:
        found = facts.of_layer(store.paths, layer)
    return Read(diff_id, found.pack(), found.tells, descriptor.size)
