"""How networks stand what others do to a host: the same scenes with underlay, docker and podman, as one table.

    python -m bench.neighbours

Each engine has a host of its own, a network namespace with a neighbour on a link. Needs root, and Debian's packages podman,
aardvark-dns, docker.io, iptables.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import material, rivals
from bench.networks import _join, namespace
from bench.setting import UNDERLAY

HOST, NEIGHBOUR = "192.0.2.1", "192.0.2.2"


class Engine:
    """One engine on its host. `ok` says whether a command of it succeeds."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], image: str, host: list[str]) -> None:
        self.name = name
        self.command = command
        self.environment = {**os.environ, **environment}
        self.image = image
        self.host = host
        self.restart: Callable[[], None] = lambda: None

    def __call__(self, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, *self.command, *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def ok(self, *words: str) -> bool:
        return self(*words).returncode == 0

    def run(self, name: str, *words: str) -> bool:
        return self.ok("run", "-d", "--name", name, *words, self.image, "sleep", "600")

    def inside(self, name: str, code: str) -> str:
        """Run Python in the network namespace of a container; returns what it prints, "" for an error."""
        pid = self("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
        if not pid or pid == "0":
            return ""
        return _python(["nsenter", f"--net=/proc/{pid}/ns/net"], code)

    def on_host(self, *words: str) -> str:
        done = subprocess.run([*self.host, *words], capture_output=True, text=True, check=False)
        return done.stdout

    def reaches(self, name: str) -> bool:
        """Whether a container reaches the neighbour."""
        return self.inside(name, f"connect(({NEIGHBOUR!r}, 7000))") == "connected"

    def finds(self, asks: str, name: str) -> bool:
        """Whether a container finds another by name: by the server in its resolv.conf, with all patience."""
        text = self("exec", asks, "cat", "/etc/resolv.conf").stdout
        server = next((line.split()[1] for line in text.splitlines() if line.startswith("nameserver")), "")
        return bool(server) and self.inside(asks, f"lookup({name!r}, {server!r})") not in ("", "nothing")

    def clear(self) -> None:
        for name in self("ps", "-aq").stdout.split():
            self("rm", "-f", name)
        for name in NETWORKS:
            self("network", "rm", name)


NETWORKS = ("front", "back", "gone", "fourteen", *(f"n{number}" for number in range(40)))
_HEAD = """
import socket, struct, sys
def connect(where):
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(2)
    try:
        client.connect(where)
        print("connected" if client.recv(10) else "nothing")
    except OSError as error:
        print("nothing")
def lookup(name, server):
    client = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(6)
    query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0)
    for label in name.split("."):
        query += bytes((len(label),)) + label.encode()
    query += bytes(1) + struct.pack("!HH", 12 if name.endswith(".arpa") else 1, 1)
    for _ in range(2):
        try:
            client.sendto(query, (server, 53))
            answer = client.recv(512)
            print(answer[len(query) + 12:].hex() if struct.unpack("!H", answer[6:8])[0] else "nothing")
            return
        except OSError:
            pass
    print("nothing")
"""


def _python(prefix: list[str], code: str) -> str:
    done = subprocess.run([*prefix, sys.executable, "-c", _HEAD + code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


SERVE = (
    "import socket\n"
    "server = socket.create_server(({address!r}, {port}), family={family}, backlog=64)\n"
    "while True:\n"
    "    client, _ = server.accept()\n"
    "    client.sendall(b'hello')\n"
    "    client.close()\n"
)


class Server:
    """A server in a network namespace, for as long as a block."""

    def __init__(self, prefix: list[str], port: int, address: str = "", family: int = socket.AF_INET) -> None:
        code = SERVE.format(address=address, port=port, family=int(family))
        self.process = subprocess.Popen([*prefix, sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    def __enter__(self) -> Server:
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _in(engine: Engine, name: str) -> list[str]:
    pid = engine("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def _until(condition: Callable[[], bool], seconds: float = 4.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


# Scenes: each returns a word for the table. Networks front and back are there before each.


def yes(value: bool) -> str:
    return "yes" if value else "no"


def beside_docker(engine: Engine) -> str:
    if engine.name == "docker":
        return "-"
    for line in ("-N DOCKER-USER", "-P FORWARD DROP", "-I FORWARD -j DOCKER-USER"):
        engine.on_host("iptables-nft", *line.split())
    engine.run("one", "--network", "front")
    found = engine.reaches("one")
    engine.clear()
    for line in ("-P FORWARD ACCEPT", "-F FORWARD", "-F DOCKER-USER", "-X DOCKER-USER"):
        engine.on_host("iptables-nft", *line.split())
    return yes(found)


def flushed(engine: Engine) -> str:
    engine.run("one", "--network", "front", "-p", "8080:80")
    engine.on_host("nft", "flush", "ruleset")
    with Server(_in(engine, "one"), 80):
        found = _until(lambda: _python(near(engine), f"connect(({HOST!r}, 8080))") == "connected")
    engine.clear()
    engine.restart()
    return yes(found)


def forwarding(engine: Engine) -> str:
    engine.run("one", "--network", "front")
    engine.on_host("sysctl", "-qw", "net.ipv4.ip_forward=0")
    engine.run("two", "--network", "front")
    found = engine.reaches("two")
    engine.on_host("sysctl", "-qw", "net.ipv4.ip_forward=1")
    return yes(found)


def port_53(engine: Engine) -> str:
    engine.run("one", "--network", "front")
    started = engine.run("hole", "--network", "front", "-p", "53:53/tcp", "-p", "53:53/udp")
    return yes(started and engine.finds("one", "one") and engine.finds("hole", "one"))


def dnsmasq(engine: Engine) -> str:
    """A server of the host on all addresses, which came first."""
    with Server(engine.host, 53):
        return yes(engine.run("one", "--network", "front") and engine.finds("one", "one"))


def sidecar(engine: Engine) -> str:
    engine.run("main", "--network", "front")
    engine.run("side", "--network", "container:main")
    engine("restart", "-t", "0", "main")
    return yes(engine.reaches("side"))


def killed_server(engine: Engine) -> str:
    engine.run("one", "--network", "front")
    engine.run("two", "--network", "front")
    engine.finds("one", "two")
    killed = False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            same = os.stat(f"/proc/{pid}/ns/net").st_ino == int(
                engine.on_host("stat", "-Lc", "%i", "/proc/self/ns/net")
            )
        except (OSError, ValueError):
            continue
        if same and (b"aardvark-dns" in command or b"name_service" in command):
            os.kill(int(pid), signal.SIGKILL)
            killed = True
    return yes(engine.finds("one", "two")) if killed else "- (the daemon)"


def host_names(engine: Engine) -> str:
    engine.run("one", "--network", "front", "--hostname", "www.test")
    engine.run("two", "--network", "front")
    names = ("one", "one.front", "www.test")
    return ", ".join(name for name in names if engine.finds("two", name)) or "none"


def reverse(engine: Engine) -> str:
    engine.run("one", "--network", "front", "--network-alias", "shared")
    engine.run("two", "--network", "front", "--network-alias", "shared")
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    for name in ("one", "two"):
        address = engine("inspect", "-f", template, name).stdout.strip()
        backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
        text = engine("exec", "one", "cat", "/etc/resolv.conf").stdout
        server = next(line.split()[1] for line in text.splitlines() if line.startswith("nameserver"))
        answer = bytes.fromhex(engine.inside("one", f"lookup({backwards!r}, {server!r})").replace("nothing", ""))
        if name.encode() not in answer:
            return "no"
    return "yes"


def removal(engine: Engine) -> str:
    engine("network", "create", "gone")
    engine.run("one", "--network", "gone")
    engine("stop", "-t", "0", "one")
    removed = engine.ok("network", "rm", "gone")
    engine("network", "create", "gone")
    return yes(removed and engine.ok("start", "one") and engine.reaches("one"))


def rest(engine: Engine) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    seen = set()
    for _ in range(3):
        engine.run("one", "--network", "front")
        seen.add(engine("inspect", "-f", template, "one").stdout)
        engine("rm", "-f", "one")
    return yes(len(seen) == 3)


def loopback6(engine: Engine) -> str:
    engine.run("one", "--network", "front", "-p", "8081:80")
    with Server(_in(engine, "one"), 80):
        return yes(_python(engine.host, "connect(('::1', 8081))") == "connected")


def mtu(engine: Engine) -> str:
    engine.on_host("ip", "link", "set", "eth0", "mtu", "1400")
    engine.on_host("ip", "route", "add", "default", "via", NEIGHBOUR)
    engine("network", "create", "fourteen")
    engine.run("one", "--network", "fourteen")
    code = (
        "import fcntl\n"
        "request = struct.pack('16si', b'eth0', 0)\n"
        "print(struct.unpack('16si', fcntl.ioctl(socket.socket(), 0x8921, request))[1])\n"  # SIOCGIFMTU
    )
    found = engine.inside("one", code)
    engine.on_host("ip", "route", "del", "default")
    engine.on_host("ip", "link", "set", "eth0", "mtu", "1500")
    return found or "?"


def mounts(engine: Engine) -> str:
    """Started under another mount namespace, connected from this one."""
    apart = ("unshare", "-m", "--propagation", "private")
    engine("run", "-d", "--name", "one", "--network", "front", engine.image, "sleep", "600", prefix=apart)
    engine.run("two", "--network", "back")
    return yes(
        engine.ok("network", "connect", "back", "one") and engine.inside("one", "connect(('127.0.0.1', 9))") != ""
    )


def many(engine: Engine) -> str:
    made = sum(engine.ok("network", "create", f"n{number}") for number in range(40))
    return str(made)


def left(engine: Engine) -> str:
    """What the host has when no container and no network of the user is left."""
    engine.run("one")
    engine.clear()

    def links() -> list[str]:
        shown = engine.on_host("ip", "-br", "link").splitlines()
        return [line.split()[0].partition("@")[0] for line in shown if not line.startswith(("lo", "eth0"))]

    _until(lambda: not links())
    tables = [line.split("table ")[1] for line in engine.on_host("nft", "list", "tables").splitlines()]
    return ", ".join([*links(), *tables]) or "nothing"


SCENES: list[tuple[str, Callable[[Engine], str]]] = [
    ("reaches the world beside Docker's `FORWARD DROP`", beside_docker),
    ("published ports come back after `nft flush ruleset`, by themselves", flushed),
    ("`ip_forward` set to 0 by others: the next container has its way out", forwarding),
    ("a container publishes port 53 on all addresses, names work", port_53),
    ("a DNS server of the host on all addresses, names work", dnsmasq),
    ("a sidecar has its network after a restart of its container", sidecar),
    ("names work after the name server was killed", killed_server),
    ("names of a container `one` in `front`, `--hostname www.test`", host_names),
    ("an address has the container's name, not an alias", reverse),
    ("a network of a stopped container is removed, made again, joined again", removal),
    ("freed addresses rest", rest),
    ("`[::1]:PORT` leads to a container with IPv4 alone", loopback6),
    ("MTU in a container, behind an uplink of 1400", mtu),
    ("`network connect` for a container started in another mount namespace", mounts),
    ("of 40 networks made without `--subnet`", many),
    ("left on the host after the last container and network", left),
]


def near(engine: Engine) -> list[str]:
    """Return the words that run a command in the namespace of an engine's neighbour."""
    return _NEIGHBOURS[engine.name]


_NEIGHBOURS: dict[str, list[str]] = {}


def main() -> None:
    """Play all scenes, and print the table."""
    chosen = sys.argv[1:]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nb")))
        archive = material.layered(scratch, material.base_tar(scratch), 1)
        engines = []
        for name in ("underlay", "docker", "podman"):
            host = stack.enter_context(namespace(scratch, name))
            _NEIGHBOURS[name] = stack.enter_context(namespace(scratch, f"near-{name}"))
            _join(scratch / f"net-{name}", _NEIGHBOURS[name])
            stack.enter_context(Server(_NEIGHBOURS[name], 7000))
            subprocess.run([*host, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
            if name == "underlay":
                settings = {"UNDERLAY_ROOT": f"{scratch}/ours", "UNDERLAY_STATE": f"{scratch}/ours-state"}
                engine = Engine(name, [*host, UNDERLAY], settings, "bench:1", host)
            elif name == "docker":
                (scratch / "d").mkdir()
                daemon = rivals.Docker(scratch / "d", host)
                problem = daemon.start()
                stack.callback(daemon.stop)
                if problem:
                    print(f"without docker: {problem}")
                    continue
                engine = Engine(name, ["docker"], daemon.environment, "bench:1", host)

                def restart(daemon: rivals.Docker = daemon) -> None:
                    daemon.stop()
                    daemon.start()

                engine.restart = restart
            else:
                engine = Engine(name, [*host, *rivals.podman(scratch)], {}, "localhost/bench:1", host)
            engine("load", "-i", str(archive))
            stack.callback(engine.clear)
            engines.append(engine)
        print(f"| | {' | '.join(engine.name for engine in engines)} |")
        print(f"| --- |{' --- |' * len(engines)}")
        for title, scene in SCENES:
            if chosen and scene.__name__ not in chosen:
                continue
            words = []
            for engine in engines:
                for network in ("front", "back"):
                    engine("network", "create", network)
                words.append(scene(engine))
                engine.clear()
            print(f"| {title} | {' | '.join(words)} |", flush=True)


if __name__ == "__main__":
    main()
