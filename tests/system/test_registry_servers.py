"""The registries that other tests use: each takes an image and gives it back, and fails only as it is told to."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from fakeregistry import FakeRegistry
from fakeserver import most_at_once
from faults import (
    altered,
    body,
    cut_after,
    cut_upload,
    drip,
    endless,
    flipped,
    hang_up,
    no_range,
    redirect,
    stall,
    stall_after,
    stall_upload,
    status,
    with_headers,
    wrong_range,
)
from registries import (
    Answer,
    Certificate,
    DockerRegistry,
    TokenServer,
    basic,
    call,
    need,
    plain_proxy,
    push,
)
from remoteimages import INDEX, Image, Index, image, index, noise, random_tar, sha, small_tar

REPOSITORY = "team/app"


def blob_path(digest: str) -> str:
    return f"/v2/{REPOSITORY}/blobs/{digest}"


def run(*words: str | Path) -> str:
    done = subprocess.run([str(each) for each in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def check(
    base: str,
    made: Image | Index,
    tag: str,
    headers: dict[str, str],
    context: ssl.SSLContext | None = None,
    ranges: bool = True,
) -> None:
    """The image comes back byte by byte."""
    kinds = ", ".join({kind for kind, _ in made.documents.values()})
    for digest, (kind, data) in made.documents.items():
        reference = tag if digest == made.digest else digest
        target = f"/v2/{REPOSITORY}/manifests/{reference}"
        for method in ("GET", "HEAD"):
            answer = call(base, method, target, None, {**headers, "Accept": kinds}, context)
            assert answer.status == 200, (method, target, answer)
            assert answer.headers["content-type"] == kind
            assert answer.headers["docker-content-digest"] == digest
            assert int(answer.headers["content-length"]) == len(data)
            assert answer.body == (data if method == "GET" else b"")
    for digest, data in made.blobs.items():
        assert call(base, "GET", blob_path(digest), None, headers, context).body == data
        if not ranges:
            continue
        part = call(base, "GET", blob_path(digest), None, {**headers, "Range": "bytes=2-"}, context)
        assert (part.status, part.body) == (206, data[2:])
        assert part.headers["content-range"] == f"bytes 2-{len(data) - 1}/{len(data)}"


@pytest.fixture(scope="module")
def made() -> Index:
    tars = [small_tar({"a/": b"", "a/one": b"1"}), random_tar(300_000, 7)]
    amd = image(tars, ["gzip", "zstd"], annotations={"org.test": "yes"})
    arm = image(tars[:1], "none", architecture="arm64", variant="v8", cmd=["/bin/x"])
    return index([amd, arm], attestations=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


# Images
# ---------------------------------------------------------------------------------------------------------


def test_images_are_the_same_each_time(made: Index) -> None:
    again = index([image([random_tar(1000, 3)])], docker=True)
    assert again == index([image([random_tar(1000, 3)])], docker=True)
    assert again.media_type == INDEX[True]
    value = json.loads(made.manifest)
    assert [e["platform"]["architecture"] for e in value["manifests"]] == ["amd64", "arm64", "unknown", "unknown"]
    assert value["manifests"][2]["annotations"]["vnd.docker.reference.digest"] == made.images[0].digest
    layers = json.loads(made.images[0].manifest)["layers"]
    assert [layer["mediaType"].rpartition("+")[2] for layer in layers] == ["gzip", "zstd"]
    assert len(noise((1 << 24) + 5, 1)) == (1 << 24) + 5


@pytest.mark.parametrize(
    ("compression", "docker"),
    # skopeo knows no zstd among docker's media types.
    [("gzip", True), ("none", True), ("gzip", False), ("none", False), ("zstd", False)],
)
def test_skopeo_copies_from_a_fake(tmp_path: Path, compression: str, docker: bool) -> None:
    need("skopeo")
    tars = [small_tar(), random_tar(100_000)]
    made = image(tars, compression, docker, cmd=["/x"])
    with FakeRegistry(negotiates=True) as registry:
        name = registry.add(made, REPOSITORY, "1.0")
        facts = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
        assert facts["Digest"] == made.digest and facts["RepoTags"] == ["1.0"] and facts["Layers"] == made.layers
        run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/out")
        to = f"docker://{registry.name}/copy/of:2"
        run("skopeo", "copy", "--dest-tls-verify=false", "--preserve-digests", f"dir:{tmp_path}/out", to)
        assert registry.repositories["copy/of"].tags == {"2": made.digest}
        assert registry.repositories["copy/of"].blobs == made.blobs
    assert (tmp_path / "out/manifest.json").read_bytes() == made.manifest
    for digest, data in made.blobs.items():
        assert (tmp_path / "out" / digest[7:]).read_bytes() == data


def test_podman_pulls_from_a_fake(tmp_path: Path) -> None:
    need("podman")
    made = index([image([small_tar()], cmd=["/x"])], attestations=True)
    with FakeRegistry() as registry:
        name = registry.add(made, REPOSITORY, "1.0")
        store = ("--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
        got = run("podman", *store, "pull", "-q", "--tls-verify=false", name)
        assert got.strip() == made.images[0].id[7:]  # type: ignore[union-attr]


# Debian's registry
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "tls", "mutual", "htpasswd", "token"])
def test_docker_registry(tmp_path: Path, made: Index, kind: str) -> None:
    need("docker-registry")
    tls = Certificate(tmp_path / "tls", mutual=kind == "mutual") if kind in ("tls", "mutual") else None
    htpasswd = {"bob": "pass:word"} if kind == "htpasswd" else None
    token = TokenServer(tmp_path / "token") if kind == "token" else None
    with DockerRegistry(tmp_path / "registry", tls=tls, htpasswd=htpasswd, token=token) as registry:
        name = registry.add(made, REPOSITORY, "1.0")
        context = tls.client_context() if tls else None
        check(registry.url, made, "1.0", registry.headers(f"repository:{REPOSITORY}:pull"), context)
        assert registry.asked("GET", "/manifests/1.0$")[-1][2] == 200
        open = registry.call("GET", f"/v2/{REPOSITORY}/tags/list")
        assert open.status == (401 if htpasswd or token else 200)
        words = ["skopeo", "inspect", f"--tls-verify={'true' if tls else 'false'}"]
        words += ["--cert-dir", str(tls.directory(tmp_path / "certs"))] if tls else []
        words += ["--creds", "bob:pass:word"] if htpasswd else []
        if shutil.which("skopeo"):
            assert json.loads(run(*words, "--raw", f"docker://{name}"))["manifests"]
        if token:
            assert token.asked("GET", "^/token$")[0].query["scope"] == f"repository:{REPOSITORY}:pull"
        if kind == "mutual":
            assert tls
            with pytest.raises((ssl.SSLError, ConnectionError)):
                call(registry.url, "GET", "/v2/", context=ssl.create_default_context(cafile=str(tls.authority)))
        process = registry.process
    assert process.poll() is not None
    if token:
        token.close()


def test_a_mirror(tmp_path: Path, certificate: Certificate) -> None:
    need("docker-registry")
    made = image()
    with FakeRegistry(certificate) as source:
        source.add(made, REPOSITORY, "1.0")
        with DockerRegistry(tmp_path, mirror_of=source.url, trust=certificate.authority) as mirror:
            for _ in range(2):
                # While it fetches a blob it gives the whole of it to who asks for a part.
                check(mirror.url, made, "1.0", {}, ranges=False)
            assert mirror.call("POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 405
        assert 1 <= len(source.asked("GET", made.layers[0])) <= 2


def test_a_registry_that_cannot_begin_says_why(tmp_path: Path) -> None:
    need("docker-registry")
    with pytest.raises(AssertionError, match="refused"):
        DockerRegistry(tmp_path, mirror_of="http://127.0.0.1:1")


# Tokens
# ---------------------------------------------------------------------------------------------------------


def test_tokens(tmp_path: Path) -> None:
    scope = f"repository:{REPOSITORY}:pull,push"
    with (
        TokenServer(tmp_path, fields=("access_token",), expires_in=7) as server,
        FakeRegistry(token=server) as registry,
    ):
        registry.add(image(), REPOSITORY, "1.0")
        denied = call(registry.url, "GET", f"/v2/{REPOSITORY}/manifests/1.0")
        said = f'Bearer realm="{server.realm}",service="registry.test"'
        assert denied.status == 401
        assert denied.headers["www-authenticate"] == f'{said},scope="repository:{REPOSITORY}:pull"'
        assert call(registry.url, "GET", "/v2/").headers["www-authenticate"] == said

        def get(headers: dict[str, str], more: str = "") -> Answer:
            return call(server.realm, "GET", f"?service=registry.test&scope={scope}{more}", None, headers)

        def post(**fields: str) -> Answer:
            form = urllib.parse.urlencode(fields).encode()
            return call(server.realm, "POST", "", form, {"Content-Type": "application/x-www-form-urlencoded"})

        open, alice = get({}).json(), get({"Authorization": basic("alice", "secret")}, "&offline_token=true").json()
        assert "token" not in open and open["expires_in"] == 7 and "refresh_token" not in open
        assert get({"Authorization": basic("alice", "wrong")}).status == 401
        assert not server.judge(f"Bearer {open['access_token']}", scope)
        assert server.judge(f"Bearer {open['access_token']}", f"repository:{REPOSITORY}:pull")
        assert server.judge(f"Bearer {alice['access_token']}", scope)
        assert not server.judge(f"Bearer {server.issue('alice', scope, -1)}", scope)
        more = post(grant_type="refresh_token", refresh_token=alice["refresh_token"], service="x", scope=scope).json()
        assert server.judge(f"Bearer {more['access_token']}", scope)
        assert more["refresh_token"] == alice["refresh_token"]
        words = {"grant_type": "password", "username": "alice", "access_type": "offline", "scope": scope}
        assert post(password="wrong", **words).status == 401
        assert post(password="secret", **words).json()["refresh_token"] in server.refreshes
        assert server.asked("POST")[-1].form["username"] == "alice"
        server.oauth = False
        assert post(password="secret", **words).status == 405
        got = call(
            registry.url,
            "GET",
            f"/v2/{REPOSITORY}/manifests/1.0",
            None,
            {"Authorization": f"Bearer {more['access_token']}"},
        )
        assert got.status == 200


# The fake as a registry
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "tls", "users"])
def test_fake_registry(made: Index, certificate: Certificate, kind: str) -> None:
    users = {"bob": "word"} if kind == "users" else None
    headers = {"Authorization": basic("bob", "word")} if users else {}
    context = certificate.client_context() if kind == "tls" else None
    with FakeRegistry(certificate if context else None, users=users) as registry:
        push(registry.url, made, REPOSITORY, "1.0", headers=headers, context=context)
        check(registry.url, made, "1.0", headers, context)
        assert registry.manifest(REPOSITORY, "1.0") == json.loads(made.manifest)
        if users:
            assert call(registry.url, "GET", "/v2/").headers["www-authenticate"] == 'Basic realm="fake"'
        if context:
            with pytest.raises(ssl.SSLError):
                call(registry.url, "GET", "/v2/", context=ssl.create_default_context())
            time.sleep(0.1)
            assert len(registry.refused) == 1


def test_uploads() -> None:
    data, prefix = noise(1000, 1), f"/v2/{REPOSITORY}/blobs/uploads/"
    with FakeRegistry(absolute=True) as registry:

        def ask(method: str, target: str, piece: object = None, **headers: str) -> Answer:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return call(registry.url, method, target, piece, named)  # type: ignore[arg-type]

        # In chunks, of which one comes twice.
        first = ask("POST", prefix)
        assert first.status == 202 and first.headers["location"].startswith(registry.url)
        second = ask("PATCH", first.headers["location"], data[:400], Content_Range="0-399")
        assert second.status == 202 and second.headers["range"] == "0-399"
        again = ask("PATCH", second.headers["location"], data[:400], Content_Range="0-399")
        assert again.status == 416 and again.headers["range"] == "0-399"
        third = ask("PATCH", second.headers["location"], iter([data[400:600], data[600:]]))
        assert third.headers["range"] == "0-999"
        assert registry.requests[-1].length == 600 and registry.requests[-1].body == data[400:]
        done = ask("PUT", third.headers["location"] + f"&digest={sha(data)}")
        assert done.status == 201 and done.headers["docker-content-digest"] == sha(data)
        assert ask("GET", blob_path(sha(data))).body == data

        # Interrupted: what came is kept.
        at = ask("POST", prefix).headers["location"]
        registry.rule("PATCH", "/uploads/", cut_upload(300), times=1)
        with pytest.raises(ConnectionError):
            ask("PATCH", at, data)
        progress = ask("GET", at)
        assert (progress.status, progress.headers["range"]) == (204, "0-299")
        rest = ask("PUT", progress.headers["location"] + f"&digest={sha(data)}", data[300:])
        assert rest.status == 201

        # In one piece, with a wrong digest, without the state, cancelled.
        assert ask("POST", f"{prefix}?digest={sha(data)}", data).status == 201
        assert ask("POST", f"{prefix}?digest={sha(b'')}", data).json()["errors"][0]["code"] == "DIGEST_INVALID"
        at = ask("POST", prefix).headers["location"]
        assert ask("PATCH", at.partition("?")[0], data).status == 400
        assert ask("DELETE", at).status == 204 and ask("GET", at).status == 404

        # Mounted
        assert ask("POST", f"/v2/other/blobs/uploads/?mount={sha(data)}&from={REPOSITORY}").status == 201
        assert registry.repositories["other"].blobs == {sha(data): data}
        registry.mounts = False
        assert ask("POST", f"/v2/third/blobs/uploads/?mount={sha(data)}&from={REPOSITORY}").status == 202

        # A manifest without its blobs
        lonely = image()
        put = ask("PUT", "/v2/third/manifests/1", lonely.manifest, Content_Type=lonely.media_type)
        assert put.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_lists_and_referrers() -> None:
    made = image()
    subject = {key: made.descriptor()[key] for key in ("mediaType", "digest", "size")}
    about = image([], subject=subject, artifact_type="application/x-sum", annotations={"a": "b"})
    with FakeRegistry(page=2) as registry:
        registry.add(made, REPOSITORY, "c", "a", "b", "e", "d")
        registry.add(about, REPOSITORY)
        registry.add(made, "other", "1")
        tags, target = [], f"/v2/{REPOSITORY}/tags/list"
        while target:
            answer = call(registry.url, "GET", target)
            tags.append(answer.json()["tags"])
            match = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("link", ""))
            target = match[1] if match else ""
        assert tags == [["a", "b"], ["c", "d"], ["e"]]
        answer = call(registry.url, "GET", "/v2/_catalog?n=1")
        assert answer.json() == {"repositories": ["other"]} and "last=other&n=1" in answer.headers["link"]
        found = call(registry.url, "GET", f"/v2/{REPOSITORY}/referrers/{made.digest}?artifactType=application/x-sum")
        assert found.headers["oci-filters-applied"] == "artifactType"
        [entry] = found.json()["manifests"]
        assert entry["digest"] == about.digest and entry["annotations"] == {"a": "b"}
        assert call(registry.url, "DELETE", f"/v2/{REPOSITORY}/manifests/{made.digest}").status == 202
        assert registry.repositories[REPOSITORY].tags == {}
        assert call(registry.url, "GET", f"/v2/{REPOSITORY}/manifests/a").status == 404


# The fake's faults
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_faults(certificate: Certificate, secure: bool) -> None:
    data = noise(50_000, 4)
    digest = sha(data)
    context = certificate.client_context() if secure else None

    with FakeRegistry(certificate if secure else None) as registry, FakeRegistry() as other:
        for each in (registry, other):
            each.repository(REPOSITORY).blobs[digest] = data

        def get(**headers: str) -> Answer:
            return call(registry.url, "GET", blob_path(digest), None, headers, context)

        def rule(*actions: object) -> None:
            registry.rules.clear()
            for action in actions:
                registry.rule("GET", "/blobs/", action, times=1)  # type: ignore[arg-type]

        for reset in (True, False):
            rule(cut_after(1000, reset))
            # Over TLS, Python before 3.13 takes a reset for an end.
            ends = not reset or (secure and sys.version_info < (3, 13))
            with pytest.raises(http.client.IncompleteRead if ends else ConnectionError) as caught:
                get()
            if ends:
                assert caught.value.partial == data[:1000]  # type: ignore[attr-defined]
            rule(hang_up(reset))
            with pytest.raises((ConnectionError, http.client.BadStatusLine)):
                get()
            assert registry.requests[-1].status == 0
        assert get().body == data
        rule(no_range)
        assert get(Range="bytes=5-").status == 200 and registry.rules[0].used == 1
        assert get(Range="bytes=5-").body == data[5:]
        assert get(Range="bytes=-5").body == data[-5:]
        past = get(Range="bytes=50000-")
        assert past.status == 416 and past.headers["content-range"] == "bytes */50000"
        rule(wrong_range(7))
        answer = get(Range="bytes=5-9")
        assert answer.body == data[12:17] and answer.headers["content-range"] == "bytes 12-16/50000"
        rule(wrong_range(7, honest=False))
        answer = get(Range="bytes=5-9")
        assert answer.body == data[12:17] and answer.headers["content-range"] == "bytes 5-9/50000"
        rule(flipped(9))
        assert get().body[:10] == data[:9] + bytes([data[9] ^ 1])
        rule(altered(lambda whole: whole[:3]))
        assert get().body == data[:3]
        rule(with_headers({"Docker-Content-Digest": "sha256:0", "ETag": None}))
        answer = get()
        assert answer.headers["docker-content-digest"] == "sha256:0" and "etag" not in answer.headers
        rule(status(503, {"Retry-After": "1"}, b"no"))
        answer = get()
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, b"no", "1")
        rule(body(b"{}", "text/html", {"Content-Length": "1"}))
        assert get().body == b"{"
        rule(drip(0.2))
        before = time.monotonic()
        assert get().body == data and 0.2 <= time.monotonic() - before
        rule(stall(0.1), stall_after(10, 0.1))
        before = time.monotonic()
        assert get().body == data and 0.2 <= time.monotonic() - before
        rule(redirect(lambda handler: other.url + handler.asked.target, 302))
        assert get().headers["location"] == other.url + blob_path(digest)
        rule(redirect(lambda handler: other.url + handler.asked.target))
        handlers = [urllib.request.ProxyHandler({})] + ([urllib.request.HTTPSHandler(context=context)] * secure)
        opener = urllib.request.build_opener(*handlers)
        with opener.open(registry.url + blob_path(digest)) as answer:
            assert answer.read() == data
        rule(endless(b"x" * 1000, most=1_000_000))
        assert len(get().body) == 1_000_000
        assert other.asked("GET")[0].sent == 50_000


def test_answers_before_the_whole_upload() -> None:
    with FakeRegistry() as registry:
        registry.rule("POST", "/uploads/", status(413, early=True))
        with socket.create_connection(("127.0.0.1", registry.port)) as client:
            head = f"POST /v2/{REPOSITORY}/blobs/uploads/ HTTP/1.1\r\nContent-Length: 1000\r\n"
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
        registry.rules.clear()
        with socket.create_connection(("127.0.0.1", registry.port)) as client:
            head = head.replace("/ HTTP", f"/?digest={sha(bytes(1000))} HTTP")
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(bytes(1000))
            assert client.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert [each.length for each in registry.requests] == [0, 1000]


def test_stalled_connections_end_with_the_server(certificate: Certificate) -> None:
    for secure in (False, True):
        registry = FakeRegistry(certificate if secure else None)
        registry.repository(REPOSITORY).blobs[sha(b"")] = b"1234" * 1_000_000
        registry.rule("GET", "^/v2/$", stall())
        registry.rule("GET", "/blobs/", endless())
        registry.rule("POST", "/uploads/", stall_upload(10))
        clients = [socket.create_connection(("127.0.0.1", registry.port)) for _ in range(40)]
        if secure:
            context = certificate.client_context()
            clients = clients[:10] + [context.wrap_socket(each, server_hostname="localhost") for each in clients[10:]]
        for client in clients[10:20]:
            client.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
        for client in clients[20:30]:
            client.sendall(f"GET {blob_path(sha(b''))} HTTP/1.1\r\n\r\n".encode())
        for client in clients[30:]:
            client.sendall(f"POST /v2/{REPOSITORY}/blobs/uploads/ HTTP/1.1\r\nContent-Length: 99\r\n\r\n".encode())
            client.sendall(bytes(50))
        deadline = time.monotonic() + 10
        while len(registry.requests) < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        registry.close()
        assert len(registry.requests) == 30 and registry.trouble == []
        assert not registry._listener.open
        for client in clients:
            client.close()


def test_many_requests_at_once() -> None:
    made = image([random_tar(1000)])
    with FakeRegistry() as registry:
        registry.add(made, REPOSITORY, "1.0")
        registry.rule("HEAD", "", stall(0.2), times=10)

        def ask(method: str, count: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", registry.port)
            for _ in range(count):
                connection.request(method, blob_path(made.layers[0]))
                connection.getresponse().read()
            connection.close()

        for method, count in (("GET", 50), ("HEAD", 1)):
            threads = [threading.Thread(target=ask, args=(method, count)) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(registry.asked("GET")) == 500
        assert {each.connection for each in registry.asked("GET")} == set(range(10))
        assert most_at_once(registry.asked("HEAD")) == 10


def test_the_tests_own_mistakes_are_told() -> None:
    with pytest.raises(AssertionError, match="a mistake"), FakeRegistry() as registry:

        def act(*_: object) -> bool:
            raise RuntimeError("a mistake")

        registry.rule("GET", "", act)
        assert call(registry.url, "GET", "/v2/").status == 500


# The proxy
# ---------------------------------------------------------------------------------------------------------


def test_a_proxy(certificate: Certificate) -> None:
    data = noise(5_000_000, 2)
    with FakeRegistry(certificate) as secure, FakeRegistry() as plain:
        hosts = {"localhost:443": secure.host, "registry.test:80": plain.host}
        with plain_proxy(hosts, {"eve": "x"}) as proxy:
            for each in (secure, plain):
                each.repository(REPOSITORY).blobs[sha(data)] = data
            proxies = {"http": f"http://eve:x@{proxy.host}", "https": f"http://eve:x@{proxy.host}"}
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler(proxies),
                urllib.request.HTTPSHandler(context=certificate.client_context()),
            )
            for url in ("https://localhost", "http://registry.test"):
                with opener.open(url + blob_path(sha(data))) as answer:
                    assert answer.read() == data
            assert proxy.forwarded == ["localhost:443", "registry.test:80"]
            assert [each.method for each in proxy.requests] == ["CONNECT", "GET"]
            assert [each.status for each in proxy.requests] == [200, 200]
            assert call(proxy.url, "GET", "/").status == 407
            request = urllib.request.Request("http://registry.test/v2/x/blobs/uploads/", data[:100], method="POST")
            with opener.open(request) as answer:
                assert answer.status == 202
            assert plain.requests[-1].body == data[:100]
        with plain_proxy() as proxy:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
            with pytest.raises(urllib.error.HTTPError, match="502"):
                opener.open("http://127.0.0.1:1/")
