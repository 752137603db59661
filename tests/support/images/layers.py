"""Tars of every kind, made byte by byte: what `tarfile` refuses to write is what needs testing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from underlay.paths import Paths

BLOCK = 512
TYPES = {"file": b"0", "hard": b"1", "link": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6"}


def number(value: int, width: int) -> bytes:
    """An octal field where it fits, else GNU's base 256."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return ((1 << (8 * width - 1)) | (value & ((1 << (8 * width - 1)) - 1))).to_bytes(width, "big")


def checksummed(block: bytes, signed: bool = False) -> bytes:
    """Put the checksum into a header of 512 bytes."""
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(struct.unpack("512b", blank)) if signed else sum(blank)
    return block[:148] + b"%06o\0 " % total + block[156:]


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int = 0,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    fields: dict[int, bytes] | None = None,
    signed: bool = False,
) -> bytes:
    """One header; `fields` overwrites bytes at offsets before the checksum is made."""
    block = bytearray(BLOCK)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = number(mode, 8)
    block[108:116] = number(uid, 8)
    block[116:124] = number(gid, 8)
    block[124:136] = number(size, 12)
    block[136:148] = number(mtime, 12)
    block[156:157] = kind
    block[157 : 157 + len(link[:100])] = link[:100]
    block[257:265] = magic.ljust(8, b"\0")
    if magic:
        block[329:337] = number(major, 8)
        block[337:345] = number(minor, 8)
    block[345 : 345 + len(prefix)] = prefix
    for offset, value in (fields or {}).items():
        block[offset : offset + len(value)] = value
    return checksummed(bytes(block), signed)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    """One pax record: its length counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def pax(records: list[tuple[bytes, bytes]], kind: bytes = b"x") -> bytes:
    data = b"".join(record(key, value) for key, value in records)
    return header(b"PaxHeaders/x", kind, len(data)) + padded(data)


def gnu_long(kind: bytes, text: bytes) -> bytes:
    return header(b"././@LongLink", kind, len(text) + 1, magic=b"ustar  \0") + padded(text + b"\0")


END = bytes(2 * BLOCK)


class Tar:
    """Collects members; `data()` is the tar. Names and contents may be str or bytes."""

    def __init__(self) -> None:
        self.out = io.BytesIO()

    def raw(self, data: bytes) -> Tar:
        self.out.write(data)
        return self

    def add(
        self,
        name: str | bytes,
        kind: str = "file",
        data: str | bytes = b"",
        *,
        link: str | bytes = b"",
        mode: int | None = None,
        uid: int = 0,
        gid: int = 0,
        mtime: float | str = 1_600_000_000,
        major: int = 0,
        minor: int = 0,
        xattrs: dict[str, bytes] | None = None,
        style: str = "pax",
    ) -> Tar:
        """Add a member; what ustar cannot say goes into the extension of `style`, pax or gnu."""
        name, data, link = _bytes(name), _bytes(data), _bytes(link)
        if mode is None:
            mode = {"dir": 0o755, "link": 0o777}.get(kind, 0o644)
        records = []
        if isinstance(mtime, str):
            records.append((b"mtime", mtime.encode()))
            mtime = 0
        mtime = int(mtime)
        if style == "pax":
            if len(name) > 100:
                records.append((b"path", name))
            if len(link) > 100:
                records.append((b"linkpath", link))
            if mtime < 0 or mtime >= 8**11:
                records.append((b"mtime", str(mtime).encode()))
                mtime = 0
        else:
            if len(name) > 100:
                self.raw(gnu_long(b"L", name))
            if len(link) > 100:
                self.raw(gnu_long(b"K", link))
        for key, value in (xattrs or {}).items():
            records.append((b"SCHILY.xattr." + key.encode(), value))
        if records:
            self.raw(pax(records))
        magic = b"ustar  \0" if style == "gnu" else b"ustar\x0000"
        self.raw(header(name, TYPES[kind], len(data), mode, uid, gid, mtime, link, major, minor, magic) + padded(data))
        return self

    def data(self, end: bool = True) -> bytes:
        return self.out.getvalue() + (END if end else b"")


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def make(*members: tuple[Any, ...]) -> bytes:
    """A tar from tuples: (name, kind, …) as `Tar.add` takes them, a dict last for keywords."""
    tar = Tar()
    for member in members:
        keywords = member[-1] if isinstance(member[-1], dict) else {}
        positional = member[:-1] if isinstance(member[-1], dict) else member
        tar.add(*positional, **keywords)
    return tar.data()


# Sparse members. Each takes the logical size and pieces of (offset, data), as the four formats have them.


def sparse_gnu(name: bytes, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    table = [number(offset, 12) + number(len(data), 12) for offset, data in pieces]
    first, rest = table[:4], table[4:]
    fields = {386: b"".join(first), 482: b"\1" if rest else b"\0", 483: number(size, 12)}
    body = b"".join(data for _, data in pieces)
    out = header(name, b"S", len(body), magic=b"ustar  \0", fields=fields)
    while rest:
        now, rest = rest[:21], rest[21:]
        out += b"".join(now).ljust(504, b"\0") + (b"\1" if rest else b"\0") + bytes(7)
    return out + padded(body)


def sparse_00(name: bytes, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    records = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"%d" % len(pieces))]
    for offset, data in pieces:
        records += [(b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % len(data))]
    body = b"".join(data for _, data in pieces)
    return pax(records) + header(name, b"0", len(body)) + padded(body)


def sparse_01(name: bytes, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    table = b",".join(b"%d,%d" % (offset, len(data)) for offset, data in pieces)
    records = [
        (b"GNU.sparse.size", b"%d" % size),
        (b"GNU.sparse.numblocks", b"%d" % len(pieces)),
        (b"GNU.sparse.map", table),
        (b"GNU.sparse.name", name),
    ]
    body = b"".join(data for _, data in pieces)
    return pax(records) + header(b"GNUSparseFile.1/x", b"0", len(body)) + padded(body)


def sparse_10(name: bytes, size: int, pieces: list[tuple[int, bytes]]) -> bytes:
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % (offset, len(data)) for offset, data in pieces)
    body = padded(table) + b"".join(data for _, data in pieces)
    return pax(records) + header(b"GNUSparseFile.1/x", b"0", len(body)) + padded(body)


SPARSE = {"gnu": sparse_gnu, "0.0": sparse_00, "0.1": sparse_01, "1.0": sparse_10}


def libarchive_xattr(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return b"LIBARCHIVE.xattr." + name, base64.b64encode(value).rstrip(b"=")


def peak() -> int:
    """The most memory this process has held, in KiB (ru_maxrss would include its parent from before exec)."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])


