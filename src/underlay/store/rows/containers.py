"""Rows of containers: their options, looked up by name, id or a prefix of the id."""

from __future__ import annotations

import time

from ...errors import Conflict, InvalidInput, NameTaken, NotFound
from ...lean.jsontext import dumps, known
from . import images
from . import volumes as volume_rows
from .meta import IntegrityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .id_ranges import Wanted
    from .intent import Intent
    from .meta import Meta, Transaction

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_HEX = frozenset("0123456789abcdef")


class ContainerRow:
    """A row: `id`, `name`, `image` (id), `created` (ns since the epoch), `intent` (what was asked for)."""

    __slots__ = ("_intent", "created", "id", "image", "name")

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id: str = row[0]
        self.name: str = row[1]
        self.image: str = row[2]
        self.created: int = row[3]
        self._intent: str = row[4]

    @property
    def intent(self) -> Intent:
        """The options that the caller requested, parsed at each access."""
        value: Intent = known(self._intent)
        return value


class WantedVolume:
    """A volume that a container uses; it is made with these labels and options unless it is there."""

    __slots__ = ("anonymous", "labels", "name", "options")

    def __init__(
        self, name: str, anonymous: bool, labels: dict[str, str] | None = None, options: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.anonymous = anonymous
        self.labels = labels or {}
        self.options = options or {}


def check_name(name: str) -> None:
    """Raise InvalidInput unless `name` may be a container's name (docker: [a-zA-Z0-9][a-zA-Z0-9_.-]+)."""
    if len(name) < 2 or not set(name) <= _NAME or not name[0].isalnum():
        raise InvalidInput(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        )


def insert(
    meta: Meta,
    container_id: str,
    name: str,
    image: str,
    intent: Intent,
    volumes: Sequence[WantedVolume],
    wanted: Sequence[Wanted] = (),
    shares: str = "",
    leasing: Callable[[Transaction, str], None] | None = None,
    make_volume: Callable[[WantedVolume], None] | None = None,
    other_images: Sequence[str] = (),
) -> None:
    """Record a container, its volumes and the numbers that it claims in one transaction.

    `shares` is the id of a container whose user and group ids are this one's, too; `leasing` gives it its addresses,
    `make_volume` makes the directory of a new volume; `other_images` are the ids of those that are mounted in it.
    Raises Conflict when the name or an address is taken, LimitExceeded when no number is left.
    """
    now = time.time_ns()
    # One that removes itself goes with a power cut anyway.
    with meta.write(durable=not intent.get("remove")) as sql:
        for needed in (image, *other_images):
            images.require(sql, needed)
        taken = []
        if wanted or shares:
            from . import id_ranges

            taken = [id_ranges.take(sql, claim, intent) for claim in wanted]
        try:
            sql.execute(
                "INSERT INTO containers VALUES (?, ?, ?, ?, ?)", (container_id, name, image, now, dumps(intent))
            )
        except IntegrityError:
            (other,) = sql.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone() or ("",)
            raise NameTaken(
                f'The container name "/{name}" is already in use by container "{other}"',
                "remove or rename that container to be able to use its name",
            ) from None
        if leasing is not None:
            leasing(sql, container_id)
        if taken:
            id_ranges.record(sql, container_id, taken)
        if shares:
            id_ranges.share(sql, shares, container_id)
        for volume in volumes:
            new = volume_rows.insert(sql, volume.name, volume.labels, volume.anonymous, volume.options)
            if new and make_volume is not None:
                make_volume(volume)
            if not volume.anonymous:
                # A volume that is used by its name is meant to be kept: it no longer goes with a container.
                sql.execute("UPDATE volumes SET anonymous = 0 WHERE name = ?", (volume.name,))
            sql.execute("INSERT OR IGNORE INTO volume_uses VALUES (?, ?)", (volume.name, container_id))
        for used in other_images:
            sql.execute("INSERT OR IGNORE INTO image_uses VALUES (?, ?)", (used, container_id))


_COLUMNS = "id, name, image, created, intent"


def find(meta: Meta, text: str) -> ContainerRow:
    """Return the container that `text` names: name, id, or beginning of an id; raises NotFound, Conflict."""
    name = text.removeprefix("/")
    rows = meta.read(f"SELECT {_COLUMNS} FROM containers WHERE id = ? OR name = ?", (name, name))
    if not rows and name and set(name) <= _HEX:
        # A range instead of LIKE, so that the primary key answers.
        rows = meta.read(f"SELECT {_COLUMNS} FROM containers WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
        if len(rows) > 1:
            raise Conflict(f"multiple IDs found with provided prefix: {text}", "give more digits")
    if not rows:
        missing = NotFound(f"No such container: {text}", "list the containers with `underlay ps -a`")
        missing.name, missing.names = name, [row[0] for row in meta.read("SELECT name FROM containers")]
        raise missing
    exact = [row for row in rows if row[0] == name]
    return ContainerRow((exact or rows)[0])


def every(meta: Meta) -> list[ContainerRow]:
    """Return all containers, the newest first."""
    return [ContainerRow(r) for r in meta.read(f"SELECT {_COLUMNS} FROM containers ORDER BY created DESC, id")]


def rename(meta: Meta, container_id: str, name: str) -> None:
    """Give a container another name; raises Conflict when it is taken."""
    check_name(name)
    with meta.write() as sql:
        if sql.execute("SELECT 1 FROM containers WHERE id = ? AND name = ?", (container_id, name)).fetchone():
            raise InvalidInput("Renaming a container with the same name as its current name")
        try:
            sql.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container_id))
        except IntegrityError:
            raise Conflict(f'The container name "/{name}" is already in use') from None


