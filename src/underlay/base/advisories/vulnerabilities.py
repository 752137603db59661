"""Matching advisories against the packages of an image, and whether to mend them in its base or above it."""

from __future__ import annotations

from functools import cmp_to_key

from ...errors import InvalidInput
from ...packages import versions
from ...packages.model import LANGUAGES
from . import cvss, ecosystems, osv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...packages.installed import Inventory
    from ...packages.model import Package
    from ...packages.versions import Key
    from . import Advisories
    from .advisory_file import AdvisoryFile
    from .osv import Affected, Events, Record

_START = ("i", "0")
_KIND = {"dpkg": "deb", "apk": "apk", "rpm": "rpm"}
FROM_BASE, YOURS = "base", "yours"


class Notice:
    """An advisory that means an installed package: its `id`, the `ecosystem` (with release) that it was found in, all CVE
    numbers that it names, its `summary`, when it was `published` (RFC 3339), and the version in which it was `fixed`, ""
    while there is none."""

    __slots__ = ("cves", "ecosystem", "fixed", "id", "label", "names", "published", "score", "summary")

    def __init__(self, record: Record, ecosystem: str, affected: Affected, fixed: str) -> None:
        self.id = record.id
        self.ecosystem = ecosystem
        self.names = record.names
        self.cves = osv.cves(record)
        self.summary = record.summary
        self.published = record.published
        self.score = record.score
        self.label = affected.label or record.label
        self.fixed = fixed


class Vulnerability:
    """A vulnerability in an installed package.

    `cves` are the CVE numbers that all of its `notices` have in common; `id` is that number if there is exactly one, else
    the id of the first notice. `name` and `version` are those in the advisories (the source package's for most
    distributions), `packages` the installed ones. `fixed` is the version that fixes all of it, "" if there is none;
    `label` is one of cvss.LABELS, `score` the highest base score, 0 for none. `origin` is FROM_BASE, YOURS, or "" while
    undetermined; `newer_fixes` says whether the newer base is free of it, None without a newer base or for YOURS.
    """

    __slots__ = (
        "cves",
        "ecosystem",
        "fixed",
        "id",
        "kind",
        "label",
        "name",
        "newer_fixes",
        "notices",
        "origin",
        "packages",
        "score",
        "version",
    )

    def __init__(self, order: str, name: str, version: str, packages: list[Package], notices: list[Notice]) -> None:
        self.ecosystem = notices[0].ecosystem
        self.name = name
        self.version = version
        self.kind = packages[0].kind
        self.packages = packages
        self.notices = sorted(notices, key=lambda notice: (notice.published, notice.id))
        # What all of them name: an advisory about several may stand beside one about this alone.
        named = [set(notice.cves) for notice in notices if notice.cves]
        self.cves = sorted(set.intersection(*named)) if named else []
        self.id = self.cves[0] if len(self.cves) == 1 else self.notices[0].id
        fixes = [notice.fixed for notice in notices if notice.fixed]
        self.fixed = max(fixes, key=lambda fix: versions.key(order, fix)) if fixes else ""
        self.score = max(notice.score for notice in notices)
        self.label = max((notice.label for notice in notices), key=cvss.LABELS.index)
        self.origin = ""
        self.newer_fixes: bool | None = None

    @property
    def names(self) -> set[str]:
        """Every name under which this is known: ids, aliases, CVE numbers."""
        return {name for notice in self.notices for name in (notice.id, *notice.names, *notice.cves)}


class VulnerabilityReport:
    """What was found: `findings`, the worst first; how many packages were `checked` and how many could not be
    (`unchecked`), by kind; `gaps`: a sentence for each reason why."""

    __slots__ = ("checked", "findings", "gaps", "unchecked")

    def __init__(self) -> None:
        self.findings: list[Vulnerability] = []
        self.checked: dict[str, int] = {}
        self.unchecked: dict[str, int] = {}
        self.gaps: list[str] = []

    def notices(self) -> list[tuple[str, str, str, str, str]]:
        """Return each advisory that means a package once, sorted: its id, the package's name as it has it, the installed
        version, the one that is fixed, when it was published."""
        return sorted(
            {
                (notice.id, finding.name, finding.version, notice.fixed, notice.published)
                for finding in self.findings
                for notice in finding.notices
            }
        )


