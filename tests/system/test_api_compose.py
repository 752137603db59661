"""docker-compose, unchanged, on our server as on a docker daemon: services that depend on others, are built and changed."""

from __future__ import annotations

import json

import pytest

from composing import Project, box, host, project, shell
from networks import nothing_left, world

__all__ = ["host", "nothing_left", "project", "world"]  # fixtures
pytestmark = pytest.mark.root

QUICK = {"interval": "200ms", "timeout": "2s", "retries": 30}


def test_health(project: Project) -> None:
    """A database that is waited for, and one that never becomes healthy."""
    healthy = {"condition": "service_healthy"}
    project.file(
        {
            "db": shell(
                "sleep 0.4; touch /ready; exec sleep 1000",
                healthcheck={**QUICK, "test": ["CMD", "test", "-f", "/ready"]},
            ),
            "web": box(depends_on={"db": healthy}),
            "sick": box(healthcheck={"test": "exit 1", "interval": "100ms", "retries": 1}, profiles=["sick"]),
            "late": box(depends_on={"sick": healthy}, profiles=["sick"]),
        }
    )
    project("up", "-d")
    db, web = project.see("db"), project.see("web")
    assert db["State"]["Health"]["Status"] == "healthy"
    good = [each["End"] for each in db["State"]["Health"]["Log"] if each["ExitCode"] == 0]
    assert good and good[0][:23] <= web["State"]["StartedAt"]
    listed = project.listed()
    assert {name: (each["State"], each["Health"]) for name, each in listed.items()} == {
        "p-db-1": ("running", "healthy"),
        "p-web-1": ("running", ""),
    }
    assert "(healthy)" in listed["p-db-1"]["Status"]
    said = project.fails("--profile", "sick", "up", "-d")
    assert said == "dependency failed to start: container p-sick-1 is unhealthy"
    assert project.see("late")["State"]["Status"] == "created"


def test_services_that_have_to_complete(project: Project) -> None:
    completed = {"condition": "service_completed_successfully"}
    project.file(
        {
            "init": shell("echo made > /data/made", volumes=["data:/data"]),
            "web": box(depends_on={"init": completed}, volumes=["data:/data:ro"]),
            "bad": box("sh", "-c", "exit 3", profiles=["bad"]),
            "after": box(depends_on={"bad": completed}, profiles=["bad"]),
        },
        volumes={"data": {}},
    )
    project("up", "-d")
    assert project.shell("web", "cat /data/made") == "made"
    assert project.see("init")["State"]["ExitCode"] == 0
    said = project.fails("--profile", "bad", "up", "-d")
    assert said == 'service "bad" didn\'t complete successfully: exit 3'
    listed = project.listed("-a")
    assert listed["p-bad-1"]["ExitCode"] == 3 and listed["p-bad-1"]["State"] == "exited"
    assert listed["p-after-1"]["State"] == "created"


def test_waiting(project: Project) -> None:
    """`up --wait` until all run and are healthy, or one is not; `wait` for an end."""
    check = {**QUICK, "test": ["CMD", "test", "-f", "/ready"]}
    project.file({"a": shell("sleep 0.3; touch /ready; exec sleep 1000", healthcheck=check), "b": box()})
    project("up", "--wait")
    assert project.see("a")["State"]["Health"]["Status"] == "healthy"
    project("up", "--wait")
    project.file({"a": box(healthcheck={**check, "interval": "100ms", "retries": 1})})
    assert project.fails("up", "--wait", "a") == "container p-a-1 is unhealthy"
    project.file({"a": shell("exit 4")})
    assert project.fails("up", "--wait", "a") == "container p-a-1 exited (4)"
    project.file({"a": shell("sleep 0.7; exit 6")})
    project("up", "-d")
    said = project.out("wait", "a", code=6)
    assert said == f'container "{project.see("a")["Id"]}" exited with status code 6'


