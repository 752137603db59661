"""Figures of a fleet in the text format of Prometheus (its documentation, "Exposition formats")."""

from __future__ import annotations

from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..fleet.policy import Standing

_ESCAPED = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def text(images: Sequence[Standing], seen: int) -> str:
    """Return the figures of images; `seen` is when they were looked at last, in seconds since the epoch."""
    bases: Counter[tuple[str, str]] = Counter((each.base, each.distribution) for each in images)
    lives: Counter[tuple[str, ...]] = Counter((each.life,) for each in images)
    hits: Counter[tuple[str, str]] = Counter()
    of_bases: Counter[tuple[str]] = Counter()
    for each in images:
        if each.vulnerabilities is not None:
            for severity, count in each.vulnerabilities.found.items():
                fixable = each.vulnerabilities.fixable.get(severity, 0)
                hits[severity, "true"] += fixable
                hits[severity, "false"] += count - fixable
            for severity, count in each.vulnerabilities.fixable_from_base.items():
                of_bases[severity,] += count
    lines = [
        *_family("images", "Images by base and distribution.", ("base", "distribution"), bases.items()),
        *_family("images_by_support", "Images by the support of what they stand on.", ("support",), lives.items()),
        *_family(
            "vulnerabilities",
            "Vulnerabilities of the images' systems, each counted in each image.",
            ("severity", "fixable"),
            hits.items(),
        ),
        *_family(
            "base_vulnerabilities_fixable",
            "Vulnerabilities with a fix that come with a base, each counted in each image.",
            ("severity",),
            of_bases.items(),
        ),
        *_family(
            "images_outdated",
            "Images whose base is another build by now.",
            (),
            [((), sum(e.outdated is True for e in images))],
        ),
        *_family(
            "images_unseen", "Images that could not be looked at.", (), [((), sum(bool(e.problems) for e in images))]
        ),
        *_family("scan_timestamp_seconds", "When images were looked at last.", (), [((), seen)]),
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, what: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], int]]) -> Iterable[str]:
    yield f"# HELP underlay_{name} {what}"
    yield f"# TYPE underlay_{name} gauge"
    for values, number in sorted(samples):
        pairs = ",".join(f'{label}="{_escape(value)}"' for label, value in zip(labels, values, strict=True))
        yield f"underlay_{name}{'{' + pairs + '}' if pairs else ''} {number}"


def _escape(value: str) -> str:
    return "".join(_ESCAPED.get(letter, letter) for letter in value)
