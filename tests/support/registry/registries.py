"""Real registries on loopback, and what goes with them: certificates, a server of tokens, a proxy, a plain client."""

from __future__ import annotations

import base64
import ctypes
import http.client
import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from fakeserver import Cut, Handler, HasContext, Server
from remoteimages import Image, Index, encoded, sha

PROGRAM = "docker-registry"
NAMES = ("IP:127.0.0.1", "DNS:localhost")


def need(program: str) -> str:
    """The path of a program, or a skip with the reason."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


def _openssl(*words: str | Path, input: bytes | None = None) -> bytes:
    done = subprocess.run([need("openssl"), *map(str, words)], input=input, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


# Certificates
# ---------------------------------------------------------------------------------------------------------


class Certificate:
    """An authority, and certificates by it for a server of these names and for a client; all files are below `place`.

    `authority` is the file that clients trust. `certificate`, `key` are the server's, `client_certificate`,
    `client_key` a client's. `mutual`: servers want a client's certificate.
    """

    def __init__(self, place: Path, names: Iterable[str] = NAMES, mutual: bool = False) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.mutual = mutual
        self.authority, authority_key = place / "ca.crt", place / "ca.key"
        self.certificate, self.key = place / "server.crt", place / "server.key"
        self.client_certificate, self.client_key = place / "client.cert", place / "client.key"
        ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash"
        _certificate(self.authority, authority_key, "the tests' authority", ca)
        common = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n"
        by = ("-CA", self.authority, "-CAkey", authority_key)
        server = f"{common}extendedKeyUsage=serverAuth\nsubjectAltName={','.join(names)}"
        _certificate(self.certificate, self.key, "server", server, *by)
        _certificate(self.client_certificate, self.client_key, "client", common + "extendedKeyUsage=clientAuth", *by)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.mutual:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority))
        if self.mutual:
            context.load_cert_chain(self.client_certificate, self.client_key)
        return context

    def directory(self, place: Path) -> Path:
        """Write a directory as docker's and podman's certs.d has them for one host: ca.crt, client.cert, client.key."""
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.authority, place / "ca.crt")
        if self.mutual:
            shutil.copy(self.client_certificate, place / "client.cert")
            shutil.copy(self.client_key, place / "client.key")
        return place


def _certificate(out: Path, key: Path, name: str, extensions: str, *by: str | Path, rsa: bool = False) -> None:
    """Make a key and a certificate, by an authority or by itself, with exactly these extensions."""
    settings = out.with_suffix(".cnf")
    settings.write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n{extensions}\n")
    kind = ("rsa:2048",) if rsa else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    made = ("-newkey", *kind, "-nodes", "-keyout", key, "-out", out, "-days", "30", "-subj", f"/CN={name}")
    _openssl("req", "-x509", "-sha256", "-config", settings, *made, *by)


# A plain client
# ---------------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    base: str,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One request, through http.client and nothing else. `target` may be a URL; pieces are sent as chunks."""
    url = urllib.parse.urlsplit(urllib.parse.urljoin(base, target))
    assert url.hostname
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    try:
        connection.request(method, url.path + (f"?{url.query}" if url.query else ""), body, headers or {})
        got = connection.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
    finally:
        connection.close()


