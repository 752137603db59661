"""Ready actions for the rules of a test's server: answers, cuts, stalls, drips, lies.

An action is a function (handler, match) that returns whether it has answered. Those that answer differently (`status`,
`body`, `redirect`, `endless`) end there; those that change how the ordinary answer is given (`cut_after`, `drip`,
`no_range`, …) return False, so that they can be combined, with each other too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fakeserver import GIB, PIECE, Action, Cut, Handler, Headers, _merged


def status(code: int, headers: Headers | None = None, body: bytes = b"", early: bool = False) -> Action:
    """Answer with this status. `early`: before the request's body was read, and hang up then."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, body, headers, early=early)
        return True

    return act


def body(data: bytes, kind: str = "application/json", headers: Headers | None = None, code: int = 200) -> Action:
    """Answer with this body; `headers` may lie, about Content-Length too."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, data, headers, kind)
        return True

    return act


def redirect(url: str | Callable[[Handler], str], code: int = 307) -> Action:
    """Send the client elsewhere: to a URL, or to what a function says, as in `lambda it: cdn.url + it.asked.target`."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, headers={"Location": url if isinstance(url, str) else url(handler)})
        return True

    return act


def endless(chunk: bytes = b" " * PIECE, kind: str = "application/json", most: int = 10 * GIB) -> Action:
    """Answer with a body that does not end (before 10 GiB), of unknown length."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(200, headers={"Content-Type": kind, "Content-Length": None, "Transfer-Encoding": "chunked"})
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        while handler.command != "HEAD" and handler.asked.sent < most:
            if handler.owner.stopped.is_set():
                raise Cut
            handler.connection.sendall(framed)
            handler.asked.sent += len(chunk)
        if handler.command != "HEAD":
            handler.wfile.write(b"0\r\n\r\n")
        return True

    return act


def hang_up(reset: bool = True) -> Action:
    """End the connection instead of an answer."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.cut(reset)

    return act


def shaped(send: Callable[[Handler, memoryview], None]) -> Action:
    """Answer as ever, but give the body through this function."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.shape = send
        return False

    return act


def cut_after(count: int, reset: bool = True) -> Action:
    """Answer as ever, but end the connection (by a reset or a plain end) after so many bytes of the body."""

    def send(handler: Handler, view: memoryview) -> None:
        handler.send(view[:count])
        handler.cut(reset)

    return shaped(send)


def stall_after(count: int, seconds: float | None = None) -> Action:
    """Answer as ever, but say nothing more after so many bytes of the body, for so long or for ever."""

    def send(handler: Handler, view: memoryview) -> None:
        handler.send(view[:count])
        handler.wait(seconds)
        handler.send(view[count:])

    return shaped(send)


def drip(seconds: float, pieces: int = 20) -> Action:
    """Answer as ever, but spread the body over so many seconds."""

    def send(handler: Handler, view: memoryview) -> None:
        step = max(1, -(-len(view) // pieces))
        for at in range(0, len(view), step):
            handler.wait(seconds / pieces)
            handler.send(view[at : at + step])

    return shaped(send)


def stall(seconds: float | None = None) -> Action:
    """Answer as ever, but only after so long, or never."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.wait(seconds)
        return False

    return act


def cut_upload(count: int, reset: bool = True) -> Action:
    """Read so many bytes of the request's body (an upload keeps them), then end the connection."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.read_limit = count
        handler.after_limit = lambda handler: handler.cut(reset)
        return False

    return act


def stall_upload(count: int, seconds: float | None = None) -> Action:
    """Read so many bytes of the request's body, then nothing more for so long, or for ever."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.read_limit = count
        handler.after_limit = lambda handler: handler.wait(seconds)
        return False

    return act


def altered(change: Callable[[bytes], bytes]) -> Action:
    """Answer as ever, but with another body; headers such as the digest still tell of the true one."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.changes.append(change)
        return False

    return act


def flipped(at: int) -> Action:
    """Answer as ever, but with one byte of the body wrong."""
    return altered(lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def with_headers(headers: Headers) -> Action:
    """Answer as ever, but with these headers; None leaves one out."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.extra = _merged(handler.extra, headers)
        return False

    return act


def no_range(handler: Handler, _: re.Match[str]) -> bool:
    """Answer as ever, but as if no range had been asked for."""
    handler.ignores_range = True
    return False


def wrong_range(shift: int, honest: bool = True) -> Action:
    """Answer with a range that begins `shift` bytes later than asked; Content-Range says so if `honest`."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.range_shift = (shift, honest)
        return False

    return act
