"""Docker's flag grammar: what Go's pflag accepts, from one table of flags a command.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-itd`, `--bool`, `--bool=false`, `--` ends the flags.
Commands that run something stop at their first argument. The wording of errors is the one docker's users know.
docs/decisions/0004-flags.md says why argparse is not used.
"""

from __future__ import annotations

from ...errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# A flag: long name, short name or "", kind, metavariable, help. Kinds: bool, string, int, list, optional (a string
# whose value may be left out, as --flag or --flag=value).
Flag = tuple[str, str, str, str, str]

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Options:
    """The values given: `options["name"]`; absent flags are "", 0 (None for int), False or []. `given` names those set."""

    __slots__ = ("given", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.given: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.given


def parse(
    command: str, flags: tuple[Flag, ...], words: list[str], interspersed: bool = True
) -> tuple[Options, list[str]]:
    """Return the options and the arguments in `words`; raises UsageError.

    With `interspersed` false the first argument ends the flags (docker run, docker exec). `--help` and `-h` (where the
    table has no h) set the option "help".
    """
    long: dict[str, Flag] = {}
    short: dict[str, Flag] = {}
    values: dict[str, Any] = {"help": False}
    empty: dict[str, Any] = {"bool": False, "string": "", "int": None, "list": None, "optional": ""}
    for flag in flags:
        long[flag[0]] = flag
        if flag[1]:
            short[flag[1]] = flag
        values[flag[0]] = [] if flag[2] == "list" else empty[flag[2]]
    help_flag: Flag = ("help", "h", "bool", "", "Print usage")
    long.setdefault("help", help_flag)
    short.setdefault("h", help_flag)
    options = Options(values)
    arguments: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            arguments += words[position:]
            break
        if word[:1] != "-" or word == "-":
            arguments.append(word)
            if not interspersed:
                arguments += words[position:]
                break
            continue
        if word[:2] == "--":
            name, equals, value = word[2:].partition("=")
            flag_entry = long.get(name)
            if flag_entry is None:
                from ...human import did_you_mean

                hint = did_you_mean(name, long, "--", f"see `underlay {command} --help`")
                raise UsageError(f"unknown flag: --{name}", hint)
            position = _take(command, options, flag_entry, bool(equals), value, words, position, word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag_entry = short.get(letter)
            if flag_entry is None:
                raise UsageError(f"unknown shorthand flag: '{letter}' in {word}", f"see `underlay {command} --help`")
            if letters[:1] == "=":
                position = _take(command, options, flag_entry, True, letters[1:], words, position, word)
                break
            if flag_entry[2] in ("bool", "optional"):
                position = _take(command, options, flag_entry, False, "", words, position, word)
                continue
            position = _take(command, options, flag_entry, bool(letters), letters, words, position, word)
            break
    return options, arguments


def _take(
    command: str,
    options: Options,
    flag: Flag,
    has: bool,
    value: str,
    words: list[str],
    position: int,
    word: str,
) -> int:
    name, short, kind, _, _ = flag
    shown = f"-{short}, --{name}" if short else f"--{name}"
    if kind == "bool":
        if not has or value in _TRUE:
            options.values[name] = True
        elif value in _FALSE:
            options.values[name] = False
        else:
            raise UsageError(f'invalid argument "{value}" for "{shown}" flag: true or false is expected')
    else:
        if not has and kind != "optional":
            if position >= len(words):
                if word[:2] == "--":
                    raise UsageError(f"flag needs an argument: --{name}", f"see `underlay {command} --help`")
                raise UsageError(f"flag needs an argument: '{short}' in {word}", f"see `underlay {command} --help`")
            value = words[position]
            position += 1
        if kind == "list":
            options.values[name].append(value)
        elif kind == "int":
            try:
                if value.strip() != value or not value.isascii() or "_" in value:
                    raise ValueError  # Python takes more than Go does
                options.values[name] = int(value, 10)
            except ValueError:
                raise UsageError(f'invalid argument "{value}" for "{shown}" flag: a whole number is expected') from None
        else:
            options.values[name] = value
    options.given.add(name)
    return position


def usage(command: str, synopsis: str, summary: str, flags: tuple[Flag, ...]) -> str:
    """Return the help text of a command in docker's form."""
    lines = [f"Usage:  underlay {synopsis}", "", summary]
    if flags:
        rows = []
        for name, short, kind, meta, text in sorted(flags):
            left = f"  {'-' + short + ',' if short else '   '} --{name}"
            if kind not in ("bool",):
                left += f" {meta or kind}"
            rows.append((left, text))
        width = max(len(left) for left, _ in rows) + 3
        lines += ["", "Options:"]
        lines += [left.ljust(width) + text for left, text in rows]
    from ..manual.examples import EXAMPLES

    if command in EXAMPLES:
        lines += ["", "Examples:"]
        for line, text in EXAMPLES[command]:
            lines += [f"  {line}", f"      {text}"]
    return "\n".join(lines)
