"""Processes: clone, descriptors closed, start times, undumpable."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from engines import needs_root
from underlay.errors import KernelError
from underlay.linux import process


def test_clone_is_a_fork() -> None:
    reader, writer = os.pipe()
    pid = process.clone(0)
    if pid == 0:
        os.write(writer, f"{os.getpid()} {os.getppid()}".encode())
        os._exit(7)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == f"{pid} {os.getpid()}"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def alone(work: Callable[[], None]) -> None:
    """Run `work` where there is one thread: a runner of tests may have more."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_clone_into_namespaces_leaves_the_caller_alone() -> None:
    needs_root()

    def own() -> dict[str, str]:
        return {kind: os.readlink(f"/proc/self/ns/{file}") for kind, (file, _) in process.NAMESPACES.items()}

    def work() -> None:
        before = own()
        reader, writer = os.pipe()
        pid = process.clone(process.CLONE_NEWPID | process.CLONE_NEWUTS | process.CLONE_NEWNS)
        if pid == 0:
            os.write(writer, f"{os.getpid()} {os.readlink('/proc/self/ns/uts')}".encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as file:
            number, uts = file.read().split()
        os.waitpid(pid, 0)
        assert number == "1" and uts != before["uts"] and own() == before

    alone(work)


def test_clone_says_what_the_kernel_refused() -> None:
    def work() -> None:
        with pytest.raises(KernelError) as caught:
            process.clone(process.CLONE_NEWNS | 0x200)  # CLONE_FS with a new mount namespace
        assert caught.value.errno == 22 and caught.value.operation == "clone"

    alone(work)


def open_in_child(keep: tuple[int, ...], numbers: list[int]) -> list[int]:
    """The descriptors above 2 that a child has after close_from(3, keep)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open("/dev/null", os.O_RDONLY)
            for number in numbers:
                os.dup2(null, number)
            os.dup2(writer, 90)
            process.close_from(3, (*keep, 90))
            found = []
            for number in range(3, 400):
                try:
                    os.fstat(number)
                except OSError:
                    continue
                found.append(number)
            os.write(90, repr([n for n in found if n != 90]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return eval(text)  # what our own child has written


@pytest.mark.parametrize("keep", [(), (3,), (50,), (3, 50, 51, 300), (0, 1, 2), (50, 50)])
def test_close_from_keeps_only_what_is_named(keep: tuple[int, ...]) -> None:
    numbers = [3, 7, 50, 51, 52, 300, 301]
    assert open_in_child(keep, numbers) == sorted({n for n in keep if n >= 3})


def test_start_time_names_a_process() -> None:
    own = process.start_time(os.getpid())
    assert own > 0 and process.start_time(os.getpid()) == own
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process.start_time(pid) == 0  # a zombie is no living process
    os.waitpid(pid, 0)
    assert process.start_time(pid) == 0


def test_start_time_of_a_strange_name(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        process.set_name(") R 1 (")
        os.kill(os.getpid(), 19)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    try:
        assert process.start_time(pid) > process.start_time(1)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_pidfd_of_nobody() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(KernelError) as caught:
        process.pidfd_open(pid)
    assert caught.value.errno == 3


def test_undumpable_hides_the_process_from_its_own_user() -> None:
    needs_root()
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(12345, 12345, 12345)
        process.undumpable()
        os.write(tell, b"x")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    looker = os.fork()
    if looker == 0:
        os.setresuid(12345, 12345, 12345)
        try:
            os.readlink(f"/proc/{pid}/exe")
        except PermissionError:
            os._exit(5)
        os._exit(6)
    code = os.waitstatus_to_exitcode(os.waitpid(looker, 0)[1])
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(tell)
    assert code == 5


def test_clone_beside_other_threads() -> None:
    """A raw clone could meet a lock of the C library: fork is used, or the caller is told."""
    import threading

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert process.threaded()
        pid = process.clone(0)
        if pid == 0:
            os._exit(0 if not process.threaded() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        with pytest.raises(KernelError, match="several threads"):
            process.clone(process.CLONE_NEWPID)
        told, tell = os.pipe()
        try:
            pid = process.clone(process.CLONE_NEWUSER)
        except KernelError as error:
            assert error.errno in (1, 28)  # no user namespaces here
            return
        if pid == 0:
            os.read(told, 1)
            os._exit(0)
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
        os.write(tell, b"x")
        assert os.waitpid(pid, 0)[1] == 0
        os.close(told)
        os.close(tell)
    finally:
        stop.set()
        thread.join()
