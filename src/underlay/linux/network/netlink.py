"""Netlink: requests to the kernel and its answers (netlink(7)), with its own words about what was wrong."""

from __future__ import annotations

import _socket
import sys

from ...errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROUTE = 0  # families of netlink (linux/netlink.h)
NETFILTER = 12

_REQUEST = 0x1  # flags of a message
ACK = 0x4
DUMP = 0x300
REPLACE = 0x100
EXCLUSIVE = 0x200
CREATE = 0x400
APPEND = 0x800

_ERROR, _DONE = 2, 3  # kinds of an answer
_MESSAGE = 1  # attribute of an extended acknowledgement
_DUMP_INTERRUPTED = 0x10
_CAPPED, _EXTENDED = 0x100, 0x200  # flags of an acknowledgement
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SEND_BUFFER_FORCE, _BUFFER = 32, 8 << 20  # SO_SNDBUFFORCE; bytes
_NESTED = 0x8000
_KIND = 0x3FFF
_SIZE = 1 << 17  # of a receive: the kernel's messages are shorter
_TRIES = 16


def number(value: int, size: int = 4) -> bytes:
    """Return an unsigned number in the host's byte order, in which routing messages have them."""
    return value.to_bytes(size, sys.byteorder)


def attribute(kind: int, data: bytes) -> bytes:
    """Return one attribute (`struct nlattr`), padded."""
    size = len(data) + 4
    return number(size, 2) + number(kind, 2) + data + bytes(-size % 4)


def text(kind: int, value: str) -> bytes:
    """Return an attribute that holds a string with its NUL."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *parts: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes in `data`, in order; what is cut off at the end is left out."""
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 2], sys.byteorder)
        kind = int.from_bytes(data[at + 2 : at + 4], sys.byteorder) & _KIND
        if size < 4 or at + size > len(data):
            return
        yield kind, data[at + 4 : at + size]
        at += (size + 3) & -4


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in `data` by kind; of several of one kind the last."""
    return dict(pieces(data))


class Request:
    """One message: its `kind`, `flags` beside REQUEST, payload; and `what` it does, for errors."""

    __slots__ = ("flags", "kind", "payload", "what")

    def __init__(self, kind: int, payload: bytes, flags: int = 0, what: str = "") -> None:
        self.kind = kind
        self.payload = payload
        self.flags = flags
        self.what = what


class _Answer:
    __slots__ = ("flags", "kind", "payload", "sequence")

    def __init__(self, flags: int, kind: int, sequence: int, payload: bytes) -> None:
        self.flags = flags
        self.kind = kind
        self.sequence = sequence
        self.payload = payload

    @property
    def code(self) -> int:
        """The errno of an acknowledgement, 0 for success."""
        return -int.from_bytes(self.payload[:4], sys.byteorder, signed=True) if self.kind == _ERROR else 0

    def error(self, what: str) -> KernelError:
        """Return what an acknowledgement says, with the kernel's own words as a hint (netlink(7), "extended ACK")."""
        hint = ""
        if self.flags & _EXTENDED:
            # Behind the code stands the head of the request, and all of it unless the answer is capped.
            size = int.from_bytes(self.payload[4:8], sys.byteorder)
            at = 4 + (16 if self.flags & _CAPPED else (size + 3) & -4)
            words = attributes(self.payload[at:]).get(_MESSAGE, b"").rstrip(b"\0").decode("utf-8", "replace")
            hint = f"the kernel says: {words}" if words else ""
        return KernelError(what or "netlink", "", self.code, hint)


