"""Bases of many images: checks them against rules and reports on one page."""

from __future__ import annotations

import time

import msgspec

from ...errors import UnderlayError, Unsupported
from ...oci import reference as references
from ...packages import osrelease
from ...store.rows import images
from ..advisories import exposure
from ..identify import identify, image_source
from . import outdated
from . import policy as rules
from . import report as pages
from .policy import BrokenRule, Policy, Standing, Vulnerabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...store.store import Store
    from ..identify.identify import Identified
    from ..identify.image_source import Subject
    from .outdated import Outdated
    from .report import FleetReport

_LIVES = {"supported": rules.SUPPORTED, "near": rules.NEAR, "extended": rules.NEAR, "ended": rules.PAST}


def standing(store: Store, name: str, platform: str = "", advisories: bool = True) -> Standing:
    """Return what one image stands on. Raises NotFound, and what registries raise."""
    subject = image_source.find(store, name, platform)
    identified = identify.identify(store, subject)
    age = outdated.outdated(store, subject, offline=True)
    files = subject.files()
    release = osrelease.read(files) if files is not None else {}
    problems: list[str] = []
    found: Vulnerabilities | None = None
    if advisories and files is not None:
        try:
            exposed = exposure.look(store, subject)
            problems += exposed.gaps
            found = _counted(exposed) if exposed.checked or not exposed.gaps else None
        except Unsupported as error:
            problems.append(error.message)
    standing = of_identified(subject, identified, age, release)
    return msgspec.structs.replace(standing, image=name, vulnerabilities=found, problems=tuple(problems))


def life(release: dict[str, str], names: Iterable[str]) -> tuple[str, str]:
    """Return how far the life of a distribution has gone today, and its last day; see `outdated.life_of`."""
    known = outdated.life_of(release, names)
    if known is None:
        return rules.UNKNOWN, ""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return _LIVES.get(known.state(day), rules.UNKNOWN), known.final


def of_identified(subject: Subject, identified: Identified, age: Outdated, release: dict[str, str]) -> Standing:
    """Return what an image stands on that has been identified, without its vulnerabilities; `release` is what its
    os-release says, {} if that is not known."""
    base = identified.base
    created = None
    if base is not None and base.history:
        steps = subject.view.history or []
        from ..identify import history

        created = history.seconds(steps[min(base.history, len(steps)) - 1].created)
    return Standing(
        subject.name,
        base.name if base is not None else ("scratch" if identified.candidates else ""),
        base.names if base is not None else (),
        (base.config_digest or "") if base is not None else "",
        identified.certainty,
        tuple(link.name for link in identified.chain),
        f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".strip() or age.release,
        created,
        _LIVES.get(age.life, rules.UNKNOWN),
        age.ends,
        age.moved,
        age.now[7:19],
    )


def _counted(exposed: exposure.Exposure) -> Vulnerabilities:
    findings = ((finding.severity, finding.fixed, finding.origin) for finding in exposed.findings)
    return counted(findings, not exposed.gaps)


def counted(findings: Iterable[tuple[str, str, str]], complete: bool) -> Vulnerabilities:
    """Count findings, given by severity, version that fixes it ("" for none), and origin."""
    all_: dict[str, int] = {}
    fixable: dict[str, int] = {}
    base: dict[str, int] = {}
    for severity, fixed, origin in findings:
        all_[severity] = all_.get(severity, 0) + 1
        if fixed:
            fixable[severity] = fixable.get(severity, 0) + 1
            if origin == "base":
                base[severity] = base.get(severity, 0) + 1
    return Vulnerabilities(all_, fixable, base, complete)


def check(store: Store, names: Sequence[str], policy: Policy) -> list[BrokenRule]:
    """Return the rules that images break. One that cannot be looked at is reported as such."""
    broken, unseen = [], []
    for name in names:
        try:
            broken.append(standing(store, name, advisories=bool(policy.fixable)))
        except UnderlayError as error:
            unseen.append(BrokenRule("unseen", name, error.message))
    return [*unseen, *rules.check(policy, broken, time.time())]


def check_on(standings: Sequence[Standing], policy: Policy) -> list[BrokenRule]:
    """Return the rules that images break of which is known what they stand on; those that could not be looked at first."""
    unseen = [BrokenRule("unseen", each.image, "; ".join(each.problems)) for each in standings if each.problems]
    seen = [each for each in standings if not each.problems]
    return [*unseen, *rules.check(policy, seen, time.time())]


def report(store: Store, names: Sequence[str], policy: Policy | None) -> FleetReport:
    """Return one page over images, by default those here that have a name."""
    wanted = list(names) or [references.familiar(name) for name, _, _ in images.names(store.meta)]
    standings = []
    for name in wanted:
        try:
            standings.append(standing(store, name))
        except UnderlayError as error:
            standings.append(Standing(name, problems=(error.message,)))
    return report_on(standings, policy)


def report_on(standings: Sequence[Standing], policy: Policy | None) -> FleetReport:
    """Return one page over what images stand on."""
    broken = rules.check(policy, standings, time.time()) if policy is not None else []
    return pages.report(standings, broken)
