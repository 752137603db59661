"""Locations of images as `copy` writes them: a transport, then a path or a name (skopeo's words)."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.reference import Reference

REGISTRY = "docker"
STORE = "store"
LAYOUT = "oci"
LAYOUT_ARCHIVE = "oci-archive"
DOCKER_ARCHIVE = "docker-archive"
DIRECTORY = "dir"

_PATHS = (LAYOUT, LAYOUT_ARCHIVE, DOCKER_ARCHIVE, DIRECTORY)
# Transports of others, and what to write instead.
_FOREIGN = {
    "containers-storage": "podman's images: `podman save --format oci-archive -o FILE IMAGE`, then oci-archive:FILE",
    "docker-daemon": "docker's images: `docker save -o FILE IMAGE`, then docker-archive:FILE",
    "ostree": "underlay neither reads nor writes such images",
    "sif": "underlay neither reads nor writes such images",
    "tarball": "import a root file system with `underlay import`",
    "containerd": "containerd's images: `ctr image export FILE IMAGE`, then oci-archive:FILE",
}


class Location:
    """Where an image is, or goes: `transport`, and `reference` (of a registry or the store), or `path` and the `name` of
    the image in it ("" for none)."""

    __slots__ = ("name", "path", "reference", "transport")

    def __init__(self, transport: str, reference: Reference | None = None, path: str = "", name: str = "") -> None:
        self.transport = transport
        self.reference = reference
        self.path = path
        self.name = name

    def __str__(self) -> str:
        if self.reference is not None:
            joint = "docker://" if self.transport == REGISTRY else f"{self.transport}:"
            return joint + self.reference.familiar
        return f"{self.transport}:{self.path}" + (f":{self.name}" if self.name else "")


def parse(text: str) -> Location:
    """Return the location that `text` means: `docker://NAME`, `store:NAME`, `oci:PATH[:NAME]`, `dir:PATH`,
    `oci-archive:PATH[:NAME]`, `docker-archive:PATH[:NAME]`; a name alone is one of a registry.

    A path cannot hold a colon, as with skopeo. Raises InvalidInput, Unsupported for transports of others.
    """
    transport, colon, rest = text.partition(":")
    if colon and transport in _FOREIGN:
        raise Unsupported(f"{text}: the transport {transport} is not supported", _FOREIGN[transport])
    if transport == REGISTRY and rest.startswith("//"):
        return Location(REGISTRY, references.parse(rest[2:]))
    if transport == STORE and colon:
        return Location(STORE, references.parse(rest))
    if transport not in _PATHS or not colon:
        return Location(REGISTRY, references.parse(text))
    if transport == DIRECTORY:
        path, name = rest, ""
    else:
        path, _, name = rest.partition(":")
    if not path:
        raise InvalidInput(
            f"{text}: no path", f"write {transport}:PATH" + ("" if transport == DIRECTORY else "[:NAME]")
        )
    return Location(transport, path=path, name=name)
