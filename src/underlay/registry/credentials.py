"""Credentials as docker keeps them: in config.json, or with helper programs that it names.

Members of the file and the order in which they count are docker's (docker/cli, cli/config), the words spoken with a
helper are those of docker-credential-helpers. Other than there, a helper that fails is an error wherever it is asked,
and the credential of a host is taken from an entry for that very host alone. Only whoever reads from registries goes on
without a helper that is not installed, as docker does: see `registries`.
"""

from __future__ import annotations

import os

from .. import jsontext
from ..errors import InvalidInput, KernelError, LimitExceeded, UnderlayError
from .hosts import HUB, registry_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
_NOT_FOUND = b"credentials not found in native keychain"
_SECRETS = ("auth", "username", "password", "identitytoken", "registrytoken")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

_FILE_LIMIT = 4 << 20
_ANSWER_LIMIT = 1 << 20
_ANSWER_SECONDS = 60.0
_COMPLAINT_LIMIT = 4096  # bytes of a helper's standard error that are kept


class HelperMissing(UnderlayError):
    """The program of a credential helper is not installed."""


class Credential:
    """What lets one in: `username` and `secret`, or an `identity_token` (OAuth2 refresh), or a `registry_token` (bearer).

    What there is not is "".
    """

    __slots__ = ("identity_token", "registry_token", "secret", "username")

    def __init__(
        self, username: str = "", secret: str = "", identity_token: str = "", registry_token: str = ""
    ) -> None:
        self.username = username
        self.secret = secret
        self.identity_token = identity_token
        self.registry_token = registry_token

    def __repr__(self) -> str:
        return f"<Credential {self.username!r}>"


def server_key(host: str) -> str:
    """Return the name under which docker keeps the credential of a registry: `HOST[:PORT]`, a URL for Docker Hub.

    `host` may be in any form that people have: `host`, `https://host`, `host/v1/`. Raises InvalidInput for what names
    more or less than one registry.
    """
    name = _host_of(host)
    if not name:
        shown = "it" if "@" in host else ascii(host[:100])
        raise InvalidInput(f"not the name of a registry: {shown}", "write HOST or HOST:PORT")
    return _key(name)


def _key(name: str) -> str:
    return _HUB_KEY if name == HUB else name


def _host_of(key: str) -> str:
    """Return the registry that a key stands for, "" when it is none or only a part of one (`host/project`)."""
    rest = key
    for scheme in ("https://", "http://"):
        rest = rest.removeprefix(scheme)
    authority, _, path = rest.partition("/")
    if path.rstrip("/") not in ("", "v1", "v2"):
        return ""
    try:
        return registry_name(authority)
    except InvalidInput:
        return ""


