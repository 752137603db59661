"""Scheduling of this process: policy and priority, I/O priority, processors, personality."""

from __future__ import annotations

import os

from ..errors import InvalidInput
from ..human import whole
from . import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .specification import IoPriority, Personality, Scheduler

# sched(7), linux/sched.h. SCHED_ISO has a name and no number that the kernel takes.
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
DOMAINS = {"LINUX": 0x0000, "LINUX32": 0x0008}  # personality(2), PER_LINUX and PER_LINUX32
_SELF, _WHO_PROCESS, _CLASS_SHIFT = 0, 1, 13


def attributes(scheduler: Scheduler, where: str) -> list[int]:
    """Return [policy, flags, nice, priority, runtime, deadline, period] of an OCI `process.scheduler`.

    Raises InvalidInput naming the field below `where`.
    """
    policy = scheduler.get("policy")
    if policy not in POLICIES:
        raise InvalidInput(f"{where}.policy: unknown policy {policy!r}")
    flags = 0
    for position, name in enumerate(scheduler.get("flags") or []):
        if name not in FLAGS:
            raise InvalidInput(f"{where}.flags[{position}]: unknown flag {name!r}")
        flags |= FLAGS[name]
    given = (
        scheduler.get("nice"),
        scheduler.get("priority"),
        scheduler.get("runtime"),
        scheduler.get("deadline"),
        scheduler.get("period"),
    )
    values = [int(value or 0) for value in given]
    if not -20 <= values[0] <= 19:
        raise InvalidInput(f"{where}.nice: {values[0]} is not between -20 and 19")
    if values[1] and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidInput(f"{where}.priority: only SCHED_FIFO and SCHED_RR have one")
    if any(values[2:]) and policy != "SCHED_DEADLINE":
        raise InvalidInput(f"{where}: runtime, deadline and period belong to SCHED_DEADLINE")
    return [POLICIES[policy], flags, *values]


def set_attributes(values: list[int]) -> None:
    """Give this process the scheduling that `attributes` returned (sched_setattr(2)). Raises KernelError."""
    policy, flags, nice, priority, runtime, deadline, period = values
    # struct sched_attr, version 0 (48 bytes).
    data = libc.words(4, 48, policy) + libc.words(8, flags) + libc.words(4, nice, priority)
    data += libc.words(8, runtime, deadline, period)
    libc.check("set scheduling policy", "", "sched_setattr", _SELF, data, 0)


def io_priority(setting: IoPriority, where: str) -> int:
    """Return ioprio_set(2)'s word for an OCI `process.ioPriority`; raises InvalidInput naming the field."""
    kind, priority = setting.get("class"), int(setting.get("priority") or 0)
    if kind not in IO_CLASSES:
        raise InvalidInput(f"{where}.class: unknown class {kind!r}")
    if not 0 <= priority <= 7:
        raise InvalidInput(f"{where}.priority: {priority} is not between 0 and 7")
    return IO_CLASSES[kind] << _CLASS_SHIFT | priority


def set_io_priority(word: int) -> None:
    """Give this process an I/O priority, which its children inherit (ioprio_set(2)). Raises KernelError."""
    libc.check("set I/O priority", "", "ioprio_set", _WHO_PROCESS, _SELF, word)


def personality_word(personality: Personality, where: str) -> int:
    """Return personality(2)'s word for an OCI `linux.personality`; raises InvalidInput naming the field."""
    domain = personality.get("domain")
    if domain not in DOMAINS:
        raise InvalidInput(f"{where}.domain: unknown domain {domain!r}")
    if personality.get("flags"):
        raise InvalidInput(f"{where}.flags: the specification defines no flag")
    return DOMAINS[domain]


def set_personality(word: int) -> None:
    """Set the execution domain (personality(2)). Raises KernelError."""
    libc.check("set personality", "", "personality", word)


def processors(text: str, where: str) -> list[int]:
    """Return the processors of a list like `0-3,7`; raises InvalidInput naming `where`."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = whole(first), whole(last if dash else first)
        if low < 0 or not 0 <= high <= 1 << 16:
            raise InvalidInput(f"{where}: {text!r} is not a list of processors like 0-3,7")
        numbers.update(range(low, high + 1))
    if not numbers:
        raise InvalidInput(f"{where}: {text!r} names no processor")
    return sorted(numbers)


def set_processors(numbers: list[int]) -> None:
    """Let this process run on these processors only (sched_setaffinity(2)). Raises KernelError."""
    from ..errors import KernelError

    try:
        os.sched_setaffinity(0, numbers)
    except OSError as error:
        raise KernelError("set processors", ",".join(map(str, numbers)), error.errno or 22) from None
