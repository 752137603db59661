"""Builds the index of known builds from records: builds, the names that pointed at them, and their own bases."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from typing import Any

from ..identify import history, image
from . import known, name_statistics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STEPS_KEPT = 1_000  # of one build; more are no base anybody shares
_BUCKET = 0.12  # natural logarithm: layers whose sizes differ by less than about an eighth are alike


class Build:
    """One known build while the index is made; times in seconds since the epoch, days since the epoch."""

    def __init__(self) -> None:
        self.config = ""
        self.manifest = ""
        self.parent = ""
        self.base_stated = False  # whether the record states its base, be it that there is none
        self.layers: list[image.Layer] = []
        self.hashes: list[int] = []
        self.shapes: list[str] = []
        self.times: list[float] = []
        self.names: dict[str, int] = {}
        self.first = 0
        self.last = 0
        self.ghost = False
        self.beneath = 1  # of a ghost: how many steps the build has that it stands on, at least
        self.root = False

    @property
    def made(self) -> float:
        """Time of the last step."""
        return self.times[-1] if self.times else self.first * known.DAY

    def start(self, steps: int) -> Build:
        """Return what the first `steps` steps made, as a build of its own without a name."""
        beginning = Build()
        beginning.hashes = self.hashes[:steps]
        beginning.shapes = self.shapes[:steps]
        beginning.times = self.times[:steps]
        return beginning


def size_bucket(size: int) -> int:
    """Return the number of the class of sizes that `size` bytes is in; neighbours are alike too."""
    return round(math.log(max(size, 1)) / _BUCKET)


def size_items(layers: Sequence[image.Layer]) -> list[int]:
    """Return the size class of each layer that is not empty; [] when a size is not known."""
    filled = [layer.size for layer in layers if not layer.empty]
    return [size_bucket(size) for size in filled] if all(filled) else []


def bucket_item(bucket: int) -> bytes:
    """Return a size class as an item of a sequence."""
    return bucket.to_bytes(2, "little", signed=True)


def digest_item(digest: str) -> bytes:
    """Return a digest as an item of a sequence: 16 bytes of it."""
    try:
        return bytes.fromhex(digest.rpartition(":")[2][:32])
    except ValueError:
        return digest.encode()


def day(text: Any) -> int:
    """Return days since the epoch of a date `2017-11-04`, 0 for anything else."""
    moment = history.seconds(f"{text[:10]}T00:00:00Z") if isinstance(text, str) else None
    return min(max(int((moment or 0) // known.DAY), 0), 0xFFFF)


def make(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the index of the builds in `records`, which have the columns of the corpus's bases.jsonl.

    Members of a wrong type count as missing.
    """
    builds = _merged(records)
    _find_parents(builds)
    _add_ghosts(builds)
    return _written(builds)


def _merged(records: Iterable[Mapping[str, Any]]) -> list[Build]:
    """Return one build for each image id, with all names that pointed at it."""
    builds: dict[str, Build] = {}
    for number, record in enumerate(records):
        identity = image.member(record, "config_digest") or f"record {number}"
        build = builds.get(identity)
        if build is None:
            build = builds[identity] = _read(record)
        _name(build, record)
    return list(builds.values())


def _read(record: Mapping[str, Any]) -> Build:
    build = Build()
    content = image.from_record(record)
    build.config = image.member(record, "config_digest")
    build.manifest = image.member(record, "index_digest") or image.member(record, "manifest_digest")
    build.parent = image.member(record, "parent")
    build.base_stated = "parent" in record
    build.layers = list(content.layers)
    texts = [step.text for step in content.steps[:_STEPS_KEPT]]
    given: Any = record.get("history_hash")
    whole = isinstance(given, list) and len(given) == len(content.steps) and all(map(_is_hash, given))
    build.hashes = [int(text, 16) for text in given[:_STEPS_KEPT]] if whole else [history.short_hash(t) for t in texts]
    build.shapes = [history.shape(text) for text in texts]
    last = 0.0
    for step in content.steps[:_STEPS_KEPT]:
        last = step.created or last
        build.times.append(last)
    return build


