"""One repository: manifests, blobs, tags, referrers (OCI distribution specification 1.1, "Endpoints")."""

from __future__ import annotations

from .. import events
from ..errors import (
    Corrupt,
    DigestMismatch,
    InvalidInput,
    LimitExceeded,
    NotFound,
    RegistryError,
    UnderlayError,
    Unreachable,
    Unsupported,
)
from ..lean import jsontext
from ..oci import digest as digests
from ..oci import document, mediatype
from . import problems
from .download import Download
from .hosts import HUB
from .transport import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import TypeVar

    from ..oci.descriptor import Descriptor
    from .exchange import Server
    from .hosts import Endpoint
    from .registries import Registries
    from .transport import Answer

    T = TypeVar("T")

_ACCEPTED = ", ".join(
    (mediatype.OCI_INDEX, mediatype.OCI_MANIFEST, mediatype.DOCKER_INDEX, mediatype.DOCKER_MANIFEST, "*/*;q=0.1")
)
_SCHEMA_ONE = "application/vnd.docker.distribution.manifest.v1+"
_PAGE_LIMIT = 4 << 20  # bytes of one page of a list
_PAGES_LIMIT = 1000
_NAMES_LIMIT = 200_000
_PAGE = 1000  # names to ask for a page
_HUB_PAGE = 100  # repositories, the most on a page of Docker Hub
_HUB_PAGES = 100  # beyond, a list is refused rather than cut
_NAME_LIMIT = 255  # characters; what is longer is the name of nothing, and would fill our memory
# What servers answer that know no HEAD, but GET.
_NO_HEAD = frozenset((400, 403, 405, 406, 501))


class FetchedManifest:
    """A manifest or an index as it came: `data`, its `digest`, the `media_type` that the server stated ("" if none)."""

    __slots__ = ("data", "digest", "media_type")

    def __init__(self, data: bytes, digest: str, media_type: str) -> None:
        self.data = data
        self.digest = digest
        self.media_type = media_type


