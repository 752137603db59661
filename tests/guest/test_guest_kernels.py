"""What this host may lack, in guests with Debian's stable kernel.

Control groups of version 2, overlays that take no unattached layers, quotas, AppArmor, modules. A guest takes long to
start, so each runs many tests; and a file is run by one worker of pytest, one after the other: two emulated machines at
once leave little to the other tests.
"""

from __future__ import annotations

from pathlib import Path

from guests import MARKS, in_guest, system

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
        *system("other_runtimes", "a_program[ours] a_life[ours] a_killed_monitor[ours]"),
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
