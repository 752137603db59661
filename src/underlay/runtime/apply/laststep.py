"""The last step as a list of system calls, made by a tiny program from sealed memory: what it names cannot be us.

Operations that must come last (limits, filter, ids, capabilities, the program itself) do not act, they add calls here.
Then this process executes `tools/last_step.c` with the list behind it, in one sealed memfd. From there on nothing of the
host is left in the process: no interpreter, no library, no descriptor. A link to /proc/self/exe leads to that memory,
and it is closed to writing (attacks RT-01, RT-03; decision 0010).
"""

from __future__ import annotations

import fcntl
import os
import sys

from ...errors import StartFailed
from ...lean.jsontext import dumps
from ...linux import libc, process
from .last_step_program import PROGRAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TypedDict

    # (kind, value): the answer of an earlier call, or the address where it is kept.
    Argument = int | tuple[str, int]

    class Failure(TypedDict, total=False):
        """What a process tells when it cannot go on; `cases` are other (message, hint, code) by the kernel's number."""

        step: str
        message: str
        hint: str
        code: int
        errno: int
        cases: dict[str, tuple[str, str, int]]


FAIL, REAP = -1, -2  # instead of a system call's number
_BASE = 0x400000
_LIST = 0x401000
_SLOTS = 256
_LONGEST = 7000  # bytes of a failure's text
MFD_EXEC = 0x10
F_ADD_SEALS = 1033
LISTENER = b"seccomp-listener"  # what the listener of a filter that asks travels with
_ALL_SEALS = 0xF  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE (fcntl(2))
_MODES = {"answer": 1, "address": 2}


class Call:
    """One system call of the list."""

    __slots__ = ("arguments", "ends_on_zero", "errnos", "number", "parent", "slot", "tag", "text")

    def __init__(self, tag: str, number: int, arguments: tuple[Argument, ...]) -> None:
        self.tag = tag  # the operation that it belongs to, by which `program.arrange` puts the list in order
        self.number = number
        self.arguments = arguments
        self.errnos: tuple[int, ...] = ()
        self.ends_on_zero = False
        self.parent = False
        self.slot = -1
        self.text = b""


