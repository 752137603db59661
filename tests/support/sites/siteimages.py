"""Images for the site: those of a shop on the bases of a company, with packages and advisories, and one that is hostile."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from archives import Layout
from engines import Installation, image_tar
from layers import make

HOST = "registry.example.com"
SHOP = f"{HOST}/shop/web:2.4"
DAY = 86_400
# What each of these would do is seen: dialogs are noted.
SCRIPTS = (
    "<script>alert('script')</script>",
    "\"><img src=x onerror=alert('image')>",
    "'><svg onload=alert('drawing')>",
    "javascript:alert('link')",
    "{{ 7 * 7 }}<b hx-get=/forest hx-trigger=load>",
)
_SHELL = ["/bin/sh", "-c"]
_NAMES = {"debian": "Debian GNU/Linux", "alpine": "Alpine Linux"}
_CODENAMES = {"11": "bullseye", "12": "bookworm", "13": "trixie"}
_SYSTEM = {
    "debian": {
        "apt": "3.0.3",
        "base-files": "13.8",
        "bash": "5.2.37-2",
        "ca-certificates": "20250419",
        "coreutils": "9.7-3",
        "dpkg": "1.22.21",
        "gzip": "1.13-1",
        "libc6": "2.41-12",
        "libgcc-s1": "14.2.0-19",
        "libssl3t64": "3.5.1-1",
        "passwd": "1:4.17.4-2",
        "tar": "1.35+dfsg-3.1",
        "tzdata": "2025b-4",
        "zlib1g": "1:1.3.dfsg-3",
    },
    "alpine": {"alpine-baselayout": "3.7.0-r0", "busybox": "1.37.0-r18", "musl": "1.2.5-r10", "zlib": "1.3.1-r2"},
}
_NGINX = {"nginx": "1.26.3-3", "nginx-common": "1.26.3-3", "libpcre2-8-0": "10.45-1", "libexpat1": "2.7.1-2"}
_SITE = (
    *(("shop.js", 88_000), ("style.css", 26_000), ("catalogue.json", 64_000), ("favicon.png", 4_000)),
    *(("cups/green.jpg", 22_000), ("cups/white.jpg", 18_000), ("teapots/red.jpg", 34_000)),
    *(("fonts/serif.woff2", 41_000), ("fonts/sans.woff2", 37_000), ("legal/terms.html", 12_000)),
)
# What containers of the shop run.
_SERVICE = """#!/bin/sh
echo "[notice] 14 pages below ${1:-/srv}"
echo "[notice] configuration read from /etc/shop.conf"
printf '\\033[33m[warn]\\033[0m no cache: answers are made anew\\n'
echo "[notice] ready"
echo '10.0.2.7 "GET / HTTP/1.1" 200 1180'
echo '10.0.2.7 "GET /shop.js HTTP/1.1" 200 260000'
exec sleep 86400
"""
_WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
_MILD = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
_ADVISORIES = (
    ("CVE-2026-1001", "libssl3t64", "openssl", "3.5.1-1+deb13u2", _WORST),
    ("CVE-2026-1002", "zlib1g", "zlib", "1:1.3.dfsg-3+deb13u1", _MILD),
    ("CVE-2026-1003", "nginx", "nginx", "1.26.3-3+deb13u1", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"),
    ("CVE-2026-1004", "libexpat1", "expat", "", "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:L/A:L"),
)


def noise(name: str, size: int) -> bytes:
    """Bytes that do not compress, the same for a name each time."""
    return random.Random(name).randbytes(size)


def files(named: Mapping[str, bytes | str]) -> bytes:
    """The tar of a layer with these files; a name with `.wh.` removes one that is below."""
    contents = ((path, data.encode() if isinstance(data, str) else data) for path, data in named.items())
    return make(*((path, "file", data, {"mode": 0o755 if "bin/" in path else 0o644}) for path, data in contents))


def dpkg(versions: dict[str, str]) -> str:
    """A status file of dpkg."""
    sources = {package: source for _, package, source, *_ in _ADVISORIES}
    return "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n"
        f"Source: {sources.get(name, name)}\nVersion: {version}\n\n"
        for name, version in versions.items()
    )


def apk(versions: dict[str, str]) -> str:
    """A database of apk."""
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\no:{name}\n\n" for name, version in versions.items())


class Maker:
    """Makes images, each with its layers and steps upon those of another, and loads them."""

    def __init__(self, ul: Installation) -> None:
        self._ul = ul
        self._made: dict[str, tuple[list[bytes], list[dict[str, Any]], dict[str, Any]]] = {}

    def image(
        self,
        names: str | Sequence[str],
        days: float,
        steps: Iterable[tuple[str, bytes | None]],
        base: str = "",
        **config: Any,
    ) -> None:
        """Make an image of this age. A step has what a history says of it, and its layer, or None if it has made none."""
        first, *others = [names] if isinstance(names, str) else names
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * DAY))
        layers, history, below = self._made[base] if base else ([], [], {"Env": ["PATH=/usr/bin:/bin"]})
        steps = list(steps)
        layers = [*layers, *(layer for _, layer in steps if layer is not None)]
        history = list(history)
        for text, layer in steps:
            empty: dict[str, Any] = {} if layer is not None else {"empty_layer": True}
            history.append({"created": created, "created_by": text, "comment": "buildkit.dockerfile.v0", **empty})
        config = {**below, **config}
        self._made[first] = layers, history, config
        layout = Layout()
        layout.image(layers, first, False, config=config, history=history, created=created)
        self._ul("load", input=layout.tar())
        for name in others:
            self._ul("tag", first, name)


def distribution(maker: Maker, name: str, kind: str, version: str, days: float, packages: dict[str, str]) -> None:
    """Make the image of a distribution: its release, its packages, and a shell."""
    title = f"{_NAMES[kind]} {version}"
    release = f'PRETTY_NAME="{title}"\nNAME="{_NAMES[kind]}"\nID={kind}\nVERSION_ID="{version}"\n'
    if version in _CODENAMES:
        release += f"VERSION_CODENAME={_CODENAMES[version]}\n"
    database = {"var/lib/dpkg/status": dpkg(packages)} if kind == "debian" else {"lib/apk/db/installed": apk(packages)}
    system: dict[str, bytes | str] = {
        "etc/os-release": release,
        "etc/motd": f"Welcome to {title}\n",
        "usr/lib/locale/C.utf8": noise(name, 700_000),
        **database,
    }
    tar = image_tar()
    end = tar.rstrip(b"\0")
    whole = end + bytes(-len(end) % 512) + files(system)
    steps = [(f"/bin/sh -c #(nop) ADD file:{hashlib.sha256(tar).hexdigest()} in / ", whole)]
    maker.image(name, days, [*steps, ('/bin/sh -c #(nop)  CMD ["sh"]', None)], Cmd=["sh"])


def furnish(ul: Installation) -> None:
    """Load the images of the shop and their bases."""
    maker = Maker(ul)
    debian, old, alpine = (f"{HOST}/base/{word}" for word in ("debian:13", "debian:11", "alpine:3.22"))
    python = f"{HOST}/base/python:3.13"
    distribution(maker, old, "debian", "11", 410, {"bash": "5.1-2+deb11u1", "libc6": "2.31-13", "zlib1g": "1:1.2.11"})
    distribution(maker, debian, "debian", "13", 34, _SYSTEM["debian"])
    distribution(maker, alpine, "alpine", "3.22", 21, _SYSTEM["alpine"])
    maker.image(
        python,
        20,
        [
            ("ENV PYTHON_VERSION=3.13.9", None),
            ("RUN /bin/sh -c make install # buildkit", files({"usr/local/bin/python3.13": noise("python", 1_400_000)})),
            ('CMD ["python3"]', None),
        ],
        debian,
        Cmd=["python3"],
    )
    web = files(
        {
            "usr/sbin/nginx": noise("nginx", 900_000),
            "var/lib/dpkg/status": dpkg({**_SYSTEM["debian"], **_NGINX}),
            "var/cache/apt/pkgcache.bin": noise("cache", 300_000),
        }
    )
    for version, days in (("2.3", 16), ("2.4", 3)):
        pages: dict[str, bytes | str] = {
            f"srv/www/{name}": noise(f"{name} {version}" if name == "shop.js" else name, size) for name, size in _SITE
        }
        pages |= {
            "srv/www/index.html": f"<h1>Shop {version}</h1>\n" * 40,
            "etc/motd": "Shop\n",
            "usr/bin/serve": _SERVICE,
        }
        if version == "2.4":
            pages["srv/www/teapots/blue.jpg"] = noise("blue", 31_000)
        steps = [
            (f"LABEL org.opencontainers.image.version={version}", None),
            ("RUN /bin/sh -c apt-get update && apt-get install -y nginx # buildkit", web),
            (
                "RUN /bin/sh -c rm -rf /var/cache/apt /data/seed # buildkit",
                files({"var/cache/.wh.apt": "", "data/.wh.seed": ""}),
            ),
            ("COPY site / # buildkit", files(pages)),
            ("EXPOSE [80/tcp]", None),
            ('CMD ["serve" "/srv/www"]', None),
        ]
        maker.image(
            [f"{HOST}/shop/web:{version}", *([f"{HOST}/shop/web:latest"] if version == "2.4" else [])],
            days,
            steps,
            debian,
            Cmd=["serve", "/srv/www"],
            ExposedPorts={"80/tcp": {}},
            Labels={"org.opencontainers.image.version": version, "org.opencontainers.image.base.name": debian},
        )
    for name, base, days in (("worker:1.9", python, 6), ("report:0.7", python, 48), ("mail:3.1", old, 390)):
        maker.image(
            f"{HOST}/shop/{name}",
            days,
            [
                ("COPY . / # buildkit", files({"usr/bin/work": _SERVICE, "srv/work.py": noise(name, 40_000)})),
                ('CMD ["work"]', None),
            ],
            base,
            Cmd=["work"],
        )
    maker.image(
        f"{HOST}/shop/cache:7.2",
        11,
        [("RUN /bin/sh -c apk add valkey # buildkit", files({"usr/bin/valkey-server": noise("valkey", 600_000)}))],
        alpine,
        Cmd=["valkey-server"],
    )


def advise(ul: Installation, place: Path) -> None:
    """Import advisories for packages of the shop's images; `place` is a directory for a file of them."""
    lines = []
    for id, _, source, fixed, score in _ADVISORIES:
        events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
        record = {
            "id": f"DEBIAN-{id}",
            "modified": "2026-01-01T00:00:00Z",
            "upstream": [id],
            "affected": [
                {
                    "package": {"ecosystem": "Debian:13", "name": source},
                    "ranges": [{"type": "ECOSYSTEM", "events": events}],
                }
            ],
            "severity": [{"type": "CVSS_V3", "score": score}],
        }
        lines.append(json.dumps(record) + "\n")
    path = place / "advisories.jsonl"
    path.write_text("".join(lines))
    ul("base", "advisories", "import", str(path))