# Around tars


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Source:
    """A source that gives its bytes in pieces of at most `most`."""

    def __init__(self, data: bytes, most: int = 1 << 20) -> None:
        self.inner = io.BytesIO(data)
        self.most = most
        self.taken = 0

    def read(self, n: int) -> bytes:
        data = self.inner.read(min(n, self.most))
        self.taken += len(data)
        return data


def snapshot(root: str) -> dict[str, tuple[Any, ...]]:
    """What is below `root`: path → mode, owner, size, time, links, attributes, content, first name.

    Link counts and sizes of directories are the file system's own business and left out.
    """
    found: dict[str, tuple[Any, ...]] = {}
    inodes: dict[tuple[int, int], list[str]] = {}
    stack = [""]
    while stack:
        path = stack.pop()
        full = os.fsencode(f"{root}/{path}" if path else root)
        info = os.lstat(full)
        kind = info.st_mode >> 12
        extra: object = None
        if kind == 0o10:
            with open(full, "rb") as file:
                extra = hashlib.file_digest(file, "sha256").hexdigest()
        elif kind == 0o12:
            extra = os.readlink(full)
        elif kind in (0o2, 0o6):
            extra = info.st_rdev
        xattrs = []
        for name in os.listxattr(full, follow_symlinks=False):
            if not name.startswith(("trusted.overlay.", "user.overlay.")):
                xattrs.append((name, os.getxattr(full, name, follow_symlinks=False)))
        if kind == 0o4:
            stack += [f"{path}/{os.fsdecode(name)}" if path else os.fsdecode(name) for name in os.listdir(full)]
            size = links = 0
        else:
            size, links = info.st_size, info.st_nlink
            inodes.setdefault((info.st_dev, info.st_ino), []).append(path)
        owner = (info.st_uid, info.st_gid)
        found[path] = (oct(info.st_mode), owner, size, info.st_mtime_ns, links, sorted(xattrs), extra)
    for names in inodes.values():
        for name in names:
            found[name] = (*found[name], min(names))
    return found


