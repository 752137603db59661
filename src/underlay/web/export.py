"""Export of the site as static HTML files, with relative links."""

from __future__ import annotations

import os
import posixpath
import re
import tempfile
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, UnderlayError
from . import forest, image, listing, rendering
from .paging import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..engine.engine import Engine
    from ..engine.images.handle import Image

ROWS = 1000  # images on one page
_TABS = {word: title for word, title in image.TABS.items() if word not in ("files", "compare")}
_STATIC = ("style.css", "icon.svg")
_MARK = ".underlay-site"  # a file that marks a directory as an exported site
# Values in a page are escaped, so a quotation mark is always the template's.
_LINK = re.compile(r'(?P<name>href|src)="(?P<address>/[^"#]*)(?P<part>#[^"]*)?"')
_FILES = (
    (re.compile(r"/"), "index.html"),
    (re.compile(r"/\?q=&amp;page=1"), "index.html"),
    (re.compile(r"/\?q=&amp;page=(\d+)"), r"images-\1.html"),
    (re.compile(r"/forest"), "forest.html"),
    (re.compile(r"/image/([0-9a-f]{64})"), r"image/\1/index.html"),
    (re.compile(r"/image/([0-9a-f]{64})/(Dockerfile)"), r"image/\1/\2"),
    (re.compile(r"/image/([0-9a-f]{64})/([a-z]+)"), r"image/\1/\2.html"),
    (re.compile(r"/image/([0-9a-f]{64})/layer/(\d+)"), r"image/\1/layer-\2.html"),
    (re.compile(r"/static/([a-z.]+)"), r"static/\1"),
)


def export(engine: Engine, directory: str, names: Sequence[str], report: Callable[[str], None]) -> int:
    """Export the pages of the images `names`, or of all images, to a directory; return the number of exported images.

    The directory is made, or replaced if it has an earlier site; it is as it was until all is written. `report` is called
    with the name of each image that could not be shown whole, and why. Raises InvalidInput for a directory with other
    files, NotFound for an image that is not here, OSError.
    """
    directory = os.path.abspath(directory)
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise InvalidInput(f"{directory} is not a directory")
    if os.path.isdir(directory) and os.listdir(directory) and not os.path.exists(f"{directory}/{_MARK}"):
        raise InvalidInput(f"{directory} has files that are no exported site", "give a new or an empty directory")
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".underlay-site-", dir=parent) as made:
        new, old = f"{made}/new", f"{made}/old"
        count = _Site(engine, new, names, report).write()
        if os.path.isdir(directory):
            os.rename(directory, old)
        os.rename(new, directory)
    return count


class _Site:
    """One export into the directory `path`."""

    def __init__(self, engine: Engine, path: str, names: Sequence[str], report: Callable[[str], None]) -> None:
        self._engine = engine
        self._path = path
        self._report = report
        self._listing = listing.Listing(engine)
        wanted = {engine.images.get(name).id for name in names}
        self._rows = [row for row in self._listing.rows() if not names or row.id in wanted]
        self._written: set[str] = set()  # paths of all files of this export

    def write(self) -> int:
        """Write all pages; return the number of images."""
        os.mkdir(self._path)
        images = [self._engine.images.get(row.id) for row in self._rows]
        pages = [*self._lists(), *(page for found in images for page in self._image(found))]
        self._written = {*(path for path, _, _ in pages), *(f"static/{name}" for name in _STATIC)}
        self._written |= {f"image/{found.id[7:]}/Dockerfile" for found in images}
        for path, template, facts_of in pages:
            facts = {**facts_of(), "is_static": True}
            text = rendering.page("failed.html" if facts.get("problem") else template, facts)
            self._save(path, self._linked(text, path).encode())
        for found in images:
            try:
                self._save(f"image/{found.id[7:]}/Dockerfile", self._engine.bases.dockerfile(found.id).text.encode())
            except UnderlayError as error:
                self._report(f"{_name(found)}: {error.message}")
        for name in _STATIC:
            self._save(f"static/{name}", (resources.files(__package__) / "static" / name).read_bytes())
        self._save(_MARK, b"")
        return len(images)

    def _lists(self) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
        """Yield path, template and facts of the lists of images, and of the forest."""
        self._listing.measure(self._rows)
        for number in range(1, Page(self._rows, 1, ROWS).pages + 1):
            page = Page(self._rows, number, ROWS)

            def facts(page: Page[listing.Row] = page) -> dict[str, Any]:
                bases = {row.id: self._listing.base_of(row.id) for row in page.items}
                return {"wanted": "", "rows": page, "bases": bases}

            yield ("index.html" if number == 1 else f"images-{number}.html"), "images.html", facts
        yield "forest.html", "forest.html", self._forest

    def _forest(self) -> dict[str, Any]:
        trees = forest.trees_of(self._engine, self._rows[: forest.MOST], self._listing)
        return {**forest.drawing(trees), "count": len(self._rows), "most": forest.MOST}

    def _image(self, found: Image) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
        """Yield path, template and facts of each page of an image."""
        place = f"image/{found.id[7:]}"
        for word in _TABS:
            path = f"{place}/{'index' if word == 'overview' else word}.html"
            yield path, f"{word}.html", self._facts(found, word, image.FACTS[word])
        for number in range(1, len(found.diff_ids) + 1):

            def layer(engine: Engine, found: Image, number: int = number) -> dict[str, Any]:
                return image.layer(engine, found, number, b"", 1)

            yield f"{place}/layer-{number}.html", "layer.html", self._facts(found, "layers", layer)

    def _facts(
        self, found: Image, word: str, facts_of: Callable[[Engine, Image], dict[str, Any]]
    ) -> Callable[[], dict[str, Any]]:
        def facts() -> dict[str, Any]:
            made: dict[str, Any] = {"image": found, "tabs": _TABS, "tab": word, "problem": None}
            made["addresses"] = image.addresses(found.id)
            try:
                return made | facts_of(self._engine, found)
            except UnderlayError as error:
                if word != "vulnerabilities":  # without advisories there are none for any image
                    self._report(f"{_name(found)}: {_TABS[word]}: {error.message}")
                return made | {"problem": error}

        return facts

    def _linked(self, text: str, path: str) -> str:
        """Return a page with relative links to exported files; a link to a page that is not exported becomes plain text."""

        def link(match: re.Match[str]) -> str:
            target = _file(match["address"])
            if target not in self._written:
                return ""
            relative = posixpath.relpath(target, posixpath.dirname(path) or ".")
            return f'{match["name"]}="{relative}{match["part"] or ""}"'

        return _LINK.sub(link, text)

    def _save(self, path: str, data: bytes) -> None:
        place = f"{self._path}/{path}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)


def _file(address: str) -> str:
    """Return the file to which a URL path of the site is exported, "" if the page is not exported."""
    for pattern, path in _FILES:
        if match := pattern.fullmatch(address):
            return match.expand(path)
    return ""


def _name(found: Image) -> str:
    return found.tags[0] if found.tags else found.id[7:19]
