"""Questions for names, which go from a machine to the host's name server; and whether KVM works."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from underlay.runtime.machine import accelerator
from underlay.runtime.machine.link import Link
from underlay.runtime.machine.networks import names


class Names:
    """The agent's end and the stand-in's, joined by a link, and a name server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.server.setblocking(False)
        left, right = socket.socketpair()
        self.polls = select.poll(), select.poll()
        self.links = Link(self.polls[0], left.detach(), 1 << 20), Link(self.polls[1], right.detach(), 1 << 20)
        monkeypatch.setattr(names, "SERVER", ("127.0.0.1", 0))
        self.asking = names.Asking(self.polls[0], self.links[0])
        self.address = self.asking._socket.getsockname()
        monkeypatch.setattr(names, "SERVER", self.server.getsockname())
        self.answering = names.Answering(self.polls[1], self.links[1])

    def turn(self) -> None:
        """Do what is ready at both ends."""
        for _ in range(10):
            for fd, mask in self.polls[0].poll(2):
                if not self.asking.handle(fd):
                    for _, message in self.links[0].handle(fd, mask) or ():
                        self.asking.answer(message)
            for fd, mask in self.polls[1].poll(2):
                if not self.answering.handle(fd):
                    for _, message in self.links[1].handle(fd, mask) or ():
                        self.answering.ask(message)

    def received(self, sock: socket.socket) -> Any:
        """What has come to a socket: bytes and from whom, or None."""
        self.turn()
        try:
            return sock.recvfrom(9000)
        except BlockingIOError:
            return None


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names(monkeypatch)
    yield made
    made.server.close()
    for asked, _, _ in made.answering._waiting.values():
        asked.close()
    made.asking._socket.close()


def asker(both: Names) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(both.address)
    made.setblocking(False)
    return made


def test_answers_go_to_those_who_have_asked(both: Names) -> None:
    with asker(both) as one, asker(both) as other:
        one.send(b"question one")
        first, at_first = both.received(both.server)
        other.send(b"question two")
        second, at_second = both.received(both.server)
        assert (first, second) == (b"question one", b"question two")
        both.server.sendto(b"answer two", at_second)
        assert both.received(other)[0] == b"answer two" and both.received(one) is None
        both.server.sendto(b"answer one", at_first)
        assert both.received(one)[0] == b"answer one" and both.answering._waiting == {}
        both.server.sendto(b"again", at_first)
        assert both.received(one) is None
        # Its sender is gone, or has never been.
        both.asking.answer({"answer": 1, "data": "00"})
        both.asking.answer({"answer": 999, "data": "00"})


def test_a_server_that_is_not_there(both: Names) -> None:
    both.server.close()
    with asker(both) as one:
        one.send(b"question")
        assert both.received(one) is None and both.answering._waiting == {}
    both.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def test_more_questions_than_are_answered(both: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    with asker(both) as one:
        for number in range(100):
            one.send(b"%d" % number)
            if number % 5 == 4:
                both.turn()
        assert len(both.answering._waiting) <= 64 and len(both.asking._askers) <= 64
        # In time there is room again.
        now = names.time.monotonic()
        monkeypatch.setattr(names.time, "monotonic", lambda: now + 11)
        one.send(b"later")
        both.turn()
        assert len(both.answering._waiting) == 1


@pytest.mark.parametrize(
    "message", [{}, {"question": 1}, {"data": "00"}, {"question": "1", "data": "00"}, {"question": 1, "data": "0g"}]
)
def test_questions_that_are_none(both: Names, message: dict[str, Any]) -> None:
    both.answering.ask(message)
    assert both.answering._waiting == {} and both.received(both.server) is None


def test_a_question_that_is_too_long(both: Names) -> None:
    both.answering.ask({"question": 1, "data": "ab" * 20_000})
    assert len(both.received(both.server)[0]) == 4096


# KVM

Fake = Callable[[str], str]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes a QEMU of a shell script, which notes each call; this host has a /dev/kvm."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "_DEVICE", str(device))
    monkeypatch.setattr(accelerator, "_PATIENCE", 1.0)

    def make(script: str) -> str:
        program = tmp_path / "qemu"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        program.chmod(0o755)
        return str(program)

    return make


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo '[    0.0] Linux version 6.12'; sleep 60", ""),
        ("printf 'Linux ver'; sleep 0.1; echo sion; sleep 60", ""),
        ("echo; echo 'KVM internal error. Suberror: 1'; sleep 60", "does not work (KVM internal error. Suberror: 1)"),
        ("echo 'failed to set MSR' >&2; exit 1", "does not work (failed to set MSR)"),
        ("exit 0", "does not work (it ended)"),
        ("sleep 60", "says nothing within 1 seconds"),
        ("head -c 3000000 /dev/zero | tr '\\0' x", "does not work (x"),
    ],
)
def test_whether_kvm_works_is_found_out_once_a_boot(fake: Fake, tmp_path: Path, script: str, why: str) -> None:
    program = fake(script)
    how, reason = accelerator.choose(str(tmp_path), program, "/boot/kernel")
    assert how == ("tcg" if why else "kvm") and why in reason and len(reason) < 400
    assert accelerator.choose(str(tmp_path), program, "/boot/kernel") == (how, reason)
    assert (tmp_path / "calls").read_text().count("-accel kvm") == 1
    # What another boot has found holds no more.
    note = tmp_path / "machine-kvm"
    note.write_text("another-boot\nit did not work")
    assert accelerator.choose(str(tmp_path), program, "/boot/kernel") == (how, reason)
    assert (tmp_path / "calls").read_text().count("-kernel /boot/kernel") == 2


def test_a_host_without_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE", f"{tmp_path}/nothing")
    assert accelerator.choose(str(tmp_path), "/absent", "") == ("tcg", f"this host has no {tmp_path}/nothing")
    assert list(tmp_path.iterdir()) == []
