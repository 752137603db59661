"""Error answers of a registry as one line (OCI distribution specification, "Error Codes")."""

from __future__ import annotations

from ..errors import AccessDenied, LimitExceeded, NotFound, RateLimited, RegistryError
from ..human import whole
from ..lean import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transport import Answer

_LIMIT = 256 << 10
_SHOWN = 300


def of(answer: Answer, what: str) -> RegistryError | NotFound:
    """Return the error that an answer stands for, naming `what` was wanted; the answer is used up."""
    reason = reason_of(answer)
    status = answer.status
    detail = f": {reason}" if reason else f": the registry answers with status {status}"
    if status in (401, 403):
        return AccessDenied(
            f"{what}: access denied{detail if reason else ''}", "does it exist? a private one needs `underlay login`"
        )
    if status == 404:
        return NotFound(f"{what} not found{detail if reason else ''}")
    if status == 429:
        limited = RateLimited(
            f"{what}: too many requests{detail if reason else ''}", limits(answer) or "wait, or log in"
        )
        wait = answer.headers.get("retry-after", "")
        limited.wait = float(max(whole(wait), 0))
        return limited
    return RegistryError(f"{what}{detail}")


def limits(answer: Answer) -> str:
    """Return what the headers tell of a rate limit (Docker Hub's form), "" when nothing."""
    limit, remaining = answer.headers.get("ratelimit-limit", ""), answer.headers.get("ratelimit-remaining", "")
    wait = answer.headers.get("retry-after", "")
    sentences = []
    if limit:
        sentences.append(f"the limit is {_window(limit)}, {_window(remaining) or 'none'} left")
    if wait:
        sentences.append(f"the registry asks to wait {wait} seconds" if whole(wait) >= 0 else f"wait until {wait}")
    return _clean("; ".join(sentences) + ("; logging in may raise it" if limit else ""))


class Allowance:
    """How many manifests a registry gives: `left` of `limit` in `window` seconds (Docker Hub's headers)."""

    __slots__ = ("left", "limit", "window")

    def __init__(self, limit: int, left: int, window: int) -> None:
        self.limit, self.left, self.window = limit, left, window


def allowance(answer: Answer) -> Allowance | None:
    """Return what an answer says of the registry's limit, None when it says nothing."""
    limit, _, rest = answer.headers.get("ratelimit-limit", "").partition(";")
    left = whole(answer.headers.get("ratelimit-remaining", "").partition(";")[0])
    window = whole(rest.removeprefix("w="))
    return Allowance(whole(limit), left, max(window, 0)) if whole(limit) > 0 and left >= 0 else None


def _window(text: str) -> str:
    count, _, rest = text.partition(";")
    seconds = rest.removeprefix("w=")
    return f"{count} in {whole(seconds) // 3600 or 1} h" if 0 <= whole(seconds) < 10**11 else count


def reason_of(answer: Answer) -> str:
    """Return the reasons in the body, joined, cut, and free of control characters; "" when there are none."""
    try:
        data = answer.document(_LIMIT, "error")
    except (RegistryError, LimitExceeded):
        return ""
    finally:
        answer.close()
    try:
        return _clean("; ".join(_messages(jsontext.loads(data))))
    except (ValueError, RecursionError):
        return ""


def _messages(value: object) -> list[str]:
    """Return the reasons in an error document; raises ValueError when it is of another form."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    errors = value.get("errors") or []
    if not isinstance(errors, list) or not all(isinstance(item, dict) for item in errors):
        raise ValueError("not a list of errors")
    texts = []
    for problem in errors[:3]:
        code, message = _text(problem, "code").lower().replace("_", " "), _text(problem, "message")
        texts.append(message if message.lower() == code else ": ".join(filter(None, (code, message))))
    whole = (_text(value, "error"), _text(value, "error_description"))
    return texts or [_text(value, "details") or ": ".join(filter(None, whole))]


def _text(value: dict[str, object], member: str) -> str:
    text = value.get(member) or ""
    if not isinstance(text, str):
        raise ValueError(f"{member} is not a string")
    return text


def _clean(text: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in text[: _SHOWN + 1])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
