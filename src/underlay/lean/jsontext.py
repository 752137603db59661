"""JSON without the import cost of `json`, for the paths that start containers.

Importing `json` takes 6 ms because of `re` (docs/decisions/0003-imports.md). The accelerator that `json` itself uses
knows no `re`; where an interpreter lacks it, `json` does the work. Documents from outside are validated by msgspec
when they enter the store; what is read here is ours, or has been validated.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_make_scanner: Any
try:
    import _json

    _make_scanner, _plain, _escaped = _json.make_scanner, _json.encode_basestring, _json.encode_basestring_ascii
except (ImportError, AttributeError):  # other interpreters
    _make_scanner = None


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


def loads(data: bytes | str) -> object:
    """Return the value of a JSON text; raises ValueError when it is none, RecursionError when nested too deep."""
    text = data if isinstance(data, str) else data.decode("utf-8")
    if _make_scanner is None:
        import json

        value: object = json.loads(text)
        return value
    text = text.strip(" \t\r\n")
    try:
        value, end = _make_scanner(_Context)(text, 0)
    except (StopIteration, SystemError):
        # Without `json.decoder` the accelerator cannot say what is wrong: `json` reads again and does.
        import json

        value = json.loads(text)
        end = len(text)
    if end != len(text):
        raise ValueError(f"not JSON: more text at character {end}")
    return value


def known(data: bytes | str) -> Any:
    """Return the value of a JSON text whose types the caller knows, being ours or checked next. Raises as `loads` does."""
    return loads(data)


def dumps(value: object) -> str:
    """Return `value` (dict, list, tuple, str, int, float, bool, None) as compact JSON; raises TypeError."""
    if _make_scanner is None:
        import json

        return json.dumps(value, separators=(",", ":"))
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def _quote(text: str) -> str:
    """Return `text` as a JSON string.

    Bytes that are not UTF-8 come in names and arguments as lone surrogates (os.fsdecode), which no encoder takes: they
    are written as escapes, and read back as they were.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return str(_escaped(text))
    return str(_plain(text))


def _write(value: object, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(_quote(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int | float):
        put(repr(value))
    elif isinstance(value, dict):
        put("{")
        separator = ""
        for key, item in value.items():
            put(f"{separator}{_quote(key)}:")
            _write(item, put)
            separator = ","
        put("}")
    elif isinstance(value, list | tuple):
        put("[")
        separator = ""
        for item in value:
            put(separator)
            _write(item, put)
            separator = ","
        put("]")
    else:
        raise TypeError(f"{type(value).__name__} is not JSON")
