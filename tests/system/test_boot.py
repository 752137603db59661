"""What runs after a boot: restart policies, and the unit of systemd that carries them out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from engines import Installation, until

pytestmark = pytest.mark.root


def running(ul: Installation) -> set[str]:
    return set(ul.out("ps", "--format", "{{.Names}}").split())


def kill_all(ul: Installation) -> None:
    """End all containers as a host does that goes down: their monitors with them; then the state directory is empty."""
    pids = [number for name in running(ul) for number in (ul.monitor(name), ul.pid(name))]
    for pid in pids:
        with suppress(ProcessLookupError):  # one of a pid namespace whose first process has just been killed
            os.kill(pid, signal.SIGKILL)
    assert until(lambda: not any(Path(f"/proc/{pid}/root").exists() for pid in pids))


def test_policies_after_a_boot(ul: Installation) -> None:
    sleep = ["box", "sleep", "600"]
    ul.start("--name", "plain", *sleep)
    ul.start("--name", "always", "--restart", "always", *sleep)
    ul.start("--name", "unless", "--restart", "unless-stopped", *sleep)
    ul.start("--name", "failing", "--restart", "on-failure", *sleep)
    ul.start("--name", "always-stopped", "--restart", "always", *sleep)
    ul.start("--name", "unless-stopped", "--restart", "unless-stopped", *sleep)
    ul.start("--name", "again", "--restart", "unless-stopped", *sleep)
    ul.start("--name", "succeeded", "--restart", "on-failure", "box", "true")
    ul("create", "--name", "created", "--restart", "always", "--network", "none", *sleep)
    ul("stop", "-t", "0", "always-stopped", "unless-stopped", "again")
    ul("start", "again")  # no longer stopped by somebody
    ul.start("--name", "guest", "--pid", "container:always", "--restart", "always", *sleep)
    kill_all(ul)
    shutil.rmtree(ul.state / "containers")
    (ul.state / "swept").unlink()
    names = set(ul.out("system", "start").split())
    assert names == {"always", "unless", "failing", "always-stopped", "again", "guest"} == running(ul)
    assert ul.out("system", "start") == ""


def test_what_cannot_start_does_not_keep_the_others(ul: Installation, tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    ul.start("--name", "bad", "-v", f"{place}:/d", "--restart", "always", "box", "sleep", "600")
    ul.start("--name", "good", "--restart", "always", "box", "sleep", "600")
    ul("stop", "-t", "0", "bad", "good")
    place.rmdir()
    done = ul("system", "start", code=1)
    assert done.stdout == b"good\n" and b"bad: " in done.stderr
    assert running(ul) == {"good"}


def test_the_unit(ul: Installation, tmp_path: Path) -> None:
    ul.environment["XDG_CONFIG_HOME"] = str(tmp_path / "50% of $it")
    try:
        path = Path(ul.out("system", "install", "--user"))
        assert path == tmp_path / "50% of $it" / "systemd" / "user" / "underlay.service"
        text = path.read_text()
        link = path.parent / "default.target.wants" / "underlay.service"
        assert link.resolve() == path and path.stat().st_mode & 0o777 == 0o644
        assert f'Environment="UNDERLAY_ROOT={ul.root}"\n' in text and "\nKillMode=process\n" in text
        assert text == ul.out("system", "install", "--user", "--print") + "\n"
        assert "\nWantedBy=multi-user.target\n" in ul.out("system", "install", "--print") + "\n"
        if shutil.which("systemd-analyze"):
            checked = subprocess.run(["systemd-analyze", "verify", "--user", str(path)], capture_output=True, text=True)
            assert "underlay.service" not in checked.stderr, checked.stderr
        # What it says can be done: the command of the unit, in the environment of the unit alone.
        command = next(line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart="))
        settings = [line.removeprefix("Environment=") for line in text.splitlines() if line.startswith("Environment=")]
        ul.start("--name", "kept", "--restart", "always", "box", "sleep", "600")
        ul("stop", "-t", "0", "kept")
        script = f"env -i {' '.join(settings)} {command}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
        assert ul.out("system", "install", "--user") == str(path)
        assert ul.out("system", "uninstall", "--user") == str(path)
        assert not path.exists() and not os.path.lexists(link)
        assert b"there is no" in ul("system", "uninstall", "--user", code=1).stderr
        path.write_text("[Unit]\n")
        for word in ("install", "uninstall"):
            assert b"was not written by" in ul("system", word, "--user", code=1).stderr
        assert path.read_text() == "[Unit]\n"
    finally:
        del ul.environment["XDG_CONFIG_HOME"]
