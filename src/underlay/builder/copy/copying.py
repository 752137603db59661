"""COPY and ADD: copies sources into a new layer, placed as BuildKit places them."""

from __future__ import annotations

import os
from time import time

import msgspec

from ...errors import DiskFull, InvalidInput, is_disk_full
from ...store.layers import toc, walking
from ...store.layers.layer_writer import LayerWriter
from ...store.layers.toc import Entry
from ...store.limits import DEFAULT
from ..context.patterns import Matcher
from . import attributes, contents, unpacking
from .names import clean
from .placing import Destination
from .selecting import Selected, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...paths import Paths
    from ...store.layers.intake import IngestedLayer
    from ...store.limits import Limits
    from .selecting import Item, SelectedFile

_ROOT = (0, 0)


class CopySource(msgspec.Struct, frozen=True, kw_only=True):
    """Where files come from: what `source` names below the directory `root` (a descriptor), or literal `content`.

    `ignore` is the context's. Files of a `context` belong to root. Literal content is a file `name` with `mode`. What is
    `whole` is never unpacked.
    """

    root: int = -1
    source: str = ""
    ignore: Matcher | None = None
    context: bool = True
    name: str = ""
    content: bytes | None = None
    mode: int = 0o644
    whole: bool = False


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a COPY or ADD asks for. A relative `destination` is below `workdir`; `unpack` is for ADD, of archives."""

    destination: str
    workdir: str = "/"
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    unpack: bool = False
    instruction: str = "COPY"
    several: bool = False  # more than one source is named


def copy(
    paths: Paths,
    sources: Sequence[CopySource],
    destination_root: int | None,
    request: CopyRequest,
    *,
    clamp: int | None = None,
    now: int | None = None,
    limits: Limits = DEFAULT,
    unknown: list[str] | None = None,
) -> IngestedLayer:
    """Make a layer of the sources, placed as in the root `destination_root` (a descriptor); it may be empty.

    Without a root (--link) the destination is an empty one. New directories have the time `now`, and nothing a later one
    than `clamp`. Owners that nobody knows are added to `unknown`.

    Raises NotFound for a source that is not there, InvalidInput for what does not fit the destination or
    makes no sense, KernelError and Conflict for files that cannot be read, LimitExceeded, Corrupt (archives).
    """
    owner = attributes.owner(request.chown, destination_root, [] if unknown is None else unknown)
    mode = attributes.Mode(request.chmod) if request.chmod else None
    selections = [_selected(source, request) for source in sources]
    with LayerWriter(paths, clamp=clamp, limits=limits) as writer:
        moment = clamp if clamp is not None else int(time()) if now is None else now
        # Directories that are made have the mode, too, as with BuildKit since 0.21; it leaves their special bits out.
        made = mode.apply(0o755, True) & 0o777 if mode is not None else 0o755
        destination = Destination(destination_root, writer, owner or _ROOT, moment, made)
        try:
            copier = _Copier(paths, destination, request, owner, mode, moment, limits)
            copier.expect(sources, selections)
            for source, selected in zip(sources, selections, strict=True):
                if selected is None:
                    copier.literal(source)
                else:
                    copier.selection(source, selected)
            return writer.finish()
        except OSError as error:
            if not is_disk_full(error):
                raise
            needed = sum(_size(source, selected) for source, selected in zip(sources, selections, strict=True))
            raise DiskFull(f"{request.instruction}: {error.strerror}", needed=needed) from error
        finally:
            destination.close()


def _size(source: CopySource, selected: Selected | None) -> int:
    """Return the bytes of the regular files that a source names."""
    if selected is None:
        return len(source.content or b"")
    total = 0
    for item in selected.items:
        for file in selected.walk(item):
            if file.kind == toc.REGULAR:
                total += walking.look(file.parent, file.name, file.source_path).st_size
    return total


def directory(
    paths: Paths,
    path: str,
    root: int | None,
    user: str,
    *,
    clamp: int | None = None,
    now: int | None = None,
    unknown: list[str] | None = None,
) -> IngestedLayer:
    """Make a layer with the directory `path`, and those above it, as far as `root` does not have them; they belong to
    `user`, who is added to `unknown` if nobody knows him. Raises InvalidInput where something else is in the way."""
    owner = attributes.owner(user, root, [] if unknown is None else unknown)
    with LayerWriter(paths, clamp=clamp) as writer:
        moment = clamp if clamp is not None else int(time()) if now is None else now
        destination = Destination(root, writer, owner or _ROOT, moment)
        try:
            target = destination.resolve(clean("/" + path))
            if destination.kind(target) is None:
                destination.make(target)
            elif destination.kind(target) != toc.DIRECTORY:
                raise InvalidInput(f"mkdir {path}: it exists and is not a directory")
            return writer.finish()
        finally:
            destination.close()


def _selected(source: CopySource, request: CopyRequest) -> Selected | None:
    if source.content is not None:
        return None
    return select(
        source.root,
        source.source,
        ignore=source.ignore,
        exclude=request.exclude,
        parents=request.parents,
        instruction=request.instruction,
    )


class _Copier:
    def __init__(
        self,
        paths: Paths,
        destination: Destination,
        request: CopyRequest,
        owner: tuple[int, int] | None,
        mode: attributes.Mode | None,
        now: int,
        limits: Limits,
    ) -> None:
        self._paths = paths
        self._destination = destination
        self._request = request
        self._owner = owner
        self._mode = mode
        self._now = now
        self._limits = limits
        text = request.destination
        # A directory is meant, even if it is not there yet.
        self._as_directory = text.endswith(("/", "/.")) or text in ("", ".")
        self._path = clean("/" + (text if text.startswith("/") else f"{request.workdir}/{text}"))
        # First places of files with several names: links are kept within one item.
        self._links: dict[tuple[int, int], bytes] = {}

    def expect(self, sources: Sequence[CopySource], selections: Sequence[Selected | None]) -> None:
        """Give the destination the time of the directory that is copied onto it last, as with BuildKit; of a context's
        root it knows none, and what is put into a directory afterwards makes it new."""
        last: tuple[CopySource, Selected, Item] | None = None
        for source, selected in zip(sources, selections, strict=True):
            if selected is None:
                last = None
            elif selected.items:
                last = source, selected, selected.items[-1]
        if last is None:
            return
        source, selected, item = last
        if item.is_dir and item.inside is None and (item.components or not source.context):
            time = selected.top(item).facts
            assert time is not None
            self._destination.times[self._destination.resolve(self._path)] = int(time.st_mtime)

    def literal(self, source: CopySource) -> None:
        """Place literal content as a file."""
        assert source.content is not None
        path = self._file_place(os.fsencode(source.name))
        entry = Entry(path, toc.REGULAR, source.mode, 0, 0, len(source.content), self._now, 0)
        self._destination.put(self._changed(entry, source), source.content)

    def selection(self, source: CopySource, selected: Selected) -> None:
        """Place all that one source names."""
        for item in selected.items:
            self._links.clear()
            if item.is_dir or item.inside is not None:
                self._tree(source, selected, item)
            else:
                for file in selected.walk(item):
                    self._one(source, file)

    def _tree(self, source: CopySource, selected: Selected, item: Item) -> None:
        base = self._begin(directory=False)
        there = self._destination.kind(base)
        if there is not None and there != toc.DIRECTORY:
            # Says that it is no directory.
            self._destination.put(Entry(base, toc.DIRECTORY, 0o755, 0, 0, 0, 0, 0))
        self._destination.make(base)
        prefix = base + b"/" if base else b""
        for file in selected.walk(item):
            path = prefix + file.path
            if file.above and self._destination.kind(path) == toc.DIRECTORY:
                self._destination.make(path)
            else:
                self._place(source, file, path)

    def _one(self, source: CopySource, file: SelectedFile) -> None:
        if file.kind == toc.SOCKET and not source.context:
            return
        if self._request.unpack and not source.whole and file.kind == toc.REGULAR:
            fd, _ = walking.open_file(file.parent, file.name, file.source_path)
            try:
                if unpacking.is_archive(fd, self._limits):
                    # What is unpacked has modes of its own, and the directories for it those that directories have.
                    self._destination.mode = 0o755
                    base = self._begin(directory=False)
                    unpacking.unpack(self._paths, fd, self._destination, base, self._owner, self._limits)
                    return
            finally:
                os.close(fd)
        self._place(source, file, self._file_place(file.path))

    def _begin(self, *, directory: bool) -> bytes:
        """Make the directories that the destination's words promise; return where it is, links followed."""
        parent = self._path if directory else self._path.rpartition("/")[0]
        self._destination.make(self._destination.resolve(parent))
        return self._destination.resolve(self._path)

    def _file_place(self, name: bytes) -> bytes:
        """Return where a file called `name` goes: into the destination if that is a directory, else in its place."""
        path = self._begin(directory=self._as_directory)
        into = self._destination.kind(path) == toc.DIRECTORY
        if self._request.several and not into and not self._as_directory:
            word = self._request.instruction
            raise InvalidInput(
                f"When using {word} with more than one source file, the destination must be a directory and end with a /",
                f"there is no directory {self._path}",
            )
        if into:
            path = path + b"/" + name if path else name
        self._destination.make(path.rpartition(b"/")[0])
        return path

    def _place(self, source: CopySource, file: SelectedFile, path: bytes) -> None:
        if file.facts is not None:
            if file.kind != toc.SOCKET:
                self._destination.put(self._changed(_member(file, path), source))
            elif source.context:
                # As with BuildKit, whose client sends it as a file with nothing in it.
                entry = msgspec.structs.replace(_member(file, path), kind=toc.REGULAR)
                self._destination.put(self._changed(entry, source), b"")
            return
        fd, facts = walking.open_file(file.parent, file.name, file.source_path)
        try:
            entry = toc.entry_of(path, facts, walking.file_attributes(fd, file.source_path))
            entry = self._changed(entry, source)
            if facts.st_nlink > 1:
                first = self._links.setdefault((facts.st_dev, facts.st_ino), path)
                if first != path:
                    self._destination.put(msgspec.structs.replace(entry, kind=toc.HARDLINK, link=first))
                    return
            self._destination.put(entry, fd)
        finally:
            os.close(fd)

    def _changed(self, entry: Entry, source: CopySource) -> Entry:
        """Return a member with the owner, the mode and those attributes that it is to have."""
        uid, gid = self._owner or (_ROOT if source.context else (entry.uid, entry.gid))
        mode = entry.mode
        if self._mode is not None and entry.kind != toc.SYMLINK:
            mode = self._mode.apply(mode, entry.kind == toc.DIRECTORY)
        xattrs = entry.xattrs
        if xattrs and source.context:
            xattrs = contents.of_context(xattrs)
        if (uid, gid, mode, xattrs) == (entry.uid, entry.gid, entry.mode, entry.xattrs):
            return entry
        return msgspec.structs.replace(entry, uid=uid, gid=gid, mode=mode, xattrs=xattrs)


def _member(file: SelectedFile, path: bytes) -> Entry:
    """Return what is no regular file as the member `path` of a layer."""
    assert file.facts is not None
    return toc.entry_of(path, file.facts, file.xattrs, file.link)
