"""The list of devices as rules: checked, and brought into the form that version 1's files can express.

In both versions a rule is about an access (kind, numbers, some of read, write, mknod); a single rule must allow all of it.
"""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..specification import DeviceRule

    Key = tuple[str, int, int]  # kind, major, minor; -1 stands for all

_WHERE = "linux.resources.devices"


def normal(rules: list[DeviceRule]) -> list[DeviceRule]:
    """Return the rules with all fields there, `type` a, b or c; raises InvalidInput with the JSON path of what is wrong.

    `a` is left for "everything" only: with numbers or less than all access it becomes a rule for b and one for c, since
    the kernel would take it as everything (kernel: admin-guide/cgroup-v1/devices).
    """
    if not isinstance(rules, list):
        raise InvalidInput(f"{_WHERE} is not a list")
    complete: list[DeviceRule] = []
    for number, rule in enumerate(rules):
        where = f"{_WHERE}[{number}]"
        if not isinstance(rule, dict):
            raise InvalidInput(f"{where} is not an object")
        for name in rule:
            if name not in ("allow", "type", "major", "minor", "access"):
                raise Unsupported(f"{where}.{name} is not known")
        allow, kind, access = rule.get("allow") or False, rule.get("type") or "a", rule.get("access") or "rwm"
        if not isinstance(allow, bool):
            raise InvalidInput(f"{where}.allow is neither true nor false")
        if kind not in ("a", "b", "c"):
            raise InvalidInput(f"{where}.type: {kind!r} is not a, b or c")
        if not isinstance(access, str) or set(access) - set("rwm"):
            raise InvalidInput(f"{where}.access: {access!r} has letters other than r, w, m")
        major, minor = _number(rule.get("major"), f"{where}.major"), _number(rule.get("minor"), f"{where}.minor")
        apart = kind == "a" and (major >= 0 or minor >= 0 or len(set(access)) < 3)
        for rule_type in ("b", "c") if apart else (kind,):
            complete.append({"allow": allow, "type": rule_type, "access": access, "major": major, "minor": minor})
    return complete


def _number(value: object, where: str) -> int:
    value = -1 if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 1 << 32:
        raise InvalidInput(f"{where}: {value!r} is not the number of a device")
    return value


def exceptions(rules: list[DeviceRule]) -> tuple[bool, dict[Key, set[str]]]:
    """Return normal rules as one answer for all, and the accesses that are answered the other way.

    Before the first rule nothing is allowed. Raises Unsupported for a rule that takes a part out of what a rule before it
    has given for a range of numbers: version 1 cannot hold that, and would do nothing.
    """
    default = False
    different: dict[Key, set[str]] = {}
    for rule in rules:
        if rule["type"] == "a":
            default = rule["allow"]
            different.clear()
            continue
        key, access = (rule["type"], rule["major"], rule["minor"]), set(rule["access"])
        if rule["allow"] != default:
            different.setdefault(key, set()).update(access)
            continue
        for other, held in list(different.items()):
            shared = held & access
            if not shared or not _overlap(key, other):
                continue
            if not _covers(key, other):
                raise Unsupported(
                    f"{_WHERE}: {_words(key, access)} takes a part out of {_words(other, held)}",
                    "version 1 control groups cannot express that: name the other numbers one by one",
                )
            held -= shared
            if not held:
                del different[other]
    return default, different


def _overlap(one: Key, other: Key) -> bool:
    return one[0] == other[0] and all(-1 in (a, b) or a == b for a, b in zip(one[1:], other[1:], strict=True))


def _covers(one: Key, other: Key) -> bool:
    return one[0] == other[0] and all(a in (-1, b) for a, b in zip(one[1:], other[1:], strict=True))


def _words(key: Key, access: set[str]) -> str:
    numbers = ":".join("*" if number < 0 else str(number) for number in key[1:])
    return f"{key[0]} {numbers} {''.join(letter for letter in 'rwm' if letter in access)}"


def v1_lines(rules: list[DeviceRule]) -> list[tuple[str, str]]:
    """Return the (file, line) to write for OCI rules: all to one side first, then what is different."""
    default, different = exceptions(normal(rules))
    sides = ("devices.allow", "devices.deny") if default else ("devices.deny", "devices.allow")
    return [(sides[0], "a"), *((sides[1], _words(key, access)) for key, access in different.items())]


def v2_rules(rules: list[DeviceRule]) -> list[DeviceRule]:
    """Return OCI rules for the device program, two that allow parts of an access to the same numbers as one.

    The program can do more than version 1's list: the last rule that fits decides.
    """
    checked = normal(rules)
    try:
        default, different = exceptions(checked)
    except Unsupported:
        return checked
    merged: list[DeviceRule] = [{"allow": default, "type": "a"}]
    for (kind, major, minor), access in different.items():
        words = "".join(sorted(access))
        merged.append({"allow": not default, "type": kind, "major": major, "minor": minor, "access": words})
    return merged
