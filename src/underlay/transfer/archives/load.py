"""Loading image archives: docker's of every age, OCI layouts in a directory or a tar, skopeo's `dir:`; several images
in one.

Nothing is unpacked: documents are checked and kept as they are, layers are verified and taken into the store,
and then one transaction an image makes it visible with its names.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

import msgspec

from ...errors import Conflict, Corrupt, DigestMismatch, InvalidInput, LimitExceeded, NotFound, Unsupported
from ...events import Event
from ...oci import annotations as keys
from ...oci import config as configs
from ...oci import digest, document, platform, reference
from ...oci import manifest as manifests
from ...store import gc, leases
from ...store.layers import codec
from ..arrivals import Arrivals, Wanted
from ..attached import provenance
from ..choose import Candidate, InArchive, blob_name, choose
from ..recording import record
from . import legacy
from .bag import Directory, Stream, TarFile, require
from .outertar import PIECE, clean, shown
from .plaindir import InPlain, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...paths import Paths
    from ...store.rows.meta import Meta
    from ..choose import Documents
    from .bag import Bag, Content

_IMAGES_LIMIT = 10_000
_NAMES_LIMIT = 1000  # of one image


class Loaded:
    """An image that has been loaded: `id`, its `names` as docker shows them, and `moved`: (name, id of the
    image that had it before)."""

    __slots__ = ("id", "moved", "names")

    def __init__(self, image_id: str, names: list[str], moved: list[tuple[str, str]]) -> None:
        self.id = image_id
        self.names = names
        self.moved = moved


class _Item(msgspec.Struct, rename="pascal"):
    """An entry of docker's manifest.json."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class _Layout(msgspec.Struct, rename="camel"):
    image_layout_version: str


class _Job:
    """What one target of an archive becomes: images, the digest that the names stand for, and the names."""

    def __init__(self, target: str, images_: list[tuple[Candidate, list[Wanted]]], names: list[Reference]) -> None:
        self.target = target
        self.images = images_
        self.names = names


def load(
    paths: Paths,
    meta: Meta,
    source: str | int,
    emit: Emit,
    form: str,
    platforms: Sequence[Platform] = (),
    keep_compressed: bool = False,
) -> list[Loaded]:
    """Load all images of an archive: `source` is the path of a file or directory, or a descriptor to read
    from.

    `form` is the storage format of layers (see `store.rootfs`). `platforms` selects from indexes (default: the
    host's). `keep_compressed` keeps the layers' compressed bytes, so that they can be saved unchanged.
    Raises NotFound, InvalidInput, Corrupt, DigestMismatch, LimitExceeded, each naming the part and the
    place; an image that fails to load leaves nothing in the store.
    """
    with leases.working(paths):
        arrivals = Arrivals(paths, meta, emit, keep_compressed)
        fd = -1
        if isinstance(source, str):
            try:
                fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound(f"open {source}: no such file or directory") from None
        try:
            bag = _open(source, fd, arrivals)
            try:
                jobs = _jobs(bag, platforms, arrivals)
                loaded = [_store(paths, meta, arrivals, job, emit, form) for job in jobs]
                if isinstance(bag, Stream):
                    # Layers of other platforms may have passed too.
                    gc.ask(paths)
                return loaded
            finally:
                bag.close()
        finally:
            if fd >= 0:
                os.close(fd)


def look(path: str, platforms: Sequence[Platform] = ()) -> tuple[Candidate, list[tuple[str, dict[str, Any]]]]:
    """Return the documents of the image in an archive or layout, of the first if there are several, and the statements
    of provenance that hang on it, as `attached.provenance` has them; no layer is read.

    Its manifest has no data when the archive is docker's, which has none. Raises NotFound, InvalidInput, Corrupt,
    Unsupported for a compressed archive.
    """
    with _opened(path) as bag:
        candidate = _jobs(bag, platforms)[0].images[0][0]
        return candidate, provenance(_documents(bag), candidate.above, candidate.manifest.digest)


