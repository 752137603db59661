"""Users and groups by name, from a root's own /etc/passwd and /etc/group, which may be hostile (attacks RT-21)."""

from __future__ import annotations

from ...errors import StartFailed
from ...human import whole
from ...linux.files import beneath

_LIMIT = 1 << 20  # bytes read of each file
_LAST_ID = (1 << 32) - 2


def _records(root: int, path: str, fields: int) -> list[list[str]]:
    data = beneath.read_regular(root, path, _LIMIT) or b""
    lines = data.split(b"\n")
    if len(data) >= _LIMIT:
        lines.pop()  # the last line may be cut
    records = []
    for line in lines:
        parts = line.decode("utf-8", "surrogateescape").split(":")
        if len(parts) >= fields:
            records.append(parts)
    return records


def _asked(text: str) -> int:
    """Return the id that is asked for, -1 for a name. Raises StartFailed for a number that is no id: an image could call
    a user so."""
    number = _number(text)
    if number < 0 and text.isascii() and text.lstrip("+-").isdigit():
        hint = "a number is always an id, whatever an image calls its users"
        raise StartFailed(f"invalid id {text:.60}: uids and gids must be in range 0-{_LAST_ID}", 125, hint)
    return number


def _number(text: str) -> int:
    # The length first: Python refuses to convert thousands of digits.
    number = whole(text)
    return number if number <= _LAST_ID else -1


def resolve(root: int, user: str, extra: list[str]) -> tuple[int, int, list[int], str]:
    """Return (uid, gid, groups, home) for `name`, `uid`, `name:group`, `uid:gid` and so on; "" is root.

    Groups are the primary one, those that list the user in /etc/group (unless a group was given), and `extra`. Raises
    StartFailed when a name is not known there. A number is always an id, whatever an image calls its users: else one named
    "1000" with the uid 0 would be root where 1000 was asked for.
    """
    name, colon, group = user.partition(":")
    passwd = _records(root, "/etc/passwd", 4)
    uid, gid, home, known = 0, 0, "/", ""
    wanted = _asked(name)
    for record in passwd:
        number, primary = _number(record[2]), _number(record[3])
        if number < 0 or primary < 0:
            continue
        if number == max(wanted, 0) if wanted >= 0 or not name else record[0] == name:
            uid, gid, known = number, primary, record[0]
            home = record[5] if len(record) > 5 and record[5] else "/"
            break
    else:
        if wanted < 0 and name not in ("", "root"):
            raise StartFailed(
                f"unable to find user {name}: no matching entries in passwd file",
                125,
                "the image's /etc/passwd lacks the name; a numeric id needs no entry",
            )
        uid = max(wanted, 0)
    groups_file: list[list[str]] = []
    if group or known or extra:
        groups_file = _records(root, "/etc/group", 3)
    groups: list[int] = []
    if colon and group:
        gid = _group(groups_file, group)
    elif known:
        for record in groups_file:
            number = _number(record[2])
            if len(record) > 3 and number >= 0 and known in record[3].split(","):
                groups.append(number)
    groups += [_group(groups_file, item) for item in extra]
    return uid, gid, list(dict.fromkeys([gid, *groups]))[:65536], home


def _group(records: list[list[str]], group: str) -> int:
    number = _asked(group)
    if number >= 0:
        return number
    for record in records:
        if record[0] == group and _number(record[2]) >= 0:
            return _number(record[2])
    raise StartFailed(f"unable to find group {group}: no matching entries in group file", 125)


def home_of(root: int, uid: int) -> str:
    """Return the home of a numeric user, `/` without an entry."""
    for record in _records(root, "/etc/passwd", 6):
        if _number(record[2]) == uid and record[5]:
            return record[5]
    return "/"
