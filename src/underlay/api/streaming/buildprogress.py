"""A build's events as the lines of docker's classic builder: `Step 1/3 : FROM alpine`, and what the steps write."""

from __future__ import annotations

import re
import threading
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from ...errors import StepFailed
from . import progress

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

    from ...events import Event
    from .progress import Message

_STEP = re.compile(r"\[(?:(?P<where>.*) )? *(?P<step>\d+/\d+)\] (?P<text>.*)", re.DOTALL)
_FAILED = re.compile(r'process "(?P<words>.*)" did not complete successfully: exit code: (?P<code>\d+)', re.DOTALL)
_decoder = getincrementaldecoder("utf-8")


class Steps:
    """Translates build events into messages, and those of pulls of bases. Several threads may call it."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._transfers = progress.Transfers()
        self._decoders: dict[int, IncrementalDecoder] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> list[Message]:
        """Return the messages for an event, often none."""
        if self._quiet:
            return []
        if not event.kind.startswith("build."):
            return self._transfers(event)
        if event.kind == "build.warning":
            return [{"stream": f"[Warning] {event.subject}\n"}]
        number = int(str(event.attributes["number"]))
        if event.kind == "build.log":
            return self._log(number, event.attributes["data"])
        step = _STEP.fullmatch(event.subject)
        if step is None:
            return []  # something that the classic builder does not tell
        if event.kind == "build.begin":
            where = f"[{step['where']}] " if step["where"] else ""
            return [{"stream": f"Step {step['step']} : {where}{step['text']}\n"}]
        if event.kind == "build.cached":
            return [{"stream": " ---> Using cache\n"}]
        if event.kind in ("build.end", "build.failed", "build.canceled"):
            return self._log(number, b"", final=True)
        return []

    def _log(self, number: int, data: Any, final: bool = False) -> list[Message]:
        with self._lock:
            decoder = self._decoders.setdefault(number, _decoder("replace"))
            text = decoder.decode(data, final)
        return [{"stream": text}] if text else []


def failure(error: BaseException) -> Message:
    """Return an error as a message; that of a step's program, if it has ended by itself, in the words of docker's classic
    builder, by which clients know it, and with its code."""
    message = progress.failure(error)
    if isinstance(error, StepFailed) and (step := _FAILED.fullmatch(error.message)):
        text = f"The command '{step['words']}' returned a non-zero code: {step['code']}"
        message["error"] = message["errorDetail"]["message"] = text
        message["errorDetail"]["code"] = int(step["code"])
    return message
