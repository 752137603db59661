"""Archives and layouts as origins of copies: OCI layouts, docker's archives, skopeo's directories."""

from __future__ import annotations

import os
import stat

import msgspec

from ...errors import Corrupt, InvalidInput, NotFound, Unsupported
from ...oci import annotations as keys
from ...oci import config as configs
from ...oci import descriptor as descriptors
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci import reference as references
from ...oci.descriptor import Descriptor
from ...store.layers import codec
from ..archives.bag import Directory, TarFile, require
from ..archives.outertar import clean, shown
from ..archives.plaindir import InPlain, plain_name
from ..choose import InArchive, blob_name
from ..recording import made_manifest
from .origin import InMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from ..archives.bag import Bag, Content

    T = TypeVar("T")


class LayoutOrigin(InArchive):
    """An image in an OCI layout: a directory, or a tar that can be read anywhere. `name` is its name there, "" for the only
    one."""

    def __init__(self, bag: Bag, name: str, plain: bool) -> None:
        super().__init__(bag)
        self.plain = plain
        self._name = name
        self._subjects: dict[str, str] = {}  # digest of a manifest → of what it refers to, "" for nothing
        index = manifests.read_index(
            require(bag, "index.json", document.MANIFEST_LIMIT), f"{bag.path}: index.json"
        ).view
        self._entries: list[Descriptor] = index.manifests or []

    def root(self) -> Descriptor:
        """See Origin."""
        if self._name:
            for entry in self._entries:
                if _is_named(entry, self._name):
                    return entry
            raise NotFound(f"{self._bag.path} has no image {self._name}", self._others())
        images = [entry for entry in self._entries if not entry.is_attestation and not self._subject(entry)]
        if len(images) != 1:
            raise InvalidInput(f"{self._bag.path} has {len(images)} images, choose one", self._others())
        return images[0]

    def _others(self) -> str:
        names = [name for entry in self._entries if (name := _name(entry))]
        return f"it has {', '.join(sorted(names)[:20])}" if names else "its images have no names"

    def _subject(self, entry: Descriptor) -> str:
        """Return the digest that a manifest of the layout refers to, "" for none."""
        if entry.digest not in self._subjects:
            self._subjects[entry.digest] = ""
            data = self.manifest(entry)
            kind = manifests.kind(document.decode(data, "manifest"), entry.media_type or "") if data else ""
            if data and kind == "manifest":
                view: manifests.Manifest = manifests.read_manifest(data, f"manifest {entry.digest}").view
                self._subjects[entry.digest] = view.subject.digest if view.subject else ""
        return self._subjects[entry.digest]

    def content(self, descriptor: Descriptor) -> Content:
        """See Origin."""
        return _part(self._bag, blob_name(descriptor.digest), descriptor)

    def referrers(self, digest: str) -> list[Descriptor]:
        """See Origin: those that index.json names beside the images."""
        return [entry for entry in self._entries if self._subject(entry) == digest]

    def tagged(self, tag: str) -> Descriptor | None:
        """See Origin."""
        return next((entry for entry in self._entries if entry.annotation(keys.REF_NAME) == tag), None)

    def close(self) -> None:
        """See Origin."""
        self._bag.close()


def _name(entry: Descriptor) -> str:
    return entry.annotation(keys.CONTAINERD_NAME) or entry.annotation(keys.REF_NAME)


def _is_named(entry: Descriptor, name: str) -> bool:
    """Return whether an entry of index.json is called `name`, literally or in its normalised form."""
    written = (entry.annotation(keys.REF_NAME), entry.annotation(keys.CONTAINERD_NAME))
    if name in written or name == entry.digest:
        return True
    try:
        return references.parse(name).name in written
    except InvalidInput:
        return False


def _part(bag: Bag, name: str, descriptor: Descriptor) -> Content:
    content = bag.content(name)
    if content is None:
        raise NotFound(f"{bag.path} lacks the blob {descriptor.digest}")
    descriptors.check_length(descriptor, content.size, "blob")
    return content


class DirectoryOrigin(InPlain):
    """An image in a directory as skopeo's transport `dir` has it."""

    plain = False

    def root(self) -> Descriptor:
        """See Origin."""
        return self.top

    def content(self, descriptor: Descriptor) -> Content:
        """See Origin."""
        return _part(self._bag, plain_name(descriptor.digest), descriptor)

    def referrers(self, digest: str) -> list[Descriptor]:
        """See Origin: there is no place for them."""
        return []

    def tagged(self, tag: str) -> Descriptor | None:
        """See Origin: there are no tags."""
        return None

    def close(self) -> None:
        """See Origin."""
        self._bag.close()


