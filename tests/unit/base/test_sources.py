"""Bases known from their Dockerfiles."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from underlay.base.identify import answers, image, lineage
from underlay.base.identify.marks import sources
from underlay.base.index import dockerfiles, index_builder, known
from underlay.errors import Corrupt, InvalidInput

EMPTY = known.Known(index_builder.make([]))
DOCKERFILE = b"""\
ARG RELEASE=trixie
FROM debian:${RELEASE}-slim AS ground
# what all of ours have
RUN set -eux; \\
    apt-get update; \\
    # a comment in between
    apt-get install -y --no-install-recommends ca-certificates our-tools
FROM ground
ARG LEVEL=7
ENV OUR_LEVEL=$LEVEL OUR_NAME="base of ours"
COPY --chmod=755 start /usr/bin/start
EXPOSE 8080
CMD ["start", "--all"]
"""
# As BuildKit writes the history of that.
BUILT = [
    "RUN # debian.sh --arch 'amd64' out/ 'trixie' '@1785715200'",
    "RUN /bin/sh -c set -eux;     apt-get update;     apt-get install -y --no-install-recommends ca-certificates our-tools "
    "# buildkit",
    "ARG LEVEL=7",
    "ENV OUR_LEVEL=7 OUR_NAME=base of ours",
    "COPY --chmod=755 start /usr/bin/start # buildkit",
    "EXPOSE map[8080/tcp:{}]",
    'CMD ["start" "--all"]',
]
APP = ["WORKDIR /shop", "COPY shop /shop # buildkit", "RUN /bin/sh -c make # buildkit", 'CMD ["shop"]']


def store(path: Path) -> Any:
    return SimpleNamespace(paths=SimpleNamespace(root=str(path / "root")))


def asked(steps: list[str], given: sources.Sources | None) -> answers.LineageReport:
    return lineage.identify(image.from_record({"history": steps}), EMPTY, sources=given)


def test_an_own_base_is_known_by_its_dockerfile(tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    (folder / "7" / "slim").mkdir(parents=True)
    (folder / "7" / "slim" / "Dockerfile").write_bytes(DOCKERFILE)
    assert asked([*BUILT, *APP], None).candidates[0].name != "registry.example/bases:7-slim"
    assert dockerfiles.add(store(tmp_path), str(folder), "registry.example/bases") == (1, [])
    given = sources.Sources(sources.load(str(tmp_path / "root/bases" / sources.FILE)))
    report = asked([*BUILT, *APP], given)
    first = report.candidates[0]
    assert (first.name, first.history, first.config_digest) == ("registry.example/bases:7-slim", len(BUILT), None)
    assert first.chance >= 0.8
    assert report.chain_names == ["registry.example/bases:7-slim", "debian:trixie", "scratch"]
    assert report.standing == answers.BETWEEN


def test_steps_are_hashed_alike() -> None:
    """What a Dockerfile says and what builders keep of it: every step of that file is found in the history."""
    source = dockerfiles.read(DOCKERFILE, "Dockerfile", "ours:7")
    assert source.base == "debian:trixie-slim"
    from underlay.base.identify import history

    assert [step for _, step in source.steps] == [sources.of_history(history.normal(text)) for text in BUILT[1:]]


def test_what_only_looks_alike_is_another() -> None:
    given = sources.Sources([dockerfiles.read(DOCKERFILE, "Dockerfile", "ours:7")])
    other = [BUILT[0], BUILT[1].replace("our-tools", "other-tools"), *BUILT[2:]]
    other[4] = "COPY other /usr/bin/other # buildkit"
    assert asked([*other, *APP], given).candidates[0].name != "ours:7"
    assert not given.follow(["ADD x in /"], 1)


def test_a_step_that_all_have_tells_nothing() -> None:
    one = dockerfiles.read(b'FROM x\nCOPY entry /\nCMD ["a"]\n', "f", "one:1")
    two = dockerfiles.read(b'FROM x\nCOPY entry /\nCMD ["b"]\n', "f", "two:1")
    given = sources.Sources([one, two])
    assert not given.follow(["ADD x in /", "COPY entry / # buildkit", 'CMD ["c"]', *APP], 1)


def test_names_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "Web"
    for name in (
        "Dockerfile",
        "alpine/Dockerfile",
        "Dockerfile.debug",
        "x/small.Dockerfile",
        ".git/Dockerfile",
        "notes",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"FROM scratch\nCOPY a /\n")
    (folder / "link").mkdir()
    (folder / "link" / "Dockerfile").symlink_to("/etc/hostname")
    count, problems = dockerfiles.add(store(tmp_path), str(folder))
    assert count == 4 and len(problems) == 1 and problems[0].startswith("link/Dockerfile")
    found = sorted(each.names[0] for each in sources.load(str(tmp_path / "root/bases/dockerfiles.sources")))
    assert found == ["web:alpine", "web:debug", "web:latest", "web:x-small"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a directory"):
        dockerfiles.add(store(tmp_path), str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="no Dockerfile"):
        dockerfiles.add(store(tmp_path), str(tmp_path))
    (tmp_path / "Dockerfile").write_bytes(b"FROM x\nNONSENSE\n")
    count, problems = dockerfiles.add(store(tmp_path), str(tmp_path), "ours")
    assert count == 0 and "NONSENSE" in problems[0]
    (tmp_path / "broken").write_bytes(b"no such thing")
    with pytest.raises(Corrupt):
        sources.load(str(tmp_path / "broken"))


def test_official_sources_come_with_the_code() -> None:
    assert len(sources.official()) > 300
