"""Build arguments that need no ARG: proxies."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Given without an ARG these reach every RUN, and neither history nor keys (Dockerfile reference, "Predefined ARGs").
_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def proxies(given: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies among the arguments given, each in both spellings; of two that were given the lower one counts."""
    proxy_arguments: dict[str, str] = {}
    for name in _NAMES:
        value = given.get(name, given.get(name.upper()))
        if value is not None:
            proxy_arguments |= {name.upper(): value, name: value}
    return proxy_arguments
