"""`underlay web`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show images in a browser: what they stand on, Dockerfiles, layers, packages, risks"
SYNOPSIS = "web [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("listen", "", "string", "address", "Where to listen, an address of this host alone (default: 127.0.0.1:8765)"),
    ("open", "", "bool", "", "Open the site in the browser of this desktop"),
    (
        "read-only",
        "",
        "bool",
        "",
        "Only show containers and images: without terminals, and without buttons that change them",
    ),
)
_LISTEN = "127.0.0.1:8765"


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Serve the site until SIGTERM or SIGINT; prints its address, with a token that admits one browser."""
    try:
        from ....api import serving
        from ....web import application
        from ....web.visitors import Visitors
    except ImportError as error:
        raise Unsupported(f"the site needs aiohttp and Jinja2: {error}", "pip install 'underlay[web]'") from None
    wanted = options["listen"] or _LISTEN
    if not serving.is_loopback(wanted.rpartition(":")[0].strip("[]")):
        raise InvalidInput(
            f"--listen {wanted}: the site is for this host alone",
            "listen at 127.0.0.1:8765; `ssh -L 8765:127.0.0.1:8765 host` shows it elsewhere",
        )
    serving.hold_signals()
    places = serving.listen(f"tcp://{wanted}", insecure=True)
    host, port = places[0].socket.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    visitors = Visitors((f"{shown}:{port}", f"localhost:{port}"), port)
    address = f"http://{shown}:{port}/?token={visitors.token}"
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    if options["open"]:
        from threading import Thread

        Thread(target=_open, args=(address,), daemon=True).start()
    engine._launcher.leaving = False  # this process has threads: nothing may be forked off it
    serving.serve(engine, places, lambda work: application.make(work, visitors, options["read-only"]))
    return 0


def _open(address: str) -> None:
    """Open an address in a browser; one in the terminal keeps this thread until it ends."""
    import webbrowser

    if not webbrowser.open(address):
        sys.stderr.write("underlay: no browser could be started: open the address in one\n")
