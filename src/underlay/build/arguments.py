"""Build arguments that need no ARG: proxies."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Given without an ARG these reach every RUN, and neither history nor keys (Dockerfile reference, "Predefined ARGs").
_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def proxies(given: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies among the arguments given."""
    return {name: given[name] for each in _NAMES for name in (each.upper(), each) if name in given}
