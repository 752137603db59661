"""Registry credentials that come with a request: the headers X-Registry-Auth and X-Registry-Config."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ...oci import reference as references
from ...registry.credentials import Credential
from ...registry.given import Given
from ..answers import RULES
from . import query

if TYPE_CHECKING:
    from aiohttp import web


def credential(fields: Any) -> Credential | None:
    """Return what an auth configuration (Engine API, AuthConfig) says, None when it says nothing. Raises InvalidInput."""
    if not isinstance(fields, dict):
        raise InvalidInput("invalid registry credentials: not a JSON object")
    words = {}
    for name in ("username", "password", "identitytoken", "registrytoken", "auth"):
        value = fields.get(name) or ""
        if not isinstance(value, str):
            raise InvalidInput(f"invalid registry credentials: {name} is not a string")
        words[name] = value
    if words["auth"] and not words["username"]:
        words["username"], _, words["password"] = _decoded(words["auth"]).decode(errors="replace").partition(":")
    if not (words["username"] or words["identitytoken"] or words["registrytoken"]):
        return None
    return Credential(words["username"], words["password"], words["identitytoken"], words["registrytoken"])


def of_image(request: web.Request, name: str) -> Given | None:
    """Return the credentials for the registry of an image, None when the request has none. Raises InvalidInput.

    They go to the registry that they name themselves, else to the image's.
    """
    fields = _header(request, "X-Registry-Auth")
    found = credential(fields)
    if found is None:
        return _none(request)
    return Given({str(fields.get("serveraddress") or "") or references.parse_exact(name).domain: found})


def of_build(request: web.Request) -> Given | None:
    """Return the credentials for a build's registries, None when the request has none. Raises InvalidInput."""
    entries = _header(request, "X-Registry-Config")
    found = {host: given for host, fields in entries.items() if (given := credential(fields)) is not None}
    return Given(found) if found else _none(request)


def _none(request: web.Request) -> Given | None:
    """Return what a request without credentials uses: those of the server's user, or none where rules restrict clients."""
    return Given({}) if request.get(RULES) is not None else None


def _header(request: web.Request, name: str) -> dict[str, Any]:
    text = request.headers.get(name, "").strip()
    if not text:
        return {}
    value = query.parsed(_decoded(text), name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{name}: not a JSON object")
    return value


def _decoded(text: str) -> bytes:
    """Return the bytes of base64, of either alphabet, padded or not. Raises InvalidInput."""
    text = text.rstrip("=")
    try:
        return b64decode(text.translate({45: "+", 95: "/"}) + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise InvalidInput("invalid registry credentials: not base64") from None
