"""Copying whole repositories by a list: which names it means, where each goes, and what is there already."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ...errors import InvalidInput, NotFound
from ...oci import digest as digests
from ...oci import reference as references
from ...oci.reference import Reference
from ...registry.upload import Target
from . import places
from .archives import DirectoryOrigin, LayoutOrigin, open_directory, open_layout
from .places import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...registry.registries import Registries
    from .walk import Request

_PATTERN = frozenset("*?[")


def read_list(text: str) -> list[str]:
    """Return the entries of a list: one a line, without comments (from `#` on) and empty lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def names(registries: Registries, entry: str) -> list[Reference]:
    """Return the names that an entry means: `REPOSITORY` with all its tags, `REPOSITORY:TAG`, where the tag may be a
    pattern (`1.2*`), or `REPOSITORY@DIGEST`. Raises InvalidInput, NotFound (no such tag), what the registry's answer is.
    """
    entry = entry.removeprefix("docker://")
    stem, colon, last = entry.rpartition(":")
    pattern = last if colon and "/" not in last and "@" not in stem and _PATTERN.intersection(last) else ""
    exact = references.parse_exact(stem if pattern else entry)
    if exact.tag or exact.digest:
        return [exact]
    tags = registries.repository(exact).tags()
    # Signatures lie under tags of this form; they come with what they are of.
    found = [tag for tag in tags if fnmatchcase(tag, pattern or "*") and (pattern or not _is_attached(tag))]
    if not found:
        raise NotFound(f"{exact.familiar_repository} has no tag {pattern}" if pattern else f"{entry} has no tags")
    return [Reference(exact.domain, exact.path, tag) for tag in found]


def _is_attached(tag: str) -> bool:
    return tag.startswith("sha256-") and digests.is_digest(tag[:71].replace("-", ":", 1))


class Into:
    """Where images go: below a prefix of a registry, or below a directory, as `dir` or in one OCI layout each repository.

    `scoped` keeps the name of the registry that they come from in the new one.
    """

    def __init__(self, transport: str, prefix: str, scoped: bool) -> None:
        self._transport = transport
        self._prefix = prefix
        self._scoped = scoped

    @classmethod
    def parse(cls, text: str, scoped: bool) -> Into:
        """Return what `docker://REGISTRY[/PREFIX]` (or without docker://), `dir:PATH` and `oci:PATH` mean."""
        transport, colon, rest = text.partition(":")
        if colon and transport in (places.DIRECTORY, places.LAYOUT):
            if not rest:
                raise InvalidInput(f"{text}: no path", f"write {transport}:PATH")
            return cls(transport, rest, scoped)
        if colon and transport in (places.STORE, places.LAYOUT_ARCHIVE, places.DOCKER_ARCHIVE):
            raise InvalidInput(f"{text}: whole repositories cannot go there", "use a registry, dir:PATH or oci:PATH")
        prefix = text.removeprefix("docker://").rstrip("/")
        first, slash, _ = prefix.partition("/")
        if not slash and (first == "localhost" or "." in first or ":" in first):
            references.parse_exact(f"{first}/name")
        else:
            found = references.parse_exact(prefix)
            if found.tag or found.digest:
                raise InvalidInput(f"{text}: a prefix has neither tag nor digest", "write REGISTRY[/PREFIX]")
        return cls(places.REGISTRY, prefix, scoped)

    def place(self, name: Reference) -> Place:
        """Return the place of one name."""
        path = f"{name.domain.replace(':', '_')}/{name.path}" if self._scoped else name.path
        if self._transport == places.REGISTRY:
            goal = references.parse_exact(f"{self._prefix}/{path}")
            return Place(places.REGISTRY, Reference(goal.domain, goal.path, name.tag, name.digest))
        if self._transport == places.DIRECTORY:
            return Place(places.DIRECTORY, path=f"{self._prefix}/{path}/{name.tag or name.digest.replace(':', '-')}")
        return Place(places.LAYOUT, path=f"{self._prefix}/{path}", name=name.tag)


def already(registries: Registries, name: Reference, place: Place, request: Request) -> str:
    """Return the digest at the destination if it is that of the source, "" when the image must be copied.

    Takes two HEAD requests; works only for copies that keep the digest.
    """
    if request.platform is not None or request.format:
        return ""
    found = registries.repository(name).head(name.digest or name.tag)
    if found is None or not found[0]:
        return ""
    return found[0] if found[0] == _there(registries, place, found[0]) else ""


def _there(registries: Registries, place: Place, digest: str) -> str:
    """Return the digest of what is at a place, "" when there is nothing; without a name there, whether it is `digest`."""
    if place.reference is not None:
        target = Target(registries, place.reference.domain, place.reference.path)
        found = target.head(place.reference.tag or place.reference.digest)
        return found[0] if found is not None else ""
    try:
        if place.transport == places.DIRECTORY:
            origin: DirectoryOrigin | LayoutOrigin = open_directory(place.path)
        else:
            origin = open_layout(place.path, place.name or digest)
    except NotFound:
        return ""
    try:
        return origin.root().digest
    except NotFound:
        return ""
    finally:
        origin.close()