def push(
    base: str,
    image: Image | Index,
    repository: str,
    *tags: str,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> None:
    """Put an image into a registry by plain requests, each blob in one piece."""

    def must(wanted: int, method: str, target: str, body: bytes | None = None, **more: str) -> Answer:
        answer = call(base, method, target, body, {**(headers or {}), **more}, context)
        assert answer.status == wanted, (method, target, answer)
        return answer

    for digest, data in image.blobs.items():
        location = must(202, "POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
        location += ("&" if "?" in location else "?") + f"digest={digest}"
        must(201, "PUT", location, data, **{"Content-Type": "application/octet-stream"})
    for digest, (kind, data) in image.documents.items():
        references = (tags or (digest,)) if digest == image.digest else (digest,)
        for reference in references:
            must(201, "PUT", f"/v2/{repository}/manifests/{reference}", data, **{"Content-Type": kind})


# Tokens
# ---------------------------------------------------------------------------------------------------------

Access = Callable[[str, str, str, set[str]], set[str]]


def all_may_pull(user: str, kind: str, name: str, actions: set[str]) -> set[str]:
    """What is granted: users may do what they ask for, everyone else ("") may pull."""
    return actions if user else actions & {"pull"}


def basic(user: str, password: str) -> str:
    """The value of Authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TokenServer(Server):
    """A server of tokens as Docker's registries want them: GET with Basic or nothing, POST as OAuth 2.

    `access` (user, type, name, actions) says what is granted. `fields` are the names under which the token is given,
    `expires_in` how long it holds (None: not said, which means 60 s), `oauth` whether POST is known; `issues_refresh`
    whether refresh tokens are given to who asks. What was issued is in `issued` (token → claims) and `refreshes`
    (refresh token → user); taken out of there, it is worth nothing any more (to `judge`: docker-registry cannot know).
    """

    def __init__(
        self,
        place: Path,
        *,
        users: dict[str, str] | None = None,
        access: Access = all_may_pull,
        service: str = "registry.test",
        issuer: str = "issuer.test",
        expires_in: int | None = 300,
        fields: tuple[str, ...] = ("token", "access_token"),
        oauth: bool = True,
        issues_refresh: bool = True,
        tls: ssl.SSLContext | HasContext | None = None,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.users = users if users is not None else {"alice": "secret"}
        self.access, self.service, self.issuer, self.expires_in = access, service, issuer, expires_in
        self.fields, self.oauth, self.issues_refresh = fields, oauth, issues_refresh
        self.bundle, self.key = place / "token.crt", place / "token.key"
        _certificate(self.bundle, self.key, issuer, "basicConstraints=critical,CA:TRUE", rsa=True)
        der = ssl.PEM_cert_to_DER_cert(self.bundle.read_text())
        self._head = _part({"alg": "RS256", "typ": "JWT", "x5c": [base64.b64encode(der).decode()]})
        self.issued: dict[str, dict[str, Any]] = {}
        self.refreshes: dict[str, str] = {}
        super().__init__(tls)
        self.realm = f"{self.url}/token"

    def challenge(self) -> str:
        """What a registry says that sends clients here; {scope} is for the registry to fill in."""
        return f'Bearer realm="{self.realm}",service="{self.service}",scope="{{scope}}"'

    def issue(self, user: str = "", scope: str = "", seconds: int | None = None) -> str:
        """Make a token for a user ("" is everyone) of what may be granted of the scopes, which spaces separate."""
        granted = []
        for each in scope.split():
            kind, _, rest = each.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = self.access(user, kind, name, set(actions.split(",")))
            if allowed:
                granted.append({"type": kind, "name": name, "actions": sorted(allowed)})
        now = int(time.time())
        if seconds is None:
            seconds = 60 if self.expires_in is None else self.expires_in
        claims = {"iss": self.issuer, "sub": user, "aud": self.service, "exp": now + seconds, "nbf": now - 10}
        claims |= {"iat": now, "jti": uuid.uuid4().hex, "access": granted}
        signed = f"{self._head}.{_part(claims)}"
        signature = _openssl("dgst", "-sha256", "-sign", self.key, input=signed.encode())
        token = f"{signed}.{_base64(signature)}"
        self.issued[token] = claims
        return token

    def judge(self, authorization: str, scope: str) -> bool:
        """Whether this is a token from here that still holds and allows the scope."""
        kind, _, token = authorization.partition(" ")
        claims = self.issued.get(token)
        if kind.lower() != "bearer" or claims is None or claims["exp"] <= time.time():
            return False
        wanted, _, actions = scope.rpartition(":")
        has = {f"{each['type']}:{each['name']}": set(each["actions"]) for each in claims["access"]}
        return not scope or set(actions.split(",")) <= has.get(wanted, set())

    def serve(self, handler: Handler) -> None:
        body = handler.read_body()
        request = handler.asked
        if request.path != "/token" or request.method not in ("GET", "POST"):
            handler.answer(404)
        elif request.method == "POST" and not self.oauth:
            handler.answer(405)
        elif request.method == "GET":
            self._get(handler)
        else:
            given = {name: " ".join(v) for name, v in urllib.parse.parse_qs(body.decode()).items()}
            self._post(handler, given)

    def _get(self, handler: Handler) -> None:
        query, said = handler.asked.query, handler.asked.headers.get("authorization", "")
        accepted = {basic(user, password): user for user, password in self.users.items()}
        if said and said not in accepted:
            handler.answer(401, _oauth_error("UNAUTHORIZED"), {"WWW-Authenticate": 'Basic realm="tokens"'})
            return
        user = accepted.get(said, "")
        self._give(handler, user, query, bool(user) and query.get("offline_token") == "true")

    def _post(self, handler: Handler, given: dict[str, str]) -> None:
        kind = given.get("grant_type")
        if kind == "password":
            user = given.get("username", "")
            if user not in self.users or self.users[user] != given.get("password"):
                handler.answer(401, _oauth_error("invalid_grant"))
                return
            self._give(handler, user, given, given.get("access_type") == "offline")
        elif kind == "refresh_token":
            if given.get("refresh_token") not in self.refreshes:
                handler.answer(401, _oauth_error("invalid_grant"))
                return
            self._give(handler, self.refreshes[given["refresh_token"]], given, False, given["refresh_token"])
        else:
            handler.answer(400, _oauth_error("unsupported_grant_type"))

    def _give(self, handler: Handler, user: str, given: dict[str, str], offline: bool, refresh: str = "") -> None:
        token = self.issue(user, given.get("scope", ""))
        value: dict[str, object] = dict.fromkeys(self.fields, token)
        if self.expires_in is not None:
            value["expires_in"] = self.expires_in
        value["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if offline and self.issues_refresh:
            refresh = uuid.uuid4().hex
            self.refreshes[refresh] = user
        if refresh:
            value["refresh_token"] = refresh
        if handler.command == "POST":
            value["scope"] = given.get("scope", "")
        handler.answer(200, encoded(value))


def _oauth_error(code: str) -> bytes:
    return encoded({"error": code, "errors": [{"code": code.upper(), "message": "authentication failed"}]})


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: object) -> str:
    return _base64(encoded(value))


# Debian's registry
# ---------------------------------------------------------------------------------------------------------


def bcrypt(password: str) -> str:
    """A password as htpasswd -B writes it, by the C library's crypt(5)."""
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError:
        pytest.skip("no libcrypt.so.1 that would hash passwords")
    library.crypt.restype = ctypes.c_char_p
    salt = sha(os.urandom(16))[7:28] + "u"
    made = library.crypt(password.encode(), f"$2b$04${salt}".encode())
    if not made or not made.startswith(b"$2b$"):
        pytest.skip("libcrypt knows no bcrypt")
    return str(made.decode())


def _notifying(notify: tuple[str, str] | None) -> dict[str, object]:
    if notify is None:
        return {}
    url, token = notify
    settings = {"timeout": "2s", "threshold": 3, "backoff": "200ms"}
    headers = {"Authorization": [f"Bearer {token}"]}
    return {"notifications": {"endpoints": [{"name": "watch", "url": url, "headers": headers, **settings}]}}


class DockerRegistry:
    """docker-registry (2.8 in Debian) as a process, from its making until `close`; a skip where it is not installed.

    `host` is "127.0.0.1:PORT", `name` "localhost:PORT". Who may ask: everyone, `htpasswd` (name → password), or who has
    a token. `mirror_of` is the URL of a registry, which must answer already, whose images it gives (and nothing else);
    `trust` the authority that signed that one's certificate. `storage` is the directory with its files, `log` the file
    with a line for each request. It tells the URL of `notify` of what happens, with the token beside it.
    """

    def __init__(
        self,
        place: Path,
        *,
        tls: Certificate | None = None,
        htpasswd: dict[str, str] | None = None,
        token: TokenServer | None = None,
        mirror_of: str | None = None,
        trust: Path | None = None,
        delete: bool = True,
        notify: tuple[str, str] | None = None,
    ) -> None:
        program = need(PROGRAM)
        place.mkdir(parents=True, exist_ok=True)
        self.tls, self.htpasswd, self.token = tls, htpasswd, token
        self.storage, self.log, self.settings = place / "storage", place / "log", place / "config.yml"
        self.settings.write_text(json.dumps(self._settings(place, mirror_of, delete) | _notifying(notify)))
        environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        environment = {name: value for name, value in environment.items() if not name.startswith("REGISTRY_")}
        if trust:
            environment["SSL_CERT_FILE"] = str(trust)
        # Should the test die without its `close`, the registry ends with it.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("wb") as log:
            words = [*guard, program, "serve", str(self.settings)]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            self.port = self._wait()
        except BaseException:
            self.close()
            raise

    def _settings(self, place: Path, mirror_of: str | None, delete: bool) -> dict[str, object]:
        """Its configuration: YAML, of which JSON is a part."""
        http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "of the tests"}
        if self.tls:
            files: dict[str, object] = {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}
            http["tls"] = files | ({"clientcas": [str(self.tls.authority)]} if self.tls.mutual else {})
        settings: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": delete},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self.htpasswd is not None:
            path = place / "htpasswd"
            path.write_text("".join(f"{user}:{bcrypt(password)}\n" for user, password in self.htpasswd.items()))
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(path)}}
        elif self.token is not None:
            names = {"realm": self.token.realm, "service": self.token.service, "issuer": self.token.issuer}
            settings["auth"] = {"token": {**names, "rootcertbundle": str(self.token.bundle)}}
        if mirror_of:
            settings["proxy"] = {"remoteurl": mirror_of}
        return settings

    def _wait(self) -> int:
        """Wait until it answers; the port is in its log, since it chooses it itself."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            said = self.log.read_text(errors="replace")
            match = re.search(r'listening on 127\.0\.0\.1:(\d+)[," ]', said)
            if self.process.poll() is not None:
                break
            if match:
                self.port = int(match[1])
                with suppress(OSError, http.client.HTTPException):
                    if self.call("GET", "/v2/").status in (200, 401):
                        return self.port
            time.sleep(0.01)
        raise AssertionError(f"docker-registry has not begun: {self.log.read_text(errors='replace')[-3000:]}")

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and wait until it has."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)

    def headers(self, scope: str = "") -> dict[str, str]:
        """What a request needs that may do what the scope says."""
        if self.htpasswd:
            user, password = next(iter(self.htpasswd.items()))
            return {"Authorization": basic(user, password)}
        if self.token:
            return {"Authorization": f"Bearer {self.token.issue(next(iter(self.token.users)), scope, 300)}"}
        return {}

    def call(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One plain request, with TLS as it is wanted here but no credentials (see `headers`)."""
        return call(self.url, method, target, body, headers, self.tls.client_context() if self.tls else None)

    def add(self, image: Image | Index, repository: str, *tags: str) -> str:
        """Push an image by plain requests; returns its name with the first tag, or else with its digest."""
        context = self.tls.client_context() if self.tls else None
        headers = self.headers(f"repository:{repository}:pull,push")
        push(self.url, image, repository, *tags, headers=headers, context=context)
        return f"{self.host}/{repository}" + (f":{tags[0]}" if tags else f"@{image.digest}")

    def asked(self, method: str = "", path: str = "") -> list[tuple[str, str, int]]:
        """The requests in its log whose method and path match regular expressions: method, path and query, status."""
        found = re.findall(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d+) ', self.log.read_text(errors="replace"))
        return [(m, p, int(s)) for m, p, s in found if re.search(method, m) and re.search(path, p)]