class Repository:
    """A repository of a registry, for reading. See `upload.Target` for writing."""

    def __init__(self, registries: Registries, domain: str, path: str) -> None:
        self.registries = registries
        self.domain = domain
        self.path = path
        self.scopes: tuple[str, ...] = (f"repository:{path}:pull",)
        self.allowance: problems.Allowance | None = None  # as the last answer about a manifest said

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}"

    # Which server

    def asked(self, work: Callable[[Server], T], without: Collection[Server] = ()) -> T:
        """Return what `work` gets from the first server that has it: mirrors first, the registry itself last.

        Servers in `without` are not asked.
        """
        servers = [
            candidate for candidate in self.registries.servers(self.domain, path=self.path) if candidate not in without
        ]
        only_tls = None
        for number, server in enumerate(servers):
            last = number == len(servers) - 1
            if server.endpoint.server_key == only_tls:
                continue
            try:
                result = self._tried(work, server)
            except Unreachable as error:
                only_tls = server.endpoint.server_key if error.speaks_tls else None
                if last or (error.speaks_tls and not server.endpoint.mirror):
                    raise first_reason(servers, error, number) from None
                problem: UnderlayError = error
            except (RegistryError, NotFound, Corrupt, InvalidInput, LimitExceeded, Unsupported) as error:
                if last or not server.endpoint.mirror:
                    raise
                problem = error
            else:
                self.registries.remember(self.domain, False, server)
                return result
            # Of a mirror that may do without TLS, the failure of TLS alone is none.
            if server.endpoint.mirror and not (
                isinstance(problem, Unreachable)
                and not problem.speaks_tls
                and _without_tls(server.endpoint, servers[number + 1].endpoint)
            ):
                self.failed(server, problem.message)
        raise AssertionError("no server")

    def failed(self, mirror: Server, reason: str) -> None:
        """Tell that another server is asked in place of a mirror."""
        self.registries.emit(events.Event("registry.mirror", mirror.endpoint.authority, reason=reason))

    def _tried(self, work: Callable[[Server], T], server: Server) -> T:
        """Return what `work` gets from a server, again when an answer breaks off in its middle."""
        tries = self.registries.settings.network.retries
        for attempt in range(1, tries + 1):
            try:
                return work(server)
            except Broken as error:
                if attempt == tries or error.final:
                    raise
                server.pause(0.2 * 2**attempt, error.message)
        raise AssertionError("unreachable")

    # Manifests

    def manifest(self, name: str) -> FetchedManifest:
        """Return the manifest or index of a tag or digest, verified as far as there is something to verify it by.

        Raises NotFound, AccessDenied, DigestMismatch, LimitExceeded, Unsupported (schema 1), RegistryError.
        """
        return self.asked(lambda server: self._manifest(server, name))

    def _manifest(self, server: Server, name: str) -> FetchedManifest:
        what = f"manifest for {self.shown(name)}"
        answer = server.ask("GET", f"/v2/{self.path}/manifests/{name}", self.scopes, {"accept": _ACCEPTED})
        self.allowance = problems.allowance(answer) or self.allowance
        if answer.status != 200:
            raise problems.of(answer, what)
        with answer:
            data = answer.document(document.MANIFEST_LIMIT, what)
            if 0 <= answer.length != len(data):
                raise Broken(f"{what}: the answer ended early")
            stated = answer.headers.get("docker-content-digest", "")
            media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if digests.is_digest(name):
            digests.verify(data, name, what)
            digest = name
        else:
            if digests.is_digest(stated):
                digests.verify(data, stated, f"{what}: the registry states a digest that it does not have")
            digest = digests.of(data)
        self._check_kind(data, media_type, what)
        return FetchedManifest(data, digest, media_type)

    def _check_kind(self, data: bytes, media_type: str, what: str) -> None:
        """Refuse what is of another kind than the server says (specification, "Pulling manifests"), and schema 1."""
        value = document.decode(data, what)
        version = value.get("schemaVersion") if isinstance(value, dict) else None
        if media_type.startswith(_SCHEMA_ONE) or version == 1:
            raise Unsupported(
                f"{what}: a manifest of schema 1, which is obsolete and not supported",
                "pull it with an old docker and push it again, or ask its owner for a newer image",
            )
        inner = value.get("mediaType") if isinstance(value, dict) else None
        known = mediatype.INDEXES | mediatype.MANIFESTS
        if media_type in known and isinstance(inner, str) and inner in known and inner != media_type:
            raise InvalidInput(f"{what}: its Content-Type is {media_type}, but its mediaType is {inner}")

    def shown(self, name: str) -> str:
        """Return the repository with a tag or digest, as it is written."""
        from ..oci.reference import Reference

        digest = digests.is_digest(name)
        return Reference(self.domain, self.path, "" if digest else name, name if digest else "").familiar

    def head(self, name: str) -> tuple[str, int, str] | None:
        """Return (digest, size, media type) of a manifest without fetching it, None when it is not there.

        A server that does not answer such questions is asked for the manifest itself. The digest is the registry's
        word. It may be "" with old servers. Raises AccessDenied, RegistryError.
        """

        def ask(server: Server) -> tuple[str, int, str] | None:
            answer = server.ask("HEAD", f"/v2/{self.path}/manifests/{name}", self.scopes, {"accept": _ACCEPTED})
            self.allowance = problems.allowance(answer) or self.allowance
            with answer:
                # Of a tag who asks will ask by GET next; a digest is only looked for.
                if answer.status == 404 and not digests.is_digest(name):
                    return None
                if answer.status not in (200, 404, *_NO_HEAD):
                    raise problems.of(answer, f"manifest for {self.shown(name)}")
                stated = answer.headers.get("docker-content-digest", "")
                media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                if answer.status == 200:
                    return (stated if digests.is_digest(stated) else ""), max(answer.length, 0), media_type
            try:
                fetched = self._manifest(server, name)
            except NotFound:
                return None
            return fetched.digest, len(fetched.data), fetched.media_type

        return self.asked(ask)

    # Blobs

    def blob(self, descriptor: Descriptor) -> Download:
        """Return the blob as something to read from; nothing is asked before the first `read`."""
        return Download(self, descriptor.digest, descriptor.size)

    def part(self, descriptor: Descriptor, begin: int, length: int) -> bytes | None:
        """Return `length` bytes of a blob from `begin` on, not verified; None when the server gives no ranges.

        Raises NotFound, AccessDenied, RegistryError (another range than was asked for)."""
        return self.asked(lambda server: self._part(server, descriptor, begin, length))

    def _part(self, server: Server, descriptor: Descriptor, begin: int, length: int) -> bytes | None:
        what = f"blob {descriptor.digest}"
        headers = {"range": f"bytes={begin}-{begin + length - 1}"}
        answer = server.ask("GET", f"/v2/{self.path}/blobs/{descriptor.digest}", self.scopes, headers)
        if answer.status == 200:
            answer.close()
            return None
        if answer.status != 206:
            raise problems.of(answer, what)
        with answer:
            stated = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")[0]
            data = answer.document(length, what)
        if stated != f"{begin}-{begin + length - 1}" or len(data) != length:
            raise RegistryError(f"{what}: asked for bytes {begin}-{begin + length - 1}, got {stated!r:.60}")
        return data

    def document(self, descriptor: Descriptor, limit: int, what: str) -> bytes:
        """Return the verified bytes of a small blob. Raises LimitExceeded before anything is fetched, DigestMismatch."""
        if descriptor.size > limit:
            raise LimitExceeded(f"{what} {descriptor.digest}: {descriptor.size} bytes, more than {limit}")
        return self.asked(lambda server: self._document(server, descriptor, what))

    def _document(self, server: Server, descriptor: Descriptor, what: str) -> bytes:
        what = f"{what} {descriptor.digest}"
        answer = server.ask("GET", f"/v2/{self.path}/blobs/{descriptor.digest}", self.scopes)
        if answer.status != 200:
            raise problems.of(answer, what)
        with answer:
            if answer.length >= 0 and answer.length != descriptor.size:
                raise DigestMismatch(f"{what}: wrong size", f"{descriptor.size} bytes", answer.length)
            try:
                data = answer.document(descriptor.size, what)
            except LimitExceeded:
                raise DigestMismatch(f"{what}: wrong size", f"{descriptor.size} bytes", "more") from None
        if len(data) != descriptor.size:
            raise DigestMismatch(f"{what}: wrong size", f"{descriptor.size} bytes", len(data))
        digests.verify(data, descriptor.digest, what)
        return data

    def has_blob(self, digest: str) -> bool:
        """Tell whether the repository is known to have a blob. Raises AccessDenied, RegistryError."""

        def ask(server: Server) -> bool:
            answer = server.ask("HEAD", f"/v2/{self.path}/blobs/{digest}", self.scopes)
            with answer:
                if answer.status not in (200, 404, 400, 405, 501):
                    raise problems.of(answer, f"blob {digest} of {self}")
                return answer.status == 200

        return self.asked(ask)

    # Lists

    def tags(self) -> list[str]:
        """Return all tags, as the registry orders them; raises NotFound, AccessDenied, LimitExceeded."""
        from ..oci.reference import is_tag

        names = self._listed(f"/v2/{self.path}/tags/list?n={_PAGE}", "tags", f"tags of {self}", self.scopes)
        return [name for name in names if is_tag(name)]

    def _listed(self, target: str, member: str, what: str, scopes: tuple[str, ...]) -> list[str]:
        return self.asked(lambda server: list(pages(server, target, member, what, scopes)))

    def referrers(self, digest: str) -> list[Descriptor] | None:
        """Return the descriptors of what refers to a manifest, None when the registry does not list referrers.

        (Specification, "Listing Referrers".) Raises AccessDenied, InvalidInput, LimitExceeded, RegistryError.
        """
        return self.asked(lambda server: self._referrers(server, digest))

    def _referrers(self, server: Server, digest: str) -> list[Descriptor] | None:
        from ..oci import manifest as manifests

        what = f"referrers of {self.shown(digest)}"
        target = f"/v2/{self.path}/referrers/{digest}"
        referrers: list[Descriptor] = []
        seen: set[str] = set()
        while target:
            if target in seen or len(referrers) > manifests.MANIFESTS_LIMIT:
                raise LimitExceeded(f"{what}: the list does not end")
            seen.add(target)
            answer = server.ask("GET", target, self.scopes, {"accept": mediatype.OCI_INDEX})
            if answer.status == 404:
                answer.finish()
                return None
            if answer.status != 200:
                raise problems.of(answer, what)
            with answer:
                data = answer.document(document.MANIFEST_LIMIT, what)
                target = server.endpoint.local(_next(answer, target))
            referrers += manifests.read_index(data, what).view.manifests
        return referrers


