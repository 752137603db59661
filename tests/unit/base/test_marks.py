"""Bases that no index knows, told by their marks: variables, commands, ends of Dockerfiles."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.base.identify import answers, image, lineage
from underlay.base.identify.marks import spelling, variables
from underlay.base.index import index_builder, known

EMPTY = known.Known(index_builder.make([]))
DEBIAN = ["RUN # debian.sh --arch 'amd64' out/ 'trixie' '@1785715200'"]
ALPINE = ["ADD alpine-minirootfs-3.22.1-x86_64.tar.gz / # buildkit", 'CMD ["/bin/sh"]']
PYTHON = [
    "ENV PYTHON_VERSION=3.13.14",
    'RUN set -eux; wget -O python.tar.xz "https://host.example/Python-$PYTHON_VERSION.tar.xz"; make install # buildkit',
    'CMD ["python3"]',
]
CADDY = [
    "RUN apk add --no-cache ca-certificates # buildkit",
    "ENV CADDY_VERSION=v2.10.2",
    "RUN set -eux; wget -O /tmp/caddy.tar.gz https://host.example/caddy_2.10.2.tar.gz # buildkit",
    'CMD ["caddy" "run"]',
]
FROBNICATOR = [
    "ENV FROBNICATOR_VERSION=4.2.0",
    "RUN curl -fsSL https://host.example/frobnicator-$FROBNICATOR_VERSION.tar.gz | tar xz # buildkit",
    'ENTRYPOINT ["frobnicator"]',
    'CMD ["serve"]',
]
APP = ["WORKDIR /app", "COPY . . # buildkit", "RUN make # buildkit", 'CMD ["./main"]']


def asked(*parts: list[str], index: known.Known = EMPTY, **more: Any) -> answers.LineageReport:
    steps = [step for part in parts for step in part]
    layers = [[f"sha256:{n:064x}", 29_000_000] for n, step in enumerate(steps) if step[:3] in ("RUN", "COP", "ADD")]
    return lineage.identify(image.from_record({"history": steps, "layers": layers, **more}), index)


@pytest.mark.parametrize(
    ("ground", "own", "name", "beneath"),
    [
        (DEBIAN, PYTHON, "python:3.13-slim", "debian:trixie-slim"),
        (ALPINE, PYTHON, "python:3.13-alpine", "alpine:3.22"),
        (ALPINE, CADDY, "caddy:2.10", "alpine:3.22"),
        (DEBIAN, FROBNICATOR, "frobnicator:4.2", "debian:trixie-slim"),
    ],
)
def test_a_base_in_no_index(ground: list[str], own: list[str], name: str, beneath: str) -> None:
    report = asked(ground, own, APP)
    first = report.candidates[0]
    assert (first.name, first.config_digest, first.history) == (name, None, len(ground) + len(own))
    assert report.standing == answers.BETWEEN
    assert report.chain_names == [name, beneath, "scratch"]
    assert [link.history for link in report.chain[:2]] == [len(own), len(ground)]
    assert "by its marks" in first.evidence[0]
    assert first.confidence < 1


def test_an_image_is_not_its_own_base() -> None:
    report = asked(DEBIAN, PYTHON)
    assert report.candidates[0].name == "debian:trixie-slim"
    assert report.standing != answers.BETWEEN


def test_what_no_list_has_is_less_sure() -> None:
    assert (
        asked(DEBIAN, FROBNICATOR, APP).candidates[0].confidence < asked(DEBIAN, PYTHON, APP).candidates[0].confidence
    )


def test_a_variable_of_the_application_is_no_base() -> None:
    """What the last Dockerfile sets names the image itself."""
    own = ["ENV NODE_VERSION=20.1.0", "RUN curl https://host.example/node-$NODE_VERSION.tar.gz | tar xz", *APP[1:]]
    assert asked(DEBIAN, own).candidates[0].name == "debian:trixie-slim"


def test_helpers_name_nothing() -> None:
    own = ["ENV GOSU_VERSION=1.19", "RUN wget https://host.example/gosu-$GOSU_VERSION", 'CMD ["gosu"]']
    assert "gosu" not in asked(DEBIAN, own, APP).candidates[0].name


def test_the_highest_stage_is_the_base() -> None:
    """A base on a base: what the application stands on is the upper one, and the chain has both."""
    upper = [
        "ENV CADDY_VERSION=v2.10.2",
        "RUN wget https://host.example/caddy-$CADDY_VERSION.tar.gz",
        'CMD ["caddy" "run"]',
    ]
    report = asked(DEBIAN, PYTHON, upper, APP)
    assert [name.partition(":")[0] for name in report.chain_names] == ["caddy", "python", "debian", "scratch"]


def test_a_seam_that_nothing_names() -> None:
    """A command in between ends another Dockerfile: what is known beneath is hardly the image's own base."""
    between = ["RUN make-things", 'CMD ["things"]']
    doubted = asked(DEBIAN, between, APP)
    assert doubted.standing == answers.BETWEEN
    assert doubted.candidates[0].name == "debian:trixie-slim"
    assert doubted.candidates[0].confidence < 0.5 < asked(DEBIAN, APP).candidates[0].confidence


