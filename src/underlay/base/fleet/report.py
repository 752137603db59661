"""The report over a fleet: how many bases, which images stand on which, what to do first."""

from __future__ import annotations

import msgspec

from .policy import NEAR, NOTHING, PAST, SEVERITIES, Standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .policy import BrokenRule

UNKNOWN = "unknown"


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


class Step(msgspec.Struct, frozen=True):
    """Something to do: `text`, for `images`; the higher its `weight`, the sooner."""

    text: str
    images: tuple[str, ...]
    weight: float


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
    steps = sorted(_steps(groups), key=lambda step: (-step.weight, step.text))
    return FleetReport(tuple(images), tuple(bases), distributions, tuple(steps), tuple(broken))


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


_WEIGHTS = {"critical": 20.0, "high": 5.0, "medium": 1.0, "low": 0.2}


def _steps(groups: dict[str, list[Standing]]) -> list[Step]:
    steps = []
    for name, group in groups.items():
        images = tuple(image.image for image in group)
        if name == NOTHING:
            steps += [
                Step(
                    f"replace {image.image}: {image.distribution} is past its end of life since {image.ends}",
                    (image.image,),
                    30,
                )
                for image in group
                if image.life == PAST
            ]
            continue
        if name == UNKNOWN:
            steps.append(Step("find out what these stand on, and write it down", images, 3.0 * len(images)))
            continue
        if group[0].life == PAST:
            text = f"leave {name}: no more fixes come for it since {group[0].ends}"
            steps.append(Step(text, images, 30.0 * len(images)))
        elif group[0].life == NEAR:
            steps.append(Step(f"plan to leave {name}: its support ends on {group[0].ends}", images, 2.0 * len(images)))
        old = [image for image in group if image.outdated]
        if old:
            fixed = _weight(old)
            text = f"rebuild or rebase on today's {name}" + (" (it brings fixes)" if fixed else "")
            steps.append(Step(text, tuple(image.image for image in old), 4.0 * len(old) + fixed))
        elif _weight(group):
            text = f"ask for a newer {name}, or update its packages: fixes are out that it does not have"
            steps.append(Step(text, images, _weight(group)))
    return steps


def _weight(group: Sequence[Standing]) -> float:
    return sum(
        _WEIGHTS.get(severity, 0.0) * count
        for image in group
        if image.vulnerabilities
        for severity, count in image.vulnerabilities.fixable_from_base.items()
    )


def text(fleet_report: FleetReport) -> str:
    """Return the page for a terminal."""
    lines = [
        f"{_many(len(fleet_report.images), 'image')} on {_many(len(fleet_report.bases), 'base')}, "
        f"{_many(len(fleet_report.distributions), 'distribution')}",
        "",
    ]
    for base in fleet_report.bases:
        life = f", {base.life}" + (f" ({base.ends})" if base.ends else "") if base.life not in ("", "unknown") else ""
        old = f", {base.outdated} outdated" if base.outdated else ""
        fixes = f", {base.fixable} with a fix" if base.fixable else ""
        lines.append(f"{base.name}: {_many(len(base.images), 'image')}{life}{old}{fixes}")
        lines += [f"  {name}" for name in base.images]
    if fleet_report.steps:
        lines += ["", "What to do first"]
        lines += [
            f"{number}. {step.text}: {', '.join(step.images)}" for number, step in enumerate(fleet_report.steps, 1)
        ]
    if fleet_report.broken:
        lines += ["", "Rules that are broken"]
        lines += [f"{rule.image or 'all images'}: {rule.text} ({rule.rule})" for rule in fleet_report.broken]
    return "\n".join(lines) + "\n"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#1b1f24}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.35em .6em;border-bottom:1px solid #d8dee4;vertical-align:top}"
    ".bad{color:#a40e26}.warn{color:#7d4e00}.bar{background:#0969da;height:.7em;border-radius:2px;min-width:2px}"
    "small{color:#57606a}"
)


def html(fleet_report: FleetReport, title: str = "What these images stand on") -> str:
    """Return the page as HTML that needs nothing else; all names in it are escaped."""
    from html import escape

    most = max((len(base.images) for base in fleet_report.bases), default=1)
    rows = []
    for base in fleet_report.bases:
        colour = {PAST: "bad", NEAR: "warn"}.get(base.life, "")
        rows.append(
            f"<tr><td>{escape(base.name)}<br><small>{escape(base.distribution)}</small></td>"
            f"<td><div class=bar style='width:{100 * len(base.images) / most:.0f}%'></div>"
            f"{'<br>'.join(escape(name) for name in base.images)}</td>"
            f"<td class='{colour}'>{escape(base.life)}<br><small>{escape(base.ends)}</small></td>"
            f"<td>{base.outdated or ''}</td><td>{base.fixable or ''}</td></tr>"
        )
    steps = "".join(
        f"<li>{escape(step.text)}<br><small>{escape(', '.join(step.images))}</small></li>"
        for step in fleet_report.steps
    )
    rules = "".join(
        f"<li class=bad>{escape(rule.image or 'all images')}: {escape(rule.text)} <small>({escape(rule.rule)})</small></li>"
        for rule in fleet_report.broken
    )
    details = "".join(
        f"<tr><td>{escape(image.image)}</td><td>{escape(' → '.join(image.chain) or image.base or 'unknown')}</td>"
        f"<td>{image.confidence:.0%}</td><td>{escape(_counted(image))}</td></tr>"
        for image in fleet_report.images
    )
    counts = (
        f"{_many(len(fleet_report.images), 'image')} on {_many(len(fleet_report.bases), 'base')}, "
        f"{_many(len(fleet_report.distributions), 'distribution')}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><p>{counts}</p>"
        + (f"<h2>What to do first</h2><ol>{steps}</ol>" if steps else "")
        + (f"<h2>Rules that are broken</h2><ul>{rules}</ul>" if rules else "")
        + "<h2>Bases</h2><table><tr><th>base<th>images<th>support<th>outdated<th>with a fix</tr>"
        + "".join(rows)
        + "</table><h2>Images</h2><table><tr><th>image<th>stands on<th>certain<th>with a fix</tr>"
        + details
        + "</table></html>\n"
    )


def _counted(image: Standing) -> str:
    if image.vulnerabilities is None:
        return ""
    fixable = image.vulnerabilities.fixable
    return ", ".join(f"{fixable[severity]} {severity}" for severity in reversed(SEVERITIES) if fixable.get(severity))
