"""`underlay web export`: the site as files, in which all links lead somewhere and nothing asks a server."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from engines import Installation
from underlay import Engine
from visits import identity

pytest.importorskip("jinja2")
from underlay.web import export

SCRIPT = "<script>alert(1)</script>\" onclick='x' href=\"/forest"


class Links(HTMLParser):
    """Collects the addresses that a page leads to, and the elements that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attributes:
            assert not name.startswith(("on", "hx-")) and name != "style", (tag, name)
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.add(value or "")


def examine(root: Path) -> set[Path]:
    """Check all pages of a site; return those that can be reached from the first one."""
    waiting, seen = [root / "index.html"], set()
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".html":
            continue
        seen.add(page)
        links = Links(page.read_text())
        assert not links.elements & {"script", "form", "input", "button", "iframe"}, page
        for address in links.addresses:
            path, _, part = unquote(address).partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file() and target.is_relative_to(root.resolve()), (page, address)
            if part and target.suffix == ".html":
                assert part in Links(target.read_text()).ids, (page, address)
            waiting.append(target)
    return {page.relative_to(root) for page in seen}


@pytest.mark.root
def test_a_site_of_files(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM box\nENV A={json.dumps(SCRIPT)}\nLABEL evil={json.dumps(SCRIPT)}\nRUN echo x > /x; mkdir /d; echo y > /d/y\n"
    )
    ul("build", "-q", "-t", "shop/web:2.4", str(tmp_path))
    image = identity(ul, "shop/web:2.4")
    site = tmp_path / "made" / "site"
    done = ul("web", "export", str(site))
    assert done.stdout.decode().splitlines() == [f"{site}/index.html: 2 images"] and done.stderr == b""
    pages = examine(site)
    assert len({page.parts[1] for page in pages if page.parts[0] == "image"}) == 2
    names = {page.name for page in pages if image in page.parts}
    tabs = ("index", "tags", "dockerfile", "layers", "packages", "vulnerabilities", "config", "history")
    assert names == {f"{tab}.html" for tab in tabs} | {"layer-1.html", "layer-2.html"}
    assert Path("forest.html") in pages
    listed = (site / "index.html").read_text()
    assert "box:latest" in listed and f'<a href="image/{image}/index.html">shop/web:2.4</a>' in listed
    text = ul.out("base", "dockerfile", "shop/web:2.4") + "\n"
    assert (site / "image" / image / "Dockerfile").read_text() == text
    text = (site / "image" / image / "config.html").read_text()
    assert "&lt;script&gt;" in text and "&#34; onclick" in text
    # Again, with one image: what was there before is replaced as a whole.
    (site / "left").write_text("of before")
    assert ul("web", "export", "-q", str(site), "box").stdout == b""
    assert not (site / "left").exists() and not (site / "image" / image).exists() and examine(site)
    assert os.listdir(site.parent) == ["site"]


@pytest.mark.root
def test_files_of_images(ul: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for each directory, also for those with odd names and with more than one page."""
    from underlay.web import files as web_files

    monkeypatch.setattr(web_files, "NAMES", 3)
    monkeypatch.setattr("underlay.web.image.FILES", 3)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY tree /srv\n")
    for name in ("a/b/deep", "..odd?&#<b>/x", "caf\xe9/x", "L" * 200 + "/x", "one", "two", "three", "four"):
        place = tmp_path / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    ul("build", "-q", "-t", "tree", str(tmp_path))
    said: list[str] = []
    with Engine(str(ul.root), str(ul.state)) as engine:
        assert export.export(engine, str(tmp_path / "site"), ["tree"], said.append, with_files=True) == 1
    pages = examine(tmp_path / "site")
    image = identity(ul, "tree")
    # /, srv, a, b, three odd ones, and two more pages of srv; of the layer as many.
    assert len([page for page in pages if page.parts[2:3] in (("files",), ("files.html",))]) == 9
    assert len([page for page in pages if page.parts[2:3] in (("layer-1",), ("layer-1.html",))]) == 9
    texts = [(tmp_path / "site" / page).read_text() for page in pages if image in page.parts]
    assert any("deep</th>" in text or ">deep<" in text for text in texts)
    assert not any("Download</a>" in text and "/file?" in text for text in texts) and said == []


@pytest.mark.root
def test_an_export_that_was_killed(ul: Installation, tmp_path: Path) -> None:
    """What it left is removed by the next one; one that runs is left alone."""
    left = tmp_path / ".site.underlay-site"
    (left / "new" / "image").mkdir(parents=True)
    fd = os.open(left, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    said = ul("web", "export", str(tmp_path / "site"), code=1).stderr
    assert b"another process exports to" in said and (left / "new" / "image").is_dir()
    os.close(fd)
    ul("web", "export", "-q", str(tmp_path / "site"))
    assert [path.name for path in tmp_path.iterdir()] == ["site"] and examine(tmp_path / "site")


@pytest.mark.root
def test_what_is_refused(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert b"has files that are no exported site" in ul("web", "export", str(tmp_path), code=1).stderr
    assert b"is not a directory" in ul("web", "export", str(tmp_path / "mine"), code=1).stderr
    assert b"No such image: nosuch" in ul("web", "export", str(tmp_path / "site"), "nosuch", code=1).stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "site"))] == []
    ul("web", "export", code=1)


@pytest.mark.root
def test_many_images(ul: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS", 2)
    (tmp_path / "file").write_text("x")
    subprocess.run(["tar", "-cf", tmp_path / "tar", "-C", tmp_path, "file"], check=True)
    said: list[str] = []
    with Engine(str(ul.root), str(ul.state)) as engine:
        for number in range(4):
            engine.images.import_(str(tmp_path / "tar"), f"copies:{number}", [f"LABEL n={number}"])
        names = [f"copies:{number}" for number in range(4)]
        assert export.export(engine, str(tmp_path / "site"), names, said.append) == 4
    pages = examine(tmp_path / "site")
    assert {Path("index.html"), Path("images-2.html")} < pages and said == []
    first, second = ((tmp_path / "site" / name).read_text() for name in ("index.html", "images-2.html"))
    assert len(re.findall("copies:[0-3]<", first)) == len(re.findall("copies:[0-3]<", second)) == 2
