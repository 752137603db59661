"""The functions that expressions in bake files may call (docker's Bake reference, "Standard library functions")."""

from __future__ import annotations

import re

from ...errors import InvalidInput, Unsupported
from .expressions import as_number, number, operate, text, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .definition import Value


def call(name: str, arguments: list[Value]) -> Value:
    """Return what a function answers. Raises InvalidInput for wrong arguments, Unsupported for a function not known."""
    function = _FUNCTIONS.get(name)
    if function is None:
        from ...human import did_you_mean

        raise Unsupported(
            f"there is no function {name!r}",
            did_you_mean(name, list(_FUNCTIONS), "", "docs/reference/bake.md lists all"),
        )
    try:
        return function(*arguments)
    except TypeError as error:
        said = str(error)
        wrong = "wrong number of arguments" if "positional argument" in said else said
        raise InvalidInput(f"{name}(): {wrong}") from None
    except (ValueError, KeyError, IndexError, ArithmeticError, re.error) as error:
        raise InvalidInput(f"{name}(): {error}") from None


def names() -> list[str]:
    """Return the names of all functions."""
    return sorted(_FUNCTIONS)


def _texts(values: list[Value]) -> list[str]:
    return [text(one) for one in values]


def _format(form: str, *values: Value) -> str:
    """Return a text with verbs replaced: %s %d %v %q %t %f %x %%, with widths (cty's `format`)."""
    rest = list(values)

    def replaced(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        if not rest:
            raise ValueError(f"not enough arguments for {match[0]}")
        value = rest.pop(0)
        if verb in "sv":
            shown = text(value) if not isinstance(value, list | dict) else _json(value)
            return f"%{flags}s" % shown
        if verb == "q":
            return _json(text(value))
        if verb == "t":
            return text(truth(value))
        if verb in "dxXob":
            whole = as_number(value)
            if not isinstance(whole, int):
                raise ValueError(f"{whole} is no whole number")
            return format(whole, "b") if verb == "b" else f"%{flags}{verb}" % whole
        return f"%{flags}{verb}" % as_number(value)

    made = re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([a-zA-Z%])", replaced, form)
    if rest:
        raise ValueError("too many arguments")
    return made


# Go escapes what has a meaning in HTML and JavaScript; in JSON these signs can only be in strings.
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def _json(value: Value) -> str:
    import json

    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)
    return written.translate(_ESCAPED)


def _from_json(written: str) -> Value:
    import json

    return json.loads(written)


def _digest(kind: str) -> Callable[[str], str]:
    def digest(written: str) -> str:
        import hashlib

        return hashlib.new(kind, text(written).encode(), usedforsecurity=False).hexdigest()

    return digest


def _encoded(written: str) -> str:
    from base64 import b64encode

    return b64encode(text(written).encode()).decode()


def _decoded(written: str) -> str:
    from base64 import b64decode

    return b64decode(text(written), validate=True).decode()


def _url(written: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text(written))


def _csv(written: str) -> list[dict[str, str]]:
    import csv
    import io

    return list(csv.DictReader(io.StringIO(written), strict=True))


def _moment() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _later(moment: str, duration: str) -> str:
    from datetime import datetime, timedelta

    from ...human import parse_duration

    seconds = parse_duration(duration.removeprefix("-"))
    made = datetime.fromisoformat(moment) + timedelta(seconds=-seconds if duration.startswith("-") else seconds)
    return made.isoformat().replace("+00:00", "Z")


