"""What a new process says is heard, also when it ends before it has read all that it was told."""

from __future__ import annotations

import os

import pytest

from underlay.errors import StartFailed
from underlay.runtime.monitor import control
from underlay.runtime.process import child_channel

FAILURE = b'!{"step": "mount /proc", "message": "it cannot be mounted", "hint": "", "code": 125}'


def test_a_failure_is_heard_though_a_word_was_not_read() -> None:
    ours, theirs = control.pair()
    assert child_channel.open_gate(ours, b"grouped")
    theirs.send(FAILURE)
    theirs.close()
    with pytest.raises(StartFailed, match="it cannot be mounted"):
        child_channel.await_start(ours)
    assert not child_channel.open_gate(ours, b"mapped")
    ours.close()


def test_messages_and_their_end() -> None:
    ours, theirs = control.pair()
    assert child_channel.open_gate(ours, b"grouped")
    null = os.open("/dev/null", os.O_RDONLY)
    control.send(theirs, {}, (null,))
    theirs.send(b"created")
    theirs.close()
    data, fd = child_channel.message(ours)
    assert data == b"{}" and os.fstat(fd).st_rdev == os.fstat(null).st_rdev and not os.get_inheritable(fd)
    assert child_channel.message(ours) == (b"created", -1)
    assert child_channel.message(ours) == (b"", -1)
    for each in (fd, null):
        os.close(each)
    ours.close()
