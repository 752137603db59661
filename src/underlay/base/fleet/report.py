"""The report over a fleet: how many bases, which images stand on which, what to do first."""

from __future__ import annotations

import msgspec

from .policy import NOTHING, SEVERITIES, Standing
from .steps import UNKNOWN, Step, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .policy import BrokenRule

LISTED = 10  # names that are listed of many


class Base(msgspec.Struct, frozen=True):
    """A base with the images on it; `builds` are its different digests among them."""

    name: str
    distribution: str
    images: tuple[str, ...]
    builds: int
    life: str
    ends: str
    outdated: int
    fixable: int  # advisories with a fix that come from it, in all its images


class FleetReport(msgspec.Struct, frozen=True):
    """The report: images in the given order, bases with most images first, recommended steps in order, violated rules."""

    images: tuple[Standing, ...]
    bases: tuple[Base, ...]
    distributions: tuple[str, ...]
    steps: tuple[Step, ...]
    broken: tuple[BrokenRule, ...] = ()


def report(images: Sequence[Standing], broken: Sequence[BrokenRule] = ()) -> FleetReport:
    """Return the report on images."""
    groups: dict[str, list[Standing]] = {}
    for image in images:
        groups.setdefault(image.base or UNKNOWN, []).append(image)
    bases = [_base(name, group) for name, group in groups.items()]
    bases.sort(key=lambda base: (-len(base.images), base.name))
    distributions = tuple(sorted({image.distribution for image in images} - {""}))
    return FleetReport(tuple(images), tuple(bases), distributions, tuple(steps(images)), tuple(broken))


def _base(name: str, group: Sequence[Standing]) -> Base:
    return Base(
        name,
        next((image.distribution for image in group if image.distribution), "") if name != NOTHING else "",
        tuple(image.image for image in group),
        len({image.digest for image in group if image.digest}) or 1,
        group[0].life if name != NOTHING else "",
        group[0].ends if name != NOTHING else "",
        sum(image.outdated is True for image in group),
        sum(sum(image.vulnerabilities.fixable_from_base.values()) for image in group if image.vulnerabilities),
    )


def text(fleet_report: FleetReport) -> str:
    """Return the page for a terminal. Of many images the first are named."""
    lines = [headline(fleet_report), ""]
    for base in fleet_report.bases:
        life = f", {base.life}" + (f" ({base.ends})" if base.ends else "") if base.life not in ("", "unknown") else ""
        old = f", {base.outdated} outdated" if base.outdated else ""
        fixes = f", {base.fixable} with a fix" if base.fixable else ""
        lines.append(f"{base.name}: {many(len(base.images), 'image')}{life}{old}{fixes}")
        lines += [f"  {name}" for name in base.images[:LISTED]]
        if len(base.images) > LISTED:
            lines.append(f"  and {len(base.images) - LISTED} more")
    if fleet_report.steps:
        lines += ["", "What to do first"]
        for number, step in enumerate(fleet_report.steps, 1):
            mends = f" (mends {many(step.mends, 'image')})" if step.mends else ""
            lines.append(f"{number}. {step.text}{mends}: {listed(step.images)}")
    if fleet_report.broken:
        lines += ["", "Rules that are broken"]
        lines += [f"{rule.image or 'all images'}: {rule.text} ({rule.rule})" for rule in fleet_report.broken]
    return "\n".join(lines) + "\n"


def headline(fleet_report: FleetReport) -> str:
    """Return how much a report is about: `3 images on 2 bases, 1 distribution`."""
    return (
        f"{many(len(fleet_report.images), 'image')} on {many(len(fleet_report.bases), 'base')}, "
        f"{many(len(fleet_report.distributions), 'distribution')}"
    )


def listed(names: Sequence[str]) -> str:
    """Return names in a sentence; of many the first, and how many there are more."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def many(count: int, word: str) -> str:
    """Return a number of things, as `1 image`, `20,000 images`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def counted(image: Standing) -> str:
    """Return how many vulnerabilities of an image have a fix: `1 critical, 3 high`."""
    if image.vulnerabilities is None:
        return ""
    fixable = image.vulnerabilities.fixable
    return ", ".join(f"{fixable[severity]} {severity}" for severity in reversed(SEVERITIES) if fixable.get(severity))
