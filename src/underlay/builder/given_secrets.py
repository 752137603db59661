"""The secrets that the caller gives: for steps that ask for them, and for servers of files and of Git repositories."""

from __future__ import annotations

import os

from ..errors import InvalidInput, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .request import BuildRequest

_LIMIT = 500 << 10  # bytes; BuildKit's


def read(request: BuildRequest, name: str) -> bytes | None:
    """Return what a secret holds, None when none of this id is given. Raises NotFound, InvalidInput."""
    secret = request.secrets.get(name)
    if secret is None:
        return None
    if secret.variable:
        return os.environ.get(secret.variable, "").encode("utf-8", "surrogateescape")
    try:
        with open(secret.source, "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise NotFound(f"failed to stat secret {name}: {secret.source}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise InvalidInput(f"invalid secret size {len(data)}: secret {name} has more than {_LIMIT} bytes")
    return data


def file_authorization(request: BuildRequest, host: str) -> str:
    """Return the Authorization header for a file of a server, "" for none.

    It is the secret HTTP_AUTH_HEADER_<host>, or that of HTTP_AUTH_TOKEN_<host> as a bearer token (BuildKit's names).
    """
    header = _text(request, f"HTTP_AUTH_HEADER_{host}")
    token = _text(request, f"HTTP_AUTH_TOKEN_{host}")
    return header or (f"Bearer {token}" if token else "")


def git_authorization(request: BuildRequest, host: str) -> str:
    """Return the Authorization header for a Git server, "" for none.

    It is the secret GIT_AUTH_HEADER.<host> or GIT_AUTH_HEADER, or a token of GIT_AUTH_TOKEN.<host> or GIT_AUTH_TOKEN, given
    as a password, as GitHub wants it.
    """
    from base64 import b64encode

    header = _text(request, f"GIT_AUTH_HEADER.{host}") or _text(request, "GIT_AUTH_HEADER")
    token = _text(request, f"GIT_AUTH_TOKEN.{host}") or _text(request, "GIT_AUTH_TOKEN")
    if header or not token:
        return header
    return f"Basic {b64encode(f'x-access-token:{token}'.encode()).decode()}"


def _text(request: BuildRequest, name: str) -> str:
    text = (read(request, name) or b"").decode("utf-8", "replace").strip()
    if "\n" in text or "\r" in text:
        raise InvalidInput(f"secret {name} has more than one line")
    return text
