"""What a registry has: its repositories, those below a namespace, and the tags of a repository."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, InvalidInput, NotFound, UnderlayError
from ...oci import reference as references
from ...oci.reference import Reference
from ...registry import repository
from ...registry.registries import Registries
from ...store.rows import images
from ..paging import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.engine import Engine

    Facts = dict[str, Any]

_OFFICIAL = "library"  # the namespace of the official images of Docker Hub
NAMES = 200  # repositories or tags on one page
LONGEST = 500  # characters of what is typed
_SCHEMES = ("docker://", "https://", "http://")
_FRESH = 60.0  # seconds for which a list is kept, so that its next page comes at once
_KEPT = 16  # lists
_LARGEST = 20_000  # names of a list that is kept


class Place:
    """What was typed: a registry (`path` is ""), a namespace or repository in it, or with `reference` an image.

    `namespace` is the one of Docker Hub that may be meant: "team" for docker.io/team (which names the repository
    docker.io/library/team, too), "library" for docker.io alone, "" for all else.
    """

    __slots__ = ("domain", "namespace", "path", "reference")

    def __init__(self, domain: str, path: str = "", reference: Reference | None = None, namespace: str = "") -> None:
        self.domain = domain
        self.path = path
        self.reference = reference
        self.namespace = namespace

    def __str__(self) -> str:
        if not self.path:
            return self.domain
        return (
            f"{self.domain}/{self.namespace}"
            if self.namespace
            else Reference(self.domain, self.path).familiar_repository
        )


def parse(text: str) -> Place:
    """Return the place that a text names: a registry with or without a slash at its end, or a name of an image as far as
    it goes. Raises InvalidInput."""
    for scheme in _SCHEMES:
        text = text.removeprefix(scheme)
    plain = text.rstrip("/")
    if not plain or len(plain) > LONGEST:
        raise InvalidInput("no registry or repository is named", "type registry.example.com/team, or python")
    if "/" not in plain and (text.endswith("/") or _is_host(plain)):
        reference = references.parse_exact(f"{plain}/x")
        if reference.domain != plain and plain != "index.docker.io":
            raise InvalidInput(f"{plain[:100]} is not the name of a registry", "write it as host, or host:port")
        return Place(reference.domain, namespace=_OFFICIAL if reference.domain == references.DEFAULT_DOMAIN else "")
    reference = references.parse_exact(plain)
    if reference.tag or reference.digest:
        return Place(reference.domain, reference.path, reference)
    first, _, rest = plain.partition("/")
    is_namespace = reference.domain == references.DEFAULT_DOMAIN and _is_host(first) and rest and "/" not in rest
    return Place(reference.domain, reference.path, namespace=rest if is_namespace else "")


def _is_host(text: str) -> bool:
    """Return whether a text without a slash is a host rather than a repository, which may have a tag behind a colon."""
    name = text if text.startswith("[") else text.partition(":")[0]
    return name.startswith("[") or "." in name or name == "localhost"


class Lists:
    """Lists of registries that were read in the last minute. Several threads may use it."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], tuple[float, list[str]]] = {}
        self._lock = threading.Lock()

    def of(self, kind: str, place: str, read: Callable[[], list[str]]) -> list[str]:
        """Return a list, from memory or as `read` gets it. Raises what that raises."""
        now = time.monotonic()
        with self._lock:
            self._lists = {key: known for key, known in self._lists.items() if now - known[0] < _FRESH}
            if (kind, place) in self._lists:
                return self._lists[kind, place][1]
        names = read()
        with self._lock:
            if len(names) <= _LARGEST:
                self._lists[kind, place] = time.monotonic(), names
            while len(self._lists) > _KEPT:
                del self._lists[next(iter(self._lists))]
        return names


def contents(
    engine: Engine, lists: Lists, place: Place, pages: tuple[int, int], wanted: str, opened: list[Registries]
) -> Facts:
    """Return a page of the repositories of a place, and of the tags that it has as a repository.

    `pages` are the numbers of these two; tags are those with `wanted` in them. What cannot be had is None, with the error
    beside it. Raises the error when nothing can be had.
    """
    facts: Facts = {"place": place, "repositories": None, "unlisted": None, "tags": None, "no_tags": None, "odd": 0}
    with _session(engine, opened) as session:
        if place.path:
            try:
                facts |= tags(engine, lists, session, place, pages[1], wanted)
            except (NotFound, AccessDenied) as error:
                facts["no_tags"] = error  # it may be a namespace
        try:
            names = _repositories(lists, session, place)
        except UnderlayError as error:
            if not place.path:
                raise
            facts["unlisted"] = error
        else:
            known = [name for name in names if _is_name(place.domain, name)]
            start = f"{place.namespace or place.path}/" if place.path else ""
            below = [name for name in known if name.startswith(start)]
            facts["repositories"], facts["odd"] = Page(sorted(below), pages[0], NAMES), len(names) - len(known)
    if facts["no_tags"] is not None and not (facts["repositories"] and facts["repositories"].count):
        raise (facts["unlisted"] if place.namespace else None) or facts["no_tags"]
    return facts


def _repositories(lists: Lists, session: Registries, place: Place) -> list[str]:
    """Return all repositories of a registry, or of the namespace of Docker Hub. Raises Unsupported, RegistryError."""
    if place.domain != references.DEFAULT_DOMAIN:
        return lists.of("repositories", place.domain, lambda: repository.catalog(session, place.domain))
    if not place.namespace:
        return []  # a repository has none below it there
    return lists.of("namespace", place.namespace, lambda: repository.hub_repositories(session, place.namespace))


def _session(engine: Engine, opened: list[Registries]) -> Registries:
    store = engine._store
    session = Registries(store.emit, credentials=store.credentials)
    opened.append(session)
    return session


def tags_of(engine: Engine, lists: Lists, place: Place, page: int, wanted: str, opened: list[Registries]) -> Facts:
    """Return a page of the tags of a repository, as `tags` does."""
    with _session(engine, opened) as session:
        return tags(engine, lists, session, place, page, wanted)


def tags(engine: Engine, lists: Lists, session: Registries, place: Place, page: int, wanted: str) -> Facts:
    """Return a page of the tags of a repository, in the order of its registry, and the images here that have such a name.

    Raises NotFound, AccessDenied, RegistryError.
    """
    target = Reference(place.domain, place.path)
    names = lists.of("tags", str(target), lambda: session.repository(target).tags())
    chosen = Page([name for name in names if wanted in name], page, NAMES)
    prefix = f"{target.repository}:"
    here = {
        name.removeprefix(prefix): image_id
        for name, _, image_id in images.names(engine._store.meta)
        if name.startswith(prefix)
    }
    return {"tags": chosen, "all_tags": len(names), "wanted": wanted, "here": here}


def _is_name(domain: str, path: str) -> bool:
    """Return whether a name in a catalogue can be one of a repository: a registry may list anything."""
    try:
        reference = references.parse_exact(f"{domain}/{path}")
    except InvalidInput:
        return False
    return (reference.domain, reference.path, reference.tag, reference.digest) == (domain, path, "", "")


def repository_of(name: str) -> str:
    """Return the repository in the name of an image, in its short form. Raises InvalidInput."""
    return references.parse(name).familiar_repository
