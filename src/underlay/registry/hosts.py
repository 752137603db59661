"""Where and how a registry is reached: registries.toml, mirrors, certificates, and which addresses are this host's.

The form of registries.toml is ours (docs/reference/registries.md). What docker decides is decided as docker does: the
server behind docker.io, plain HTTP for this host and for insecure registries, the directories certs.d.
"""

from __future__ import annotations

import errno
import os

from .. import settings
from ..errors import Conflict, InvalidInput, KernelError, LimitExceeded
from ..files import read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    # Scheme ("" when not stated), host, port (0 when not stated), prefix.
    Address = tuple[str, str, int, str]

HUB = "docker.io"
# All three name Docker Hub; only the last one speaks the protocol (moby, registry/config.go).
_HUB_NAMES = frozenset((HUB, "index.docker.io", "registry-1.docker.io"))
_HUB_SERVER = "registry-1.docker.io"
_PORTS = {"https": 443, "http": 80}

_DIGITS = frozenset("0123456789")
_LABEL = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyz_-")
_COMPONENT = _LABEL | {"."}
_NUMBERS = _DIGITS | frozenset("abcdefx.")
_HOST_LIMIT = 253  # RFC 1035, section 2.3.4, without the dot of the root
_FILE_LIMIT = 1 << 20

_REGISTRY_KEYS = ("mirrors", "insecure", "blocked", "location", "token_servers")


