"""The report over a fleet as one page of HTML, which needs nothing else."""

from __future__ import annotations

from collections import Counter
from html import escape

from . import charts
from .charts import Bar
from .policy import NEAR, NOTHING, PAST, SEVERITIES, SUPPORTED, Standing
from .report import counted, headline, listed, many
from .steps import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .report import Base, FleetReport
    from .steps import Step

# What a page shows at most, so that a browser can hold that of any fleet.
IMAGES, BASES, STEPS, RULES, BARS = 500, 200, 50, 200, 12
_DAY = 86400
_AGES = (
    ("under 30 days", 30, charts.GOOD),
    ("30 to 90 days", 90, charts.GOOD),
    ("90 to 180 days", 180, charts.PLAIN),
    ("180 to 365 days", 365, charts.WARN),
    ("1 to 2 years", 730, charts.BAD),
)
_LIVES = {SUPPORTED: charts.PLAIN, NEAR: charts.WARN, PAST: charts.BAD}
_EXPOSURES = {"critical": charts.WORST, "high": charts.BAD, "medium": charts.WARN, "low": charts.PLAIN}
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}h3{font-size:1em;margin:0}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26em,100%),1fr));gap:1.5em 2em}"
    "figure{margin:0}table{border-collapse:collapse;width:100%}li{margin-bottom:.5em}"
    "td,th{text-align:left;padding:.35em .6em;border-bottom:1px solid #d8dee4;vertical-align:top;overflow-wrap:anywhere}"
    ".late{color:#a40e26}.soon{color:#7d4e00}small{color:#57606a}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}"
    ".late{color:#ff9db0}.soon{color:#e0a23c}small{color:#9da7b1}}"
)


def html(report: FleetReport, now: float, title: str = "What these images stand on") -> str:
    """Return the page; all names in it are escaped. `now` (seconds since the epoch) is what ages are counted to.

    Of large fleets it shows the beginning of each list and says how much is left out.
    """
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}{charts.STYLE}</style><h1>{escape(title)}</h1>"
        f"<p>{headline(report)}</p>"
        + _charts(report, now)
        + _steps(report)
        + _rules(report)
        + _bases(report)
        + _images(report)
        + "</html>\n"
    )


def _charts(report: FleetReport, now: float) -> str:
    """Return the charts: they all count images."""
    of_bases = [Bar(base.name, len(base.images), _LIVES.get(base.life, charts.FAINT)) for base in report.bases]
    distributions = Counter(image.distribution or UNKNOWN for image in report.images)
    lives = {image.distribution or UNKNOWN: image.life for image in report.images}
    of_distributions = [
        Bar(name, count, _LIVES.get(lives[name], charts.FAINT)) for name, count in distributions.most_common()
    ]
    support = "blue: supported; amber: near its end; red: past its end; grey: not known"
    drawn = [
        ("Images by base", support, charts.first(of_bases, BARS)),
        ("Images by distribution", support, charts.first(of_distributions, BARS)),
        ("Images by the age of their base", "since the base was built", _ages(report.images, now)),
        (
            "Images by their worst vulnerability that has a fix",
            "of packages of the system",
            _exposures(report.images),
        ),
    ]
    figures = "".join(
        f"<figure><figcaption><h3>{title}</h3><small>{note}</small></figcaption>{charts.bars(title, rows)}</figure>"
        for title, note, rows in drawn
        if rows
    )
    return f"<div class=charts>{figures}</div>" if report.images else ""


def _ages(images: Sequence[Standing], now: float) -> list[Bar]:
    def age(image: Standing) -> str:
        if image.created is None or image.base == NOTHING:
            return UNKNOWN
        return next((label for label, days, _ in _AGES if now - image.created < days * _DAY), "over 2 years")

    rows = [*((label, colour) for label, _, colour in _AGES), ("over 2 years", charts.WORST), (UNKNOWN, charts.FAINT)]
    return _ordered(images, age, rows)


