"""Export of the site as static HTML files, with relative links."""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import re
import shutil
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from ..errors import Conflict, InvalidInput, UnderlayError
from ..files import is_at
from . import files, forest, image, listing, rendering, treemap
from .paging import Page, pages_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..engine.engine import Engine
    from ..engine.images.handle import Image

ROWS = 1000  # images on one page
_TABS = {word: title for word, title in image.TABS.items() if word not in ("files", "compare")}
_TABS_WITH_FILES = {word: title for word, title in image.TABS.items() if word != "compare"}
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
    (re.compile(r"/image/([0-9a-f]{64})/files\?path="), r"image/\1/files.html"),
    (re.compile(r"/image/([0-9a-f]{64})/layer/(\d+)\?path="), r"image/\1/layer-\2.html"),
    (re.compile(r"/static/([a-z.]+)"), r"static/\1"),
)
# Pages of directories, and the second page of long ones, are in files with hashes for names: those of images may be any
# bytes, and longer than the names of files.
_DIRECTORY = re.compile(r"/image/(?P<id>[0-9a-f]{64})/(?P<tab>files|layer/\d+)\?(?P<query>path=.*)")

Facts = dict[str, Any]


def export(
    engine: Engine, directory: str, names: Sequence[str], report: Callable[[str], None], with_files: bool = False
) -> int:
    """Export the pages of the images `names`, or of all images, to a directory; return the number of exported images.

    The directory is made, or replaced if it has an earlier site; it is as it was until all is written. `with_files` adds a
    page for each directory of each image, and of each layer. `report` is called with the name of each image that could not
    be shown whole, and why. Raises InvalidInput for a directory with other files, Conflict while another process writes it,
    NotFound for an image that is not here, OSError.
    """
    directory = os.path.abspath(directory)
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise InvalidInput(f"{directory} is not a directory")
    if os.path.isdir(directory) and os.listdir(directory) and not os.path.exists(f"{directory}/{_MARK}"):
        raise InvalidInput(f"{directory} has files that are no exported site", "give a new or an empty directory")
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    with _beside(directory) as made:
        new, old = f"{made}/new", f"{made}/old"
        count = _Site(engine, new, names, report, with_files).write()
        if os.path.isdir(directory):
            os.rename(directory, old)
        os.rename(new, directory)
    return count


@contextmanager
def _beside(directory: str) -> Iterator[str]:
    """Make an empty directory beside `directory`, remove it in the end, and what a killed export has left there before.

    Raises Conflict while another process has it.
    """
    parent, name = os.path.split(directory)
    made = f"{parent}/.{name[:200]}.underlay-site"
    os.makedirs(made, mode=0o700, exist_ok=True)
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = is_at(lock, made)  # else another export has ended meanwhile, and removed it
        except BlockingIOError:
            is_held = False
        if not is_held:
            raise Conflict(f"another process exports to {directory}", "wait until it has ended")
        for left in os.listdir(made):
            shutil.rmtree(f"{made}/{left}")
        try:
            yield made
        finally:
            shutil.rmtree(made)
    finally:
        os.close(lock)


