"""Known vulnerabilities of an image: its packages against the local advisories, and which base or update mends them."""

from __future__ import annotations

import msgspec

from ...errors import Unsupported
from ...packages.installed import installed
from ...store.rootfs.imagefiles import ImageFiles
from ...store.rows import images
from . import Advisories, Imported, feeds, import_path, osv, vulnerabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.store import Store
    from ..identify.answers import Candidate
    from ..identify.image_source import Subject
    from .feeds import Updated
    from .vulnerabilities import Vulnerability, VulnerabilityReport


class Exposed(msgspec.Struct, frozen=True):
    """One vulnerability: `origin` is base, yours, or "" where no base is known; `newer_fixes` whether today's base is free
    of it (None where that is not known)."""

    id: str
    severity: str
    score: float
    package: str
    version: str
    fixed: str
    origin: str
    newer_fixes: bool | None
    advisories: tuple[str, ...]
    packages: tuple[str, ...]
    ecosystem: str
    summary: str = ""


class Exposure(msgspec.Struct, frozen=True, rename={"findings": "found"}):
    """The vulnerabilities of an image: `gaps` are sentences on what could not be checked; `newer` is the base that
    `newer_fixes` refers to, "" for none; `as_of` is the time of the last update of advisories, by family."""

    image: str
    base: str
    newer: str
    findings: tuple[Exposed, ...]
    gaps: tuple[str, ...]
    checked: int


def look(store: Store, subject: Subject) -> Exposure:
    """Return the vulnerabilities of an image. Layers that are not in the store are read where they are.

    Raises Unsupported when no advisories are in the store, and what reading raises.
    """
    from ..identify import identify, image_source

    with Advisories(directory(store)) as advisories:
        if not advisories.heads():
            raise Unsupported(
                "there are no advisories in the store", "fetch them: `underlay base advisories update`, or import them"
            )
        with image_source.reading(store, subject) as files:
            report = vulnerabilities.match(installed(files), advisories)
            identified = identify.identify(store, subject, 1)
            base = identified.base
            newer = ""
            below = _below(store, files, base) if base is not None else None
            if base is not None and below is not None:
                vulnerabilities.attribute(report.findings, installed(below).packages)
                newer = _newer(store, base.name, base.config_digest or base.like, report, advisories)
    return Exposure(
        subject.name,
        base.name if base is not None else "",
        newer,
        tuple(_exposed(finding) for finding in report.findings),
        tuple(report.gaps),
        sum(report.checked.values()),
    )


def _below(store: Store, files: ImageFiles, base: Candidate) -> ImageFiles | None:
    """Return the files of a base: of the image's lower layers, or where those were flattened of the image it is like."""
    if base.layers:
        return files.lower(base.layers)
    row = images.get(store.meta, base.like) if base.like is not None else None
    return ImageFiles(store.paths, row.diff_ids) if row is not None else None


def _newer(
    store: Store, name: str, config_digest: str | None, report: VulnerabilityReport, advisories: Advisories
) -> str:
    """Compare with what the base's name stands for here by now; returns its name, "" when that is the same image."""
    from ...errors import InvalidInput, NotFound

    try:
        row = images.resolve(store.meta, name)
    except (NotFound, InvalidInput):
        return ""
    if row.id == config_digest:
        return ""
    other = vulnerabilities.match(installed(ImageFiles(store.paths, row.diff_ids)), advisories)
    vulnerabilities.compare_newer(report.findings, other)
    return f"{name} ({row.id[7:19]})"


def _exposed(finding: Vulnerability) -> Exposed:
    return Exposed(
        finding.id,
        finding.label,
        finding.score,
        finding.name,
        finding.version,
        finding.fixed,
        finding.origin,
        finding.newer_fixes,
        tuple(notice.id for notice in finding.notices),
        tuple(package.name for package in finding.packages),
        finding.ecosystem,
        next((notice.summary for notice in finding.notices if notice.summary), ""),
    )


def directory(store: Store) -> str:
    """Return where advisories are kept."""
    return store.paths.root + "/advisories"


def take(store: Store, path: str) -> Imported:
    """Take advisories from files. Raises NotFound, InvalidInput, Corrupt, LimitExceeded."""
    with Advisories(directory(store)) as advisories:
        return import_path(advisories, path)


def update(store: Store, families: Sequence[str], source: str, whole: bool) -> list[Updated]:
    """Fetch advisories. Raises InvalidInput, Conflict, and what fetching raises."""
    with Advisories(directory(store)) as advisories:
        wanted = list(families) or sorted(advisories.heads()) or _of_images(store)
        return feeds.update(advisories, wanted, source, whole, store.emit)


def _of_images(store: Store) -> list[str]:
    """Return the families that the images here are of; all of them when there are none."""
    from . import ecosystems

    families = set()
    for row in images.every(store.meta):
        inventory = installed(ImageFiles(store.paths, row.diff_ids), languages=False)
        scope = ecosystems.scope(inventory.release)
        if scope is not None:
            families.add(scope.family)
    return sorted(families) or sorted(osv.FAMILIES)
