"""Comparison of two images: which files, packages and settings differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..store.kinds import REGULAR
from .changes import ADDED, CHANGED, REMOVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from ..store.layers.merge import Node
    from ..store.rootfs.imagefiles import ImageFiles

_READ = 64 << 20  # bytes that are read of each image to compare contents


class Difference:
    """A file that differs between the two images: it was added, changed or removed.

    `path` is bytes, `kind` one of ADDED, CHANGED and REMOVED, `before` and `after` are the bytes of regular files, None for
    others and where there is none.
    """

    __slots__ = ("after", "before", "kind", "path")

    def __init__(self, path: bytes, kind: str, old: Node | None, new: Node | None) -> None:
        self.path = path
        self.kind = kind
        self.before, self.after = (
            node.entry.size if node and node.entry.kind == REGULAR else None for node in (old, new)
        )


class FileComparison:
    """Compares the files of two images. `is_whole` says that all contents that had to be read were compared."""

    def __init__(self, old: ImageFiles, old_layers: Sequence[str], new: ImageFiles, new_layers: Sequence[str]) -> None:
        self._old, self._new = old, new
        self._layers = old_layers, new_layers
        self._left = _READ
        self.is_whole = True

    def differences(self) -> Iterator[Difference]:
        """Yield the files that differ, sorted by path. A directory that was added or removed counts as its files.

        Files of the same kind, rights, owner and size are compared by their bytes, unless they are of the same layer. Once
        much has been read they count as changed where their times differ.
        """
        root = self._old.node(b""), self._new.node(b"")
        waiting: list[tuple[bytes, Node | None, Node | None]] = [(b"", *root)]
        while waiting:
            path, old, new = waiting.pop()
            before = (old.children if old is not None else None) or {}
            after = (new.children if new is not None else None) or {}
            if path:
                yield from self._one(path, old, new)
            prefix = path + b"/" if path else b""
            for name in sorted({*before, *after}, reverse=True):
                waiting.append((prefix + name, before.get(name), after.get(name)))

    def _one(self, path: bytes, old: Node | None, new: Node | None) -> Iterator[Difference]:
        if old is None and new is not None:
            if new.children is None:
                yield Difference(path, ADDED, None, new)
        elif new is None and old is not None:
            if old.children is None:
                yield Difference(path, REMOVED, old, None)
        elif old is not None and new is not None and not self._same(path, old, new):
            yield Difference(path, CHANGED, old, new)

    def _same(self, path: bytes, old: Node, new: Node) -> bool:
        """Return whether the file at a path has the same content and attributes in both images."""
        before, after = old.entry, new.entry
        if (
            self._layers[0][old.layer] == self._layers[1][new.layer]
            and before.offset == after.offset
            and before == after
        ):
            return True
        facts = [
            (each.kind, each.mode, each.uid, each.gid, each.link, each.major, each.minor, each.xattrs)
            for each in (before, after)
        ]
        if facts[0] != facts[1]:
            return False
        if before.kind != REGULAR or not before.size:
            return before.size == after.size
        if before.size != after.size:
            return False
        if before.size > self._left:
            self.is_whole = False
            return (before.mtime, before.nsec) == (after.mtime, after.nsec)
        self._left -= before.size
        return self._old.part(path, 0, before.size) == self._new.part(path, 0, after.size)


def packages(engine: Engine, old: Image, new: Image) -> list[tuple[str, str | None, str | None]]:
    """Return name and versions of the packages that differ; a version is None where the package is not there."""
    before, after = (_versions(engine, image) for image in (old, new))
    names = sorted(before.keys() | after.keys())
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _versions(engine: Engine, image: Image) -> dict[str, str]:
    """Return the versions of an image's packages by package name, joined with commas if there are several."""
    found: dict[str, set[str]] = {}
    for each in engine.bases.bill(image.id).get("components") or []:
        if each.get("type") == "library":
            found.setdefault(each["name"], set()).add(each.get("version", ""))
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def configuration(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Return name and both values of the settings that differ between two OCI image configurations; None: not set."""
    before, after = (dict(_members(value)) for value in (old, new))
    names = sorted(before.keys() | after.keys())
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _members(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting in an image configuration: platform, environment, labels, command and so on."""
    for name in ("architecture", "variant", "os", "os.version"):
        if value.get(name):
            yield name, str(value[name])
    for name, member in (value.get("config") or {}).items():
        if name == "Env":
            for variable in member or []:
                key, _, text = variable.partition("=")
                yield f"Env {key}", text
        elif isinstance(member, dict):
            for key, text in member.items():
                yield f"{name} {key}", text if isinstance(text, str) else str(text)
        elif isinstance(member, list):
            yield name, " ".join(map(str, member))
        elif member:
            yield name, str(member)
