"""Instructions and stages: what they hold, what is refused, which fields are expanded."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.dockerfile.instructions import Command, Copy, Run, expand
from underlay.dockerfile.mounts import Device, Mount
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.scope import declared, global_arguments, platform_arguments
from underlay.dockerfile.stages import expand_from, parse_triggers, read
from underlay.dockerfile.syntax import parse

VALUES = {"A": "x", "W": "a b", "N": "5"}


def one(text: str, get: Any = None) -> Any:
    document = parse(f"FROM a\n{text}\n".encode())
    (item,) = read(document).stages[0].instructions
    return item if get is None else expand(item, get, document.escape)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ENV $A=$W b='$A'", {"variables": (("x", "a b"), ("b", "$A")), "legacy": False}),
        ("ENV a $W  \"c\"", {"variables": (("a", "a b  c"),), "legacy": True}),
        ("LABEL a=$A", {"labels": (("a", "x"),)}),
        ("ARG a=$A b c=", {"arguments": (("a", "x"), ("b", None), ("c", ""))}),
        ("EXPOSE 9 $W 1", {"ports": ("a", "b", "1", "9")}),
        ("VOLUME $A /b", {"paths": ("x", "/b")}),
        ("USER $A:$N", {"user": "x:5"}),
        ("WORKDIR /$A b", {"path": "/x b"}),
        ("STOPSIGNAL $N", {"signal": "5"}),
        ("MAINTAINER $A", {"author": "$A"}),
        ("CMD echo $A", {"command": Command(True, ("echo $A",))}),
        ('ENTRYPOINT ["$A"]', {"command": Command(False, ("$A",))}),
        ("RUN echo $A", {"command": Command(True, ("echo $A",)), "network": "default", "security": "sandbox"}),
        ("RUN --network=HOST --security=insecure x", {"network": "host", "security": "insecure"}),
        ("RUN --device=$A --device=name=y,required x", {"devices": (Device("x"), Device("y", True))}),
        ("ONBUILD RUN $A", {"trigger": "RUN $A"}),
        ("ONBUILD RUN <<-E\n\ta\n\tE", {"trigger": "RUN <<-E\n\ta\nE"}),
        ("COPY --from=$A --chown=$N --chmod=$N --link --parents --exclude=$A --exclude=b $A c $W", {
            "from_": "$A", "chown": "5", "chmod": "5", "link": True, "parents": True, "exclude": ("x", "b"),
            "sources": ("x", "c"), "destination": "a b"}),
        ("ADD --checksum=$A --keep-git-dir=false a b", {"checksum": "x", "keep_git_dir": False, "unpack": None}),
        ("ADD --unpack a b", {"unpack": True, "keep_git_dir": None, "link": False}),
        ("HEALTHCHECK --retries=2 cmd a  b", {"test": ("CMD-SHELL", "a  b"), "retries": 2, "interval": 0}),
        ("RUN <<E\na $A\nE", {"command": Command(True, ("a $A\n",)), "script": None, "text": "RUN <<E (a $A)"}),
        ("run <<-E\n\ta\n\tb\nE", {"command": Command(True, ("a\nb\n",)), "text": "RUN <<-E (a...)"}),
        ("RUN cat <<-E | x\n\ta\n\tE", {"command": Command(True, ("cat <<-E | x\n\ta\nE",))}),
        ("RUN <<E\n#!/bin/x\nE", {"command": Command(True, ("/dev/pipes/E",))}),
    ],
)  # fmt: skip
def test_fields(text: str, fields: dict[str, Any]) -> None:
    item = one(text, VALUES.get)
    assert {name: getattr(item, name) for name in fields} == fields


def test_heredocs_as_sources() -> None:
    item = one("COPY <<A <<-'B' c /d\n$A \"q\" \\$N\nA\n\t$A\n\tB", VALUES.get)
    assert isinstance(item, Copy) and item.sources == ("c",)
    assert [(heredoc.name, heredoc.data) for heredoc in item.heredocs] == [("A", 'x "q" $N\n'), ("B", "$A\n")]


def test_a_script_is_kept() -> None:
    item = one("RUN <<-E\n#!/bin/x\n\ta\nE")
    assert isinstance(item, Run) and item.script is not None
    assert item.script.data == "#!/bin/x\na\n"


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/$A,src=y", Mount(target="/x", source="y")),
        ("type=bind,rw,from=s,dst=/x", Mount(target="/x", from_="s", read_only=False)),
        ("type=bind,target=/x,readonly=false", Mount(target="/x", read_only=False)),
        ("type=cache,target=/x/", Mount("cache", "/x/", id="/x", sharing="shared", read_only=False)),
        (
            "type=CACHE,id=$A,target=/y,sharing=Locked,mode=0755,uid=$N,gid=6,ro",
            Mount("cache", "/y", id="x", sharing="locked", mode=0o755, uid=5, gid=6),
        ),
        ("type=tmpfs,target=/x,size=1m", Mount("tmpfs", "/x", size=1 << 20, read_only=False)),
        ("type=secret,id=a/b", Mount("secret", "/run/secrets/b", id="a/b", mode=0o400, uid=0, gid=0)),
        ("type=secret,target=/x/y,required", Mount("secret", "/x/y", id="y", mode=0o400, uid=0, gid=0, required=True)),
        ("type=secret,id=a,env=B", Mount("secret", "", id="a", mode=0o400, uid=0, gid=0, env="B")),
        ("type=ssh", Mount("ssh", id="default", mode=0o600, uid=0, gid=0)),
    ],
)
def test_mounts(text: str, mount: Mount) -> None:
    assert one(f"RUN --mount={text} x", VALUES.get).mounts == (mount,)


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("RNU x", "unknown instruction: RNU", "did you mean RUN?"),
        ("COPY --form=a b c", "unknown flag: --form", "did you mean --from?"),
        ("COPY --link=x b c", "expecting boolean value for flag --link, not: x", ""),
        ("COPY --link= b c", "missing a value on flag: --link", ""),
        ("COPY --chown b c", "missing a value on flag: --chown", ""),
        ("COPY --chown=a --chown=b b c", "duplicate flag specified: --chown", ""),
        ("COPY a", "COPY requires at least two arguments", ""),
        ("ADD a <<E\nE", "ADD cannot accept a heredoc as a destination", ""),
        ("USER", "USER requires exactly one argument", ""),
        ("ENV", "ENV requires at least one argument", ""),
        ("ENV =a", "ENV names can not be blank", ""),
        ("ARG =a", "ARG names can not be blank", ""),
        ("VOLUME [\" \"]", "VOLUME specified can not be an empty string", ""),
        ("SHELL a", "SHELL requires the arguments to be in JSON form", None),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", ""),
        ("HEALTHCHECK FOO x", 'Unknown type "FOO" in HEALTHCHECK', ""),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", ""),
        ("HEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms", ""),
        ("HEALTHCHECK --interval=x CMD x", "invalid duration", None),
        ("HEALTHCHECK --retries=-1 CMD x", "cannot be negative", ""),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD", ""),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger", ""),
        ("RUN --network=x y", "invalid network mode", None),
        ("RUN --security=x y", "is not valid", None),
        ("RUN --mount=from=$A y", "'from' doesn't support variable expansion", ""),
        ("RUN --mount=type=nope y", "unsupported mount type", ""),
        ("RUN --mount=type=cache,sharing=lockd y", "unsupported sharing value", "did you mean locked?"),
        ("RUN --mount=tpye=cache y", "unexpected key 'tpye'", "did you mean type?"),
        ("RUN --mount=target y", "must be a key=value pair", None),
        ("RUN --mount=size=1 y", "unexpected key 'size' for mount type 'bind'", ""),
        ("RUN --mount=mode=1,target=/x y", "mode not allowed", ""),
        ("RUN --mount=type=cache,mode=9 y", "invalid value 9 for mode", ""),
        ("RUN --mount=type=secret y", "invalid secret mount", ""),
        ("RUN --mount=type=secret,id=a,source=b y", "both source and id can't be set", ""),
        ("RUN --mount=type=secret,id=a,from=b y", "should not have a from", ""),
        ("RUN --mount=sharing=shared y", "invalid cache sharing", ""),
        ("USER ${x", "failed to process \"${x\": syntax error: missing '}'", ""),
    ],
)  # fmt: skip
def test_refused(text: str, problem: str, hint: str | None) -> None:
    with pytest.raises(DockerfileError) as caught:
        one(text, VALUES.get)
    assert problem in caught.value.problem
    assert caught.value.line == 2 and caught.value.column >= 1
    assert hint is None or caught.value.hint == hint


def test_stages() -> None:
    recipe = read(
        parse(b"ARG V=1 W\nFROM --platform=$P a:$V AS Base\nRUN x\nFROM base\nFROM c as base\nCOPY --from=0 a b\n")
    )
    assert [(stage.name, stage.label, stage.base, len(stage.instructions)) for stage in recipe.stages] == [
        ("base", "base", "a:$V", 1),
        ("", "stage-1", "base", 0),
        ("base", "base", "c", 1),
    ]
    assert recipe.arguments[0].arguments == (("V", "1"), ("W", None))
    found = [recipe.named("BASE"), recipe.named("base", 2), recipe.named("base", 0), recipe.named("")]
    assert [stage and stage.index for stage in found] == [2, 0, None, None]
    assert [recipe.target(name).index for name in ("", "base", "1")] == [2, 2, 1]
    with pytest.raises(DockerfileError, match="could not be found") as caught:
        recipe.target("bsae")
    assert caught.value.hint == "did you mean base?"
    assert expand_from(recipe.stages[0], {"V": "2", "P": "linux/arm64"}.get) == ("a:2", "linux/arm64")
    with pytest.raises(DockerfileError, match="empty platform value"):
        expand_from(recipe.stages[0], {}.get)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("RUN x\nFROM a\n", "1:1: no build stage in current context"),
        ("ARG a\n", "no stages to build"),
        ("FROM a b\n", "FROM requires either one or three arguments"),
        ("FROM a in b\n", "FROM requires either one or three arguments"),
        ("FROM a AS 1b\n", "1:11: invalid name for build stage"),
        ("FROM --plattform=x a\n", "unknown flag: --plattform"),
    ],
)
def test_no_stages(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError, match=problem):
        read(parse(text.encode()))


def test_variables_of_from_lines() -> None:
    recipe = read(parse(b"ARG A=$TARGETARCH\nARG B=$A-$C\nARG C=3\nFROM a\nARG A B=$C-$D D\nARG C\n"))
    outer = global_arguments(recipe, {"C": "9", "X": "no"}, platform_arguments("linux/amd64", "linux/arm/v7"))
    assert {name: outer[name] for name in ("A", "B", "C", "TARGETVARIANT", "BUILDOS")} == {
        "A": "arm", "B": "arm-", "C": "9", "TARGETVARIANT": "v7", "BUILDOS": "linux"}  # fmt: skip
    assert "X" not in outer
    first: Any = recipe.stages[0].instructions[0]
    unset: set[str] = set()
    assert declared(first, {}, outer, {"C": "env"}.get, unset=unset) == [("A", "arm"), ("B", "env-"), ("D", None)]
    assert unset == {"D"}
    assert declared(first, {"B": "given"}, {}, {}.get) == [("A", None), ("B", "given"), ("D", None)]


def test_triggers() -> None:
    found: list[Any] = parse_triggers(["RUN <<E\na\nE", "copy a b"])
    assert [item.text for item in found] == ["RUN <<E (a)", "COPY a b"]
    for bad in ("RUN a\nRUN b", "FROM x", "NOPE"):
        with pytest.raises(DockerfileError, match=r"^ONBUILD:"):
            parse_triggers([bad])
