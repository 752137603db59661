"""Forms in which a blob travels (as it is, decompressed, compressed), and media types in docker's and the OCI's words."""

from __future__ import annotations

from ...errors import Corrupt, DigestMismatch, InvalidInput
from ...events import Event
from ...oci import digest as digests
from ...oci import mediatype
from ...store.layers import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ..archives.bag import Content
    from .origin import Origin

KEPT = "kept"
PLAIN = "none"
GZIP = "gzip"
FORMATS = ("oci", "docker")

_PIECE = 1 << 20
_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
# The same thing in the words of both.
_PAIRS = (
    (mediatype.OCI_INDEX, mediatype.DOCKER_INDEX),
    (mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST),
    (mediatype.OCI_CONFIG, mediatype.DOCKER_CONFIG),
    (mediatype.OCI_LAYER, mediatype.DOCKER_LAYER),
    (mediatype.OCI_LAYER_GZIP, mediatype.DOCKER_LAYER_GZIP),
    (_NONDISTRIBUTABLE, _FOREIGN),
    (_NONDISTRIBUTABLE + "+gzip", _FOREIGN + ".gzip"),
)
_CONVERTED = {"oci": {docker: oci for oci, docker in _PAIRS}, "docker": dict(_PAIRS)}


def converted(media_type: str, format: str) -> str:
    """Return a media type in the words of `format` ("" for as it is); one that it has no word for stays."""
    return _CONVERTED[format].get(media_type, media_type) if format else media_type


def compression_of(media_type: str) -> str:
    """Return how a layer of this media type is compressed: none, gzip, zstd. Raises InvalidInput for other types."""
    for suffix, compression in (("gzip", "gzip"), ("zstd", "zstd")):
        if media_type.endswith(("+" + suffix, "." + suffix)):
            return compression
    if mediatype.is_layer(media_type) and media_type.endswith("tar"):
        return "none"
    raise InvalidInput(f"{media_type!r:.80} is not the media type of a layer that can be converted")


def layer_type(media_type: str, form: str) -> str:
    """Return the media type of a layer of `media_type` that has been brought into `form` (none, gzip)."""
    joint = "." if ".docker." in media_type else "+"
    plain = media_type.removesuffix(joint + compression_of(media_type))
    return plain if form == PLAIN else plain + joint + form


class Passing:
    """A blob read at its origin while it is written to its destination, in the form that this one wants.

    `digest` and `size` are those of that form; of a form that is made on the way they are known when `pieces` has ended,
    and `digest` of a plain one beforehand if `diff_id` is given.
    """

    def __init__(self, origin: Origin, blob: Descriptor, emit: Emit, form: str = KEPT, diff_id: str = "") -> None:
        self.subject = blob.digest
        self._origin = origin
        self._blob = blob
        self._emit = emit
        self._form = form
        self._diff_id = diff_id
        self.digest = blob.digest if form == KEPT else diff_id if form == PLAIN else ""
        self.size = blob.size if form == KEPT else -1

    def pieces(self, start: int, /) -> Iterator[bytes]:
        """Yield the bytes from `start` on. Raises DigestMismatch and Corrupt when they are not those that were named, so
        that the right side is blamed, and what reading them raises."""
        content = self._origin.content(self._blob)
        try:
            if self._form == KEPT:
                if start:
                    content.skip(start)
                yield from self._read(content, start)
            else:
                yield from _from(self._made(content), start)
        finally:
            content.close(keep=False)

    def _read(self, content: Content, start: int = 0) -> Iterator[bytes]:
        """Yield what comes; all of it is verified, a rest has its length counted only."""
        algorithm = self._blob.digest.partition(":")[0]
        state = digests.hasher(algorithm)
        position = start
        while data := content.read(_PIECE):
            state.update(data)
            position += len(data)
            if position == self._blob.size and not start:
                actual_digest = f"{algorithm}:{state.hexdigest()}"
                if actual_digest != self._blob.digest:
                    raise DigestMismatch(
                        f"blob {self._blob.digest} of {self._origin.location}", self._blob.digest, actual_digest
                    )
            yield data
            self._emit(Event("blob.progress", self.subject, done=position, total=self._blob.size))
        if position != self._blob.size:
            raise Corrupt(f"blob {self._blob.digest} of {self._origin.location} ends early")

    def _made(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes of another form, and note its digest and size."""
        source = self._read(content)
        packer = codec.compressor(self._form) if self._form != PLAIN else None
        plain, packed, size = digests.hasher(), digests.hasher(), 0
        tar = codec.decompress(lambda: next(source, b""))
        next(tar)
        for piece in tar:
            plain.update(piece)
            made = packer.compress(piece) if packer else piece
            if made:
                packed.update(made)
                size += len(made)
                yield made
        if packer:
            made = packer.flush()
            packed.update(made)
            size += len(made)
            yield made
        for _ in source:
            pass  # what stands behind the end of the compressed data is verified, too
        actual_diff_id = "sha256:" + plain.hexdigest()
        if self._diff_id and actual_diff_id != self._diff_id:
            raise DigestMismatch(
                f"layer {self._blob.digest} of {self._origin.location}: wrong diff id", self._diff_id, actual_diff_id
            )
        self.digest, self.size = "sha256:" + packed.hexdigest(), size


def _from(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    """Yield the bytes from `start` on of what is made from its beginning."""
    position = 0
    for piece in pieces:
        if position + len(piece) > start:
            yield piece[max(start - position, 0) :]
        position += len(piece)