class Script:
    """Calls to be made, and what they point to."""

    __slots__ = ("_data", "_file", "_kept", "_next", "_texts", "calls", "inherited", "listener", "step")

    def __init__(self, sealed: bool = True) -> None:
        self.calls: list[Call] = []
        self.step = ""  # the operation that is adding calls, in words
        self.inherited: list[int] = []  # descriptors that calls use; none of them reaches the program
        self.listener: Call | None = None  # whose answer is a listener, to be handed to the parent
        self._data = bytearray()
        self._kept: list[object] = []  # what calls point to, so that it stays
        self._texts: dict[str, bytes] = {}
        self._next = 0
        self._file = _sealable() if sealed and libc.MACHINE in PROGRAMS else -1

    def renew(self) -> None:
        """Let the calls be made by a process that was forked from the one that added them: the memory is not shared."""
        if self._file >= 0:
            self._file = _sealable()

    def place(self, data: bytes) -> int:
        """Put bytes where calls can point to them; returns their address."""
        if self._file < 0:
            ctypes = libc.load()
            buffer = ctypes.create_string_buffer(data, len(data) or 1)
            self._kept.append(buffer)
            return int(ctypes.addressof(buffer))
        self._data += bytes(-len(self._data) % 8)
        address = _LIST + 24 + len(self._data)
        self._data += data
        return address

    def string(self, text: str) -> int:
        """Put a string, as the kernel reads them; returns its address. Raises ValueError when it holds a NUL."""
        data = os.fsencode(text)
        if b"\0" in data:
            raise ValueError("embedded null byte")
        return self.place(data + b"\0")

    def strings(self, texts: list[str]) -> int:
        """Put a list of strings as execve(2) wants them; returns its address."""
        return self.place(libc.words(8, *[self.string(text) for text in texts], 0))

    def add(
        self,
        tag: str,
        name: str,
        *arguments: Argument,
        failure: str = "",
        code: int = 125,
        cases: dict[str, tuple[str, str, int]] | None = None,
        errnos: tuple[int, ...] = (),
        ends_on_zero: bool = False,
        parent: bool = False,
        keep: bool = False,
    ) -> int:
        """Add a call; returns the slot of its answer when `keep` is wanted, else -1.

        `failure` is the message when the kernel refuses (its reason is added); `cases` gives other words, hint and exit
        code for some errors; `errnos` are no failures; a zero answer ends the process when `ends_on_zero`. `parent`: made
        by the parent of a fork only. The name "fail" always fails with the errno given, "reap" waits as process 1.
        """
        number = FAIL if name == "fail" else REAP if name == "reap" else libc.number(name)
        call = Call(tag, number, arguments)
        call.errnos, call.ends_on_zero, call.parent = errnos, ends_on_zero, parent
        call.text = self._text(failure or name, code, cases)
        if keep:
            call.slot, self._next = self._next, self._next + 1
        self.calls.append(call)
        return call.slot

    def inherit(self, fd: int) -> int:
        """Let the calls use descriptor `fd`, which they must close or mark; returns it."""
        self.inherited.append(fd)
        return fd

    def _text(self, message: str, code: int, cases: dict[str, tuple[str, str, int]] | None) -> bytes:
        if cases is None and message in self._texts:
            return self._texts[message]
        record: Failure = {"step": self.step[:300], "message": message[:2000], "hint": "", "code": code}
        if cases:
            record["cases"] = {number: (m[:600], h[:300], c) for number, (m, h, c) in cases.items()}
        text = b"!" + dumps(record)[:-1].encode("utf-8", "replace") + b',"errno":'
        if len(text) > _LONGEST:
            text = b"!" + dumps({"message": message[:200], "hint": "", "code": code})[:-1].encode() + b',"errno":'
        if cases is None:
            self._texts[message] = text
        return text

    def become(self, calls: list[Call], channel: int) -> NoReturn:
        """Make the calls, in this order, as the tiny program; failures are sent to `channel`.

        Raises StartFailed when the program cannot be executed. Where the kernel takes no executable memory, or for a
        processor that there is no such program for, this process makes the calls itself.
        """
        first = [Call("hide", libc.number("prctl"), (process.PR_SET_DUMPABLE, 0, 0, 0, 0))]
        for fd in (channel, *self.inherited):
            os.set_inheritable(fd, True)
            first.append(Call("hide", libc.number("fcntl"), (fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)))
        for call in first:
            call.text = self._text("last step", 125, None)
        calls = [*first, *calls]
        if self._file < 0:
            self._make_here(calls, channel)
        calls = self._with_listener(calls, channel)
        image = memoryview(self.image(libc.MACHINE, calls, channel))
        while image:
            image = image[os.write(self._file, image) :]
        fcntl.fcntl(self._file, F_ADD_SEALS, _ALL_SEALS)
        try:
            os.execve(self._file, ["init"], {})
        except OSError as error:
            raise StartFailed(f"cannot execute sealed memory: {(error.strerror or '').lower()}", 125) from None

    def _with_listener(self, calls: list[Call], channel: int) -> list[Call]:
        """Return the calls with one more that sends the listener, whose number is the lowest that is free then."""
        if self.listener is None:
            return calls
        where = calls.index(self.listener)
        opened: set[int] = set()
        closed: set[int] = set()
        kept: dict[int, int] = {}  # slot of an answer → the number that it will be

        def lowest() -> int:
            number = 0
            while number in opened or (number not in closed and _survives(number)):
                number += 1
            return number

        for call in calls[:where]:
            if call.number == libc.number("openat2"):
                kept[call.slot] = lowest()
                opened.add(kept[call.slot])
            elif call.number == libc.number("close") and not call.parent:
                argument = call.arguments[0]
                number = argument if isinstance(argument, int) else kept[argument[1]]
                opened.discard(number)
                closed.add(number)
        return [*calls[: where + 1], self._sending(channel, lowest()), *calls[where + 1 :]]

    def _sending(self, channel: int, number: int) -> Call:
        # struct cmsghdr with one descriptor, struct iovec, struct msghdr (recvmsg(2), cmsg(3)).
        control = self.place(libc.words(8, 20) + libc.words(4, 1, 1, number, 0))
        part = self.place(libc.words(8, self.place(LISTENER), len(LISTENER)))
        header = self.place(libc.words(8, 0, 0, part, 1, control, 24, 0))
        send = Call("seccomp", libc.number("sendmsg"), (channel, header, 0))
        send.text = self._text("hand over the seccomp listener", 125, None)
        return send

    def image(self, machine: str, calls: list[Call], channel: int) -> bytes:
        """Return the ELF file (elf(5)) that makes `calls` on a processor `machine`."""
        entry, code = PROGRAMS[machine]
        texts: dict[bytes, int] = {}
        table = bytearray()
        for call in calls:
            if call.text not in texts:
                texts[call.text] = self.place(call.text)
            modes = 0x1000 if call.ends_on_zero else 0
            values = [0] * 6
            for index, argument in enumerate(call.arguments):
                if isinstance(argument, int):
                    values[index] = argument
                else:
                    kind, values[index] = argument
                    modes |= _MODES[kind] << 2 * index
            errnos = int.from_bytes(bytes(call.errnos), "little")
            table += libc.words(
                8, call.number, *values, modes, errnos, call.parent, call.slot, texts[call.text], len(call.text)
            )
        where = self.place(bytes(table))
        content = libc.words(8, len(calls), channel, where) + bytes(self._data)
        text = bytes.fromhex(code)
        size = _LIST - _BASE + len(content)
        header = b"\x7fELF\x02\x01\x01" + bytes(9)
        header += libc.words(2, 2, {"x86_64": 62, "aarch64": 183}[machine]) + libc.words(4, 1)
        header += libc.words(8, entry, 64, 0) + libc.words(4, 0) + libc.words(2, 64, 56, 2, 64, 0, 0)
        # PT_LOAD, read and execute: all of it. PT_GNU_STACK: the stack is not executed.
        header += libc.words(4, 1, 5) + libc.words(8, 0, _BASE, _BASE, size, size, 0x1000)
        header += libc.words(4, 0x6474E551, 6) + libc.words(8, 0, 0, 0, 0, 0, 16)
        return (header + text).ljust(_LIST - _BASE, b"\0") + content

    def _make_here(self, calls: list[Call], channel: int) -> NoReturn:
        """What tools/last_step.c does, by the interpreter."""
        ctypes = libc.load()
        answers = (ctypes.c_long * _SLOTS)()
        base = ctypes.addressof(answers)
        parent = False
        for call in calls:
            if call.parent != parent:
                continue
            values = [
                a if isinstance(a, int) else answers[a[1]] if a[0] == "answer" else base + 8 * a[1]
                for a in call.arguments
            ]
            if call.number == FAIL:
                _fail(call, values[0], channel)
            if call.number == REAP:
                import _signal

                from ..process import reaper

                process.close_from(0)
                reaper.loop(values[0], set(_signal.valid_signals()))
            if call.number == libc.number("clone"):
                answer = process.clone(values[0] & ~process.SIGCHLD)
                parent = answer > 0
            else:
                answer = libc.call(call.number, *values)
                if answer < 0:
                    answer = -libc.errno()
                    if -answer not in call.errnos:
                        _fail(call, -answer, channel)
            if answer == 0 and call.ends_on_zero:
                break
            if call.slot >= 0:
                answers[call.slot] = answer
            if call is self.listener:
                libc.call(libc.number("sendmsg"), *self._sending(channel, answer).arguments)
        os._exit(125)


