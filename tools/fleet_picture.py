"""Take the picture of the guide to fleets, docs/guides/images/fleet-report.png: the report over a fleet that is made up.

    python tools/fleet_picture.py

Needs Chromium with its driver; no network.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("src", "tools", *(f"tests/support/{name}" for name in ("hosts", "images", "registry", "sites"))):
    sys.path.insert(0, str(ROOT / folder))

from screenshots import LARGEST, pictured

from chromium import WIDTH, browser
from underlay.base.fleet import page, report
from underlay.base.fleet.policy import NEAR, PAST, SUPPORTED, Standing, Vulnerabilities

PICTURE = ROOT / "docs" / "guides" / "images" / "fleet-report.png"
HEIGHT = 1150
_DAY = 86400
_TEAMS = ("shop", "billing", "search", "data", "mobile", "platform")
# A base, its distribution, the days since it was built, its support, and of a thousand images how many stand on it.
_BASES = (
    ("base/python:3.12", "debian 12", 40, SUPPORTED, "2028-06-30", 260),
    ("base/java:21", "ubuntu 24.04", 75, SUPPORTED, "2029-05-31", 190),
    ("node:22-alpine", "alpine 3.21", 20, SUPPORTED, "2026-11-01", 130),
    ("debian:12-slim", "debian 12", 15, SUPPORTED, "2028-06-30", 110),
    ("nginx:1.27", "debian 12", 120, SUPPORTED, "2028-06-30", 80),
    ("python:3.8-slim", "debian 11", 610, NEAR, "2026-08-31", 60),
    ("ubuntu:20.04", "ubuntu 20.04", 800, PAST, "2025-05-31", 55),
    ("centos:7", "centos 7", 1500, PAST, "2024-06-30", 35),
    ("alpine:3.21", "alpine 3.21", 200, SUPPORTED, "2026-11-01", 45),
    ("", "", 0, "unknown", "", 35),
)


def fleet(now: float) -> list[Standing]:
    """Return images that are made up."""
    chance = random.Random(7)
    images = []
    for base, distribution, days, life, ends, count in _BASES:
        own = base.startswith("base/")
        chain = (base, f"{distribution.replace(' ', ':')}") if own else (base,) if base else ()
        if own:
            images.append(
                _image(f"registry.example.com/{base}", chain[1:], distribution, days, life, ends, chance, now)
            )
        for number in range(count):
            tool = base.rpartition("/")[2].partition(":")[0] or "tool"
            name = f"registry.example.com/{chance.choice(_TEAMS)}/{tool}-{number}:1"
            links = tuple(f"registry.example.com/{each}" if each.startswith("base/") else each for each in chain)
            images.append(_image(name, links, distribution, days, life, ends, chance, now))
    return images


def _image(
    name: str,
    chain: tuple[str, ...],
    distribution: str,
    days: int,
    life: str,
    ends: str,
    chance: random.Random,
    now: float,
) -> Standing:
    critical, high = chance.random() < days / 2000, chance.random() < days / 400
    fixable = {"critical": int(critical), "high": 3 * high, "medium": chance.randrange(3)}
    return Standing(
        name,
        chain[0] if chain else "",
        chain[:1],
        confidence=1.0 if chain else 0.0,
        chain=chain,
        distribution=distribution,
        created=now - days * _DAY if chain else None,
        life=life,
        ends=ends,
        outdated=days > 30,
        vulnerabilities=Vulnerabilities(fixable, fixable, fixable) if chain else None,
    )


def main() -> int:
    """Take the picture; returns the exit code."""
    now = time.time()
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "report.html"
        file.write_text(page.html(report.report(fleet(now)), now), encoding="utf-8")
        with browser(Path(made) / "browser") as shown:
            shown.size(WIDTH, HEIGHT)
            shown.driver.get(f"file://{file}")
            data = pictured(shown, {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1})
    if len(data) > LARGEST:
        print(f"fleet_picture: the picture has {len(data)} bytes: make its height less")
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(data)
    print(f"{PICTURE.relative_to(ROOT)}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