def match(inventory: Inventory, advisories: Advisories) -> VulnerabilityReport:
    """Return what the advisories that are here say of the packages of an image; raises Corrupt (their files).

    Packages of languages that the system's own packages brought are left to the advisories of the distribution: it
    mends them without changing their version.
    """
    report = VulnerabilityReport()
    report.gaps += inventory.problems
    kinds: dict[str, list[Package]] = {}
    for package in inventory.packages:
        if not package.owner:
            kinds.setdefault(package.kind, []).append(package)
    for kind, packages in kinds.items():
        packages = _named(kind, packages, report)
        if not packages:
            continue
        report.unchecked[kind] = len(packages)
        where = _scope(kind, inventory.release, report, len(packages))
        file = advisories.file(where.family) if where is not None else None
        if where is None:
            continue
        if file is None:
            report.gaps.append(
                f"there are no advisories of {where.family} in the store: {_many(packages, kind)} not checked"
            )
            continue
        chosen = where.chosen(file.head.ecosystems)
        if not chosen:
            named = " or ".join(where.ecosystems)
            report.gaps.append(f"the advisories in the store do not cover {named}: {_many(packages, kind)} not checked")
            continue
        report.checked[kind] = report.unchecked.pop(kind)
        skipped = _match(report.findings, file, where, chosen, packages)
        if skipped:
            report.gaps.append(f"{skipped} versions of {where.family} packages cannot be compared")
    worst = cvss.LABELS.index
    report.findings.sort(
        key=lambda finding: (-worst(finding.label), -finding.score, finding.name, finding.version, finding.id)
    )
    return report


def _named(kind: str, packages: list[Package], report: VulnerabilityReport) -> list[Package]:
    """Return the packages that advisories can know by name: of Java those whose group is known."""
    if kind != "maven":
        return packages
    named = [package for package in packages if package.scope[0]]
    if len(named) < len(packages):
        report.gaps.append(
            f"{len(packages) - len(named)} Java archives do not say of which group they are: not checked"
        )
    return named


def _many(packages: list[Package], kind: str) -> str:
    return f"{len(packages)} {kind} package{'s' if len(packages) > 1 else ''}"


def _scope(kind: str, release: dict[str, str], report: VulnerabilityReport, count: int) -> ecosystems.Scope | None:
    if kind in ecosystems.LANGUAGES:
        family = ecosystems.LANGUAGES[kind]
        return ecosystems.Scope(family, (family,), ecosystems.BINARY)
    scope = ecosystems.scope(release)
    # A database of another package manager may stand in any system: it is not what its advisories speak of.
    if scope is not None and _KIND[osv.FAMILIES[scope.family]] == kind:
        return scope
    if kind in LANGUAGES:
        report.gaps.append(f"no known source has advisories for {kind} packages: {count} not checked")
        return None
    release_name = f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip()
    system = release_name or "an unknown distribution"
    report.gaps.append(f"no known source has advisories for {kind} packages of {system}: {count} not checked")
    return None


def _match(
    findings: list[Vulnerability],
    file: AdvisoryFile,
    where: ecosystems.Scope,
    chosen: list[str],
    packages: list[Package],
) -> int:
    """Add what a file says of packages of one kind; return how many versions could not be compared."""
    order = osv.FAMILIES[where.family]
    targets: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        targets.setdefault(where.target(package), []).append(package)
    skipped = 0
    for (name, version), same_packages in targets.items():
        try:
            installed = versions.key(order, version)
        except InvalidInput:
            skipped += 1
            continue
        notices = []
        for asked in dict.fromkeys(asked_name for package in same_packages for asked_name in where.asked(package)):
            for ecosystem in chosen:
                for entry in file.entries(ecosystem, asked):
                    fixed = vulnerable(entry.affected, order, version, installed)
                    if fixed is not None:
                        notices.append(Notice(file.record(entry.record), ecosystem, entry.affected, fixed))
        findings += [
            Vulnerability(order, name, version, same_packages, group) for group in _grouped(_once(notices, order))
        ]
    return skipped


def vulnerable(affected: Affected, order: str, version: str, installed: Key) -> str | None:
    """Return the version in which it is fixed for who has `version` ("" while there is none), None when not affected.

    As OSV's "Evaluation" has it. Where an order cannot place an event's version, its range says nothing.
    """
    hit = version in affected.versions
    fixes: list[tuple[Key, str]] = []
    others: list[tuple[Key, str]] = []
    for events in affected.ranges:
        try:
            if len(events) == 2 and events[0] == _START and events[1][0] == "f":
                # Nearly all of a distribution's: affected until it was fixed.
                last = versions.key(order, events[1][1])
                if installed < last:
                    hit = True
                    fixes.append((last, events[1][1]))
                continue
            inside, fix = _in_range(events, order, installed)
        except InvalidInput:
            continue
        hit = hit or inside
        (fixes if inside else others).extend(fix)
    if not hit:
        return None
    # Of a version that is only listed any later fix will do.
    fixes = fixes or others
    return min(fixes, key=lambda fix: fix[0])[1] if fixes else ""


