"""Dockerfiles from an enemy: nothing but DockerfileError comes out, and soon."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerfiles import BAD, GOOD
from underlay.dockerfile import lint, metadata, stages
from underlay.dockerfile.instructions import expand
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.syntax import parse

_LINES = [line for text in (*GOOD.values(), *BAD.values()) if len(text) < 1000 for line in text.split("\n")]


def build(data: bytes) -> bool:
    """Do all that can be done with a Dockerfile without building it; tell whether it is one."""
    try:
        document = parse(data)
        recipe = stages.read(document)
        lint.check(document, recipe)
        for stage in recipe.stages[:10]:
            execution: metadata.Execution = {}
            for item in stage.instructions:
                execution = metadata.apply(expand(item, {"a": "x y", "b": ""}.get, document.escape), execution)
    except DockerfileError:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    build(b"FROM a\nRUN " + data)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(_LINES), max_size=12), st.binary(max_size=3), st.integers(0, 200))
def test_lines_of_others(lines: list[str], noise: bytes, place: int) -> None:
    data = "\n".join(("FROM scratch", *lines)).encode()
    build(data[:place] + noise + data[place:])


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (b"FROM a\nRUN " + b"x" * (7 << 20), False),
        (b"".join(b"FROM a AS s%d\n" % number for number in range(100_000)), True),
        (b"FROM a\n" + b"RUN --mount=type=cache,target=/x echo hi\nENV a=$b c=d\n" * 20_000, True),
        (b"FROM a\n" + b"RUN <<E\n" * 100_000, False),
        (b"FROM a\nRUN " + b"<<E " * 10_000 + b"\n" + b"E\n" * 10_000, True),
        (b"FROM a\nRUN x \\", True),
        (b"FROM a\nCOPY " + (b" a" * 4000 + b"\\\n") * 400 + b"\n", True),
        (b"FROM a\nENV a=" + (b"'\"" * 4000 + b"\\\n") * 150 + b"\n", False),
        (b"FROM a\nENV a=" + (b"$a" * 4000 + b"\\\n") * 150 + b"\n", False),
        (b"FROM a\nENV a=" + b"${a:-" * 10_000 + b"\n", False),
        (b"FROM a\nRUN " + b"[" * 60_000 + b"\n", False),
        (b"# a\n" * 500_000 + b"FROM a\n", True),
        (b"\n" * (7 << 20) + b"FROM a\n", True),
        (b"FROM a\n" + b"ONBUILD " * 8000 + b"\n", False),
    ],
    ids=range(14),
)
@pytest.mark.timeout(60)  # none takes a tenth of that, unless its cost grows with the square of its size
def test_size_is_no_trouble(data: bytes, good: bool) -> None:
    assert build(data) is good