def test_builds_that_are_known_are_told_as_before() -> None:
    """A build that the index has wholly is the answer, whatever its variables say."""
    steps = [*DEBIAN, *PYTHON]
    layers = [[f"sha256:{number:064x}", 1000] for number, step in enumerate(steps) if step.startswith("RUN")]
    build = {
        "ref": "company/runtime:7",
        "tags": ["company/runtime:7"],
        "config_digest": f"sha256:{'c' * 64}",
        "manifest_digest": f"sha256:{'d' * 64}",
        "first_seen": "2026-08-01",
        "last_seen": "2026-08-02",
        "layers": layers,
        "history": steps,
        "history_created": ["2026-08-01T00:00:00Z"] * len(steps),
        "parent": None,
    }
    index = known.Known(index_builder.make([build]))
    report = asked(steps, APP, index=index, layers=[*layers, [f"sha256:{9:064x}", 7]])
    assert report.candidates[0].name == "company/runtime:7"
    assert report.candidates[0].config_digest == build["config_digest"]
    assert report.standing == answers.KNOWN


def test_java_is_named_by_its_vendor() -> None:
    own = ["ENV JAVA_HOME=/opt/java/openjdk", "ENV JAVA_VERSION=jdk-21.0.12+8", "RUN wget jdk_x64", 'CMD ["jshell"]']
    assert asked(ALPINE, own, APP).candidates[0].name == "eclipse-temurin:21-alpine"
    own[0] = "ENV JAVA_HOME=/usr/lib/jvm/java-21-amazon-corretto"
    assert asked(ALPINE, own, APP).candidates[0].name.startswith("amazoncorretto:21")


@pytest.mark.parametrize(
    ("value", "version"),
    [
        ("3.13.14", "3.13.14"),
        ("v2.10.2", "2.10.2"),
        ("1:12.3.2+maria~ubu2404", "12.3.2"),
        ("jdk-21.0.12+8", "21.0.12"),
        ("18.6-1.pgdg13+2", "18.6"),
        ("", ""),
        ("latest", ""),
    ],
)
def test_versions(value: str, version: str) -> None:
    assert variables.version(value) == version


@pytest.mark.parametrize(
    ("repository", "version", "ground", "steps", "name"),
    [
        ("node", "24.19.0", "debian:bookworm-slim", "", "node:24-slim"),
        ("php", "8.4.25", "debian:trixie-slim", 'CMD ["apache2-foreground"]', "php:8.4-apache"),
        ("php", "8.4.25", "alpine:3.24", "--enable-fpm", "php:8.4-fpm-alpine"),
        ("python", "3.13.15", "debian:trixie", "", "python:3.13"),
        ("mysql", "9.7.2", "oraclelinux:9", "", "mysql:9"),
        # Of no version that has tags now: words of other tags, and this version.
        ("node", "6.9.1", "alpine:3.4", "", "node:6-alpine"),
        ("nobody/knows", "1.2.3", "", "", "nobody/knows:1.2"),
    ],
)
def test_names_are_written_as_repositories_do(
    repository: str, version: str, ground: str, steps: str, name: str
) -> None:
    assert spelling.names(repository, version, "", ground, steps)[0] == name


@pytest.mark.parametrize("step", ["ENV A=" + "9" * 100_000, "ENV " + "A_VERSION=1 " * 5000, 'CMD ["' + "a" * 100_000])
def test_hostile_steps_are_no_trouble(step: str) -> None:
    assert asked(DEBIAN, [step] * 50, APP).candidates
