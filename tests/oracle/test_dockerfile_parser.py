"""Our reading of Dockerfiles against docker's own parser, which the package `dockerfile` wraps.

What is explained, and left out of the comparison: the package keeps a keyword as written, adds the text of heredocs to
the text of the instruction, knows no heredocs of ONBUILD, and gives an unknown instruction one empty argument. Docker
reads flags byte by byte: letters beyond ASCII come out of them as several others, which we do not imitate. The parser
in the package is an older one: it takes `["a"] and more` for JSON and forgets the rest, where docker's present one, and
ours, take all of it for the shell form.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from dockerfiles import BAD, GOOD
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.reading import KEYWORDS
from underlay.dockerfile.syntax import Node, parse

dockers = pytest.importorskip("dockerfile")

pytestmark = pytest.mark.oracle

Reading = list[tuple[Any, ...]]


def _flags(node: Node) -> tuple[str, ...]:
    return tuple(f"--{name}" + ("" if value is None else f"={value}") for name, value in node.flags)


def ours(text: str) -> Reading | str:
    try:
        nodes = parse(text.encode()).nodes
    except DockerfileError as error:
        return error.problem
    found = []
    for node in nodes:
        inner = node.child or node
        words = inner.arguments.words
        heredocs = () if node.child else tuple((item.name, item.fd, item.content) for item in node.heredocs)
        found.append(
            (node.keyword, inner.keyword if node.child else None, inner.arguments.json, node.text, node.line)
            + (node.last_line, _flags(node), words, heredocs)
        )
    return found


def theirs(text: str) -> Reading | str:
    try:
        commands = dockers.parse_string(text)
    except dockers.GoParseError as error:
        return str(error)
    except UnicodeDecodeError:
        reject()  # HEALTHCHECK too is read byte by byte
    found = []
    for command in commands:
        heredocs = tuple((item.name, item.file_descriptor, item.content) for item in command.heredocs)
        tail = "".join(f"\n{content}{name}" for name, _, content in heredocs)
        original = (command.original or "").removesuffix(f"{tail}\n" if heredocs else "")
        keyword, inner = (command.cmd or "").lower(), command.sub_cmd and command.sub_cmd.lower()
        words = command.value if (inner or keyword) in KEYWORDS else ()
        found.append(
            (keyword, inner, command.json, original, command.start_line, command.end_line)
            + (command.flags, words, heredocs)
        )
    return found


@pytest.mark.parametrize("name", GOOD)
def test_reads_like_docker(name: str) -> None:
    expected = theirs(GOOD[name])
    assert isinstance(expected, list), expected
    assert ours(GOOD[name]) == expected


@pytest.mark.parametrize("name", BAD)
def test_refuses_like_docker(name: str) -> None:
    expected = theirs(BAD[name])
    assert isinstance(expected, str), expected
    assert ours(BAD[name]) == expected


_PIECES = st.sampled_from(
    ["RUN ", "COPY ", "ENV ", "LABEL ", "ARG ", "ADD ", "ONBUILD ", "HEALTHCHECK ", "CMD ", "EXPOSE ", "VOLUME ", "USER "]
    + ["FROM a\n", "\n", "\n", "\\\n", "\\", " ", "  ", "\t", "#", "# x\n", "'", '"', "=", "a", "b=c", "[", "]", ","]
    + ['["a"]', '["a", "b"]', "<<E", "<<-E", "<<'E'", '<<"E"', "\nE\n", "\n\tE\n", "--a=b ", "--a ", "--", "-", "$a"]
    + ["${a}", "${a:-b}", "${", "}", "`", "`\n", "\r\n", "\r", "é", "日", "1", "3<<E", "<", "x y", "CMD", "NONE", "\x0b"]
    + ["\x0c", "# escape=`\n", "# syntax=x\n", "\\t", "null", "{}", '"a\\n"', "\\u00e9", "\u00a0"]
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.lists(_PIECES, max_size=30).map("".join))
def test_reads_anything_like_docker(text: str) -> None:
    expected, found = theirs(text), ours(text)
    # Of a chain of ONBUILD, which is refused later, we read no more than the second.
    assume(isinstance(found, str) or all(command[1] != "onbuild" for command in found))
    assume(not _takes_json_apart(expected, found))
    if isinstance(expected, str):
        assert isinstance(found, str), (expected, found)
    elif all(flag.isascii() for command in expected for flag in command[6]):
        assert found == expected


def _takes_json_apart(expected: Reading | str, found: Reading | str) -> bool:
    """Tell whether the two part where an array is followed by something."""
    if isinstance(found, str):
        return False
    if isinstance(expected, str):
        return "JSON array syntax" in expected
    parted = next((pair for pair in zip(expected, found) if pair[0] != pair[1]), None)
    return parted is not None and parted[0][2] and not parted[1][2] and not _holds_json(parted[1][3])


def _holds_json(text: str) -> bool:
    """Tell whether the first array of a text ends where the text ends."""
    for position in range(len(text)):
        if text[position] == "[":
            try:
                return json.JSONDecoder().raw_decode(text, position)[1] == len(text.rstrip())
            except ValueError:
                continue
    return False
