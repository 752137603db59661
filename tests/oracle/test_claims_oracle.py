"""What other builders note of bases in their images, read by `base identify` where nothing of the base is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archives import layer
from builders import Buildah, box, buildah, installation, place
from engines import Installation

__all__ = ["box", "buildah", "installation", "place"]

pytestmark = [pytest.mark.root, pytest.mark.oracle]

LOWER = "FROM localhost/box\nRUN touch /lower\nENV LOWER=1\n"
UPPER = "FROM localhost/lower\nENV UPPER=1\nRUN touch /upper\nWORKDIR /upper.d\n"


@pytest.fixture(scope="module")
def archive(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of two builds of buildah, each on the one before; who has the archive has nothing else."""
    directory = tmp_path_factory.mktemp("context")
    buildah("tag", "box", "localhost/box")
    for name, text in (("localhost/lower", LOWER), ("localhost/upper", UPPER)):
        (directory / "Dockerfile").write_text(text)
        buildah.build(name, directory, ["--layers"])
    found = directory / "upper.tar"
    buildah("push", "-q", "localhost/upper", f"oci-archive:{found}:upper")
    return found


@pytest.fixture
def stranger(tmp_path: Path) -> Installation:
    """An installation that has no image."""
    return Installation(tmp_path / "stranger")


def identify(ul: Installation, subject: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ul.out("base", "identify", "--format", "json", subject))
    return found


def test_buildah_notes_bases_in_the_history(archive: Path, stranger: Installation) -> None:
    """All bases are told with their steps and layers, from what the history notes alone."""
    found = identify(stranger, str(archive))
    first = found["candidates"][0]
    steps = len(
        json.loads(stranger.out("base", "dockerfile", "--base", "scratch", "--format", "json", str(archive)))["lines"]
    )
    assert first["name"] == "localhost/lower:latest" and first["config_digest"] is None
    assert [link["name"] for link in found["chain"]] == ["localhost/lower:latest", "localhost/box:latest", "scratch"]
    lower, box = found["chain"][:2]
    assert (lower["layers"], lower["history"]) == (1, 2) and (box["layers"], first["layers"]) == (1, 2)
    assert first["history"] == lower["history"] + box["history"] < steps
    # Nothing here bears it out, so a rule that asks for a base that is known is not met by it.
    assert first["confidence"] < 0.9 and {each["verdict"] for each in found["claims"]} == {"unchecked"}
    text = stranger.out("base", "identify", str(archive))
    assert "stands on localhost/lower:latest (85%)" in text and text.count("says") == 1


def test_the_dockerfile_begins_there(archive: Path, stranger: Installation) -> None:
    text = stranger.out("base", "dockerfile", str(archive))
    assert "FROM localhost/lower:latest\n" in text and "touch /upper" in text and "touch /lower" not in text
    assert "in doubt: " in text.partition("FROM")[0]


def test_what_is_here_bears_it_out(archive: Path, stranger: Installation, buildah: Buildah, tmp_path: Path) -> None:
    buildah("push", "-q", "localhost/lower", f"oci-archive:{tmp_path}/lower.tar:localhost/lower:latest")
    stranger("load", "-i", f"{tmp_path}/lower.tar")
    found = identify(stranger, str(archive))
    assert found["candidates"][0]["config_digest"] and found["candidates"][0]["confidence"] > 0.95
    assert {each["verdict"] for each in found["claims"]} == {"confirmed"}
    # Another image of that name refutes it.
    stranger("rmi", "localhost/lower:latest")
    stranger("import", "-", "localhost/lower:latest", input=layer({"other": b"x"}))
    found = identify(stranger, str(archive))
    assert "localhost/lower:latest" not in [each["name"] for each in found["candidates"]]
    assert "!! its " in stranger.out("base", "identify", str(archive))