def _without_tls(endpoint: Endpoint, other: Endpoint) -> bool:
    """Tell whether `other` is the same server as `one`, asked without TLS."""
    return endpoint.server_key == other.server_key and (endpoint.scheme, other.scheme) == ("https", "http")


def first_reason(servers: list[Server], error: Unreachable, number: int) -> Unreachable:
    """Return the error to tell when TLS and plain text have both failed: the one of the last, with its hint."""
    if number and not servers[number - 1].endpoint.mirror:
        error.hint = error.hint or "the server answers neither TLS nor plain HTTP"
    return error


def catalog(registries: Registries, domain: str) -> list[str]:
    """Return the names of all repositories of a registry that lists them. Raises Unsupported when it refuses to."""
    repository = Repository(registries, domain, "_")
    try:
        return repository._listed(
            f"/v2/_catalog?n={_PAGE}", "repositories", f"catalogue of {domain}", ("registry:catalog:*",)
        )
    except (Broken, Unreachable):
        raise
    except (RegistryError, NotFound) as error:
        raise Unsupported(
            f"{domain} does not list its repositories: {error.message}",
            "many registries refuse to; the tags of a known repository may still be listed",
        ) from None


def hub_repositories(registries: Registries, namespace: str) -> list[str]:
    """Return the paths of all repositories of a namespace ("library/python"); none for one that does not exist.

    Docker Hub has no catalogue, but an API of its own (`GET /v2/repositories/NAMESPACE/`, pages of `results` with a `name`,
    and `next`). Raises Unsupported for a list that is too long, RegistryError.
    """
    what = f"repositories of {namespace} on Docker Hub"
    server = registries.server(HUB, registries.settings.hub_endpoint("hub.docker.com"))
    names: list[str] = []
    for number in range(1, _HUB_PAGES + 1):
        answer = server.ask("GET", f"/v2/repositories/{namespace}/?page_size={_HUB_PAGE}&page={number}", ())
        if answer.status == 404:
            answer.finish()
            return names
        if answer.status != 200:
            raise problems.of(answer, what)
        with answer:
            page = document.decode(answer.document(document.MANIFEST_LIMIT, what), what)
        rows = page.get("results") if isinstance(page, dict) else None
        if not isinstance(page, dict) or not isinstance(rows, list):
            raise RegistryError(f"{what}: the answer is not a list of repositories")
        names += [
            f"{namespace}/{row['name']}" for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)
        ]
        if not page.get("next") or not rows:
            return names
    raise Unsupported(f"{what}: there are more than {_HUB_PAGE * _HUB_PAGES}", "open a repository by its name")