def differences(left: dict[str, tuple[Any, ...]], right: dict[str, tuple[Any, ...]]) -> list[str]:
    """Lines that tell how two snapshots differ; empty when they do not."""
    lines = [f"only left: {path}" for path in sorted(left.keys() - right.keys())]
    lines += [f"only right: {path}" for path in sorted(right.keys() - left.keys())]
    for path in sorted(left.keys() & right.keys()):
        if left[path] != right[path]:
            lines.append(f"{path}: {left[path]} != {right[path]}")
    return lines


def oci_layout(directory: str, tars: list[bytes]) -> str:
    """Write an OCI image layout of these layers, uncompressed, and return umoci's name for the image."""
    import json

    blobs = f"{directory}/blobs/sha256"
    os.makedirs(blobs)

    def blob(data: bytes, media: str) -> dict[str, object]:
        with open(f"{blobs}/{digest(data)[7:]}", "wb") as file:
            file.write(data)
        return {"mediaType": media, "digest": digest(data), "size": len(data)}

    prefix = "application/vnd.oci.image."
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in tars]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": prefix + "manifest.v1+json",
        "config": blob(json.dumps(config).encode(), prefix + "config.v1+json"),
        "layers": [blob(data, prefix + "layer.v1.tar") for data in tars],
    }
    entry = blob(json.dumps(manifest).encode(), prefix + "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "test"}
    with open(f"{directory}/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    with open(f"{directory}/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    return f"{directory}:test"


def view(root: str) -> dict[str, str]:
    """What is below `root`, in the words of `CASES`."""
    found = {}
    for path, (mode, _, _, _, links, _, extra, *first) in snapshot(root).items():
        kind = int(mode, 8) >> 12
        full = os.fsencode(f"{root}/{path}")
        if not path:
            continue
        if kind == 0o10:
            with open(full, "rb") as file:
                text = "f:" + file.read().decode()
        elif kind == 0o12:
            text = "l:" + os.fsdecode(extra)
        elif kind in (0o2, 0o6):
            text = f"{'c' if kind == 0o2 else 'b'}:{os.major(extra)}:{os.minor(extra)}"
        else:
            text = {0o4: "d", 0o1: "p"}[kind]
        found[path] = text + (f"={first[0]}" if kind != 0o4 and links > 1 else "")
    return found


# A store in a temporary directory, and its images mounted.


def store(directory: object) -> Paths:
    """Paths of a new store below `directory`."""
    from underlay.paths import Paths

    return Paths(f"{directory}/root", f"{directory}/state")


def load(paths: Paths, tars: list[bytes]) -> list[str]:
    """Take in these tars and return their diff ids."""
    from underlay.store.layers import intake

    diff_ids = []
    for data in tars:
        intake.ingest(paths, Source(gz(data)), expected_diff_id=digest(data))
        diff_ids.append(digest(data))
    return diff_ids


class Mounted:
    """An image shown through an overlay without an upper directory, as containers see it: for `with`."""

    def __init__(self, paths: Paths, form: str, diff_ids: list[str]) -> None:
        self.paths, self.form, self.diff_ids = paths, form, diff_ids
        self.root = f"{paths.state}/shown-{os.urandom(4).hex()}"

    def __enter__(self) -> str:
        from underlay.linux.files import mounts
        from underlay.store import rootfs

        self.chain = rootfs.prepare(self.paths, self.form, self.diff_ids)
        self.hold = rootfs.hold(self.paths, self.chain)
        lower = rootfs.lower_directories(self.paths, self.form, self.diff_ids, self.chain)
        empty = f"{self.paths.state}/empty"
        os.makedirs(empty, exist_ok=True)
        os.mkdir(self.root)
        # Two lower directories are the least without an upper one. The empty one goes below, so that the
        # image's root attributes show. lowerdir+ needs Linux 6.8; short names serve older kernels.
        handles = [os.open(path, os.O_PATH) for path in [*lower, empty]]
        options = "lowerdir=" + ":".join(f"/proc/self/fd/{fd}" for fd in handles)
        mounts.mount("overlay", self.root, "overlay", mounts.MS_RDONLY, options)
        for fd in handles:
            os.close(fd)
        return self.root

    def __exit__(self, *_: object) -> None:
        from underlay.linux.files import mounts
        from underlay.store import rootfs

        mounts.umount(self.root)
        os.rmdir(self.root)
        self.hold.release()
        assert rootfs.release_unused(self.paths, self.chain)
