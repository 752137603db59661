"""The index of known builds: one compact file of digests, steps and names, looked up without being unpacked.

A build's layers, diff ids, steps, shapes of steps and layer sizes are each a sequence. For each of these five, builds
are sorted by sequence, so that those which begin alike are neighbours, and a table leads from the hash of a beginning
to the range of builds that have it; the first of a range are those that are no longer than the beginning.
"""

from __future__ import annotations

import functools
import struct
from bisect import bisect_left

import msgspec

from ...errors import Corrupt
from ...lean.hashing import sha256
from .. import DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAGIC = b"underlay known bases 1\n"
PACKED = b"underlay known bases 1 z\n"
DAY = 86_400
NO_BUILD = 0xFFFF_FFFF

# Sequences that builds are sorted by.
LAYERS, DIFF_IDS, STEPS, SHAPES, SIZES = range(5)

# Sections of the file in order: name and kind of element (as `struct` and `memoryview.cast` write it).
SECTIONS: tuple[tuple[str, str], ...] = (
    *(
        (f"{part}{which}", kind)
        for which in range(5)
        for part, kind in (("keys", "Q"), ("low", "I"), ("high", "I"), ("full", "I"), ("order", "I"), ("place", "I"))
    ),
    ("config", "B"),  # digests of 32 bytes each; all zero when not known
    ("manifest", "B"),
    ("parent", "I"),  # build it stands on, NO_BUILD when none is known
    ("made", "I"),  # time of the last step, seconds since the epoch
    ("begun", "I"),  # time of the first step
    ("first", "H"),  # days since the epoch between which the build was seen under some name
    ("last", "H"),
    ("traits", "B"),  # GHOST, ROOT
    ("layer_start", "I"),  # where a build's layers are in `layer_size`; one more than there are builds
    ("layer_size", "Q"),
    ("layer_filled", "I"),  # layers of a build that are not empty
    ("step_start", "I"),
    ("step_hash", "Q"),
    ("name_start", "I"),
    ("name_of", "I"),
    ("name_day", "H"),  # day since when the name pointed at the build
    ("tag_start", "I"),  # builds of each name, oldest first
    ("tag_build", "I"),
    ("usage", "I"),  # how often a name is what other known builds were made from, in hundredths
    ("steady", "B"),  # in how many of a hundred of its builds a name has the companion that it has most often
    ("parallel", "B"),  # see `tagfacts.parallel`
    ("spoken", "B"),  # 1 where code names of the repository are used in names of what stands on it
    ("outline_low", "I"),  # outlines are the different whole sequences of shapes, as ranges of builds in SHAPES
    ("outline_full", "I"),
    ("outline_start", "I"),
    ("outline_shape", "Q"),
    ("shape_key", "Q"),  # for each shape of a step the outlines that have it
    ("shape_start", "I"),
    ("shape_outline", "I"),
    ("text_start", "I"),
    ("text", "B"),
)
_HEAD = struct.Struct("<4sI")

ALONE = 255  # in `parallel`: no other version stands beside this one
GHOST = 1  # only known because another known build stands on it
ROOT = 2  # known to be made from nothing


def chain(items: Iterable[bytes]) -> list[int]:
    """Return the hash (64 bits) of each beginning of a sequence, the shortest first."""
    hashes: list[int] = []
    before = b""
    for item in items:
        before = sha256(before + item).digest()[:8]
        hashes.append(int.from_bytes(before, "little"))
    return hashes


class Match(msgspec.Struct, frozen=True, gc=False):
    """Builds with a common beginning of `depth` items: places `low` to `high`, of which those before `full` end there."""

    depth: int
    low: int
    high: int
    full: int


class Sequences:
    """One of the five sorted sequences."""

    __slots__ = ("_full", "_high", "_keys", "_low", "order", "position")

    def __init__(self, sections: dict[str, memoryview], which: int) -> None:
        self._keys = sections[f"keys{which}"]
        self._low = sections[f"low{which}"]
        self._high = sections[f"high{which}"]
        self._full = sections[f"full{which}"]
        self.order = sections[f"order{which}"]
        self.position = sections[f"place{which}"]

    def find(self, key: int, depth: int) -> Match | None:
        """Return the builds that begin with the sequence of this hash."""
        keys = self._keys
        spot = bisect_left(keys, key)
        if spot == len(keys) or keys[spot] != key:
            return None
        return Match(depth, self._low[spot], self._high[spot], self._full[spot])

    def beginnings(self, hashes: Sequence[int]) -> list[Match]:
        """Return what is known of each beginning, the shortest first; beginnings nobody has are left out."""
        matches = (self.find(key, depth) for depth, key in enumerate(hashes, 1))
        return [match for match in matches if match is not None]


