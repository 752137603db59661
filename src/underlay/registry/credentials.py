"""Credentials as docker keeps them, in config.json or with helper programs that it names, and those that podman keeps.

Members of docker's file and the order in which they count are docker's (docker/cli, cli/config). Other than there, a
helper that fails is an error wherever it is asked, and the credential of a host is taken from an entry for that very
host alone; only the reader of a registry goes on without a helper that is not installed, as docker does: see
`registries`. Podman's files and their places are those of containers-auth.json(5).
"""

from __future__ import annotations

import os

from ..errors import InvalidInput, KernelError, LimitExceeded
from ..lean import jsontext
from .helpers import ask, failure
from .hosts import HUB, registry_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"
_SECRETS = ("auth", "username", "password", "identitytoken", "registrytoken")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

_FILE_LIMIT = 4 << 20


class Credential:
    """A login for a registry: `username` and `secret`, or an `identity_token` (OAuth2 refresh), or a `registry_token`
    (bearer).

    Fields that do not apply are "".
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


def podmans() -> list[str]:
    """Return the paths of podman's login files (auth.json), in the order in which podman reads them."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    running = f"{session}/containers" if session else f"/run/containers/{os.getuid()}"
    kept = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [f"{running}/auth.json", f"{kept}/containers/auth.json"]


class Store:
    """The credentials of a user, kept in the file `path`.

    By default that is the file that $REGISTRY_AUTH_FILE names; without it config.json in $DOCKER_CONFIG; without that
    config.json in ~/.docker, and what is not there is looked for in podman's files. Entries for a part of a registry
    (`HOST/NAMESPACE`) count in podman's files and in $REGISTRY_AUTH_FILE; docker knows none.

    The files are read anew for each question. All methods raise InvalidInput for a malformed file or host, LimitExceeded
    for a file above 4 MiB, KernelError when it cannot be read or written, UnderlayError when a helper fails and
    HelperMissing when there is no such program.
    """

    __slots__ = ("_others", "_parts", "path")

    def __init__(self, path: str = "", parts: bool = False) -> None:
        """`parts` says that entries for parts of a registry count."""
        self._others: list[Store] = []
        self._parts = parts
        if not path:
            path = os.environ.get("REGISTRY_AUTH_FILE", "")
            self._parts = bool(path)
        if not path:
            directory = os.environ.get("DOCKER_CONFIG", "")
            path = (directory or os.path.expanduser("~/.docker")) + "/config.json"
            if not directory:
                self._others = [Store(auth_file, parts=True) for auth_file in podmans()]
        self.path = path

    def get(self, host: str, repository: str = "") -> Credential | None:
        """Return the credential for a registry, or for a repository in it, None when there is none.

        The first file that has one counts; in it the helper for the registry alone if it has one, else the entry for
        the largest part of the repository's path.
        """
        key = server_key(host)
        for store in (self, *self._others):
            credential = store._get(key, repository)
            if credential is not None:
                return credential
        return None

    def part(self, host: str, repository: str) -> str:
        """Return how much of a repository's path has an entry of its own: two with the same share a credential."""
        key = server_key(host)
        return max((store._part(store._read(), key, repository) for store in (self, *self._others)), key=len)

    def elsewhere(self, host: str) -> str:
        """Return the path of the first of podman's files with an entry for a registry or a part of it, "" without one."""
        name = _host_of(server_key(host))
        for store in self._others:
            for key, entry in store._auths(store._read()).items():
                if (
                    isinstance(entry, dict)
                    and _secret(entry)
                    and name in (_host_of(key), _host_of(key.partition("/")[0]))
                ):
                    return store.path
        return ""

    def _get(self, key: str, repository: str) -> Credential | None:
        document = self._read()
        helper = self._helper(document, key)
        if helper:
            return _got(helper, key)
        part = self._part(document, key, repository)
        if part:
            name = f"{_host_of(key)}/{part}"
            return self._decoded(name, self._auths(document)[name])
        for name, entry in self._entries(document, key):
            credential = self._decoded(name, entry)
            if credential is not None:
                return credential
        return None

    def _part(self, document: dict[str, Any], key: str, repository: str) -> str:
        if not self._parts:
            return ""
        auths = self._auths(document)
        part = repository
        while part:
            entry = auths.get(f"{_host_of(key)}/{part}")
            if isinstance(entry, dict) and _secret(entry):
                return part
            part = part.rpartition("/")[0]
        return ""

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

        A helper that erases without an error counts as having had a credential: few report whether they had one.
        """
        key = server_key(host)
        document = self._read()
        helper = self._helper(document, key)
        erased = bool(helper) and ask(helper, "erase", key.encode(), key) is not None
        entries = self._entries(document, key)
        if entries:

            def remove(document: dict[str, Any]) -> None:
                for name, _ in self._entries(document, key):
                    del document["auths"][name]

            self._edit(remove)
        return erased or any(_secret(entry) for _, entry in entries)

    def hosts(self) -> list[str]:
        """Return the registries for which there is a credential or a helper of their own, sorted; asks `credsStore`."""
        return sorted(set().union(*(store._hosts() for store in (self, *self._others))))

    def _hosts(self) -> set[str]:
        document = self._read()
        usual, special = self._helpers(document)
        hosts = {name for name, helper in special.items() if helper}
        keys = [key for key, entry in self._auths(document).items() if isinstance(entry, dict) and _secret(entry)]
        listed = _listed(self._checked("credsStore", usual)) if usual else []
        for names, helper in ((keys, ""), (listed, usual)):
            hosts.update(name for name in map(_host_of, names) if name and special.get(name, usual) == helper)
        return hosts

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
            # Of the error of `json` only line and column are shown: its text may hold a secret.
            line = getattr(error, "lineno", 0)
            position = f" (line {line}, column {getattr(error, 'colno', 0)})" if line else ""
            raise InvalidInput(f"{self.path}: not JSON{position}") from None
        if not isinstance(value, dict):
            raise self._wrong("", "an object")
        return value

    def _wrong(self, member: str, expected: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: {member + ': ' if member else ''}expected {expected}")

    def _auths(self, document: dict[str, Any]) -> dict[str, Any]:
        auths = document.get("auths")
        if auths is not None and not isinstance(auths, dict):
            raise self._wrong("auths", "an object")
        return auths or {}

    def _entries(self, document: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries for one registry by their names in the file, docker's own form first."""
        entries: list[tuple[str, dict[str, Any]]] = []
        host = _host_of(key)
        for name, entry in self._auths(document).items():
            if _host_of(name) == host:
                if not isinstance(entry, dict):
                    raise self._wrong(f'auths["{name}"]', "an object")
                entries.append((name, entry))
        return sorted(entries, key=lambda pair: pair[0] != key)

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

    def _checked(self, member: str, helper: str) -> str:
        if not _NAME.issuperset(helper):
            raise self._wrong(member, "one word of letters, digits, '.', '_' and '-'")
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
    data = ask(helper, "get", key.encode(), key)
    if data is None:
        return None
    value = _answer(helper, key, data)
    user, secret = value.get("Username"), value.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise failure(helper, key, "its answer has no Username and Secret")
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
    if ask(helper, "store", data, key) is None:
        raise failure(helper, key, "it does not store")


def _listed(helper: str) -> list[str]:
    where = "its list of registries"
    data = ask(helper, "list", b"", where)
    return list(_answer(helper, where, data)) if data is not None else []


def _answer(helper: str, what: str, data: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise failure(helper, what, "its answer is not a JSON object")
    return value
