"""`underlay base watch`."""

from __future__ import annotations

import os
import sys

from ....errors import InvalidInput, UsageError
from ....human import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....base.watch.news import Moved, Watched
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Tell which bases of a scan have moved or got advisories, and what to rebuild first"
SYNOPSIS = "base watch [OPTIONS] SCAN"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("every", "", "string", "duration", "With --install: how often (1h if it is not given)"),
    ("format", "f", "string", "string", "text (the default), or json: one event a line"),
    ("install", "", "bool", "", "Have systemd watch by a timer, or with --listen by a service"),
    (
        "listen",
        "",
        "string",
        "string",
        "Wait at ADDRESS:PORT for the notifications of registries, and look at what was pushed",
    ),
    ("notify", "", "string", "string", "URL of a webhook that gets the news as JSON"),
    ("print", "", "bool", "", "With --install: print the units instead of writing them"),
    ("token-file", "", "string", "file", "With --listen: file of the token that clients send (Authorization: Bearer)"),
    ("uninstall", "", "bool", "", "Remove what --install has written"),
    ("user", "", "bool", "", "With --install and --uninstall: by the user's own systemd"),
)
_SHOWN = 10  # names and advisories of a kind that text shows


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the news since the last look; 1 when there is any, or when something could not be asked."""
    scan = arguments[0]
    if options["format"] not in ("", "text", "json"):
        raise InvalidInput(f"invalid value for --format: {options['format']}", "text or json")
    for name, needed in (("every", "install"), ("print", "install"), ("token-file", "listen")):
        if options[name] and not options[needed]:
            raise UsageError(f"--{name} belongs to --{needed}")
    if options["install"] and options["uninstall"]:
        raise UsageError("--install and --uninstall exclude each other")
    if options["user"] and not (options["install"] or options["uninstall"]):
        raise UsageError("--user belongs to --install and --uninstall")
    if options["uninstall"]:
        return _uninstall(options, scan)
    if options["install"]:
        return _install(options, scan)
    write = _write_json if options["format"] == "json" else _write_text
    watched = engine.scans.watch(scan, options["notify"])
    write(watched)
    if not options["listen"]:
        return 1 if watched.news or watched.problems else 0

    def ready(address: str) -> None:
        sys.stderr.write(f"underlay: listening at {address}\n")
        sys.stderr.flush()

    token = _token(options["token-file"]) if options["token-file"] else ""
    engine.scans.watch_pushes(scan, options["listen"], write, ready, token, options["notify"])
    return 0


def _token(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            token = file.read(4097).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {getattr(error, 'strerror', '') or 'not a token'}") from None
    if not token or len(token) > 4096 or not token.isascii() or not token.isprintable():
        raise InvalidInput(f"{path} is not a token: one line of printable ASCII")
    return token


def _write_json(watched: Watched) -> None:
    import msgspec

    lines = [msgspec.json.encode(each) for each in watched.news]
    lines += [
        msgspec.json.encode({"event": "problem", "base": base, "problem": problem})
        for base, problem in watched.problems.items()
    ]
    sys.stdout.write("".join(line.decode() + "\n" for line in lines))
    sys.stdout.flush()


def _write_text(watched: Watched) -> None:
    from ....base.watch.news import Moved
    from ...output import plain

    for each in watched.news:
        if isinstance(each, Moved):
            _write_moved(each)
            continue
        fixed = f"fixed in {each.fixed}" if each.fixed else "no fix"
        what = f"{each.id} ({each.severity}) in {each.base}: {_some(each.packages)}, {fixed}; {_images(each.images)}"
        sys.stdout.write(plain(what) + "\n")
    if not watched.news:
        sys.stdout.write(f"nothing new of {watched.bases} bases\n")
    sys.stdout.flush()
    for base, problem in watched.problems.items():
        sys.stderr.write(plain(f"{base}: {problem}") + "\n")


def _write_moved(moved: Moved) -> None:
    from ...output import plain

    behind = f"{_images(len(moved.behind))} on older builds" if moved.behind else "no image on an older build is known"
    sys.stdout.write(plain(f"{moved.base} has moved to {moved.now[7:19]}: {behind}") + "\n")
    for number, step in enumerate(moved.rebuild, 1):
        sys.stdout.write(plain(f"  rebuild {number}: {_some(step)}") + "\n")


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _install(options: Options, scan: str) -> int:
    """Write the units of systemd, and print their paths."""
    from ....base.watch import webhooks
    from ....engine.units import systemd, watch
    from ..system.install import check_rights

    if not os.path.exists(scan):
        raise InvalidInput(f"{scan}: no such scan", f"`underlay base scan IMAGE... --output {scan}` makes it")
    every = 0.0
    if options["listen"]:
        if options["every"]:
            raise UsageError("--every and --listen exclude each other")
    else:
        try:
            every = parse_duration(options["every"] or "1h")
        except ValueError:
            every = 0.0
        if every < 60:
            raise InvalidInput(f"invalid value for --every: {options['every']}", "as 30m or 6h, at least 1m")
    words = ["--format", "json"]
    if options["notify"]:
        webhooks.check(options["notify"])
        words += ["--notify", options["notify"]]
    if options["listen"]:
        words += ["--listen", options["listen"]]
    if options["token-file"]:
        words += ["--token-file", os.path.abspath(options["token-file"])]
    user, scan = options["user"], os.path.abspath(scan)
    if options["print"]:
        sys.stdout.write("\n".join(f"# {path}\n{text}" for path, text in watch.files(user, scan, words, every).items()))
        return 0
    check_rights(user)
    sys.stdout.write("".join(f"{path}\n" for path in watch.install(user, scan, words, every)))
    if not systemd.runs():
        sys.stderr.write("underlay: systemd does not run here: it watches from the next boot with it on\n")
    return 0


def _uninstall(options: Options, scan: str) -> int:
    """Remove the units that `--install` has written for a scan, and print their paths."""
    from ....engine.units import watch
    from ..system.install import check_rights

    check_rights(options["user"])
    sys.stdout.write("".join(f"{path}\n" for path in watch.uninstall(options["user"], scan)))
    return 0
