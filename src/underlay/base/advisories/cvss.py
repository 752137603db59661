"""Severity of vulnerabilities: base scores of CVSS 3 and 2 from their vectors, and one scale for the words of others.

Formulas: FIRST, "Common Vulnerability Scoring System v3.1 specification", section 7.1 and appendix A; v2 guide, 3.2.1.
A vector of CVSS 4 has no formula but a table of 270 places: those records say a word too, which is used.
"""

from __future__ import annotations

LABELS = ("unknown", "negligible", "low", "medium", "high", "critical")

_NEEDED_3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "S": {"U": 0.0, "C": 1.0},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
# Rights count for more where a break reaches beyond what it broke.
_CHANGED_RIGHTS = {"N": 0.85, "L": 0.68, "H": 0.5}
_NEEDED_2 = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": {"N": 0.0, "P": 0.275, "C": 0.66},
    "I": {"N": 0.0, "P": 0.275, "C": 0.66},
    "A": {"N": 0.0, "P": 0.275, "C": 0.66},
}
_WORDS = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "medium": "medium",
    "moderate": "medium",
    "low": "low",
    "negligible": "negligible",
    "unimportant": "negligible",
}


def label(word: str) -> str:
    """Return the one of LABELS that a vendor's word means, "unknown" for none."""
    return _WORDS.get(word.strip().rstrip("*").lower(), "unknown")


def rating(score: float) -> str:
    """Return the label of a score from 0 to 10 (v3.1 specification, section 5)."""
    if score <= 0:
        return "negligible"
    return "low" if score < 4 else "medium" if score < 7 else "high" if score < 9 else "critical"


def base_score(vector: str) -> float | None:
    """Return the base score that a vector of CVSS 3.0, 3.1 or 2 stands for, None for any other text."""
    parts = vector.strip().strip("()").split("/")
    if len(parts) > 40:
        return None
    newer = parts[0] in ("CVSS:3.0", "CVSS:3.1")
    words = dict(part.partition(":")[::2] for part in parts[1 if newer else 0 :])
    if parts[0].startswith("CVSS:") and not newer:
        return None
    weights: dict[str, float] = {}
    for name, known in (_NEEDED_3 if newer else _NEEDED_2).items():
        value = known.get(words.get(name, ""))
        if value is None:
            return None
        weights[name] = value
    if not newer:
        return _second(weights)
    changed = weights["S"] == 1.0
    if changed:
        weights["PR"] = _CHANGED_RIGHTS[words["PR"]]
    return _third(weights, changed)


def _third(weights: dict[str, float], changed: bool) -> float:
    lost = 1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"])
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if changed else 6.42 * lost
    if impact <= 0:
        return 0.0
    ease = 8.22 * weights["AV"] * weights["AC"] * weights["PR"] * weights["UI"]
    total = min(1.08 * (impact + ease) if changed else impact + ease, 10.0)
    # Rounded up to one decimal, in whole numbers, as appendix A asks: 4.02 must not become 4.1 by a float's dust.
    scaled = round(total * 100_000)
    return scaled / 100_000 if not scaled % 10_000 else (scaled // 10_000 + 1) / 10


def _second(weights: dict[str, float]) -> float:
    impact = 10.41 * (1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"]))
    ease = 20 * weights["AV"] * weights["AC"] * weights["Au"]
    return round((0.6 * impact + 0.4 * ease - 1.5) * (1.176 if impact else 0.0), 1)
