"""What docker's command line shows of the same steps on our server and on docker's: events, filters, what goes and what
stays."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from apiengines import Served, served, world
from engines import until

__all__ = ["served", "world"]  # fixtures
pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def tidied(served: Served) -> None:
    served.tidy()


def events(served: Served, since: float, *words: str) -> list[tuple[str, str, dict[str, str]]]:
    """What has happened: type, action and attributes. Volumes that are mounted, and files of images, are left out."""
    bounds = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}")
    lines = served.docker("events", *bounds, "--format", "json", *words).splitlines()
    facts = [json.loads(line) for line in lines]
    seen = [
        (each["Type"], each["Action"], each["Actor"]["Attributes"])
        for each in facts
        if (each["Type"], each["Action"]) not in (("volume", "mount"), ("volume", "unmount"))
    ]
    # Docker's daemon tells of a network that is left twice at times.
    return [each for at, each in enumerate(seen) if not at or each[:2] != seen[at - 1][:2] or each[0] != "network"]


def actions(served: Served, since: float, *words: str) -> list[str]:
    return [f"{kind} {action}" for kind, action, _ in events(served, since, *words)]


def test_events_of_a_container(served: Served) -> None:
    began = time.time()
    served.docker("run", "-d", "--name", "one", "--label", "tier=web", "box", "sh", "-c", "sleep 600 & wait")
    served.docker("exec", "one", "sh", "-c", "exit 3", code=3)
    assert until(lambda: "container exec_die" in actions(served, began))
    served.docker("rename", "one", "two")
    served.docker("restart", "-t", "0", "two")
    served.docker("top", "two")
    served.docker("pause", "two")
    served.docker("unpause", "two")
    served.docker("rm", "-f", "two")
    seen = events(served, began)
    # "stop", as the networks that are left, comes before the end is told, or after it.
    assert [action for kind, action, _ in seen if kind == "container" and action != "stop"] == [
        *("create", "start", "exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die", "rename"),
        *("kill", "kill", "die", "start", "restart", "top", "pause", "unpause", "kill", "die", "destroy"),
    ], seen
    assert [action for _, action, _ in seen].count("stop") == 1
    networks = ["connect", "disconnect", "connect", "disconnect"]
    assert [action for kind, action, _ in seen if kind == "network"] == networks, seen
    by_action = {action.partition(":")[0]: facts for _, action, facts in seen}
    assert all(facts["tier"] == "web" for kind, _, facts in seen if kind == "container")
    assert by_action["rename"]["oldName"] == "/one" and by_action["die"]["name"] == "two"
    assert by_action["exec_die"]["exitCode"] == "3"
    identities = {by_action[name]["execID"] for name in ("exec_create", "exec_start", "exec_die")}
    assert len(identities) == 1 and len(identities.pop()) == 64
    died = by_action["die"]
    assert died["exitCode"] == "137" and int(died["execDuration"]) < 60
    assert by_action["connect"]["name"] == "bridge" and by_action["connect"]["type"] == "bridge"
    assert len(by_action["disconnect"]["container"]) == 64
    for word in ("exec_create", "exec_start"):
        assert len(actions(served, began, "--filter", f"event={word}")) == 1


def test_events_of_what_is_attached(served: Served) -> None:
    began = time.time()
    served.docker("run", "--rm", "--network", "none", "box", "true")
    wanted = {"container create", "container attach", "container start", "container die", "container destroy"}
    assert until(lambda: set(actions(served, began, "--filter", "type=container")) == wanted)


def test_events_of_networks_and_prunes(served: Served) -> None:
    began = time.time()
    served.docker("network", "create", "net")
    served.docker("run", "-d", "--name", "member", "box", "sleep", "600")
    served.docker("network", "connect", "net", "member")
    served.docker("network", "disconnect", "bridge", "member")
    served.docker("rm", "-f", "member")
    served.docker("volume", "create", "vol")
    for kind, word in (("container", "-f"), ("network", "-f"), ("volume", "-af"), ("image", "-f")):
        served.docker(kind, "prune", word)
    seen = events(served, began)
    networks = [(action, facts.get("name")) for kind, action, facts in seen if kind == "network"]
    assert networks == [
        *(("create", "net"), ("connect", "bridge"), ("connect", "net"), ("disconnect", "bridge")),
        *(("disconnect", "net"), ("destroy", "net"), ("prune", None)),
    ], networks
    for kind in ("container", "network", "volume", "image"):
        assert [facts["reclaimed"] != "" for each, action, facts in seen if (each, action) == (kind, "prune")] == [True]
    assert [facts["driver"] for kind, action, facts in seen if (kind, action) == ("volume", "create")] == ["local"]


def test_a_restart_keeps_what_removes_itself(served: Served) -> None:
    """Whoever waits for its end does not remove it: it goes when it ends and is not started again."""
    command = [
        "nsenter",
        f"--net={served.namespace}",
        "docker",
        "run",
        "--rm",
        "--name",
        "again",
        "box",
        "sleep",
        "600",
    ]
    with subprocess.Popen(command, env=served.environment, stdout=subprocess.DEVNULL) as waiting:
        assert until(lambda: served.docker("ps", "-q", "--filter", "name=again") != "")
        first = served.docker("inspect", "-f", "{{.State.StartedAt}}", "again")
        served.docker("restart", "-t", "0", "again")
        time.sleep(1)
        assert served.docker("inspect", "-f", "{{.State.Running}}", "again") == "true"
        assert served.docker("inspect", "-f", "{{.State.StartedAt}}", "again") != first
        served.docker("kill", "again")
        assert until(lambda: served.docker("ps", "-aq") == "")
        assert waiting.wait(30) == 137


def test_filters_of_a_list(served: Served) -> None:
    served.docker("run", "-d", "--name", "port", "-p", "18080:80", "--expose", "90/udp", "box", "sleep", "600")
    served.docker("run", "--name", "over", "box", "sh", "-c", "exit 3", code=3)

    def names(*filters: str, code: int = 0) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return sorted(served.docker("ps", "-a", "--format", "{{.Names}}", *words, code=code).split())

    assert names("publish=18080") == names("publish=18000-18100/tcp") == names("expose=80") == ["port"]
    assert names("expose=90/udp") == ["port"] and names("expose=90") == names("publish=80") == []
    assert names("publish=1", "expose=80") == ["port"]  # one of both is enough
    assert names("is-task=true") == [] and names("is-task=false") == ["over", "port"]
    assert names("exited=3") == ["over"] and names("exited=0") == []
    assert names("since=port") == ["over"] and names("before=over") == ["port"]
    for wrong in ("exited=x", "publish=a", "publish=1:2", "is-task=x", "before=nosuch", "nosuch=1", "health=x"):
        names(wrong, code=1)


def test_what_is_missing_is_not_taken_for_the_image(served: Served) -> None:
    """Docker's client would pull the image, and say that it cannot."""
    for words in (("--network", "container:nosuch"), ("--link", "nosuch"), ("--network", "nosuch")):
        done = subprocess.run(
            ["nsenter", f"--net={served.namespace}", "docker", "run", "--rm", *words, "box", "true"],
            env=served.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 125 and "nosuch" in done.stderr, done.stderr
        assert "Unable to find image" not in done.stderr and "Pulling" not in done.stderr, done.stderr


def test_a_name_goes_by_force_from_under_a_container(served: Served) -> None:
    served.docker("tag", "box", "kept:1")
    served.docker("run", "--name", "maker", "box", "sh", "-c", "echo 1 > /file")
    image = served.docker("commit", "maker", "own:1")
    served.docker("run", "-d", "--name", "user", "own:1", "sleep", "600")
    served.docker("rmi", "own:1", code=1)
    assert served.docker("rmi", "-f", "own:1") == "Untagged: own:1"
    assert served.docker("inspect", "-f", "{{.Id}}", image) == image
    served.docker("rmi", "-f", image, code=1)
    served.docker("rm", "-f", "user")
    served.docker("rmi", image, "kept:1")


def test_an_import_prints_its_id_alone(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", tmp_path, "file"], check=True)
    made = served.docker("import", str(tmp_path / "tar"), "imported:1")
    assert made == served.docker("inspect", "-f", "{{.Id}}", "imported:1")
    served.docker("rmi", "imported:1")


def test_a_prune_keeps_volumes_with_options(served: Served, tmp_path: Path) -> None:
    served.docker("volume", "create", "plain")
    options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={tmp_path}")
    served.docker("volume", "create", *options, "bound")
    assert "plain" in served.docker("volume", "prune", "-af")
    assert served.docker("volume", "ls", "-q") == "bound"
    served.docker("volume", "rm", "bound")
