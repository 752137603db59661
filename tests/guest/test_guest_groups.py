"""Control groups of version 2 and an overlay that takes no unattached layers, in a guest of Debian's stable kernel."""

from __future__ import annotations

from pathlib import Path

from guests import MARKS, in_guest

pytestmark = MARKS


def test_cgroup_version_2(share: Path) -> None:
    words = ["tests/system/test_run.py", "tests/system/test_lifecycle.py"]
    chosen = "init_exit_codes or capabilities_seccomp or devices or shared_memory or exec_too or pause"
    out = in_guest(share, "trixie", [*words, "-k", chosen])
    assert " passed" in out and "failed" not in out


def test_the_runtime_with_cgroup_version_2(share: Path) -> None:
    """The specification and the commands of the runtime's program."""
    words = [f"tests/system/test_runtime_{name}.py" for name in ("mounts", "specification", "commands")]
    chosen = "life or pause or update or exec_by or limits or devices or cgroup or shared_root"
    out = in_guest(share, "trixie", [*words, "-k", chosen])
    assert " passed" in out and "failed" not in out


def test_limits_with_cgroup_version_2(share: Path) -> None:
    """Every limit is exceeded for real, and changed while the container runs."""
    words = ["tests/system/test_limits.py", "tests/system/test_update.py"]
    chosen = "memory or processes or processor or devices or operations or version_2 or running"
    out = in_guest(share, "trixie", [*words, "-k", chosen], seconds=600)
    assert " passed" in out and "failed" not in out


def test_user_namespaces_with_cgroup_version_2(share: Path) -> None:
    """On a kernel whose overlays take no layers that are not attached."""
    chosen = "owners or life or limits_hold"
    out = in_guest(share, "trixie", ["tests/system/test_user_namespaces.py", "-k", chosen], seconds=600)
    assert " passed" in out and "failed" not in out
