"""What the pages of an image change when they are asked to, and how two images are compared."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from engines import Installation
from visits import Site, identity, running, site

__all__ = ["site"]  # a fixture
pytestmark = pytest.mark.root


def built(ul: Installation, directory: Path, name: str, text: str) -> str:
    (directory / "Dockerfile").write_text(text)
    ul("build", "-q", "-t", name, str(directory))
    return f"/image/{identity(ul, name)}"


def names(ul: Installation) -> set[str]:
    return set(ul.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page)))


def test_names(site: Site, ul: Installation, tmp_path: Path) -> None:
    image = built(ul, tmp_path, "named:1", "FROM box\nENV A=1\n")
    response = site.send(f"{image}/tag", name="other:2")
    assert (response.status, response.headers["Location"]) == (303, f"{image}/tags")
    assert {"named:1", "other:2"} <= names(ul)
    for wrong, status in (("", 400), ("UPPER", 400), ("a b", 400)):
        assert site.send(f"{image}/tag", name=wrong).status == status
    assert 'value="named:1">Remove the name named:1' in site.page(f"{image}/tags")
    assert site.send(f"{image}/remove", name="box:latest").status == 404  # another's name
    assert site.send(f"{image}/remove", name="named:1").headers["Location"] == f"{image}/tags"
    assert "named:1" not in names(ul) and {"box:latest", "other:2"} <= names(ul)
    site.send(f"{image}/tag", name="third:3")
    assert site.send(f"{image}/remove").headers["Location"] == "/"
    assert not names(ul) & {"named:1", "other:2", "third:3"}
    assert site.send(f"{image}/remove").status == 404


def test_an_image_that_is_used_keeps_its_names(site: Site, ul: Installation, tmp_path: Path) -> None:
    image = built(ul, tmp_path, "used:1", "FROM box\nENV A=1\n")
    ul("tag", "used:1", "used:2")
    ul("create", "--network", "none", "--name", "user", "used:1", "true")
    response = site.send(f"{image}/remove")
    assert response.status == 409 and "containers use this image" in response.read().decode()
    assert {"used:1", "used:2"} <= names(ul)


def test_onto_another_base(site: Site, ul: Installation, tmp_path: Path) -> None:
    old = built(ul, tmp_path, "base:1", "FROM box\nENV BASE=1\nRUN echo 1 > /base\n")
    image = built(ul, tmp_path, "app:1", "FROM base:1\nRUN echo mine > /mine\n")
    built(ul, tmp_path, "base:1", "FROM box\nENV BASE=2\nRUN echo 2 > /base\n")
    assert f'action="{image}/move"' in site.page(image)
    before = names(ul), identity(ul, "app:1")
    page = text_of(site.send(f"{image}/move", do="look", onto="base:1", name="app:new").read().decode())
    assert "What would change" in page and "onto base:1" in page and "with its 1 layer above" in page
    assert (names(ul), identity(ul, "app:1")) == before
    page = text_of(site.send(f"{image}/move", do="move", onto="base:1", name="app:new").read().decode())
    assert "Moved" in page and "app:new" in page
    assert ul.out("run", "--rm", "--network", "none", "app:new", "cat", "/base", "/mine").split() == ["2", "mine"]
    assert identity(ul, "app:1") == before[1] and old != f"/image/{identity(ul, 'base:1')}"
    refused = site.send(f"{image}/move", onto="127.0.0.1:1/nosuch:1").read().decode()
    assert 'role="alert"' in refused and "127.0.0.1:1" in refused


def test_hazards_stop_a_move(site: Site, ul: Installation, tmp_path: Path) -> None:
    built(ul, tmp_path, "unsafe-base:1", "FROM box\nRUN echo '#!/bin/sh' > /bin/own; chmod 755 /bin/own\n")
    image = built(ul, tmp_path, "unsafe:1", 'FROM unsafe-base:1\nRUN echo x > /x\nCMD ["/bin/own"]\n')
    page = site.send(f"{image}/move", do="move", onto="box", name="unsafe:new").read().decode()
    assert "It was not moved" in page and "What speaks against it" in page and 'name="force"' in page
    assert "unsafe:new" not in names(ul)
    site.send(f"{image}/move", do="move", onto="box", name="unsafe:new", force="1")
    assert "unsafe:new" in names(ul)


def test_a_site_that_is_only_read(ul: Installation, tmp_path: Path) -> None:
    image = built(ul, tmp_path, "app:1", "FROM box\nENV A=1\n")
    before = names(ul)
    with running(ul, "--read-only") as site:
        site.enter()
        for page in (image, f"{image}/tags"):
            assert 'method="post"' not in site.page(page)
        for address in (f"{image}/tag", f"{image}/remove", f"{image}/move", "/pull"):
            assert site.send(address, name="other:2", do="move").status == 403
    assert names(ul) == before


def test_two_images(site: Site, ul: Installation, tmp_path: Path) -> None:
    """Files that are written anew with the same bytes are the same, whatever their times."""
    (tmp_path / "same").write_text("same\n")
    lines = ["FROM box", "ENV A=1", "COPY same /same", "RUN echo one > /text; echo 1 > /gone; ln -s a /link"]
    one = built(ul, tmp_path, "one:1", "\n".join(lines))
    lines = [
        "FROM box",
        "ENV A=2 B=3",
        "RUN echo two > /text; ln -s b /link; mkdir /dir; echo x > /dir/new",
        "COPY same /same",
    ]
    built(ul, tmp_path, "two:1", "\n".join(lines))
    page = site.page(f"{one}/compare?with=two:1")
    rows = {
        re.sub("<[^>]*>", "", row).strip(): re.findall("<td[^>]*>(.*?)</td>", rest)
        for row, rest in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', page, re.DOTALL)
    }
    assert rows == {
        "Env A": ["1", "2"],
        "Env B": ["not there", "3"],
        "dir/new": ["added", "", "2"],
        "gone": ["removed", "2", ""],
        "link": ["changed", "", ""],
        "text": ["changed", "4", "4"],
    }
    assert "1 layer is the same" in page
    assert site.page(f"{one}/compare?with=one:1").count("They are the same") == 3
    assert "No such image: nosuch" in site.page(f"{one}/compare?with=nosuch", 404)
    assert "<table" not in site.page(f"{one}/compare")
