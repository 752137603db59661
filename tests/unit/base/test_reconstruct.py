"""Dockerfiles reconstructed from configurations: what steps become, what layers hold, what is in doubt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engines import SHARED
from underlay.base.dockerfile.config_replay import Following
from underlay.base.dockerfile.contents import Contents, contents, is_removal
from underlay.base.dockerfile.reconstruct import Reconstruction, reached, reconstruct
from underlay.dockerfile import lint, stages
from underlay.dockerfile.syntax import parse
from underlay.oci.config import Config, Execution, Health, RootFS, Step
from underlay.store.layers import toc

NOP = "/bin/sh -c #(nop) "
IDS = [f"sha256:{number:064x}" for number in range(20)]
HELD = Contents((("/etc/a", 5), ("/etc/b", 7000)), 3)


def image(steps: Sequence[str | tuple[str, str]], layers: int = 0, **members: Any) -> Config:
    """An image of these steps; those in a pair with "+" have a layer."""
    history = [
        Step(created_by=each if isinstance(each, str) else each[0], empty_layer=isinstance(each, str)) for each in steps
    ]
    count = max(layers, sum(not isinstance(each, str) for each in steps))
    return Config(RootFS(IDS[:count]), "amd64", "linux", config=Execution(**members), history=history)


def made(config: Config, **options: Any) -> Reconstruction:
    found = reconstruct(config, "box", 0, 0, options.pop("inherited", {}), **options)
    checked(found.text)
    return found


def checked(text: str) -> list[str]:
    """Return the keywords of a Dockerfile, which our parser and checks take."""
    document = parse(text.encode())
    recipe = stages.read(document)
    lint.check(document, recipe)
    assert not document.directives
    return [node.keyword for node in document.nodes]


def test_steps_become_lines() -> None:
    config = image(
        [
            NOP + " ENV A=1",
            ("/bin/sh -c make", "+"),
            (f"{NOP}COPY file:{'a' * 64} in /etc ", "+"),
            NOP + ' CMD ["a"]',
        ],
        env=["A=1"],
        cmd=["a"],
    )
    found = made(config, held={IDS[1]: HELD})
    assert found.text == (
        "FROM box\n"
        "ENV A=1\n"
        "RUN make\n"
        "# 7kB in 2 files: /etc/b (7kB), /etc/a (5B)\n"
        "# in doubt: the names of its sources are lost\n"
        "COPY file /etc\n"
        'CMD ["a"]\n'
    )
    assert (found.doubts, found.lines[2].layer, found.layers) == (1, IDS[0], {})


def test_what_was_copied_is_put_there() -> None:
    config = image(
        [("/bin/sh -c make", "+"), (f"{NOP}COPY file:{'a' * 64} in /etc ", "+"), ("COPY x /y # buildkit", "+")]
    )
    found = made(config, held={IDS[0]: HELD, IDS[1]: HELD, IDS[2]: Contents((), 0)}, extract=True)
    assert found.layers == {"layer-1.tar": IDS[1]}
    assert [line.text for line in found.lines] == [
        "FROM box",
        "RUN make",
        "ADD layer-1.tar /",
        "# COPY x /y (an empty layer)",
    ]
    assert found.doubts == 0
    frozen = made(config, held={IDS[0]: HELD, IDS[1]: HELD, IDS[2]: HELD}, frozen=True)
    assert frozen.layers == {f"layer-{number + 1}.tar": IDS[number] for number in range(3)}


def test_what_cannot_be_repeated_is_put_there() -> None:
    config = image([("RUN /bin/sh -c /dev/pipes/EOF # buildkit", "+")])
    (line,) = made(config, held={IDS[0]: HELD}, extract=True).lines[1:]
    assert line.text == "ADD layer-1.tar /"
    assert line.doubt.endswith("so its files are put there")


def test_what_layers_take_away() -> None:
    gone = Contents((), 2, ("/a", "/b c"))
    config = image([NOP + "USER alice", ("COPY x /y # buildkit", "+")], user="alice")
    found = made(config, held={IDS[0]: gone}, extract=True)
    assert [line.text for line in found.lines[2:]] == [
        "USER root",
        'RUN ["rm","-rf","--","/a","/b c"]',
        "USER alice",
        "ADD layer-1.tar /",
    ]
    many = Contents((), 0, tuple(f"/{'d' * 200}{number}" for number in range(1000)))
    found = made(image([("x", "+")]), held={IDS[0]: many}, extract=True)
    assert len(found.lines) > 10


@pytest.mark.parametrize(
    ("steps", "layers", "texts"),
    [
        # buildah makes one layer of all
        ([NOP + "COPY dir:x in /", "/bin/sh -c a", (NOP + "CMD b", "+")], 1, ["#", "#", "CMD b", "ADD layer-1.tar /"]),
        (["COPY a /b", "RUN c", ("RUN d", "+")], 1, ["#", "#", "ADD layer-1.tar /"]),
        (["RUN c", ("RUN d", "+")], 1, ["RUN c", "RUN d"]),
        (["RUN c", ("WORKDIR /d", "+")], 1, ["RUN c", "ADD layer-1.tar /", "WORKDIR /d"]),
        (["COPY c /d", ("WORKDIR /d", "+")], 1, ["#", "WORKDIR /d", "ADD layer-1.tar /"]),
        # docker --squash, docker commit, tools without history
        (["COPY c /d", ("", "+")], 1, ["#", "ADD layer-1.tar /"]),
        (["RUN c"], 1, ["#", "ADD layer-1.tar /"]),
        ([("/bin/bash", "+")], 1, ["ADD layer-1.tar /"]),
        ([], 2, ["ADD layer-1.tar /", "ADD layer-2.tar /"]),
        ([("RUN a", "+")], 2, ["RUN a", "ADD layer-1.tar /"]),
    ],
)
def test_layers_that_stand_for_several_steps(steps: list[Any], layers: int, texts: list[str]) -> None:
    config = image(steps, layers)
    found = made(config, held=dict.fromkeys(IDS, HELD), extract=True)
    said = [line.text if not line.text.startswith("#") else "#" for line in found.lines[1:]]
    assert [each for each in said if each not in ("WORKDIR /", "CMD []")] == texts


def test_arguments_are_declared_with_what_they_were() -> None:
    config = image(["ARG a=1", "ARG b", ("|3 a=2 b=3 c=4 /bin/sh -c x", "+"), ("|3 a=2 b=3 c=4 /bin/sh -c y", "+")])
    found = made(config)
    assert found.text == (
        "FROM box\nARG a=2\nARG b=3\n# in doubt: it was given at build, and no step declares it\nARG c=4\nRUN x\nRUN y\n"
    )


def test_arguments_are_told_from_variables() -> None:
    config = image(["ENV a=1", "ARG a=2", ("|1 a=1 /bin/sh -c x", "+")], env=["a=1"])
    assert made(config).text == "FROM box\nENV a=1\nARG a=2\nRUN x\n"


def test_what_no_step_says() -> None:
    config = image(
        ["ENV A=1", "CMD x"],
        env=["A=2", "B=3"],
        labels={"l": "m n"},
        user="u",
        working_dir="/w",
        stop_signal="SIGINT",
        entrypoint=["e"],
        cmd=["c"],
        shell=["/bin/x", "-c"],
        exposed_ports={"80/tcp": {}},
        volumes={"/v": {}},
        healthcheck=Health(["CMD", "h"], interval=1_500_000_000, retries=2),
        on_build=["RUN x"],
    )
    found = made(config)
    unsaid = "# in doubt: the configuration has it, but no step sets it\n"
    assert found.text == (
        "FROM box\nENV A=1\nCMD x\n"
        + "".join(
            f"{unsaid}{line}\n"
            for line in (
                "ENV A=2",
                "ENV B=3",
                'LABEL l="m n"',
                "USER u",
                "WORKDIR /w",
                "STOPSIGNAL SIGINT",
                'ENTRYPOINT ["e"]',
                'CMD ["c"]',
                'SHELL ["/bin/x","-c"]',
                "EXPOSE 80/tcp",
                'VOLUME ["/v"]',
                'HEALTHCHECK --interval=1.5s --retries=2 CMD ["h"]',
            )
        )
        + "ONBUILD RUN x\n"
    )


def test_what_the_base_has_and_the_image_has_not() -> None:
    inherited = {
        "Env": ["A=1"],
        "Labels": {"l": "m"},
        "User": "u",
        "WorkingDir": "/w",
        "Cmd": ["c"],
        "Entrypoint": ["e"],
        "Shell": ["/bin/x", "-c"],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "Healthcheck": {"Test": ["CMD", "x"]},
        "StopSignal": "9",
    }
    found = made(image([]), inherited=inherited)
    texts = [line.text for line in found.lines[1:]]
    assert texts == [
        "# ENV A is not there any more",
        "# LABEL l is not there any more",
        "USER root",
        "WORKDIR /",
        "# STOPSIGNAL",
        "ENTRYPOINT []",
        'SHELL ["/bin/sh","-c"]',
        "# EXPOSE 80/tcp is not there any more",
        "# VOLUME /v is not there any more",
        "HEALTHCHECK NONE",
    ]


def test_a_base_that_has_triggers() -> None:
    found = made(image(["ENV t=1"], env=["t=1", "A=1"]), inherited={"Env": ["A=1"], "OnBuild": ["ENV t=1"]})
    assert [line.text for line in found.lines] == ["FROM scratch", "COPY --from=box / /", "ENV A=1", "ENV t=1"]
    assert found.doubts == 1


def test_a_base_that_is_not_here() -> None:
    config = image(["ENV A=1", "USER u", ("RUN x", "+")], env=["A=1"], user="u")
    found = reconstruct(config, "box", 2, 0)
    assert found.text == "FROM box\nRUN x\n"
    assert reached(config, 2)["User"] == "u"


def test_a_base_with_another_history() -> None:
    config = image([("RUN base", "+"), "ENV A=1", ("RUN base 2", "+"), "ENV B=1", ("RUN own", "+")], env=["A=1", "B=1"])
    found = reconstruct(config, "box", 0, 2, {"Env": ["A=1"]})
    assert [line.text for line in found.lines] == ["FROM box", "ENV B=1", "RUN own"]
    assert found.lines[2].layer == IDS[2]


def test_what_a_builder_would_not_take() -> None:
    found = made(image(["STOPSIGNAL nonsense", "EXPOSE nonsense"]))
    assert [line.text for line in found.lines[1:]] == ["# STOPSIGNAL nonsense", "# EXPOSE nonsense"]
    assert found.doubts == 2


def test_the_builder_of_old_and_volumes() -> None:
    steps: list[Any] = [NOP + "VOLUME [/v]", ("/bin/sh -c echo > /v/x", "+")]
    assert "classic builder has dropped" in made(image(steps, volumes={"/v": {}})).text
    steps = ["VOLUME [/v]", ("RUN /bin/sh -c echo > /v/x # buildkit", "+")]
    assert made(image(steps, volumes={"/v": {}})).doubts == 0


def test_too_much_to_say() -> None:
    found = made(image([("/bin/sh -c " + f"{number}" * 60_000, "+") for number in range(10)] * 2 + ["x"]))
    assert len(found.text) < 8 << 20


def test_following_expands_as_a_build_does() -> None:
    following = Following(image([], env=["A=1"]))
    following.begin({"Cmd": ["c"], "WorkingDir": "/w"})
    for text in ("ARG x=2", "ENV A=$x", "WORKDIR d/$A", "ENTRYPOINT e"):
        assert following.follow(text, text.partition(" ")[0]) == ""
    assert following.state["WorkingDir"] == "/w/d/2"
    assert following.state["Entrypoint"] == ["/bin/sh", "-c", "e"]
    assert "Cmd" not in following.state
    assert following.follow("RUN a\nRUN b", "RUN") != ""
    assert following.follow("STOPSIGNAL none", "STOPSIGNAL") != ""


def test_contents_of_layers() -> None:
    def entry(name: bytes, kind: int = toc.REGULAR, size: int = 0) -> toc.Entry:
        return toc.Entry(name, kind, 0o644, 0, 0, size, 0, 0)

    entries = [
        entry(b"./", toc.DIRECTORY),
        entry(b"d/", toc.DIRECTORY),
        entry(b"d/f", size=3),
        entry(b"d/.wh.gone"),
        entry(b"o/.wh..wh..opq"),
        entry(b"\xff\n"),
    ]
    found = contents(entries)
    assert found == Contents((("/d/f", 3), ("/\ufffd\n", 0)), 3, ("/d/gone", "/o"))
    assert [is_removal(each) for each in entries] == [False, False, False, True, True, False]
    assert found.text == "3B in 2 files: /d/f (3B), /\ufffd\n (0B); takes away /d/gone, /o"
    assert Contents((), 1).text == "1 directory or link"
    assert Contents((), 0).text == "an empty layer"
    assert Contents((), 2, tuple("abcdefg")).text == "2 directories or links; takes away a, b, c, d, e, and 2 more"


# Real histories


def records(name: str) -> list[dict[str, Any]]:
    path: Path = SHARED / "corpus" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", ["official-dev.jsonl", "official-2026-dev.jsonl"])
def test_each_step_of_official_images_becomes_an_instruction(name: str) -> None:
    steps = lost = doubts = 0
    seen: set[str] = set()
    for record in records(name):
        told = [each for each in record["history"] if each not in seen]
        seen.update(told)
        if not told:
            continue
        config = image([each.removesuffix("…") for each in told], cmd=record["cmd"])
        config.config = None  # the record has it in part
        found = reconstruct(config, "scratch", 0, 0)
        keywords = checked(found.text)
        lines = found.lines[1 : len(told) + 1]
        said = [each.partition(" ")[0] for each in told]
        unsaid = [
            line.text for line, word in zip(lines, said, strict=False) if line.text.startswith("#") and word != "#"
        ]
        assert unsaid == [], unsaid
        assert len(keywords) >= len(told)
        steps += len(told)
        lost += sum("sources are lost" in line.doubt for line in lines)
        doubts += sum(bool(line.doubt) for line in lines)
    print(f"{name}: {steps} steps, {doubts} in doubt, {lost} of these COPY and ADD without the names of sources")
    assert doubts - lost < steps * 0.1
