"""CycloneDX 1.6: the vulnerabilities of an image with the components that have them (`base sbom` lists all)."""

from __future__ import annotations

import hashlib
import json
import uuid

from ....version import __version__
from ..judging import IGNORED
from ..vex import FIXED, NOT_AFFECTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..exposure import Exposed, Exposure

_SEVERITIES = {"critical": "critical", "high": "high", "medium": "medium", "low": "low", "negligible": "info"}

# What an analysis says: an ignored vulnerability is still one.
_STATES = {FIXED: "resolved", NOT_AFFECTED: "not_affected", IGNORED: "exploitable"}


def write(exposure: Exposure, created: str) -> str:
    """Return the document. What is ignored has an analysis that says so."""
    everything = [*exposure.findings, *exposure.ignored]
    components = {}
    for finding in everything:
        for purl in finding.purls:
            components[purl] = {
                "type": "library",
                "bom-ref": purl,
                "name": finding.package,
                "version": finding.version,
                "purl": purl,
            }
    root = exposure.digest or exposure.id
    vulnerabilities = [_vulnerability(finding) for finding in everything]
    seed = json.dumps([root, created, vulnerabilities], sort_keys=True).encode()
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(seed).digest()[:16], version=4)}",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [{"type": "application", "name": "underlay", "version": __version__}]},
            "component": {"type": "container", "name": exposure.image, "version": root, "bom-ref": root},
        },
        "components": list(components.values()),
        "vulnerabilities": vulnerabilities,
        "properties": [{"name": "underlay:not-checked", "value": text} for text in [*exposure.gaps, *exposure.notes]],
    }
    return json.dumps(document, indent=2)


def _vulnerability(finding: Exposed) -> dict[str, Any]:
    key = "\0".join((finding.id, finding.package, finding.version, *finding.purls))
    rating: dict[str, Any] = {"severity": _SEVERITIES.get(finding.severity, "unknown")}
    if finding.score:
        rating["score"] = finding.score
    facts = [
        ("origin", finding.origin),
        ("known-exploited-since", finding.exploited),
        ("epss", "" if finding.epss is None else str(finding.epss)),
        ("ignored", finding.because),
    ]
    value: dict[str, Any] = {
        "bom-ref": hashlib.sha256(key.encode()).hexdigest(),
        "id": finding.id,
        "source": {"name": finding.ecosystem},
        "references": [
            {"id": name, "source": {"name": "OSV", "url": f"https://osv.dev/vulnerability/{name}"}}
            for name in finding.advisories
            if name != finding.id
        ],
        "ratings": [rating],
        "description": finding.summary or finding.id,
        "affects": [
            {"ref": purl, "versions": [{"version": finding.version, "status": "affected"}]} for purl in finding.purls
        ],
        "properties": [{"name": f"underlay:{name}", "value": text} for name, text in facts if text],
    }
    if finding.fixed:
        value["recommendation"] = f"Upgrade {finding.package} to {finding.fixed} or later"
    if finding.status:
        value["analysis"] = {"state": _STATES[finding.status], "detail": finding.because}
        if finding.status == IGNORED:
            value["analysis"]["response"] = ["will_not_fix"]
    return value
