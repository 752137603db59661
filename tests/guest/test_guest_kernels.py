"""What this host may lack, in guests with Debian's kernels.

The stable one: control groups of version 2, overlays that take no unattached layers, quotas, AppArmor, modules. Older and
newer ones; users without privileges. A guest takes long to start, so each runs many tests; and all are in one file, so that
one worker of pytest runs one after the other: two emulated machines at once leave little to the other tests.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guests import GUEST_RUN, MARKS, PYTEST, in_guest, system

pytestmark = MARKS


def test_limits_with_cgroup_version_2(share: Path) -> None:
    """Every limit is exceeded for real, and changed while the container runs."""
    tests = [
        *system("run", "init_exit_codes capabilities_seccomp_and_groups devices process_limit_holds_for_exec_too"),
        *system("run", "shared_memory_counts_to_the_limit"),
        *system("lifecycle", "pause"),
        *system("limits", "memory memory_and_swap_are_set operations_and_writing processes processor_time processors"),
        *system("limits", "devices version_2_refuses_what_it_cannot"),
        *system("update", "a_running_container"),
    ]
    out = in_guest(share, "trixie", tests, seconds=600)
    assert " passed" in out and "failed" not in out


def test_the_runtime_user_namespaces_and_quotas(share: Path) -> None:
    """The runtime's program with version 2; namespaces whose layers must be attached; quotas, which this host may lack."""
    tests = [
        *system("runtime_commands", "a_life exec_by_a_process_file pause update_and_events"),
        *system("runtime_mounts", "a_shared_root_shares_mounts_with_the_host"),
        *system("runtime_specification", "cgroup_is_seen_and_closed devices limits only_devices_that_are_allowed"),
        *system("runtime_specification", "resource_limits"),
        *system("user_namespaces", "life_in_all_its_parts limits_hold owners_inside_and_on_disk"),
        *system("disk_limit", "more_cannot_be_written[quota] each_has_its_own[quota] data_stays_over_restarts[quota]"),
        *system("disk_limit", "a_killed_monitor[quota] projects_are_claimed_and_given_back[quota]"),
    ]
    out = in_guest(share, "trixie", tests, seconds=600)
    assert " passed" in out and "failed" not in out and "[quota" not in out.partition("short test summary")[2]


def test_apparmor_and_networks(share: Path) -> None:
    # In this order: the first container loads the profile, and the test of that has it.
    out = in_guest(share, "trixie", ["tests/guest/inside_apparmor.py", *system("networks", "a_published_port")])
    assert " passed" in out and "failed" not in out and "skipped" not in out


@pytest.mark.parametrize("kernel", ["bullseye", "trixie-backports"])  # bookworm: see below
def test_older_and_newer_kernels(share: Path, kernel: str) -> None:
    # Builds need nothing of the kernel that came between the oldest and this host's.
    build = ["tests/guest/inside_build.py"] if kernel == "bullseye" else []
    # What its processor, which is emulated, cannot run is told beforehand.
    fit = "tests/system/test_base_fit.py"
    chosen = "exit_codes or namespaces or masked"
    if build:
        chosen += " or bind_mounts or users_by_name or inside_build or processor"
    words = ["tests/system/test_run.py", *build, fit, "-k", chosen]
    out = in_guest(share, kernel, words)
    assert " passed" in out and "failed" not in out and "test_base_fit" not in out.partition("short test summary")[2]


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


def test_confinement_and_networks_on_an_older_kernel(share: Path) -> None:
    """With the Landlock of that time; memory that needs no leave to be executed; agents beside AppArmor; modules that
    nobody has loaded."""
    tests = [
        *system("confinement", "an_agent_answers an_agent_is_asked_about_the_last_steps_too no_agent_no_start"),
        *system("confinement", "filters_that_forbid_forks_still_let_exec_in landlock_paths"),
        *system("confinement", "landlock_paths_are_the_containers"),
        *system("networks", "a_published_port containers_find_each_other_by_name"),
    ]
    out = in_guest(share, "bookworm", tests)
    assert " passed" in out and "failed" not in out and "skipped" not in out
