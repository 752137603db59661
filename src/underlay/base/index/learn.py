"""The installation's own index of known bases: filled from registries, exported, imported, pushed and pulled.

Only manifests and configurations are read, never layers. A record says what a build is made of, which tags pointed at it,
and since when; the index that is searched (`base.known`) is made of all records anew.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import zlib
from typing import Any

import msgspec

from ...errors import Corrupt, InvalidInput, LimitExceeded, NotFound, UnderlayError
from ...events import Event
from ...files import Lock, write_atomic
from ...oci import config as configs
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci import platform as platforms
from ...oci import reference as references
from ...oci.descriptor import Descriptor
from ..identify import image
from ..identify.identify import directory
from . import index_builder, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from ...registry.repository import Repository
    from ...store.store import Store

ARTIFACT = "application/vnd.underlay.bases.v1+jsonl"
_LAYER = ARTIFACT + "+gzip"
_LIMIT = 2 << 30  # bytes of records
_LINE = 4 << 20  # of one
_PUSHED_LIMIT = 1 << 28  # bytes of an artefact
_RECORDS = 2_000_000
_TAGS = 20_000


class Learned(msgspec.Struct, frozen=True):
    """The result of an addition to the index: numbers of `tags` read, of `new` builds, of tags that `moved` to another
    build, and of all builds and names now in the index; `problems` of tags that could not be read; the `digest` of the
    artefact that was taken."""

    tags: int
    new: int
    moved: int
    builds: int
    names: int
    problems: tuple[str, ...] = ()
    digest: str = ""


class Index:
    """The records of an installation, open for change; made new on disk when it is left without an error."""

    def __init__(self, store: Store) -> None:
        self._place = directory(store)
        os.makedirs(self._place, mode=0o700, exist_ok=True)
        self._lock = Lock(self._place + "/lock")
        self.records: dict[tuple[str, str], dict[str, Any]] = {}  # by repository and image id
        self._manifests: dict[str, dict[str, Any]] = {}
        self._pointed: set[tuple[str, str]] = set()  # names and platforms that point at something
        self._pointed_at: dict[str, list[dict[str, Any]]] = {}  # by digest of manifest or index
        self.new = self.moved = 0

    def __enter__(self) -> Index:
        self._lock.__enter__()
        try:
            self.records = {_key(record): record for record in _read(self._place + "/records.jsonl")}
            for record in self.records.values():
                self._manifests[record.get("manifest_digest") or ""] = record
                self._pointed.update((name, record.get("platform") or "") for name in record["tags"])
                for digest in filter(None, (record.get("index_digest"), record.get("manifest_digest"))):
                    self._pointed_at.setdefault(digest, []).append(record)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: Any) -> None:
        try:
            if kind is None:
                self.save()
                write_atomic(self._place + "/known.bases", index_builder.make(self.records.values()))
        finally:
            self._lock.__exit__(kind, value, trace)

    def save(self) -> None:
        """Write the records, from which the index that is searched is made when all is done. An index of old records is
        found again, one of none is not."""
        write_atomic(self._place + "/records.jsonl", _lines(self.records.values()))

    def point(self, repository: str, tag: str, record: dict[str, Any], day: str) -> None:
        """Take a build that a tag points at on `day` (YYYY-MM-DD)."""
        key = (repository, record["config_digest"])
        known_record = self.records.get(key)
        if known_record is None:
            self.new += 1
            known_record = self.records[key] = {
                **record,
                "ref": f"{repository}:{tag}",
                "tags": [],
                "tag_first_seen": {},
            }
            known_record["first_seen"] = day
            self._manifests[record.get("manifest_digest") or ""] = known_record
        name = f"{repository}:{tag}"
        if name not in known_record["tags"]:
            known_record["tags"].append(name)
            known_record["tag_first_seen"][tag] = day
            self.moved += (name, known_record.get("platform") or "") in self._pointed
            self._pointed.add((name, known_record.get("platform") or ""))
        known_record["last_seen"] = day

    def of_manifest(self, digest: str) -> dict[str, Any] | None:
        """Return the build of a manifest, None when it is not known."""
        return self._manifests.get(digest)

    def of_tag(self, digest: str) -> list[dict[str, Any]]:
        """Return the builds that a tag stands for which points at the manifest or index with a digest."""
        return self._pointed_at.get(digest, [])

    def merge(self, records: Iterable[dict[str, Any]]) -> int:
        """Take records of another index; returns how many builds were new."""
        before = len(self.records)
        for record in records:
            key = _key(record)
            known_record = self.records.setdefault(key, record)
            if known_record is record:
                continue
            for name in record["tags"]:
                tag = name.rpartition(":")[2]
                if name not in known_record["tags"]:
                    known_record["tags"].append(name)
                days = [
                    day for day in (known_record["tag_first_seen"].get(tag), record["tag_first_seen"].get(tag)) if day
                ]
                if days:
                    known_record["tag_first_seen"][tag] = min(days)
            known_record["first_seen"] = min(known_record["first_seen"], record["first_seen"])
            known_record["last_seen"] = max(known_record["last_seen"], record["last_seen"])
        if len(self.records) > _RECORDS:
            raise LimitExceeded(f"an index of bases holds at most {_RECORDS} builds")
        return len(self.records) - before

    def learned(self, tags: int, problems: Sequence[str] = ()) -> Learned:
        """Return what became of it."""
        names = {name for record in self.records.values() for name in record["tags"]}
        return Learned(tags, self.new, self.moved, len(self.records), len(names), tuple(problems))


def add(store: Store, names: Sequence[str], today: str = "", platform: str = "") -> Learned:
    """Take what registries say of repositories (all their tags) or single tags, for one platform or (default) for all.

    A tag that cannot be read is reported as a problem, and is no error. Raises NotFound, AccessDenied (a repository).
    """
    from ...registry.registries import Registries

    day = today or time.strftime("%Y-%m-%d", time.gmtime())
    only = str(platforms.parse(platform)) if platform else ""
    count = 0
    problems: list[str] = []
    with Registries(store.emit) as registries, Index(store) as index:
        for name in names:
            for reference in wanted_references(registries, name):
                count += 1
                store.emit(Event("bases.look", reference.familiar))
                try:
                    for record in builds_of(registries.repository(reference), reference, index, only):
                        index.point(reference.familiar_repository, reference.tag, record, day)
                except UnderlayError as error:
                    problems.append(f"{reference.familiar}: {error.message}")
        return index.learned(count, problems)


def wanted_references(registries: Registries, name: str) -> list[Reference]:
    """Return the tags of a repository, or the one that is named.

    Raises InvalidInput, LimitExceeded, and what registries raise."""
    last = name.rpartition("/")[2]
    if "@" in name:
        raise InvalidInput(
            f"{name}: a digest cannot be indexed, since the index records what tags point at",
            "name a repository, or a tag",
        )
    if ":" in last:
        return [references.parse(name)]
    repository = references.parse_exact(name)
    tags = registries.repository(repository).tags()
    if len(tags) > _TAGS:
        raise LimitExceeded(f"{name} has {len(tags)} tags, more than {_TAGS}", "name the tags that matter")
    return [references.Reference(repository.domain, repository.path, tag) for tag in tags]


def builds_of(repository: Repository, reference: Reference, index: Index, only: str = "") -> Iterator[dict[str, Any]]:
    """Yield a record for each platform that a tag offers, or for the `only` one; what is known by its manifest is not
    fetched again."""
    root = repository.manifest(reference.tag)
    value = document.decode(root.data, f"manifest {root.digest}")
    fetched_manifests: list[tuple[bytes, str, str]] = []
    if manifests.kind(value, root.media_type) == "index":
        view: manifests.Index = manifests.read_index(root.data, f"index {root.digest}").view
        for descriptor in view.manifests or []:
            if descriptor.is_attestation or descriptor.artifact_type:
                continue
            if only and _platform(descriptor) != only:
                continue
            same = index.of_manifest(descriptor.digest)
            if same is not None:
                yield same
                continue
            fetched = repository.manifest(descriptor.digest)
            fetched_manifests.append((fetched.data, fetched.digest, root.digest))
    elif (same := index.of_manifest(root.digest)) is not None:
        yield same
    else:
        fetched_manifests.append((root.data, root.digest, ""))
    for data, digest, above in fetched_manifests:
        read = manifests.read_manifest(data, f"manifest {digest}")
        manifest: manifests.Manifest = read.view
        if manifest.config.media_type and manifest.config.media_type not in mediatype.CONFIGS:
            continue
        config = repository.document(manifest.config, document.CONFIG_LIMIT, "configuration")
        yield record_of(configs.read(config, f"configuration {manifest.config.digest}").view, manifest, digest, above)


def _platform(descriptor: Descriptor) -> str:
    """Return the platform that an index states for a manifest, normalised; "" when it states none."""
    stated = descriptor.platform
    if stated is None:
        return ""
    text = "/".join(filter(None, (stated.os, stated.architecture, stated.variant)))
    try:
        return str(platforms.parse(text))
    except UnderlayError:
        return text


def record_of(config: configs.Config, manifest: manifests.Manifest, digest: str, above: str) -> dict[str, Any]:
    """Return what an index keeps of a build: the columns of the public record of official images, and diff ids."""
    layers = [(layer.digest, layer.size) for layer in manifest.layers or []]
    content = image.from_config(config, layers)
    return {
        "platform": "/".join(filter(None, (config.os, config.architecture, config.variant))),
        "manifest_digest": digest,
        "index_digest": above or None,
        "config_digest": manifest.config.digest,
        "layers": [list(pair) for pair in layers],
        "diff_ids": config.diff_ids,
        "history": [step.text for step in content.steps],
        "history_created": [step.created for step in config.history or []],
        "cmd": list(content.cmd),
        "entrypoint": list(content.entrypoint),
    }


# Moving it


def write_out(store: Store, path: str) -> int:
    """Write the records to one file; returns how many. Raises NotFound when there are none, Conflict when it is there."""
    from ...errors import Conflict

    records = list(_read(directory(store) + "/records.jsonl"))
    if not records:
        raise NotFound(
            "there is no index of this installation to export", "`underlay base index add REPOSITORY` makes one"
        )
    try:
        with open(path, "xb") as file:
            file.write(_packed(records))
    except FileExistsError:
        raise Conflict(f"{path} exists already") from None
    return len(records)


def read_in(store: Store, path: str) -> Learned:
    """Take the records of a file. Raises NotFound, Corrupt, LimitExceeded."""
    try:
        with open(path, "rb") as file:
            data = file.read(_PUSHED_LIMIT + 1)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    with Index(store) as index:
        index.new = index.merge(_unpacked(data, path))
        return index.learned(0)


def push(store: Store, name: str) -> str:
    """Push the records as an OCI artefact; returns its digest. Raises NotFound, and what registries raise."""
    from ...registry.registries import Registries
    from ...registry.upload import Target
    from ...transfer.registry.outgoing import Document

    records = list(_read(directory(store) + "/records.jsonl"))
    if not records:
        raise NotFound(
            "there is no index of this installation to push", "`underlay base index add REPOSITORY` makes one"
        )
    reference = references.parse(name)
    data, empty = _packed(records), b"{}"
    manifest = document.encode(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "artifactType": ARTIFACT,
            "config": {"mediaType": mediatype.OCI_EMPTY, "digest": digests.of(empty), "size": len(empty)},
            "layers": [{"mediaType": _LAYER, "digest": digests.of(data), "size": len(data)}],
        }
    )
    with Registries(store.emit) as registries:
        target = Target(registries, reference.domain, reference.path)
        for blob in (data, empty):
            if not target.present(digests.of(blob)):
                target.send(Document(blob, digests.of(blob)))
        digest = digests.of(manifest)
        target.put_manifest(manifest, mediatype.OCI_MANIFEST, reference.tag or digest)
    return digest


def pull(store: Store, name: str, verify: str = "") -> Learned:
    """Take the records of an OCI artefact.

    All bytes are verified by digest, the manifest's own by that of `name` where it has one; before anything is taken, its
    signature as the trust policy and `verify` demand (see `trust.Trust.read`). Raises InvalidInput when it is no index,
    Untrusted, and what registries raise.
    """
    from ...registry.registries import Registries
    from ...transfer.trust import trust

    reference = references.parse(name)
    with Registries(store.emit) as registries:
        repository = registries.repository(reference)
        fetched = repository.manifest(reference.digest or reference.tag)
        trust.verify_digest(registries, reference, fetched.digest, verify)
        value = document.decode(fetched.data, f"manifest {fetched.digest}")
        if value.get("artifactType") != ARTIFACT:
            raise InvalidInput(f"{name} is not an index of bases", "`underlay base index push` makes one")
        view: manifests.Manifest = manifests.read_manifest(fetched.data, f"manifest {fetched.digest}").view
        layers: list[Descriptor] = view.layers or []
        if len(layers) != 1:
            raise Corrupt(f"{name}: an index of bases has one layer, this has {len(layers)}")
        data = repository.document(layers[0], _PUSHED_LIMIT, "index of bases")
    with Index(store) as index:
        index.new = index.merge(_unpacked(data, name))
        return msgspec.structs.replace(index.learned(0), digest=fetched.digest)


# Records


def _key(record: dict[str, Any]) -> tuple[str, str]:
    return str(record["ref"]).rpartition(":")[0], record["config_digest"]


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


def _packed(records: Iterable[dict[str, Any]]) -> bytes:
    """The same records give the same bytes: no name and no time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
        file.write(_lines(sorted(records, key=_key)))
    return buffer.getvalue()


