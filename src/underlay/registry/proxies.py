"""Which HTTP proxy is used for an address, from the environment."""

from __future__ import annotations

from ..errors import InvalidInput, Unsupported
from ..human import whole
from . import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hosts import Endpoint

_SCHEMES = frozenset(("http", "https"))


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy for an endpoint, "" for none, as Go decides (golang.org/x/net/http/httpproxy).

    HTTPS_PROXY or HTTP_PROXY by the endpoint's scheme, or their names in lower case; NO_PROXY says for whom not. This
    host is never asked by a proxy. Raises Unsupported for other proxies than those of HTTP (SOCKS), InvalidInput for
    a value that is no URL of a proxy; the value is not shown, it may hold a password.
    """
    names = [f"{endpoint.scheme}_proxy".upper(), f"{endpoint.scheme}_proxy"]
    if endpoint.scheme == "http" and environ.get("REQUEST_METHOD"):
        del names[0]  # in a CGI program, the header `Proxy:` of a visitor gets there
    name = next((variable for variable in names if environ.get(variable)), "")
    if not name or hosts.is_loopback(endpoint.host):
        return ""
    if _excepted(environ.get("NO_PROXY") or environ.get("no_proxy", ""), endpoint):
        return ""
    value = environ[name].strip()
    if "://" not in value:
        value = "http://" + value
    scheme, _, rest = value.partition("://")
    if scheme.lower() not in _SCHEMES:
        raise Unsupported(
            f"{name} names a proxy that does not speak HTTP", "write http://HOST:PORT or https://HOST:PORT"
        )
    try:
        hosts.split_host(rest.partition("/")[0].rpartition("@")[2])
    except InvalidInput:
        raise InvalidInput(f"{name} is not the URL of a proxy", "write http://HOST:PORT") from None
    return value


def _excepted(text: str, endpoint: Endpoint) -> bool:
    """Tell whether NO_PROXY names an endpoint; what cannot be understood is passed over, as Go does."""
    address = hosts.packed_address(endpoint.host)
    for entry in text.replace(",", " ").lower().split():
        if entry == "*":
            return True
        block, slash, length = entry.partition("/")
        if slash:
            if (
                address is not None
                and whole(length) >= 0
                and _within(address, hosts.packed_address(block), whole(length))
            ):
                return True
            continue
        name, port = entry, ""
        if entry.startswith("["):
            name, _, port = entry[1:].partition("]")
            port = port.removeprefix(":")
        elif entry.count(":") == 1:
            name, _, port = entry.partition(":")
        if port and port != str(endpoint.port):
            continue
        wanted = hosts.packed_address(name)
        if wanted is not None and wanted == address:
            return True
        # With a dot before it only what is below the domain, without one the domain too.
        name = name.removeprefix("*")
        host, end = (endpoint.host, name) if name.startswith(".") else ("." + endpoint.host, "." + name)
        if wanted is None and name and host.endswith(end):
            return True
    return False


def _within(address: bytes, block: bytes | None, length: int) -> bool:
    if block is None or len(block) != len(address) or length > len(block) * 8:
        return False
    shift = len(block) * 8 - length
    return int.from_bytes(address, "big") >> shift == int.from_bytes(block, "big") >> shift