def _exposures(images: Sequence[Standing]) -> list[Bar]:
    def worst(image: Standing) -> str:
        if image.vulnerabilities is None:
            return UNKNOWN
        fixable = image.vulnerabilities.fixable
        unrated = "unrated" if any(fixable.values()) else "none"
        return next((severity for severity in reversed(SEVERITIES) if fixable.get(severity)), unrated)

    rows = [*_EXPOSURES.items(), ("unrated", charts.FAINT), ("none", charts.GOOD), (UNKNOWN, charts.FAINT)]
    return _ordered(images, worst, rows)


def _ordered(images: Sequence[Standing], kind: Callable[[Standing], str], rows: Sequence[tuple[str, str]]) -> list[Bar]:
    """Return a bar for each kind of images; nothing where nothing is known of any."""
    counts = Counter(map(kind, images))
    if set(counts) <= {UNKNOWN}:
        return []
    return [Bar(label, counts[label], colour) for label, colour in rows]


def _steps(report: FleetReport) -> str:
    if not report.steps:
        return ""
    items = "".join(map(_step, report.steps[:STEPS]))
    return f"<h2>What to do first</h2><ol>{items}</ol>{_left_out(report.steps, STEPS, 'step')}"


def _step(step: Step) -> str:
    mends = f" <b>(mends {many(step.mends, 'image')})</b>" if step.mends else ""
    return f"<li>{escape(step.text)}{mends}<br><small>{escape(listed(step.images))}</small></li>"


def _rules(report: FleetReport) -> str:
    if not report.broken:
        return ""
    items = "".join(
        f"<li class=late>{escape(rule.image or 'all images')}: {escape(rule.text)} "
        f"<small>({escape(rule.rule)})</small></li>"
        for rule in report.broken[:RULES]
    )
    return f"<h2>Rules that are broken</h2><ul>{items}</ul>{_left_out(report.broken, RULES, 'broken rule')}"


def _bases(report: FleetReport) -> str:
    rows = "".join(map(_base, report.bases[:BASES]))
    return (
        "<h2>Bases</h2><table><tr><th>base<th>images<th>support<th>outdated<th>with a fix</tr>"
        f"{rows}</table>{_left_out(report.bases, BASES, 'base')}"
    )


def _base(base: Base) -> str:
    colour = {PAST: "late", NEAR: "soon"}.get(base.life, "")
    return (
        f"<tr><td>{escape(base.name)}<br><small>{escape(base.distribution)}</small></td>"
        f"<td>{many(len(base.images), 'image')}<br><small>{escape(listed(base.images))}</small></td>"
        f"<td class='{colour}'>{escape(base.life)}<br><small>{escape(base.ends)}</small></td>"
        f"<td>{base.outdated or ''}</td><td>{base.fixable or ''}</td></tr>"
    )


def _images(report: FleetReport) -> str:
    images: Sequence[Standing] = report.images
    if len(images) > IMAGES:  # those that matter most; all others are in the other formats
        images = sorted(images, key=_concern)
    rows = "".join(
        f"<tr><td>{escape(image.image)}</td><td>{escape(' → '.join(image.chain) or image.base or UNKNOWN)}</td>"
        f"<td>{image.confidence:.0%}</td><td>{escape(counted(image))}</td></tr>"
        for image in images[:IMAGES]
    )
    return (
        "<h2>Images</h2><table><tr><th>image<th>stands on<th>certain<th>with a fix</tr>"
        f"{rows}</table>{_left_out(images, IMAGES, 'image')}"
    )


def _concern(image: Standing) -> tuple[int, ...]:
    """Return what sorts images, those that matter most first: what cannot be seen, then by fixes that are out."""
    fixable = image.vulnerabilities.fixable if image.vulnerabilities else {}
    return (
        -bool(image.problems),
        *(-fixable.get(severity, 0) for severity in reversed(SEVERITIES)),
        -(image.life == PAST),
    )


def _left_out(rows: Sequence[object], limit: int, word: str) -> str:
    left = len(rows) - limit
    return f"<p><small>{many(left, f'more {word}')}: all are in the other formats</small></p>" if left > 0 else ""
