"""Bases known from their Dockerfiles: which steps they have, compared with an image's history.

A source is what a Dockerfile's last stage says: the names of its image, the image it is made from, and a hash of each
instruction (keyword and whole text, blanks collapsed). A builder writes most instructions into the history as they stood,
so that the image of a Dockerfile is known before any registry was asked. Sources of official images come with the code
(`official.sources`, made by tools/make_official_tags.py); an installation's own are added with
`base index add --dockerfiles`.
"""

from __future__ import annotations

import functools
import os
import re
import zlib

import msgspec

from ....errors import Corrupt
from ... import DATA
from .. import history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "dockerfiles.sources"  # of an installation's own, beside its index
_LARGEST = 1 << 26  # bytes of a file, unpacked
_SPACE = re.compile(r"\s+")
_LIST = re.compile(r'" "')
_PORT = re.compile(r"(\d+)/(\w+):\{\}")
_FILLING = frozenset(("RUN", "COPY", "ADD"))
_WEIGHED = 24  # sources that share most steps with an image


class Source(msgspec.Struct, frozen=True):
    """What a Dockerfile says of its image: its `names`, the likeliest first, the `base` after FROM, and the keyword and
    the hash (first 64 bits of the SHA-256) of each instruction."""

    names: tuple[str, ...]
    base: str
    steps: tuple[tuple[str, int], ...]


class Found(msgspec.Struct, frozen=True):
    """A source that an image's steps from `start` to `end` follow: `matched` of `filling` steps that fill layers do."""

    source: Source
    start: int
    end: int
    matched: int
    filling: int
    all_matched: int

    @property
    def score(self) -> float:
        """How sure that is: more for more steps."""
        share = self.matched / max(self.filling, 1)
        return round(min(0.97, 0.6 + 0.3 * share + 0.02 * min(self.all_matched, 5)), 4)


def hashed(instruction: str) -> int:
    """Return the hash of an instruction; blanks are collapsed."""
    return history.short_hash(_SPACE.sub(" ", instruction).strip())


def of_history(step: str) -> int:
    """Return the hash of the instruction that a history step in normal form was."""
    text = step.partition("\n")[2] if step.startswith("# ARGS:") else step
    text = text.removesuffix(" # buildkit")
    word = history.instruction(text)
    if word in ("CMD", "ENTRYPOINT"):
        text = _LIST.sub('", "', text)
    elif word == "EXPOSE" and "map[" in text:
        ports = _PORT.findall(text)
        text = "EXPOSE " + " ".join(port if kind == "tcp" else f"{port}/{kind}" for port, kind in ports)
    elif word == "VOLUME" and text.startswith("VOLUME [/"):
        text = "VOLUME " + text[8:].rstrip("]")
    return hashed(text)


class Sources:
    """Sources, ready to be looked up by their steps."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = list(sources)
        self._places: dict[int, list[tuple[int, int]]] = {}
        for number, source in enumerate(self._sources):
            for position, (_, step) in enumerate(source.steps):
                self._places.setdefault(step, []).append((number, position))
        self._common: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def follow(self, texts: Sequence[str], ground: int, system: str = "") -> list[Found]:
        """Return the sources whose images are beneath an image above its first `ground` steps, the lowest first;
        `system` is the name of what these steps make."""
        if not self._sources:
            return []
        words = [history.instruction(text) for text in texts]
        # First what fills layers: most images follow nothing that is known.
        filling = {spot: of_history(texts[spot]) for spot in range(ground, len(texts)) if words[spot] in _FILLING}
        shared: dict[int, int] = {}
        for step in filling.values():
            if self._tells(step):
                for number, _ in self._places[step]:
                    shared[number] = shared.get(number, 0) + 1
        if not shared:
            return []
        hashes = [filling.get(spot) or of_history(texts[spot]) for spot in range(ground, len(texts))]
        most = max(shared.values())
        likely = sorted((each for each in shared if 2 * shared[each] >= most), key=lambda number: -shared[number])
        # The stages beneath the last one share few steps each, so that they come of what is left.
        likely = [*likely[:_WEIGHED], *sorted(set(shared) - set(likely[:_WEIGHED]))[: 4 * _WEIGHED]]
        found = [each for number in likely if (each := self._matched(self._sources[number], hashes, words, ground))]
        chosen: list[Found] = []
        spot, beneath = ground, {system}
        while True:
            # Which begins there and goes furthest by what is the same; the last stage of several is the base.
            here = [each for each in found if each.start >= spot and each.end > spot]
            if not here:
                return chosen
            first = min(each.start for each in here)
            best = max(
                (each for each in here if each.start == first),
                key=lambda each: (each.all_matched, each.source.base in beneath, each.score),
            )
            chosen.append(best)
            spot, beneath = best.end, set(best.source.names)

    def _tells(self, step: int) -> bool:
        """Tell whether a step is of one repository's Dockerfiles only, and so says something."""
        if step not in self._common:
            owners = {self._sources[number].names[0].rpartition(":")[0] for number, _ in self._places.get(step, ())}
            self._common[step] = len(owners) != 1
        return not self._common[step]

    def _matched(self, source: Source, hashes: Sequence[int], words: Sequence[str], ground: int) -> Found | None:
        """Return how far an image follows a source, None when it is not more than chance."""
        position = 0
        spots: list[int] = []
        filling = telling = start = 0
        for spot, step in enumerate(hashes):
            place = next((n for n in range(position, len(source.steps)) if source.steps[n][1] == step), None)
            if place is None:
                continue
            if not spots:
                start = max(spot - place, 0)
            spots.append(spot)
            fills = source.steps[place][0] in _FILLING
            filling += fills
            telling += fills and self._tells(step)
            position = place + 1
        total = sum(word in _FILLING for word, _ in source.steps)
        if not telling or 2 * filling < total or (len(spots) < 2 and len(source.steps) > 1):
            return None
        end = ground + spots[-1] + 1
        # Steps whose text a builder changed (variables filled in) are told by their keyword alone.
        for word, _ in source.steps[position:]:
            if end >= len(words) or words[end] != word:
                break
            end += 1
        return Found(source, ground + start, end, filling, total, len(spots))


@functools.cache
def official() -> Sources:
    """Return the sources that came with the code."""
    with open(DATA + "/official.sources", "rb") as file:
        return Sources(_decode(zlib.decompressobj().decompress(file.read(), _LARGEST)))


def load(path: str) -> list[Source]:
    """Return the sources of a file, [] when there is none. Raises Corrupt."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        try:
            return _decode(zlib.decompressobj().decompress(file.read(), _LARGEST))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise Corrupt(f"damaged file of known Dockerfiles, {path}: {error}") from None


def dump(sources: Sequence[Source]) -> bytes:
    """Return the file of sources."""
    return zlib.compress(msgspec.msgpack.encode(sources), 9)


def _decode(data: bytes) -> list[Source]:
    return msgspec.msgpack.decode(data, type=list[Source])