def _name(build: Build, record: Mapping[str, Any]) -> None:
    first = day(record.get("first_seen")) or int(build.made // known.DAY)
    last = day(record.get("last_seen")) or first
    build.first = min(build.first or first, first)
    build.last = max(build.last, last)
    since, tags = record.get("tag_first_seen"), record.get("tags")
    for name in tags if isinstance(tags, list) and tags else [record.get("ref")]:
        if isinstance(name, str) and name:
            since_day = since.get(name.rpartition(":")[2]) if isinstance(since, dict) else None
            build.names[image.sound(name)] = day(since_day) or first


def _is_hash(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 16 and set(text) <= set("0123456789abcdef")


def _find_parents(builds: list[Build]) -> None:
    """Find what builds stand on whose records do not tell: the longest other build that is wholly in one."""
    whole: dict[tuple[int, ...], list[Build]] = defaultdict(list)
    if not all(build.base_stated for build in builds):
        for build in builds:
            if build.hashes and build.config:
                whole[tuple(build.hashes)].append(build)
    for build in builds:
        if build.base_stated:
            continue
        digests = [layer.digest for layer in build.layers if not layer.empty]
        for steps in range(len(build.hashes) - 1, 0, -1):
            for other in whole.get(tuple(build.hashes[:steps]), ()):
                other_digests = [layer.digest for layer in other.layers if not layer.empty]
                if other_digests == digests[: len(other_digests)]:
                    build.parent = other.config
                    break
            if build.parent:
                break


def _add_ghosts(builds: list[Build]) -> None:
    """Add the builds that are missing from the records but have others standing on them, as far as they show.

    What such a build is called and how many steps it has is learnt from other builds of the same name as the one
    that stands on it: they stand on other builds of that base.
    """
    by_config = {build.config: build for build in builds if build.config}
    by_name: dict[str, list[Build]] = defaultdict(list)
    for build in builds:
        for name in build.names:
            by_name[name].append(build)
    for named in by_name.values():
        named.sort(key=lambda build: build.made)
    children: dict[str, list[Build]] = defaultdict(list)
    for build in builds:
        if build.parent and build.parent not in by_config:
            children[build.parent].append(build)
        build.root = not build.parent and not any(other.parent for name in build.names for other in by_name[name])
    whole = {tuple(build.hashes): build.config for build in builds if build.hashes and build.config}
    ghosts = []
    for config, above in children.items():
        ghost = _ghost(above, by_name, by_config)
        if ghost is not None:
            ghost.config = config
            ghosts.append(ghost)
            whole.setdefault(tuple(ghost.hashes), config)
    for ghost in ghosts:
        for steps in range(len(ghost.hashes) - 1, ghost.beneath - 1, -1):
            beneath = whole.get(tuple(ghost.hashes[:steps]))
            if beneath:
                ghost.parent = beneath
                break
        builds.append(ghost)


def _ghost(above: list[Build], by_name: dict[str, list[Build]], by_config: dict[str, Build]) -> Build | None:
    """Return the build that all builds in `above` stand on, or None when nothing like it is known."""
    lengths: Counter[int] = Counter()
    beneath: Counter[int] = Counter()
    roots = 0
    votes: Counter[str] = Counter()
    for child in above:
        for name in child.names:
            bases = _neighbours(child, [sibling for sibling in by_name[name] if sibling.parent in by_config])
            bases_of_neighbours = [by_config[build.parent] for build in bases]
            for base in bases_of_neighbours:
                steps = len(base.hashes)
                if steps < len(child.hashes) and base.shapes == child.shapes[:steps]:
                    lengths[steps] += 1
                    if base.parent in by_config:
                        beneath[len(by_config[base.parent].hashes)] += 1
                    roots += 1 if base.root else -1
                    for called in base.names:
                        votes[called] += 1
    if not lengths:
        return None
    steps = lengths.most_common(1)[0][0]
    most = max(votes.values())
    ghost = above[0].start(steps)
    filled = sum(1 for layer in above[0].layers if not layer.empty)
    left = _layers_of(above[0], steps)
    ghost.layers = above[0].layers[:left] if left <= filled else []
    ghost.ghost = True
    ghost.beneath = beneath.most_common(1)[0][0] if beneath else 1
    ghost.root = roots > 0
    ghost.first = min(child.first for child in above)
    ghost.last = max(child.first for child in above)
    ghost.names = {name: ghost.first for name, count in votes.items() if count >= 0.6 * most}
    return ghost


def _neighbours(build: Build, sorted_builds: list[Build]) -> list[Build]:
    """Return the builds made just before and just after `build`."""
    before = [other for other in sorted_builds if other.made <= build.made and other is not build][-1:]
    return before + [other for other in sorted_builds if other.made > build.made][:1]


def _layers_of(build: Build, steps: int) -> int:
    """Return how many layers the first `steps` steps of a build left, by the kinds of these steps."""
    filled = [history.leaves_layer(shape) for shape in build.shapes]
    unsure = sum(answer is None for answer in filled)
    sure = sum(answer is True for answer in filled)
    folders = unsure if sure + unsure <= len(build.layers) else 0
    return sum(answer is True or (answer is None and folders > 0) for answer in filled[:steps])


def _outlines(builds: list[Build], order: Sequence[int]) -> dict[str, Iterable[int]]:
    """Return the sections that lead from the shape of a step to the whole sequences of shapes that have it."""
    ranges: dict[tuple[str, ...], list[int]] = {}
    for spot, build_number in enumerate(order):
        shapes = tuple(builds[build_number].shapes)
        if shapes:
            ranges.setdefault(shapes, [spot, spot])[1] = spot + 1
    hashes = {shape: history.short_hash(shape) for shapes in ranges for shape in shapes}
    having: dict[int, list[int]] = defaultdict(list)
    for outline, shapes in enumerate(ranges):
        for key in {hashes[shape] for shape in shapes}:
            having[key].append(outline)
    keys = sorted(having)
    return {
        "outline_low": [low for low, _ in ranges.values()],
        "outline_full": [full for _, full in ranges.values()],
        "outline_start": _starts(list(ranges)),
        "outline_shape": [hashes[shape] for shapes in ranges for shape in shapes],
        "shape_key": keys,
        "shape_start": _starts([having[key] for key in keys]),
        "shape_outline": [outline for key in keys for outline in having[key]],
    }


def _written(builds: list[Build]) -> bytes:
    builds.sort(key=lambda build: build.made)
    number = {build.config: position for position, build in enumerate(builds) if build.config}
    sections: dict[str, bytes] = {}
    sequences: tuple[list[list[bytes]], ...] = (
        [[digest_item(x.digest) for x in build.layers if not x.empty and x.digest] for build in builds],
        [[digest_item(x.diff_id) for x in build.layers if not x.empty and x.diff_id] for build in builds],
        [[step.to_bytes(8, "little") for step in build.hashes] for build in builds],
        [[shape.encode() for shape in build.shapes] for build in builds],
        [[bucket_item(bucket) for bucket in size_items(build.layers)] for build in builds],
    )
    for which, items in enumerate(sequences):
        sections.update(_sorted_section(which, items))
    names = sorted({name for build in builds for name in build.names})
    index = {name: position for position, name in enumerate(names)}
    usage, spoken = name_statistics.usage(builds)
    tag_builds: list[list[int]] = [[] for _ in names]
    for position, build in enumerate(builds):
        for name in build.names:
            tag_builds[index[name]].append(position)
    texts = [name.encode() for name in names]
    plain: dict[str, Iterable[int]] = {
        "parent": [number.get(build.parent, known.NO_BUILD) for build in builds],
        "made": [_moment(build.made) for build in builds],
        "begun": [_moment(build.times[0] if build.times else build.made) for build in builds],
        "first": [build.first for build in builds],
        "last": [build.last for build in builds],
        "traits": [known.GHOST * build.ghost | known.ROOT * build.root for build in builds],
        "layer_start": _starts([build.layers for build in builds]),
        "layer_size": [layer.size for build in builds for layer in build.layers],
        "layer_filled": [sum(not layer.empty for layer in build.layers) for build in builds],
        "step_start": _starts([build.hashes for build in builds]),
        "step_hash": [step for build in builds for step in build.hashes],
        "name_start": _starts([list(build.names) for build in builds]),
        "name_of": [index[name] for build in builds for name in build.names],
        "name_day": [since for build in builds for since in build.names.values()],
        "tag_start": _starts(tag_builds),
        "tag_build": [position for numbers in tag_builds for position in numbers],
        "usage": [usage[name] for name in names],
        "steady": name_statistics.steady(builds, names),
        "parallel": name_statistics.parallel(builds, names),
        "spoken": [name.rpartition(":")[0] in spoken for name in names],
        "text_start": _starts(texts),
        **_outlines(builds, array("I", sections[f"order{known.SHAPES}"])),
    }
    kinds = dict(known.SECTIONS)
    sections.update({name: array(kinds[name], values).tobytes() for name, values in plain.items()})
    sections["text"] = b"".join(texts)
    sections["config"] = b"".join(_digest(build.config) for build in builds)
    sections["manifest"] = b"".join(_digest(build.manifest) for build in builds)
    return known.write(sections)


def _moment(seconds: float) -> int:
    return min(max(int(seconds), 0), 0xFFFF_FFFF)


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text.rpartition(":")[2])[:32].ljust(32, b"\0")
    except ValueError:
        return bytes(32)


def _starts(lists: Sequence[Sequence[Any]]) -> list[int]:
    starts = [0]
    for items in lists:
        starts.append(starts[-1] + len(items))
    return starts


def _sorted_section(which: int, items: list[list[bytes]]) -> dict[str, bytes]:
    """Return the sections of one of the five sequences; builds are given in order of time."""
    order = sorted(range(len(items)), key=lambda build: items[build])
    position_of = [0] * len(order)
    ranges: dict[int, list[int]] = {}
    for spot, build in enumerate(order):
        position_of[build] = spot
        hashes = known.chain(items[build])
        for depth, key in enumerate(hashes, 1):
            range_of_key = ranges.get(key)
            if range_of_key is None:
                range_of_key = ranges[key] = [spot, spot, spot]
            range_of_key[1] = spot + 1
            if depth == len(hashes):
                range_of_key[2] = spot + 1
    # A beginning that only one build has, and that is not all of it, tells no more than a shorter one.
    kept = sorted(key for key, (low, high, full) in ranges.items() if full > low or high - low > 1)
    return {
        f"keys{which}": array("Q", kept).tobytes(),
        f"low{which}": array("I", [ranges[key][0] for key in kept]).tobytes(),
        f"high{which}": array("I", [ranges[key][1] for key in kept]).tobytes(),
        f"full{which}": array("I", [ranges[key][2] for key in kept]).tobytes(),
        f"order{which}": array("I", order).tobytes(),
        f"place{which}": array("I", position_of).tobytes(),
    }