@contextlib.contextmanager
def layers(path: str, image_id: str, platforms: Sequence[Platform] = ()) -> Iterator[list[tuple[str, Content]]]:
    """Open the layers of the image that `look` has returned: diff id, and what can be read; base first.

    Raises as `look` does, Conflict when that image is no longer the first.
    """
    with _opened(path) as bag:
        candidate, wanted = _jobs(bag, platforms)[0].images[0]
        if candidate.config.digest != image_id:
            raise Conflict(f"{path} has changed while it was read")
        yield [(layer.diff_id, layer.content) for layer in wanted]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Bag]:
    """Open an archive or a layout of which parts can be read anywhere; its errors name it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
    bag: Bag | None = None
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            bag = Directory(path)
        elif codec.detect(os.pread(fd, 512, 0)) != "none":
            raise Unsupported(f"{path} is compressed as a whole", "uncompress it, or use `underlay load`")
        else:
            bag = TarFile(fd, path)
        yield bag
    except (InvalidInput, Corrupt) as error:
        if path not in error.message:
            error.message = f"{path}: {error.message}"
        raise
    finally:
        if bag is not None:
            bag.close()
        os.close(fd)


def _documents(bag: Bag) -> Documents:
    """Return where the documents of an archive with digests are."""
    listed = bag.document("manifest.json", document.MANIFEST_LIMIT) or b""
    if bag.document("index.json", document.MANIFEST_LIMIT) is None and _is_plain(listed):
        return InPlain(bag, listed)
    return InArchive(bag)


def _is_plain(listed: bytes) -> bool:
    """Return whether a manifest.json is skopeo's single manifest, and not docker's list of images."""
    return listed.lstrip()[:1] == b"{"


def _open(source: str | int, opened: int, arrivals: Arrivals) -> Bag:
    what = source if isinstance(source, str) else "standard input"
    fd = source if isinstance(source, int) else opened
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        if isinstance(source, int):
            raise InvalidInput("standard input is a directory", "name it with --input")
        return Directory(source)

    def read() -> bytes:
        return os.read(fd, PIECE)

    if stat.S_ISREG(mode):
        head = os.pread(fd, 512, os.lseek(fd, 0, os.SEEK_CUR))
        if codec.detect(head) == "none":
            return TarFile(fd, what)
    if stat.S_ISFIFO(mode):
        # A mebibyte at a time instead of 64 KiB halves the time that a large image takes through a pipe
        # (fcntl(2)).
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIECE)
    pieces = codec.decompress(read)
    next(pieces)
    return Stream(lambda: next(pieces, b""), what, arrivals)


def _jobs(bag: Bag, platforms: Sequence[Platform], arrivals: Arrivals | None = None) -> list[_Job]:
    """Return what is to be stored, in the archive's order. An OCI index wins over manifest.json, for it has
    digests.

    Layers of archives that have no digests are brought by `arrivals`; without it, such archives are refused.
    """
    index = bag.document("index.json", document.MANIFEST_LIMIT)
    listed = bag.document("manifest.json", document.MANIFEST_LIMIT)
    if index is not None:
        layout = document.read(require(bag, "oci-layout", 64 << 10), _Layout, f"{bag.path}: oci-layout")
        version: _Layout = layout.view
        if not version.image_layout_version.startswith("1."):
            raise InvalidInput(
                f"{bag.path}: unsupported image layout version {version.image_layout_version!r:.40}, expected 1.x"
            )
        return _oci_jobs(bag, index, listed, platforms)
    if listed is not None:
        if _is_plain(listed):
            return _dir_jobs(bag, listed, platforms)
        return _docker_jobs(bag, listed, platforms)
    repositories = bag.document("repositories", document.MANIFEST_LIMIT)
    chains = legacy.chains(bag, repositories)
    if not chains and repositories is None:
        raise InvalidInput(
            f"{bag.path}: not an image archive: it has neither index.json nor manifest.json",
            "import a root file system with `underlay import`",
        )
    if arrivals is None:
        raise Unsupported(
            f"{bag.path}: an archive of docker before version 1.10, which has no digests", "use `underlay load`"
        )
    return _legacy_jobs(bag, chains, platforms, arrivals)


def _oci_jobs(bag: Bag, index: bytes, listed: bytes | None, platforms: Sequence[Platform]) -> list[_Job]:
    view: manifests.Index = manifests.read_index(index, f"{bag.path}: index.json").view
    descriptors = view.manifests or []
    if len(descriptors) > _IMAGES_LIMIT:
        raise LimitExceeded(f"{bag.path}: more than {_IMAGES_LIMIT} images")
    tags = _tags_by_config(bag, listed) if listed is not None else {}
    jobs: dict[str, _Job] = {}
    for group, name in _groups(descriptors):
        candidates = choose(InArchive(bag), group, platforms)
        # Alternatives side by side in index.json are no target of their own: the manifest chosen is.
        target = group[0].digest if len(group) == 1 else candidates[0].manifest.digest
        names = [name] if name is not None else []
        for candidate in candidates:
            names += [tag for tag in tags.get(candidate.config.digest, ()) if tag not in names]
        if target in jobs:
            jobs[target].names += [name for name in names if name not in jobs[target].names]
        else:
            jobs[target] = _Job(target, [(one, _wanted_by_manifest(bag, one, blob_name)) for one in candidates], names)
    if not jobs:
        raise NotFound(f"{bag.path}: the archive contains no image")
    return list(jobs.values())


def _groups(descriptors: Sequence[Descriptor]) -> list[tuple[list[Descriptor], Reference | None]]:
    """Return the targets in index.json with their names; alternatives of one name for several platforms
    together."""
    by_name: dict[str, list[Descriptor]] = {}
    names: dict[str, Reference | None] = {}
    for descriptor in descriptors:
        if descriptor.is_attestation:
            continue
        name = _name_of(descriptor)
        key = str(name) if name else ""
        by_name.setdefault(key, []).append(descriptor)
        names[key] = name
    groups: list[tuple[list[Descriptor], Reference | None]] = []
    for key, group in by_name.items():
        stated = [str(descriptor.platform.normalised()) for descriptor in group if descriptor.platform is not None]
        if len(group) > 1 and len(stated) == len(group) == len(set(stated)):
            groups.append((group, names[key]))
        else:
            groups += [([descriptor], names[key]) for descriptor in group]
    return groups


def _name_of(descriptor: Descriptor) -> Reference | None:
    """Return the name that an entry of index.json carries, None when it has none that is whole.

    docker and containerd write the whole name under their own key, and only the tag under the OCI's; podman,
    skopeo and umoci write what they were given under the OCI's. A lone word there is a tag without a
    repository.
    """
    text = descriptor.annotation(keys.CONTAINERD_NAME)
    if not text:
        text = descriptor.annotation(keys.REF_NAME)
        if "/" not in text and ":" not in text:
            return None
    try:
        name = reference.parse(text)
    except InvalidInput:
        return None
    if name.digest == descriptor.digest:
        name.digest = ""
    return name if name.tag else None


def _wanted_by_manifest(bag: Bag, candidate: Candidate, name_of: Callable[[str], str]) -> list[Wanted]:
    manifest: manifests.Manifest = candidate.manifest.view
    config: configs.Config = candidate.config.view
    wanted = []
    for layer, diff_id in zip(manifest.layers or [], config.diff_ids, strict=True):
        content = bag.content(name_of(layer.digest))
        if content is None:
            raise NotFound(f"{bag.path}: the archive lacks the layer {layer.digest}")
        if content.layer is None and content.size != layer.size:
            raise DigestMismatch(f"layer {layer.digest}: wrong size", f"{layer.size} bytes", f"{content.size}")
        wanted.append(Wanted(content, diff_id, layer.digest, layer.size))
    return wanted


# skopeo's dir:
# ---------------------------------------------------------------------------------------------------------


def _dir_jobs(bag: Bag, top: bytes, platforms: Sequence[Platform]) -> list[_Job]:
    """Return the one target of a directory that `skopeo copy … dir:` wrote: manifest.json is the manifest, or the index."""
    source = InPlain(bag, top)
    candidates = choose(source, [source.top], platforms)
    images_ = [(one, _wanted_by_manifest(bag, one, plain_name)) for one in candidates]
    return [_Job(source.top.digest, images_, [])]


# docker's manifest.json
# ---------------------------------------------------------------------------------------------


def _items(bag: Bag, listed: bytes) -> list[_Item]:
    value = document.decode(listed, f"{bag.path}: manifest.json")
    try:
        items = msgspec.convert(value, list[_Item])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{bag.path}: manifest.json: {error}") from None
    if len(items) > _IMAGES_LIMIT:
        raise LimitExceeded(f"{bag.path}: more than {_IMAGES_LIMIT} images")
    return items


def _tags(item: _Item) -> list[Reference]:
    names = item.repo_tags or []
    if len(names) > _NAMES_LIMIT:
        raise LimitExceeded(f"manifest.json: an image has more than {_NAMES_LIMIT} names")
    return [reference.parse(name) for name in names]


def _tags_by_config(bag: Bag, listed: bytes) -> dict[str, list[Reference]]:
    """Return the names in manifest.json by the digest of the configuration, where its path contains it."""
    names_by_config: dict[str, list[Reference]] = {}
    for item in _items(bag, listed):
        names_by_config.setdefault(_stated_digest(item.config), []).extend(_tags(item))
    return names_by_config


def _stated_digest(name: str) -> str:
    """Return the digest that a configuration's name states: `<hex>.json`, `blobs/sha256/<hex>`,
    `sha256:<hex>`."""
    return "sha256:" + name.rpartition("/")[2].removesuffix(".json").removeprefix("sha256:")


def _docker_jobs(bag: Bag, listed: bytes, platforms: Sequence[Platform]) -> list[_Job]:
    jobs = []
    passed_over: list[Platform] = []
    for item in _items(bag, listed):
        data = require(bag, clean(item.config))
        stated = _stated_digest(item.config)
        if digest.is_digest(stated):
            digest.verify(data, stated, f"configuration {shown(item.config)}")
        config = configs.read(data, f"configuration {shown(item.config)}")
        view: configs.Config = config.view
        if not _asked_for((view.os, view.architecture, view.variant or ""), platforms, passed_over):
            continue
        parts = item.layers or []
        if len(parts) != len(view.diff_ids):
            raise Corrupt(
                f"{bag.path}: manifest.json has {len(parts)} layers, "
                "the configuration's $.rootfs.diff_ids has "
                f"{len(view.diff_ids)}"
            )
        wanted = []
        for part, diff_id in zip(parts, view.diff_ids, strict=True):
            content = bag.content(clean(part))
            if content is None:
                raise NotFound(f"{bag.path}: the archive lacks {shown(part)}")
            wanted.append(Wanted(content, diff_id))
        # A manifest cannot be made before the layers' sizes are known: see `_store`.
        nothing = document.Document(b"", "", {}, None)
        jobs.append(_Job("", [(Candidate(nothing, config, ()), wanted)], _tags(item)))
    return _some(bag, jobs, platforms, passed_over)


def _asked_for(stated: tuple[str, str, str], platforms: Sequence[Platform], passed_over: list[Platform]) -> bool:
    """Return whether an image for `stated` (operating system, architecture, variant) is wanted; if not, note that."""
    offered = platform.normalise(*stated)
    if platforms and all(platform.rank(goal, offered) is None for goal in platforms):
        passed_over.append(offered)
        return False
    return True


def _some(bag: Bag, jobs: list[_Job], platforms: Sequence[Platform], passed_over: list[Platform]) -> list[_Job]:
    """Return the jobs; raises NotFound when there are none."""
    if not jobs:
        goal = ", ".join(map(str, platforms))
        raise NotFound(
            f"requested platform ({goal}) not found in {bag.path}" if passed_over else f"{bag.path} contains no image",
            f"it has {', '.join(sorted(set(map(str, passed_over))))}" if passed_over else "",
        )
    return jobs


def _legacy_jobs(bag: Bag, chains: list[legacy.Chain], platforms: Sequence[Platform], arrivals: Arrivals) -> list[_Job]:
    passed_over: list[Platform] = []
    chosen = [chain for chain in chains if _asked_for(chain.platform, platforms, passed_over)]
    known: dict[str, Content] = {}
    jobs = []
    for chain in chosen:
        config, wanted = legacy.arrived(bag, chain, arrivals, known)
        jobs.append(_Job("", [(Candidate(document.Document(b"", "", {}, None), config, ()), wanted)], chain.names))
    return _some(bag, jobs, platforms, passed_over)


# Storing
# ------------------------------------------------------------------------------------------------------------


def _store(paths: Paths, meta: Meta, arrivals: Arrivals, job: _Job, emit: Emit, form: str) -> Loaded:
    given = [name for name in job.names if _is_taken(name, emit)]
    # Manifests that an archive brings are those of a registry; for docker's own form one is made here.
    brought = all(candidate.manifest.data for candidate, _ in job.images)
    main, _, moved = record(paths, meta, arrivals, job.images, given, form, job.target, remote=brought)
    names = sorted({name.familiar for name in given})
    emit(Event("image.load", main, names=names))
    return Loaded(main, names, [(reference.familiar(name), lost) for name, lost in moved])


def _is_taken(name: Reference, emit: Emit) -> bool:
    """Return whether an image of an archive may have a name: one that reads as an id or a digest would stand before the
    images that have these. What is left out is told."""
    try:
        reference.check_new(name)
        if not reference.reads_as_id(name):
            return True
        reason = "it reads as the id of an image"
    except InvalidInput as error:
        reason = error.message
    message = f"the archive's name {name.familiar} is left out: {reason}"
    emit(Event("host.warning", name.familiar, message=message, hint="`underlay tag` gives the image another name"))
    return False
