"""`underlay web`: who gets in, what each page shows, and images whose names and labels are scripts."""

from __future__ import annotations

import html
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from engines import Installation, until
from underlay import Engine
from visits import Site, identity, running, site

__all__ = ["site"]  # a fixture

SCRIPT = "<script>alert('x')</script>"


def test_who_gets_in(ul: Installation) -> None:
    with running(ul) as site:
        assert site.ask("/").status == 401
        assert site.ask("/?token=wrong").status == 401
        site.enter()
        assert site.ask(f"/?{site.address.query}").status == 303  # the browser that has the cookie may open it again
        cookie, site.cookie = site.cookie, ""
        assert site.ask(f"/?{site.address.query}").status == 401  # another may not
        site.cookie = cookie
        assert site.ask("/").status == 200
        port = site.host.rpartition(":")[2]
        assert site.ask("/", Host=f"localhost:{port}").status == 200
        # A name that somebody has made to point here, and pages of others.
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", ""):
            assert site.ask("/", Host=host).status == 421
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        ):
            assert site.ask("/", **headers).status == 403
        assert site.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200  # a link
        assert site.ask("/", "POST", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 403
        assert site.ask("/", "POST").status == 403  # browsers say where a form comes from
        assert site.send("/").status == 405
        site.cookie = site.cookie[:-1] + ("a" if site.cookie[-1] != "a" else "b")
        assert site.ask("/").status == 401


def test_styles_are_kept_by_browsers_while_they_are_the_same(site: Site) -> None:
    first = site.ask("/static/style.css")
    assert first.status == 200 and b"--ground" in first.read()
    again = site.ask("/static/style.css", If_None_Match=first.headers["ETag"])
    assert (again.status, again.read()) == (304, b"")
    assert site.ask("/static/style.css", If_None_Match='"other"').status == 200
    for name in ("nosuch", "xterm.LICENSE", "%2e%2e%2fapplication.py"):
        assert site.ask(f"/static/{name}").status == 404


def test_where_it_listens(ul: Installation) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("jinja2")
    for place in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80", "here:1"):
        assert b"for this host alone" in ul("web", "--listen", place, code=1).stderr
    assert b"invalid address" in ul("web", "--listen", "127.0.0.1:x", code=1).stderr


def test_each_page(site: Site, ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of my own\n")
    (tmp_path / "Dockerfile").write_text("FROM box\nENV A=1\nCOPY file /etc/own\nLABEL tier=web\n")
    ul("build", "-t", "app:1", "-t", "app:latest", str(tmp_path))
    image = f"/image/{identity(ul, 'app:1')}"
    listed = site.page("/")
    assert f'<a href="{image}">app:1</a>' in listed and "app:latest" in listed and "box:latest" in listed
    assert "app:1" in site.page("/images/rows?q=APP") and "box:latest" not in site.page("/images/rows?q=app")
    assert "No image has" in site.page("/?q=nosuch")
    assert site.page("/images/bases").strip() == site.page("/images/bases?of=nosuch,").strip() == ""
    bases = site.page(f"/images/bases?of={image[7:19]}")
    assert "box:latest" in bases and bases.count("<td") == 1
    assert f'id="base-{image[7:]}"' in bases and "box:latest" in bases and 'hx-swap-oob="true"' in bases
    assert site.ask("/image?name=app:1").headers["Location"] == image
    assert "No such image: nosuch" in site.page("/image?name=nosuch", 404)
    overview = site.page(image)
    assert "<strong>box:latest</strong>" in overview and "<strong>scratch</strong>" in overview
    assert "app:latest" in site.page(f"{image}/tags")
    lines = site.page(f"{image}/dockerfile")
    assert "<b>FROM</b> box:latest" in lines and "<b>ENV</b> A=1" in lines and f'href="{image}/layers#layer-2"' in lines
    response = site.ask(f"{image}/Dockerfile")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.read().decode() == ul.out("base", "dockerfile", "app:1") + "\n"
    layers = site.page(f"{image}/layers")
    assert layers.count("the base&#39;s") == 1 and layers.count("its own") == 1 and 'id="layer-2"' in layers
    layer = site.page(f"{image}/layer/2")
    assert f'<a href="{image}/layer/2?path=etc">etc/</a>' in layer and "1 added, 0 changed, 0 removed" in layer
    below = site.page(f"{image}/layer/2?path=etc")
    assert f'<a href="{image}/files?path=etc/own">own</a>' in below and 'data-title="Bytes">10</td>' in below
    assert "changes nothing in /nosuch" in site.page(f"{image}/layer/2?path=nosuch", 404)
    assert "has no layer 9" in site.page(f"{image}/layer/9", 404)
    config = re.search("<pre[^>]*><code>(.*?)</code>", site.page(f"{image}/config"), re.DOTALL)
    assert config is not None and json.loads(html.unescape(config[1]))["config"]["Labels"] == {"tier": "web"}
    assert "ENV A=1" in site.page(f"{image}/history")
    assert "No package database" in site.page(f"{image}/packages")
    assert "there are no advisories in the store" in site.page(f"{image}/vulnerabilities")
    assert "There is no such page" in site.page(f"{image}/nosuch", 404)
    assert "No such image" in site.page(f"/image/{'0' * 64}", 404)


def test_files_of_an_image(site: Site, ul: Installation, tmp_path: Path) -> None:
    names = {b"many/%04d" % number: b"" for number in range(1201)}
    names |= {b"a <b>&?#%41.txt": b"<script>1</script>\n", b"\xff\xfe": b"odd", b"page.html": SCRIPT.encode()}
    names |= {b"binary": bytes(range(256)), b"large": b"0123456789abcde\n" * 10_000}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        for name, data in names.items():
            member = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            member.size, member.mode = len(data), 0o640
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "page.html"
        tar.addfile(link)
    ul("import", "-", "files:1", input=buffer.getvalue())
    image = f"/image/{identity(ul, 'files:1')}"
    root = site.page(f"{image}/files")
    links = re.findall(rf'href="{image}/files\?path=([^"]+)"', root)
    assert sorted(links) == sorted(
        ["many", "a%20%3Cb%3E%26%3F%23%2541.txt", "%FF%FE", "page.html", "binary", "large", "link"]
    )
    assert "→ page.html" in root and "<code>-rw-r-----</code>" in root and "\\udcff" in root
    assert "&lt;script&gt;1" in site.page(f"{image}/files?path=a%20%3Cb%3E%26%3F%23%2541.txt")
    assert "<pre" in site.page(f"{image}/files?path=%FF%FE") and "It is no text" in site.page(
        f"{image}/files?path=binary"
    )
    assert "Only its beginning" in site.page(f"{image}/files?path=large")
    assert "&lt;script&gt;" in site.page(f"{image}/files?path=link")
    page = site.page(f"{image}/files?path=many")
    assert "Page 1 of 3, 1201 names" in page and "0499" in page and "0500" not in page
    assert "1200" in site.page(f"{image}/files?path=many&page=3")
    assert "the image has no file /nosuch" in site.page(f"{image}/files?path=nosuch", 404)
    # A file is saved by the browser and never shown, whatever it is.
    response = site.ask(f"{image}/file?path=page.html")
    assert response.read() == SCRIPT.encode() and response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert site.ask(f"{image}/file?path=%FF%FE").read() == b"odd"
    assert site.ask(f"{image}/file?path=nosuch").status == 404
    for path in ("../../../../etc/passwd", "/etc/passwd", "%2e%2e/%2e%2e/etc/passwd"):
        assert site.ask(f"{image}/file?path={path}").status == 404


def test_an_image_of_scripts(site: Site, ul: Installation, tmp_path: Path) -> None:
    """What an image says of itself is text: scripts, signs that turn the direction of writing, control characters."""
    turned = "\u202egnp.exe\x1b[31m"
    changes = [
        f"LABEL evil={json.dumps(SCRIPT + turned)}",
        f"CMD {json.dumps(['sh', '-c', SCRIPT])}",
        f"ENV A={json.dumps(SCRIPT)}",
    ]
    words = [word for change in changes for word in ("--change", change)]
    (tmp_path / "file").write_text("x")
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", tmp_path, "file"], check=True)
    ul("import", "--message", SCRIPT + turned, *words, str(tmp_path / "tar"), "evil:1")
    image = f"/image/{identity(ul, 'evil:1')}"
    shown = [site.page(f"{image}/{tab}") for tab in ("dockerfile", "config", "history", "layers", "tags")]
    shown += [site.page(image), site.page("/"), site.page(f"/?q={'%3Cscript%3E'}"), site.page("/images/bases")]
    assert sum("&lt;script&gt;" in text for text in shown) >= 4
    for text in shown:
        assert "\u202e" not in text and "\x1b" not in text
    assert "\\u202e" in shown[2] and "\\x1b" in shown[2]


def test_the_forest(site: Site, ul: Installation, tmp_path: Path) -> None:
    """Each image is drawn below and to the right of what it stands on, which is joined with it by a line."""
    for name, below in (("lower:1", "box"), ("upper:1", "lower:1"), ("beside:1", "box")):
        (tmp_path / "Dockerfile").write_text(f"FROM {below}\nRUN echo {name} > /{name.partition(':')[0]}\n")
        ul("build", "-q", "-t", name, str(tmp_path))
    page = site.page("/forest")
    places = {
        name: (int(x), int(y))
        for x, y, name in re.findall(r'<text x="(\d+)" y="(\d+)"><a href="/image/[0-9a-f]{64}">([^<]+)</a>', page)
    }
    box, lower, upper, beside = (places[name] for name in ("box:latest", "lower:1", "upper:1", "beside:1"))
    assert lower[0] == beside[0] == box[0] + 24 and upper[0] == lower[0] + 24
    assert upper[1] == lower[1] + 28 and box[1] < lower[1] < beside[1]  # the larger tree comes first
    assert page.count('class="branch"') == sum(x > box[0] for x, _ in places.values())


def test_containers(site: Site, ul: Installation) -> None:
    assert "No container runs" in site.page("/containers")
    script = f"echo \"{SCRIPT}\"; printf '\\033[31mred\\033[0m \\033]0;title\\007\\n'; exec sleep 600"
    made = ul.start("--name", "shown", "--label", f"evil={SCRIPT}", "-v", "/data", "box", "sh", "-c", script)
    try:
        assert f'<a href="/container/{made}">shown</a>' in site.page("/containers")
        assert "Up " in site.page("/containers/rows")
        assert until(lambda: "red" in site.page(f"/container/{made}"))
        page = site.page(f"/container/{made}")
        assert "&lt;script&gt;" in page and "red \\x1b]0;title\\x07" in page and "/data" in page
        assert (
            f'data-live="/container/{made}/live"' in page
            and '<th scope="col">PID</th>' in page
            and f'href="/image/{identity(ul, "box")}"' in page
        )
        ul("kill", "shown")
        page = site.page(f"/container/{made}")
        assert "Exited (137)" in page and 'scope="col">PID' not in page
        assert "shown" not in site.page("/containers") and "shown" in site.page("/containers?all=1")
    finally:
        ul("rm", "-fv", "shown")
    assert "No such container" in site.page(f"/container/{made}", 404)


def test_many_images_are_paged(site: Site, ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", tmp_path, "file"], check=True)
    with Engine(str(ul.root), str(ul.state)) as engine:
        for number in range(101):
            engine.images.import_(str(tmp_path / "tar"), f"copies:{number}", [f"LABEL n={number}"])
    first, second = (site.page(f"/?q=copies&page={number}") for number in (1, 2))
    assert "101 images" in first and "Page 1 of 2" in first and "copies:100<" in first and "copies:0<" not in first
    assert "copies:0<" in second and "copies:100<" not in second
    for word in ("999999999", "-1", "x"):
        site.page(f"/?page={word}")
