"""Similar images when layers tell nothing: local ones by files and packages, a distribution by its release."""

from __future__ import annotations

from ...store.rows import images
from . import release
from .answers import Candidate
from .image_source import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ...store.rows.images import ImageRow
    from ...store.store import Store
    from ..index.known import Known
    from .image_source import Subject

_FILES = 0.85  # when nearly all files are the same
PACKAGES = 0.8  # when all packages are
_RELEASE = 0.45  # what files say of their distribution; which of its images, and whether any, they do not say
# Times the bytes of an image that something beneath it may have: layers hold what others above them replace, and each
# is filled up.
_LARGER = 1.5
_FILLED = 1 << 20
_CLOSE = 40  # images here that are compared
_OWN = 3  # files in common that one file weighs that is not


def by_files(store: Store, subject: Subject, above: frozenset[str], among: Sequence[Known] = ()) -> Candidate | None:
    """Return the image here whose files are nearly all in this one: it was squashed, flattened, or copied whole.

    What has one of the layers `above` is left out. Preferred is what others stand on, or has a name in the indexes `among`.
    """
    files = subject.seen()
    if files is None:
        return None
    from ...store.rootfs.imagefiles import ImageFiles
    from . import similarity

    held = similarity.sizes(files)
    if len(held) < similarity.FEWEST:
        return None
    best: Candidate | None = None
    best_rank: tuple[float, ...] = ()
    bases = _Bases(store, subject, among)
    for row, names in _others(store, subject, above):
        # Files are opened only when they could all be in this one.
        if row.size > subject.size * _LARGER + _FILLED:
            continue
        other = ImageFiles(store.paths, row.diff_ids)
        comparison = similarity.compare(files, held, other, similarity.sizes(other))
        # What has more files than this one stands on the same base rather than beneath it; what has as many is a twin,
        # unless this one says that something was done to it.
        least = comparison.same + (len(subject.view.history or []) < 2)
        if not comparison.enough or least > len(held):
            continue
        # What came later was made of the other, flattened or exported, or of the same base.
        if _made(row.created) > _made(subject.view.created) or bases.is_sibling(row, names):
            continue
        rank = (
            # Files of it that are not in the image speak for a sibling, which has files of its own.
            comparison.same - _OWN * (comparison.total - comparison.same),
            bases.is_one(row, names),
            -_made(row.created),
            -len(row.diff_ids),
            -len(images.config(store.paths, row.id).get("history") or []),
        )
        if best is None or rank > best_rank:
            best_rank = rank
            count = f"{comparison.same} of {comparison.total} files of {names[0]}"
            text = f"{count} are in the image, though its layers are not"
            best = _like(row, names, _FILES * comparison.share, text)
    return best


def by_packages(store: Store, subject: Subject, above: frozenset[str], among: Sequence[Known] = ()) -> Candidate | None:
    """Return the image here whose packages are nearly all in this one, of which some may have been upgraded."""
    files = subject.seen()
    if files is None:
        return None
    from ...packages.installed import installed
    from ...store.rootfs.imagefiles import ImageFiles
    from . import similarity

    held = installed(files, languages=False).packages
    if len(held) < similarity.FEWEST:
        return None
    best: Candidate | None = None
    best_rank: tuple[int, ...] = ()
    bases = _Bases(store, subject, among)
    for row, names in _others(store, subject, above):
        if _made(row.created) > _made(subject.view.created) or bases.is_sibling(row, names):
            continue
        other_packages = installed(ImageFiles(store.paths, row.diff_ids), languages=False).packages
        comparison = similarity.packages(held, other_packages)
        # As many are a twin rather than a base.
        if not comparison.enough or comparison.total >= len(held):
            continue
        rank = (comparison.same - (comparison.total - comparison.same), bases.is_one(row, names))
        if best is None or rank > best_rank:
            best_rank = rank
            count = f"{comparison.there} of {comparison.total} packages of {names[0]}"
            text = f"{count} are in the image, {comparison.same} in the same version"
            best = _like(row, names, PACKAGES * comparison.same / comparison.total, text)
    return best


def by_release(subject: Subject) -> Candidate | None:
    """Return the distribution that an image's files say they are of."""
    told = release.of(subject)
    if told is None:
        return None
    text = f"its files say that they are {told.title!r}"
    return Candidate(told.names[0], told.names, _RELEASE, 0, 0, evidence=(text,))


def _others(store: Store, subject: Subject, above: frozenset[str]) -> Iterator[tuple[ImageRow, list[str]]]:
    """Yield images here that have a name and share nothing with this one: what has the same lowest layer stands on the same
    base, or on this one, and is as alike for that reason."""
    related = above | set(subject.view.diff_ids[:1])
    for row in images.every(store.meta)[:_CLOSE]:
        if row.id != subject.id and related.isdisjoint(row.diff_ids[:1]) and (names := names_of(store, row)):
            yield row, names


class _Bases:
    """Distinguishes images that others stand on from siblings of the image, which have the same base as it."""

    def __init__(self, store: Store, subject: Subject, among: Sequence[Known]) -> None:
        self._among = among
        self._paths = store.paths
        own = names_of(store, subject.image) if subject.image is not None else []
        self._repositories = {name.rpartition(":")[0] for name in own}
        self._command = _command(subject.value)
        self._stood_on: set[tuple[str, ...]] = set()
        for row in images.every(store.meta)[:_CLOSE]:
            if row.id != subject.id:
                self._stood_on |= {tuple(row.diff_ids[:count]) for count in range(1, len(row.diff_ids))}

    def is_one(self, row: ImageRow, names: Sequence[str]) -> bool:
        """Tell whether other images stand on an image, or an index knows one of its names."""
        known = any(index.number(name) is not None for index in self._among for name in names)
        return known or tuple(row.diff_ids) in self._stood_on

    def is_sibling(self, row: ImageRow, names: Sequence[str]) -> bool:
        """Tell whether an image is another version of the one asked for: of the same repository, or with the same command
        where nothing says that it is a base."""
        if self._repositories & {name.rpartition(":")[0] for name in names}:
            return True
        same = bool(self._command) and _command(images.config(self._paths, row.id)) == self._command
        return same and not self.is_one(row, names)


def _command(config: Mapping[str, Any]) -> list[Any]:
    """Return the command of an image with its folder, [] for what many images have: none, or a shell."""
    own = config.get("config") or {}
    words = [*(own.get("Entrypoint") or []), *(own.get("Cmd") or [])]
    return [] if len(words) < 2 and (not words or str(words[0]).endswith("sh")) else [own.get("WorkingDir"), *words]


def _made(created: str | None) -> float:
    from .history import seconds

    return seconds(created) or 0.0


def _like(row: ImageRow, names: list[str], confidence: float, text: str) -> Candidate:
    return Candidate(names[0], tuple(names), round(confidence, 4), 0, 0, None, None, row.id, (text,))