def _date(form: str, moment: str) -> str:
    """Return a moment in a form as `YYYY-MM-DD'T'hh:mm` (cty's `formatdate`)."""
    from datetime import datetime

    when = datetime.fromisoformat(moment)
    shift = when.strftime("%z")
    offset = f"{shift[:3]}:{shift[3:5]}"
    verbs = {
        **{"YYYY": f"{when.year:04}", "YY": f"{when.year % 100:02}"},
        **{"MMMM": when.strftime("%B"), "MMM": when.strftime("%b"), "MM": f"{when.month:02}", "M": str(when.month)},
        **{"DD": f"{when.day:02}", "D": str(when.day), "EEEE": when.strftime("%A"), "EEE": when.strftime("%a")},
        **{
            "hh": f"{when.hour:02}",
            "h": str(when.hour),
            "HH": f"{(when.hour % 12) or 12:02}",
            "H": str(when.hour % 12 or 12),
        },
        **{"AA": "AM" if when.hour < 12 else "PM", "aa": "am" if when.hour < 12 else "pm"},
        **{"mm": f"{when.minute:02}", "m": str(when.minute), "ss": f"{when.second:02}", "s": str(when.second)},
        **{"ZZZZZ": offset, "ZZZZ": shift[:5], "ZZZ": "UTC" if offset == "+00:00" else shift[:5]},
        "Z": "Z" if offset == "+00:00" else offset,
    }

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        if word.startswith("'"):
            return word[1:-1].replace("''", "'")
        if word not in verbs:
            raise ValueError(f"{word!r} is no part of a date")
        return verbs[word]

    return re.sub(r"'(?:[^']|'')*'|([A-Za-z])\1*", replaced, form)


def _uuid4() -> str:
    from uuid import uuid4

    return str(uuid4())


def _uuid5(space: str, name: str) -> str:
    import uuid

    spaces = {
        "dns": uuid.NAMESPACE_DNS,
        "url": uuid.NAMESPACE_URL,
        "oid": uuid.NAMESPACE_OID,
        "x500": uuid.NAMESPACE_X500,
    }
    return str(uuid.uuid5(spaces[space] if space in spaces else uuid.UUID(space), name))


def _home() -> str:
    from os.path import expanduser

    return expanduser("~")


def _found(pattern: str, written: str) -> Value:
    match = re.search(pattern, written)
    if match is None:
        raise ValueError(f"{pattern!r} matches nothing in {written!r}")
    return _groups(match)


def _groups(match: re.Match[str]) -> Value:
    """Return what a match gives: its named groups, its groups, or the whole (cty's `regex`)."""
    if match.re.groupindex:
        return match.groupdict()
    return list(match.groups()) if match.re.groups else match[0]


def _replaced(written: str, pattern: str, by: str) -> str:
    """Replace matches; `$1` and `${name}` in the replacement are groups, as in Go."""
    return re.sub(pattern, lambda m: re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda n: _group(m, n[1] or n[2]), by), written)


def _group(match: re.Match[str], name: str) -> str:
    try:
        return match[int(name) if name.isdigit() else name] or ""
    except IndexError:
        return ""


def _sanitized(written: str) -> str:
    """Return a text as the name of a target: what is no letter, digit, `-` or `_` becomes `_`."""
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", written)


def _distinct(*lists: list[Value]) -> list[Value]:
    made: list[Value] = []
    for one in (value for values in lists for value in values):
        if one not in made:
            made.append(one)
    return made


def _flattened(values: list[Value]) -> list[Value]:
    return [inner for one in values for inner in (_flattened(one) if isinstance(one, list) else [one])]


def _range(*bounds: Value) -> list[Value]:
    first, last = (0, bounds[0]) if len(bounds) == 1 else bounds[:2]
    start, end = as_number(first), as_number(last)
    step = as_number(bounds[2]) if len(bounds) > 2 else 1 if end >= start else -1
    if not step or len(bounds) > 3:
        raise ValueError("one to three numbers, of which the step is not 0")
    made: list[Value] = []
    while (start < end if step > 0 else start > end) and len(made) < 10_000:
        made.append(start)
        start += step
    return made


def _coalesced(*values: Value) -> Value:
    found = [one for one in values if one is not None]
    if not found:
        raise ValueError("no argument has a value")
    return found[0]


