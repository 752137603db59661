"""The documents: links lead somewhere, files exist, the reference is what the code says, the examples run."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildcorpus.real import KINDS
from engines import image_tar, needs_root
from fakeregistry import FakeRegistry
from underlay import Engine
from underlay.engine.bases import Bases
from underlay.engine.builds import Builds
from underlay.engine.containers import Containers
from underlay.engine.images import Images
from underlay.engine.machines import Machines
from underlay.engine.registries import Registries
from underlay.engine.scans import Scans
from underlay.engine.system import System
from underlay.engine.volumes import Volumes

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
GUIDE = DOCS / "guides" / "python.md"

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?<![\w/.~-])(?:src|tests|tools|bench|docs)/[\w./-]*\w")
# The only places outside that a document may send its reader to.
_HOSTS = {"keepachangelog.com", "semver.org"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub does it."""
    found: set[str] = set()
    for line in _prose(page).splitlines():
        if line.startswith("#"):
            text = line.lstrip("#").strip().lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            number = 0
            while (name := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{_name(page)} links to {target}"
        if anchor:
            assert anchor in _anchors(there), f"{_name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_named_exist(page: Path) -> None:
    for path in _FILE.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), f"{_name(page)} names {path}"


def test_pictures_are_small_and_shown() -> None:
    """Each picture is in a page, with words for those who do not see it."""
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"!\[[^\]]{10,}\]\(([^)\s]+)\)", _prose(page))
    }
    pictures = set(DOCS.rglob("images/*"))
    assert pictures == shown and max(picture.stat().st_size for picture in pictures) <= 80_000


def test_documents_named_in_the_code_exist() -> None:
    for source in (ROOT / "src").rglob("*.py"):
        for path in re.findall(r"docs/[\w./-]+\.md", source.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{_name(source)} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_nothing_of_one_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert f"{ROOT}/" not in text
    assert set(re.findall(r"https?://([\w.-]+)", text)) <= _HOSTS
    assert max(map(len, text.splitlines()), default=0) <= 400


def test_every_page_can_be_reached() -> None:
    """From README.md, link by link."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in _LINK.findall(_prose(page)):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists():
                waiting.append(there)
    assert [_name(page) for page in PAGES if page not in seen] == []


def test_decisions_are_numbered() -> None:
    names = sorted(path.name for path in (DOCS / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{n:04d}" for n in range(1, len(names) + 1)]
    for path in (DOCS / "decisions").glob("*.md"):
        headings = re.findall(r"^## (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], path.name


def test_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_reference.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _public(kind: type) -> list[str]:
    return [name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")]


@pytest.mark.parametrize(
    ("noun", "kind"),
    [
        ("images", Images),
        ("bases", Bases),
        ("scans", Scans),
        ("builds", Builds),
        ("registries", Registries),
        ("containers", Containers),
        ("volumes", Volumes),
        ("machines", Machines),
        ("system", System),
    ],
)
def test_the_python_guide_shows_every_method(noun: str, kind: type) -> None:
    code = "".join(body for language, body in _FENCE.findall(GUIDE.read_text(encoding="utf-8")) if language == "python")
    missing = [name for name in _public(kind) if f"engine.{noun}.{name}(" not in code]
    assert missing == []
    assert "engine.close()" in code and Engine is not None


# Runs the blocks of a page in order, in one namespace. What a block prints must hold its `# → …` comments, in order.
# The page's registry is another one, which is there.
_RUNNER = r"""
import contextlib, io, re, sys
page, registry = sys.argv[1:]
text = open(page, encoding="utf-8").read().replace("registry.example.com", registry)
names = {"__name__": "__main__"}
for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
    line = text.count("\n", 0, found.start(1))
    body = found.group(1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * line + body, page, "exec"), names)
    rest = out.getvalue()
    for wanted in re.findall(r"# → (.*)$", body, re.MULTILINE):
        before, met, rest = rest.partition(wanted)
        if not met:
            sys.exit(f"{page}:{line + 1}: {wanted!r} was not printed; the block printed {out.getvalue()!r}")
"""


@pytest.mark.root
def test_examples_of_the_python_guide_run(tmp_path: Path) -> None:
    needs_root()
    (tmp_path / "rootfs.tar").write_bytes(image_tar())
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("UNDERLAY")},
        "UNDERLAY_ROOT": str(tmp_path / "root"),
        "UNDERLAY_STATE": str(tmp_path / "state"),
        "UNDERLAY_REGISTRIES": "/dev/null",
        "UNDERLAY_NETWORK": "none",
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PYTHONPATH": str(ROOT / "src"),
    }
    with FakeRegistry(users={"alice": "secret"}) as registry:
        done = subprocess.run(
            [sys.executable, "-c", _RUNNER, str(GUIDE), registry.host],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    finally:
        command = [sys.executable, "-m", "underlay"]
        ids = subprocess.run([*command, "ps", "-aq"], env=environment, capture_output=True, text=True).stdout.split()
        if ids:
            subprocess.run([*command, "rm", "-f", *ids], env=environment, capture_output=True)


def test_the_tree_in_the_readme_is_the_source() -> None:
    """Each folder of the source stands there, and nothing stands there that is not."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.partition("```\nsrc/underlay/\n")[2].partition("```")[0]
    told = set(re.findall(r"\b([a-z]+)/", block))
    source = ROOT / "src" / "underlay"
    there = {path.name for path in source.rglob("*") if path.is_dir() and (path / "__init__.py").exists()}
    inner = {"index", "marks", "names", "records"}  # rooms within rooms that need no line of their own
    assert told <= there and there - told <= inner
    assert all(f"  {path.name}/" in block for path in source.iterdir() if (path / "__init__.py").exists())


def test_the_table_of_kinds_is_what_is_compared_with_docker() -> None:
    page = (DOCS / "reference" / "build-compatibility.md").read_text(encoding="utf-8")
    table = page.partition("| --- | --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    assert table == [f"| {kind.language} | {kind.pattern} | {kind.features} |" for kind in KINDS]
