"""Tars of every kind, made byte by byte: what `tarfile` refuses to write is what needs testing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import struct

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


def make(*members: tuple) -> bytes:
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


def snapshot(root: str) -> dict[str, tuple]:
    """What is below `root`: path → mode, owner, size, time, links, attributes, content, first name.

    Link counts and sizes of directories are the file system's own business and left out.
    """
    found: dict[str, tuple] = {}
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


def differences(left: dict[str, tuple], right: dict[str, tuple]) -> list[str]:
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


# Images that must come out right in every form: name → (layers, what is there then). A value is `d`,
# `f:content`, `l:target`, `c:major:minor`, `b:…` or `p`; names of one inode have `=first name` behind it.
BASE = make(
    ("usr", "dir"),
    ("usr/lib", "dir"),
    ("usr/lib/a", "file", "A"),
    ("lib", "link", b"", {"link": "usr/lib"}),
    ("etc", "dir"),
    ("etc/one", "file", "1"),
    ("etc/two", "file", "2"),
)
_BASE = {
    "usr": "d",
    "usr/lib": "d",
    "usr/lib/a": "f:A",
    "lib": "l:usr/lib",
    "etc": "d",
    "etc/one": "f:1",
    "etc/two": "f:2",
}


def _but(*gone: str, **new: str) -> dict[str, str]:
    kept = {k: v for k, v in _BASE.items() if not any(k == g or k.startswith(g + "/") for g in gone)}
    return {**kept, **{k.replace("__", "/"): v for k, v in new.items()}}


CASES: dict[str, tuple[list[bytes], dict[str, str]]] = {
    "nothing": ([], {}),
    "an empty layer": ([make()], {}),
    "one layer": ([BASE], _BASE),
    "the same layer twice": ([BASE, BASE], _BASE),
    "whiteout": ([BASE, make(("etc/.wh.one", "file"))], _but("etc/one")),
    "whiteout of a directory": ([BASE, make((".wh.etc", "file"))], _but("etc")),
    "whiteout of nothing": ([BASE, make(("no/.wh.thing", "file"), ("etc/.wh.x", "file"))], _BASE),
    "whiteout after its own layer's file": (
        [BASE, make(("etc/one", "file", "new"), ("etc/.wh.one", "file"))],
        _but(etc__one="f:new"),
    ),
    "whiteout and new directory": (
        [BASE, make((".wh.etc", "file"), ("etc", "dir"), ("etc/three", "file", "3"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "whiteout through a link": ([BASE, make(("lib/.wh.a", "file"))], _but("usr/lib/a")),
    "whiteout, then again in the next layer": (
        [BASE, make((".wh.etc", "file")), make(("etc", "dir"), ("etc/two", "file", "new"))],
        _but("etc", etc="d", etc__two="f:new"),
    ),
    "opaque first": (
        [BASE, make(("etc", "dir"), ("etc/.wh..wh..opq", "file"), ("etc/three", "file", "3"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "opaque last": (
        [BASE, make(("etc", "dir"), ("etc/three", "file", "3"), ("etc/.wh..wh..opq", "file"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "opaque root": ([BASE, make((".wh..wh..opq", "file"), ("x", "file", "x"))], {"x": "f:x"}),
    "opaque, deeper directories are new": (
        [
            BASE,
            make(("usr", "dir"), ("usr/.wh..wh..opq", "file"), ("usr/lib", "dir"), ("usr/lib/b", "file", "B")),
        ],
        _but("usr", usr="d", usr__lib="d", usr__lib__b="f:B"),
    ),
    "opaque over opaque": (
        [
            BASE,
            make(("etc/.wh..wh..opq", "file"), ("etc/three", "file", "3")),
            make(("etc/.wh..wh..opq", "file"), ("etc/four", "file", "4")),
            make(("etc/five", "file", "5")),
        ],
        _but("etc", etc="d", etc__four="f:4", etc__five="f:5"),
    ),
    "hard links in a layer": (
        [make(("a", "file", "A"), ("b", "hard", b"", {"link": "a"}), ("c", "hard", b"", {"link": "b"}))],
        {"a": "f:A=a", "b": "f:A=a", "c": "f:A=a"},
    ),
    "hard link to a lower layer": (
        [BASE, make(("etc/three", "hard", b"", {"link": "/etc/two"}))],
        _but("etc/two", etc__two="f:2=etc/three", etc__three="f:2=etc/three"),
    ),
    "hard link through a link": (
        [BASE, make(("h", "hard", b"", {"link": "lib/a"}))],
        _but(h="f:A=h", usr__lib__a="f:A=h"),
    ),
    "hard link to a link": (
        [BASE, make(("h", "hard", b"", {"link": "lib"}))],
        _but(h="l:usr/lib=h", lib="l:usr/lib=h"),
    ),
    "hard link to itself": (
        [BASE, make(("etc/one", "file", "x"), ("x", "hard", b"", {"link": "x/../etc/one"}))],
        _but(etc__one="f:x=etc/one", x="f:x=etc/one"),
    ),
    "one of two links goes": (
        [
            make(("a", "file", "A"), ("b", "hard", b"", {"link": "a"}), ("c", "hard", b"", {"link": "a"})),
            make((".wh.b", "file")),
            make(("c", "file", "C")),
        ],
        {"a": "f:A", "c": "f:C"},
    ),
    "links over four layers": (
        [
            make(("d", "dir"), ("d/a", "file", "A")),
            make(("b", "hard", b"", {"link": "d/a"})),
            make((".wh.d", "file"), ("c", "hard", b"", {"link": "b"})),
            make(("e", "hard", b"", {"link": "c"})),
        ],
        {"b": "f:A=b", "c": "f:A=b", "e": "f:A=b"},
    ),
    "a link into an opaque directory": (
        [
            make(("d", "dir"), ("d/x", "file", "X"), ("e", "hard", b"", {"link": "d/x"})),
            make(("d/.wh..wh..opq", "file"), ("d/x", "hard", b"", {"link": "e"})),
        ],
        {"d": "d", "d/x": "f:X=d/x", "e": "f:X=d/x"},
    ),
    "duplicates, links keep the first": (
        [make(("a", "file", "1"), ("b", "hard", b"", {"link": "a"}), ("a", "file", "2"))],
        {"a": "f:2", "b": "f:1"},
    ),
    "file over directory": ([BASE, make(("etc", "file", "F"))], _but("etc", etc="f:F")),
    "link over directory": ([BASE, make(("etc", "link", b"", {"link": "usr"}))], _but("etc", etc="l:usr")),
    "directory over file": (
        [BASE, make(("etc/one", "dir"), ("etc/one/x", "file", "X"))],
        _but(etc__one="d", etc__one__x="f:X"),
    ),
    "directory, file, directory": (
        [BASE, make(("etc", "file", "F")), make(("etc", "dir"), ("etc/new", "file", "N"))],
        _but("etc", etc="d", etc__new="f:N"),
    ),
    "directory over link": (
        [BASE, make(("lib", "dir"), ("lib/x", "file", "X"))],
        _but(lib="d", lib__x="f:X"),
    ),
    "members through a lower link": ([BASE, make(("lib/x", "file", "X"))], _but(usr__lib__x="f:X")),
    "members through a link in the same layer": (
        [make(("d", "dir"), ("l", "link", b"", {"link": "/d/../d/"}), ("l/x", "file", "X"))],
        {"d": "d", "l": "l:/d/../d/", "d/x": "f:X"},
    ),
    "links that leave the root": (
        [
            make(
                ("e", "link", b"", {"link": "../../../tmp"}),
                ("e/x", "file", "X"),
                ("f", "link", b"", {"link": "/"}),
                ("f/y", "file", "Y"),
            )
        ],
        {"e": "l:../../../tmp", "tmp": "d", "tmp/x": "f:X", "f": "l:/", "y": "f:Y"},
    ),
    "a dangling link in the way": (
        [make(("a", "link", b"", {"link": "/n/m/../o"}), ("a/x", "file", "X"))],
        {"a": "l:/n/m/../o", "n": "d", "n/o": "d", "n/o/x": "f:X"},
    ),
    "missing parents": ([BASE, make(("p/q/x", "file", "X"))], _but(p="d", p__q="d", p__q__x="f:X")),
    "names that want out": (
        [
            make(
                ("../../a/../b", "file", "B"),
                ("/abs", "file", "S"),
                ("./c//d/.", "dir"),
                ("c/./d/e", "file", "E"),
            )
        ],
        {"b": "f:B", "abs": "f:S", "c": "d", "c/d": "d", "c/d/e": "f:E"},
    ),
    "the root's own attributes": (
        [
            make(("./", "dir", b"", {"mode": 0o700, "uid": 5, "mtime": 9}), ("a", "file", "A")),
            make(("/", "dir", b"", {"mode": 0o751})),
        ],
        {"a": "f:A"},
    ),
    "devices and fifos": (
        [
            make(
                ("null", "char", b"", {"major": 1, "minor": 3, "mode": 0o666}),
                ("disk", "block", b"", {"major": 259, "minor": 70000}),
                ("same", "hard", b"", {"link": "disk"}),
                ("pipe", "fifo", b"", {"mode": 0o620, "uid": 9}),
            )
        ],
        {"null": "c:1:3", "disk": "b:259:70000=disk", "same": "b:259:70000=disk", "pipe": "p"},
    ),
    "overlay's own whiteout": (
        [BASE, make(("etc/one", "char", b"", {"mode": 0}), ("etc/new", "char"))],
        _but("etc/one"),
    ),
    "modes, owners, times": (
        [
            make(
                ("s", "file", "x", {"mode": 0o6755, "uid": 1000, "gid": 4_000_000_000}),
                ("t", "dir", b"", {"mode": 0o1777, "uid": 0xFFFFFFFE}),
                ("old", "file", "x", {"mtime": -1_000_000_000}),
                ("older", "dir", b"", {"mtime": "-1.25"}),
                ("late", "file", "x", {"mtime": 5_000_000_000}),
                ("exact", "link", b"", {"mtime": "1234567890.123456789", "link": "s"}),
                ("none", "file", "", {"mode": 0}),
            )
        ],
        {"s": "f:x", "t": "d", "old": "f:x", "older": "d", "late": "f:x", "exact": "l:s", "none": "f:"},
    ),
    "attributes": (
        [
            make(
                (
                    "f",
                    "file",
                    "x",
                    {"xattrs": {"user.a": b"1", "user.long": b"v" * 2000, "trusted.overlay.opaque": b"y"}},
                ),
                (
                    "cap",
                    "file",
                    "x",
                    {"xattrs": {"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")}},
                ),
                (
                    "d",
                    "dir",
                    b"",
                    {"xattrs": {"user.overlay.redirect": b"/x", "user.d": b"", "trusted.x": b"1"}},
                ),
                ("l", "link", b"", {"link": "f", "xattrs": {"user.a": b"1"}}),
            ),
            make(("f", "file", "y", {"xattrs": {"user.b": b"2"}}), ("d", "dir")),
        ],
        {"f": "f:y", "cap": "f:x", "d": "d", "l": "l:f"},
    ),
    "long names": (
        [
            make(*((f"{'d' * 200}/{'e' * 200}/" + chr(97 + n) * 255, "file", str(n)) for n in range(20))),
            make(("l", "link", b"", {"link": "t/" * 2047 + "t"}), ("m", "link", b"", {"link": "u" * 300})),
        ],
        {
            "d" * 200: "d",
            "d" * 200 + "/" + "e" * 200: "d",
            **{f"{'d' * 200}/{'e' * 200}/" + chr(97 + n) * 255: f"f:{n}" for n in range(20)},
            "l": "l:" + "t/" * 2047 + "t",
            "m": "l:" + "u" * 300,
        },
    ),
    "names of any bytes": (
        [make((b"\xff\xfe\x01\n", "file", "1"), (b"caf\xc3\xa9", "file", "2"), (b"d\\ e", "dir"))],
        {os.fsdecode(b"\xff\xfe\x01\n"): "f:1", "café": "f:2", "d\\ e": "d"},
    ),
    "sizes around blocks": (
        [make(*((f"f{n}", "file", "x" * n) for n in (0, 1, 511, 512, 513, 1024, 4095, 4096, 4097, 100_000)))],
        {f"f{n}": "f:" + "x" * n for n in (0, 1, 511, 512, 513, 1024, 4095, 4096, 4097, 100_000)},
    ),
    "sparse": (
        [
            b"".join(
                make_sparse(b"s" + form.encode(), 70_000, [(0, b"head"), (8192, b"x" * 512), (50_001, b"tail")])
                for form, make_sparse in SPARSE.items()
            )
            + make(("after", "file", "A"))
            + b""
        ],
        {
            **{
                f"s{form}": "f:" + ("head" + "\0" * 8188 + "x" * 512).ljust(50_001, "\0") + "tail".ljust(19_999, "\0")
                for form in SPARSE
            },
            "after": "f:A",
        },
    ),
}


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


def store(directory: object):
    """Paths of a new store below `directory`."""
    from underlay.paths import Paths

    return Paths(f"{directory}/root", f"{directory}/state")


def load(paths, tars: list[bytes]) -> list[str]:
    """Take in these tars and return their diff ids."""
    from underlay.store import intake

    diff_ids = []
    for data in tars:
        intake.ingest(paths, Source(gz(data)), expected_diff_id=digest(data))
        diff_ids.append(digest(data))
    return diff_ids


class Mounted:
    """An image shown through an overlay without an upper directory, as containers see it: for `with`."""

    def __init__(self, paths, form: str, diff_ids: list[str], **keywords: object) -> None:
        self.paths, self.form, self.diff_ids, self.keywords = paths, form, diff_ids, keywords
        self.root = f"{paths.state}/shown-{os.urandom(4).hex()}"

    def __enter__(self) -> str:
        from underlay.linux import mounts
        from underlay.store import rootfs

        self.chain = rootfs.prepare(self.paths, self.form, self.diff_ids, **self.keywords)
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
        from underlay.linux import mounts
        from underlay.store import rootfs

        mounts.umount(self.root)
        os.rmdir(self.root)
        self.hold.release()
        assert rootfs.release_unused(self.paths, self.chain)