def hostile() -> tuple[list[bytes], dict[str, Any]]:
    """The layers, and the members of the configuration, of an image that has scripts wherever it can have text."""
    script, image, drawing, link, template = SCRIPTS
    words = " ".join(SCRIPTS)
    quoted = words.replace("\\", "\\\\").replace('"', '\\"')
    layer = files(
        {
            image: words,
            drawing: words,
            link: words,
            f"directory/{script}": words,
            f"directory/{template}": words,
            "etc/os-release": f'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="{quoted}"\nNAME="{quoted}"\n',
            "var/lib/dpkg/status": dpkg({"evil": words, words: "1.0"}),
        }
    )
    config = {
        "Cmd": [*_SHELL, words],
        "Entrypoint": SCRIPTS,
        "Env": [f"A={words}", f"{script}=1"],
        "Labels": {
            **dict.fromkeys(SCRIPTS, words),
            "org.opencontainers.image.base.name": words,
            "org.opencontainers.image.version": words,
        },
        "User": words,
        "WorkingDir": f"/{words}",
        "ExposedPorts": {f"80/{script}": {}},
        "Volumes": {f"/{image}": {}},
    }
    step = {"created": "2024-02-03T04:05:06Z", "created_by": f"RUN {words}", "comment": words, "author": words}
    return [layer], {"author": words, "config": config, "history": [step]}