class Known:
    """The index, open for look-up. Builds and names are numbers; raises Corrupt when `data` is not an index."""

    def __init__(self, data: bytes | memoryview) -> None:
        sections = _sections(memoryview(data))
        self._sections = sections
        self.by_layers = Sequences(sections, LAYERS)
        self.by_diff_ids = Sequences(sections, DIFF_IDS)
        self.by_steps = Sequences(sections, STEPS)
        self.by_shapes = Sequences(sections, SHAPES)
        self.by_sizes = Sequences(sections, SIZES)
        for name in _PLAIN:
            setattr(self, name, sections[name])
        self._names: dict[int, str] = {}
        days = self.last
        self.end = max(days) if len(days) else 0

    parent: memoryview[int]
    made: memoryview[int]
    begun: memoryview[int]
    first: memoryview[int]
    last: memoryview[int]
    traits: memoryview[int]
    layer_filled: memoryview[int]
    usage: memoryview[int]
    layer_start: memoryview[int]
    layer_size: memoryview[int]
    step_start: memoryview[int]
    step_hash: memoryview[int]
    name_start: memoryview[int]
    name_of: memoryview[int]
    name_day: memoryview[int]
    tag_start: memoryview[int]
    tag_build: memoryview[int]
    steady: memoryview[int]
    parallel: memoryview[int]
    spoken: memoryview[int]
    outline_low: memoryview[int]
    outline_full: memoryview[int]
    outline_start: memoryview[int]
    outline_shape: memoryview[int]

    def __len__(self) -> int:
        return len(self.parent)

    def names(self, build: int) -> list[int]:
        """Return the names that pointed at a build at some time."""
        start = self.name_start
        return list(self.name_of[start[build] : start[build + 1]])

    def builds(self, name: int) -> list[int]:
        """Return the builds that a name pointed at, the oldest first."""
        return list(self.tag_build[self.tag_start[name] : self.tag_start[name + 1]])

    def name(self, number: int) -> str:
        """Return a name as text: `debian:stretch-slim`."""
        text = self._names.get(number)
        if text is None:
            start = self._sections["text_start"]
            text = bytes(self._sections["text"][start[number] : start[number + 1]]).decode("utf-8", "replace")
            self._names[number] = text
        return text

    def number(self, name: str) -> int | None:
        """Return the number of a name, None when it is not known."""
        spot = bisect_left(range(len(self.usage)), name, key=self.name)
        return spot if spot < len(self.usage) and self.name(spot) == name else None

    def step_count(self, build: int) -> int:
        """Return how many history steps a build has."""
        return self.step_start[build + 1] - self.step_start[build]

    def layer_count(self, build: int) -> int:
        """Return how many layers a build has, empty ones included."""
        return self.layer_start[build + 1] - self.layer_start[build]

    def config_digest(self, build: int) -> str | None:
        """Return the image id of a build, None when it is not known."""
        return _digest(self._sections["config"], build)

    def manifest_digest(self, build: int) -> str | None:
        """Return the digest by which registries know a build, None when it is not known."""
        return _digest(self._sections["manifest"], build)

    def outlines(self, shape: int) -> memoryview[int]:
        """Return the outlines that have a step of this shape (`history.short_hash` of it)."""
        keys = self._sections["shape_key"]
        spot = bisect_left(keys, shape)
        if spot == len(keys) or keys[spot] != shape:
            return self._sections["shape_outline"][:0]
        start = self._sections["shape_start"]
        return self._sections["shape_outline"][start[spot] : start[spot + 1]]

    def parent_of(self, build: int) -> int | None:
        """Return the build that `build` stands on."""
        parent = self.parent[build]
        return None if parent == NO_BUILD else parent


_PLAIN = (
    *("parent", "made", "begun", "first", "last", "traits", "layer_filled", "usage", "layer_start", "layer_size"),
    *("step_start", "step_hash", "name_start", "name_of", "name_day", "tag_start", "tag_build"),
    *("steady", "parallel", "spoken", "outline_low", "outline_full", "outline_start", "outline_shape"),
)


