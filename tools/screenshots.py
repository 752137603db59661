"""Take the pictures of the site's guide: docs/images/web-*.png, of images made for it and of a real browser.

    python tools/screenshots.py [NAME…]

Needs root, Chromium with its driver, and a static busybox; no network. All is made in a temporary directory. Each picture
is a row of `SHOTS`.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
for folder in ("src", *(f"tests/support/{name}" for name in ("hosts", "images", "registry", "sites"))):
    sys.path.insert(0, str(ROOT / folder))

import pytest
from PIL import Image

from chromium import PHONE, WIDTH, Browser, browser
from engines import Installation, until
from fakeregistry import FakeRegistry
from remoteimages import image as remote_image
from siteimages import SHOP, advise, furnish
from sitepages import BASES_ARE_THERE
from sites import serving_site

PICTURES = ROOT / "docs" / "images"
LARGEST = 80_000  # bytes of a picture
COLOURS = 160

CHARTS_ARE_THERE = "return document.querySelector('[data-line=memory]').getAttribute('points')?.split(' ').length > 5"


class Shot(NamedTuple):
    """A picture: its name, the path of the page with names of things in braces, the most of its height in pixels, a
    script that returns whether what comes later is there, whether it is dark, and the width."""

    name: str
    path: str
    height: int = 720
    ready: str = "return true"
    dark: bool = False
    width: int = WIDTH


SHOTS = (
    Shot("images", "/", ready=BASES_ARE_THERE),
    Shot("images-dark", "/", ready=BASES_ARE_THERE, dark=True, height=480),
    Shot("images-phone", "/?q=shop", ready=BASES_ARE_THERE, width=PHONE),
    Shot("forest", "/forest"),
    Shot("overview", "/image/{shop}", height=1100),
    Shot("dockerfile", "/image/{shop}/dockerfile"),
    Shot("layers", "/image/{shop}/layers"),
    Shot("layer", "/image/{shop}/layer/4?path=srv/www", height=900),
    Shot("files", "/image/{shop}/files", height=560),
    Shot("packages", "/image/{shop}/packages", height=560),
    Shot("vulnerabilities", "/image/{shop}/vulnerabilities"),
    Shot("compare", "/image/{shop}/compare?with=" + SHOP.replace("2.4", "2.3"), height=900),
    Shot("tags", "/image/{shop}/tags", height=560),
    Shot("config", "/image/{shop}/config", height=560),
    Shot("history", "/image/{shop}/history", height=560),
    Shot("networks", "/networks", height=480),
    Shot("volumes", "/volumes", height=480),
    Shot("registry", "/registry?name={registry}/team", height=560),
    Shot("containers", "/containers"),
    Shot("container", "/container/{container}", height=900, ready=CHARTS_ARE_THERE),
)


@contextmanager
def team_registry(ul: Installation, settings: Path) -> Iterator[str]:
    """Run a registry with a team's images; return the name that the installation has for it."""
    name = "registry.example.com"
    with FakeRegistry() as made:
        for repository, tags in (
            ("team/api", ("2.1", "2.2")),
            ("team", ("1.0", "1.1", "latest")),
            ("team/web", ("7",)),
        ):
            made.add(remote_image(), repository, *tags)
        settings.write_text(f'[registry."{name}"]\nlocation = "http://{made.host}"\n')
        ul.environment["UNDERLAY_REGISTRIES"] = str(settings)
        yield name


def take(shown: Browser, shot: Shot, ids: dict[str, str]) -> bytes:
    """Return the picture of a page: its upper part, with few colours."""
    is_phone = shot.width < WIDTH
    shown.dark(shot.dark)
    shown.size(shot.width, shot.height, mobile=is_phone)
    shown.open(shot.path.format(**ids))
    shown.wait(shot.ready)
    content = shown.run("return document.querySelector('main').getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": 0, "width": shot.width, "height": min(int(content), shot.height), "scale": 1}
    return pictured(shown, clip)


def pictured(shown: Browser, clip: dict[str, int]) -> bytes:
    """Return the picture of a part of a page, with few colours."""
    taken = shown.devtools("Page.captureScreenshot", format="png", clip=clip)
    packed = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main(names: list[str]) -> int:
    """Take the pictures, all or those that are named; returns the exit code."""
    unknown = set(names) - {shot.name for shot in SHOTS}
    if unknown or os.geteuid() != 0:
        print(f"screenshots: no such picture: {', '.join(unknown)}" if unknown else "screenshots: run it as root")
        return 1
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        ul = Installation(Path(made))
        try:
            furnish(ul)
            advise(ul, Path(made))
            ids = {
                "container": ul.start(
                    "--name", "shop-web-1", "--label", "com.example.team=shop", "--memory", "256m", SHOP
                )
            }
            ul.start(
                "--name",
                "shop-worker-1",
                "--memory",
                "64m",
                "-v",
                "shop-data:/data",
                SHOP.replace("web:2.4", "worker:1.9"),
            )
            ids["shop"] = ul.out("inspect", "-f", "{{.Id}}", SHOP).removeprefix("sha256:")
            until(lambda: "ready" in ul.out("logs", "shop-web-1"))
            with (
                team_registry(ul, Path(made) / "registries.toml") as ids["registry"],
                serving_site(ul) as address,
                browser(Path(made) / "browser") as shown,
            ):
                shown.enter(address)
                for shot in SHOTS:
                    if not names or shot.name in names:
                        data = take(shown, shot, ids)
                        if len(data) > LARGEST:
                            print(f"screenshots: {shot.name} has {len(data)} bytes: make its height less")
                            return 1
                        (PICTURES / f"web-{shot.name}.png").write_bytes(data)
                        print(f"docs/images/web-{shot.name}.png: {len(data)} bytes")
        except pytest.skip.Exception as reason:
            print(f"screenshots: {reason}")
            return 1
        finally:
            ul.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
