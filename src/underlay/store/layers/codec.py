"""Compression of layers: detection by content, bounded streaming decompression, reproducible compression."""

from __future__ import annotations

import sys

from ...errors import Corrupt, LimitExceeded, Unsupported
from ..limits import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from ..limits import Limits

    class Decoder(Protocol):
        """One member or frame: the interface that bz2, lzma and zstd share in the standard library."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...

    class Compressor(Protocol):
        """Takes plain bytes, gives compressed ones."""

        def compress(self, data: bytes, /) -> bytes: ...
        def flush(self) -> bytes: ...


# Large pieces keep the share of time outside the interpreter lock high; larger ones gain nothing more.
CHUNK = 1 << 20

_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGICS = ((b"\x1f\x8b\x08", "gzip"), (_ZSTD, "zstd"), (b"\xfd7zXZ\x00", "xz"))
# What follows bzip2's letters and level: a block, or in an empty stream the end. The letters alone could be a
# plain tar's first name.
_BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")


def detect(head: bytes) -> str:
    """Return `gzip`, `zstd`, `xz`, `bzip2` or `none` for a stream that begins with `head` (ten bytes)."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head[:3] == b"BZh" and any(magic.startswith(head[4:10]) for magic in _BZIP2):
        return "bzip2"
    # A skippable frame (RFC 8878, section 3.1.2) may come first: 0x184D2A50 to 0x184D2A5F, little-endian.
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return "zstd"
    return "none"


class _Zlib:
    """The interface of `Decoder` over zlib, for machines without isal."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)
        self._rest = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._inner.decompress(self._rest + data if self._rest else data, max(max_length, 0))
        self._rest = self._inner.unconsumed_tail
        # With a full output more may be waiting inside although all input is taken.
        self.needs_input = not self._rest and len(out) < max_length
        return out


def _gzip_decoder(limits: Limits) -> Decoder:
    try:
        from isal import igzip_lib
    except ImportError:
        return _Zlib()
    decoder: Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decoder


def _zstd() -> object:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        try:
            from backports import zstd
        except ImportError:
            raise Unsupported(
                "zstd compression needs the package backports.zstd", "install it in underlay's Python environment"
            ) from None
    return zstd


def _zstd_decoder(limits: Limits) -> Decoder:
    zstd: object = _zstd()
    option = zstd.DecompressionParameter.window_log_max  # type: ignore[attr-defined]
    decoder: Decoder = zstd.ZstdDecompressor(options={option: limits.window_log})  # type: ignore[attr-defined]
    return decoder


def _xz_decoder(limits: Limits) -> Decoder:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.xz_memory)


def _bzip2_decoder(limits: Limits) -> Decoder:
    import bz2

    return bz2.BZ2Decompressor()


_DECODERS: dict[str, Callable[[Limits], Decoder]] = {
    "gzip": _gzip_decoder,
    "zstd": _zstd_decoder,
    "xz": _xz_decoder,
    "bzip2": _bzip2_decoder,
}


def decompress(read: Callable[[], bytes], limits: Limits = DEFAULT) -> Iterator[bytes]:
    """Yield the compression's name, then the plain bytes of a stream in pieces of at most `CHUNK`.

    `read()` returns the next compressed piece, empty at the end. Several members or frames in a row are one
    stream; zero bytes after the last member are tolerated, other bytes are not. The stream is read to its
    end. Raises Corrupt for damaged, truncated or trailing bytes, LimitExceeded beyond `limits.total` plain
    bytes or the decoders' memory bounds, and what `read` raises.
    """
    source = _Input(read, limits.total + (limits.total >> 4))
    kind = detect(source.peek(10))
    yield kind.encode()
    total = 0
    for piece in _plain(source) if kind == "none" else _members(kind, source, limits):
        total += len(piece)
        if total > limits.total:
            raise LimitExceeded(f"the layer is larger than {limits.total} bytes when uncompressed")
        yield piece


class _Input:
    """Compressed bytes, of which some can be looked at before they are taken, or be given back."""

    def __init__(self, read: Callable[[], bytes], limit: int) -> None:
        self._read = read
        self._left = limit
        self._data = b""
        self._position = 0

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes without taking them; fewer at the end only."""
        while len(self._data) - self._position < count:
            more = self._read()
            if not more:
                break
            self._left -= len(more)
            if self._left < 0:
                raise LimitExceeded("the compressed layer is too long")
            self._data = self._data[self._position :] + more
            self._position = 0
        return self._data[self._position : self._position + count]

    def take(self, most: int) -> bytes:
        """Return and take some bytes, at most `most`; none at the end."""
        if self._position == len(self._data):
            self.peek(1)
        data = self._data[self._position : self._position + most]
        self._position += len(data)
        return data

    def back(self, count: int) -> None:
        """Give back the last `count` bytes of what was taken last."""
        self._position -= count


def _plain(source: _Input) -> Iterator[bytes]:
    while data := source.take(CHUNK):
        yield data


