"""Credential helpers: the programs `docker-credential-NAME`, asked one thing at a time, with bounds on time and answer.

The words spoken are those of docker-credential-helpers.
"""

from __future__ import annotations

import os

from ..errors import HelperMissing, UnderlayError

_NOT_FOUND = b"credentials not found in native keychain"
_ANSWER_LIMIT = 1 << 20
_ANSWER_SECONDS = 60.0
_COMPLAINT_LIMIT = 4096  # bytes of a helper's standard error that are kept


def failure(helper: str, what: str, reason: str) -> UnderlayError:
    """Return the error for a helper that fails at `what`."""
    return UnderlayError(
        f"credential helper docker-credential-{helper} failed for {what}: {reason}",
        "no other credential is tried; run it by hand to see its output, which is not shown here, as it may be secret",
    )


def ask(helper: str, action: str, data: bytes, what: str) -> bytes | None:
    """Return what a helper prints, None when it says that it has no such credential.

    Raises HelperMissing, UnderlayError.
    """
    program = _program(f"docker-credential-{helper}")
    if not program:
        raise HelperMissing(
            f"credential helper docker-credential-{helper} failed for {what}: there is no such program on PATH",
            "install it, or take it out of credsStore or credHelpers in docker's config.json",
        )
    try:
        code, answer, complaint = _converse([program, action], data)
    except TimeoutError:
        raise failure(helper, what, f"no answer within {_ANSWER_SECONDS:.0f} seconds") from None
    except OverflowError:
        raise failure(helper, what, f"its answer is longer than {_ANSWER_LIMIT} bytes") from None
    except OSError as error:
        raise failure(helper, what, f"it cannot be run: {error.strerror}") from None
    if code == 1 and answer.strip() == _NOT_FOUND:
        return None
    if code:
        reason = f"exit status {code}" if code > 0 else f"ended by signal {-code}"
        first_line = _first_line(complaint)
        raise failure(helper, what, f"{reason}: {first_line}" if first_line else reason)
    return answer


def _first_line(complaint: bytes) -> str:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in lines[0].strip()) if lines else ""
    return text if len(text) <= 200 else text[:197] + "..."


def _program(name: str) -> str:
    """Return the path of a program on PATH, "" when there is none; never one of the current directory."""
    for directory in os.get_exec_path():
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def _converse(command: list[str], data: bytes) -> tuple[int, bytes, bytes]:
    """Run a program with `data` for its standard input; return its exit code and the bytes of its two outputs.

    Raises TimeoutError after 60 s and OverflowError for an output above 1 MiB, having killed it; OSError when it cannot
    be run. It ends when the program does, even if a child of it (an agent) keeps the pipes open. It stays in our
    process group, so that it may ask for a passphrase on the terminal.
    """
    import subprocess
    from select import POLLIN, POLLOUT, poll
    from time import monotonic

    deadline = monotonic() + _ANSWER_SECONDS
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        ended = os.pidfd_open(process.pid)
        try:
            into, out, err = process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()
            texts = {out: bytearray(), err: bytearray()}
            events = poll()
            for fd, event in ((into, POLLOUT), (out, POLLIN), (err, POLLIN), (ended, POLLIN)):
                os.set_blocking(fd, False)
                events.register(fd, event)
            left = memoryview(data)
            while True:
                ready = [fd for fd, _ in events.poll(max(0, deadline - monotonic()) * 1000)]
                if not ready or monotonic() > deadline:
                    raise TimeoutError
                if into in ready:
                    try:
                        left = left[os.write(into, left) :] if left else left
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        events.unregister(into)
                        process.stdin.close()
                for fd in (out, err):
                    # Its last output may have come after its pipes were read, and before its end was seen.
                    if ended in ready:
                        _drained(fd, texts[fd], True)
                    elif fd in ready and not _drained(fd, texts[fd], False):
                        events.unregister(fd)
                if len(texts[out]) > _ANSWER_LIMIT:
                    raise OverflowError
                del texts[err][_COMPLAINT_LIMIT:]
                if ended in ready:
                    return process.wait(), bytes(texts[out]), bytes(texts[err])
        finally:
            os.close(ended)
            if process.poll() is None:
                process.kill()


def _drained(fd: int, text: bytearray, all_of_it: bool) -> bool:
    """Add what a pipe has to `text`: a piece, or all that there is; returns False at its end."""
    while True:
        try:
            piece = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        text += piece
        if not piece or not all_of_it or len(text) > _ANSWER_LIMIT:
            return bool(piece)
