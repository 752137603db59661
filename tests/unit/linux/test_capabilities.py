"""Capabilities: names, masks, and the sets of a child process that gives them up."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engines import needs_root
from underlay.linux import process
from underlay.linux.security import capabilities


def in_child(work: Callable[[], None]) -> dict[str, int]:
    """Do `work` in a child and return its capability sets afterwards; a failure comes back as AssertionError."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writer, repr(capabilities.current()).encode())
        except BaseException as error:
            os.write(writer, f"!{error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    assert not text.startswith("!"), text
    return eval(text)  # what our own child has written


def test_names_have_the_kernels_numbers() -> None:
    assert capabilities.NUMBERS["CAP_CHOWN"] == 0
    assert capabilities.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(set(capabilities.NUMBERS.values())) == len(capabilities.NAMES) == 41


def test_numbers_are_those_of_the_header() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers (package linux-libc-dev)")
    found = dict(re.findall(r"^#define (CAP_[A-Z_]+)\s+(\d+)$", header.read_text(), re.M))
    assert found
    for name, number in found.items():
        assert capabilities.NUMBERS[name] == int(number)


def test_mask() -> None:
    assert capabilities.mask([]) == 0
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    with pytest.raises(KeyError):
        capabilities.mask(["CAP_FLY"])


def test_last_known_is_what_the_kernel_says() -> None:
    assert capabilities.last_known() == int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert capabilities.last_known_cached() == capabilities.last_known()


def test_sets_of_a_child() -> None:
    needs_root()
    keep = (
        capabilities.mask(["CAP_CHOWN", "CAP_KILL", "CAP_SETPCAP", "CAP_AUDIT_READ"]) & capabilities.current()["CapPrm"]
    )

    def drop() -> None:
        capabilities.limit_bounding(keep, capabilities.last_known())
        capabilities.apply(keep, keep, keep & 1)
        capabilities.set_ambient(keep & 1)

    found = in_child(drop)
    assert (found["CapBnd"], found["CapEff"], found["CapPrm"]) == (keep, keep, keep)
    assert (found["CapInh"], found["CapAmb"]) == (1, 1)

    def drop_and_clear() -> None:
        drop()
        capabilities.set_ambient(0)
        capabilities.apply(0, keep, 0)

    found = in_child(drop_and_clear)
    assert (found["CapEff"], found["CapPrm"], found["CapInh"], found["CapAmb"]) == (0, keep, 0, 0)


def test_permitted_now_is_what_proc_says() -> None:
    assert capabilities.permitted_now() == capabilities.current()["CapPrm"]


def test_what_is_given_up_does_not_come_back() -> None:
    needs_root()

    def try_again() -> None:
        capabilities.apply(0, 0, 0)
        try:
            capabilities.apply(1, 1, 0)
        except Exception:
            return
        raise RuntimeError("a dropped capability came back")

    assert in_child(try_again)["CapPrm"] == 0


def test_set_limit_and_no_new_privs() -> None:
    def work() -> None:
        process.set_limit("RLIMIT_CORE", 4, 33, 44)  # not NOFILE: the tests of this process may have many files open
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
        import resource

        assert resource.getrlimit(resource.RLIMIT_CORE) == (33, 44)
        assert "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()

    in_child(work)
