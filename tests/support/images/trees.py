"""Images in archives, read with Python's tarfile alone: what each layer changes, and the file tree that comes of them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.LNKTYPE: "hard",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
XATTR = "SCHILY.xattr."


@dataclass(eq=False)
class Inode:
    """What a name stands for; names that are hard links of each other share one."""

    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    sha256: str = ""
    target: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()
    device: tuple[int, int] = (0, 0)
    mtime: float = 0


@dataclass
class Member:
    """An entry of a layer: its clean path, and what is there; `link` is the path of the file it is another name of."""

    path: str
    inode: Inode
    link: str = ""


Tree = dict[str, Inode]


@dataclass
class Archive:
    """An image: its configuration, and its layers as they are."""

    config: dict[str, Any]
    layers: list[list[Member]] = field(default_factory=list)

    def trees(self) -> Iterator[Tree]:
        """Yield the tree after each layer, all of them one dictionary that grows."""
        tree: Tree = {"": Inode("dir")}
        for layer in self.layers:
            apply(tree, layer)
            yield tree

    def tree(self) -> Tree:
        """Return the tree of the whole image."""
        tree: Tree = {"": Inode("dir")}
        for tree in self.trees():
            pass
        return tree


def read(path: Path) -> Archive:
    """Read an archive as `docker save` writes it, of one image."""
    with tarfile.open(path) as tar:

        def document(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None, name
            return json.load(file)

        (entry,) = document("manifest.json")
        archive = Archive(document(entry["Config"]))
        for name in entry["Layers"]:
            member = tar.getmember(name)
            while member.issym():  # podman and buildah store a layer once
                member = tar.getmember(str(Path(member.name).parent / member.linkname))
            file = tar.extractfile(member)
            assert file is not None, name
            with tarfile.open(fileobj=file) as layer:
                archive.layers.append(list(members(layer)))
    return archive


def members(tar: tarfile.TarFile) -> Iterator[Member]:
    """Yield the entries of a layer."""
    for info in tar:
        path = _clean(info.name)
        kind = KINDS[info.type]
        if kind == "hard":
            yield Member(path, Inode("hard"), _clean(info.linkname))
            continue
        inode = Inode(kind, info.mode, info.uid, info.gid, mtime=float(info.mtime))
        inode.xattrs = tuple(
            sorted(
                (key.removeprefix(XATTR), value.encode("utf-8", "surrogateescape"))
                for key, value in info.pax_headers.items()
                if key.startswith(XATTR)
            )
        )
        if kind == "file":
            file = tar.extractfile(info)
            assert file is not None, path
            inode.size = info.size
            inode.sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        elif kind == "link":
            inode.target, inode.mode = info.linkname, 0o777  # Linux knows no other mode of links
        elif kind in ("char", "block"):
            inode.device = (info.devmajor, info.devminor)
        yield Member(path, inode)


def _clean(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    assert ".." not in parts, name
    return "/".join(parts)


def apply(tree: Tree, layer: Iterable[Member]) -> None:
    """Apply a layer to the tree below it (OCI image specification, layer.md): what it deletes is of layers below."""
    layer = list(layer)
    for member in layer:
        parent, _, name = member.path.rpartition("/")
        if name == OPAQUE:
            _remove(tree, parent, itself=False)
        elif name.startswith(WHITEOUT):
            _remove(tree, f"{parent}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
    for member in layer:
        if member.path.rpartition("/")[2].startswith(WHITEOUT):
            continue
        inode = tree[member.link] if member.link else member.inode
        there = tree.get(member.path)
        if there is not None and there.kind == "dir" and inode.kind != "dir":
            _remove(tree, member.path)
        parent = member.path.rpartition("/")[0]
        assert tree[parent].kind == "dir", f"{member.path}: its directory is missing"
        tree[member.path] = inode


def _remove(tree: Tree, path: str, itself: bool = True) -> None:
    for name in [each for each in tree if each.startswith(f"{path}/" if path else "") and each]:
        del tree[name]
    if itself:
        tree.pop(path, None)


# Comparison
# ---------------------------------------------------------------------------------------------------------

Facts = dict[str, dict[str, Any]]


def facts(tree: Tree, begun: float) -> Facts:
    """Return all that a tree says: path → facts by their names.

    Times since `begun` are those of things that a build has made, as RUN or mkdir make them: two builds cannot agree on
    them, and they are "now" here. All others come from the base or the context, or have been set, and are compared.
    """
    names: dict[int, list[str]] = {}
    for path, inode in tree.items():
        names.setdefault(id(inode), []).append(path)
    found: Facts = {}
    for path, inode in tree.items():
        found[path] = {
            "kind": inode.kind,
            "mode": oct(inode.mode),
            "owner": (inode.uid, inode.gid),
            "size": inode.size,
            "sha256": inode.sha256,
            "target": inode.target,
            "xattrs": inode.xattrs,
            "device": inode.device,
            "mtime": "now" if inode.mtime >= begun else int(inode.mtime),
            "names": sorted(names[id(inode)]) if len(names[id(inode)]) > 1 else [],
        }
    return found


@dataclass(frozen=True)
class Difference:
    """Where two images differ: a path or a part of the configuration, what about it, ours and theirs."""

    place: str
    what: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.place} {self.what}: ours {self.ours!r}, theirs {self.theirs!r}"


def compare_facts(ours: Facts, theirs: Facts) -> list[Difference]:
    """Tell how two trees differ."""
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(path), theirs.get(path)
        if left is None or right is None:
            found.append(Difference("/" + path, "there", left, right))
        else:
            found += [Difference("/" + path, key, left[key], right[key]) for key in left if left[key] != right[key]]
    return found


def compare_members(place: str, ours: dict[str, Any], theirs: dict[str, Any], *aside: str) -> list[Difference]:
    """Tell how two JSON objects differ, but for the members `aside`; what is empty is as good as not there."""
    found = []
    for key in sorted((ours.keys() | theirs.keys()).difference(aside)):
        if (ours.get(key) or None) != (theirs.get(key) or None):
            found.append(Difference(place, key, ours.get(key), theirs.get(key)))
    return found
