"""`underlay serve`."""

from __future__ import annotations

import os
import sys

from ....errors import InvalidInput, Unsupported, UsageError
from ....human import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Answer docker's clients by its Engine API"
SYNOPSIS = "serve [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("allow", "", "string", "file", "Allow clients only what the rules of a TOML file allow"),
    ("host", "H", "list", "list", "Where to listen: unix://PATH, tcp://ADDRESS:PORT, fd://"),
    ("idle-timeout", "", "string", "duration", "End when nobody has asked for that long, as 5m"),
    (
        "install",
        "",
        "bool",
        "",
        "Have systemd start this server when somebody asks, and give docker its plug-in buildx",
    ),
    ("insecure-tcp", "", "bool", "", "Allow TCP without certificates on an address of this host alone"),
    ("print", "", "bool", "", "With --install: print what would be written"),
    ("read-only", "", "bool", "", "Refuse all that changes anything"),
    ("tlscacert", "", "string", "string", "Certificate of the authority that signs clients' certificates"),
    ("tlscert", "", "string", "string", "Certificate of this server"),
    ("tlskey", "", "string", "string", "Key of this server's certificate"),
    ("uninstall", "", "bool", "", "Remove what --install has written"),
    ("user", "", "bool", "", "With --install and --uninstall: by the user's own systemd"),
)
_INSTALLED_IDLE = "5m"  # what a server that systemd starts waits for further requests


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Run the server until SIGTERM or SIGINT, or until the idle timeout has passed."""
    if options["uninstall"]:
        return _uninstall(options)
    try:
        from ....api import application, serving
        from ....api.access import policy as policies
    except ImportError as error:
        raise Unsupported(f"the server needs aiohttp: {error}", "pip install 'underlay[api]'") from None
    if options["install"]:
        return _install(options)
    for name in ("print", "user"):
        if options[name]:
            raise UsageError(f"--{name} belongs to --install")
    idle = 0.0
    if options["idle-timeout"]:
        try:
            idle = parse_duration(options["idle-timeout"])
        except ValueError:
            raise InvalidInput(f"invalid --idle-timeout {options['idle-timeout']!r}", "as 90s or 5m") from None
    tls = _tls(options)
    rules = policies.read(options["allow"]) if options["allow"] else None
    engine.containers.recover()
    places: list[serving.Listening] = []
    serving.hold_signals()
    try:
        for address in options["host"] or [f"unix://{default_socket()}"]:
            places += serving.listen(address, tls, options["insecure-tcp"])
    except BaseException:
        for place in places:
            place.socket.close()
            if place.path:
                os.unlink(place.path)
        raise
    for place in places:
        sys.stderr.write(f"underlay: listening at {place.address}\n")
    sys.stderr.flush()
    from ....runtime.monitor.fresh import ForkServer

    engine._launcher.leaving = False  # this process has threads: nothing may be forked off it
    engine._launcher.fork_server = ForkServer()
    policy = policies.Policy(rules, options["read-only"])
    serving.serve(engine, places, lambda work: application.make(work, policy), idle)
    return 0


def _install(options: Options) -> int:
    """Write the systemd units and docker's plug-in, and print their paths."""
    from ....api import serving
    from ....api.access import policy as policies
    from ....engine.units import server, systemd
    from ..system.install import check_rights

    user = options["user"]
    listens = [_listened(address) for address in options["host"]]
    listens = listens or ["%t/underlay/docker.sock" if user else default_socket()]
    words = ["--idle-timeout", options["idle-timeout"] or _INSTALLED_IDLE]
    for name in ("allow", "tlscacert", "tlscert", "tlskey"):
        if options[name]:
            words += [f"--{name}", os.path.abspath(options[name])]
    words += [f"--{name}" for name in ("insecure-tcp", "read-only") if options[name]]
    # The server would refuse these only at the first request.
    tls = _tls(options)
    for address in options["host"]:
        serving.check_access(address, tls, options["insecure-tcp"])
    if options["allow"]:
        policies.read(options["allow"])
    if options["print"]:
        parts = (f"# {path}\n{text}" for path, text in server.files(user, listens, words).items())
        sys.stdout.write("\n".join(parts))
        return 0
    check_rights(user)
    sys.stdout.write("".join(f"{path}\n" for path in server.install(user, listens, words)))
    if not systemd.runs():
        sys.stderr.write(
            "underlay: systemd does not run here: it listens at the socket from the next boot with it on\n"
        )
    return 0


def _uninstall(options: Options) -> int:
    """Remove the systemd units and docker's plug-in that `--install` has written, and print their paths."""
    from ....engine.units import server
    from ..system.install import check_rights

    if options["install"]:
        raise UsageError("--install and --uninstall exclude each other")
    check_rights(options["user"])
    sys.stdout.write("".join(f"{path}\n" for path in server.uninstall(options["user"])))
    return 0


def _listened(address: str) -> str:
    """Return an address to listen at as a socket unit has it (systemd.socket(5), "ListenStream="). Raises UsageError."""
    scheme, _, place = address.partition("://")
    wrong = not place.isprintable() or " " in place or (scheme == "unix" and not place.startswith("/"))
    if scheme not in ("unix", "tcp") or not place or wrong:
        raise UsageError(f"--install cannot have systemd listen at {address!r}", "unix:///PATH or tcp://ADDRESS:PORT")
    return place.replace("%", "%%")


def default_socket() -> str:
    """Return the path of the socket that clients of this user use: DOCKER_HOST=unix://PATH."""
    if os.geteuid() == 0:
        return "/run/underlay/docker.sock"
    return os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}") + "/underlay/docker.sock"


def _tls(options: Options) -> ssl.SSLContext | None:
    files = [options[name] for name in ("tlscacert", "tlscert", "tlskey")]
    if not any(files):
        return None
    if not all(files):
        raise UsageError("--tlscacert, --tlscert and --tlskey belong together")
    from ....api.encryption import client_certificates

    return client_certificates(*files)
