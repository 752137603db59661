"""Authentication at registries: challenges, tokens and their scopes (Docker's token authentication, and Basic of RFC 7617).

A challenge counts only when it comes from the registry's own endpoint, never from a server to which it redirects; what
is made of a credential goes to that endpoint and to the token server that the endpoint names, and nowhere else. Which
token servers it may name is decided in `realms`.
"""

from __future__ import annotations

import threading
from time import monotonic

from ..errors import AccessDenied, InvalidInput, RegistryError
from ..lean import jsontext
from . import hosts, patience, problems, realms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Credential
    from .hosts import Endpoint
    from .transport import Answer, Transport

_TOKEN_LIMIT = 1 << 20
_CLIENT = "underlay"
# A token that says nothing about its life lives so long (token specification, "expires_in").
_DEFAULT_LIFE = 60.0
_MARGIN = 5.0
_LONGEST_LIFE = 1e12


class Challenge:
    """What a WWW-Authenticate header asks for: a `scheme` in lower case and its parameters."""

    __slots__ = ("parameters", "scheme")

    def __init__(self, scheme: str, parameters: dict[str, str]) -> None:
        self.scheme = scheme
        self.parameters = parameters


class _Token:
    """What a token server answered: `value`, `life` (seconds), and a `refresh` token; "" and 0 for what it did not say.

    Raises ValueError for what is no such answer.
    """

    def __init__(self, answer: object) -> None:
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        texts: list[str] = []
        for member in ("token", "access_token", "refresh_token"):
            text = answer.get(member) or ""
            if not isinstance(text, str):
                raise ValueError(f"{member} is not a string")
            texts.append(text)
        self.value = texts[0] or texts[1]
        self.refresh = texts[2]
        life = answer.get("expires_in") or 0.0
        if isinstance(life, bool) or not isinstance(life, int | float):
            raise ValueError("expires_in is not a number")
        self.life = float(min(life, _LONGEST_LIFE))


