"""Webhooks: news of bases to an address of the user's, and the notifications of a registry of what has been pushed.

Registries of the distribution send these (https://distribution.github.io/distribution/about/notifications/), and others in
the same form.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import InvalidInput, RegistryError, UnderlayError
from ...oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .news import Watched

NOTIFICATION_LIMIT = 1 << 20  # bytes of a notification


def check(url: str) -> None:
    """Raise InvalidInput for what is not the URL of a server."""
    from ...registry import hosts

    hosts.endpoint_of(url)


def post(url: str, scan: str, watched: Watched) -> None:
    """Send news as JSON: `scan` (the path of its file), `events` as in JSON lines, `problems` by name.

    Raises Unreachable, RegistryError (another status than 2xx). The path of the URL, which may be secret, is not told.
    """
    from urllib.parse import urlsplit

    from ...registry import hosts
    from ...registry.auth import Authorizer
    from ...registry.exchange import Server
    from ...registry.transport import Transport

    endpoint = hosts.endpoint_of(url)
    body = msgspec.json.encode({"scan": scan, "events": watched.news, "problems": watched.problems})
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    transport = Transport(hosts.Settings.load())
    try:
        server = Server(transport, endpoint, Authorizer(transport, endpoint, lambda: None))
        try:
            with server.ask("POST", target, (), {"content-type": "application/json"}, body) as answer:
                status = answer.status
        except UnderlayError as error:
            raise type(error)(f"the webhook at {endpoint.authority}: {error.message.replace(url, '…')}") from None
        if not 200 <= status < 300:
            raise RegistryError(f"the webhook at {endpoint.authority} answers with status {status}")
    finally:
        transport.close()


def concerned(data: bytes, bases: Iterable[str]) -> list[str]:
    """Return the bases whose names a notification says have been pushed: by repository and tag, since a registry may know
    itself by another host than its clients. Raises InvalidInput."""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput(f"not a notification: {error}") from None
    events = value.get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        raise InvalidInput("not a notification: it has no events")
    pushed = set()
    for event in events:
        target = event.get("target") if isinstance(event, dict) else None
        if isinstance(target, dict) and event.get("action") == "push":
            pushed.add((target.get("repository"), target.get("tag")))
    return [base for base in bases if _repository_and_tag(base) in pushed]


def _repository_and_tag(base: str) -> tuple[str, str] | None:
    try:
        reference = references.parse(base)
    except UnderlayError:
        return None
    return reference.path, reference.tag
