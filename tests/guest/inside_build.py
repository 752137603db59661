"""Run inside a guest as root or not (collected only by name): builds on other kernels, with and without subordinate ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar
from underlay.linux import userns


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a base image."""
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    archive = place / "box.tar"
    archive.write_bytes(image_tar())
    installation("import", str(archive), "box")
    yield installation
    installation.clean()


DOCKERFILE = """\
FROM box AS first
WORKDIR /w
COPY . .
RUN --mount=type=cache,target=/cache echo kept > /cache/file
RUN --mount=type=cache,target=/cache,ro cat /cache/file > /seen && ! touch /cache/new
RUN --mount=type=tmpfs,target=/t touch /t/x
RUN --mount=type=secret,id=s cp /run/secrets/s /secret-was
RUN --mount=type=bind,target=/context,rw touch /context/new && cat /context/file > /from-context
RUN rm /bin/ls && mkdir /etc/new && mv /etc/new /etc/newer
FROM box
COPY --from=first /seen /secret-was /from-context /
RUN --mount=type=bind,from=first,source=/w,target=/there cp /there/file /from-first
COPY --link file /linked/
RUN cat /seen /secret-was /from-context /from-first /linked/file > /all
CMD ["cat", "/all"]
"""


def test_build_and_run(ul: Installation, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "file").write_text("file\n")
    (tmp_path / "secret").write_text("hidden\n")
    ul("build", "--secret", f"id=s,src={tmp_path / 'secret'}", "-t", "made", str(context))
    assert ul.run("made") == "kept\nhidden\nfile\nfile\nfile"
    again = ul("build", "--secret", f"id=s,src={tmp_path / 'secret'}", "-t", "made", str(context))
    assert again.stderr.count(b"CACHED") == 12
    assert not (context / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0 and not userns.has_subordinate_ids(), reason="needs more ids than one")
def test_owners_are_those_of_the_image(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\nCOPY --chown=7:8 Dockerfile /a\nRUN touch /b && chown 9:10 /b\n")
    ul("build", "-t", "owned", str(tmp_path))
    assert ul.run("owned", "stat", "-c", "%u:%g", "/a", "/b").split() == ["7:8", "9:10"]
