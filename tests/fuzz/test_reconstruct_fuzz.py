"""Images from an enemy, told as Dockerfiles: no text of theirs leaves its instruction or comment, and soon."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.base.dockerfile.contents import Contents
from underlay.base.dockerfile.reconstruct import Reconstruction, reconstruct
from underlay.dockerfile import lint, metadata, stages
from underlay.dockerfile.instructions import expand
from underlay.dockerfile.syntax import parse
from underlay.oci.config import Config, Execution, Health, RootFS, Step

ID = f"sha256:{'0' * 64}"
EVIL = "RUN evil"
PIECES = (
    *(
        "\n",
        "\r",
        "\r\n",
        "\\",
        "\\\n",
        "`",
        '"',
        "'",
        "$",
        "${",
        "}",
        "$a",
        "#",
        "# syntax=evil",
        "# escape=`",
        " ",
        "\t",
        "\0",
    ),
    *("\x1b[2J", "\x85", "\u2028", "\u202e", "ü", "\U0001f600", "<<EOF", "<<'EOF'", "EOF", "EOF0", "\nEOF\n", EVIL),
    *(
        "[",
        "]",
        "map[",
        ":{}",
        "&{",
        "}",
        "|1 ",
        "|2 a=b ",
        "--mount=type=bind ",
        "--from=x ",
        "--network=host ",
        "a",
        "b=",
    ),
    *(
        "/bin/sh -c ",
        "/bin/sh -c #(nop) ",
        " # buildkit",
        "\\x0a",
        "\\n",
        '"]',
        "'\\x03'",
        "ONBUILD ",
        "=c",
        f"\n{EVIL}\n",
    ),
    "USER whoever-comes-next",
)
WORDS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR"
).split()
HEADS = ("", "/bin/sh -c #(nop) ", "/bin/sh -c ", "|1 a=b /bin/sh -c ", "RUN |1 a=b /bin/sh -c ", "# ARGS: a=b\n")

texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
words = st.sampled_from(WORDS).map(lambda word: f"{word} ")
steps = st.tuples(st.sampled_from(HEADS), st.one_of(words, st.just("")), texts).map("".join)
names = st.one_of(st.sampled_from(["a", "b", "PATH"]), texts)
lists = st.lists(texts, max_size=3)
executions = st.builds(
    Execution,
    user=texts,
    env=st.lists(st.tuples(names, texts).map("=".join), max_size=3),
    cmd=lists,
    entrypoint=lists,
    shell=lists,
    working_dir=texts,
    stop_signal=texts,
    labels=st.dictionaries(names, texts, max_size=3),
    exposed_ports=st.dictionaries(texts, st.just({}), max_size=2),
    volumes=st.dictionaries(texts, st.just({}), max_size=2),
    on_build=lists,
    healthcheck=st.builds(Health, test=st.lists(texts, min_size=1, max_size=3), interval=st.integers(0, 2**63)),
)


def image(told: list[str], execution: Execution | None = None, empty: bool = True) -> Config:
    history = [Step(created_by=each, empty_layer=empty) for each in told]
    return Config(RootFS([ID]), "amd64", "linux", config=execution, history=history)


def hold(found: Reconstruction) -> None:
    """Check that each line is one comment, or one instruction of the kind it is meant for."""
    text = found.text
    document = parse(text.encode())
    recipe = stages.read(document)
    lint.check(document, recipe)
    assert not document.directives and len(recipe.stages) == 1
    written = [line.text for line in found.lines if not line.text.startswith("#")]
    assert [node.keyword.upper() for node in document.nodes] == [each.partition(" ")[0] for each in written]
    assert [node.text for node in document.nodes] == [each.partition("\n")[0] for each in written]
    assert not set("\0\r\x1b\x85\u202e").intersection(text)
    for line in found.lines:
        if line.text.startswith("#"):
            assert line.text.isprintable()


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=6), executions, st.booleans(), st.lists(texts, max_size=3))
def test_histories(told: list[str], execution: Execution, extract: bool, paths: list[str]) -> None:
    held = Contents(tuple((path, 1) for path in paths), len(paths), tuple(paths))
    config = image(told, execution)
    hold(reconstruct(config, "box", 0, 0, {}, {ID: held}, extract))
    if config.history:
        config.history[-1].empty_layer = False
    hold(reconstruct(config, "box", 0, 0, {}, {ID: held}, extract))
    hold(reconstruct(config, "box", len(told) // 2, 0, None, {ID: held}, extract))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, texts, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=3))
def test_what_is_said_is_what_was_meant(labels: dict[str, str], command: list[str]) -> None:
    """Labels and commands come out as they are in the image, or not at all and with a doubt."""
    found = reconstruct(image([], Execution(labels=labels, cmd=command)), "box", 0, 0, {})
    hold(found)
    state: dict[str, Any] = {}
    for item in stages.read(parse(found.text.encode())).stages[0].instructions:
        state = metadata.apply(expand(item, lambda name: None), state)
    said = state.get("Labels") or {}
    assert said.items() <= labels.items()
    assert len(said) == len(labels) or found.doubts > 0
    assert state.get("Cmd") in (command, None)


@pytest.mark.parametrize(
    "told",
    [
        f"LABEL a=b\n{EVIL}",
        f'/bin/sh -c #(nop) LABEL a="b\n{EVIL}"',
        f"ENV a=b\\\n{EVIL}",
        f"COPY <<EOF /x\n{EVIL}\nEOF # buildkit",
        f"RUN /bin/sh -c <<EOF\nEOF\n{EVIL} # buildkit",
        f"RUN <<EOF\nx\nEOF\n{EVIL}",
        f"CMD x\\\n{EVIL}",
        "CMD x \\",
        f"nothing\n{EVIL}",
        f"MAINTAINER x\r\n{EVIL}",
        f"ONBUILD RUN x\n{EVIL}",
        f"HEALTHCHECK CMD x\n{EVIL}",
        "# escape=`",
        "# syntax=evil/frontend",
    ],
)
def test_nothing_breaks_out(told: str) -> None:
    found = reconstruct(image([told, "USER next"]), "box", 0, 0, {})
    hold(found)
    assert "USER next" in [line.text for line in found.lines]
    nodes = parse(found.text.encode()).nodes
    assert EVIL not in [node.text for node in nodes]


MIB = 1 << 20


@pytest.mark.parametrize(
    "told",
    [
        "LABEL a=" + "b" * MIB,
        "ENV " + "a=b " * (MIB // 4),
        "ENV " + " " * MIB + "=",
        "ARG " + "a " * (MIB // 2),
        "|9999 " + "a=b " * (MIB // 4),
        "|9999 " + "a=b " * (MIB // 4) + "/bin/sh -c x",
        "RUN /bin/sh" + " -a" * (MIB // 3),
        "/bin/sh -c " + "\n" * MIB,
        "/bin/sh -c " + "EOF\n" * (MIB // 4),
        "/bin/sh -c " + "".join(f"EOF{number}\n" for number in range(MIB // 10)),
        "CMD [" + '"a" ' * (MIB // 4) + "]",
        "CMD " + "[" * MIB,
        "VOLUME [" + "/a " * (MIB // 3) + "]",
        "EXPOSE map[" + "1:{} " * (MIB // 5) + "]",
        'HEALTHCHECK &{["' + "\\" * MIB + '"]',
        "COPY " + "--a " * (MIB // 4) + "b",
        "\\" * MIB,
        "\n" * MIB,
    ],
    ids=range(18),
)
@pytest.mark.timeout(60)  # none takes a tenth of that, unless its cost grows with the square of its size
def test_size_is_no_trouble(told: str) -> None:
    many = {f"n{number}": "v" for number in range(100)}
    execution = Execution(env=[f"{name}=v" for name in many], labels=many, cmd=["x" * MIB], volumes={"/a": {}})
    found = reconstruct(image([told] * 3, execution), "box", 0, 0, {})
    hold(found)
    assert found.lines


@pytest.mark.timeout(60)  # none takes a tenth of that, unless its cost grows with the square of its size
def test_many_names_are_no_trouble() -> None:
    many = {f"n{number}": "v" for number in range(2000)}
    told = "ENV " + " ".join(f"{name}=v" for name in many)
    found = reconstruct(image([told], Execution(env=[f"{name}=v" for name in many], labels=many)), "box", 0, 0, {})
    hold(found)
    assert all(f"{name}=" in found.text for name in many)
