"""Health checks: what they find and when, how they end, and what they leave alone."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from engines import Installation, until

pytestmark = pytest.mark.root
QUICK = ("--health-interval", "100ms", "--health-retries", "2")


def start(ul: Installation, *words: str, command: str = "sleep 60") -> str:
    return ul.start(*words, "box", "sh", "-c", command)


def health(ul: Installation, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ul.out("inspect", "-f", "{{json .State.Health}}", name))
    return found


def status(ul: Installation, name: str) -> str:
    return str(health(ul, name)["Status"])


def test_from_starting_to_unhealthy_to_healthy(ul: Installation) -> None:
    name = start(ul, "--name", "turns", *QUICK, "--health-cmd", "echo seen; test -e /tmp/fine")
    assert ul.out("ps", "--format", "{{.Status}}").endswith("(health: starting)")
    assert until(lambda: status(ul, name) == "unhealthy")
    found = health(ul, name)
    last = found["Log"][-1]
    assert found["FailingStreak"] >= 2 and last["ExitCode"] == 1 and last["Output"] == "seen\n"
    assert last["Start"] < last["End"]
    assert ul.out("ps", "--format", "{{.Status}}").endswith("(unhealthy)")
    assert ul.out("ps", "-q", "--filter", "health=unhealthy", "--no-trunc") == name
    assert ul.out("ps", "-q", "--filter", "health=healthy") == ""
    ul("exec", name, "touch", "/tmp/fine")
    ul("wait", "--condition", "healthy", name)
    assert ul.out("ps", "--format", "{{.Status}}").endswith("(healthy)")
    assert until(lambda: len(health(ul, name)["Log"]) == 5 and health(ul, name)["FailingStreak"] == 0)
    events = ul.out(
        "events", "--since", "1h", "--until", "0s", "--filter", f"container={name}", "--format", "{{.Action}}"
    )
    assert [line for line in events.split("\n") if "health" in line] == [
        "health_status: unhealthy",
        "health_status: healthy",
    ]


def test_a_check_that_takes_too_long_is_killed(ul: Installation) -> None:
    name = start(ul, *QUICK, "--health-timeout", "200ms", "--health-cmd", "echo begun; exec sleep 50")
    assert until(lambda: status(ul, name) == "unhealthy")
    last = health(ul, name)["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (-1, "Health check exceeded timeout (0.2s): begun\n")
    # The one that is on its way may be there, no other.
    assert ul.out("top", name, "-o", "args").split("\n").count("sleep 50") <= 1


def test_a_check_that_cannot_be_started(ul: Installation) -> None:
    """Docker's HEALTHCHECK CMD form: no shell."""
    dockerfile = 'FROM box\nHEALTHCHECK --interval=100ms --retries=1 CMD ["/absent", "now"]\nCMD ["sleep", "60"]\n'
    ul("build", "-q", "-t", "checked", "-", input=dockerfile.encode())
    name = ul.start("checked")
    assert until(lambda: status(ul, name) == "unhealthy")
    assert "/absent" in health(ul, name)["Log"][-1]["Output"]
    check = json.loads(ul.out("inspect", "-f", "{{json .Config.Healthcheck}}", name))
    assert check["Test"] == ["CMD", "/absent", "now"] and (check["Interval"], check["Retries"]) == (10**8, 1)
    # The same image with another command, with another time, and without.
    name = ul.start("--health-cmd", "true", "checked")
    ul("wait", "--condition", "healthy", name)
    name = ul.start("--no-healthcheck", "checked")
    assert ul.out("inspect", "-f", "{{if .State.Health}}checked{{else}}{{.State.Health}}{{end}}", name) == "<nil>"
    assert "Health" not in ul.out("inspect", name)
    assert ul.out("ps", "--filter", "health=none", "-q", "--no-trunc") == name


def test_much_output_is_cut(ul: Installation) -> None:
    name = start(ul, *QUICK, "--health-cmd", "yes | head -c 100000")
    ul("wait", "--condition", "healthy", name)
    output = health(ul, name)["Log"][-1]["Output"]
    assert len(output) == 4096 + 3 and output.endswith("...")


