"""Drafts of manifest lists, each the text of its entries under a name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.reference import Reference
    from .meta import Meta


def find(meta: Meta, name: Reference) -> str:
    """Return the text of a draft, "" when there is none."""
    rows = meta.read("SELECT document FROM manifest_lists WHERE name = ?", (name.name,)) if name.tag else ()
    return str(rows[0][0]) if rows else ""


def put(meta: Meta, name: Reference, text: str) -> None:
    """Keep a draft, in place of one of its name."""
    with meta.write() as sql:
        sql.execute(
            "INSERT INTO manifest_lists VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document",
            (name.name, text),
        )


def delete(meta: Meta, names: list[Reference]) -> list[Reference]:
    """Remove drafts; return those that were there."""
    with meta.write() as sql:
        return [
            name for name in names if sql.execute("DELETE FROM manifest_lists WHERE name = ?", (name.name,)).rowcount
        ]
