"""The facts about an image from which its base is identified: layers, steps and times."""

from __future__ import annotations

from typing import Any

import msgspec

from . import history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...oci.config import Config

# Layers that hold nothing, by compressed digest and by diff id: an empty tar as docker of 2016 wrote it, the one
# that BuildKit's WORKDIR leaves, and their content (1,024 zero bytes).
EMPTY_LAYERS = frozenset(
    {
        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",
        "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1",
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    }
)


_LARGEST = 1 << 53  # bytes of a layer; more is a mistake


class Layer(msgspec.Struct, frozen=True):
    """One layer: compressed digest or diff id ("" when not known), compressed size in bytes (0 when not known)."""

    digest: str = ""
    size: int = 0
    diff_id: str = ""

    @property
    def empty(self) -> bool:
        """Whether the layer holds nothing, and so says nothing of a base."""
        return self.digest in EMPTY_LAYERS or self.diff_id in EMPTY_LAYERS


class Step(msgspec.Struct, frozen=True):
    """One history step in normal form; `created` in seconds since the epoch; `filled` None when not recorded."""

    text: str
    created: float | None = None
    filled: bool | None = None


class ImageContent(msgspec.Struct, frozen=True):
    """The content of an image, lowest first; anything may be missing."""

    layers: tuple[Layer, ...] = ()
    steps: tuple[Step, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()


def from_config(config: Config, layers: Sequence[tuple[str, int]] = ()) -> ImageContent:
    """Return the image that a configuration describes; `layers`: compressed digest and size of each, if known."""
    diff_ids = config.diff_ids
    known = layers if len(layers) == len(diff_ids) else [("", 0)] * len(diff_ids)
    execution = config.config
    return ImageContent(
        tuple(Layer(digest, size, diff_id) for (digest, size), diff_id in zip(known, diff_ids, strict=True)),
        tuple(
            Step(history.normal(step.created_by or ""), history.seconds(step.created), not step.empty_layer)
            for step in config.history or ()
        ),
        tuple((execution.cmd if execution else None) or ()),
        tuple((execution.entrypoint if execution else None) or ()),
    )


def from_record(record: Mapping[str, Any]) -> ImageContent:
    """Return the image of a record: `layers` [[digest, size], …], `history`, `history_created`, `cmd`, `entrypoint`.

    Members may be missing, null, or shorter than they should be; anything of a wrong type counts as missing.
    """
    steps = [sound(text) for text in _list(record, "history") if isinstance(text, str)]
    times = _list(record, "history_created")
    moments = [time if isinstance(time, str) else None for time in times[: len(steps)]]
    moments += [None] * (len(steps) - len(moments))
    diff_ids = _list(record, "diff_ids")
    layers: list[Layer] = []
    for number, layer in enumerate(_list(record, "layers")):
        if isinstance(layer, list) and layer and isinstance(layer[0], str):
            size = layer[1] if len(layer) > 1 and isinstance(layer[1], int) else 0
            diff_id = diff_ids[number] if number < len(diff_ids) and isinstance(diff_ids[number], str) else ""
            layers.append(Layer(sound(layer[0]), min(max(size, 0), _LARGEST), sound(diff_id)))
    if not layers:
        layers = [Layer("", 0, sound(diff_id)) for diff_id in diff_ids if isinstance(diff_id, str)]
    return ImageContent(
        tuple(layers),
        tuple(Step(history.normal(text), history.seconds(moment)) for text, moment in zip(steps, moments, strict=True)),
        tuple(word for word in _list(record, "cmd") if isinstance(word, str)),
        tuple(word for word in _list(record, "entrypoint") if isinstance(word, str)),
    )


def sound(text: str) -> str:
    """Return text that can be encoded: JSON may hold halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def member(record: Mapping[str, Any], name: str) -> str:
    """Return a text of a record, "" when it is missing or no text."""
    value = record.get(name)
    return sound(value) if isinstance(value, str) else ""


def _list(record: Mapping[str, Any], name: str) -> list[Any]:
    value = record.get(name)
    return value if isinstance(value, list) else []
