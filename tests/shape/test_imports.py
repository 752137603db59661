"""Pay for what you use: the modules that each path loads hold none of the heavy ones."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import REPOSITORY, Installation, image_tar, needs_root, until
from fakeregistry import FakeRegistry
from remoteimages import image

# Each costs a millisecond or several. `functools` and `collections` are not among them: SQLite's module loads both.
HEAVY = (
    "re json typing dataclasses enum pathlib subprocess logging asyncio msgspec argparse inspect contextlib tempfile "
    "shutil socket selectors signal hashlib random datetime threading urllib email importlib.metadata rich decimal "
    "locale gettext string textwrap traceback warnings tokenize linecache"
).split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with an image; as little between the interpreter and us as the installed program has."""
    needs_root()
    path = tmp_path_factory.mktemp("imports")
    installation = Installation(path)
    (path / "box.tar").write_bytes(image_tar())
    installation("import", "--change", 'CMD ["sh"]', str(path / "box.tar"), "box")
    installation("run", "--rm", "--network", "none", "box", "true")  # caches are filled
    yield installation
    installation.clean()


def loaded(place: Installation, *words: str, libraries: bool = False) -> set[str]:
    """The modules that a command has loaded when it ends, beyond those of a bare interpreter; with `libraries` to load."""
    file = place.root.parent / "modules"
    code = (
        "import sys, os\n"
        "before = set(sys.modules)\n"
        "end = os._exit\n"
        "def told(code):\n"
        f"    fd = os.open({str(file)!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\n"
        "    os.write(fd, ' '.join(set(sys.modules) - before).encode())\n"
        "    end(code)\n"
        "parent = os.getpid()\n"
        "os._exit = lambda code: told(code) if os.getpid() == parent else end(code)\n"
        f"sys.argv[1:] = {list(words)!r}\n"
        "from underlay.cli.main import entry\n"
        "entry()\n"
    )
    paths = [str(REPOSITORY / "src"), *([sysconfig.get_path("purelib")] if libraries else [])]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}\n" + code],
        env=place.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(file.read_text().split())


def heavy(found: set[str]) -> list[str]:
    return sorted(found & set(HEAVY))


def test_the_heavy_are_not_there_from_the_beginning() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Else the other tests here could not fail. Python 3.13 has loaded `linecache` for the sake of `-c`.
    assert set(done.stdout.split()) & set(HEAVY) <= {"linecache"}


def test_version(place: Installation) -> None:
    found = loaded(place, "--version")
    assert heavy(found) == [] and len([m for m in found if m.startswith("underlay")]) <= 4


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("ps", "-a"),
        ("images",),
        ("inspect", "box"),
        ("logs", "--help"),
        ("run", "--rm", "--network", "none", "box", "true"),
        ("run", "--plan", "--network", "none", "box", "true"),
    ],
    ids=" ".join,
)
def test_commands(place: Installation, words: tuple[str, ...]) -> None:
    found = loaded(place, *words)
    # The times of images are read by the calendar.
    assert set(heavy(found)) <= ({"datetime"} if words == ("images",) else set())
    if words[0] in ("ps", "images", "inspect"):
        assert "ctypes" not in found and "underlay.runtime.monitor.launch" not in found


def test_a_command_on_a_container(place: Installation) -> None:
    name = place.start("box", "sleep", "60")
    for words in (("exec", name, "true"), ("inspect", name), ("stop", "-t", "0", name), ("rm", name)):
        assert heavy(loaded(place, *words)) == [], words


def test_a_build_that_finds_all_in_its_cache(place: Installation) -> None:
    context = place.root.parent / "context"
    context.mkdir()
    (context / "file").write_text("file")
    (context / "Dockerfile").write_text("FROM box\nCOPY file /\nCOPY . /all\nRUN true\nLABEL a=b\n")
    time.sleep(2.2)  # what has just been written is read once more
    place("build", "-t", "built", str(context))
    # Dockerfiles are read with regular expressions, stages made in threads (which load `warnings` since Python 3.13).
    assert set(heavy(loaded(place, "build", "-t", "built", str(context)))) <= {"re", "enum", "threading", "warnings"}


def test_only_what_stores_documents_loads_their_library(place: Installation) -> None:
    assert "msgspec" not in loaded(place, "ps")


def test_pulls(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not moved is found out without the readers of documents and layers; what is new, without a push's."""
    monkeypatch.setitem(place.environment, "UNDERLAY_REGISTRIES", "/dev/null")
    with FakeRegistry() as registry:
        name = registry.add(image(), "team/app", "1")
        new = loaded(place, "pull", name, libraries=True)
        again = loaded(place, "pull", name, libraries=True)
    never = {
        "underlay.transfer.registry.push",
        "underlay.registry.upload",
        "underlay.transfer.archives.load",
        "underlay.cli.templates.gotemplate",
    }
    assert not new & {*never, "rich", "tomllib", "subprocess", "asyncio", "dataclasses"}
    assert not again & {
        *never,
        "msgspec",
        "underlay.oci.manifest",
        "underlay.store.layers.intake",
        "underlay.transfer.archives.bag",
    }


def test_the_slim_monitor(place: Installation) -> None:
    name = place.start("box", "sleep", "60")
    monitor = place.monitor(name)
    assert until(lambda: b"monitor.resident" in Path(f"/proc/{monitor}/cmdline").read_bytes())
    code = (
        "import sys; before = set(sys.modules); from underlay.runtime.monitor import resident; "
        "print(*set(sys.modules) - before)"
    )
    package = str(REPOSITORY / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {package!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = set(done.stdout.split())
    assert heavy(found) == [] and "ctypes" not in found and "sqlite3" not in found
    assert not any(m.startswith(("underlay.engine", "underlay.store", "underlay.cli", "underlay.linux")) for m in found)
    # It shares nothing with the directory it was started in, nor with the caller's terminal.
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    assert {os.readlink(f"/proc/{monitor}/fd/{n}") for n in (0, 1, 2)} == {"/dev/null"}
    place("rm", "-f", name)


def test_the_public_module_alone_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import underlay; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"underlay", "underlay.version", "__future__"}


def test_an_engine_alone() -> None:
    """A program that wants an engine pays for images and containers when it asks for them."""
    code = (
        "import sys; before = set(sys.modules); from underlay import Engine; print(*set(sys.modules) - before);"
        "Engine('/nowhere/root', '/nowhere/state').containers; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = [{str(REPOSITORY / 'src')!r}]; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    alone, with_containers = (set(line.split()) for line in done.stdout.splitlines())
    # SQLite's module reads the calendar.
    assert set(heavy(alone)) <= {"datetime"} and set(heavy(with_containers)) <= {"datetime"}
    assert len([name for name in alone if name.startswith("underlay")]) <= 20
    assert not with_containers & {"ctypes", "underlay.runtime.monitor.launch", "underlay.engine.keywords", "shlex"}