# A proxy
# ---------------------------------------------------------------------------------------------------------

HOP = {"connection", "proxy-connection", "proxy-authorization", "keep-alive", "te", "upgrade"}


class Proxy(Server):
    """A proxy on loopback: CONNECT, and requests in absolute form. `forwarded` are the hosts it reached for, in order.

    `hosts` maps names ("registry.test:443") to where they really are ("127.0.0.1:5000"), since many clients ask no
    proxy for loopback. `users` may use it, if given.
    """

    def __init__(self, hosts: dict[str, str] | None = None, users: dict[str, str] | None = None) -> None:
        self.hosts, self.users = hosts or {}, users
        self.forwarded: list[str] = []
        super().__init__()

    def denied(self, handler: Handler) -> bool:
        accepted = [basic(user, password) for user, password in (self.users or {}).items()]
        if self.users is None or handler.asked.headers.get("proxy-authorization", "") in accepted:
            return False
        handler.answer(407, headers={"Proxy-Authenticate": 'Basic realm="proxy"', "Connection": "close"})
        return True

    def serve(self, handler: Handler) -> None:
        handler.close_connection = True
        if handler.command == "CONNECT":
            self._connect(handler)
        else:
            self._forward(handler)

    @contextmanager
    def _reach(self, handler: Handler, host: str) -> Iterator[socket.socket]:
        """A connection to a host, which ends with the server too."""
        self.forwarded.append(host)
        name, _, port = self.hosts.get(host, host).rpartition(":")
        try:
            far = socket.create_connection((name.strip("[]"), int(port)), timeout=10)
        except OSError as error:
            handler.answer(502, f"{error}\n".encode(), kind="text/plain")
            raise Cut
        far.settimeout(None)
        with self.lock:
            self._listener.open.add(far)
        try:
            yield far
        finally:
            with self.lock:
                self._listener.open.discard(far)
            far.close()

    def _connect(self, handler: Handler) -> None:
        with self._reach(handler, handler.asked.target) as far:
            handler.head(200, {})
            self._relay(handler, far)

    def _relay(self, handler: Handler, far: socket.socket) -> None:
        """Carry bytes both ways until both have ended, or the server has."""
        near = handler.connection
        ways = {near: far, far: near}
        while ways and not self.stopped.is_set():
            for source in select.select(list(ways), [], [], 0.05)[0]:
                data = source.recv(1 << 18)
                if data:
                    ways[source].sendall(data)
                    handler.asked.sent += len(data) if source is far else 0
                else:
                    target = ways.pop(source)
                    with suppress(OSError):
                        target.shutdown(socket.SHUT_WR)
        if self.stopped.is_set():
            raise Cut

    def _forward(self, handler: Handler) -> None:
        url = urllib.parse.urlsplit(handler.asked.target)
        if url.scheme != "http" or not url.hostname:
            handler.answer(400, b"not in absolute form\n", kind="text/plain")
            return
        with self._reach(handler, f"{url.hostname}:{url.port or 80}") as far:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            lines = [f"{handler.command} {target} HTTP/1.1", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in handler.headers.items() if name.lower() not in HOP]
            far.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            for piece in handler.pieces():
                far.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if handler.chunked else piece)
            if handler.chunked:
                far.sendall(b"0\r\n\r\n")
            first = True
            while self._readable(handler, far) and (data := far.recv(1 << 18)):
                if first:
                    handler.asked.status = int(data.split(b" ", 2)[1])
                    first = False
                handler.send(data)

    def _readable(self, handler: Handler, far: socket.socket) -> bool:
        while not select.select([far], [], [], 0.05)[0]:
            if self.stopped.is_set():
                raise Cut
        return True


def plain_proxy(hosts: dict[str, str] | None = None, users: dict[str, str] | None = None) -> Proxy:
    """A proxy for `with`; see `Proxy`."""
    return Proxy(hosts, users)