class Netlink:
    """A netlink socket in the network namespace of the thread that opens it; it stays there, whichever thread uses it.

    One thread may use it at a time. Requests that fail raise KernelError.
    """

    __slots__ = ("_sequence", "_socket")

    def __init__(self, family: int = ROUTE) -> None:
        try:
            self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        except OSError as error:
            raise KernelError("netlink", "", error.errno or 5) from None
        try:
            # A transaction of many elements is one message.
            self._socket.setsockopt(_socket.SOL_SOCKET, _SEND_BUFFER_FORCE, _BUFFER)
        except OSError:
            pass  # needs CAP_NET_ADMIN; what is small fits anyway
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close it; harmless when repeated."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *requests: Request) -> None:
        """Have requests done, in order. Raises KernelError for the first that fails; those after it are done."""
        first = self._send(requests, ACK)
        self._acknowledged(first, requests)

    def transact(self, begin: Request, requests: Sequence[Request], end: Request) -> None:
        """Have requests done, all or none: those between `begin` and `end` (nfnetlink's batches)."""
        data = [self._message(begin, 0)]
        first = self._sequence + 1
        data += [self._message(request, ACK) for request in requests]
        data.append(self._message(end, 0))
        self._transmit(b"".join(data))
        self._acknowledged(first, requests)

    def dump(self, kind: int, payload: bytes, what: str = "") -> list[tuple[int, bytes]]:
        """Return (kind, payload) of all objects that the kernel lists; they are listed anew if they change meanwhile."""
        request = Request(kind, payload, DUMP, what)
        objects: list[tuple[int, bytes]] = []
        for _ in range(_TRIES):
            first = self._send((request,), 0)
            objects = []
            interrupted = False
            for answer in self._answers(first, what):
                interrupted |= bool(answer.flags & _DUMP_INTERRUPTED)
                if answer.kind != _DONE:
                    objects.append((answer.kind, answer.payload))
            if not interrupted:
                break
        return objects

    def ask(self, kind: int, payload: bytes, what: str = "") -> tuple[int, bytes]:
        """Return (kind, payload) of the one object that is asked for."""
        first = self._send((Request(kind, payload),), ACK)
        answers = [answer for answer in self._answers(first, what) if answer.kind != _ERROR]
        return answers[0].kind, answers[0].payload

    def _send(self, requests: Sequence[Request], flags: int) -> int:
        """Send requests; returns the sequence number of the first."""
        first = self._sequence + 1
        self._transmit(b"".join(self._message(request, flags) for request in requests))
        return first

    def _transmit(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelError("netlink", "", error.errno or 5) from None

    def _message(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        payload = request.payload
        head = number(len(payload) + 16) + number(request.kind, 2) + number(request.flags | flags | _REQUEST, 2)
        return head + number(self._sequence) + number(0) + payload + bytes(-len(payload) % 4)

    def _acknowledged(self, first: int, requests: Sequence[Request]) -> None:
        problem: KernelError | None = None
        left = len(requests)
        while left > 0:
            for answer in self._received():
                if answer.kind != _ERROR:
                    continue
                position = answer.sequence - first
                inside = 0 <= position < len(requests)
                if answer.code and problem is None:
                    problem = answer.error(requests[position].what if inside else "transaction")
                # What begins or ends a transaction is answered only if that fails, and then it is the only answer.
                left = left - 1 if inside else 0 if answer.code else left
        if problem is not None:
            raise problem

    def _answers(self, first: int, what: str) -> Iterator[_Answer]:
        """Yield the answers to a request, with what ends them."""
        while True:
            for answer in self._received():
                if answer.sequence != first:
                    continue
                if answer.code:
                    raise answer.error(what)
                yield answer
                if answer.kind in (_ERROR, _DONE):
                    return

    def _received(self) -> list[_Answer]:
        try:
            data = self._socket.recv(_SIZE)
        except OSError as error:
            raise KernelError("netlink", "", error.errno or 5) from None
        answers = []
        at = 0
        while at + 16 <= len(data):
            size = int.from_bytes(data[at : at + 4], sys.byteorder)
            if size < 16 or at + size > len(data):
                break
            kind, flags = (int.from_bytes(data[at + n : at + n + 2], sys.byteorder) for n in (4, 6))
            sequence = int.from_bytes(data[at + 8 : at + 12], sys.byteorder)
            answers.append(_Answer(flags, kind, sequence, data[at + 16 : at + size]))
            at += (size + 3) & -4
        return answers
