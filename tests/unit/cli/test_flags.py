"""Docker's flag grammar, as Go's pflag has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.cli import flags
from underlay.errors import UsageError

TABLE: tuple[flags.Flag, ...] = (
    ("interactive", "i", "bool", "", ""),
    ("tty", "t", "bool", "", ""),
    ("detach", "d", "bool", "", ""),
    ("rm", "", "bool", "", ""),
    ("env", "e", "list", "list", ""),
    ("name", "n", "string", "string", ""),
    ("time", "T", "int", "int", ""),
    ("plan", "p", "optional", "string", ""),
)


def parse(*words: str, interspersed: bool = False) -> tuple[dict, list[str], set[str]]:
    options, arguments = flags.parse("run", TABLE, list(words), interspersed)
    return options.values, arguments, options.given


@pytest.mark.parametrize(
    ("words", "changes", "arguments"),
    [
        ([], {}, []),
        (["--rm", "img"], {"rm": True}, ["img"]),
        (["--rm=false", "img"], {}, ["img"]),
        (["--rm=1", "--tty=T", "--detach=true"], {"rm": True, "tty": True, "detach": True}, []),
        (["--rm", "false"], {"rm": True}, ["false"]),
        (["-itd", "img", "-x"], {"interactive": True, "tty": True, "detach": True}, ["img", "-x"]),
        (["-i=false", "-t"], {"tty": True}, []),
        (["-e", "A=1"], {"env": ["A=1"]}, []),
        (["-eA=1"], {"env": ["A=1"]}, []),
        (["-e=A=1"], {"env": ["A=1"]}, []),
        (["--env", "A=1", "--env=B=2"], {"env": ["A=1", "B=2"]}, []),
        (["-ie", "A"], {"interactive": True, "env": ["A"]}, []),
        (["-itnx"], {"interactive": True, "tty": True, "name": "x"}, []),
        (["--name", "a", "--name", "b"], {"name": "b"}, []),
        (["--name="], {"name": ""}, []),
        (["--name", ""], {"name": ""}, []),
        (["--name", "--rm"], {"name": "--rm"}, []),
        (["-n", "-"], {"name": "-"}, []),
        (["--", "--rm"], {}, ["--rm"]),
        (["--rm", "--", "img"], {"rm": True}, ["img"]),
        (["img", "--rm"], {}, ["img", "--rm"]),
        (["img", "--", "x"], {}, ["img", "--", "x"]),
        (["-", "--rm"], {}, ["-", "--rm"]),
        (["-T", "-5"], {"time": -5}, []),
        (["--time=+7"], {"time": 7}, []),
        (["--plan", "x"], {"plan": ""}, ["x"]),
        (["--plan=x"], {"plan": "x"}, []),
        (["-e", "a\nb=ü"], {"env": ["a\nb=ü"]}, []),
        (["--help"], {"help": True}, []),
        (["-h"], {"help": True}, []),
    ],
)
def test_accepted(words: list[str], changes: dict, arguments: list[str]) -> None:
    values, rest, _ = parse(*words)
    empty = {"help": False, "interactive": False, "tty": False, "detach": False, "rm": False, "env": [], "name": ""}
    assert values == {**empty, "time": None, "plan": "", **changes}
    assert rest == arguments


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        (["--Rm"], "unknown flag: --Rm"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-itx"], "unknown shorthand flag: 'x' in -itx"),
        (["--name"], "flag needs an argument: --name"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["-in"], "flag needs an argument: 'n' in -in"),
        (
            ["--rm=maybe"],
            'invalid argument "maybe" for "--rm" flag: true or false is expected',
        ),
        (["-i="], 'invalid argument "" for "-i, --interactive" flag: true or false is expected'),
        (["-T", "x"], 'invalid argument "x" for "-T, --time" flag: a whole number is expected'),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert caught.value.message == message and caught.value.exit_code == 125


@pytest.mark.parametrize("text", ["1_000", " 5", "5 ", "", "\u0665", "1e3", "5.0"])
def test_numbers_that_only_python_takes(text: str) -> None:
    with pytest.raises(UsageError, match="a whole number is expected"):
        parse("--time", text)


def test_interspersed() -> None:
    values, rest, given = parse("a", "--rm", "b", "-n", "x", "--", "-i", interspersed=True)
    assert rest == ["a", "b", "-i"] and values["rm"] and given == {"rm", "name"} and not values["interactive"]


def test_given_tells_false_from_absent() -> None:
    options, _ = flags.parse("run", TABLE, ["--rm=false"], False)
    assert "rm" in options and "tty" not in options and options["rm"] is False


def test_lists_are_not_shared_between_parses() -> None:
    parse("-e", "A")
    assert parse()[0]["env"] == []


@given(st.lists(st.text(alphabet="-=itdenTpx a1", max_size=6), max_size=6), st.booleans())
def test_anything_is_parsed_or_refused(words: list[str], interspersed: bool) -> None:
    try:
        values, rest, given = parse(*words, interspersed=interspersed)
    except UsageError as error:
        assert error.exit_code == 125 and "\n" not in error.message
        return
    assert given <= set(values)
    assert all(word in words for word in rest)


def test_usage_names_every_flag() -> None:
    text = flags.usage("run", "run [OPTIONS]", "Summary", TABLE)
    assert text.startswith("Usage:  underlay run [OPTIONS]\n\nSummary\n\nOptions:\n")
    for name, short, *_ in TABLE:
        assert f"--{name}" in text and (not short or f"-{short}," in text)
