"""Dispatch: words to a command, exceptions to one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..events import Event


def entry() -> NoReturn:
    """Run the program with the words it was called with, and exit."""
    _open_streams()
    spare()
    leave(main(sys.argv[1:]))


def spare() -> None:
    """Look for garbage rarely: what a command makes in its short life is no garbage, and looking takes 2 ms of a start."""
    gc.set_threshold(50_000, 20, 20)


def leave(code: int) -> NoReturn:
    """End this process at once, when what it has written is out."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or 1
    except OSError as error:
        sys.stderr.write(f"underlay: cannot write the output: {error.strerror}\n")
        code = 1
    # Nothing below needs an orderly end of the interpreter, which takes milliseconds.
    sys.stderr.flush()
    os._exit(code)


def _open_streams() -> None:
    """Put /dev/null where the caller has closed a standard stream: no lock or pipe may get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))
    # Names that are not UTF-8 (arguments, files) are shown escaped instead of ending in a traceback.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def main(words: list[str]) -> int:
    """Run one command line; return its exit code. Errors are printed on standard error."""
    if words[:1] in (["--version"], ["-v"]):
        from .. import __version__

        sys.stdout.write(f"underlay version {__version__}\n")
        return 0
    debug = False
    failure = 1  # the exit code of an error that has none of its own
    from ..errors import UnderlayError
    from . import problems

    try:
        from . import flags
        from .flags.globalflags import GLOBAL_FLAGS

        settings, rest = flags.parse("", GLOBAL_FLAGS, words, interspersed=False)
        debug = settings["debug"]
        if settings["version"]:
            return main(["--version"])
        if settings["help"] or not rest or rest[0] == "help":
            return _help(rest[1:] if rest[:1] == ["help"] else [])
        if rest[0] == "__complete":
            from .completion import candidates

            return candidates.answer(rest[1:])
        if rest[0] == "runtime":
            from .runtime.main import main as runtime

            return runtime(rest[1:])
        name, module_name, rest = _find(rest)
        module = __import__(f"underlay.cli.commands.{module_name}", fromlist=["run"])
        failure = getattr(module, "FAILURE", failure)
        if getattr(module, "PASSES_ALL_ON", False):
            rest = ["--", *rest]  # the words are another program's
        options, arguments = flags.parse(name, module.FLAGS, rest, getattr(module, "INTERSPERSED", True))
        debug = debug or ("debug" in options and options["debug"])
        if options["help"]:
            sys.stdout.write(flags.usage(name, module.SYNOPSIS, module.SUMMARY, module.FLAGS) + "\n")
            return 0
        _check_count(name, arguments, getattr(module, "ARGUMENTS", (0, None)), module.SYNOPSIS)
        starts_container = name.split()[-1] == "run"
        if starts_container:
            failure = 125
        standby = module.standby(options, arguments) if starts_container else None
        from ..engine.engine import Engine

        with Engine(settings["root"], settings["state"], _warned, settings["form"]) as engine:
            engine._launcher.leaving = True
            engine._launcher.standby = standby
            answer = module.run(engine, options, arguments)
        return int(answer or 0)
    except UnderlayError as error:
        if debug:
            _trace()
        sys.stdout.flush()
        if error.excerpt:
            bar = "-" * 20
            sys.stderr.write(f"{error.place}\n" * bool(error.place) + f"{bar}\n{error.excerpt}\n{bar}\n")
        sys.stderr.write(problems.lines(error))
        return failure if error.exit_code == 1 else error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if debug:
            _trace()
        where = f" {error.filename}" if error.filename else ""
        sys.stderr.write(f"underlay: {problems.shown(f'{error.strerror or error}{where}')}\n")
        return failure


def _warned(event: Event) -> None:
    """Tell what the user should know and has not asked for."""
    from .problems import shown

    if event.kind == "host.warning":
        attributes = event.attributes
        sys.stderr.write(f"underlay: {shown(str(attributes['message']))}\nhint: {shown(str(attributes['hint']))}\n")
    elif event.kind == "registry.anonymous":
        reason = shown(str(event.attributes["reason"]))
        sys.stderr.write(f"underlay: not logged in at {event.subject}, so only public images are available: {reason}\n")


def _trace() -> None:
    import traceback

    traceback.print_exc()


def _find(words: list[str]) -> tuple[str, str, list[str]]:
    from ..errors import ArgumentCount
    from .index import ALIASES, COMMANDS, NOUNS

    for count in (3, 2, 1):
        name = " ".join(words[:count])
        name = ALIASES.get(name, name)
        if len(words) >= count and name in COMMANDS:
            return name, COMMANDS[name][0], words[count:]
    noun = next((name for count in (2, 1) if (name := " ".join(words[:count])) in NOUNS), "")
    if noun:
        rest = words[len(noun.split()) :]
        if not rest or rest[0].startswith("-"):
            (sys.stdout if rest else sys.stderr).write(_listing(noun) + "\n")
            raise SystemExit(0)
        name, page = f"{noun} {rest[0]}", f"underlay {noun} --help"
    else:
        name, page = words[0], "underlay --help"
    from ..human import did_you_mean

    known = [command for command in (*COMMANDS, *ALIASES) if command.count(" ") == name.count(" ")]
    raise ArgumentCount(f"unknown command: underlay {name}", did_you_mean(name, known, "underlay ", f"see `{page}`"))


def _check_count(command: str, arguments: list[str], bounds: tuple[int, int | None], synopsis: str) -> None:
    """Raise ArgumentCount when there are fewer arguments than the first of `bounds`, or more than the second."""
    least, most = bounds
    if len(arguments) >= least and (most is None or len(arguments) <= most):
        return
    from ..errors import ArgumentCount

    count = f"{least} argument{'s' * (least != 1)}"
    if most is None:
        needs = f"requires at least {count}"
    elif not most:
        needs = "accepts no arguments"
    elif least == most:
        needs = f"requires exactly {count}"
    elif not least:
        needs = f"requires at most {most} argument{'s' * (most != 1)}"
    else:
        needs = f"requires at least {least} and at most {most} arguments"
    usage = f"usage: underlay {synopsis}; see `underlay {command} --help`"
    raise ArgumentCount(f'"underlay {command}" {needs}', usage)


def _listing(noun: str) -> str:
    from .index import COMMANDS, RUNTIME

    if noun:
        prefix = noun + " "
        rows = [(n[len(prefix) :], c[1]) for n, c in COMMANDS.items() if n.startswith(prefix)]
    else:
        rows = [(n, c[1]) for n, c in COMMANDS.items() if " " not in n] + [RUNTIME]
    width = max(10, *(len(name) for name, _ in rows))
    return "Commands:\n" + "\n".join(f"  {n:<{width}}  {text}" for n, text in sorted(rows))


def _help(words: list[str]) -> int:
    if words:
        return main([*words, "--help"])
    from . import flags
    from .flags.globalflags import GLOBAL_FLAGS
    from .index import NOUNS

    summary = "A container engine that knows what every image stands on"
    text = flags.usage("", "[OPTIONS] COMMAND", summary, GLOBAL_FLAGS)
    sys.stdout.write(
        text
        + "\n\n"
        + _listing("")
        + "\n\nMore: "
        + ", ".join(noun for noun in NOUNS if " " not in noun)
        + " (each with --help)\n"
    )
    return 0
