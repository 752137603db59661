"""Bills of materials: SPDX 2.3 and CycloneDX 1.6 documents that list what is installed in an image."""

from __future__ import annotations

import hashlib
from time import time_ns

from ..human import rfc3339
from .model import LANGUAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .installed import Inventory
    from .model import Package

FORMS = ("spdx", "cyclonedx")
_SPECIFICATION = "1.6"
# Kinds whose databases tell a source package of its own.
_BUILT_FROM = ("deb", "apk", "rpm")


def bill(inventory: Inventory, name: str, image_id: str, form: str, epoch: int | None = None) -> dict[str, Any]:
    """Return the document in `form` (one of FORMS) about the image `name` with the digest `image_id`.

    `epoch` (seconds since then) is the time that it names; without it, now. Same image, name and epoch: same document.
    """
    created = rfc3339(time_ns() if epoch is None else epoch * 1_000_000_000)[:19] + "Z"
    write = _spdx if form == "spdx" else _cyclonedx
    return write(inventory.packages, inventory.release, name, image_id, created)


def _identity(package: Package, purl: str) -> str:
    """Return what distinguishes this package from others: the package of a language may lie in several paths."""
    return f"{purl}#{package.path}" if package.path else purl


def _spdx(packages: list[Package], release: dict[str, str], name: str, image_id: str, created: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for package in packages:
        purl = package.purl(release)
        entry: dict[str, Any] = {
            "SPDXID": f"SPDXRef-Package-{hashlib.sha256(_identity(package, purl).encode()).hexdigest()[:16]}",
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
            ],
        }
        if package.kind in _BUILT_FROM:
            entry["sourceInfo"] = f"built from {package.origin}"
        else:
            entry["sourceInfo"] = f"found at /{package.path}"
        if package.licence:
            # Not in licenseDeclared: what packages write there is seldom an expression as SPDX wants it.
            entry["licenseComments"] = f"declared as {package.licence}"
        entries.append(entry)
    return {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/underlay-{image_id.partition(':')[2]}",
        "creationInfo": {"created": created, "creators": ["Tool: underlay"]},
        "packages": entries,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": entry["SPDXID"],
            }
            for entry in entries
        ],
    }


def _cyclonedx(
    packages: list[Package], release: dict[str, str], name: str, image_id: str, created: str
) -> dict[str, Any]:
    components: list[dict[str, Any]] = []
    if release.get("ID"):
        components.append({"type": "operating-system", "name": release["ID"], "version": release.get("VERSION_ID", "")})
    for package in packages:
        purl = package.purl(release)
        scope, short = package.scope if package.kind in LANGUAGES else ("", package.name)
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": _identity(package, purl),
            **({"group": scope} if scope else {}),
            "name": short,
            "version": package.version,
            "purl": purl,
        }
        if package.licence:
            component["licenses"] = [{"license": {"name": package.licence}}]
        facts = [("path", f"/{package.path}" if package.path else ""), ("owner", package.owner)]
        if package.kind in _BUILT_FROM:
            facts.append(("source", f"{package.origin}@{package.origin_version}"))
        properties = [{"name": f"underlay:{word}", "value": value} for word, value in facts if value]
        if properties:
            component["properties"] = properties
        components.append(component)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPECIFICATION,
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [{"type": "application", "name": "underlay"}]},
            "component": {"type": "container", "name": name, "version": image_id, "bom-ref": image_id},
        },
        "components": components,
    }
