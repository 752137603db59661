"""What clients of a server may not do: by rules, by damaged or endless requests, over TCP."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import apiserver
from apiserver import place
from engines import Installation, needs_root, until

__all__ = ["place"]  # a fixture
pytestmark = pytest.mark.root
RULES = """
[[allow]]
operations = ["ping", "version", "images.list", "images.inspect", "images.create"]
images = ["box:latest", "registry.example.com/team/*"]

[[allow]]
operations = ["containers.*", "exec.*", "events", "networks.create", "volumes.create", "build"]
images = ["box:*"]
labels = { owner = "ci" }
mounts = ["/srv/results", "/srv/sources:ro"]
volumes = ["ci-*"]
networks = ["ci-*"]
"""


class Client:
    """Plain requests to a server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        while True:
            try:
                connection.connect(str(self.path))
                return connection
            except BlockingIOError:
                time.sleep(0.01)  # many wait to be accepted

    def raw(self, data: bytes) -> bytes:
        with self.connect() as connection:
            received = b""
            try:
                connection.sendall(data)
            except BrokenPipeError:
                pass  # it has been answered before it was read to its end
            try:
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionResetError:
                pass
            return received

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        answer = self.raw(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        first, _, text = answer.partition(b"\r\n\r\n")
        status = int(first.split()[1])
        return status, json.loads(
            text
        ) if text and b"json" in first.lower() and b"chunked" not in first.lower() else text


@pytest.fixture
def client(ul: Installation, place: Path) -> Iterator[Client]:
    needs_root()
    with apiserver.serving(ul, place / "sock"):
        yield Client(place / "sock")


def test_the_socket_is_its_owners(client: Client) -> None:
    assert stat.S_IMODE(os.lstat(client.path).st_mode) == 0o600


def test_versions_and_unknown_paths(client: Client) -> None:
    for path, status, text in (
        ("/v1.23/version", 400, "client version 1.23 is too old"),
        ("/v1.99/version", 400, "client version 1.99 is too new"),
        ("/v1.40/version", 200, ""),
        ("/version", 200, ""),
        ("/nothere", 404, "page not found"),
        ("/v1.44/services", 503, "This node is not a swarm manager"),
        ("/containers/nothere/json", 404, "No such container: nothere"),
        ("/images/nothere/json", 404, "No such image: nothere"),
        ('/containers/json?filters={"colour":["red"]}', 400, "invalid filter"),
        ('/images/json?filters={"colour":["red"]}', 400, "invalid filter"),
        ('/volumes?filters={"colour":["red"]}', 400, "invalid filter"),
        ('/networks?filters={"colour":["red"]}', 400, "invalid filter"),
        ('/events?until=1&filters={"colour":["red"]}', 400, "invalid filter"),
        ("/containers/json?filters=[[[", 400, "JSON"),
        ("/containers/json?limit=x", 400, "limit"),
    ):
        found = client.ask("GET", path)
        assert found[0] == status and text in json.dumps(found[1]), (path, found)
        assert "null" not in json.dumps(found[1]) or status == 200
    for path in ("/v1.44/grpc", "/session"):
        status, answer = client.ask("POST", path)
        assert status == 501 and "docker-buildx" in answer["message"]


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: -1\r\n\r\n", (400,)),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]", (400,)),
        (
            b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            (200, 400),
        ),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (404,)),
    ],
)
def test_damaged_requests(client: Client, data: bytes, statuses: tuple[int, ...]) -> None:
    answer = client.raw(data)
    assert answer.startswith(b"HTTP/1.") and int(answer.split()[1]) in statuses, answer[:200]
    assert client.ask("GET", "/_ping")[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        json.loads("[" * 500 + "]" * 500),
        {"Image": "box", "Cmd": 5},
        {"Image": "box", "HostConfig": {"Binds": [5]}},
        {"Image": "box", "HostConfig": []},
        {"Image": "box", "HostConfig": {"Memory": "much"}},
        {"Image": ["box"]},
        {"Image": "box", "NetworkingConfig": {"EndpointsConfig": []}},
        {"Image": "box", "HostConfig": {"Mounts": [{"Type": "bind", "Source": "relative", "Target": "/x"}]}},
        {"Image": "box", "Env": ["A\0B"]},
    ],
)
def test_wrong_bodies(client: Client, body: object) -> None:
    status, answer = client.ask("POST", "/containers/create", body)
    assert status == 400 and answer["message"] and "Traceback" not in answer["message"]
    assert client.ask("GET", "/containers/json?all=1") == (200, [])