class Store:
    """The credentials of a user: of the file `path`, by default config.json in $DOCKER_CONFIG or ~/.docker.

    The file is read anew for each question. All methods raise InvalidInput for a malformed file or host, LimitExceeded
    for a file above 4 MiB, KernelError when it cannot be read or written, UnderlayError when a helper fails and
    HelperMissing when there is no such program.
    """

    __slots__ = ("path",)

    def __init__(self, path: str = "") -> None:
        directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.path = path or directory + "/config.json"

    def get(self, host: str) -> Credential | None:
        """Return the credential for a registry, None when there is none: from the helper for it alone if it has one."""
        key = server_key(host)
        document = self._read()
        helper = self._helper(document, key)
        if helper:
            return _got(helper, key)
        for name, entry in self._entries(document, key):
            found = self._decoded(name, entry)
            if found is not None:
                return found
        return None

    def put(self, host: str, credential: Credential) -> str:
        """Keep a credential: with the helper for the registry, else in the file, readable to whoever reads that.

        Returns the path of the file when the credential lies there in the clear, "" when a helper has it; then nothing
        secret of the registry is left in the file.
        """
        key = server_key(host)
        if not (credential.username or credential.identity_token or credential.registry_token):
            raise InvalidInput(f"no credential for {key}", "give a user name")
        if ":" in credential.username:
            raise InvalidInput("a user name cannot hold a colon (RFC 7617)")
        document = self._read()
        helper = self._helper(document, key)
        if helper:
            _give(helper, key, credential)
            if any(_secret(entry) for _, entry in self._entries(document, key)):
                self._edit(lambda document: self._clear(document, key))
            return ""
        kept = _encoded(credential)

        def add(document: dict[str, Any]) -> None:
            entry = dict(self._entries(document, key)).get(key, {})
            if not isinstance(document.get("auths"), dict):
                document["auths"] = {}
            document["auths"][key] = {**{name: entry[name] for name in entry if name not in _SECRETS}, **kept}

        self._edit(add)
        return self.path

    def erase(self, host: str) -> bool:
        """Forget the credential of a registry, in the file and with its helper; returns whether one was there.

        A helper that does as it is told counts as having had one: few tell.
        """
        key = server_key(host)
        document = self._read()
        helper = self._helper(document, key)
        there = bool(helper) and _ask(helper, "erase", key.encode(), key) is not None
        entries = self._entries(document, key)
        if entries:

            def remove(document: dict[str, Any]) -> None:
                for name, _ in self._entries(document, key):
                    del document["auths"][name]

            self._edit(remove)
        return there or any(_secret(entry) for _, entry in entries)

    def hosts(self) -> list[str]:
        """Return the registries for which there is a credential or a helper of their own, sorted; asks `credsStore`."""
        document = self._read()
        usual, special = self._helpers(document)
        found = {name for name, helper in special.items() if helper}
        keys = [key for key, entry in self._auths(document).items() if isinstance(entry, dict) and _secret(entry)]
        listed = _listed(self._checked("credsStore", usual)) if usual else []
        for names, helper in ((keys, ""), (listed, usual)):
            found.update(name for name in map(_host_of, names) if name and special.get(name, usual) == helper)
        return sorted(found)

    # The file

    def _read(self) -> dict[str, Any]:
        import errno

        from ..files import read_bytes

        try:
            data = read_bytes(self.path, _FILE_LIMIT)
        except FileNotFoundError:
            return {}
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise LimitExceeded(f"{self.path}: longer than {_FILE_LIMIT} bytes") from None
            raise KernelError("open", self.path, error.errno or 0) from None
        if not data.strip():
            return {}
        try:
            value = jsontext.loads(data)
        except (ValueError, RecursionError) as error:
            # Of what `json` says only the place is told: there may be a secret beside it.
            line = getattr(error, "lineno", 0)
            place = f" (line {line}, column {getattr(error, 'colno', 0)})" if line else ""
            raise InvalidInput(f"{self.path}: not JSON{place}") from None
        if not isinstance(value, dict):
            raise self._wrong("", "an object")
        return value

    def _wrong(self, place: str, expected: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: {place + ': ' if place else ''}expected {expected}")

    def _auths(self, document: dict[str, Any]) -> dict[str, Any]:
        auths = document.get("auths")
        if auths is not None and not isinstance(auths, dict):
            raise self._wrong("auths", "an object")
        return auths or {}

    def _entries(self, document: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries for one registry by their names in the file, docker's own form first."""
        found: list[tuple[str, dict[str, Any]]] = []
        host = _host_of(key)
        for name, entry in self._auths(document).items():
            if _host_of(name) == host:
                if not isinstance(entry, dict):
                    raise self._wrong(f'auths["{name}"]', "an object")
                found.append((name, entry))
        return sorted(found, key=lambda pair: pair[0] != key)

    def _decoded(self, name: str, entry: dict[str, Any]) -> Credential | None:
        """Return what an entry holds; `auth` counts before `username` and `password`, as docker has it."""
        values: dict[str, str] = {}
        for member in _SECRETS:
            value = entry.get(member)
            if value is not None and not isinstance(value, str):
                raise self._wrong(f'auths["{name}"].{member}', "a string")
            values[member] = value or ""
        if values["auth"]:
            from base64 import b64decode

            try:
                text = b64decode("".join(values["auth"].split()), validate=True).decode()
            except ValueError:
                raise self._wrong(f'auths["{name}"].auth', "base64 of UTF-8") from None
            user, colon, secret = text.partition(":")
            if not colon:
                raise self._wrong(f'auths["{name}"].auth', "base64 of USER:SECRET")
            values["username"], values["password"] = user, secret.strip("\0")
        if not (values["username"] or values["identitytoken"] or values["registrytoken"]):
            return None
        return Credential(values["username"], values["password"], values["identitytoken"], values["registrytoken"])

    def _clear(self, document: dict[str, Any], key: str) -> None:
        """Take what is secret out of the entries for one registry."""
        for _, entry in self._entries(document, key):
            for member in _SECRETS:
                entry.pop(member, None)

    def _helpers(self, document: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """Return the usual helper ("" for the file), and those that registries have of their own."""
        usual = document.get("credsStore")
        if usual is not None and not isinstance(usual, str):
            raise self._wrong("credsStore", "a string")
        table = document.get("credHelpers")
        if table is not None and not isinstance(table, dict):
            raise self._wrong("credHelpers", "an object")
        special: dict[str, str] = {}
        for key, helper in (table or {}).items():
            if not isinstance(helper, str):
                raise self._wrong(f'credHelpers["{key}"]', "a string")
            name = _host_of(key)
            if name and (name not in special or key == _key(name)):
                special[name] = helper
        return usual or "", special

    def _helper(self, document: dict[str, Any], key: str) -> str:
        """Return the helper for a registry, "" for the file: its own (which may be ""), else the usual one."""
        usual, special = self._helpers(document)
        return self._checked(f"the credential helper for {key}", special.get(_host_of(key), usual))

    def _checked(self, place: str, helper: str) -> str:
        if not _NAME.issuperset(helper):
            raise self._wrong(place, "one word of letters, digits, '.', '_' and '-'")
        return helper

    def _edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the file: one process at a time, in one step, and through a link to where it leads."""
        import fcntl
        import json

        target = os.path.realpath(self.path)
        directory = os.path.dirname(target)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            # The lock is on the directory: a file for it would be left behind, and be root's when root was first.
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                document = self._read()
                change(document)
                # Escaped, since a lone surrogate in somebody's member could not be written otherwise.
                _replace(target, json.dumps(document, indent="\t").encode("ascii"))
                os.fsync(lock)
            finally:
                os.close(lock)
        except OSError as error:
            raise KernelError("write", self.path, error.errno or 0) from None


def _secret(entry: dict[str, Any]) -> bool:
    return any(entry.get(member) for member in _SECRETS)


def _encoded(credential: Credential) -> dict[str, str]:
    """Return the members that docker writes: `auth` without a secret beside an identity token."""
    from base64 import b64encode

    secret = "" if credential.identity_token else credential.secret
    members: dict[str, str] = {}
    if credential.username or secret:
        try:
            members["auth"] = b64encode(f"{credential.username}:{secret}".encode()).decode()
        except UnicodeEncodeError:
            raise InvalidInput("a user name or a password that is not UTF-8 cannot be kept") from None
    if credential.identity_token:
        members["identitytoken"] = credential.identity_token
    if credential.registry_token:
        members["registrytoken"] = credential.registry_token
    return members


def _replace(path: str, data: bytes) -> None:
    """Replace a file in one step, and leave it to its owner when root writes."""
    from ..files import write_atomic

    owner = None
    if os.geteuid() == 0 and os.path.exists(path):
        info = os.stat(path)
        owner = info.st_uid, info.st_gid
    write_atomic(path, data, owner=owner)


# Helpers


def _got(helper: str, key: str) -> Credential | None:
    data = _ask(helper, "get", key.encode(), key)
    if data is None:
        return None
    value = _answer(helper, key, data)
    user, secret = value.get("Username"), value.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise _failure(helper, key, "its answer has no Username and Secret")
    if user == _TOKEN_USER:
        return Credential(identity_token=secret) if secret else None
    # Both empty is what helpers answer that know nothing and do not say so.
    return Credential(user, secret) if user or secret else None


def _give(helper: str, key: str, credential: Credential) -> None:
    if credential.registry_token:
        raise InvalidInput(f"a bearer token for {key} cannot be given to a credential helper")
    user, secret = credential.username, credential.secret
    if credential.identity_token:
        user, secret = _TOKEN_USER, credential.identity_token
    try:
        data = jsontext.dumps({"ServerURL": key, "Username": user, "Secret": secret}).encode()
    except UnicodeEncodeError:
        raise InvalidInput("a user name or a password that is not UTF-8 cannot be kept") from None
    if _ask(helper, "store", data, key) is None:
        raise _failure(helper, key, "it does not store")


def _listed(helper: str) -> list[str]:
    where = "its list of registries"
    data = _ask(helper, "list", b"", where)
    return list(_answer(helper, where, data)) if data is not None else []


def _answer(helper: str, what: str, data: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _failure(helper, what, "its answer is not a JSON object")
    return value


def _failure(helper: str, what: str, reason: str) -> UnderlayError:
    return UnderlayError(
        f"credential helper docker-credential-{helper} failed for {what}: {reason}",
        "nothing else is asked in its place; what it prints is not shown, as it may be secret: run it by hand to see",
    )


def _ask(helper: str, action: str, data: bytes, what: str) -> bytes | None:
    """Return what a helper prints, None when it says that it has no such credential. Raises UnderlayError."""
    program = _program(f"docker-credential-{helper}")
    if not program:
        raise HelperMissing(
            f"credential helper docker-credential-{helper} failed for {what}: there is no such program on PATH",
            "install it, or take it out of credsStore or credHelpers in docker's config.json",
        )
    try:
        code, answer, complaint = _converse([program, action], data)
    except TimeoutError:
        raise _failure(helper, what, f"no answer within {_ANSWER_SECONDS:.0f} seconds") from None
    except OverflowError:
        raise _failure(helper, what, f"its answer is longer than {_ANSWER_LIMIT} bytes") from None
    except OSError as error:
        raise _failure(helper, what, f"it cannot be run: {error.strerror}") from None
    if code == 1 and answer.strip() == _NOT_FOUND:
        return None
    if code:
        reason = f"exit status {code}" if code > 0 else f"ended by signal {-code}"
        said = _first_line(complaint)
        raise _failure(helper, what, f"{reason}: {said}" if said else reason)
    return answer


def _first_line(complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in lines[0].strip()) if lines else ""
    return text if len(text) <= 200 else text[:197] + "..."


def _program(name: str) -> str:
    """Return the path of a program on PATH, "" when there is none; never one of the current directory."""
    for directory in os.get_exec_path():
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _converse(command: list[str], data: bytes) -> tuple[int, bytes, bytes]:
    """Run a program with `data` for its standard input; return its exit code and the bytes of its two outputs.

    Raises TimeoutError after 60 s and OverflowError for an output above 1 MiB, having killed it; OSError when it cannot
    be run. It ends when the program does, even if a child of it (an agent) keeps the pipes open. It stays in our
    process group, so that it may ask for a passphrase on the terminal.
    """
    import subprocess
    from select import POLLIN, POLLOUT, poll
    from time import monotonic

    deadline = monotonic() + _ANSWER_SECONDS
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        ended = os.pidfd_open(process.pid)
        try:
            into, out, err = process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()
            texts = {out: bytearray(), err: bytearray()}
            events = poll()
            for fd, event in ((into, POLLOUT), (out, POLLIN), (err, POLLIN), (ended, POLLIN)):
                os.set_blocking(fd, False)
                events.register(fd, event)
            left = memoryview(data)
            while True:
                ready = [fd for fd, _ in events.poll(max(0, deadline - monotonic()) * 1000)]
                if not ready or monotonic() > deadline:
                    raise TimeoutError
                if into in ready:
                    try:
                        left = left[os.write(into, left) :] if left else left
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        events.unregister(into)
                        process.stdin.close()
                for fd in (out, err):
                    # What it said last may have come after its pipes were looked at, and before its end was.
                    if ended in ready:
                        _drained(fd, texts[fd], True)
                    elif fd in ready and not _drained(fd, texts[fd], False):
                        events.unregister(fd)
                if len(texts[out]) > _ANSWER_LIMIT:
                    raise OverflowError
                del texts[err][_COMPLAINT_LIMIT:]
                if ended in ready:
                    return process.wait(), bytes(texts[out]), bytes(texts[err])
        finally:
            os.close(ended)
            if process.poll() is None:
                process.kill()


def _drained(fd: int, text: bytearray, all_of_it: bool) -> bool:
    """Add what a pipe has to `text`: a piece, or all that there is; returns False at its end."""
    while True:
        try:
            piece = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        text += piece
        if not piece or not all_of_it or len(text) > _ANSWER_LIMIT:
            return bool(piece)