def _in_range(events: Events, order: str, installed: Key) -> tuple[bool, list[tuple[Key, str]]]:
    """Tell whether a version is in a range, and the least version after it in which that is fixed, if any."""
    # "0" is before all, also in orders in which it is a version like others.
    keyed = [(kind, text, None if text == "0" and kind == "i" else versions.key(order, text)) for kind, text in
             events if text != "*"]  # fmt: skip
    limits = [key for kind, _, key in keyed if kind == "m" and key is not None]
    steps = [step for step in keyed if step[0] != "m"]
    if len(steps) > 2 or (len(steps) == 2 and steps[0][0] != "i"):
        steps.sort(key=cmp_to_key(_before))
    inside = False
    for kind, _, key in steps:
        if kind == "i":
            inside = inside or key is None or installed >= key
        elif key is not None and (installed >= key if kind == "f" else installed > key):
            inside = False
    if limits and not any(installed < limit for limit in limits):
        inside = False
    fixes = [(key, text) for kind, text, key in steps if kind == "f" and key is not None and key > installed]
    return inside, [min(fixes, key=lambda fix: fix[0])] if fixes else []


def _before(left: tuple[str, str, Key | None], right: tuple[str, str, Key | None]) -> int:
    """Sort events by version; of the same version what ends a range comes before what begins the next."""
    if left[2] is None or right[2] is None:
        return (left[2] is not None) - (right[2] is not None)
    if left[2] != right[2]:
        return -1 if left[2] < right[2] else 1
    return (left[0] == "i") - (right[0] == "i")


def _once(notices: list[Notice], order: str) -> list[Notice]:
    """Keep one notice of each advisory: it may list a package several times, for several branches of versions."""
    first_notices: dict[str, Notice] = {}
    for notice in notices:
        old = first_notices.setdefault(notice.id, notice)
        if old is notice or not notice.fixed:
            continue
        # The nearest of its fixes is enough.
        if not old.fixed or versions.key(order, notice.fixed) < versions.key(order, old.fixed):
            old.fixed = notice.fixed
    return list(first_notices.values())


def _grouped(notices: list[Notice]) -> list[list[Notice]]:
    """Put together what is the same vulnerability: by CVE number, else by each other's names.

    An advisory about several CVEs is none of them: it goes to all of them if each has an advisory of its own, and stands
    for itself otherwise.
    """
    groups: dict[str, list[Notice]] = {}
    several = []
    for notice in notices:
        if len(notice.cves) > 1:
            several.append(notice)
            continue
        met = [groups[name] for name in (notice.id, *notice.names, *notice.cves) if name in groups]
        merged = [notice]
        for other in {id(group): group for group in met}.values():
            merged += other
        for member in merged:
            for name in (member.id, *member.names, *member.cves):
                groups[name] = merged
    alone = []
    for notice in several:
        parts = [groups.get(number) for number in notice.cves]
        if all(part is not None for part in parts):
            for part in parts:
                if part is not None and notice not in part:
                    part.append(notice)
        else:
            alone.append([notice])
    unique = {id(group): group for group in groups.values()}
    return [*unique.values(), *alone]


# Whose it is


def attribute(findings: Iterable[Vulnerability], base: Iterable[Package]) -> None:
    """Set `origin` of each finding: FROM_BASE when the base has one of its packages in the same version, else YOURS."""
    keys_of_base = {package.key for package in base}
    for finding in findings:
        known = any(package.key in keys_of_base for package in finding.packages)
        finding.origin = FROM_BASE if known else YOURS


def compare_newer(findings: Iterable[Vulnerability], newer: VulnerabilityReport) -> None:
    """Set `newer_fixes` of each finding that is the base's: True when the newer base has none of its names any more, None
    when it has packages of that kind that could not be checked.

    `newer` is the report about the newer base, of whatever release that is.
    """
    left: dict[str, set[str]] = {}
    for newer_finding in newer.findings:
        left.setdefault(newer_finding.name, set()).update(newer_finding.names)
    for finding in findings:
        finding.newer_fixes = None
        if finding.origin == FROM_BASE and finding.kind not in newer.unchecked:
            # An advisory counts for a package: one that names several CVEs is gone when none of them is reported any more.
            own = set(finding.cves) or finding.names
            finding.newer_fixes = own.isdisjoint(left.get(finding.name, ()))