def test_many_idle_and_half_open_connections(client: Client, ul: Installation) -> None:
    """Others are served all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    name = ul.start("box", "sleep", "600")
    idle = [client.connect() for _ in range(2000)]
    for number, connection in enumerate(idle):
        if number % 3 == 1:
            connection.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        if number % 3 == 2:
            upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0"
            words = f"POST /containers/{name}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n"
            connection.sendall(words.encode())
    assert client.ask("GET", "/_ping")[0] == 200
    assert len(client.ask("GET", "/containers/json")[1]) == 1
    for connection in idle:
        connection.close()
    assert ul.out("exec", name, "echo", "there") == "there"


def test_clients_that_leave_use_nothing_up(client: Client, ul: Installation) -> None:
    """More of them than the server has threads for what waits."""
    name = ul.start("box", "sleep", "600")
    for number in range(700):
        path = (f"GET /containers/{name}/logs?stdout=1&follow=1", "GET /events", f"POST /containers/{name}/wait")[
            number % 3
        ]
        with client.connect() as connection:
            connection.sendall(f"{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            if number % 2:
                connection.recv(1)
    assert until(lambda: client.ask("GET", f"/containers/{name}/logs?stdout=1")[0] == 200)
    ul("kill", name)
    assert until(lambda: b'"StatusCode":137' in client.ask("POST", f"/containers/{name}/wait")[1])


def create(image: str = "box", **host: object) -> dict[str, object]:
    return {"Image": image, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **host}}


def test_rules(ul: Installation, place: Path) -> None:
    needs_root()
    rules = place / "rules.toml"
    rules.write_text(RULES)
    with apiserver.serving(ul, place / "sock", "--allow", str(rules)):
        client = Client(place / "sock")
        foreign = ul.start("--name", "foreign", "box", "sleep", "600")
        status, made = client.ask("POST", "/containers/create?name=ours", create())
        assert status == 201 and ul.out("inspect", "-f", "{{.Config.Labels.owner}}", "ours") == "ci"
        assert client.ask("POST", "/containers/ours/start")[0] == 204
        assert [each["Id"] for each in client.ask("GET", "/containers/json?all=1")[1]] == [made["Id"]]
        for host in (
            {"Privileged": True},
            {"CapAdd": ["SYS_ADMIN"]},
            {"Binds": ["/:/host"]},
            {"Binds": ["/srv/results/below:/x"]},
            {"Binds": ["/srv/results/../..:/x"]},
            {"Binds": ["/srv/sources:/x"]},
            {"Binds": ["other:/x"]},
            {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x", "ReadOnly": True}]},
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "ci-x",
                        "Target": "/x",
                        "VolumeOptions": {"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/"}}},
                    }
                ]
            },
            {"VolumesFrom": ["foreign"]},
            {"PidMode": "host"},
            {"PidMode": "container:foreign"},
            {"IpcMode": "host"},
            {"UTSMode": "host"},
            {"UsernsMode": "host"},
            {"CgroupnsMode": "host"},
            {"NetworkMode": "host"},
            {"NetworkMode": "container:foreign"},
            {"NetworkMode": "bridge"},
            {"SecurityOpt": ["seccomp=unconfined"]},
            {"SecurityOpt": ["apparmor=unconfined"]},
            {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]},
            {"DeviceCgroupRules": ["a *:* rwm"]},
            {"Sysctls": {"kernel.shmmax": "1"}},
            {"CgroupParent": "/"},
            {"Runtime": "/bin/sh"},
            {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://192.0.2.1:1"}}},
            {"OomScoreAdj": -900},
            {"Annotations": {"a": "b"}},
            {"MaskedPaths": [], "ReadonlyPaths": []},
        ):
            found = client.ask("POST", "/containers/create", create(**host))
            assert found[0] == 403 and "do not allow" in found[1]["message"], (host, found)
        assert client.ask("POST", "/containers/create", create("other"))[0] == 403
        for allowed in ({"Binds": ["/srv/sources:/x:ro", "ci-cache:/c", "/anonymous"]}, {"Memory": 64 << 20}):
            assert client.ask("POST", "/containers/create", create(**allowed))[0] == 201, allowed
        for method, path in (
            ("POST", f"/containers/{foreign}/stop"),
            ("DELETE", "/containers/foreign?force=1"),
            ("GET", "/containers/foreign/json"),
            ("GET", "/containers/foreign/archive?path=/etc"),
            ("POST", "/commit?container=foreign"),
            ("POST", "/images/load"),
            ("GET", "/info"),
            ("POST", "/images/create?fromImage=evil&tag=1"),
            ("POST", "/build?networkmode=host"),
            ("DELETE", "/images/box"),
            ("POST", "/system/prune"),
        ):
            status, answer = client.ask(method, path)
            assert status in (403, 404) and (status == 403 or "prune" in path), (path, status, answer)
        assert client.ask("POST", "/containers/foreign/exec", {"Cmd": ["id"]})[0] == 403
        assert client.ask("POST", "/containers/ours/exec", {"Cmd": ["id"], "Privileged": True})[0] in (403, 409)
        volume = {"Name": "ci-root", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}}
        assert client.ask("POST", "/volumes/create", volume)[0] == 403
        small = {name.lower(): value for name, value in volume.items()}
        assert client.ask("POST", "/volumes/create", small)[0] == 403
        assert client.ask("POST", "/volumes/create", {**volume, **small})[0] == 400
        network = {"Name": "ci-net", "Driver": "macvlan", "Options": {"parent": "eth0"}}
        assert client.ask("POST", "/networks/create", network)[0] == 403
        client.ask("POST", "/containers/prune")
        assert ul.out("inspect", "-f", "{{.State.Running}}", "foreign") == "true"


def test_a_server_that_only_shows(ul: Installation, place: Path) -> None:
    needs_root()
    ul("create", "--name", "shown", "box", "true")
    with apiserver.serving(ul, place / "sock", "--read-only"):
        client = Client(place / "sock")
        assert len(client.ask("GET", "/containers/json?all=1")[1]) == 1
        for method, path in (("POST", "/containers/shown/start"), ("DELETE", "/containers/shown"), ("POST", "/build")):
            status, answer = client.ask(method, path)
            assert status == 403 and "read-only" in answer["message"]


def test_addresses_and_files_that_are_refused(ul: Installation, place: Path) -> None:
    pytest.importorskip("aiohttp")
    (place / "file").write_text("kept")
    (place / "bad.toml").write_text('[[allow]]\noperation = ["x"]\n')
    for words, text in (
        (["-H", "tcp://127.0.0.1:0"], "--tlscacert"),
        (["-H", "tcp://0.0.0.0:0", "--insecure-tcp"], "--tlscacert"),
        (["-H", "http://x"], "invalid address"),
        (["-H", "fd://"], "no sockets were passed"),
        (["-H", f"unix://{place}/file"], "is not a socket"),
        (["--allow", f"{place}/bad.toml"], "unknown key 'operation'"),
        (["--allow", f"{place}/missing"], "cannot read"),
        (["--tlscacert", "x"], "belong together"),
        (["--idle-timeout", "soon"], "invalid --idle-timeout"),
    ):
        done = ul("serve", "-H", f"unix://{place}/s", *words, code=None)
        assert done.returncode != 0 and text in done.stderr.decode() and b"Traceback" not in done.stderr, done
    assert (place / "file").read_text() == "kept" and not (place / "s").exists()


def test_ways_around_the_rules(ul: Installation, place: Path, tmp_path: Path) -> None:
    """What a hostile client tries: each of these was possible once."""
    needs_root()
    results = tmp_path / "results"
    results.mkdir()
    rules = place / "rules.toml"
    rules.write_text(
        RULES.replace('"/srv/results"', f'"{results}:ro"').replace(
            '"build"]', '"build", "commit", "volumes.*", "networks.*"]'
        )
    )
    ul("volume", "create", "foreign")
    foreign = ul.start("--name", "victim", "box", "sleep", "600")
    with apiserver.serving(ul, place / "sock", "--allow", str(rules)):
        client = Client(place / "sock")

        def refused(method: str, path: str, body: object = None) -> None:
            status, answer = client.ask(method, path, body)
            assert status in (400, 403), (path, status, answer)

        # Options of builds by which a step gets more than it has.
        for word in (
            "securityopt=systempaths%3Dunconfined",
            "securityopt=seccomp%3Dunconfined",
            "cgroupparent=/",
            "isolation=x",
        ):
            refused("POST", f"/build?{word}")
        refused("POST", "/build?remote=http://127.0.0.1:9/x.tar")
        # Names of images that others trust.
        for path in ("/build?t=alpine:latest", "/build?t=box:1&t=prod:1", "/build?cachefrom=[%22other:1%22]"):
            refused("POST", path)
        assert client.ask("POST", "/containers/create?name=mine", create())[0] == 201
        refused("POST", "/commit?container=mine&repo=prod&tag=2")
        assert client.ask("POST", "/commit?container=mine&repo=box&tag=2")[0] == 201
        # All tags of a repository of which one is allowed.
        for word in ("box", "box:", "box%3A", "docker.io/library/box"):
            refused("POST", f"/images/create?fromImage={word}")
        # A mode that is contradicted.
        refused("POST", "/containers/create", create(Binds=[f"{results}:/x:ro,rw"]))
        # An image that has the label does not make a container the client's.
        assert client.ask("POST", "/commit?container=mine&repo=box&tag=lab&changes=LABEL%20owner%3Dci")[0] == 201
        ul("create", "--name", "admins", "box:lab", "true")
        for path in ("/containers/admins/json", "/containers/admins/archive?path=/"):
            refused("GET", path)
        names = {each["Names"][0] for each in client.ask("GET", "/containers/json?all=1")[1]}
        assert names == {"/mine"}
        # Prunes, with filters that are written in another way, and of what no pattern has.
        filters = urllib.parse.quote('{"l\\u0061bel":["owner"]}')
        assert client.ask("POST", f"/containers/prune?filters={filters}")[0] == 200
        assert "admins" in ul.out("ps", "-a", "--format", "{{.Names}}") and "mine" not in ul.out("ps", "-a")
        for path in ("/volumes/prune?filters={%22all%22:[%22true%22]}", "/networks/prune", "/build/prune"):
            refused("POST", path)
        assert "foreign" in ul.out("volume", "ls", "-q")
        # Addresses of others.
        for pool in ({"Subnet": "8.8.8.0/24"}, {"subnet": "8.8.8.0/24"}, {}):
            refused("POST", "/networks/create", {"Name": "ci-net", "IPAM": {"Config": [pool]}})
        assert client.ask("POST", "/containers/create?name=mine", create())[0] == 201
        refused("POST", "/containers/mine/update", {"CpuRealtimeRuntime": 1000})
        # A name that becomes another's while the request is on its way.
        prefix = foreign[:12]
        assert client.ask("POST", f"/containers/mine/rename?name={prefix}")[0] == 204
        body = json.dumps({"Memory": 64 << 20}).encode()
        with client.connect() as connection:
            head = f"POST /containers/{prefix}/update HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            time.sleep(0.5)  # the rules have looked at the name by now
            assert client.ask("POST", f"/containers/{prefix}/rename?name=mine")[0] == 204
            connection.sendall(body)
            connection.recv(1000)
        assert ul.out("inspect", "-f", "{{.HostConfig.Memory}}", foreign) == "0"
        ul("rm", "-f", "victim", "admins")
    ul("volume", "rm", "foreign")
    ul("rmi", "box:lab", "box:2")
