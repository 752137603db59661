"""Filters that ask: what is sent to an agent, what is refused, flags by their JSON path."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from underlay.errors import InvalidInput, StartFailed
from underlay.linux.security import seccomp
from underlay.runtime.apply import seccomp_notify

ASKS = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}


def test_who_needs_an_agent() -> None:
    assert not seccomp_notify.wanted(None) and not seccomp_notify.wanted({"defaultAction": "SCMP_ACT_ALLOW"})
    # A path that nobody asks for is ignored (config-linux, "Seccomp").
    assert not seccomp_notify.wanted({"listenerPath": "/a", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO"}]})
    assert seccomp_notify.wanted({"listenerPath": "/a", "syscalls": [ASKS]})
    assert seccomp_notify.announcer({"syscalls": []}, {}) is None


@pytest.mark.parametrize(
    ("profile", "where"),
    [
        ({"syscalls": [ASKS]}, "linux.seccomp.listenerPath"),
        ({"listenerMetadata": "x"}, "linux.seccomp.listenerMetadata"),
        ({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a"}, "linux.seccomp.defaultAction"),
        ({"listenerPath": "/a", "syscalls": [ASKS, {**ASKS, "names": ["sendmsg"]}]}, r"linux\.seccomp\.syscalls\[1\]"),
    ],
)
def test_what_cannot_work(profile: dict[str, object], where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        seccomp_notify.wanted(profile)


def test_flags() -> None:
    assert seccomp.flags_of(None) == 0 and seccomp.flags_of({"flags": []}) == 0
    # Of one thread there is nothing to synchronize, and with a listener the kernel would refuse the flag.
    assert seccomp.flags_of({"flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]}) == 2
    assert seccomp.flags_of({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}) == 32
    for name in ("SECCOMP_FILTER_FLAG_NEW_LISTENER", "X", "", 7):
        with pytest.raises(InvalidInput, match=r"linux\.seccomp\.flags\[1\]"):
            seccomp.flags_of({"flags": ["SECCOMP_FILTER_FLAG_LOG", name]})


def test_what_an_agent_gets(tmp_path: Path) -> None:
    path = str(tmp_path / "agent")
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.bind(path)
    agent.listen()
    reader, writer = os.pipe()
    state = seccomp_notify.state_of("id", "running", "/bundle", {"annotations": {"a": "b" * 100_000}})
    announce = seccomp_notify.announcer(
        {"listenerPath": path, "listenerMetadata": "m", "syscalls": [ASKS]}, {**state, "pid": 7}
    )
    assert announce is not None
    if os.fork() == 0:
        announce(42, reader)
        os._exit(0)
    connection, _ = agent.accept()
    data, [fd], _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while piece := connection.recv(1 << 20):
        data += piece
    os.wait()
    os.write(writer, b"x")
    assert os.read(fd, 1) == b"x"
    told = json.loads(data)
    assert told["pid"] == 42 and told["metadata"] == "m" and told["fds"] == ["seccompFd"]
    assert (
        told["state"]["pid"] == 7
        and told["state"]["bundle"] == "/bundle"
        and len(told["state"]["annotations"]["a"]) == 100_000
    )
    for number in (fd, reader, writer):
        os.close(number)


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    announce = seccomp_notify.announcer({"listenerPath": str(tmp_path / "no"), "syscalls": [ASKS]}, {})
    assert announce is not None
    with pytest.raises(StartFailed, match="cannot hand the seccomp listener"):
        announce(1, reader)
    with pytest.raises(OSError):
        os.fstat(reader)
    os.close(writer)
