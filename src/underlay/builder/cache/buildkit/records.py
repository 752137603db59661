"""BuildKit's cache configuration: which keys there are, how they are linked, and the layers of their results.

`records` of keys with their inputs, and `layers`, each with the one below it (BuildKit, cache/remotecache/v1). In an image
(an inline cache) the configuration is its member `moby.buildkit.cache.v0`, and layers are those of the image.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from ....errors import Corrupt
from ....human import rfc3339
from ....oci.manifest import LAYERS_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

    from ....oci.descriptor import Descriptor
    from .keys import Key

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
INLINE = "moby.buildkit.cache.v0"
UNCOMPRESSED = "containerd.io/uncompressed"  # the annotation with a layer's diff id
CREATED = "buildkit/createdat"
# An empty layer: its tar, and that in the form in which Go compresses it.
EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
_EMPTY_BLOB = "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1"
_MOST = 100_000


class _Layer(msgspec.Struct):
    blob: str = ""
    parent: int = 0


class _Result(msgspec.Struct):
    layer: int = 0
    created: str = msgspec.field(name="createdAt", default="")


class _Chain(msgspec.Struct):
    layers: list[int] = []
    created: str = msgspec.field(name="createdAt", default="")


class _Input(msgspec.Struct):
    link: int
    selector: str = ""


class _Record(msgspec.Struct):
    digest: str = ""
    layers: list[_Result] | None = None
    chains: list[_Chain] | None = None
    inputs: list[list[_Input] | None] | None = None


class _Config(msgspec.Struct):
    layers: list[_Layer] | None = None
    records: list[_Record] | None = None


class Found:
    """A result: its layers, lowest first, without empty ones; `empty` if the topmost is one; when it was made (ns)."""

    __slots__ = ("created", "empty", "layers")

    def __init__(self, layers: list[Descriptor], empty: bool, created: int) -> None:
        self.layers = layers
        self.empty = empty
        self.created = created


class Records:
    """The records of one cache, whose layers are known by `blobs`. Raises Corrupt for a configuration that is none."""

    def __init__(self, data: bytes, blobs: Mapping[str, Descriptor], where: str) -> None:
        self._read(_decoded(data, _Config, where), blobs, where)

    @classmethod
    def inline(cls, data: bytes, layers: Sequence[Descriptor], where: str) -> Records:
        """Return the records in an image's configuration; `layers` are the image's."""
        config = _Config(
            [_Layer(layer.digest, number - 1) for number, layer in enumerate(layers)],
            _decoded(data, list[_Record], where),
        )
        records = cls.__new__(cls)
        records._read(config, {layer.digest: layer for layer in layers}, where)
        return records

    def _read(self, config: _Config, blobs: Mapping[str, Descriptor], where: str) -> None:
        self._where = where
        self._layers = config.layers or []
        self._records = config.records or []
        self._blobs = blobs
        if len(self._layers) > _MOST or len(self._records) > _MOST:
            raise Corrupt(f"build cache {where}: more than {_MOST} records")
        self._by_digest: dict[str, list[int]] = {}
        for number, record in enumerate(self._records):
            self._by_digest.setdefault(record.digest, []).append(number)
        self._matches: dict[int, frozenset[int]] = {}
        self._kept: list[Key] = []  # so that no other gets the identity of one that is noted

    def match(self, key: Key) -> frozenset[int]:
        """Return the numbers of the records that `key` stands for."""
        waiting = [key]
        while waiting:
            one = waiting[-1]
            below = [link for links in one.inputs for _, link in links if id(link) not in self._matches]
            if below and id(one) not in self._matches:
                waiting += below
                continue
            waiting.pop()
            if id(one) not in self._matches:
                self._kept.append(one)
                numbers = [number for digest in one.digests for number in self._by_digest.get(digest, ())]
                self._matches[id(one)] = frozenset(number for number in numbers if self._fits(number, one))
        return self._matches[id(key)]

    def _fits(self, number: int, key: Key) -> bool:
        inputs = self._records[number].inputs or []
        if len(inputs) != len(key.inputs):
            return False
        for links, wanted in zip(inputs, key.inputs, strict=True):
            if not any(
                link.selector == selector and link.link in self._matches[id(below)]
                for link in links or ()
                for selector, below in wanted
            ):
                return False
        return True

    def find(self, key: Key) -> Found | None:
        """Return the newest result of a key; None when there is none whose layers are all known."""
        best: Found | None = None
        for number in self.match(key):
            record = self._records[number]
            chains = [(self._chain(result.layer), result.created) for result in record.layers or ()]
            chains += [(list(chain.layers), chain.created) for chain in record.chains or ()]
            for numbers, created in chains:
                found = self._found(numbers, _moment(created))
                if found is not None and (best is None or found.created > best.created):
                    best = found
        return best

    def _chain(self, number: int) -> list[int]:
        """Return the layers from the lowest to a given one; none for a chain that is no chain."""
        numbers: list[int] = []
        while number != -1:
            if not 0 <= number < len(self._layers) or len(numbers) == LAYERS_LIMIT:  # it may be a circle
                return []
            numbers.insert(0, number)
            number = self._layers[number].parent
        return numbers

    def _found(self, numbers: list[int], created: int) -> Found | None:
        layers = []
        empty = False
        for number in numbers:
            blob = self._blobs.get(self._layers[number].blob) if 0 <= number < len(self._layers) else None
            if blob is None:
                return None
            empty = blob.digest == _EMPTY_BLOB or blob.annotation(UNCOMPRESSED) == EMPTY
            if not empty:
                layers.append(blob)
        return Found(layers, empty, created) if numbers else None


def _decoded(data: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Corrupt(f"build cache {where}: {error}") from None


def _moment(text: str) -> int:
    """Return a time (RFC 3339) in ns since the epoch, 0 for what is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        return 0


