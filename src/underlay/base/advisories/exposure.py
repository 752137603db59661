"""Known vulnerabilities of an image: its packages against the local advisories, and which base or update mends them."""

from __future__ import annotations

import msgspec

from ...errors import Unsupported
from ...packages.installed import installed
from ...store.rootfs.imagefiles import ImageFiles
from ...store.rows import images
from . import Advisories, Imported, exploits, feeds, import_path, osv, vulnerabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.store import Store
    from ..identify.answers import Candidate
    from ..identify.image_source import Subject
    from .exploits import Exploits
    from .feeds import Updated
    from .vulnerabilities import Vulnerability, VulnerabilityReport


class Exposed(msgspec.Struct, frozen=True):
    """One vulnerability: `origin` is base, yours, or "" where no base is known; `newer_fixes` whether today's base is free
    of it (None where that is not known).

    `names` are all of its names, `purls` and `paths` those of the packages (no path for those of the system). `exploited`
    is the day since when it is known to be exploited (KEV, ISO 8601), `epss` the probability that it will be within 30
    days; "" and None where the lists do not say, or were not imported. One that does not count has the `status` "ignored",
    or that of a VEX statement ("not_affected" with its `justification`, "fixed"), and `because` says why.
    """

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
    names: tuple[str, ...] = ()
    purls: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exploited: str = ""
    epss: float | None = None
    status: str = ""
    justification: str = ""
    because: str = ""


class Exposure(msgspec.Struct, frozen=True, rename={"findings": "found"}):
    """The vulnerabilities of an image: `gaps` are sentences on what could not be checked; `newer` is the base that
    `newer_fixes` refers to, "" for none. `id` and `digest` are those of its configuration and its manifest ("" without).

    `ignored` do not count, by an ignore file or VEX; `notes` are sentences on entries of these that have no effect.
    `lists` are those of exploits that are here (KEV, EPSS), with their days.
    """

    image: str
    base: str
    newer: str
    findings: tuple[Exposed, ...]
    gaps: tuple[str, ...]
    checked: int
    id: str = ""
    digest: str = ""
    ignored: tuple[Exposed, ...] = ()
    notes: tuple[str, ...] = ()
    lists: dict[str, str] = {}


def look(store: Store, subject: Subject, ignore_file: str = "", vex_files: Sequence[str] = ()) -> Exposure:
    """Return the vulnerabilities of an image. Layers that are not in the store are read where they are.

    `ignore_file` and `vex_files` say what does not count. Raises InvalidInput (these), Unsupported when no advisories are
    in the store, and what reading raises.
    """
    from ..identify import identify, image_source
    from .judging import Judges

    judges = Judges.read(ignore_file, vex_files)
    with Advisories(directory(store)) as advisories:
        if not advisories.heads():
            raise Unsupported(
                "there are no advisories in the store", "fetch them: `underlay base advisories update`, or import them"
            )
        with subject.reading(tables=False) as files:
            inventory = installed(files)
            report = vulnerabilities.match(inventory, advisories)
            identified = identify.identify(store, subject, 1)
            base = identified.base
            newer = ""
            below = _below(store, files, base) if base is not None else None
            if base is not None and below is not None:
                vulnerabilities.attribute(report.findings, installed(below).packages)
                newer = _newer(store, base.name, base.config_digest or base.like, report, advisories)
    lists = exploits.load(directory(store))
    exposed = [_exposed(finding, inventory.release, lists) for finding in report.findings]
    # What is known to be exploited comes before the merely worst.
    exposed.sort(key=lambda finding: not finding.exploited)
    counting, ignored, notes = judges.judge(exposed, image_source.identifiers(store, subject))
    return Exposure(
        subject.name,
        base.name if base is not None else "",
        newer,
        tuple(counting),
        tuple(report.gaps),
        sum(report.checked.values()),
        subject.id,
        subject.manifest.digest if subject.manifest is not None else "",
        tuple(ignored),
        tuple(notes),
        lists.dates,
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


def _exposed(finding: Vulnerability, release: dict[str, str], lists: Exploits) -> Exposed:
    scores = [lists.scores[cve].probability for cve in finding.cves if cve in lists.scores]
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
        tuple(sorted(finding.names)),
        tuple(dict.fromkeys(package.purl(release) for package in finding.packages)),
        tuple(dict.fromkeys(package.path for package in finding.packages if package.path)),
        min((lists.known[cve] for cve in finding.cves if cve in lists.known), default=""),
        max(scores, default=None),
    )


def directory(store: Store) -> str:
    """Return where advisories are kept."""
    return store.paths.root + "/advisories"


def take(store: Store, path: str) -> Imported:
    """Take advisories, or a list of KEV or EPSS, from files. Raises NotFound, InvalidInput, Corrupt, LimitExceeded."""
    taken = exploits.take(directory(store), path)
    if taken is not None:
        imported = Imported()
        imported.lists[taken[0]] = taken[1]
        return imported
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
