"""`underlay base fit`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....base.fit import Fit
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Check whether a host can run an image"
SYNOPSIS = "base fit [OPTIONS] IMAGE [COMMAND] [ARG...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("host", "", "string", "file", "Check for another host, given its saved `underlay info --format json`"),
    (
        "kernel",
        "",
        "string",
        "file",
        "Check for another kernel, given its image, its configuration, or its Debian package",
    ),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
)
INTERSPERSED = False


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the verdict with its reasons; the exit code is 1 when the image will not run."""
    host = _saved(options["host"]) if options["host"] else None
    fit = engine.bases.fit(arguments[0], options["platform"], host, arguments[1:], kernel=options["kernel"])
    if options["format"]:
        import msgspec

        from ...output import render

        value = msgspec.to_builtins(fit, order="sorted")
        sys.stdout.write(render(options["format"], value) + "\n")
    else:
        sys.stdout.write(_shown(arguments[0], fit))
    return 1 if fit.verdict == "will not run" else 0


def _saved(path: str) -> dict[str, Any]:
    from ....lean.jsontext import loads

    try:
        with open(path, encoding="utf-8") as file:
            value = loads(file.read(1 << 20))
    except OSError as error:
        raise InvalidInput(f"--host: {path}: {error.strerror}") from None
    except ValueError:
        raise InvalidInput(f"--host: {path} is not JSON", "save `underlay info --format json` there") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"--host: {path} is not a JSON object", "save `underlay info --format json` there")
    return value


def _shown(name: str, fit: Fit) -> str:
    host = fit.host
    lines = [f"{name}: {fit.verdict} on {host.name or 'this host'} (Linux {host.kernel}, {host.architecture})"]
    needs = fit.needs
    stands = ", ".join(
        filter(
            None, (needs.name or needs.distribution, f"{needs.libc} {needs.libc_version}".strip(), needs.architecture)
        )
    )
    lines.append(f"  it is {stands or 'an image of static programs'}")
    if fit.machine:
        kernel = [f"Linux {fit.machine}"]
        if fit.machine_architecture != host.architecture:
            kernel.append(fit.machine_architecture)
        lines.append(f"  runs with --isolation machine ({', '.join(kernel)})")
    for reason in fit.reasons:
        lines += [
            "",
            f"  {reason.effect}: {reason.title} ({reason.id})",
            f"    image:  {reason.image}",
            f"    host:   {reason.host}",
            f"    remedy: {reason.remedy}",
        ]
    if not fit.certain:
        lines += ["", "  only its description was looked at: its files are not in the store"]
    from ...output import plain

    return "\n".join(map(plain, lines)) + "\n"