def _digest(section: memoryview, build: int) -> str | None:
    data = bytes(section[build * 32 : build * 32 + 32])
    return f"sha256:{data.hex()}" if any(data) else None


def write(sections: dict[str, bytes]) -> bytes:
    """Return the file made of sections; every section of SECTIONS must be there."""
    parts = [MAGIC.ljust(32, b"\0")]
    offset = 32 + len(SECTIONS) * 16
    offset += -offset % 8
    table = []
    body = []
    for name, _ in SECTIONS:
        data = sections[name]
        padded = data + bytes(-len(data) % 8)
        table.append(struct.pack("<QQ", offset, len(data)))
        body.append(padded)
        offset += len(padded)
    parts += table
    head = b"".join(parts)
    return b"".join([head, bytes(-len(head) % 8), *body])


def pack(data: bytes) -> bytes:
    """Return an index in a smaller form that takes longer to open."""
    import zlib

    return PACKED + struct.pack("<Q", len(data)) + zlib.compress(data, 9)


def unpack(data: bytes) -> bytes:
    """Return an index from its smaller form; raises Corrupt."""
    import zlib

    start = len(PACKED) + 8
    (size,) = struct.unpack("<Q", data[len(PACKED) : start].ljust(8, b"\0"))
    inflater = zlib.decompressobj()
    try:
        index = inflater.decompress(data[start:], min(size, 1 << 31) + 1)
    except zlib.error as error:
        raise Corrupt(f"damaged index of known bases: {error}") from None
    if len(index) != size or not inflater.eof:
        raise Corrupt("damaged index of known bases: its length is not the one that its head states")
    return index


def open_index(path: str) -> Known:
    """Open the index in a file without reading it all, unless it is packed. Raises Corrupt or OSError."""
    with open(path, "rb") as file:
        start = file.read(len(PACKED))
        if start == PACKED:
            return Known(unpack(start + file.read()))
        import mmap

        try:
            return Known(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
        except ValueError:
            raise Corrupt(f"{path}: not an index of known bases") from None


@functools.cache
def shipped() -> Known:
    """Open the index that comes with underlay; it is unpacked once, since a server asks for it often."""
    return open_index(DATA + "/known.bases")


def _sections(data: memoryview) -> dict[str, memoryview]:
    """Return the sections of a file after checking that they lie within it and fit together."""
    if bytes(data[: len(MAGIC)]) != MAGIC or len(data) < 32 + len(SECTIONS) * 16:
        raise Corrupt("the index of known bases has another format than this version of underlay reads")
    sections: dict[str, memoryview] = {}
    for number, (name, kind) in enumerate(SECTIONS):
        start, size = struct.unpack_from("<QQ", data, 32 + number * 16)
        if start + size > len(data) or start % 8 or size % struct.calcsize(kind):
            raise Corrupt(f"damaged index of known bases: section {name} is not within the file")
        sections[name] = data[start : start + size].cast(kind)  # type: ignore[call-overload]
    _check(sections)
    return sections


def _check(sections: dict[str, memoryview]) -> None:
    """Check lengths only: reading every number of a large index would cost more than any look-up."""
    builds = len(sections["parent"])
    names = len(sections["usage"])
    lengths = {
        **dict.fromkeys(("made", "begun", "first", "last", "traits", "layer_filled"), builds),
        **dict.fromkeys(("layer_start", "step_start", "name_start"), builds + 1),
        **dict.fromkeys(("tag_start", "text_start"), names + 1),
        "steady": names,
        "parallel": names,
        "spoken": names,
        "outline_full": len(sections["outline_low"]),
        "outline_start": len(sections["outline_low"]) + 1,
        "shape_start": len(sections["shape_key"]) + 1,
        "config": builds * 32,
        "manifest": builds * 32,
        "name_day": len(sections["name_of"]),
    }
    for which in range(5):
        lengths[f"place{which}"] = builds
        lengths[f"order{which}"] = builds
        for part in ("low", "high", "full"):
            lengths[f"{part}{which}"] = len(sections[f"keys{which}"])
    for name, length in lengths.items():
        if len(sections[name]) != length:
            raise Corrupt(f"damaged index of known bases: section {name} has {len(sections[name])} items, not {length}")
