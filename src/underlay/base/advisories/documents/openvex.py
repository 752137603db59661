"""OpenVEX 0.2.0: one statement for each vulnerability of each package, to be worked on and given back with `--vex`."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import quote

from .. import vex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..exposure import Exposed, Exposure

_CONTEXT = "https://openvex.dev/ns/v0.2.0"


def write(exposure: Exposure, created: str) -> str:
    """Return the document. What VEX had cleared keeps its status; what an ignore file accepts is affected, with the
    reason."""
    statements = [_statement(exposure, finding) for finding in [*exposure.findings, *exposure.ignored]]
    seed = json.dumps([exposure.image, exposure.digest, created, statements], sort_keys=True).encode()
    document = {
        "@context": _CONTEXT,
        "@id": f"urn:underlay:vex:{hashlib.sha256(seed).hexdigest()}",
        "author": "underlay",
        "role": "scanner",
        "timestamp": created,
        "version": 1,
        "statements": statements,
    }
    return json.dumps(document, indent=2)


def _statement(exposure: Exposure, finding: Exposed) -> dict[str, Any]:
    name = exposure.image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    product: dict[str, Any] = {"@id": f"pkg:oci/{quote(name)}@{quote(exposure.digest or exposure.id, safe='')}"}
    if finding.purls:
        product["subcomponents"] = [{"@id": purl} for purl in finding.purls]
    aliases = [alias for alias in finding.names if alias != finding.id]
    statement: dict[str, Any] = {
        "vulnerability": {"name": finding.id, **({"aliases": aliases} if aliases else {})},
        "products": [product],
        "status": "affected",
    }
    if finding.status in (vex.FIXED, vex.NOT_AFFECTED):
        statement["status"] = finding.status
        if finding.justification:
            statement["justification"] = finding.justification
        statement["impact_statement"] = finding.because
        return statement
    mend = f"Upgrade {finding.package} to {finding.fixed} or later" if finding.fixed else "No fix is known"
    statement["action_statement"] = finding.because or mend
    return statement
