"""Files as a sequence of members, as a tar has them: read from a directory tree or a tar, written to either."""

from __future__ import annotations

import errno
import os
import stat
import tarfile

import msgspec

from ....errors import Conflict, InvalidInput, KernelError
from ....linux.files import beneath
from ....store.layers import toc, walking
from ....store.layers.tarheader import BLOCK, header
from ....store.layers.toc import Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, BinaryIO

    from ....linux.specification import IdMaps, Maps

    Read = Callable[[int], bytes]
    Member = tuple[Entry, Read | None]

_PIECE = 1 << 20
_DAMAGED = (tarfile.TarError, EOFError, ValueError, UnicodeError)  # what reading an archive raises that is none
_SPACE = b"overlay."  # of attributes that are an overlay's own


def _nothing(_: int) -> bytes:
    return b""


class Tree:
    """What is at `path` below the directory `root` (descriptors), as members whose names begin with `name`.

    A link at the end of the path is followed if `follow`. With `attributes` extended attributes count. `maps` are those by
    which owners look different from outside. With `one_device` what other file systems have is left out.
    """

    def __init__(
        self,
        root: int,
        path: str,
        name: bytes,
        follow: bool = False,
        attributes: bool = False,
        maps: IdMaps | None = None,
        one_device: bool = False,
    ) -> None:
        self._name = name
        self._one_device = one_device
        self._attributes = attributes
        self._maps = maps
        self._only_content = False
        self._linked: dict[tuple[int, int], bytes] = {}
        self._fd = beneath.open_in_root(root, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        self.facts = os.fstat(self._fd)

    def rename(self, name: str) -> None:
        """Have the members' names begin with another; with "" those of a directory are its content alone."""
        self._name = os.fsencode(name)
        self._only_content = not name

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.facts.st_mode)

    def members(self) -> Iterator[Member]:
        """Yield the members, parents first. Sockets are left out, as docker does. Raises KernelError, Conflict."""
        own = f"/proc/self/fd/{self._fd}"
        if not self.is_directory:
            form = stat.S_IFMT(self.facts.st_mode)
            fd = os.open(own, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if form == stat.S_IFREG else -1
            link = os.fsencode(os.readlink("", dir_fd=self._fd)) if form == stat.S_IFLNK else b""
            yield from self._member(self._name, self.facts, fd, link, own)
            return
        if not self._only_content:
            xattrs = self._xattrs(own) if self._attributes else ()
            yield self._entry(self._name, self.facts, xattrs), None
        top = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            foreign: set[bytes] = set()
            for parent, path, name, _ in walking.walk(top, lambda path: path not in foreign):
                full = b"/".join(part for part in (self._name, path) if part)
                facts = walking.look(parent, name, path)
                if self._one_device and facts.st_dev != self.facts.st_dev and self._is_mount(parent, name):
                    foreign.add(path)
                    if stat.S_ISREG(facts.st_mode):
                        yield msgspec.structs.replace(self._entry(full, facts), size=0), None
                        continue
                fd, link = -1, b""
                if stat.S_ISREG(facts.st_mode):
                    fd, facts = walking.open_file(parent, name, path)
                elif stat.S_ISLNK(facts.st_mode):
                    link = walking.read_link(parent, name, path)
                yield from self._member(full, facts, fd, link, f"/proc/self/fd/{parent}/{os.fsdecode(name)}")
        finally:
            os.close(top)

    def _is_mount(self, parent: int, name: bytes) -> bool:
        """Return whether something is mounted at a name: an overlay shows files under several devices."""
        try:
            os.close(
                beneath.open_beneath(parent, os.fsdecode(name), os.O_PATH | os.O_NOFOLLOW, beneath.RESOLVE_NO_XDEV)
            )
        except KernelError as error:
            return error.errno == errno.EXDEV
        return False

    def _member(self, name: bytes, facts: os.stat_result, fd: int, link: bytes, at: str) -> Iterator[Member]:
        """Yield one file; `fd` is of a regular one, and closed, `link` the target of a link."""
        try:
            form = stat.S_IFMT(facts.st_mode)
            if form == stat.S_IFSOCK:
                return
            if form != stat.S_IFDIR and facts.st_nlink > 1:
                first = self._linked.setdefault((facts.st_dev, facts.st_ino), name)
                if first != name:
                    yield self._entry(name, facts, (), first, toc.HARDLINK), None
                    return
            xattrs = self._xattrs(at) if self._attributes and form != stat.S_IFLNK else ()
            yield self._entry(name, facts, xattrs, link), (lambda count: os.read(fd, count)) if fd >= 0 else None
        finally:
            if fd >= 0:
                os.close(fd)

    def _entry(
        self,
        name: bytes,
        facts: os.stat_result,
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
        link: bytes = b"",
        kind: int = -1,
    ) -> Entry:
        entry = toc.entry_of(name, facts, xattrs, link)
        uid, gid = entry.uid, entry.gid
        if self._maps is not None:
            uid, gid = _inside(uid, self._maps[0]), _inside(gid, self._maps[1])
        return Entry(
            entry.name, entry.kind if kind < 0 else kind, entry.mode, uid, gid, entry.size if kind < 0 else 0,
            entry.mtime, entry.nsec, 0, toc.TAR, entry.link, entry.major, entry.minor, entry.xattrs,
        )  # fmt: skip

    def _xattrs(self, at: str) -> tuple[tuple[bytes, bytes], ...]:
        # The link of procfs that stands for the open file is followed, and no other.
        pairs = walking.attributes_at(os.fsencode(at), at == f"/proc/self/fd/{self._fd}")
        return tuple((key, value) for key, value in pairs if _SPACE not in key)


def _inside(number: int, mapping: Maps) -> int:
    """Return the id inside of one outside; one that is in no map as the kernel shows it (overflowuid)."""
    for part in mapping:
        if part["hostID"] <= number < part["hostID"] + part["size"]:
            return part["containerID"] + number - part["hostID"]
    return 65534


def write_tar(members: Iterator[Member], out: BinaryIO) -> int:
    """Write members as a tar; returns its bytes. Raises OSError, Conflict when a file became shorter meanwhile."""
    total = 0
    for entry, read in members:
        if entry.kind == toc.DIRECTORY and not entry.name.endswith(b"/"):
            entry = _renamed(entry, entry.name + b"/")
        head = header(entry)
        out.write(head)
        total += len(head)
        left = entry.size if entry.kind == toc.REGULAR else 0
        while left:
            piece = read(min(left, _PIECE)) if read is not None else b""
            if not piece:
                raise Conflict(f"{shown(entry.name)} became shorter while it was read")
            out.write(piece)
            left -= len(piece)
        if entry.kind == toc.REGULAR and entry.size:
            padding = -entry.size % BLOCK
            out.write(bytes(padding))
            total += entry.size + padding
    out.write(bytes(2 * BLOCK))
    out.flush()
    return total + 2 * BLOCK


def _renamed(entry: Entry, name: bytes) -> Entry:
    return msgspec.structs.replace(entry, name=name)


_KINDS = {
    tarfile.REGTYPE: toc.REGULAR,
    tarfile.AREGTYPE: toc.REGULAR,
    tarfile.CONTTYPE: toc.REGULAR,
    tarfile.GNUTYPE_SPARSE: toc.REGULAR,
    tarfile.LNKTYPE: toc.HARDLINK,
    tarfile.SYMTYPE: toc.SYMLINK,
    tarfile.CHRTYPE: toc.CHARACTER,
    tarfile.BLKTYPE: toc.BLOCK,
    tarfile.FIFOTYPE: toc.FIFO,
    tarfile.DIRTYPE: toc.DIRECTORY,
}


def _following(archive: tarfile.TarFile, content: IO[bytes] | None) -> tarfile.TarInfo | None:
    """Return the next member of a tar that is read once, None at its end. Raises tarfile.TarError.

    `content` is the file that was read before. When it has come whole, an archive may end without filling its last block:
    docker's client sends such ones, with a Dockerfile from outside of the context.
    """
    try:
        return archive.next()
    except tarfile.ReadError:
        if content is None or content.read(1):
            raise
        return None


def read_tar(source: BinaryIO) -> Iterator[Member]:
    """Yield the members of a tar, compressed or not, that is read once. Raises InvalidInput when it is none."""
    try:
        with tarfile.open(fileobj=source, mode="r|*", errors="surrogateescape") as archive:
            content: IO[bytes] | None = None
            while (info := _following(archive, content)) is not None:
                kind, content = _KINDS.get(info.type), None
                if kind is None:
                    continue
                seconds = int(info.mtime // 1)
                entry = Entry(
                    os.fsencode(info.name), kind, info.mode & 0o7777, info.uid, info.gid,
                    info.size if kind == toc.REGULAR else 0, seconds, int((info.mtime - seconds) * 1e9),
                    0, toc.TAR, os.fsencode(info.linkname), info.devmajor, info.devminor,
                )  # fmt: skip
                content = archive.extractfile(info) if kind == toc.REGULAR else None
                yield entry, _reader(content) if content is not None else _nothing
    except _DAMAGED as error:
        raise _no_tar(error) from None


def _reader(content: IO[bytes]) -> Read:
    def read(count: int) -> bytes:
        try:
            return content.read(count)
        except _DAMAGED as error:
            raise _no_tar(error) from None

    return read


def _no_tar(error: Exception) -> InvalidInput:
    return InvalidInput(f"what is to be copied is no tar archive: {error}")


class Target:
    """A directory below a root in which members are placed; names are resolved as a process with that root does, but with
    `links` no link below the directory is followed: what comes from a container must not lead elsewhere on the host.

    `owner` is who gets the files (uid, gid), None to keep what members say; `maps` as in `Tree`. Devices are made only if
    `devices`, and set-id bits kept only if `set_id`; `left_out` counts what was not made.
    """

    def __init__(
        self,
        root: int,
        path: str,
        owner: tuple[int, int] | None,
        maps: IdMaps | None = None,
        devices: bool = False,
        set_id: bool = False,
        links: bool = True,
    ) -> None:
        self._root = root
        self._path = path.rstrip("/")
        self._resolve = 0 if links else beneath.RESOLVE_NO_SYMLINKS
        self._owner = owner
        self._maps = maps
        self._devices = devices
        self._mode = 0o7777 if set_id else 0o1777
        self._late: list[tuple[str, Entry]] = []
        self.left_out = 0
        self.size = 0

    def place(self, members: Iterator[Member]) -> None:
        """Place all members. Raises Conflict where a directory meets another file, KernelError, InvalidInput, OSError."""
        for entry, read in members:
            name = os.fsdecode(entry.name).strip("/")
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if ".." in parts:
                raise InvalidInput(f"{shown(entry.name)} leads out of the directory it is to be placed in")
            path = "/".join((self._path, *parts))
            if entry.kind == toc.DIRECTORY:
                self._directory(path, entry)
            elif parts or self._path:
                self._file(path, entry, read)
            self.size += entry.size
        for path, entry in reversed(self._late):
            fd = beneath.open_in_root(self._root, path or "/", os.O_PATH | os.O_DIRECTORY, resolve=self._resolve)
            try:
                self._finish(f"/proc/self/fd/{fd}", entry)
            finally:
                os.close(fd)

    def _directory(self, path: str, entry: Entry) -> None:
        try:
            fd = beneath.open_in_root(self._root, path or "/", os.O_PATH, resolve=self._resolve)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            fd = self._made(path)
            self._late.append((path, entry))
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise Conflict(f'cannot overwrite non-directory "{path}" with directory')
        finally:
            os.close(fd)

    def _file(self, path: str, entry: Entry, read: Read | None) -> None:
        above, _, name = path.rpartition("/")
        directory = self._made(above)
        try:
            self._make(directory, name, path, entry, read)
        finally:
            os.close(directory)

    def _made(self, path: str) -> int:
        """Return a directory, which is made with those above it unless it is there."""
        if not self._resolve:
            return beneath.make_directories(self._root, path or "/")
        try:
            return beneath.open_in_root(self._root, path or "/", os.O_PATH | os.O_DIRECTORY, resolve=self._resolve)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
        above, _, name = path.rpartition("/")
        parent = self._made(above)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)

    def _make(self, directory: int, name: str, path: str, entry: Entry, read: Read | None) -> None:
        if entry.kind in (toc.CHARACTER, toc.BLOCK) and not self._devices:
            self.left_out += 1
            return
        self._remove(directory, name, path)
        if entry.kind == toc.HARDLINK:
            self._link(directory, name, entry)
            return
        if entry.kind == toc.SYMLINK:
            os.symlink(entry.link, name, dir_fd=directory)
        elif entry.kind == toc.REGULAR:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                left = entry.size
                while left:
                    piece = read(min(left, _PIECE)) if read is not None else b""
                    if not piece:
                        raise Conflict(f"{shown(entry.name)} became shorter while it was read")
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(fd, view) :]
                    left -= len(piece)
            finally:
                os.close(fd)
        elif entry.kind == toc.FIFO:
            os.mkfifo(name, 0o600, dir_fd=directory)
        else:
            form = stat.S_IFCHR if entry.kind == toc.CHARACTER else stat.S_IFBLK
            os.mknod(name, form | 0o600, os.makedev(entry.major, entry.minor), dir_fd=directory)
        at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if entry.kind == toc.SYMLINK:
                owner = self._owner_of(entry)
                if owner is not None:
                    os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
                time = entry.mtime * 1_000_000_000 + entry.nsec
                os.utime(name, ns=(time, time), dir_fd=directory, follow_symlinks=False)
            else:
                self._finish(f"/proc/self/fd/{at}", entry)
        finally:
            os.close(at)

    def _remove(self, directory: int, name: str, path: str) -> None:
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            try:
                is_directory = stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
            except OSError:
                raise error from None
            if is_directory:
                raise Conflict(f'cannot overwrite directory "{path}" with non-directory') from None
            raise

    def _link(self, directory: int, name: str, entry: Entry) -> None:
        first = "/".join((self._path, os.fsdecode(entry.link).strip("/")))
        try:
            fd = beneath.open_in_root(self._root, first, os.O_PATH | os.O_NOFOLLOW, resolve=self._resolve)
        except KernelError:
            raise InvalidInput(
                f"{shown(entry.name)} is a hard link to {shown(entry.link)}, which is not there"
            ) from None
        try:
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(fd)

    def _finish(self, at: str, entry: Entry) -> None:
        owner = self._owner_of(entry)
        if owner is not None:
            os.chown(at, *owner)
        os.chmod(at, entry.mode & self._mode)
        time = entry.mtime * 1_000_000_000 + entry.nsec
        os.utime(at, ns=(time, time))

    def _owner_of(self, entry: Entry) -> tuple[int, int] | None:
        uid, gid = self._owner if self._owner is not None else (entry.uid, entry.gid)
        if uid < 0:
            return None
        if self._maps is None:
            return uid, gid
        return _outside(uid, self._maps[0]), _outside(gid, self._maps[1])


def _outside(number: int, mapping: Maps) -> int:
    for part in mapping:
        if part["containerID"] <= number < part["containerID"] + part["size"]:
            return part["hostID"] + number - part["containerID"]
    raise InvalidInput(f"id {number} is not in the container's user namespace")
