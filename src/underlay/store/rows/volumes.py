"""Rows of volumes. Containers record which ones they use (`store.rows.containers`)."""

from __future__ import annotations

from time import time_ns

from ...errors import Conflict, InvalidInput, NotFound
from ...lean.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .meta import Meta, Transaction

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_COLUMNS = "name, created, labels, anonymous, options"


class Volume:
    """A volume: `name`, `created` (ns since the epoch), `labels`, `anonymous` (created without a name).

    `options` are those of its driver.
    """

    __slots__ = ("anonymous", "created", "labels", "name", "options")

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.name: str = row[0]
        self.created: int = row[1]
        labels = loads(row[2])
        assert isinstance(labels, dict)
        self.labels: dict[str, str] = labels
        self.anonymous = bool(row[3])
        options = loads(row[4])
        assert isinstance(options, dict)
        self.options: dict[str, str] = options


def check_name(name: str) -> None:
    """Raise InvalidInput unless `name` may be a volume's name (docker: [a-zA-Z0-9][a-zA-Z0-9_.-]+)."""
    if len(name) < 2 or not set(name) <= _NAME or not name[0].isalnum() or len(name) > 255:
        raise InvalidInput(
            f"'{name}' includes invalid characters for a local volume name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            "names have 2 to 255 characters",
        )


def insert(
    sql: Transaction, name: str, labels: dict[str, str], anonymous: bool, options: dict[str, str] | None = None
) -> bool:
    """Record a volume; return False, with nothing changed, when it is there already."""
    done = sql.execute(
        f"INSERT OR IGNORE INTO volumes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        (name, time_ns(), dumps(labels), int(anonymous), dumps(options or {})),
    )
    return done.rowcount > 0


def find(meta: Meta, name: str) -> Volume:
    """Return the volume of this very name; raises NotFound."""
    for row in meta.read(f"SELECT {_COLUMNS} FROM volumes WHERE name = ?", (name,)):
        return Volume(row)
    raise NotFound(f"get {name}: no such volume", "list the volumes with `underlay volume ls`")


def exists(meta: Meta, name: str) -> bool:
    """Return whether a volume is on record."""
    return bool(meta.read("SELECT 1 FROM volumes WHERE name = ?", (name,)))


def every(meta: Meta) -> list[Volume]:
    """Return all volumes by name."""
    return [Volume(row) for row in meta.read(f"SELECT {_COLUMNS} FROM volumes ORDER BY name")]


def with_options(meta: Meta, names: set[str]) -> list[Volume]:
    """Return those of the named volumes that have options of their driver."""
    rows = meta.read(f"SELECT {_COLUMNS} FROM volumes WHERE options != '{{}}' ORDER BY name")
    return [Volume(row) for row in rows if row[0] in names]


def in_use(meta: Meta) -> set[str]:
    """Return the names of the volumes that a container uses, running or not."""
    return {row[0] for row in meta.read("SELECT DISTINCT volume FROM volume_uses")}


def refuse_if_used(sql: Transaction, name: str) -> None:
    """Raise Conflict, which names the containers, when some use the volume."""
    query = (
        "SELECT c.id, c.name FROM volume_uses u JOIN containers c ON c.id = u.container "
        "WHERE u.volume = ? ORDER BY c.created"
    )
    users = sql.execute(query, (name,)).fetchall()
    if users:
        names = " ".join(row[1] for row in users)
        raise Conflict(
            f"remove {name}: volume is in use - [{', '.join(row[0] for row in users)}]",
            f"remove its containers first: `underlay rm {names}`",
        )


def delete(sql: Transaction, name: str) -> None:
    """Forget a volume that no container uses; nothing happens when it is not there."""
    sql.execute("DELETE FROM volumes WHERE name = ?", (name,))


def used(meta: Meta) -> set[str]:
    """Return the names of the volumes that containers use."""
    return {row[0] for row in meta.read("SELECT DISTINCT volume FROM volume_uses")}
