"""Steps of all builders come to one form; shapes forget versions."""

from __future__ import annotations

import pytest

from underlay.base.identify import history
from underlay.base.identify.names import naming, roots


@pytest.mark.parametrize(
    ("created_by", "expected"),
    [
        ('/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'),
        ("/bin/sh -c #(nop) ADD file:0123abcd in / ", "ADD file:0123abcd in /"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update # buildkit"),
        ("COPY /rootfs/ / # buildkit", "COPY /rootfs/ / # buildkit"),
        ("|1 VERSION=1.2 /bin/sh -c make", "# ARGS: VERSION=1.2\nRUN make"),
        ("RUN |2 A=1 B=two words /bin/sh -c make # buildkit", "# ARGS: A=1 B=two words\nRUN make # buildkit"),
        ("/bin/bash -o pipefail -c make", "RUN make"),
        ("RUN apk add curl", "RUN apk add curl"),
        ("# ARGS: A=1\nRUN make", "# ARGS: A=1\nRUN make"),
        ("bazel build ...", "RUN bazel build ..."),
        ("", ""),
    ],
)
def test_normal_form(created_by: str, expected: str) -> None:
    assert history.normal(created_by) == expected
    assert history.normal(history.normal(created_by)) == expected


def test_shape_forgets_versions_and_digests() -> None:
    assert history.shape("ENV PYTHON_VERSION=2.7.13") == history.shape("ENV PYTHON_VERSION=2.7.14")
    assert history.shape("ADD file:" + "0a" * 32 + " in /") == history.shape("ADD file:" + "1b" * 32 + " in /")
    assert history.shape("RUN make") == history.shape("RUN make # buildkit") == history.shape("# ARGS: A=1\nRUN make")
    assert history.shape('CMD ["bash"]') != history.shape('CMD ["/bin/sh"]')
    assert history.shape("MAINTAINER a") == history.shape("MAINTAINER b")


def test_shape_of_a_cut_step_is_that_of_the_whole() -> None:
    step = "RUN set -ex; " + "x" * 400
    assert history.shape(step) == history.shape(step[:240] + "…")


def test_which_steps_leave_layers() -> None:
    assert history.leaves_layer("RUN make") is True
    assert history.leaves_layer("COPY a /b") is True
    assert history.leaves_layer("ENV A=1") is False
    assert history.leaves_layer("WORKDIR /x") is None


def test_times_that_are_none() -> None:
    assert history.seconds("2017-11-04T09:45:32Z") == 1509788732
    assert history.seconds("0001-01-01T00:00:00Z") is None
    assert history.seconds("yesterday") is None
    assert history.seconds(None) is None


@pytest.mark.parametrize(
    ("steps", "size", "name", "count"),
    [
        (
            ["RUN # debian.sh --arch 'amd64' out/ 'trixie' '@1785715200'", "ENV A=1"],
            29_780_765,
            "debian:trixie-slim",
            1,
        ),
        (["RUN # debian.sh --arch 'amd64' out/ 'trixie' '@1785715200'"], 49_312_314, "debian:trixie", 1),
        (["ADD alpine-minirootfs-3.22.6-x86_64.tar.gz / # buildkit", 'CMD ["/bin/sh"]', "RUN x"], 0, "alpine:3.22", 2),
        (["ADD almalinux-9-default-amd64.tar.xz / # buildkit", 'CMD ["/bin/bash"]'], 0, "almalinux:9", 2),
        (["LABEL maintainer=A", "ENV DISTTAG=f44container FGC=f44", "ADD fedora-20260826.tar /"], 0, "fedora:44", 3),
    ],
)
def test_roots_that_say_what_they_are(steps: list[str], size: int, name: str, count: int) -> None:
    root = roots.read(steps, size)
    assert root is not None
    assert (root.name, root.steps) == (name, count)


def test_other_roots_say_nothing() -> None:
    assert roots.read(["ADD file:0a in /", 'CMD ["bash"]']) is None
    assert roots.read([]) is None


def test_forms_of_tags() -> None:
    form = naming.form("openjdk:8u151-jre-alpine3.7")
    assert (form.repository, form.version, form.depth, form.words) == ("openjdk", "8u151", 2, ("jre", "alpine3.7"))
    assert naming.form("debian").latest
    assert naming.form("debian:stretch-20170907").dated
    assert naming.form("registry.example:5000/team/app").tag == "latest"
    assert naming.agrees("2.7", ["9.0.1", "2.7.13"])
    assert not naming.agrees("2.7", ["2.71"])