class Endpoint:
    """A server to ask: `scheme` ("https" or "http"), `host` (lower case, IPv6 without brackets) and `port`.

    `prefix` ("" or "/proxy-docker") goes before the names of repositories there. `insecure`: certificates are not
    verified, unless an authority is configured for it. `mirror`: it stands in for the registry, for reading.
    `token_servers` are the origins of those that registries.toml names for it. Two endpoints that are alike are equal.
    """

    __slots__ = ("host", "insecure", "mirror", "port", "prefix", "scheme", "token_servers")

    def __init__(
        self, scheme: str, host: str, port: int = 0, prefix: str = "", insecure: bool = False, mirror: bool = False
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port or _PORTS[scheme]
        self.prefix = prefix
        self.insecure = insecure
        self.mirror = mirror
        self.token_servers: frozenset[tuple[str, str, int]] = frozenset()

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what decides whether two URLs belong to the same server (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The host, with the port when it is not the scheme's own: `example.com`, `[::1]:5000`."""
        return _joined(self.host, 0 if self.port == _PORTS[self.scheme] else self.port)

    @property
    def root(self) -> str:
        """The URL of the server without any path."""
        return f"{self.scheme}://{self.authority}"

    def url(self, path: str) -> str:
        """Return the URL of `path` (of the protocol: `/v2/library/alpine/…`), with the prefix where it belongs.

        A prefix belongs to the name: `/v2/proxy-docker/library/alpine/…`, since that is where registries that serve
        several others (Harbor, Nexus, Artifactory) are asked by docker.
        """
        if self.prefix and path.startswith("/v2/") and path[4:5].isalnum():
            path = f"/v2{self.prefix}{path[3:]}"
        return self.root + path

    def local(self, path: str) -> str:
        """Return a path that the server has named, as `url` takes it: without the prefix."""
        return "/v2" + path.removeprefix(f"/v2{self.prefix}") if path.startswith(f"/v2{self.prefix}/") else path

    @property
    def server_key(self) -> tuple[str, str, bool]:
        """What is alike for the ways to one server, with TLS and without."""
        return self.authority, self.prefix, self.mirror

    def _all(self) -> tuple[object, ...]:
        return (*self.origin, self.prefix, self.insecure, self.mirror)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Endpoint) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        words = (" insecure" if self.insecure else "") + (" mirror" if self.mirror else "")
        return f"<Endpoint {self.root}{self.prefix}{words}>"


class HostPlan:
    """The servers that stand for the registry `domain`: `endpoints` to read from, in order, `push` to write to."""

    __slots__ = ("domain", "endpoints", "push")

    def __init__(self, domain: str, endpoints: list[Endpoint], push: list[Endpoint]) -> None:
        self.domain = domain
        self.endpoints = endpoints
        self.push = push


class Network:
    """Patience and width: `connect_timeout` and `stall_timeout` in seconds, `parallel_layers`, `retries` (tries in all)."""

    __slots__ = ("connect_timeout", "parallel_layers", "retries", "stall_timeout")

    def __init__(self) -> None:
        self.connect_timeout = 15.0
        self.stall_timeout = 30.0
        self.parallel_layers = 4
        self.retries = 5


# Key of [network]: least and greatest value, and whether it is a whole number.
_NETWORK = {
    "connect_timeout": (0.1, 3600, False),
    "stall_timeout": (0.1, 3600, False),
    "parallel_layers": (1, 64, True),
    "retries": (1, 100, True),
}


class _Entry:
    """What a file says of a registry."""

    __slots__ = ("blocked", "file", "insecure", "location", "mirrors", "token_servers")

    def __init__(self, file: str) -> None:
        self.file = file
        self.mirrors: list[Address] = []
        self.token_servers: list[Address] = []
        self.insecure = False
        self.blocked = False
        self.location: Address | None = None


class Settings:
    """What registries.toml says. `Settings()` is what holds without any file."""

    __slots__ = ("_authorities", "_entries", "network")

    def __init__(self) -> None:
        self.network = Network()
        self._authorities: dict[str, bool] = {}
        self._entries: dict[str, _Entry] = {}

    @staticmethod
    def load() -> Settings:
        """Return the settings of this host and user: see `settings_files`; what comes later replaces a registry's table.

        Raises InvalidInput naming file, table and key, LimitExceeded (a file above 1 MiB), KernelError.
        """
        settings = Settings()
        for path in settings_files():
            settings._read(path)
        return settings

    def plan(self, domain: str) -> HostPlan:
        """Return the servers that stand for a registry (`docker.io`, `example.com:5000`).

        Raises Conflict when it is blocked, InvalidInput when `domain` names no registry.
        """
        name = registry_name(domain)
        host, port = split_host(name)
        entry = self._settings_of(host, port)
        address = entry.location or ("", host, port, "")
        for candidate in (entry, self._settings_of(*address[1:3])):
            if candidate.blocked:
                raise Conflict(
                    f"registry {name} is blocked by {candidate.file}", "remove `blocked = true` there to allow it"
                )
        own = self._reached(address, entry)
        # Blocked means that nothing comes from there, by whichever way.
        mirrors = [mirror for mirror in entry.mirrors if not self._settings_of(*mirror[1:3]).blocked]
        return HostPlan(name, [end for mirror in mirrors for end in self._reached(mirror, mirror=True)] + own, own)

    def allow_insecure(self, domain: str) -> None:
        """Take `domain` for insecure, whatever the files say; for `--insecure`."""
        from copy import copy  # what is found may be the table of a pattern, which holds for others too

        entry = copy(self._settings_of(*split_host(domain)))
        entry.insecure = True
        self._entries[registry_name(domain)] = entry

    def hub_endpoint(self, host: str) -> Endpoint:
        """Return where a host of Docker Hub's own is asked; the `location` of docker.io in the files holds for it, too."""
        entry = self._settings_of(HUB, 0)
        return self._reached(entry.location or ("https", host, 443, ""), entry)[0]

    def endpoint_of(self, url: str, asked: Endpoint) -> Endpoint:
        """Return the server of a URL that `asked` gave (redirect, realm, place of an upload). Raises InvalidInput.

        Insecurity is of one host and port: that of `asked` is not handed on to another.
        """
        endpoint = endpoint_of(url)
        if (endpoint.host, endpoint.port) == (asked.host, asked.port):
            endpoint.insecure = asked.insecure
        else:
            own_port = 0 if endpoint.port == _PORTS[endpoint.scheme] else endpoint.port
            endpoint.insecure = is_loopback(endpoint.host) or self._settings_of(endpoint.host, own_port).insecure
        return endpoint

    def _settings_of(self, host: str, port: int) -> _Entry:
        """Return the settings of a registry: its own table, else that of the longest pattern, else an empty one."""
        name = registry_name(_joined(host, port))
        entry = self._entries.get(name)
        host, port = split_host(name)
        while entry is None and "." in host and ":" not in host:
            host = host.partition(".")[2]
            entry = self._entries.get("*." + _joined(host, port))
        return entry or _Entry("")

    def _reached(self, address: Address, named: _Entry | None = None, mirror: bool = False) -> list[Endpoint]:
        """Return the ways to an address: TLS, and plain HTTP after it where that is allowed (moby, registry/service_v2.go).

        `named` is the table of the registry that the address stands for. A scheme that is stated is the only one. For
        a host that is insecure only since it is this one, an authority in certs.d means TLS and nothing else.
        """
        scheme, host, port, prefix = address
        entries = [entry for entry in (named, self._settings_of(host, port)) if entry]
        declared = any(entry.insecure for entry in entries)
        insecure = declared or is_loopback(host)
        if not port and host in _HUB_NAMES:
            host = _HUB_SERVER
        schemes = [scheme] if scheme else ["https", "http"] if insecure else ["https"]
        if not scheme and insecure and not declared and self._has_authority(_joined(host, port)):
            schemes = ["https"]
        endpoints = [Endpoint(way, host, port, prefix, insecure, mirror) for way in schemes]
        servers = frozenset(
            Endpoint(way or "https", name, number).origin
            for entry in entries
            for way, name, number, _ in entry.token_servers
        )
        for endpoint in endpoints:
            endpoint.token_servers = servers
        return endpoints

    def _has_authority(self, name: str) -> bool:
        """Tell whether certs.d has an authority for a registry; looked up once, since a plan is made for each request."""
        if name not in self._authorities:
            self._authorities[name] = bool(certificates(name).ca)
        return self._authorities[name]

    def _read(self, path: str) -> None:
        data = _content(path)
        if not data:
            return
        import tomllib

        try:
            document = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{path}: not TOML: {error}") from None
        _known(path, "", document, ("registry", "network"))
        entries: dict[str, _Entry] = {}
        for name, table in _table(path, "registry", document.get("registry", {})).items():
            where = f'registry."{_shown(name)}"'
            key = _pattern(path, where, name)
            if key in entries:
                raise InvalidInput(f"{path}: [{where}]: {key} has a table already")
            entries[key] = _entry(path, where, _table(path, where, table))
        self._entries.update(entries)
        self._network(path, _table(path, "network", document.get("network", {})))

    def _network(self, path: str, table: dict[str, Any]) -> None:
        _known(path, "network", table, tuple(_NETWORK))
        for key, value in table.items():
            least, most, whole = _NETWORK[key]
            kinds = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
                kind = "a whole number" if whole else "a number of seconds"
                raise InvalidInput(f"{path}: [network] {key}: expected {kind} from {least} to {most}")
            setattr(self.network, key, value if whole else float(value))


def settings_files() -> list[str]:
    """Return the paths of the settings, whether they exist or not: only UNDERLAY_REGISTRIES when that is set."""
    only = settings.value("registries")
    if only:
        return [only]
    return ["/etc/underlay/registries.toml", _config_home() + "/underlay/registries.toml"]


def _config_home() -> str:
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")


def _content(path: str) -> bytes:
    """Return the content of a file of settings, nothing when there is none."""
    try:
        return read_bytes(path, _FILE_LIMIT)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise LimitExceeded(f"{path}: longer than {_FILE_LIMIT} bytes") from None
        # A file that is named may block registries: a slip in its name must not allow them.
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and path != settings.value("registries"):
            return b""
        raise KernelError("open", path, error.errno or 0) from None


def _table(path: str, where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: {where}: expected a table")
    return value


def _known(path: str, where: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for key, value in table.items():
        if key not in known:
            hint = f"known are {', '.join(known)}"
            if where.startswith("registry.") and isinstance(value, dict):
                hint = 'a name goes in quotes: [registry."docker.io"]; ' + hint
            prefix = f"[{where}] " if where else ""
            raise InvalidInput(f"{path}: {prefix}{_shown(key)}: unknown {'key' if where else 'table'}", hint)


def _pattern(path: str, where: str, name: str) -> str:
    """Return the name of a registry, or of all whose names end alike, as it is looked up."""
    try:
        return "*." + _joined(*split_host(name[2:])) if name.startswith("*.") else registry_name(name)
    except InvalidInput:
        raise InvalidInput(
            f"{path}: [{where}]: not the name of a registry",
            "write HOST, HOST:PORT, or *.DOMAIN for all names that end in it",
        ) from None


def _entry(path: str, where: str, table: dict[str, Any]) -> _Entry:
    _known(path, where, table, _REGISTRY_KEYS)
    entry = _Entry(path)
    for key, value in table.items():
        setting = f"{path}: [{where}] {key}"
        if key == "location":
            entry.location = _address(setting, value)
        elif key in ("mirrors", "token_servers"):
            if not isinstance(value, list):
                raise InvalidInput(f"{setting}: expected a list of addresses")
            addresses = [_address(setting, item) for item in value]
            if key == "token_servers" and any(prefix for _, _, _, prefix in addresses):
                raise InvalidInput(f"{setting}: a token server has no path", 'write "HOST", "HOST:PORT", "http://HOST"')
            setattr(entry, key, addresses)
        elif isinstance(value, bool):
            setattr(entry, key, value)
        else:
            raise InvalidInput(f"{setting}: expected true or false")
    return entry


def _address(setting: str, value: object) -> Address:
    """Return the address that settings name: a host, perhaps with scheme, port, and prefix of repositories."""
    hint = "write HOST, HOST:PORT, https:// or http:// before it if need be, and /PREFIX after it"
    if not isinstance(value, str):
        raise InvalidInput(f"{setting}: expected an address in quotes", hint)
    scheme, colon, rest = value.partition("://")
    scheme = scheme.lower()
    authority, _, path = (rest if colon else value).partition("/")
    path = path.rstrip("/")
    good = all(part and _COMPONENT.issuperset(part) and part[0].isalnum() for part in path.split("/")) if path else True
    try:
        host, port = split_host(authority)
    except InvalidInput:
        good = False
    if not good or (colon and scheme not in _PORTS):
        raise InvalidInput(f"{setting}: {_shown(value)} is not an address", hint)
    return scheme if colon else "", host, port, "/" + path if path else ""


def _shown(text: str) -> str:
    """Return a stranger's text for a message: short, in one line, and without what may be a password."""
    if "@" in text:
        return "an address with a user in it"
    return ascii(text if len(text) <= 100 else text[:97] + "...")[1:-1]


def split_host(text: str) -> tuple[str, int]:
    """Return host (lower case, IPv6 without brackets) and port (0 when there is none) of `HOST[:PORT]`.

    Raises InvalidInput for all else; what is returned holds no "/", no ".." and nothing that is not ASCII.
    """
    if text[:1] == "[":
        host, closed, rest = text[1:].partition("]")
        good = bool(closed) and ":" in host and "%" not in host and packed_address(host) is not None
        good = good and rest[:1] in ("", ":")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        good = len(host) <= _HOST_LIMIT and all(
            part and _LABEL.issuperset(part.lower()) and "-" not in (part[0], part[-1]) for part in host.split(".")
        )
    if colon:
        good = good and 0 < len(port) <= 5 and _DIGITS.issuperset(port) and 0 < int(port) < 65536
    if not good:
        raise InvalidInput(f"not the name of a registry: {_shown(text)}", "write HOST or HOST:PORT")
    return host.lower(), int(port) if colon else 0


def registry_name(text: str) -> str:
    """Return the one name of a registry: lower case, and `docker.io` for all names of Docker Hub. Raises InvalidInput."""
    host, port = split_host(text)
    return HUB if not port and host in _HUB_NAMES else _joined(host, port)


def _joined(host: str, port: int) -> str:
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{port}" if port else host


def endpoint_of(url: str) -> Endpoint:
    """Return the server of a URL that somebody else gave (redirect, realm); its path is no prefix. Raises InvalidInput.

    Strict, so that no two readers of a URL can take it for different servers: no user, no backslash, no blanks.
    """
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    if not colon or scheme not in _PORTS or any(letter <= " " or letter == "\x7f" for letter in url):
        raise InvalidInput(f"not the URL of a server: {_shown(url)}")
    return Endpoint(scheme, *split_host(rest[:end]))


def packed_address(host: str) -> bytes | None:
    """Return a literal address as 4 or 16 bytes, None for a name.

    All that the resolver takes for an address counts, `127.1` and `0x7f000001` too (inet_aton(3)); an IPv4 address
    inside IPv6 counts as what it is (RFC 4291, section 2.5.5.2).
    """
    import _socket

    host = host.strip("[]").partition("%")[0].lower().rstrip(".")
    try:
        if ":" in host:
            packed = _socket.inet_pton(_socket.AF_INET6, host)
            return packed[12:] if packed[:12] == bytes(10) + b"\xff\xff" else packed
        return _socket.inet_aton(host) if host and _NUMBERS.issuperset(host) else None
    except OSError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this one by its very name: `localhost`, 127.0.0.0/8, ::1. Nothing is resolved."""
    packed = packed_address(host)
    if packed is None:
        return host.lower() == "localhost"
    return packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\1"


def is_private(host: str) -> bool:
    """Tell whether a host is an address of a private network (RFC 1918, RFC 6598, RFC 4193). Nothing is resolved."""
    packed = packed_address(host)
    if packed is None:
        return False
    if len(packed) == 16:
        return packed[0] & 0xFE == 0xFC
    first, second = packed[0], packed[1]
    return (
        first == 10
        or (first == 172 and second & 0xF0 == 16)
        or (first == 192 and second == 168)
        or (first == 100 and second & 0xC0 == 64)
    )


def is_local_only(host: str) -> bool:
    """Tell whether a host can only mean this host or its link, so that no public server has reason to send us there.

    Loopback, link-local (169.254.0.0/16 with its services of clouds, fe80::/10), unspecified, and the names of
    RFC 6761, section 6.3. Nothing is resolved.
    """
    packed = packed_address(host)
    if packed is None:
        return f".{host.lower().rstrip('.')}".endswith(".localhost")
    if len(packed) == 4:
        return packed[0] in (0, 127) or packed[:2] == b"\xa9\xfe"
    return (packed[:15] == bytes(15) and packed[15] < 2) or (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80)


# Certificates


class Certificates:
    """Files for one registry: `ca` are further authorities, `client` are pairs of certificate and key."""

    __slots__ = ("ca", "client")

    def __init__(self, ca: list[str], client: list[tuple[str, str]]) -> None:
        self.ca = ca
        self.client = client


def certificate_directories() -> list[str]:
    """Return the directories that hold a directory a registry: only UNDERLAY_CERTS_D when that is set."""
    only = settings.value("certificates")
    if only:
        return [only]
    home = _config_home()
    return ["/etc/underlay/certs.d", "/etc/docker/certs.d", home + "/underlay/certs.d", home + "/docker/certs.d"]


def certificates(host: str) -> Certificates:
    """Return the certificates for a registry `HOST[:PORT]`, from all directories that there are for it.

    In a directory `*.crt` are authorities, `X.cert` and `X.key` a client's pair (docker, "Verify repository client with
    certificates"). The port of TLS may be named or not, and Docker Hub may be `docker.io`. A directory that may not be
    read is passed over, as containers/image does. Raises InvalidInput when half a pair is missing, KernelError.
    """
    name, port = split_host(host)
    names = [_joined(name, 0), _joined(name, 443)] if port in (0, 443) else [_joined(name, port)]
    if names[0] in _HUB_NAMES:
        names = [HUB, *(directory for directory in names if directory != HUB)]
    collected = Certificates([], [])
    for parent in certificate_directories():
        for directory in names:
            _collect(f"{parent}/{directory}", collected)
    return collected


def _collect(directory: str, collected: Certificates) -> None:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except OSError as error:
        raise KernelError("open", directory, error.errno or 0) from None
    for name in names:
        stem, _, kind = name.rpartition(".")
        path = f"{directory}/{name}"
        if kind == "crt":
            collected.ca.append(path)
        elif kind == "cert":
            if stem + ".key" not in names:
                raise InvalidInput(
                    f"{path}: its key {stem}.key is missing", "certificates of authorities are called *.crt"
                )
            collected.client.append((path, f"{directory}/{stem}.key"))
        elif kind == "key" and stem + ".cert" not in names:
            raise InvalidInput(f"{path}: its certificate {stem}.cert is missing")


def is_verified(endpoint: Endpoint, certificates: Certificates) -> bool:
    """Tell whether the certificate of an endpoint is verified: always, but for an insecure one without an authority."""
    return bool(certificates.ca) or not endpoint.insecure


def ssl_context(endpoint: Endpoint, certificates: Certificates) -> ssl.SSLContext:
    """Return the TLS context for an endpoint: the system's authorities and the given ones, the client's pairs, TLS 1.2 up.

    Who has configured an authority wants it to count: with one, an insecure endpoint and this host are verified too.
    Raises InvalidInput for a file without a usable certificate or key, KernelError for one that cannot be read.
    """
    import ssl

    # Not the default context: since Python 3.13 that refuses authorities that docker accepts (X509_STRICT).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Any certificate that is trusted ends a chain, an authority's own or not, as in Go.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not is_verified(endpoint, certificates):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
        for path in certificates.ca:
            try:
                context.load_verify_locations(path)
            except ssl.SSLError:
                raise InvalidInput(f"{path}: holds no certificate in PEM form") from None
            except OSError as error:
                raise KernelError("open", path, error.errno or 0) from None
    # OpenSSL keeps one pair a kind of key, the last: so the first by name is used.
    for path, key in reversed(certificates.client):
        try:
            # Without a password of ours, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(path, key, password="")
        except (ssl.SSLError, ValueError):
            raise InvalidInput(f"{path}: no pair of certificate and key (without a password) in PEM form") from None
        except OSError as error:
            raise KernelError("open", f"{path} or its key", error.errno or 0) from None
    return context