class _Item(msgspec.Struct, rename="pascal"):
    """An entry of docker's manifest.json."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class DockerArchiveOrigin:
    """An image in docker's archive, which has no manifest: one is made over its layers, which are plain tars."""

    remote = False
    plain = True

    def __init__(self, bag: Bag, name: str) -> None:
        self.location = bag.path
        self._bag = bag
        item = self._chosen(name)
        self._config = require(bag, clean(item.config), document.CONFIG_LIMIT)
        config: configs.Config = configs.read(self._config, f"{bag.path}: {shown(item.config)}").view
        names = item.layers or []
        if len(names) != len(config.diff_ids):
            raise Corrupt(
                f"{bag.path}: manifest.json has {len(names)} layers, the configuration's $.rootfs.diff_ids has "
                f"{len(config.diff_ids)}"
            )
        self._names: dict[str, str] = dict(zip(config.diff_ids, map(clean, names), strict=True))
        layers = []
        for diff_id, part in self._names.items():
            content = bag.content(part)
            if content is None:
                raise NotFound(f"{bag.path}: the archive lacks {shown(part)}")
            if codec.detect(content.read(512)) != "none":
                raise Unsupported(
                    f"{bag.path}: {shown(part)} is compressed",
                    "bring the image into the store with `underlay load`, and copy it from there (store:NAME)",
                )
            layers.append((diff_id, content.size, "none"))
        sizes = {diff_id: size for diff_id, size, _ in layers}
        every = [(diff_id, sizes[diff_id], "none") for diff_id in config.diff_ids]
        self._manifest = made_manifest(digests.of(self._config), len(self._config), every)

    def _chosen(self, name: str) -> _Item:
        value = document.decode(require(self._bag, "manifest.json"), f"{self._bag.path}: manifest.json")
        try:
            items = msgspec.convert(value, list[_Item])
        except msgspec.ValidationError as error:
            raise InvalidInput(f"{self._bag.path}: manifest.json: {error}") from None
        tags = [tag for item in items for tag in item.repo_tags or []]
        hint = f"it has {', '.join(sorted(tags)[:20])}" if tags else "its images have no names"
        if not name:
            if len(items) != 1:
                raise InvalidInput(f"{self._bag.path} has {len(items)} images, choose one", hint)
            return items[0]
        wanted = references.parse(name)
        for item in items:
            # docker writes names as it shows them, podman and skopeo whole.
            if {str(wanted), wanted.familiar, name} & set(item.repo_tags or []):
                return item
        raise NotFound(f"{self._bag.path} has no image {name}", hint)

    def root(self) -> Descriptor:
        """See Origin."""
        size = len(self._manifest)
        return Descriptor(digest=digests.of(self._manifest), size=size, media_type=mediatype.OCI_MANIFEST)

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        return self._manifest if descriptor.digest == digests.of(self._manifest) else None

    def config(self, descriptor: Descriptor) -> bytes | None:
        """See Origin."""
        return self._config

    def content(self, descriptor: Descriptor) -> Content:
        """See Origin."""
        if descriptor.digest in self._names:
            return _part(self._bag, self._names[descriptor.digest], descriptor)
        return InMemory(descriptor.digest, self._config)

    def referrers(self, digest: str) -> list[Descriptor]:
        """See Origin: there is no place for them."""
        return []

    def tagged(self, tag: str) -> Descriptor | None:
        """See Origin: the format cannot hold one."""
        return None

    def close(self) -> None:
        """See Origin."""
        self._bag.close()


class _OwnedTar(TarFile):
    """An archive in a file that is closed with it."""

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd, path)
        self._owned = fd

    def close(self) -> None:
        """Close the file."""
        os.close(self._owned)


def open_layout(path: str, name: str) -> LayoutOrigin:
    """Open an OCI layout in a directory. Raises NotFound, InvalidInput."""
    bag = _directory(path, "an archive is written oci-archive:PATH")
    return _closed_on_error(bag, lambda: LayoutOrigin(bag, name, plain=False))


def open_directory(path: str) -> DirectoryOrigin:
    """Open a directory of the transport `dir`. Raises NotFound, InvalidInput."""
    bag = _directory(path, "write dir:PATH of a directory that has a manifest.json")
    return _closed_on_error(bag, lambda: DirectoryOrigin(bag, require(bag, "manifest.json", document.MANIFEST_LIMIT)))


def open_archive(path: str, name: str, docker: bool) -> LayoutOrigin | DockerArchiveOrigin:
    """Open an archive: a regular file, not compressed as a whole. Raises NotFound, InvalidInput, Unsupported."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unsupported(
                f"{path} is not a regular file", "write its content to a file first, or use `underlay load`"
            )
        if codec.detect(os.pread(fd, 512, 0)) != "none":
            raise Unsupported(f"{path} is compressed as a whole", "uncompress it, or use `underlay load`")
        bag = _OwnedTar(fd, path)
    except BaseException:
        os.close(fd)
        raise
    if docker and bag.content("index.json") is None:
        return _closed_on_error(bag, lambda: DockerArchiveOrigin(bag, name))
    return _closed_on_error(bag, lambda: LayoutOrigin(bag, name, plain=docker))


def _directory(path: str, hint: str) -> Directory:
    try:
        return Directory(path)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such directory") from None
    except NotADirectoryError:
        raise NotFound(f"{path} is not a directory", hint) from None


def _closed_on_error(bag: Bag, make: Callable[[], T]) -> T:
    try:
        return make()
    except BaseException:
        bag.close()
        raise
