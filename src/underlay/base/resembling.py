"""Which images a set of files resembles, when layers say nothing: squashed, flattened, recompressed, copied whole."""

from __future__ import annotations

import msgspec

from ..store.kinds import REGULAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..store.imagefiles import ImageFiles

_SAMPLE = 24  # files whose content is compared
_SMALL = 1 << 20  # bytes: of larger files the size decides
_ENOUGH = 0.9  # of the files of a base
FEWEST = 8  # files that an image must have to be recognised by them
# What a container's first steps change in nearly every base: its absence says nothing.
_CHANGING = (b"etc/", b"var/", b"tmp/", b"run/", b"root/", b"dev/", b"proc/", b"sys/")


class Resemblance(msgspec.Struct, frozen=True):
    """How many of the files of a base are in an image: `same` (path and size, content of some) of `total`."""

    same: int
    total: int

    @property
    def share(self) -> float:
        """The part of the base's files that is there, 0 to 1."""
        return self.same / self.total if self.total else 0.0

    @property
    def enough(self) -> bool:
        """Whether that can hardly be by chance."""
        return self.total >= FEWEST and self.share >= _ENOUGH


def sizes(files: ImageFiles) -> dict[bytes, int]:
    """Return the regular files of an image with their sizes in bytes, without those that every image changes."""
    return dict(_regular(files))


def _regular(files: ImageFiles) -> Iterator[tuple[bytes, int]]:
    for path, node in files.walk():
        if node.entry.kind == REGULAR and not path.startswith(_CHANGING):
            yield path, node.entry.size


def compare(
    image: ImageFiles, held: Mapping[bytes, int], base: ImageFiles, of_base: Mapping[bytes, int]
) -> Resemblance:
    """Return how much of a base is in an image; `held` and `of_base` are what `sizes` returns of both."""
    alike = [path for path, size in of_base.items() if held.get(path) == size]
    same = len(alike)
    if same < FEWEST or same < len(of_base) * _ENOUGH:
        return Resemblance(same, len(of_base))
    # Equal sizes are a sign; the contents of some, spread over all, must be equal too.
    small = [path for path in sorted(alike) if 0 < of_base[path] <= _SMALL]
    step = max(1, len(small) // _SAMPLE)
    sample = small[::step][:_SAMPLE]
    differing = sum(image.read(path, _SMALL) != base.read(path, _SMALL) for path in sample)
    if sample and differing:
        same -= round(same * differing / len(sample))
    return Resemblance(same, len(of_base))
