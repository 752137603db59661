"""What a new process says is heard, also when it ends before it has read all that it was told."""

from __future__ import annotations

import os

import pytest

from underlay.errors import StartFailed
from underlay.runtime import control, hearing

FAILURE = b'!{"step": "mount /proc", "message": "it cannot be mounted", "hint": "", "code": 125}'


def test_a_failure_is_heard_though_a_word_was_not_read() -> None:
    ours, theirs = control.pair()
    assert hearing.open_gate(ours, b"grouped")
    theirs.send(FAILURE)
    theirs.close()
    with pytest.raises(StartFailed, match="it cannot be mounted"):
        hearing.await_start(ours)
    assert not hearing.open_gate(ours, b"mapped")
    ours.close()


def test_messages_and_their_end() -> None:
    ours, theirs = control.pair()
    assert hearing.open_gate(ours, b"grouped")
    null = os.open("/dev/null", os.O_RDONLY)
    control.send(theirs, {}, (null,))
    theirs.send(b"created")
    theirs.close()
    data, fd = hearing.message(ours)
    assert data == b"{}" and os.fstat(fd).st_rdev == os.fstat(null).st_rdev and not os.get_inheritable(fd)
    assert hearing.message(ours) == (b"created", -1)
    assert hearing.message(ours) == (b"", -1)
    for each in (fd, null):
        os.close(each)
    ours.close()