def _first_list(*lists: list[Value]) -> list[Value]:
    found = [one for one in lists if one]
    if not found:
        raise ValueError("no list has an element")
    return found[0]


def _merged(*maps: dict[str, Value]) -> dict[str, Value]:
    made: dict[str, Value] = {}
    for one in maps:
        made |= one or {}
    return made


def _looked_up(values: dict[str, Value], key: str, *default: Value) -> Value:
    if key in values or not default:
        return values[key]
    return default[0]


def _element(values: list[Value], at: Value) -> Value:
    if not values:
        raise ValueError("the list is empty")
    return values[int(at) % len(values)]


def _chunks(values: list[Value], size: int) -> list[list[Value]]:
    return [values[at : at + size] for at in range(0, len(values), size)] if size else [values]


def _part(written: str, start: int, length: int) -> str:
    if start < 0:
        start = max(len(written) + start, 0)
    return written[start:] if length < 0 else written[start : start + length]


def _slice(values: list[Value], start: int, *end: int) -> list[Value]:
    last = end[0] if end else len(values)
    if not 0 <= start <= last <= len(values):
        raise ValueError(f"{start} to {last} is not within a list of {len(values)}")
    return values[start:last]


def _set(values: list[Value]) -> list[Value]:
    """Return the elements of a set in HCL's order: numbers by their value, texts alphabetically."""
    kinds = {isinstance(one, bool) or type(one) for one in values}
    if len(kinds) > 1 and all(isinstance(one, str | int | float) for one in values):
        values = [text(one) for one in values]  # what is of several kinds becomes texts
    made = _distinct(values)
    return sorted(made) if all(isinstance(one, str) for one in made) or kinds <= {int, float} else made


def _united(*lists: list[Value]) -> list[Value]:
    return _set([one for values in lists for one in values])


def _without(first: list[Value], second: list[Value]) -> list[Value]:
    return _set([one for one in first if one not in second])


def _shared(first: list[Value], *others: list[Value]) -> list[Value]:
    return _set([one for one in first if all(one in other for other in others)])


def _indented(spaces: int, written: str) -> str:
    return written.replace("\n", "\n" + " " * spaces)


def _title(written: str) -> str:
    return re.sub(r"(?<!\w)\w", lambda match: match[0].upper(), written)


def _strip_suffix(written: str) -> str:
    return written.rstrip("\r\n")


def _math(name: str) -> Callable[..., Value]:
    def function(*values: Value) -> Value:
        import math

        return number(float(getattr(math, name)(*(as_number(one) for one in values))))

    return function


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or ("/" if path.startswith("/") else ".")


def _directory(path: str) -> str:
    from os.path import dirname, normpath

    return normpath(dirname(path) or ".")


def _contains(values: Any, one: Value) -> bool:
    return one in (values.values() if hasattr(values, "values") else values)


