"""Which token servers a registry may send us to, with a credential and without.

A registry chooses its token server by a header, which is a stranger's text: on a line without TLS anyone may write it.
So a credential goes only to a server that plainly has the registry's owner, or that the user has named (decision 0013).
"""

from __future__ import annotations

from . import hosts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hosts import Endpoint

# Token servers of public registries whose names do not show whose they are, by the registry's host.
_KNOWN = {
    "registry-1.docker.io": frozenset(("auth.docker.io",)),
    "registry.connect.redhat.com": frozenset(("sso.redhat.com",)),
    "registry.redhat.io": frozenset(("sso.redhat.com",)),
}
# Domains below which everyone may have a name: neighbours there are strangers. The best known ones; no list is whole.
_SHARED = frozenset(
    (
        "appspot.com",
        "azurecr.io",
        "azurewebsites.net",
        "cloudfront.net",
        "duckdns.org",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "netlify.app",
        "ngrok-free.app",
        "ngrok.io",
        "nip.io",
        "onrender.com",
        "pages.dev",
        "run.app",
        "sslip.io",
        "trycloudflare.com",
        "vercel.app",
        "workers.dev",
    )
)
# The names of this provider go several labels down: a service, a region, an account.
_DEEP = "amazonaws.com"
# Below a country's domain, what is longer than three letters and still not one owner's (co.uk and com.br are shorter).
_OFFICES = frozenset(("gouv", "govt", "info", "name", "school"))


def refusal(registry: Endpoint, server: Endpoint, secret: bool) -> str:
    """Return why `server` is not asked for the registry's tokens, as in "a token server …"; "" if it may be asked.

    `secret`: a password or an identity token would go along. Nothing is resolved.
    """
    if server.origin in registry.token_servers:
        return ""
    if not secret:
        if hosts.is_local_only(server.host) and not _are_alike(registry.host, server.host):
            return "inside this host"
        if hosts.is_private(server.host) and not hosts.is_private(registry.host):
            return "inside a private network"
        if server.scheme != "https" and not server.insecure and server.host != registry.host:
            return "without TLS on another host"
        return ""
    if server.scheme != "https" and not server.insecure:
        return "without TLS, which is not declared insecure"
    if server.host == registry.host:
        # On this host a port belongs to whoever opened it first; elsewhere one host has one owner.
        return "on another port of this host" if _is_another_port_here(registry, server) else ""
    if hosts.is_local_only(server.host):
        return "inside this host"
    if server.scheme == "https" and (
        server.host in _KNOWN.get(registry.host, ()) or is_of_one_owner(registry.host, server.host)
    ):
        return ""
    return "of another owner"


def _is_another_port_here(registry: Endpoint, server: Endpoint) -> bool:
    return hosts.is_local_only(registry.host) and server.port != registry.port


def _are_alike(registry: str, server: str) -> bool:
    """Tell whether both are loopback, or both on one link: the former gives no reason to ask the latter."""
    return hosts.is_local_only(registry) and hosts.is_loopback(registry) == hosts.is_loopback(server)


def is_of_one_owner(registry: str, server: str) -> bool:
    """Tell whether a name is so near the registry's that they have one owner: below it, its parent, or below its parent.

    The parent must be a domain that somebody owns: at least two labels, neither a country's office (`co.uk`: at most
    three letters below two) nor a provider's domain that strangers share. Addresses are never near each other.
    """
    if hosts.packed_address(registry) is not None or hosts.packed_address(server) is not None:
        return False
    if server.endswith("." + registry):
        return registry not in _SHARED and _is_owned(registry)
    parent = registry.partition(".")[2]
    return _is_owned(parent) and (server == parent or server.endswith("." + parent))


def _is_owned(domain: str) -> bool:
    labels = domain.split(".")
    if len(labels) < 2 or domain in _SHARED or f".{domain}".endswith("." + _DEEP):
        return False
    country = len(labels) == 2 and len(labels[1]) == 2
    return not (country and (len(labels[0]) <= 3 or labels[0] in _OFFICES))
