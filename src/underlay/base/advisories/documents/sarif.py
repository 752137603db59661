"""SARIF 2.1.0 (OASIS): one rule a vulnerability, one result for each package that has it, as code hosts show them."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

from ....version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..exposure import Exposed, Exposure

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning"}
# What GitHub and others sort by, where no score is known: the lowest of the label.
_SCORES = {"critical": 9.0, "high": 7.0, "medium": 4.0, "low": 0.1}


def write(exposure: Exposure, created: str) -> str:
    """Return the log. What is ignored stands there as suppressed, and what could not be checked as a notification."""
    everything = [*exposure.findings, *exposure.ignored]
    ids = list(dict.fromkeys(finding.id for finding in everything))
    first = {finding.id: finding for finding in reversed(everything)}
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "underlay", "version": __version__, "rules": [_rule(first[name]) for name in ids]}},
        "invocations": [
            {
                "executionSuccessful": True,
                "endTimeUtc": created,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": text}}
                    for text in [*(f"not checked: {gap}" for gap in exposure.gaps), *exposure.notes]
                ],
            }
        ],
        "results": [_result(exposure, finding, ids.index(finding.id)) for finding in everything],
        "columnKind": "unicodeCodePoints",
        "properties": {"image": exposure.image, "imageId": exposure.id, "digest": exposure.digest},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(finding: Exposed) -> dict[str, Any]:
    score = finding.score or _SCORES.get(finding.severity, 0.0)
    tags = ["security", "vulnerability", finding.severity]
    properties: dict[str, Any] = {"tags": tags, **({"security-severity": f"{score:.1f}"} if score else {})}
    if finding.exploited:
        properties["knownExploitedSince"] = finding.exploited
    if finding.epss is not None:
        properties["epss"] = finding.epss
    return {
        "id": finding.id,
        "shortDescription": {"text": finding.summary or finding.id},
        "fullDescription": {"text": f"{finding.summary or finding.id} ({', '.join(finding.advisories)})"},
        "helpUri": f"https://osv.dev/vulnerability/{quote(finding.advisories[0] if finding.advisories else finding.id)}",
        "defaultConfiguration": {"level": _LEVELS.get(finding.severity, "note")},
        "properties": properties,
    }


def _result(exposure: Exposure, finding: Exposed, number: int) -> dict[str, Any]:
    mend = f"fixed in {finding.fixed}" if finding.fixed else "no fix is known"
    whose = {"base": f", from the base {exposure.base}", "yours": ", from your own layers"}.get(finding.origin, "")
    text = f"{finding.package} {finding.version} has {finding.id} ({finding.severity}): {mend}{whose}"
    # A place is wanted: the file of a language's package, else the image itself.
    places = finding.paths or (exposure.image,)
    key = "\0".join((finding.id, finding.package, finding.version, *finding.paths))
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "ruleIndex": number,
        "level": _LEVELS.get(finding.severity, "note"),
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(place)}, "region": {"startLine": 1}},
                "logicalLocations": [
                    {"fullyQualifiedName": f"{exposure.image}:{purl}", "kind": "package"} for purl in finding.purls
                ],
            }
            for place in places
        ],
        "partialFingerprints": {"vulnerability/v1": hashlib.sha256(key.encode()).hexdigest()},
    }
    if finding.status:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": finding.because}]
    return result
