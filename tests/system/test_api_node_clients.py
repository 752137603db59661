"""Programs of Node that speak to docker, unchanged, on our server and on docker's: dockerode, testcontainers and the
command line of dev containers.

They are installed by npm at the first run, into the cache directory of this user.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from apiengines import SCRIPTS, Served, served, world
from engines import until
from networks import World
from nodepackages import node_packages

__all__ = ["served", "world"]  # fixtures
pytestmark = pytest.mark.root

PACKAGES = ("@devcontainers/cli@0.89.0", "dockerode@5.0.1", "testcontainers@11.14.0")


@pytest.fixture(scope="module")
def modules() -> Path:
    """The directory of the packages."""
    return node_packages("node", *PACKAGES)


@pytest.fixture
def node(served: Served, modules: Path, tmp_path: Path) -> Iterator[Served]:
    """The engine, with Node's packages for its clients; what they leave in it or as temporary files is removed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    served.environment |= {"NODE_PATH": str(modules), "TMPDIR": str(temporary)}
    yield served
    served.tidy()


def test_dockerode(node: Served, tmp_path: Path) -> None:
    """The script has its own assertions, and ends with what is looked for here."""
    assert node.client("node", SCRIPTS / "dockerode.cjs", tmp_path).endswith("all parts ran")


def test_testcontainers_and_its_reaper(node: Served, tmp_path: Path) -> None:
    """What a session has made is gone after its process, its compose project too, and so is the reaper."""
    networks = node.custom_networks()
    node.docker("run", "-d", "--name", "bystander", "--label", "org.testcontainers.session-id=x", "box", "sleep", "600")
    more = ["compose"] if shutil.which("docker-compose") else []
    made = json.loads(node.client("node", SCRIPTS / "testcontainers.cjs", tmp_path, *more).splitlines()[-1])
    assert made["server"] and made["reaper"]
    assert until(lambda: node.docker("ps", "-a", "--format", "{{.Names}}") == "bystander", 60)
    assert until(lambda: node.custom_networks() == networks) and until(lambda: node.docker("volume", "ls", "-q") == "")
    # What was built, and not what was committed to be kept.
    assert until(lambda: "localhost/" not in node.docker("images", "--format", "{{.Repository}}"))
    node.docker("rmi", "node-committed:1")


def devcontainer(node: Served, modules: Path, *words: str | Path, code: int = 0) -> str:
    """Run the command line of dev containers."""
    return node.client("node", modules / "@devcontainers/cli/devcontainer.js", *words, code=code)


def up(node: Served, modules: Path, folder: Path, *words: str, buildkit: str = "never") -> str:
    """Have a folder's dev container made or started, without BuildKit; returns the container's id."""
    said = devcontainer(node, modules, "up", "--workspace-folder", folder, "--buildkit", buildkit, *words)
    outcome = json.loads(said.splitlines()[-1])
    assert outcome["outcome"] == "success"
    return str(outcome["containerId"])


def described(folder: Path, members: dict[str, object], **files: str) -> None:
    """Write a description of a dev container, with files beside it."""
    place = folder / ".devcontainer"
    place.mkdir(parents=True)
    (place / "devcontainer.json").write_text("// A dev container.\n" + json.dumps(members))
    for name, text in files.items():
        (place / name).write_text(text)


def test_dev_container_of_an_image(node: Served, modules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    described(
        folder,
        {
            "image": "box",
            "containerEnv": {"A": "container"},
            "remoteEnv": {"B": "remote"},
            "mounts": ["source=dev-cache,target=/cache,type=volume"],
            "runArgs": ["--hostname", "desk"],
            "onCreateCommand": "echo once >> created",
            "postCreateCommand": ["touch", "created-too"],
            "postStartCommand": "echo again >> started",
        },
    )
    made = up(node, modules, folder)
    inside = ("exec", "--workspace-folder", folder, "sh", "-c")
    shown = devcontainer(node, modules, *inside, "pwd; hostname; id -un; echo $A $B; touch /cache/kept; exit 3", code=3)
    assert shown.splitlines() == ["/workspaces/project", "desk", "root", "container remote"]
    node.docker("stop", "-t", "0", made)
    assert up(node, modules, folder) == made
    assert (folder / "created").read_text() == "once\n" and (folder / "created-too").exists()
    assert (folder / "started").read_text() == "again\nagain\n"
    assert up(node, modules, folder, "--remove-existing-container") != made
    assert node.docker("ps", "-aq").count("\n") == 0
    assert devcontainer(node, modules, *inside, "ls /cache") == "kept"


@pytest.mark.parametrize("buildkit", ["never", "auto"])
def test_dev_container_of_a_dockerfile(
    node: Served, world: World, modules: Path, tmp_path: Path, buildkit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a feature, whose files come from an image of their own, and a user who is not root; by the classic build, and
    by our plug-in for docker's command line."""
    if buildkit == "auto":
        if node.name != "underlay":
            pytest.skip("docker's daemon builds by its own plug-in")
        settings = {"DOCKER_CONFIG": node.environment["DOCKER_CONFIG"], "XDG_CONFIG_HOME": str(tmp_path / "units")}
        monkeypatch.setattr(world.underlay, "environment", {**world.underlay.environment, **settings})
        world.underlay("serve", "--install", "--user")
        monkeypatch.delitem(node.environment, "DOCKER_BUILDKIT")
    folder = tmp_path / "project"
    described(
        folder,
        {
            "build": {"dockerfile": "Dockerfile", "args": {"WORD": "said"}},
            "features": {"./feature": {"colour": "green"}},
            "remoteUser": "alice",
            "onCreateCommand": "echo made > /tmp/made",
        },
        Dockerfile="FROM box\nARG WORD\nRUN echo $WORD > /word; chown alice /home/alice\n",
    )
    feature = folder / ".devcontainer" / "feature"
    feature.mkdir()
    facts = {
        "id": "feature",
        "version": "1.0.0",
        "options": {"colour": {"type": "string", "default": "red"}},
        "containerEnv": {"FEATURE": "there"},
    }
    (feature / "devcontainer-feature.json").write_text(json.dumps(facts))
    (feature / "install.sh").write_text('#!/bin/sh\necho "$COLOUR" > /colour\n')
    up(node, modules, folder, buildkit=buildkit)
    words = ("sh", "-c", "cat /word /colour /tmp/made; id -un; echo $FEATURE")
    shown = devcontainer(node, modules, "exec", "--workspace-folder", folder, *words)
    assert shown.splitlines() == ["said", "green", "made", "alice", "there"]
    images = node.docker("images", "--format", "{{.Repository}}").split()
    node.docker("rm", "-f", *node.docker("ps", "-aq").split())
    node.docker("rmi", *(name for name in images if name.startswith(("vsc-", "dev_container"))))


def test_dev_container_of_compose(node: Served, modules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    described(
        folder,
        {
            "dockerComposeFile": "compose.yaml",
            "service": "app",
            "workspaceFolder": "/work",
            "remoteEnv": {"B": "remote"},
        },
        **{
            "compose.yaml": "services:\n"
            "  app: {image: box, volumes: ['..:/work'], command: sleep 600, stop_grace_period: 0s}\n"
            "  db: {image: box, command: sleep 600, stop_grace_period: 0s}\n"
        },
    )
    up(node, modules, folder)
    words = ("sh", "-c", "pwd; ls -a; echo $B; nslookup db > /dev/null && echo found")
    shown = devcontainer(node, modules, "exec", "--workspace-folder", folder, *words)
    assert shown.splitlines() == ["/work", ".", "..", ".devcontainer", "remote", "found"]
