"""Images that a set of files resembles: for images that were squashed, flattened, recompressed or copied whole."""

from __future__ import annotations

import msgspec

from ...store.kinds import REGULAR
from ...store.layers.passing import SUMMED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ...packages.model import Package
    from ...store.rootfs.imagefiles import ImageFiles

_SAMPLE = 24  # files whose content is compared
_ENOUGH = 0.9  # of the files of a base
FEWEST = 8  # files that an image must have to be recognised by them
_NEARLY_ALL = 0.95  # of the packages of a base
_HALF = 0.5  # of them in the same version: the rest was upgraded
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
    small = [path for path in sorted(alike) if 0 < of_base[path] <= SUMMED]
    step = max(1, len(small) // _SAMPLE)
    sample = small[::step][:_SAMPLE]
    differing = sum(image.checksum(path) != base.checksum(path) for path in sample)
    if sample and differing:
        same -= round(same * differing / len(sample))
    return Resemblance(same, len(of_base))


class Shared(msgspec.Struct, frozen=True):
    """How many packages of a base are in an image's databases: `same` in the same version, `there` in any, of `total`."""

    same: int
    there: int
    total: int

    @property
    def enough(self) -> bool:
        """Whether that can hardly be by chance."""
        return self.total >= FEWEST and self.there >= _NEARLY_ALL * self.total and self.same >= _HALF * self.total


def packages(held: Iterable[Package], of_base: Iterable[Package]) -> Shared:
    """Return how many packages of a base an image has, as their databases tell."""
    versions = {(package.kind, package.name, package.architecture): package.version for package in held}
    base = {(package.kind, package.name, package.architecture): package.version for package in of_base}
    common = [key for key in base if key in versions]
    return Shared(sum(versions[key] == base[key] for key in common), len(common), len(base))