class Authorizer:
    """Authorises requests to one endpoint with the credential of one host; several threads may share it.

    `credential` is asked once, before the first request, as docker does: a credential helper that fails shows at once.
    """

    def __init__(self, transport: Transport, endpoint: Endpoint, credential: Callable[[], Credential | None]) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._find = credential
        self._looked_up = False
        self._credential: Credential | None = None
        self._basic = False
        self._bearer: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._stated: dict[tuple[str, ...], list[str]] = {}
        self._lock = threading.RLock()

    @property
    def credential(self) -> Credential | None:
        """The credential for the endpoint, None for an anonymous visitor."""
        with self._lock:
            if not self._looked_up:
                self._credential = self._find()
                self._looked_up = True
            return self._credential

    def header(self, scopes: tuple[str, ...]) -> str:
        """Return the Authorization header for a request that needs `scopes`, "" while none was asked for.

        Raises AccessDenied when the token server refuses, RegistryError.
        """
        credential = self.credential
        with self._lock:
            if credential is not None and credential.registry_token:
                return f"Bearer {credential.registry_token}"
            if self._basic and credential is not None:
                return _basic(credential)
            if self._bearer is None:
                return ""
            token, until = self._tokens.get(scopes, ("", 0.0))
            if monotonic() > until:
                token, until = self._token(self._bearer, scopes)
                self._tokens[scopes] = token, until
            return f"Bearer {token}"

    def challenged(self, header: str, scopes: tuple[str, ...], sent: str) -> bool:
        """Learn from a refusal; return whether the request may be tried again with another header than `sent`."""
        with self._lock:
            if not self._learn(parse(header), scopes, sent):
                return False
            return self.header(scopes) not in ("", sent)

    def _learn(self, challenges: list[Challenge], scopes: tuple[str, ...], sent: str) -> bool:
        """Take what is asked for into account; returns whether anything known can be answered with."""
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                if sent and self._tokens.get(scopes, ("",))[0] == sent.removeprefix("Bearer "):
                    del self._tokens[scopes]  # it is no longer good
                    if challenge.parameters.get("error") == "insufficient_scope":
                        return False
                self._bearer = challenge
                self._stated[scopes] = challenge.parameters.get("scope", "").split()
                return True
        for challenge in challenges:
            if challenge.scheme == "basic" and self.credential is not None and not self._basic:
                self._basic = True
                return True
        return False

    def offline(self) -> str:
        """Return an identity token for the credential where the token server gives such, else "": see `login`."""
        if self._bearer is None or self._credential is None:
            return ""
        return self._ask(self._bearer, (), offline=True).refresh

    def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> tuple[str, float]:
        answer = self._ask(challenge, scopes)
        token = answer.value
        if not token or not (token.isascii() and token.isprintable()):
            raise RegistryError(f"the token server of {self._endpoint.host} gave no token")
        life = answer.life or _DEFAULT_LIFE
        return token, monotonic() + max(life - _MARGIN, 1.0)

    def _ask(self, challenge: Challenge, scopes: tuple[str, ...], offline: bool = False) -> _Token:
        realm = challenge.parameters["realm"]
        endpoint = self._realm(realm)
        # What the registry asked for when it was asked this very thing; its own names may be others than ours.
        wanted = [*scopes, *(scope for scope in self._stated.get(scopes, ()) if scope not in scopes)]
        fields = [("service", challenge.parameters["service"])] if challenge.parameters.get("service") else []
        credential = self._credential
        from urllib.parse import urlencode

        if credential is not None and credential.identity_token:
            fields += [
                ("client_id", _CLIENT),
                ("grant_type", "refresh_token"),
                ("refresh_token", credential.identity_token),
            ]
            fields += [("scope", " ".join(wanted))] if wanted else []
            headers = {"content-type": "application/x-www-form-urlencoded"}
            body = urlencode(fields).encode()
            return self._read(self._repeated(lambda: self._transport.send("POST", realm, endpoint, headers, body)))
        fields += [("scope", scope) for scope in wanted]
        headers = {}
        if credential is not None:
            fields += [("account", credential.username), ("client_id", _CLIENT)]
            fields += [("offline_token", "true")] if offline else []
            headers["authorization"] = _basic(credential)
        url = realm + ("&" if "?" in realm else "?") + urlencode(fields)
        return self._read(self._repeated(lambda: self._transport.send("GET", url, endpoint, headers)))

    def _repeated(self, send: Callable[[], Answer]) -> Answer:
        transport = self._transport
        return patience.repeated(send, transport.settings.network.retries, lambda seconds, _: transport.pause(seconds))

    def _read(self, answer: Answer) -> _Token:
        where = self._endpoint.host
        if answer.status in (401, 403, 400):
            reason = problems.reason_of(answer)
            for secret in self._secrets():
                reason = reason.replace(secret, "***")
            account = f" for {self._credential.username or 'the identity token'}" if self._credential else ""
            raise AccessDenied(
                f"{where}: its token server denies access{account}" + (f": {reason}" if reason else ""),
                "check the name, and log in with `underlay login`",
            )
        if answer.status != 200:
            raise problems.of(answer, f"the token server of {where}")
        with answer:
            data = answer.document(_TOKEN_LIMIT, f"the token of {where}")
        try:
            return _Token(jsontext.loads(data))
        except (ValueError, RecursionError) as error:
            raise RegistryError(
                f"the token server of {where} answers with something else than a token: {error}"
            ) from None

    def _secrets(self) -> list[str]:
        """Return what no message may show, even if a server says it."""
        credential = self._credential
        return (
            [secret for secret in (credential.secret, credential.identity_token, credential.registry_token) if secret]
            if credential
            else []
        )

    def _realm(self, realm: str) -> Endpoint:
        """Return the endpoint of a token server; refuses what would give a secret away or reach inside the host."""
        asked = self._endpoint
        try:
            endpoint = self._transport.settings.endpoint_of(realm, asked)
        except InvalidInput:
            raise RegistryError(f"{asked.host} names a token server with an invalid URL: {realm!r:.100}") from None
        if asked.scheme == "https" and endpoint.scheme != "https":
            raise RegistryError(f"{asked.host} names a token server without TLS: {realm!r:.100}; it is not asked")
        reason = realms.refusal(asked, endpoint, self._credential is not None)
        if reason:
            raise RegistryError(
                f"{asked.host} names a token server {reason}: {realm!r:.100}; it is not asked",
                f'if it is the right one, write token_servers = ["{endpoint.root}"] below '
                f'[registry."{hosts.registry_name(asked.authority)}"] in registries.toml',
            )
        return endpoint


def _basic(credential: Credential) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{credential.username}:{credential.secret}".encode()).decode("ascii")


def parse(header: str) -> list[Challenge]:
    """Return the challenges of a WWW-Authenticate header (RFC 9110, section 11.6.1), unknown ones too.

    What cannot be understood ends the list; it is a stranger's text, so that is no error.
    """
    challenges: list[Challenge] = []
    position, end = 0, min(len(header), 8192)

    def skip(letters: str) -> None:
        nonlocal position
        while position < end and header[position] in letters:
            position += 1

    def word() -> str:
        nonlocal position
        start = position
        while position < end and (header[position].isalnum() or header[position] in "!#$%&'*+-.^_`|~/"):
            position += 1
        return header[start:position]

    def value() -> str:
        nonlocal position
        if position >= end or header[position] != '"':
            return word()
        position += 1
        letters = []
        while position < end and header[position] != '"':
            if header[position] == "\\":
                position += 1
            letters.append(header[position : position + 1])
            position += 1
        position += 1
        return "".join(letters)

    while position < end:
        skip(" \t,")
        name = word()
        if not name:
            return challenges
        skip(" \t")
        if challenges and position < end and header[position] == "=":
            position += 1
            skip(" \t")
            challenges[-1].parameters.setdefault(name.lower(), value())
        else:
            challenges.append(Challenge(name.lower(), {}))
    return challenges