class Writer:
    """Gathers records for a cache: `add` keys in order, those of inputs first; `data` is the configuration."""

    def __init__(self) -> None:
        self._layers: list[dict[str, object]] = []
        self._chains: dict[tuple[str, ...], int] = {}
        self._records: list[dict[str, object]] = []
        self._numbers: dict[int, list[int]] = {}
        self._equal: dict[tuple[object, ...], list[int]] = {}
        self._keys: list[Key] = []  # so that no other gets the identity of one that is numbered

    def start(self, chain: Sequence[str]) -> None:
        """Number the layers of an image before those of any result: an inline cache knows them by their places."""
        self._layer(tuple(chain))

    def add(self, key: Key, chain: Sequence[str] = (), created: int = 0) -> None:
        """Add a key; `chain` are the digests of its result's layers, lowest first: blobs, or for an inline cache any."""
        waiting = [key]
        while waiting:
            one = waiting[-1]
            below = [link for links in one.inputs for _, link in links if id(link) not in self._numbers]
            if below:
                waiting += below
                continue
            waiting.pop()
            if id(one) not in self._numbers:
                self._put(one)
        if chain:
            result = {"layer": self._layer(tuple(chain)), "createdAt": rfc3339(created)}
            for number in self._numbers[id(key)]:
                self._records[number]["layers"] = [result]

    def _put(self, key: Key) -> None:
        inputs = tuple(
            tuple((selector, number) for selector, below in links for number in self._numbers[id(below)])
            for links in key.inputs
        )
        # BuildKit wants equal records only once.
        numbers = self._equal.setdefault((key.digests, inputs), [])
        self._numbers[id(key)] = numbers
        self._keys.append(key)
        if numbers:
            return
        for digest in key.digests:
            record: dict[str, object] = {"digest": digest}
            if inputs:
                record["inputs"] = [
                    [{**({"selector": selector} if selector else {}), "link": number} for selector, number in links]
                    for links in inputs
                ]
            numbers.append(len(self._records))
            self._records.append(record)

    def _layer(self, chain: tuple[str, ...]) -> int:
        number = -1
        for size in range(1, len(chain) + 1):
            parent, known = number, self._chains.get(chain[:size])
            if known is None:
                known = self._chains[chain[:size]] = len(self._layers)
                self._layers.append({"blob": chain[size - 1], "parent": parent})
            number = known
        return number

    @property
    def config(self) -> dict[str, object]:
        """The configuration of a cache by itself."""
        return {"layers": self._layers, "records": self._records}

    @property
    def records(self) -> list[dict[str, object]]:
        """The records alone, for an image whose layers are all in one chain."""
        return self._records
