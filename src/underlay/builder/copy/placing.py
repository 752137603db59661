"""Where copied files go in the destination root, what is there already, and which directories must be made."""

from __future__ import annotations

import os

import msgspec

from ...errors import InvalidInput, KernelError
from ...linux.files import beneath
from ...store.kinds import WHITEOUT
from ...store.layers import toc, walking
from ...store.layers.merge import Node
from ...store.layers.toc import Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.layers.layer_writer import LayerWriter

_HOPS = 255
_GONE = (2, 20, 40)


class Destination:
    """The destination root as it is to be: `root` (the descriptor of a directory, None for an empty one) with what was
    placed above it, all of which goes into the layer of `writer`.

    Paths are bytes relative to the root, without links in them; b"" is the root itself. `owner`, `mode` and `now` are
    those of directories that have to be made.
    """

    def __init__(
        self, root: int | None, writer: LayerWriter, owner: tuple[int, int], now: int, mode: int = 0o755
    ) -> None:
        self.mode = mode
        self.times: dict[bytes, int] = {}  # of directories that are to have a time of their own, made here or not
        self._root = root
        self._writer = writer
        self._owner = owner
        self._now = now
        # What was placed: kind and link target. A directory that stood there before is in it once it is in the layer.
        self._placed: dict[bytes, tuple[int, bytes]] = {b"": (toc.DIRECTORY, b"")}
        # Directories of which nothing is below in `root`, since they are new or have replaced something.
        self._fresh: set[bytes] = set()
        self._replaced: set[bytes] = set()
        self._at: bytes | None = None
        self._fd = -1

    def close(self) -> None:
        """Give back the descriptor that is kept between calls."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._at = None

    # What is there

    def kind(self, path: bytes) -> int | None:
        """Return the kind of what is at `path`, None for nothing; a link is not followed."""
        placed = self._placed.get(path)
        if placed is not None:
            return placed[0]
        facts = self._facts(path)
        return None if facts is None else walking.kind_of(facts.st_mode)

    def _facts(self, path: bytes) -> os.stat_result | None:
        """Return what is known of `path` in the root below."""
        directory, _, name = path.rpartition(b"/")
        fd = self._directory(directory)
        if fd < 0:
            return None
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == 36:  # a name longer than any can be
                raise InvalidInput(f"file name too long: {shown(path)}") from None
            raise walking.failed(path, error) from None

    def _directory(self, path: bytes) -> int:
        """Return a descriptor of the directory `path` in the root below, -1 without one; it is kept for the next call."""
        if path != self._at:
            self.close()
            if self._root is not None and not self._is_fresh(path):
                try:
                    self._fd = beneath.open_in_root(
                        self._root,
                        os.fsdecode(path) or ".",
                        os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW,
                        resolve=beneath.RESOLVE_NO_SYMLINKS,
                    )
                except KernelError as error:
                    if error.errno not in _GONE:
                        raise
            self._at = path
        return self._fd

    def _is_fresh(self, path: bytes) -> bool:
        while path:
            if path in self._fresh:
                return True
            path = path.rpartition(b"/")[0]
        return False

    def resolve(self, path: str, base: bytes = b"") -> bytes:
        """Follow `path` and all links below `base`, which is / to them; return the path without links, from the root.

        What is missing is taken as it stands. Raises InvalidInput for a loop of links.
        """
        todo = path.split("/")[::-1]
        here = base
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = base if here == base else here.rpartition(b"/")[0]
                continue
            following = _joined(here, os.fsencode(part))
            link = self._link(following)
            if link is None:
                here = following
                continue
            hops += 1
            if hops > _HOPS:
                raise InvalidInput(f"too many symbolic links in {path!r:.200}")
            target = os.fsdecode(link)
            if target.startswith("/"):
                here = base
            todo += target.split("/")[::-1]
        return here

    def _link(self, path: bytes) -> bytes | None:
        placed = self._placed.get(path)
        if placed is not None:
            return placed[1] if placed[0] == toc.SYMLINK else None
        facts = self._facts(path)
        if facts is None or walking.kind_of(facts.st_mode) != toc.SYMLINK:
            return None
        name = path.rpartition(b"/")[2]
        return walking.read_link(self._fd, name, path)

    # Placing

    def make(self, path: bytes) -> None:
        """Have a directory at `path` and above: what is missing is made, and what is there goes into the layer as it is.

        Raises InvalidInput when something else is in the way.
        """
        position = 0
        while path:
            position = path.find(b"/", position + 1)
            self._make_one(path if position < 0 else path[:position])
            if position < 0:
                return

    def _make_one(self, path: bytes) -> None:
        placed = self._placed.get(path)
        if placed is not None:
            if placed[0] != toc.DIRECTORY:
                raise InvalidInput(f"mkdir /{_text(path)}: not a directory")
            return
        facts = self._facts(path)
        if facts is None:
            mtime = self.times.get(path, self._now)
            self.put(Entry(path, toc.DIRECTORY, self.mode, *self._owner, 0, mtime, 0))
            return
        if walking.kind_of(facts.st_mode) != toc.DIRECTORY:
            raise InvalidInput(f"mkdir /{_text(path)}: not a directory")
        name = path.rpartition(b"/")[2]
        # It is in the layer because that is shown above the others, and so are the attributes of its directories.
        entry = toc.entry_of(path, facts, walking.attributes(self._fd, name, path))
        if path in self.times:
            entry = msgspec.structs.replace(entry, mtime=self.times[path], nsec=0)
        self._write(entry, None)

    def put(self, entry: Entry, data: int | bytes | None = None, *, replace: bool = False) -> None:
        """Place a file or directory, whose parent must be there already.

        A file replaces a file, directories are merged; what does not fit is replaced with `replace`, and InvalidInput
        without, as it is for what no layer can hold.
        """
        path = entry.name
        there = self.kind(path)
        if there is not None and (there == toc.DIRECTORY) != (entry.kind == toc.DIRECTORY):
            if not replace:
                if entry.kind == toc.DIRECTORY:
                    raise InvalidInput(f"cannot copy to non-directory: /{_text(path)}")
                raise InvalidInput(f"cannot replace to directory /{_text(path)} with file")
            self._clear(path)
        elif there is None and entry.kind == toc.DIRECTORY:
            self._fresh.add(path)
        if entry.kind == toc.CHARACTER and not entry.major and not entry.minor:
            raise InvalidInput(
                f"/{_text(path)}: cannot store a character device 0:0",
                "in a layer it marks a removed file (whiteout)",
            )
        self._write(entry, data)

    def _clear(self, path: bytes) -> None:
        """Forget what is below `path`."""
        prefix = path + b"/"
        for name in [name for name in self._placed if name.startswith(prefix)]:
            del self._placed[name]
        self._fresh.add(path)
        self._replaced.add(path)
        self.close()

    def _write(self, entry: Entry, data: int | bytes | None) -> None:
        path = entry.name
        if path.rpartition(b"/")[2].startswith(WHITEOUT):
            raise InvalidInput(
                f"/{_text(path)}: cannot store a file whose name begins with .wh.",
                "in a layer such names mark removed files (whiteouts)",
            )
        if entry.xattrs:
            entry = msgspec.structs.replace(entry, xattrs=tuple(Node(entry, 0).xattrs))
        self._writer.add(entry, data)
        if entry.kind == toc.DIRECTORY and path in self._replaced:
            # Of a directory below the file that was replaced here nothing may come back.
            self._writer.add(Entry(path + b"/.wh..wh..opq", toc.REGULAR, 0, 0, 0, 0, entry.mtime, 0))
        self._placed[path] = (entry.kind, entry.link)


def _joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def _text(path: bytes) -> str:
    return shown(path)[1:-1]
