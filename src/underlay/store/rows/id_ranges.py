"""Ids that belong to one container alone: ranges of user and group ids, project ids of disk quotas.

A claim is a row that goes with its container's, so that it is given back when the last file has gone, whatever dies when.
"""

from __future__ import annotations

from ...errors import LimitExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .intent import Intent
    from .meta import Meta, Transaction

UID, GID, PROJECT = "uid", "gid", "project"


class Wanted:
    """A range of `size` numbers of a `kind`, out of `pool` (first, count), that no other container has.

    `settle(intent, first)` writes the range taken into the recorded intent; `usable(first)` may refuse a range that is used
    otherwise on the host.
    """

    __slots__ = ("kind", "pool", "settle", "size", "usable")

    def __init__(
        self,
        kind: str,
        size: int,
        pool: Sequence[tuple[int, int]],
        settle: Callable[[Intent, int], None],
        usable: Callable[[int], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.size = size
        self.pool = pool
        self.settle = settle
        self.usable = usable


def free(wanted: Wanted, taken: Sequence[tuple[int, int]]) -> int:
    """Return the start of the lowest range that overlaps none of `taken`; raises LimitExceeded when there is none."""
    busy = sorted(taken)
    for start, count in wanted.pool:
        first = start
        for other, size in busy:
            if other + size <= first:
                continue
            while first + wanted.size <= min(other, start + count):
                if wanted.usable is None or wanted.usable(first):
                    return first
                first += wanted.size
            first = max(first, other + size)
        while first + wanted.size <= start + count:
            if wanted.usable is None or wanted.usable(first):
                return first
            first += wanted.size
    raise LimitExceeded(
        f"no {wanted.size} unused {wanted.kind}s are left for another container",
        "remove containers, or give the user underlay larger ranges in /etc/subuid and /etc/subgid"
        if wanted.kind != PROJECT
        else "remove containers",
    )


def look(meta: Meta, wanted: Wanted) -> int:
    """Return what `take` would find now, without taking it."""
    return free(wanted, meta.read("SELECT first, size FROM claims WHERE kind = ?", (wanted.kind,)))


def take(sql: Transaction, wanted: Wanted, intent: Intent) -> tuple[str, int, int]:
    """Find a free range and write it into `intent`; returns the claim (kind, first, size), for `record`."""
    rows = sql.execute("SELECT first, size FROM claims WHERE kind = ?", (wanted.kind,)).fetchall()
    first = free(wanted, rows)
    wanted.settle(intent, first)
    return wanted.kind, first, wanted.size


def record(sql: Transaction, container_id: str, claims: Sequence[tuple[str, int, int]]) -> None:
    """Write claims of a container whose row is there."""
    for kind, first, size in claims:
        sql.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", (kind, first, size, container_id))


def share(sql: Transaction, owner: str, container_id: str) -> None:
    """Let another container have the ids of `owner`, too: they are free again when both have gone."""
    sql.execute(
        "INSERT INTO claims SELECT kind, first, size, ? FROM claims WHERE container = ? AND kind IN ('uid', 'gid')",
        (container_id, owner),
    )


def projects(meta: Meta, container_id: str) -> list[int]:
    """Return the project ids of a container's disk quota."""
    rows = meta.read("SELECT first FROM claims WHERE container = ? AND kind = 'project'", (container_id,))
    return [row[0] for row in rows]
