"""Work in threads: order, bounds, the first error, Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from underlay.errors import DigestMismatch
from underlay.registry.transport import Cancelled
from underlay.transfer.arrivals import in_threads


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("transfer-")] == []


def test_results_are_in_order() -> None:
    def work(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    for parallel in (1, 3, 100):
        assert in_threads(work, range(20), parallel) == [n * n for n in range(20)]
    assert in_threads(work, [], 4) == []


def test_so_many_at_a_time() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def work(item: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    in_threads(work, range(12), 3)
    assert most == [3]


def test_one_needs_no_thread() -> None:
    def where(item: int) -> str:
        return threading.current_thread().name

    assert in_threads(where, [1], 8) == in_threads(where, [1], 1) == [threading.current_thread().name]
    assert set(in_threads(where, [1, 2], 8)) != {threading.current_thread().name}


def test_the_first_error_ends_it() -> None:
    """It is raised; those who are told to stop because of it say so, which is no news, and nothing else is begun."""
    stop = threading.Event()
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            time.sleep(0.1)
            raise DigestMismatch("it", "a", "b")
        if stop.wait(10):
            raise Cancelled("interrupted")

    with pytest.raises(DigestMismatch):
        in_threads(work, range(10), 3, stop.set)
    assert sorted(begun) == [0, 1, 2]


def test_an_error_while_others_work_without_being_told() -> None:
    done = []

    def work(item: int) -> None:
        if item == 0:
            time.sleep(0.05)
            raise ValueError
        time.sleep(0.1)
        done.append(item)

    with pytest.raises(ValueError):
        in_threads(work, range(10), 2)
    assert done == [1]


_timers: list[threading.Timer] = []


@pytest.fixture
def interruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("only the main thread is interrupted")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    # One that comes late, on a busy host, must not end the run of all tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while _timers:
        timer = _timers.pop()
        timer.cancel()
        timer.join()
    signal.signal(signal.SIGINT, before)


def interrupt(after: float) -> None:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(after, signal.pthread_kill, (main, signal.SIGINT))
    timer.daemon = True
    _timers.append(timer)
    timer.start()


def test_ctrl_c(interruptible: None) -> None:
    stop = threading.Event()
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if stop.wait(10):
            raise Cancelled("interrupted")

    interrupt(0.2)
    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(10), 3, stop.set)
    assert stop.is_set() and sorted(begun) == [0, 1, 2]


def test_ctrl_c_again_and_again(interruptible: None) -> None:
    """Who is in the middle of something that must be whole is waited for, however often one asks."""
    ended = []

    def work(item: int) -> None:
        time.sleep(0.8)
        ended.append(item)

    for after in (0.1, 0.2, 0.3):
        interrupt(after)
    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(4), 2, lambda: None)
    assert sorted(ended) == [0, 1]


def test_ctrl_c_for_a_single_one(interruptible: None) -> None:
    interrupt(0.2)
    with pytest.raises(KeyboardInterrupt):
        in_threads(lambda item: time.sleep(5), [1], 4, lambda: None)


def test_ctrl_c_after_an_error(interruptible: None) -> None:
    """What went wrong before is told."""

    def work(item: int) -> None:
        if item == 0:
            raise DigestMismatch("it", "a", "b")
        time.sleep(0.6)

    interrupt(0.2)
    with pytest.raises(DigestMismatch):
        in_threads(work, range(2), 2, lambda: None)