class _Site:
    """One export into the directory `path`."""

    def __init__(
        self, engine: Engine, path: str, names: Sequence[str], report: Callable[[str], None], with_files: bool
    ) -> None:
        self._engine = engine
        self._path = path
        self._report = report
        self._tabs = _TABS_WITH_FILES if with_files else _TABS
        self._roots = files.MergedRoots(engine)
        self._listing = listing.Listing(engine)
        wanted = {engine.images.get(name).id for name in names}
        self._rows = [row for row in self._listing.rows() if not names or row.id in wanted]
        self._written: set[str] = set()  # paths that links on the page in hand may lead to

    def write(self) -> int:
        """Write all pages; return the number of images."""
        os.mkdir(self._path)
        images = [self._engine.images.get(row.id) for row in self._rows]
        lists = list(self._lists())
        everywhere = {*(path for path, _, _ in lists), *(f"static/{name}" for name in _STATIC)}
        everywhere |= {path for found in images for path in self._tab_paths(found)}
        self._written = everywhere
        self._save_pages(lists)
        for found in images:
            pages = list(self._image(found))
            self._written = everywhere | {path for path, _, _ in pages} | {f"image/{found.id[7:]}/Dockerfile"}
            self._save_pages(pages)
            try:
                self._save(f"image/{found.id[7:]}/Dockerfile", self._engine.bases.dockerfile(found.id).text.encode())
            except UnderlayError as error:
                self._report(f"{_name(found)}: {error.message}")
        for name in _STATIC:
            self._save(f"static/{name}", (resources.files(__package__) / "static" / name).read_bytes())
        self._save(_MARK, b"")
        return len(images)

    def _save_pages(self, pages: Iterable[tuple[str, str, Callable[[], Facts]]]) -> None:
        for path, template, facts_of in pages:
            facts = {**facts_of(), "is_static": True}
            text = rendering.page("failed.html" if facts.get("problem") else template, facts)
            self._save(path, self._linked(text, path).encode())

    def _lists(self) -> Iterator[tuple[str, str, Callable[[], Facts]]]:
        """Yield path, template and facts of the lists of images, and of the forest."""
        self._listing.measure(self._rows)
        for number in range(1, Page(self._rows, 1, ROWS).pages + 1):
            page = Page(self._rows, number, ROWS)

            def facts(page: Page[listing.Row] = page) -> Facts:
                bases = {row.id: self._listing.base_of(row.id) for row in page.items}
                return {"wanted": "", "rows": page, "bases": bases}

            yield ("index.html" if number == 1 else f"images-{number}.html"), "images.html", facts
        yield "forest.html", "forest.html", self._forest

    def _forest(self) -> Facts:
        trees = forest.trees_of(self._engine, self._rows[: forest.MOST], self._listing)
        return {**forest.drawing(trees), "count": len(self._rows), "most": forest.MOST}

    def _tab_paths(self, found: Image) -> list[str]:
        """Return the paths of an image's tabs."""
        return [f"image/{found.id[7:]}/{'index' if word == 'overview' else word}.html" for word in self._tabs]

    def _image(self, found: Image) -> Iterator[tuple[str, str, Callable[[], Facts]]]:
        """Yield path, template and facts of each page of an image."""
        with_files = "files" in self._tabs
        for word, path in zip(self._tabs, self._tab_paths(found), strict=True):
            if word != "files":
                yield path, f"{word}.html", self._facts(found, word, image.FACTS[word])
        try:
            changed = image.changes(self._engine, found)
        except UnderlayError:
            changed = []  # the tab Layers says why
        for number, changes in enumerate(changed, 1):
            names = [change.path for change in changes.files]
            for directory in _directories(names) if with_files else [b""]:
                below = len(treemap.below(changes.files, directory)) if with_files else 1
                for at in range(1, pages_of(below, image.FILES) + 1):

                    def layer(
                        _: Engine, found: Image, number: int = number, directory: bytes = directory, at: int = at
                    ) -> Facts:
                        return image.layer_facts(changed[number - 1], number, directory, at)

                    yield (
                        self._path_of(found, f"layer/{number}", directory, at),
                        "layer.html",
                        self._facts(found, "layers", layer),
                    )
        if with_files:
            yield from self._files(found)

    def _files(self, found: Image) -> Iterator[tuple[str, str, Callable[[], Facts]]]:
        """Yield path, template and facts of the page of each directory of an image."""
        waiting = [b""]
        try:
            self._roots.of(found)
        except UnderlayError as error:
            problem = error

            def failed(_: Engine, __: Image) -> Facts:
                raise problem

            yield self._path_of(found, "files", b"", 1), "files.html", self._facts(found, "files", failed)
            return
        while waiting:
            directory = waiting.pop()
            node = self._roots.of(found).node(directory)
            children = (node.children if node else None) or {}
            waiting += [
                directory + b"/" + name if directory else name
                for name, child in children.items()
                if child.children is not None
            ]
            for at in range(1, pages_of(len(children), files.NAMES) + 1):

                def shown(_: Engine, found: Image, directory: bytes = directory, at: int = at) -> Facts:
                    return files.facts_of(self._roots.of(found), directory, at)

                yield self._path_of(found, "files", directory, at), "files.html", self._facts(found, "files", shown)

    def _path_of(self, found: Image, tab: str, directory: bytes, at: int) -> str:
        """Return the path of page number `at` of a directory: the one to which a link to it leads."""
        more = "" if at == 1 else f"&amp;page={at}"
        return _file(f"/image/{found.id[7:]}/{tab}?path={quote_from_bytes(directory)}{more}")

    def _facts(self, found: Image, word: str, facts_of: Callable[[Engine, Image], Facts]) -> Callable[[], Facts]:
        def facts() -> Facts:
            made: Facts = {"image": found, "tabs": self._tabs, "tab": word, "problem": None}
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
    if match := _DIRECTORY.fullmatch(address.removesuffix("&amp;page=1")):
        name = hashlib.sha256(match["query"].encode()).hexdigest()[:24]
        return f"image/{match['id']}/{match['tab'].replace('/', '-')}/{name}.html"
    return ""


def _directories(names: Iterable[bytes]) -> list[bytes]:
    """Return the directories in which the named files are, at any depth, with the root."""
    found = {b""}
    for name in names:
        while name:
            name = name.rpartition(b"/")[0]
            if name in found:
                break
            found.add(name)
    return sorted(found)


def _name(found: Image) -> str:
    return found.tags[0] if found.tags else found.id[7:19]