def _members(kind: str, source: _Input, limits: Limits) -> Iterator[bytes]:
    make = _DECODERS[kind]
    count = 0
    while True:
        if count:
            # Between members: zeros are padding (gzip(1) and xz(1) accept them), anything else starts a
            # member.
            while (data := source.take(4096)) and not data.strip(b"\0"):
                pass
            if not data:
                return
            source.back(len(data.lstrip(b"\0")))
            if detect(source.peek(10)) != kind:
                raise Corrupt(f"the {kind} stream is followed by bytes that are not {kind}")
        count += 1
        # Some formats have a member for each file. More than that is a way to give nothing for ever.
        if count > 2 * limits.members + 16:
            raise LimitExceeded(f"the {kind} stream has more than {count - 1} members")
        # What follows a member's end is copied by its decoder, so short members must not be given much at
        # once.
        size = 4096
        if kind == "gzip":
            size = max(size, _gzip_header(source))
        elif kind == "zstd":
            _check_window(source.peek(18), 1 << limits.window_log)
        decoder = make(limits)
        data = b""
        while not decoder.eof:
            if decoder.needs_input:
                data = source.take(size)
                size = min(2 * size, CHUNK)
                if not data:
                    raise Corrupt(f"the {kind} stream ends in the middle")
            try:
                piece = decoder.decompress(data, CHUNK)
            except Exception as error:
                # Each library has its own class of error; all they can mean is that the bytes are bad or that
                # the decoder would need more memory than it may have.
                if isinstance(error, MemoryError) or "memory" in str(error).lower():
                    raise LimitExceeded(f"the {kind} stream needs too much memory: {error}") from None
                raise Corrupt(f"the {kind} stream is damaged: {error}") from None
            data = b""
            if piece:
                yield piece
        source.back(len(decoder.unused_data))


def _gzip_header(source: _Input) -> int:
    """Return the length of the header of the member that begins now (RFC 1952, section 2.3).

    All of it must be given to the decoder at once: isal loses its way when a header with a name or an extra
    field comes in pieces.
    """
    size = 512
    while True:
        data = source.peek(size)
        flags = data[3] if len(data) >= 10 else 0
        end = 10
        if flags & 4:  # extra field
            end += 2 + int.from_bytes(data[10:12], "little")
        for flag in (8, 16):  # name, comment
            if flags & flag and end:
                end = data.find(b"\0", end) + 1
        if end:
            end += flags & 2  # checksum of the header
            if end <= len(data):
                return end
        if len(data) < size or size > CHUNK:
            raise Corrupt("the gzip header is truncated or too long")
        size *= 2


def _check_window(head: bytes, most: int) -> None:
    """Raise LimitExceeded when the zstd frame that begins with `head` asks for a window of more than `most` bytes.

    (RFC 8878, section 3.1.1.1.) The decoder has the same limit, but does not tell how much was asked for.
    """
    if not head.startswith(_ZSTD) or len(head) < 6:
        return
    flags = head[4]
    if flags & 0x20:  # a single segment: as large as its content
        size = (1, 2, 4, 8)[flags >> 6]
        at = 5 + (0, 1, 2, 4)[flags & 3]
        window = int.from_bytes(head[at : at + size], "little") + (256 if size == 2 else 0)
    else:
        base = 1 << (10 + (head[5] >> 3))
        window = base + base // 8 * (head[5] & 7)
    if window > most:
        raise LimitExceeded(
            f"the zstd stream needs a window of {window} bytes, which is more than the {most} that a layer may have",
            "compress it again without `--long`, or with `--long=27`",
        )


def recipe(kind: str) -> str:
    """Return what the bytes of `compressor(kind)` depend on besides their input: library, its version, level."""
    if kind == "gzip":
        try:
            import isal
        except ImportError:
            import zlib

            return f"gzip zlib {zlib.ZLIB_RUNTIME_VERSION} 6"
        return f"gzip isal {isal.ISAL_VERSION} 2"
    raise Unsupported(f"compression with {kind} is not reproducible", "use gzip")


def compressor(kind: str, level: int | None = None) -> Compressor:
    """Return a compressor for `gzip` or `zstd` whose output depends on its input, level and library only.

    Neither time nor name is written into gzip's header (RFC 1952, section 2.3). `level` is the library's own:
    0 to 3 for gzip through isal, else 1 to 9 for zlib; 1 to 22 for zstd. Raises Unsupported for other kinds.
    """
    made: Compressor
    if kind == "gzip":
        try:
            from isal import isal_zlib
        except ImportError:
            import zlib

            return zlib.compressobj(6 if level is None else level, zlib.DEFLATED, 31)
        made = isal_zlib.compressobj(2 if level is None else min(level, 3), isal_zlib.DEFLATED, 31)
        return made
    if kind == "zstd":
        zstd: object = _zstd()
        made = zstd.ZstdCompressor(level=3 if level is None else level)  # type: ignore[attr-defined]
        return made
    raise Unsupported(f"unknown compression {kind}", "choose gzip or zstd")