def test_builds(project: Project) -> None:
    """With arguments, a stage, labels and another file; only what has changed is recreated."""
    project.write(
        "app/other.Dockerfile", "FROM box AS one\nARG WORD=none\nRUN echo $WORD > /word\nFROM one AS two\nRUN exit 9\n"
    )
    project.write("web/Dockerfile", 'FROM box\nCOPY page /page\nLABEL a=b\nCMD ["sleep", "1000"]\n')
    project.write("web/page", "first")
    more = {"stop_grace_period": "0s"}
    build = {
        "context": "app",
        "dockerfile": "other.Dockerfile",
        "args": {"WORD": "said"},
        "target": "one",
        "labels": {"made.by": "test"},
        "tags": ["app:extra"],
    }
    project.file(
        {
            "app": {"build": build, "image": "app:1", "command": ["sleep", "1000"], **more},
            "web": {"build": "web", **more},
            "plain": box(),
        }
    )
    project("build")
    assert project.host.inspect("app:1")[0]["Config"]["Labels"]["made.by"] == "test"
    project("up", "-d")
    assert project.shell("app", "cat /word") == "said" and project.shell("web", "cat /page") == "first"
    before = project.all_ids()
    project("up", "-d", "--build")
    assert project.all_ids() == before
    project.write("web/page", "second")
    project("up", "-d", "--build")
    after = project.all_ids()
    assert {name for name in after if after[name] != before[name]} == {"p-web-1"}
    assert project.shell("web", "cat /page") == "second"
    image = project.host.inspect("p-web")[0]["Id"]
    project("build", "--no-cache", "--build-arg", "WORD=other", "app", "web")
    assert project.host.inspect("p-web")[0]["Id"] != image
    project("up", "-d", "app")
    assert project.shell("app", "cat /word") == "other"
    images = {each["Repository"]: each["Tag"] for each in json.loads(project.out("images", "--format", "json"))}
    assert images["app"] == "1" and images["box"] == "latest"
    project.write("web/Dockerfile", "FROM box\nRUN exit 7\n")
    assert project.fails("build", "web", code=7) == "The command '/bin/sh -c exit 7' returned a non-zero code: 7"
    project("down")
    project.host.docker("rmi", "p-web", "app:1", "app:extra")


def test_secrets_and_configs(project: Project) -> None:
    project.write("token", "s3cret")
    project.environment["WORD"] = "from the environment"
    project.file(
        {
            "a": box(
                secrets=["token", {"source": "word", "target": "/word", "mode": 0o440, "uid": "1000"}],
                configs=[
                    "page",
                    {"source": "written", "target": "/etc/written"},
                    {"source": "word", "target": "/etc/word"},
                ],
            )
        },
        secrets={"token": {"file": "./token"}, "word": {"environment": "WORD"}},
        configs={
            "page": {"file": "./token"},
            "written": {"content": "word is ${WORD}\n"},
            "word": {"environment": "WORD"},
        },
    )
    project("up", "-d")
    assert project.shell("a", "cat /run/secrets/token /word /page") == "s3cretfrom the environments3cret"
    assert project.shell("a", "cat /etc/written /etc/word") == "word is from the environment\nfrom the environment"
    assert project.shell("a", "stat -c '%a %u' /word") == "440 1000"
    before = project.all_ids()
    project("up", "-d")
    assert project.all_ids() == before


def test_profiles(project: Project) -> None:
    project.file({"a": box(), "b": box(profiles=["x"]), "c": box(profiles=["x", "y"], depends_on=["b"])})
    project("up", "-d")
    assert set(project.all_ids()) == {"p-a-1"}
    project("--profile", "x", "up", "-d")
    assert set(project.listed()) == {"p-a-1", "p-b-1", "p-c-1"}
    project.environment["COMPOSE_PROFILES"] = "x"
    assert project.out("config", "--profiles").split() == ["x", "y"]
    project("stop", "c")
    assert set(project.listed()) == {"p-a-1", "p-b-1"}
    project("down")
    assert project.all_ids() == {}


def test_scale(project: Project) -> None:
    project.file({"a": box(deploy={"replicas": 2}), "b": box()})
    project("up", "-d")
    assert set(project.all_ids()) == {"p-a-1", "p-a-2", "p-b-1"}
    project("up", "-d", "--scale", "a=3", "--scale", "b=2")
    assert set(project.all_ids()) == {"p-a-1", "p-a-2", "p-a-3", "p-b-1", "p-b-2"}
    numbers = {project.see("a", n)["Config"]["Labels"]["com.docker.compose.container-number"] for n in (1, 2, 3)}
    assert numbers == {"1", "2", "3"}
    assert project.out("exec", "-T", "--index", "3", "a", "hostname") == project.see("a", 3)["Id"][:12]
    assert project.shell("b", "busybox nslookup a | grep -c '^Address: [0-9.]*$'") == "3"
    project("scale", "a=1")
    project("up", "-d", "--scale", "b=0")
    assert set(project.all_ids()) == {"p-a-1", "p-a-2"}