def _survives(fd: int) -> bool:
    """Return whether descriptor `fd` stays open over an exec: ours, and those that a caller lets us pass on."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def _fail(call: Call, number: int, channel: int) -> NoReturn:
    try:
        os.write(channel, call.text + b"%d}" % number)
    finally:
        os._exit(125)


def _sealable() -> int:
    """Return new memory that can be executed (memfd_create(2)); -1 where the host allows none (vm.memfd_noexec)."""
    for flags in (MFD_EXEC, 0):
        try:
            return os.memfd_create("init", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
        except OSError as error:
            if error.errno != 22:  # before Linux 6.3 the flag is not known
                break
    return -1


def answer(slot: int) -> tuple[str, int]:
    """Return an argument that stands for the answer of an earlier call."""
    return "answer", slot


def address(slot: int) -> tuple[str, int]:
    """Return an argument that stands for the address of an answer: eight bytes."""
    return "address", slot


def failure(message: Failure) -> StartFailed:
    """Return the error that a process's message, the object after its `!`, stands for."""
    text, hint, code = message["message"], message.get("hint") or "", message["code"]
    number = message.get("errno")
    if number:
        case = (message.get("cases") or {}).get(str(number))
        if case:
            text, hint, code = case
        else:
            text = f"{text}: {os.strerror(number).lower()}"
    return StartFailed(text, code, hint)


def told(message: str) -> bytes:
    """Return the message of a process that has failed before the last step, as `failure` reads it."""
    record: Failure = {"message": message[:2000], "hint": "", "code": 125}
    return b"!" + dumps(record).encode("utf-8", "replace")


def pid_of(message: bytes) -> int:
    """Return the pid that the parent of a fork has sent: eight bytes, as `write` of an answer sends them."""
    return int.from_bytes(message, sys.byteorder)
