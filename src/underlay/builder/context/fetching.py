"""Files downloaded over HTTP during a build: the URL of an ADD instruction, and archives as remote contexts."""

from __future__ import annotations

from ... import settings
from ...errors import DigestMismatch, InvalidInput, LimitExceeded, NotFound
from ...human import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LIMIT = "UNDERLAY_ADD_LIMIT"
_PIECE = 1 << 20


class Fetched:
    """A file that was fetched: `path` on this host, `name` as its address ends, `digest`, `mtime` in seconds or None."""

    __slots__ = ("digest", "mtime", "name", "path")

    def __init__(self, path: str, name: str, digest: str, mtime: int | None) -> None:
        self.path = path
        self.name = name
        self.digest = digest
        self.mtime = mtime


def file_name(url: str) -> str:
    """Return the file name at the end of an address, "" when it has none."""
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return "" if name in (".", "..") or "/" in name or "\0" in name else name


def largest() -> tuple[int, str]:
    """Return how many bytes a file may have that is fetched, and the same in words. Raises InvalidInput for a setting
    that is no size."""
    text = settings.value("add-limit")
    try:
        return parse_size(text), text
    except ValueError:
        raise InvalidInput(f"{_LIMIT}: invalid size: {text!r}", "a number of bytes, or a text such as 8g") from None


def fetch(
    url: str,
    directory: str,
    checksum: str = "",
    headers: Mapping[str, str] | None = None,
    authorize: Callable[[str], str] = lambda host: "",
) -> Fetched:
    """Fetch a file by HTTP into `directory`. Redirects follow the rules of registries (`registry.exchange`).

    `authorize` returns the Authorization header for a host ("" for none), which nobody gets to whom is redirected.

    The digest found is of the kind of `checksum`, else SHA-256. Raises NotFound (any refusal), DigestMismatch when
    `checksum` ("sha256:…") is not met, LimitExceeded (a server may send for ever), RegistryError, InvalidInput.
    """
    from email.utils import parsedate_to_datetime
    from urllib.parse import urlsplit

    from ...oci import digest as digests
    from ...registry import hosts
    from ...registry.auth import Authorizer
    from ...registry.exchange import Server
    from ...registry.transport import Transport

    class _Given(Authorizer):
        given = ""

        def header(self, scopes: tuple[str, ...]) -> str:
            return self.given or super().header(scopes)

    most, words = largest()
    too_large = LimitExceeded(f"failed to load {url}: more than {words} bytes", f"{_LIMIT} sets another limit, as 8g")
    parts = urlsplit(url)
    endpoint = hosts.endpoint_of(url)
    transport = Transport(hosts.Settings.load())
    path = f"{directory}/file"
    algorithm = checksum.partition(":")[0] or "sha256"
    digest = digests.hasher(algorithm)
    try:
        authorizer = _Given(transport, endpoint, lambda: None)
        authorizer.given = authorize(endpoint.authority)
        server = Server(transport, endpoint, authorizer)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with server.ask("GET", target, (), dict(headers or {})) as answer:
            if answer.status != 200:
                raise NotFound(f"failed to load {url}: invalid response status {answer.status}")
            if answer.length > most:
                raise too_large
            modified = answer.headers.get("last-modified", "")
            size = 0
            with open(path, "xb") as file:
                while piece := answer.read(_PIECE):
                    size += len(piece)
                    if size > most:
                        raise too_large
                    digest.update(piece)
                    file.write(piece)
    finally:
        transport.close()
    actual_digest = f"{algorithm}:{digest.hexdigest()}"
    if checksum and checksum != actual_digest:
        raise DigestMismatch(f"{url}", checksum, actual_digest)
    try:
        mtime = int(parsedate_to_datetime(modified).timestamp()) if modified else None
    except (ValueError, OverflowError):
        mtime = None
    return Fetched(path, file_name(url), actual_digest, mtime)
