"""Known vulnerabilities of images: packages against the advisories that are here; whose they are, and what mends them."""

from __future__ import annotations

import msgspec

from ..base.advisories import Advisories, Imported, feeds, import_path, osv, vulnerabilities
from ..errors import Unsupported
from ..packages.installed import installed
from ..store.rootfs.imagefiles import ImageFiles
from ..store.rows import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..base.advisories.feeds import Updated
    from ..base.advisories.vulnerabilities import Finding, Report
    from ..base.identify.lineage import Candidate
    from .engine import Engine
    from .subjects import Subject


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


class Exposure(msgspec.Struct, frozen=True):
    """What was found in an image: `gaps` are sentences about what could not be checked; `newer` is the base that
    `newer_fixes` speaks of, "" for none; `as_of` when advisories were last taken, by family."""

    image: str
    base: str
    newer: str
    found: tuple[Exposed, ...]
    gaps: tuple[str, ...]
    checked: int


def look(engine: Engine, subject: Subject) -> Exposure:
    """Return the vulnerabilities of an image. Raises Unsupported when its files are not here, or no advisories are."""
    from . import identifying

    files = subject.require_files("looking for vulnerabilities")
    with Advisories(directory(engine)) as store:
        if not store.heads():
            raise Unsupported(
                "there are no advisories here", "fetch them: `underlay base advisories update`, or import them"
            )
        report = vulnerabilities.match(installed(files), store)
        identified = identifying.identify(engine, subject, 1)
        base = identified.base
        newer = ""
        below = _below(engine, subject, base) if base is not None else []
        if base is not None and below:
            vulnerabilities.attribute(report.findings, installed(ImageFiles(engine.paths, below)).packages)
            newer = _newer(engine, base.name, base.config_digest or base.like, report, store)
    return Exposure(
        subject.name,
        base.name if base is not None else "",
        newer,
        tuple(_exposed(each) for each in report.findings),
        tuple(report.gaps),
        sum(report.checked.values()),
    )


def _below(engine: Engine, subject: Subject, base: Candidate) -> list[str]:
    """Return the layers of a base: those of the image, or where its files were flattened those of the image it is like."""
    if base.layers or base.like is None:
        return list(subject.view.diff_ids[: base.layers])
    row = images.get(engine.meta, base.like)
    return list(row.diff_ids) if row is not None else []


def _newer(engine: Engine, name: str, config_digest: str | None, report: Report, store: Advisories) -> str:
    """Compare with what the base's name stands for here by now; returns its name, "" when that is the same image."""
    from ..errors import InvalidInput, NotFound

    try:
        row = images.resolve(engine.meta, name)
    except (NotFound, InvalidInput):
        return ""
    if row.id == config_digest:
        return ""
    other = vulnerabilities.match(installed(ImageFiles(engine.paths, row.diff_ids)), store)
    vulnerabilities.compare_newer(report.findings, other)
    return f"{name} ({row.id[7:19]})"


def _exposed(found: Finding) -> Exposed:
    return Exposed(
        found.id,
        found.label,
        found.score,
        found.name,
        found.version,
        found.fixed,
        found.origin,
        found.newer_fixes,
        tuple(notice.id for notice in found.notices),
        tuple(package.name for package in found.packages),
        found.ecosystem,
        next((notice.summary for notice in found.notices if notice.summary), ""),
    )


def directory(engine: Engine) -> str:
    """Return where advisories are kept."""
    return engine.paths.root + "/advisories"


def take(engine: Engine, path: str) -> Imported:
    """Take advisories from files. Raises NotFound, InvalidInput, Corrupt, LimitExceeded."""
    with Advisories(directory(engine)) as store:
        return import_path(store, path)


def update(engine: Engine, families: Sequence[str], source: str, whole: bool) -> list[Updated]:
    """Fetch advisories. Raises InvalidInput, Conflict, and what fetching raises."""
    with Advisories(directory(engine)) as store:
        wanted = list(families) or sorted(store.heads()) or _of_images(engine)
        return feeds.update(store, wanted, source, whole, engine.emit)


def _of_images(engine: Engine) -> list[str]:
    """Return the families that the images here are of; all of them when there are none."""
    from ..base.advisories import ecosystems

    found = set()
    for row in images.every(engine.meta):
        inventory = installed(ImageFiles(engine.paths, row.diff_ids), languages=False)
        scope = ecosystems.scope(inventory.release)
        if scope is not None:
            found.add(scope.family)
    return sorted(found) or sorted(osv.FAMILIES)
