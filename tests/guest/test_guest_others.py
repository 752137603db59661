"""Older and newer kernels, and users without privileges, in guests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guests import GUEST_RUN, MARKS, PYTEST, in_guest, system

pytestmark = MARKS


@pytest.mark.parametrize("kernel", ["bullseye", "trixie-backports"])  # bookworm: see below
def test_older_and_newer_kernels(share: Path, kernel: str) -> None:
    # Builds need nothing of the kernel that came between the oldest and this host's.
    build = ["tests/guest/inside_build.py"] if kernel == "bullseye" else []
    # What its processor, which is emulated, cannot run is told beforehand.
    fit = "tests/system/test_base_fit.py"
    chosen = "exit_codes or namespaces or masked"
    if build:
        chosen += " or bind_mounts or users_by_name or inside_build or processor"
        chosen += " or programs"
    exam = "tests/system/test_fit_exam.py"
    words = ["tests/system/test_run.py", *build, fit, exam, "-k", chosen]
    out = in_guest(share, kernel, words)
    assert " passed" in out and "failed" not in out and "test_base_fit" not in out.partition("short test summary")[2]


def test_confinement_and_networks_on_an_older_kernel(share: Path) -> None:
    """With the Landlock of that time; memory that needs no leave to be executed; agents beside AppArmor; modules that
    nobody has loaded."""
    tests = [
        *system("confinement", "an_agent_answers an_agent_is_asked_about_the_last_steps_too no_agent_no_start"),
        *system("confinement", "filters_that_forbid_forks_still_let_exec_in landlock_paths"),
        *system("confinement", "landlock_paths_are_the_containers"),
        *system("networks", "a_published_port"),
        *system("names", "containers_find_each_other_by_name"),
        # Kinds of interfaces that this host may lack.
        *system("network_parents", "ipvlan_on_the_link_of_its_parent ipvlan_that_routes a_vlan_is_made_and_removed"),
        *system(
            "network_parents", "a_vlan_that_carries_nothing_is_not_left without_a_parent_containers_have_each_other"
        ),
    ]
    out = in_guest(share, "bookworm", tests)
    assert " passed" in out and "failed" not in out and "skipped" not in out


def test_unprivileged_user_with_subordinate_ids(share: Path) -> None:
    files = ["tests/guest/inside_rootless.py", "tests/guest/inside_build.py"]
    out = in_guest(share, "trixie", files, user="tester")
    assert " passed" in out and "failed" not in out and "skipped" not in out


def test_unprivileged_user_with_one_id(share: Path) -> None:
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [str(GUEST_RUN), "--kernel", "trixie", "--share", str(share), "--timeout", "200", "--", *words, *PYTEST]
    command += ["tests/guest/inside_rootless.py", "tests/guest/inside_build.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "2 skipped" in done.stdout


def test_systemd(share: Path) -> None:
    """Restart policies over a reboot, the journal, and a server that starts by its socket, with the real ones."""
    command = [str(GUEST_RUN), "--kernel", "trixie", "--packages", "systemd", "--share", str(share), "--timeout", "400"]
    # What systemd leaves behind goes with the guest.
    command += ["--env", "UNDERLAY_SHARED_HOST=1", "--", *PYTEST, "tests/guest/inside_systemd.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0 and "2 passed" in done.stdout, (done.stdout + done.stderr)[-6000:]