def test_many_that_start_together(project: Project) -> None:
    """In a network of which nothing is there yet, twice."""
    project.file({"a": box(scale=6)})
    for _ in range(2):
        project("up", "-d")
        listed = project.listed().values()
        assert len(listed) == 6 and {each["State"] for each in listed} == {"running"}
        assert project.shell("a", "busybox nslookup a | grep -c '^Address: [0-9.]*$'") == "6"
        project("down")


def test_files_that_make_a_project(project: Project) -> None:
    """`extends`, anchors, several files, .env and env_file."""
    project.write(".env", "TAG=box\nNAME=dot\nEMPTY=\n")
    project.write("common/c.yaml", "services:\n  base:\n    image: ${TAG}\n    environment: {FROM: base, BOTH: base}\n")
    project.write("some.env", "FILE=some\nBOTH=file\n# nothing\nQUOTED='a b'\n")
    project.write(
        "compose.yaml",
        """
x-all: &all
  command: [sleep, "1000"]
  stop_grace_period: 0s
  labels: &labels {one: "1"}
services:
  a:
    <<: *all
    extends: {file: common/c.yaml, service: base}
    env_file: [some.env, {path: none.env, required: false}]
    environment: {NAME: "${NAME} ${EMPTY:-empty} ${UNSET-unset} $${X}"}
  b: {<<: *all, image: box, labels: {<<: *labels, two: "2"}}
""",
    )
    project.write(
        "more.yaml",
        "services: {a: {environment: {BOTH: more}, labels: [three=3]}, c: {extends: {service: b, file: compose.yaml}}}",
    )
    words = ("-f", "compose.yaml", "-f", "more.yaml")
    project(*words, "up", "-d")
    shown = project.out(*words, "exec", "-T", "a", "sh", "-c", 'echo "$FROM|$BOTH|$FILE|$QUOTED|$NAME"')
    assert shown == "base|more|some|a b|dot empty unset ${X}"
    assert project.see("b")["Config"]["Labels"].items() >= {"one": "1", "two": "2"}.items()
    assert project.see("a")["Config"]["Labels"].items() >= {"one": "1", "three": "3"}.items()
    assert project.see("c")["Config"]["Labels"]["two"] == "2"
    assert set(project.out(*words, "config", "--services").split()) == {"a", "b", "c"}
    project.write("other.env", "TAG=box\nNAME=other\n")
    before = project.all_ids()
    project("--env-file", "other.env", *words, "up", "-d")
    after = project.all_ids()
    assert {name for name in after if after[name] != before[name]} == {"p-a-1"}


def test_what_is_recreated(project: Project) -> None:
    """Nothing at a second `up`; what has changed at a third; what is gone from the file only if it is asked for."""
    project.file({"a": box(environment={"A": "1"}), "b": box(), "c": box(depends_on=["a"])})
    project("up", "-d")
    before = project.all_ids()
    assert "Recreate" not in project("up", "-d").stderr and project.all_ids() == before
    project.file({"a": box(environment={"A": "2"}), "c": box(depends_on=["a"])})
    assert "Found orphan containers ([p-b-1]) for this project" in project("up", "-d").stderr
    after = project.all_ids()
    # A dependent is made anew with what it depends on.
    assert {name for name in after if after[name] != before[name]} == {"p-a-1", "p-c-1"}
    assert project.shell("a", "echo $A") == "2"
    project("up", "-d", "--remove-orphans")
    assert project.all_ids() == {name: id_ for name, id_ in after.items() if name != "p-b-1"}
    project("up", "-d", "--force-recreate", "--no-deps", "c")
    assert project.all_ids()["p-c-1"] != after["p-c-1"] and project.all_ids()["p-a-1"] == after["p-a-1"]
    project.host.docker("kill", "p-a-1")
    project("up", "-d", "--no-recreate")
    assert project.see("a")["State"]["Running"] and project.see("a")["Id"] == after["p-a-1"]
