"""Nodes of a Dockerfile: lines, directives, heredocs, places of errors. tests/oracle compares more with docker's."""

from __future__ import annotations

import pytest

from dockerfiles import BAD, GOOD
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.syntax import FILE_LIMIT, parse


@pytest.mark.parametrize("name", GOOD)
def test_lines_do_not_overlap(name: str) -> None:
    document = parse(GOOD[name].encode())
    end = 0
    for node in document.nodes:
        assert end < node.line <= node.last_line <= len(document.lines)
        end = node.last_line


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_has_a_place(name: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(BAD[name].encode(), "x/Dockerfile")
    assert caught.value.line >= 1
    assert str(caught.value).startswith(f"x/Dockerfile:{caught.value.line}:{caught.value.column}: ")
    assert (">>>" in caught.value.excerpt) is bool(BAD[name])


@pytest.mark.parametrize(
    ("text", "directives", "escape"),
    [
        ("# syntax=a/b:1 x\n# check=skip=all\nFROM a", {"syntax": "a/b:1 x", "check": "skip=all"}, "\\"),
        ("#\tSYNTAX = a \n# escape=`\nFROM a", {"syntax": "a", "escape": "`"}, "`"),
        ("  # escape=`\nFROM a", {"escape": "`"}, "`"),
        ("# other=1\n# escape=`\nFROM a", {}, "\\"),
        ("# a\n# syntax=b\nFROM a", {}, "\\"),
        ("FROM a\n# syntax=b\n", {}, "\\"),
        ("#!/bin/x\n# syntax=b\n# escape=`\nFROM a", {"syntax": "b"}, "\\"),
        ("# syntax=\nFROM a", {}, "\\"),
    ],
)
def test_directives(text: str, directives: dict[str, str], escape: str) -> None:
    document = parse(text.encode())
    assert (document.directives, document.escape) == (directives, escape)


def test_an_error_points_at_its_column() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM a\nRUN x\n\tENV \xffq\nRUN y\nRUN z\nRUN beyond\n")
    assert str(caught.value) == "Dockerfile:3:6: ENV must have two arguments"
    assert caught.value.excerpt.split("\n") == [
        "   1 |     FROM a",
        "   2 |     RUN x",
        "   3 | >>>     ENV \N{REPLACEMENT CHARACTER}q",
        "     |             ^",
        "   4 |     RUN y",
        "   5 |     RUN z",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"FROM a\nRUN b\0c\n", "Dockerfile:2:6: NUL byte"),
        (b"#" * (FILE_LIMIT + 1), f"Dockerfile: longer than {FILE_LIMIT} bytes"),
        (b"FROM a\nRUN <<E\nx\n", "Dockerfile:2:5: unterminated heredoc"),
        (b"FROM a\nRUN <<'E\"\nx\n", None),
    ],
)
def test_hostile_bytes(data: bytes, problem: str | None) -> None:
    if problem is None:
        assert len(parse(data).nodes) == 3
        return
    with pytest.raises(DockerfileError) as caught:
        parse(data)
    assert str(caught.value) == problem


def test_bytes_that_are_not_utf8_are_kept() -> None:
    node = parse(b"FROM a\nENV a=\xff\n").nodes[1]
    assert node.arguments.words[1].encode("utf-8", "surrogateescape") == b"\xff"


def test_comments_before_an_instruction() -> None:
    nodes = parse(b"# syntax=x\n# no\n\n# one\n#  two \nFROM a\n# three\n#\n# four\nRUN b\n").nodes
    assert [node.comments for node in nodes] == [("one", "two"), ("four",)]


def test_heredocs_have_their_content() -> None:
    node = parse(b"FROM a\nCOPY <<-A <<'B' /\n\t1\n\tA\n\t2\nB\n").nodes[1]
    assert [(item.name, item.content, item.data, item.expand, item.chomp) for item in node.heredocs] == [
        ("A", "\t1\n", "1\n", True, True),
        ("B", "\t2\n", "\t2\n", False, False),
    ]
