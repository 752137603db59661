"""`underlay base scan`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Look at the images of registries, namespaces, lists or a cluster, once per layer"
SYNOPSIS = "base scan [OPTIONS] TARGET..."
FLAGS: tuple[Flag, ...] = (
    (
        "cluster",
        "",
        "string",
        "string",
        "Have a Dask cluster ask the registries: the address of its scheduler (tcp://HOST:8786), or local:N",
    ),
    ("newest", "", "int", "int", "Only so many tags of a repository, the newest by their numbers"),
    ("output", "o", "string", "file", "The file of the scan, which is made or continued (required)"),
    ("platform", "", "string", "string", "Platform of the images, if they are multi-platform"),
    (
        "pods",
        "",
        "string",
        "file",
        "Images that pods run: the output of `kubectl get pods -A -o json`, - for standard input",
    ),
    ("quiet", "q", "bool", "", "Print no summary"),
    ("shard", "", "string", "string", "Only part K of N of the repositories (K/N), for scans that share the work"),
    ("tags", "", "list", "list", "Only tags that match one of these patterns"),
    ("workers", "", "int", "int", "Processes that work at once"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what was done; 1 when something could not be looked at."""
    if not options["output"]:
        raise InvalidInput("--output is missing: the file of the scan", "see `underlay base scan --help`")
    if not arguments and not options["pods"]:
        raise InvalidInput("there is nothing to scan", "name images or registries, or use --pods")
    for name in ("newest", "workers"):
        if name in options and options[name] < 1:
            raise InvalidInput(f"invalid value for --{name}: {options[name]}", "a number from 1 on")
    if arguments.count("-") + (options["pods"] == "-") > 1:
        raise InvalidInput("the standard input can be read only once")
    targets = [name for each in arguments for name in (_listed() if each == "-" else [each])]
    if options["pods"]:
        targets += _pods(options["pods"])
    patterns = [pattern for each in options["tags"] for pattern in each.split(",")]
    done = engine.scans.scan(
        options["output"],
        targets,
        patterns,
        options["newest"] or 0,
        options["platform"],
        options["workers"] or 0,
        _shard(options["shard"]),
        options["cluster"],
    )
    from ....human import size
    from ...output import plain

    if not options["quiet"]:
        sys.stdout.write(
            f"{done.names} names, {done.unchanged} of them unchanged; {done.images} images judged; "
            f"{done.layers} layers read, {size(done.fetched)} fetched\n"
        )
    for what, problem in done.problems.items():
        sys.stderr.write(plain(f"{what}: {problem}") + "\n")
    return 1 if done.problems else 0


def _shard(text: str) -> tuple[int, int]:
    from ....human import whole

    part, slash, parts = text.partition("/")
    if text and not (slash and 1 <= whole(part) <= whole(parts)):
        raise InvalidInput(f"invalid value for --shard: {text}", "K/N, as 1/4 for the first of four parts")
    return (whole(part), whole(parts)) if text else (1, 1)


def _listed() -> list[str]:
    from ....base.scan import targets

    return targets.lines(sys.stdin.read())


def _pods(path: str) -> list[str]:
    from ....base.scan import targets

    try:
        if path == "-":
            data = sys.stdin.buffer.read(targets.PODS_LIMIT)
        else:
            with open(path, "rb") as file:
                data = file.read(targets.PODS_LIMIT)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    return targets.pods(data, "the standard input" if path == "-" else path)