def test_failures_within_the_start_period_do_not_count(ul: Installation) -> None:
    times = ("--health-start-period", "1h", "--health-start-interval", "100ms", "--health-interval", "1h")
    name = start(ul, *times, "--health-retries", "1", "--health-cmd", "test -e /tmp/fine")
    assert until(lambda: len(health(ul, name)["Log"]) >= 3)
    found = health(ul, name)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    ul("exec", name, "touch", "/tmp/fine")
    ul("wait", "--condition", "healthy", name)
    # From now on the longer interval holds.
    count = len(health(ul, name)["Log"])
    time.sleep(0.5)
    assert len(health(ul, name)["Log"]) == count


def test_no_checks_while_it_is_paused(ul: Installation) -> None:
    name = start(ul, *QUICK, "--health-cmd", "true")
    ul("wait", "--condition", "healthy", name)
    ul("pause", name)
    time.sleep(0.3)
    before = health(ul, name)
    time.sleep(0.5)
    assert health(ul, name) == before
    ul("unpause", name)
    assert until(lambda: health(ul, name)["Log"][-1]["Start"] > before["Log"][-1]["Start"])
    assert status(ul, name) == "healthy"


def test_it_begins_anew_with_each_start(ul: Installation) -> None:
    name = start(ul, *QUICK, "--health-cmd", "test -e /tmp/fine; exit $?")
    assert until(lambda: status(ul, name) == "unhealthy")
    ul("stop", "-t", "0", name)
    assert status(ul, name) == "unhealthy" and "health" not in ul.out("ps", "-a", "--format", "{{.Status}}")
    ul("start", name)
    assert health(ul, name)["FailingStreak"] < 2
    assert until(lambda: status(ul, name) == "unhealthy")


def test_a_restart_by_policy_begins_anew(ul: Installation) -> None:
    name = start(ul, "--restart", "always", *QUICK, "--health-cmd", "true", command="sleep 0.7")
    ul("wait", "--condition", "healthy", name)
    assert until(lambda: int(ul.out("inspect", "-f", "{{.RestartCount}}", name)) >= 1)
    ul("wait", "--condition", "healthy", name)


def test_an_end_in_the_middle_of_a_check_leaves_nothing(ul: Installation) -> None:
    name = start(ul, *QUICK, "--health-cmd", "sleep 50")
    assert until(lambda: "sleep 50" in ul.out("top", name, "-o", "args"))
    ul("rm", "-f", name)
    assert ul.remains([name]) == []


def test_checks_run_as_the_user_with_the_rights_of_the_container(ul: Installation) -> None:
    name = start(ul, *QUICK, "-u", "1000", "-e", "WORD=given", "-w", "/tmp", "--health-cmd", "id -u; echo $WORD; pwd")
    ul("wait", "--condition", "healthy", name)
    assert health(ul, name)["Log"][-1]["Output"] == "1000\ngiven\n/tmp\n"


def test_waiting_for_what_never_is(ul: Installation) -> None:
    name = start(ul)
    assert b"has no health check" in ul("wait", "--condition", "healthy", name, code=1).stderr
    name = start(ul, *QUICK, "--health-cmd", "false", command="sleep 0.5")
    assert b"was not healthy" in ul("wait", "--condition", "healthy", name, code=1).stderr
    assert b"invalid condition" in ul("wait", "--condition", "happy", name, code=1).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-healthcheck", "--health-cmd", "true"), b"--no-healthcheck conflicts with --health-* options"),
        (("--health-interval", "-1s"), b"--health-interval cannot be negative"),
        (("--health-interval", "10us"), b"cannot be less than 1ms"),
        (("--health-interval", "soon"), b"invalid duration"),
        (("--health-retries", "-1"), b"cannot be negative"),
    ],
)
def test_options_that_make_no_sense(ul: Installation, words: tuple[str, ...], said: bytes) -> None:
    done = ul("create", *words, "box", "true", code=None)
    assert done.returncode in (1, 125) and said in done.stderr
