"""Compression of layers: detection by content, bounded streaming decompression, reproducible compression."""

from __future__ import annotations

import sys

from ..errors import Corrupt, LimitExceeded, Unsupported
from .limits import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from .limits import Limits

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
_MAGICS = ((b"\x1f\x8b", "gzip"), (_ZSTD, "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"))


def detect(head: bytes) -> str:
    """Return `gzip`, `zstd`, `xz`, `bzip2` or `none` for a stream that begins with `head` (six bytes)."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
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
                "zstd compression needs the package backports.zstd", "install it beside underlay"
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
    data = read()
    while data and len(data) < 6:
        more = read()
        if not more:
            break
        data += more
    kind = detect(data)
    yield kind.encode()
    pieces = _plain(read, data) if kind == "none" else _members(kind, read, data, limits)
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limits.total:
            raise LimitExceeded(f"the layer is larger than {limits.total} bytes when uncompressed")
        yield piece


def _plain(read: Callable[[], bytes], data: bytes) -> Iterator[bytes]:
    while data:
        if len(data) <= CHUNK:
            yield data
        else:
            for start in range(0, len(data), CHUNK):
                yield data[start : start + CHUNK]
        data = read()


def _members(kind: str, read: Callable[[], bytes], data: bytes, limits: Limits) -> Iterator[bytes]:
    make = _DECODERS[kind]
    first = True
    while True:
        data = data or read()
        if not first:
            # Between members: zeros are padding (gzip(1) and xz(1) accept them), anything else starts a
            # member.
            data = data.lstrip(b"\0")
            while not data:
                data = read()
                if not data:
                    return
                data = data.lstrip(b"\0")
            while len(data) < 6:
                more = read()
                if not more:
                    break
                data += more
            if detect(data) != kind:
                raise Corrupt(f"the {kind} stream is followed by bytes that are not {kind}")
        first = False
        if kind == "gzip":
            # isal loses its way when a header with a name or extra field comes in pieces.
            while not _gzip_header_whole(data):
                more = read()
                if not more or len(data) > CHUNK:
                    raise Corrupt("the gzip stream ends in the middle of its header, or that is endless")
                data += more
        decoder = make(limits)
        while True:
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
            if decoder.eof:
                data = decoder.unused_data
                break
            if decoder.needs_input:
                data = read()
                if not data:
                    raise Corrupt(f"the {kind} stream ends in the middle")


def _gzip_header_whole(data: bytes) -> bool:
    """Tell whether `data` holds all of a member's header (RFC 1952, section 2.3)."""
    if len(data) < 10:
        return False
    flags = data[3]
    end = 10
    if flags & 4:  # extra field
        end += 2 + int.from_bytes(data[10:12], "little")
    for flag in (8, 16):  # name, comment
        if flags & flag:
            end = data.find(b"\0", end) + 1
            if not end:
                return False
    if flags & 2:  # checksum of the header
        end += 2
    return len(data) >= end


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
    raise Unsupported(f"cannot compress as {kind}", "gzip and zstd are known")
