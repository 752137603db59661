"""Archives of docker before 1.10: a directory a layer with its own JSON, each naming its parent, and `repositories`.

They know neither configurations nor diff ids. Both are made here as docker made them when it changed its images over
to content addresses (moby, image/v1 and image/tarexport), so that the same archive gets the same image id there.
"""

from __future__ import annotations

import msgspec

from ...errors import Corrupt, InvalidInput, LimitExceeded, NotFound
from ...oci import config as configs
from ...oci import document, reference
from ...oci.manifest import LAYERS_LIMIT
from ..arrivals import Wanted
from .bag import Content, require
from .outertar import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...oci.document import Document
    from ...oci.reference import Reference
    from ..arrivals import Arrivals
    from .bag import Bag

_NAMES_LIMIT = 10_000
_TOTAL_LIMIT = 64 << 20  # bytes
# What says where the layer was in the old world.
_PLACES = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
_HEX = frozenset("0123456789abcdef")


class _Words(msgspec.Struct, rename="pascal"):
    cmd: list[str] | None = None


class _Layer(msgspec.Struct):
    """What is read of a layer's JSON; the rest goes into the configuration unread."""

    parent: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    container_config: _Words | None = None


class Chain:
    """An image of such an archive: its layers' ids, lowest first, and its `names`."""

    __slots__ = ("_documents", "ids", "names")

    def __init__(self, documents: list[Document], ids: list[str], names: list[Reference]) -> None:
        self._documents = documents
        self.ids = ids
        self.names = names

    @property
    def platform(self) -> tuple[str, str, str]:
        """Operating system, architecture and variant; the oldest images have none of them and run on amd64."""
        top = self._documents[-1].value
        values = [str(top.get(member) or "") for member in ("os", "architecture", "variant")]
        return values[0] or "linux", values[1] or "amd64", values[2]

    def config(self, diff_ids: Sequence[str]) -> bytes:
        """Return the configuration that docker makes of it: the uppermost JSON, and the history out of all."""
        top = dict(self._documents[-1].value)
        for member in _PLACES:
            top.pop(member, None)
        top["os"], top["architecture"], _ = self.platform
        top["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
        top["history"] = [_step(layer_document.view) for layer_document in self._documents]
        text = document.encode({member: top[member] for member in sorted(top)}).decode()
        # Go writes these letters so in JSON (encoding/json, HTMLEscape); they stand in texts only.
        for letter in "<>&\u2028\u2029":
            text = text.replace(letter, f"\\u{ord(letter):04x}")
        return text.encode()


def _step(layer: _Layer) -> dict[str, Any]:
    words = layer.container_config.cmd if layer.container_config else None
    members = {
        "created": layer.created,
        "created_by": " ".join(words or ()),
        "author": layer.author,
        "comment": layer.comment,
    }
    return {member: value for member, value in members.items() if value}


def chains(bag: Bag, repositories: bytes | None) -> list[Chain]:
    """Return the images that `repositories` names, or without that file those that are no image's parent.

    Raises InvalidInput for a malformed archive, NotFound when a parent is missing, Corrupt for a loop of parents,
    LimitExceeded.
    """
    layers = _Layers(bag)
    named = _named(bag, repositories) if repositories is not None else {top: [] for top in layers.tops()}
    return [Chain(*layers.chain(top), names) for top, names in named.items()]


def _named(bag: Bag, repositories: bytes) -> dict[str, list[Reference]]:
    what = f"{bag.path}: repositories"
    try:
        table = msgspec.convert(document.decode(repositories, what), dict[str, dict[str, str]])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what}: {error}") from None
    if sum(map(len, table.values())) > _NAMES_LIMIT:
        raise LimitExceeded(f"{what}: more than {_NAMES_LIMIT} names")
    names_by_layer: dict[str, list[Reference]] = {}
    for name, tags in table.items():
        for tag, top in tags.items():
            names_by_layer.setdefault(top, []).append(reference.parse(f"{name}:{tag}"))
    return names_by_layer


class _Layers:
    """The layers' JSON, each read once."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._documents: dict[str, Document] = {}
        self._total = 0

    def tops(self) -> list[str]:
        """Return the layers that are no other layer's parent."""
        bag = self._bag
        ids = [name for name in bag.directories() if _is_id(name) and bag.document(f"{name}/json") is not None]
        parents = {self._read(layer_id).view.parent for layer_id in ids}
        return [layer_id for layer_id in ids if layer_id not in parents]

    def chain(self, top: str) -> tuple[list[Document], list[str]]:
        """Return the JSON and the ids of a layer and all below it, lowest first."""
        documents: dict[str, Document] = {}
        here: str | None = top
        while here:
            if here in documents:
                raise Corrupt(f"{self._bag.path}: the parents of layer {top} form a cycle")
            if len(documents) == LAYERS_LIMIT:
                raise LimitExceeded(f"{self._bag.path}: layer {top} has more than {LAYERS_LIMIT} parents")
            documents[here] = self._read(here)
            here = documents[here].view.parent
        return list(documents.values())[::-1], list(documents)[::-1]

    def _read(self, layer: str) -> Document:
        bag = self._bag
        if not _is_id(layer):
            raise InvalidInput(f"{bag.path}: {shown(layer)} is not a layer id, which has 64 hexadecimal digits")
        if layer not in self._documents:
            data = require(bag, f"{layer}/json")
            self._total += len(data)
            if self._total > _TOTAL_LIMIT:
                raise LimitExceeded(f"{bag.path}: more than {_TOTAL_LIMIT} bytes of JSON")
            self._documents[layer] = document.read(data, _Layer, f"{bag.path}: {layer}/json", document.CONFIG_LIMIT)
        return self._documents[layer]


def _is_id(name: str) -> bool:
    return len(name) == 64 and _HEX.issuperset(name)


def arrived(bag: Bag, chain: Chain, arrivals: Arrivals, known: dict[str, Content]) -> tuple[Document, list[Wanted]]:
    """Bring the layers of an image, and return its configuration with them; `known` are those that came before, by id.

    Raises NotFound for a layer that is missing, and what `Arrivals.taken` and `config.read` raise.
    """
    wanted = []
    for layer_id in chain.ids:
        if layer_id not in known:
            name = f"{layer_id}/layer.tar"
            content = bag.content(name)
            if content is None:
                raise NotFound(f"{bag.path}: the archive lacks {shown(name)}")
            known[layer_id] = Content(name, content.size, content.layer or arrivals.taken(content))
        layer = known[layer_id].layer
        assert layer is not None
        wanted.append(Wanted(known[layer_id], layer.diff_id))
    data = chain.config([layer.diff_id for layer in wanted])
    return configs.read(data, f"{bag.path}: the configuration of {chain.ids[-1]}"), wanted