def _unpacked(data: bytes, what: str) -> list[dict[str, Any]]:
    if len(data) > _PUSHED_LIMIT:
        raise LimitExceeded(f"{what}: more than {_PUSHED_LIMIT} bytes")
    if not data:
        raise Corrupt(f"{what} is empty")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return list(_parsed(_bounded(file, what), what))
    except (OSError, EOFError, zlib.error) as error:
        raise Corrupt(f"{what}: not an index of bases: {error}") from None


def _bounded(file: gzip.GzipFile, what: str) -> Iterator[bytes]:
    """Yield lines; neither one of them nor all together are larger than an index has."""
    total = count = 0
    while line := file.readline(_LINE + 1):
        total, count = total + len(line), count + 1
        if len(line) > _LINE or total > _LIMIT or count > _RECORDS:
            raise LimitExceeded(f"{what}: line {count}: longer than an index of bases may be")
        yield line


def _read(path: str) -> Iterator[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            yield from _parsed(file, path)
    except FileNotFoundError:
        return


def _parsed(lines: Iterable[bytes], what: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            sound = isinstance(record["ref"], str) and isinstance(record["config_digest"], str)
            sound = sound and digests.is_digest(record["config_digest"])
            sound = sound and all(isinstance(name, str) for name in record["tags"])
            sound = sound and isinstance(record["tag_first_seen"], dict)
            record.setdefault("first_seen", "")
            record.setdefault("last_seen", record["first_seen"])
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise Corrupt(f"{what}: line {number}: {error}") from None
        if not sound or not isinstance(record["first_seen"], str) or not isinstance(record["last_seen"], str):
            raise Corrupt(f"{what}: line {number}: not a record of a build")
        yield record


def names(store: Store) -> Iterator[tuple[str, str, str, int]]:
    """Yield each name of the installation's index with the image id that it points at, since when, and how many builds it
    has pointed at."""
    builds_of_name: dict[str, list[tuple[str, str]]] = {}
    for record in _read(directory(store) + "/records.jsonl"):
        for name in record["tags"]:
            day = record["tag_first_seen"].get(name.rpartition(":")[2], record["first_seen"])
            builds_of_name.setdefault(name, []).append((day, record["config_digest"]))
    for name, builds in sorted(builds_of_name.items()):
        day, digest = max(builds)
        yield name, digest, day, len(builds)


def shipped_names() -> Iterator[tuple[str, str, str, int]]:
    """Yield each name of the index that comes with underlay, as `names` does."""
    index = known.shipped()
    for number in range(len(index.usage)):
        builds = index.builds(number)
        if builds:
            last = max(builds, key=lambda build: index.last[build])
            day = time.strftime("%Y-%m-%d", time.gmtime(index.first[last] * known.DAY))
            yield index.name(number), index.config_digest(last) or "", day, len(builds)