def change(meta: Meta, container_id: str, alter: Callable[[Intent], Intent]) -> None:
    """Replace a container's intent by what `alter` makes of it; when it raises, all stays. Raises NotFound."""
    with meta.write() as sql:
        row = sql.execute("SELECT intent FROM containers WHERE id = ?", (container_id,)).fetchone()
        if row is None:
            raise NotFound(f"No such container: {container_id}")
        intent: Intent = known(row[0])
        sql.execute("UPDATE containers SET intent = ? WHERE id = ?", (dumps(alter(intent)), container_id))


def volumes_of(meta: Meta, container_id: str) -> list[tuple[str, bool]]:
    """Return (name, anonymous) of the volumes that a container uses."""
    rows = meta.read(
        "SELECT v.name, v.anonymous FROM volume_uses u JOIN volumes v ON v.name = u.volume WHERE u.container = ?",
        (container_id,),
    )
    return [(row[0], bool(row[1])) for row in rows]


def delete(meta: Meta, container_id: str, with_volumes: bool, durable: bool = True) -> list[str]:
    """Forget a container; returns the anonymous volumes forgotten with it, whose files may go now."""
    gone = []
    with meta.write(durable, frees=True) as sql:
        rows = sql.execute(
            "SELECT v.name FROM volume_uses u JOIN volumes v ON v.name = u.volume "
            "WHERE u.container = ? AND v.anonymous = 1",
            (container_id,),
        ).fetchall()
        sql.execute("DELETE FROM volume_uses WHERE container = ?", (container_id,))
        sql.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))
        sql.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        if with_volumes:
            for (volume,) in rows:
                in_use = sql.execute("SELECT 1 FROM volume_uses WHERE volume = ?", (volume,)).fetchone()
                if not in_use:
                    sql.execute("DELETE FROM volumes WHERE name = ?", (volume,))
                    gone.append(volume)
    return gone


def exists(meta: Meta, container_id: str) -> bool:
    """Return whether a container is on record."""
    return bool(meta.read("SELECT 1 FROM containers WHERE id = ?", (container_id,)))


def ids(meta: Meta) -> list[str]:
    """Return the ids of all containers."""
    return [row[0] for row in meta.read("SELECT id FROM containers")]


def removing(meta: Meta) -> list[str]:
    """Return the ids of containers that are to be removed at their end; some more may be among them."""
    return [row[0] for row in meta.read("SELECT id FROM containers WHERE instr(intent, '\"remove\":true')")]


def counts(meta: Meta) -> dict[str, int]:
    """Return how many containers each image has that has any, by the image's id."""
    return dict(meta.read("SELECT image, count(*) FROM used_images GROUP BY image"))
