"""The history of an image: its entries with the sizes of their layers."""

from __future__ import annotations

from ...store.rows import images as image_rows
from ...store.rows import layers as layer_rows
from .results import HistoryEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...store.rows.images import ImageRow
    from ...store.store import Store


def history(store: Store, image: ImageRow) -> list[HistoryEntry]:
    """Return the history of an image, newest first."""
    steps = steps_of(image_rows.config(store.paths, image.id), image.diff_ids, layer_rows.sizes(store.meta))
    if steps:
        steps[0].id = image.id
    return steps


def steps_of(config: Mapping[str, Any], layers: Sequence[str], sizes: Mapping[str, int]) -> list[HistoryEntry]:
    """Return the history of an image configuration, newest step first.

    `layers` are the diff ids of the layers, lowest first; `sizes` are their sizes in bytes, by diff id.
    """
    steps: list[HistoryEntry] = []
    diff_ids = iter(layers)
    for entry in config.get("history") or []:
        empty = bool(entry.get("empty_layer"))
        diff_id = "" if empty else next(diff_ids, "")
        steps.append(
            HistoryEntry(
                "",
                entry.get("created") or "",
                entry.get("created_by") or "",
                sizes.get(diff_id, 0),
                entry.get("comment") or "",
                empty,
            )
        )
    # Layers that no entry speaks of.
    steps += [HistoryEntry("", "", "", sizes.get(diff_id, 0), "", False) for diff_id in diff_ids]
    steps.reverse()
    return steps
