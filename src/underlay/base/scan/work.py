"""What the workers of a scan do: they look up names, read layers, and identify the bases of images.

Tasks and what they return are plain values. No credential is in them: a worker asks registries with its own user's.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from ...errors import NotFound, UnderlayError
from ...oci import config as configs
from ...oci import manifest as manifests
from ...oci import platform as platforms
from ...oci import reference as references
from ...oci.descriptor import Descriptor
from ...paths import Paths
from ...registry.registries import Registries
from ...store import layers as stored
from ...store.rootfs.imagefiles import stored_layer
from ...store.store import Store
from ...transfer import passing
from ...transfer.choose import choose
from ...transfer.registry.remote import InRegistry
from . import facts
from .database import ImageFacts, ScanFile, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...packages.installed import Inventory
    from ...registry.repository import Repository
    from ..index.known import Known

_DIGITS = frozenset("0123456789")


class Place(NamedTuple):
    """Where a worker finds an installation (its directories) and the file of the scan."""

    root: str
    state: str
    scan: str

    def store(self) -> Store:
        """Return the store, unopened."""
        return Store(Paths(self.root, self.state))


class Looking(NamedTuple):
    """A repository to be looked at: its `tags` (names or digests), None for those of all that match a pattern of `chosen`,
    of these the `newest` if it is not 0. `roots` are the digests that names stood for in the scan before, by name."""

    place: Place
    repository: str
    tags: tuple[str, ...] | None
    chosen: tuple[str, ...]
    newest: int
    platform: str
    roots: dict[str, str]


class Looked(NamedTuple):
    """What was seen of a name: a `problem`, or the digest that it stands for, with the image unless that is as before, and
    the documents that led to it, by digest."""

    name: str
    problem: str = ""
    root: str = ""
    image: ImageFacts | None = None
    documents: tuple[tuple[str, bytes], ...] = ()


def look(task: Looking) -> list[Looked]:
    """Look at the names of a repository; what cannot be seen is a problem of its name."""
    store = task.place.store()
    with Registries(store.emit, credentials=store.credentials) as registries, ScanFile(task.place.scan) as scan:
        reference = references.parse(task.repository)
        repository = registries.repository(reference)
        try:
            tags = task.tags if task.tags is not None else _chosen(repository.tags(), task.chosen, task.newest)
        except UnderlayError as error:
            return [Looked(reference.familiar_repository, error.message)]
        seen: dict[str, bytes] = {}  # by tags before

        def known(digest: str) -> bytes | None:
            return seen.get(digest) or scan.document(digest)

        done = []
        for tag in tags:
            done.append(_looked(task, known, repository, reference.familiar_repository, tag))
            seen.update(done[-1].documents)
        return done


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


def _looked(
    task: Looking, known: Callable[[str], bytes | None], repository: Repository, familiar: str, tag: str
) -> Looked:
    name = f"{familiar}@{tag}" if ":" in tag else f"{familiar}:{tag}"
    before = task.roots.get(name, "")
    try:
        digest, media_type = tag if ":" in tag else "", ""
        if digest and digest == before:
            return Looked(name, root=digest)
        if not digest:
            head = repository.head(tag)
            if head is None:
                raise NotFound(f"there is no {name} in its registry")
            digest, _, media_type = head
            if digest and digest == before:
                return Looked(name, root=digest)
        source = InRegistry(repository, name, known)
        there = known(digest) if digest else None
        if there is not None:
            source.documents[digest] = there
            root = Descriptor(digest=digest, size=len(there), media_type=media_type or None)
        else:
            root = source.root(tag)
        wanted = [platforms.parse(task.platform)] if task.platform else []
        found = choose(source, [root], wanted)[0]
        layers = found.manifest.view.layers or []
        view: configs.Config = found.config.view
        triples = tuple((diff_id, each.digest, each.size) for diff_id, each in zip(view.diff_ids, layers, strict=True))
        image = ImageFacts(found.manifest.digest, found.config.digest, str(found.platform), triples)
        documents = {**source.documents, found.config.digest: found.config.data}
        return Looked(name, "", root.digest, image, tuple(documents.items()))
    except UnderlayError as error:
        return Looked(name, error.message)


class Reading(NamedTuple):
    """Layers of a repository to be read: the diff id of each, the digest of a manifest that has it, its place in that."""

    place: Place
    repository: str
    layers: tuple[tuple[str, str, int], ...]


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
    with Registries(store.emit, credentials=store.credentials) as registries, ScanFile(task.place.scan) as scan:
        repository = registries.repository(references.parse(task.repository))
        for diff_id, manifest, position in task.layers:
            try:
                data = scan.document(manifest)
                if data is None:
                    raise NotFound(f"the scan has no manifest {manifest}")
                view: manifests.Manifest = manifests.read_manifest(data, f"manifest {manifest}").view
                done.append(_read(store, repository, diff_id, (view.layers or [])[position]))
            except (UnderlayError, IndexError) as error:
                done.append(Read(diff_id, problem=getattr(error, "message", "") or str(error)))
    return done


def _read(store: Store, repository: Repository, diff_id: str, descriptor: Descriptor) -> Read:
    if stored.exists(store.paths, diff_id):
        found = facts.of_layer(store.paths, stored_layer(store.paths, diff_id))
        return Read(diff_id, found.pack(), found.tells)
    with passing.layer(store, repository, descriptor, diff_id, passing.Wanted(keep=facts.wanted)) as layer:
        found = facts.of_layer(store.paths, layer)
    return Read(diff_id, found.pack(), found.tells, descriptor.size)


class Settling(NamedTuple):
    """Images of which is to be told what they stand on and what is installed: the number of each, a name, the digests of
    its manifest and configuration, and its layers' diff ids, each with whether it tells anything."""

    place: Place
    images: tuple[tuple[int, str, str, str, tuple[tuple[str, bool], ...]], ...]


