"""Writing tar headers: ustar where that can say it, pax records in front where it cannot (POSIX.1-2017, pax)."""

from __future__ import annotations

from zlib import adler32

from ...errors import InvalidInput
from . import toc
from .toc import Entry, shown

BLOCK = 512
_FLAGS = {
    toc.REGULAR: b"0",
    toc.HARDLINK: b"1",
    toc.SYMLINK: b"2",
    toc.CHARACTER: b"3",
    toc.BLOCK: b"4",
    toc.DIRECTORY: b"5",
    toc.FIFO: b"6",
}
_OCTAL_7 = 1 << 21  # the first numbers that seven and eleven octal digits cannot say
_OCTAL_11 = 1 << 33
_NO_DEVICE = b"0000000\x000000000\0"
_END = bytes(12)
_NUMBERS = b"%07o\0%07o\0%07o\0%011o\0%011o\0"


def header(entry: Entry) -> bytes:
    """Return the blocks that stand before the data of `entry`; the same for the same entry, always.

    Raises InvalidInput for an extended attribute whose name a tar cannot hold.
    """
    name, link = entry.name, entry.link
    uid, gid, size, mtime = entry.uid, entry.gid, entry.size, entry.mtime
    records = b""
    prefix = b""
    if len(name) > 100 or not name.isascii():
        split = _split(name)
        if split is None:
            records += _record(b"path", name)
            name = name[:100]
        else:
            prefix, name = split
    if len(link) > 100 or not link.isascii():
        records += _record(b"linkpath", link)
        link = link[:100]
    if uid >= _OCTAL_7:
        records += _record(b"uid", b"%d" % uid)
        uid = 0
    if gid >= _OCTAL_7:
        records += _record(b"gid", b"%d" % gid)
        gid = 0
    if size >= _OCTAL_11:
        records += _record(b"size", b"%d" % size)
        size = 0
    if entry.nsec or not 0 <= mtime < _OCTAL_11:
        records += _record(b"mtime", _time(mtime, entry.nsec))
        mtime = max(mtime, 0) if mtime < _OCTAL_11 else 0
    for key, value in entry.xattrs:
        if b"=" in key:
            raise InvalidInput(f"{shown(entry.name)}: a tar cannot hold an extended attribute called {shown(key)}")
        records += _record(b"SCHILY.xattr." + key, value)
    device = b"%07o\0%07o\0" % (entry.major, entry.minor) if entry.major or entry.minor else _NO_DEVICE
    block = _block(_FLAGS[entry.kind], name, (entry.mode, uid, gid, size, mtime), link, device, prefix)
    if not records:
        return block
    # The name is for those who do not know pax, and show such a header as a file.
    label = b"PaxHeaders.0/" + entry.name.rstrip(b"/").rpartition(b"/")[2][:80]
    extension = _block(b"x", label, (0o644, 0, 0, len(records), 0), b"", _NO_DEVICE, b"")
    return extension + records + bytes(-len(records) % BLOCK) + block


def _block(flag: bytes, name: bytes, numbers: tuple[int, ...], link: bytes, device: bytes, prefix: bytes) -> bytes:
    """Return one header; `numbers` are mode, uid, gid, size and mtime."""
    left = name.ljust(100, b"\0") + _NUMBERS % numbers
    right = flag + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + device + prefix.ljust(155, b"\0") + _END
    # adler32's low half is 1 + the sum modulo 65521, which no half of a header reaches. The checksum's own field counts
    # as eight spaces.
    total = (adler32(left) & 0xFFFF) + (adler32(right[:180]) & 0xFFFF) + (adler32(right[180:]) & 0xFFFF) - 3 + 256
    return left + b"%06o\0 " % total + right


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Return prefix and name as ustar's two fields hold a long path, None where they cannot."""
    if not name.isascii() or len(name) > 256:
        return None
    # A directory's final slash stays with its name.
    cut = name.rfind(b"/", 0, min(156, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > 100:
        return None
    return name[:cut], name[cut + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """Return one pax record; the length in front counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _time(seconds: int, nanoseconds: int) -> bytes:
    """Return a time as pax writes it: the sign is for the whole, so -1.25 means (-2, 750000000)."""
    if not nanoseconds:
        return b"%d" % seconds
    sign = b""
    if seconds < 0:
        seconds, nanoseconds, sign = -seconds - 1, 1_000_000_000 - nanoseconds, b"-"
    return b"%s%d.%s" % (sign, seconds, (b"%09d" % nanoseconds).rstrip(b"0"))