def pages(server: Server, target: str, member: str, what: str, scopes: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of a list that comes in pages (specification, "Listing Tags").

    A page that leads to itself or on for ever ends in LimitExceeded; only the path of a link is followed. Before version
    1.1 registries had no link to say that there is more: there a full page may be followed by another.
    """
    from urllib.parse import quote

    seen: set[str] = set()
    count = 0
    first: list[str] = []
    guessed = linked = False
    while target:
        if target in seen or len(seen) >= _PAGES_LIMIT:
            raise LimitExceeded(f"{what}: the list does not end")
        seen.add(target)
        answer = server.ask("GET", target, scopes)
        if answer.status != 200:
            raise problems.of(answer, what)
        with answer:
            names = _names(answer, member, what)
            following = server.endpoint.local(_next(answer, target))
        if guessed and names[:1] == first:
            return  # a server that takes no notice of `last` begins anew
        first = names[:1]
        linked = linked or bool(following)
        guessed = not linked and len(names) == _PAGE
        target = f"{target.partition('?')[0]}?n={_PAGE}&last={quote(names[-1], safe='')}" if guessed else following
        count += len(names)
        if count > _NAMES_LIMIT:
            raise LimitExceeded(f"{what}: more than {_NAMES_LIMIT} names")
        yield from names


def _names(answer: Answer, member: str, what: str) -> list[str]:
    try:
        value = jsontext.loads(answer.document(_PAGE_LIMIT, what))
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{what}: the answer is not a list: {error}") from None
    names = value.get(member) if isinstance(value, dict) else None
    if names is None and isinstance(value, dict):
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RegistryError(f"{what}: the answer is not a list of names")
    return [name for name in names if len(name) <= _NAME_LIMIT]


def _next(answer: Answer, target: str) -> str:
    from urllib.parse import urljoin, urlsplit

    for link in answer.headers.get("link", "").split(","):
        address, _, rest = link.strip().partition(">")
        if address.startswith("<") and 'rel="next"' in rest.replace("'", '"').replace("rel=next", 'rel="next"'):
            try:
                parts = urlsplit(urljoin(f"http://host{target}", address[1:]))
            except ValueError:
                raise RegistryError(
                    f"the link to the next page of the list is not a URL: {address[1:]!r:.100}"
                ) from None
            return parts.path + (f"?{parts.query}" if parts.query else "")
    return ""