class Settled(NamedTuple):
    """What an image stands on (`standing`: JSON of a `policy.Standing`), the key of what is installed in it, and of that in
    its base ("" if that is not known); or a `problem`."""

    image: int
    base: str = ""
    standing: str = ""
    inventory: str = ""
    below: str = ""
    problem: str = ""


def settle(task: Settling) -> tuple[list[Settled], dict[str, Inventory]]:
    """Tell what images stand on; returns inventories that are not in the scan, too, by their keys."""
    from ..identify import identify

    store = task.place.store()
    made: dict[str, Inventory] = {}
    done = []
    with ScanFile(task.place.scan) as scan:
        unpacked = functools.cache(lambda diff_id: facts.unpack(scan.facts(diff_id) or b""))

        def installed(layers: Sequence[tuple[str, bool]]) -> tuple[str, Inventory]:
            telling = [diff_id for diff_id, tells in layers if tells]
            key = key_of(telling)
            if key in made:
                return key, made[key]
            number = scan.inventory_id(key)
            if number:
                return key, scan.inventory(number)
            made[key] = facts.inventory(store.paths, [unpacked(diff_id) for diff_id in telling])
            return key, made[key]

        indexes = identify.indexes(store)
        for number, name, manifest, config, layers in task.images:
            try:
                done.append(_settled(store, scan, number, name, manifest, config, layers, installed, indexes))
            except UnderlayError as error:
                done.append(Settled(number, problem=error.message))
    store.close()
    return done, made


def _settled(
    store: Store,
    scan: ScanFile,
    number: int,
    name: str,
    manifest: str,
    config: str,
    layers: Sequence[tuple[str, bool]],
    installed: Callable[[Sequence[tuple[str, bool]]], tuple[str, Inventory]],
    indexes: list[Known],
) -> Settled:
    from ..fleet import fleet, outdated
    from ..identify import identify, image_source

    data, text = scan.document(manifest), scan.document(config)
    if data is None or text is None:
        raise NotFound(f"the file of the scan lacks the manifest or the configuration of {name}")
    read_manifest = manifests.read_manifest(data, f"manifest {manifest}")
    read_config = configs.read(text, f"configuration {config}")
    subject = image_source.Subject(store, name, image_source.REGISTRY, read_config, read_manifest)
    identified = identify.identify(store, subject, among=indexes)
    key, inventory = installed(layers)
    age = outdated.of_identified(store, subject, identified, offline=True, release=inventory.release)
    standing = fleet.of_identified(subject, identified, age, inventory.release)
    below = ""
    if identified.base is not None and identified.base.layers:
        below, _ = installed(layers[: identified.base.layers])
    return Settled(number, standing.base, msgspec.json.encode(standing).decode(), key, below)
