"""The values of --chown and --chmod: owners by number or name, modes in octal or symbols."""

from __future__ import annotations

from ...errors import InvalidInput, StartFailed
from ...human import whole

_PERMISSIONS = {"r": 4, "w": 2, "x": 1}
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def owner(text: str, root: int | None, unknown: list[str]) -> tuple[int, int] | None:
    """Return (uid, gid) for `user`, `user:group` by number or name, None for "".

    Names are looked up in /etc/passwd and /etc/group of the directory `root` (None: there is none to look into). A number
    alone stands for the group too, a name for the user's own group. A name that is not there is added to `unknown`: such a
    user is root, and such a group the user's own, as with BuildKit. Raises InvalidInput for names without a root.
    """
    if not text:
        return None
    user, _, group = text.partition(":")
    if user.isascii() and user.isdigit():
        uid = gid = _number(user, text)
    else:
        uid, gid = _named(user, root) or _unknown(user, unknown)
    if group.isascii() and group.isdigit():
        gid = _number(group, text)
    elif group:
        gid = (_named(f"0:{group}", root) or _unknown(group, unknown, gid))[1]
    return uid, gid


def _unknown(name: str, unknown: list[str], gid: int = 0) -> tuple[int, int]:
    unknown.append(name)
    return 0, gid


def _number(digits: str, text: str) -> int:
    number = whole(digits)
    if not 0 <= number <= 0xFFFFFFFE:
        raise InvalidInput(f"invalid owner '{text:.60}': an id is at most 4294967294")
    return number


def _named(name: str, root: int | None) -> tuple[int, int] | None:
    """Return the ids of a user, or of a group as `0:group`; None when it is not there."""
    if name in ("root", "", "0:root"):
        return 0, 0
    if root is None:
        raise InvalidInput(f"unable to find {name.removeprefix('0:')!r:.60} for --chown", "with --link use numbers")
    from ...runtime.apply import users

    try:
        return users.resolve(root, name, [])[:2]
    except StartFailed:
        return None


class Mode:
    """A mode to be given: octal, or changes in chmod(1)'s symbols, which depend on the file's own mode."""

    __slots__ = ("_changes", "_octal")

    def __init__(self, text: str) -> None:
        """Raises InvalidInput for what is neither."""
        self._octal = -1
        self._changes: list[tuple[str, str, str]] = []
        if whole(text[:1]) >= 0:
            if len(text) > 5 or not set(text) <= set("01234567") or int(text, 8) > 0o7777:
                raise InvalidInput(
                    f"invalid chmod parameter: '{text:.60}'. it should be octal string and between 0 and 07777"
                )
            self._octal = int(text, 8)
            return
        for clause in text.split(","):
            self._changes += _clause(clause, text)

    def apply(self, mode: int, is_dir: bool) -> int:
        """Return the twelve bits that a file with `mode` gets."""
        if self._octal >= 0:
            return self._octal
        for who, operator, what in self._changes:
            mode = _change(mode, is_dir, who, operator, what)
        return mode


def _clause(clause: str, text: str) -> list[tuple[str, str, str]]:
    """Return (who, operator, what) of one clause such as `ug+rw-x`."""
    size = len(clause) - len(clause.lstrip("ugoa"))
    who, rest = clause[:size], clause[size:]
    who = "ugo" if not who or "a" in who else who
    changes = []
    while rest:
        operator, rest = rest[0], rest[1:]
        size = len(rest) - len(rest.lstrip("rwxXst" if rest[:1] not in tuple("ugo") else rest[0]))
        what, rest = rest[:size], rest[size:]
        if operator not in "+-=" or (what[:1] in tuple("ugo") and size > 1):
            break
        changes.append((who, operator, what))
    else:
        if changes:
            return changes
    raise InvalidInput(f"invalid chmod parameter: '{text:.60}'", "such as 755, +x, g=u or u=rwX,go=rX")


def _change(mode: int, is_dir: bool, who: str, operator: str, what: str) -> int:
    bits = 0
    every = 0
    for who_letter in who:
        shift = _SHIFTS[who_letter]
        every |= 7 << shift
        if what and what in _SHIFTS:
            bits |= (mode >> _SHIFTS[what] & 7) << shift
            continue
        for letter in what:
            if letter == "X":
                bits |= (1 if is_dir or mode & 0o111 else 0) << shift
            elif letter == "s":
                bits |= {"u": 0o4000, "g": 0o2000, "o": 0}[who_letter]
            elif letter == "t":
                bits |= 0o1000
            else:
                bits |= _PERMISSIONS[letter] << shift
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    if not is_dir:  # a directory keeps these unless told otherwise, as with chmod(1)
        every |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
    return mode & ~every | bits
