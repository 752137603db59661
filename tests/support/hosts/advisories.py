"""Records of advisories in OSV form, made for tests, and images to hold against them."""

from __future__ import annotations

import json
from typing import Any

from underlay.packages.installed import Inventory
from underlay.packages.model import Package

Ranges = list[list[dict[str, str]]]


def affected(ecosystem: str, name: str, *events: dict[str, str], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"package": {"ecosystem": ecosystem, "name": name}, **more}
    if events:
        found["ranges"] = [{"type": "ECOSYSTEM", "events": list(events)}]
    return found


def fixed(ecosystem: str, name: str, version: str, **more: Any) -> dict[str, Any]:
    return affected(ecosystem, name, {"introduced": "0"}, {"fixed": version}, **more)


def record(name: str, *parts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"id": name, "modified": "2024-01-02T03:04:05Z", "published": "2024-01-01T00:00:00Z", "affected": parts, **more}
    ).encode()


def image(distribution: str, version: str, *packages: Package) -> Inventory:
    return Inventory(list(packages), {"ID": distribution, "VERSION_ID": version}, [])
