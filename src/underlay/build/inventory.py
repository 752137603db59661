"""The packages of an image, read from its databases, and the bill of materials that lists them (SPDX, CycloneDX)."""

from __future__ import annotations

import hashlib
from time import time_ns
from urllib.parse import quote

from ..human import rfc3339
from ..store import layers, merge, toc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..paths import Paths
    from ..store.images import NewImage
    from ..store.merge import Node, Tree

_LIMIT = 64 << 20
_DPKG = b"var/lib/dpkg/status"
_DPKG_PARTS = b"var/lib/dpkg/status.d"  # one file a package: distroless images
_APK = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_RELEASE = (b"etc/os-release", b"usr/lib/os-release")


class Package:
    """An installed package: `kind` deb or apk, `name`, `version`, `architecture`, `origin` (source package) and what it
    says of its `licence` ("" for nothing)."""

    __slots__ = ("architecture", "kind", "licence", "name", "origin", "version")

    def __init__(self, kind: str, name: str, version: str, architecture: str, origin: str, licence: str) -> None:
        self.kind = kind
        self.name = name
        self.version = version
        self.architecture = architecture
        self.origin = origin
        self.licence = licence

    def purl(self, release: dict[str, str]) -> str:
        """Return the package URL."""
        distribution = release.get("ID", "debian" if self.kind == "deb" else "alpine")
        words = [f"arch={quote(self.architecture)}"] if self.architecture else []
        if release.get("VERSION_ID"):
            words.append(f"distro={quote(distribution)}-{quote(release['VERSION_ID'])}")
        rest = f"?{'&'.join(words)}" if words else ""
        return f"pkg:{self.kind}/{quote(distribution)}/{quote(self.name)}@{quote(self.version, safe='')}{rest}"


class _Files:
    """Single files of an image, found through its tables of contents."""

    def __init__(self, paths: Paths, diff_ids: list[str]) -> None:
        self._paths = paths
        self._diff_ids = diff_ids
        self._tree: Tree = merge.merge(layers.read_toc(paths, diff_id) for diff_id in diff_ids)

    def node(self, path: bytes) -> Node | None:
        """Return what is at `path`; links are followed, as far as they lead to something in the image."""
        todo, here, hops = path.split(b"/")[::-1], self._tree.root, 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                here = here.parent
                continue
            child = (here.children or {}).get(part)
            if child is None:
                return None
            if child.entry.kind == toc.SYMLINK:
                hops += 1
                if hops > 40:
                    return None
                target = child.entry.link
                here = self._tree.root if target.startswith(b"/") else here
                todo += target.split(b"/")[::-1]
                continue
            here = child
        return here

    def read(self, path: bytes) -> str | None:
        """Return the text of a regular file, None when there is none."""
        node = self.node(path)
        return None if node is None else self.text(node)

    def text(self, node: Node) -> str | None:
        """Return the text of a node; None when it is no file of a size that makes sense."""
        if node.entry.kind != toc.REGULAR or node.entry.size > _LIMIT:
            return None
        data = layers.read_member(self._paths, self._diff_ids[node.layer], node.entry, _LIMIT)
        return data.decode("utf-8", "replace")


def packages(paths: Paths, diff_ids: list[str]) -> tuple[list[Package], dict[str, str]]:
    """Return the installed packages of an image, sorted, and what its os-release says."""
    files = _Files(paths, diff_ids)
    found: dict[tuple[str, str, str], Package] = {}
    texts = [files.read(_DPKG)]
    parts = files.node(_DPKG_PARTS)
    for name in sorted((parts.children or {}) if parts is not None else ()):
        if not name.endswith(b".md5sums"):
            assert parts is not None and parts.children is not None
            texts.append(files.text(parts.children[name]))
    for package in [each for text in texts if text for each in _dpkg(text)]:
        found[package.kind, package.name, package.architecture] = package
    for place in _APK:
        for package in _apk(files.read(place) or ""):
            found[package.kind, package.name, package.architecture] = package
    release: dict[str, str] = {}
    for place in _RELEASE:
        text = files.read(place)
        if text is not None:
            release = _release(text)
            break
    return [found[key] for key in sorted(found)], release


def _dpkg(text: str) -> list[Package]:
    """Read dpkg's status file (deb-control(5), dpkg-query(1))."""
    found = []
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name and not name[0].isspace():
                fields[name.lower()] = value.strip()
        status = fields.get("status", "install ok installed")
        if fields.get("package") and fields.get("version") and status.endswith(" installed"):
            origin = fields.get("source", fields["package"]).partition(" ")[0]
            found.append(
                Package("deb", fields["package"], fields["version"], fields.get("architecture", ""), origin, "")
            )
    return found


def _apk(text: str) -> list[Package]:
    """Read apk's installed database (apk-package(5): P name, V version, A architecture, o origin, L licence)."""
    found = []
    for paragraph in text.split("\n\n"):
        fields = {line[0]: line[2:].strip() for line in paragraph.split("\n") if line[1:2] == ":"}
        if fields.get("P") and fields.get("V"):
            found.append(
                Package(
                    "apk",
                    fields["P"],
                    fields["V"],
                    fields.get("A", ""),
                    fields.get("o", fields["P"]),
                    fields.get("L", ""),
                )
            )
    return found


def _release(text: str) -> dict[str, str]:
    """Read os-release(5)."""
    found = {}
    for line in text.split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def bill(paths: Paths, image: NewImage, names: list[str], form: str, epoch: int | None) -> dict[str, Any]:
    """Return the bill of materials of an image as SPDX 2.3 or CycloneDX 1.5; the same image gives the same document."""
    found, release = packages(paths, [layer.diff_id for layer in image.layers])
    created = rfc3339(epoch * 1_000_000_000)[:19] + "Z" if epoch is not None else rfc3339(time_ns())[:19] + "Z"
    name = names[0] if names else image.id
    return (_spdx if form == "spdx" else _cyclonedx)(found, release, name, image.id, created)


def _spdx(found: list[Package], release: dict[str, str], name: str, image_id: str, created: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for package in found:
        purl = package.purl(release)
        entries.append(
            {
                "SPDXID": f"SPDXRef-Package-{hashlib.sha256(purl.encode()).hexdigest()[:16]}",
                "name": package.name,
                "versionInfo": package.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION",
                "copyrightText": "NOASSERTION",
                "sourceInfo": f"built from {package.origin}",
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": purl,
                    }
                ],
            }
        )
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


def _cyclonedx(found: list[Package], release: dict[str, str], name: str, image_id: str, created: str) -> dict[str, Any]:
    components: list[dict[str, Any]] = []
    if release.get("ID"):
        components.append({"type": "operating-system", "name": release["ID"], "version": release.get("VERSION_ID", "")})
    for package in found:
        purl = package.purl(release)
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "purl": purl,
        }
        if package.licence:
            component["licenses"] = [{"license": {"name": package.licence}}]
        components.append(component)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [{"type": "application", "name": "underlay"}]},
            "component": {"type": "container", "name": name, "version": image_id, "bom-ref": image_id},
        },
        "components": components,
    }
