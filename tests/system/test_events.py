"""Events: what commands and monitors write down, and what `events` shows of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from engines import Installation, until

pytestmark = pytest.mark.root


def shown(ul: Installation, *words: str) -> list[tuple[str, str]]:
    lines = ul.out("events", "--until", "0s", "--format", "json", *words).splitlines()
    return [(value["Type"], value["Action"]) for value in map(json.loads, lines)]


def test_the_life_of_a_container(ul: Installation) -> None:
    began = str(time.time())
    ul("run", "-d", "--network", "none", "--name", "lives", "--label", "tier=web", "box", "sleep", "60")
    for words in (
        ("pause", "lives"),
        ("unpause", "lives"),
        ("rename", "lives", "lived"),
        ("kill", "lived"),
        ("rm", "-f", "lived"),
    ):
        ul(*words)
    actions = [action for kind, action in shown(ul, "--since", began) if kind == "container"]
    assert actions == ["create", "start", "pause", "unpause", "rename", "kill", "die", "destroy"]
    form = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.tier}} {{.Actor.Attributes.exitCode}} {{.From}}"
    lines = ul.out("events", "--since", began, "--until", "0s", "--filter", "event=die", "--format", form).splitlines()
    assert lines == ["die lived web 137 box"]  # the name that it has now
    assert shown(ul, "--since", began, "--filter", "label=tier=db") == []
    assert shown(ul, "--since", began, "--filter", "image=box", "--filter", "event=create") == [("container", "create")]


def test_a_restart_and_a_program_that_was_killed(ul: Installation) -> None:
    began = str(time.time())
    ul("run", "-d", "--network", "none", "--name", "again", "--restart", "on-failure:2", "box", "sh", "-c", "exit 3")
    assert until(lambda: len([1 for _, action in shown(ul, "--since", began) if action == "die"]) == 3)
    actions = [action for _, action in shown(ul, "--since", began)]
    assert actions == ["create", "start", "die", "start", "die", "start", "die"]
    ul("rm", "-f", "again")


def test_images_volumes_and_networks(ul: Installation) -> None:
    began = str(time.time())
    ul("tag", "box", "other:1")
    ul("rmi", "other:1")
    ul("volume", "create", "kept")
    ul("volume", "rm", "kept")
    ul("network", "create", "net")
    ul("network", "rm", "net")
    assert shown(ul, "--since", began) == [
        ("image", "tag"),
        ("image", "untag"),
        ("volume", "create"),
        ("volume", "destroy"),
        ("network", "create"),
        ("network", "destroy"),
    ]


def test_as_it_happens(ul: Installation) -> None:
    command = [*ul.command, "events", "--filter", "type=volume"]
    with subprocess.Popen(command, env=ul.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        time.sleep(1)
        ul("volume", "create", "seen")
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert line.endswith(" volume create seen (driver=local)\n") and line[10] == "T"
    assert process.returncode == 130
    ul("volume", "rm", "seen")


def test_wrong_words(ul: Installation) -> None:
    assert b"invalid filter 'nope'" in ul("events", "--until", "0s", "--filter", "nope=1", code=1).stderr
    assert b"invalid filter 'nope'" in ul("events", "--until", "0s", "--filter", "nope", code=1).stderr
    assert b"accepts no arguments" in ul("events", "x", code=1).stderr
    assert os.path.exists(ul.root / "journal")


def test_an_image_is_found_without_its_tag_behind_a_port(ul: Installation) -> None:
    began = str(time.time())
    ul("tag", "box", "localhost:5000/app:1")
    ul("run", "--rm", "--network", "none", "localhost:5000/app:1", "true")
    ul("rmi", "localhost:5000/app:1")
    words = ("--since", began, "--filter", "image=localhost:5000/app")
    assert shown(ul, *words, "--filter", "type=container")[:1] == [("container", "create")]
    assert shown(ul, *words, "--filter", "type=image") == [("image", "tag"), ("image", "untag")]
    assert shown(ul, "--since", began, "--filter", "image=localhost") == []
