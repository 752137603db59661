"""Copying whole repositories by a list: which names it means, where each goes, and what is there already."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ...errors import InvalidInput, NotFound
from ...oci import digest as digests
from ...oci import reference as references
from ...oci.reference import Reference
from ...registry.upload import Target
from . import locations
from .archives import DirectoryOrigin, LayoutOrigin, open_directory, open_layout
from .locations import Location

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
    matching = [tag for tag in tags if fnmatchcase(tag, pattern or "*") and (pattern or not _is_attached(tag))]
    if not matching:
        raise NotFound(f"{exact.familiar_repository} has no tag {pattern}" if pattern else f"{entry} has no tags")
    return [Reference(exact.domain, exact.path, tag) for tag in matching]


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
        if colon and transport in (locations.DIRECTORY, locations.LAYOUT):
            if not rest:
                raise InvalidInput(f"{text}: no path", f"write {transport}:PATH")
            return cls(transport, rest, scoped)
        if colon and transport in (locations.STORE, locations.LAYOUT_ARCHIVE, locations.DOCKER_ARCHIVE):
            raise InvalidInput(
                f"{text}: sync cannot write whole repositories to this transport",
                "use a registry, dir:PATH or oci:PATH",
            )
        prefix = text.removeprefix("docker://").rstrip("/")
        first, slash, _ = prefix.partition("/")
        if not slash and (first == "localhost" or "." in first or ":" in first):
            references.parse_exact(f"{first}/name")
        else:
            reference = references.parse_exact(prefix)
            if reference.tag or reference.digest:
                raise InvalidInput(
                    f"{text}: the prefix of a destination cannot have a tag or a digest", "write REGISTRY[/PREFIX]"
                )
        return cls(locations.REGISTRY, prefix, scoped)

    def location(self, name: Reference) -> Location:
        """Return the destination of one name."""
        path = f"{name.domain.replace(':', '_')}/{name.path}" if self._scoped else name.path
        if self._transport == locations.REGISTRY:
            goal = references.parse_exact(f"{self._prefix}/{path}")
            return Location(locations.REGISTRY, Reference(goal.domain, goal.path, name.tag, name.digest))
        if self._transport == locations.DIRECTORY:
            return Location(
                locations.DIRECTORY, path=f"{self._prefix}/{path}/{name.tag or name.digest.replace(':', '-')}"
            )
        return Location(locations.LAYOUT, path=f"{self._prefix}/{path}", name=name.tag)


def already(registries: Registries, name: Reference, location: Location, request: Request) -> str:
    """Return the digest at the destination if it is that of the source, "" when the image must be copied.

    Takes two HEAD requests; works only for copies that keep the digest.
    """
    if request.platform is not None or request.format:
        return ""
    head = registries.repository(name).head(name.digest or name.tag)
    if head is None or not head[0]:
        return ""
    return head[0] if head[0] == _there(registries, location, head[0]) else ""


def _there(registries: Registries, location: Location, digest: str) -> str:
    """Return the digest of the image at `location`, "" without one; where images have no name, that is `digest` or ""."""
    if location.reference is not None:
        target = Target(registries, location.reference.domain, location.reference.path)
        head = target.head(location.reference.tag or location.reference.digest)
        return head[0] if head is not None else ""
    try:
        if location.transport == locations.DIRECTORY:
            origin: DirectoryOrigin | LayoutOrigin = open_directory(location.path)
        else:
            origin = open_layout(location.path, location.name or digest)
    except NotFound:
        return ""
    try:
        return origin.root().digest
    except NotFound:
        return ""
    finally:
        origin.close()