def _has_index(values: Any, key: Value) -> bool:
    return key in values if hasattr(values, "keys") else isinstance(key, int) and 0 <= key < len(values)


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    # Numbers
    "absolute": lambda a: abs(as_number(a)),
    "add": lambda a, b: operate("+", a, b),
    "ceil": lambda a: -int(-as_number(a) // 1),
    "divide": lambda a, b: operate("/", a, b),
    "floor": lambda a: int(as_number(a) // 1),
    "int": lambda a: int(as_number(a)),
    "log": _math("log"),
    "max": lambda *values: max(as_number(one) for one in values),
    "min": lambda *values: min(as_number(one) for one in values),
    "modulo": lambda a, b: operate("%", a, b),
    "multiply": lambda a, b: operate("*", a, b),
    "negate": lambda a: -as_number(a),
    "parseint": lambda a, base: int(text(a), base),
    "pow": _math("pow"),
    "signum": lambda a: (as_number(a) > 0) - (as_number(a) < 0),
    "subtract": lambda a, b: operate("-", a, b),
    # Comparisons
    "and": lambda a, b: truth(a) and truth(b),
    "equal": lambda a, b: a == b,
    "greaterthan": lambda a, b: as_number(a) > as_number(b),
    "greaterthanorequalto": lambda a, b: as_number(a) >= as_number(b),
    "lessthan": lambda a, b: as_number(a) < as_number(b),
    "lessthanorequalto": lambda a, b: as_number(a) <= as_number(b),
    "not": lambda a: not truth(a),
    "notequal": lambda a, b: a != b,
    "or": lambda a, b: truth(a) or truth(b),
    # Texts
    "base64decode": _decoded,
    "base64encode": _encoded,
    "basename": _base_name,
    "byteslen": lambda a: len(text(a).encode()),
    "chomp": _strip_suffix,
    "csvdecode": _csv,
    "dirname": _directory,
    "format": _format,
    "formatlist": lambda form, *lists: [_format(form, *values) for values in _rows(lists)],
    "formatdate": _date,
    "homedir": _home,
    "indent": _indented,
    "join": lambda by, *lists: by.join(_texts([one for values in lists for one in values])),
    "jsondecode": _from_json,
    "jsonencode": _json,
    "lower": lambda a: text(a).lower(),
    "md5": _digest("md5"),
    "regex": _found,
    "regex_replace": _replaced,
    "regexall": lambda pattern, a: [_groups(match) for match in re.finditer(pattern, a)],
    "replace": lambda a, what, by: text(a).replace(what, by),
    "reverse": lambda a: text(a)[::-1],
    "sanitize": _sanitized,
    "sha1": _digest("sha1"),
    "sha256": _digest("sha256"),
    "sha512": _digest("sha512"),
    "split": lambda by, a: text(a).split(by) if by else list(text(a)),
    "strlen": lambda a: len(text(a)),
    "substr": _part,
    "timeadd": _later,
    "timestamp": _moment,
    "title": _title,
    "trim": lambda a, signs: text(a).strip(signs),
    "trimprefix": lambda a, start: text(a).removeprefix(start),
    "trimspace": lambda a: text(a).strip(),
    "trimsuffix": lambda a, end: text(a).removesuffix(end),
    "upper": lambda a: text(a).upper(),
    "urlencode": _url,
    "uuidv4": _uuid4,
    "uuidv5": _uuid5,
    # Lists and objects
    "chunklist": _chunks,
    "coalesce": _coalesced,
    "coalescelist": _first_list,
    "compact": lambda values: [one for one in values if one not in ("", None)],
    "concat": lambda *lists: [one for values in lists for one in values],
    "contains": _contains,
    "distinct": _distinct,
    "element": _element,
    "flatten": _flattened,
    "hasindex": _has_index,
    "index": lambda values, key: values[key],
    "indexof": lambda values, one: values.index(one),
    "keys": lambda values: sorted(values),
    "length": len,
    "lookup": _looked_up,
    "merge": _merged,
    "range": _range,
    "reverselist": lambda values: values[::-1],
    "sethaselement": _contains,
    "setintersection": _shared,
    "setproduct": lambda *lists: _products(lists),
    "setsubtract": _without,
    "setsymmetricdifference": lambda a, b: _united(_without(a, b), _without(b, a)),
    "setunion": _united,
    "slice": _slice,
    "sort": lambda values: sorted(_texts(values)),
    "values": lambda values: [values[key] for key in sorted(values)],
    "zipmap": lambda names, values: dict(zip(_texts(names), values, strict=True)),
}


def _rows(lists: tuple[Value, ...]) -> list[list[Value]]:
    """Return the arguments of each call of `formatlist`: one that is no list is the same in each."""
    count = max((len(one) for one in lists if isinstance(one, list)), default=1)
    return [[one[at] if isinstance(one, list) else one for one in lists] for at in range(count)]


def _products(lists: tuple[list[Value], ...]) -> list[list[Value]]:
    from itertools import islice, product

    return [list(one) for one in islice(product(*lists), 10_000)]
