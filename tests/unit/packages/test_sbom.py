"""Bills of materials: what stands in them, and that the same image gives the same document."""

from __future__ import annotations

from underlay.packages import sbom
from underlay.packages.installed import Inventory
from underlay.packages.model import Package

INVENTORY = Inventory(
    [
        Package("deb", "libssl3", "3.0-1", "amd64", "openssl", "3.0-1"),
        Package("npm", "@a/b", "1.0.0", licence="MIT", path="app/node_modules/@a/b/package.json"),
        Package("npm", "@a/b", "1.0.0", licence="MIT", path="app/node_modules/c/node_modules/@a/b/package.json"),
        Package("pypi", "six", "1.0", path="x/six.dist-info/METADATA", owner="deb:python3-six"),
        Package("rpm", "dbus", "1:1-2", "x86_64"),
    ],
    {"ID": "debian", "VERSION_ID": "12"},
    [],
)
ID = "sha256:" + "a" * 64


def test_cyclonedx() -> None:
    found = sbom.bill(INVENTORY, "name", ID, "cyclonedx", 0)
    assert found["specVersion"] == "1.6" and found["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    system, openssl, npm, _, six, _ = found["components"]
    assert system == {"type": "operating-system", "name": "debian", "version": "12"}
    assert openssl["purl"] == "pkg:deb/debian/libssl3@3.0-1?arch=amd64&distro=debian-12"
    assert {"name": "underlay:source", "value": "openssl@3.0-1"} in openssl["properties"]
    assert (npm["group"], npm["name"]) == ("@a", "b") and npm["licenses"] == [{"license": {"name": "MIT"}}]
    assert {"name": "underlay:owner", "value": "deb:python3-six"} in six["properties"]
    references = [each["bom-ref"] for each in found["components"] if "bom-ref" in each]
    assert len(set(references)) == len(references) == 5


def test_spdx() -> None:
    found = sbom.bill(INVENTORY, "name", ID, "spdx", 0)
    assert found["spdxVersion"] == "SPDX-2.3"
    ids = [each["SPDXID"] for each in found["packages"]]
    assert len(set(ids)) == 5
    assert [each["relatedSpdxElement"] for each in found["relationships"]] == ids
    assert found == sbom.bill(INVENTORY, "name", ID, "spdx", 0)
