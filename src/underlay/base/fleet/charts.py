"""Charts of a report: bars, as SVG that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN, GOOD, WARN, BAD, WORST, FAINT = "plain", "good", "warn", "bad", "worst", "faint"
# Fill colours of bars, light page and dark page; each at least 3:1 against it.
STYLE = (
    ".chart{width:100%;height:auto;font:13px system-ui,sans-serif}.chart text{fill:currentColor}"
    ".plain{fill:#2f6fb2}.good{fill:#2d7d46}.warn{fill:#b26a00}.bad{fill:#c4314b}.worst{fill:#7d1128}.faint{fill:#6e7781}"
    "@media(prefers-color-scheme:dark){.plain{fill:#6ca6e4}.good{fill:#5fb87a}.warn{fill:#e0a23c}.bad{fill:#f0788c}"
    ".worst{fill:#ff9db0}.faint{fill:#8c959f}}"
)
_ROW, _BAR, _LEFT, _WIDTH, _END = 24, 14, 200, 480, 56  # units of the drawing
_LETTERS = 24  # of a label; the whole stands in the bar's title


class Bar(NamedTuple):
    """A bar: its label, the number of images that it stands for, and its colour."""

    label: str
    images: int
    colour: str = PLAIN


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return a chart of horizontal bars, one below the other, with their numbers. All labels are escaped."""
    most = max((row.images for row in rows), default=0) or 1
    room = _WIDTH - _LEFT - _END
    drawn = []
    for number, row in enumerate(rows):
        top = number * _ROW
        length = max(room * row.images / most, 2) if row.images else 0
        whole = escape(f"{row.label}: {row.images}")
        drawn.append(
            f'<g><title>{whole}</title><text x="{_LEFT - 8}" y="{top + 16}" text-anchor="end">{escape(_short(row.label))}'
            f'</text><rect class="{row.colour}" x="{_LEFT}" y="{top + 5}" width="{length:.1f}" height="{_BAR}" rx="2"/>'
            f'<text x="{_LEFT + length + 6:.1f}" y="{top + 16}">{row.images:,}</text></g>'
        )
    return (
        f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {len(rows) * _ROW}">'
        f"{''.join(drawn)}</svg>"
    )


def first(rows: Sequence[Bar], limit: int) -> list[Bar]:
    """Return rows of which those beyond `limit` are one bar."""
    if len(rows) <= limit:
        return list(rows)
    others = rows[limit - 1 :]
    return [*rows[: limit - 1], Bar(f"{len(others)} others", sum(row.images for row in others), FAINT)]


def _short(label: str) -> str:
    """Return a label that fits; of a long name the end tells more, since registries and namespaces come first."""
    return label if len(label) <= _LETTERS else "…" + label[1 - _LETTERS :]
