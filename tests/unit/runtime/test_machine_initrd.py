"""The initrd of machines: the archive as others read it, what is in it, and that nothing is missing."""

from __future__ import annotations

import ast
import importlib.util
import json
import marshal
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import underlay
from underlay.errors import UnderlayError
from underlay.runtime.machine import initrd

SOURCE = Path(underlay.__file__).parents[1]


def members(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Mode, content and device by name (driver-api/early-userspace/buffer-format)."""
    found = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11]]
        assert name.endswith(b"\0")
        start = (at + 110 + fields[11] + 3) // 4 * 4
        content = data[start : start + fields[6]]
        at = (start + fields[6] + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            assert at == len(data)
            return found
        text = name[:-1].decode()
        assert text not in found and not text.startswith("/")
        assert "/" not in text or os.path.dirname(text) in found  # directories come first
        found[text] = (fields[1], content, (fields[9], fields[10]))


def test_an_archive() -> None:
    made = initrd.Archive()
    made.file("/a/b/c.txt", b"odd")
    made.file("a/b/c.txt", b"twice")
    made.link("/lib", "usr/lib")
    made.device("dev/console", 5, 1)
    made.directory("/")
    made.directory("a/b/")
    made.file("é", b"", 0o644)
    found = members(made.finish())
    assert list(found) == ["a", "a/b", "a/b/c.txt", "lib", "dev", "dev/console", "é"]
    assert found["a/b/c.txt"] == (stat.S_IFREG | 0o755, b"odd", (0, 0)) and found["lib"][1] == b"usr/lib"
    assert stat.S_ISCHR(found["dev/console"][0]) and found["dev/console"][2] == (5, 1)
    assert stat.S_ISLNK(found["lib"][0]) and stat.S_ISDIR(found["a"][0]) and found["é"][0] == stat.S_IFREG | 0o644


def test_an_archive_as_cpio_reads_it(tmp_path: Path) -> None:
    program = next(([word] for word in ("cpio", "busybox") if shutil.which(word)), [])
    if not program:
        pytest.skip("no cpio and no busybox")
    if program == ["busybox"]:
        program.append("cpio")
    made = initrd.Archive()
    made.file("a/b", b"content", 0o640)
    made.link("c", "a/b")
    subprocess.run([*program, "-i", "-d"], input=made.finish(), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "c").read_bytes() == b"content" and (tmp_path / "a/b").stat().st_mode & 0o777 == 0o640


def test_a_small_initrd(tmp_path: Path) -> None:
    library, source, module = tmp_path / "libx.so.1.2", tmp_path / "m.py", tmp_path / "virtio.ko"
    library.write_bytes(b"\x7fELF library")
    (tmp_path / "libx.so.1").symlink_to("libx.so.1.2")
    source.write_text("ANSWER = 42\n")
    module.write_bytes(b"module")
    compiled = str(tmp_path / "__pycache__/m.tag.pyc")
    needs = ([str(library)], [(str(source), compiled)], ["/somewhere"])
    found = members(initrd.build(sys.executable, needs, [("virtio", str(module)), ("net", str(module))]))
    place = str(tmp_path).lstrip("/")
    assert found[f"{place}/libx.so.1.2"][1] == b"\x7fELF library" and found[f"{place}/libx.so.1"][1] == b"libx.so.1.2"
    assert found["modules/order"][1] == b"virtio\nnet" and found["modules/net.ko"][1] == b"module"
    code = found[compiled.lstrip("/")][1]
    assert code[:4] == importlib.util.MAGIC_NUMBER and code[4] == 1  # not compared with the source, which is empty
    names: dict[str, object] = {}
    exec(marshal.loads(code[16:]), names)
    assert names["ANSWER"] == 42 and found[source.as_posix().lstrip("/")][1] == b""
    first = found["init"][1].decode().splitlines()
    assert first[0] == f"#!{os.path.realpath(sys.executable)} -ISB" and "sys.path[:] = ['/somewhere']" in first
    assert found["init"][0] & 0o111 and {"proc", "sys", "dev", "run", "dev/console", "dev/null"} <= set(found)
    source.write_text("not Python!\n")
    with pytest.raises(SyntaxError):
        initrd.build(sys.executable, needs, [])


def test_it_is_made_anew_when_what_it_is_made_of_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(initrd, "needed", lambda *_: ([], [], []))
    monkeypatch.setattr(initrd, "build", lambda *words: made.append(words) or b"initrd %d" % len(made))
    (tmp_path / "import/underlay/linux").mkdir(parents=True)
    code = tmp_path / "import/underlay/linux/x.py"
    code.write_text("")
    module = tmp_path / "m.ko"
    module.write_bytes(b"1")
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    (kernel / "vmlinuz").touch()

    def cached() -> bytes:
        path = initrd.cached(str(kernel), sys.executable, [f"{tmp_path}/import"], [("m", str(module))])
        there = os.listdir(kernel)
        assert os.path.basename(path) in there and "vmlinuz" in there
        assert os.stat(path).st_mode & 0o777 == 0o644  # read by a user without rights
        return Path(path).read_bytes()

    assert cached() == cached() == b"initrd 1"
    code.write_text("changed")
    assert cached() == cached() == b"initrd 2"
    module.write_bytes(b"12")
    assert cached() == cached() == b"initrd 3"
    # The older ones may be about to be used; not all of them are kept.
    for size in range(3, 9):
        module.write_bytes(bytes(size))
        cached()
    left = sorted((kernel / name).read_bytes() for name in os.listdir(kernel) if name.startswith("initrd-"))
    assert left == [b"initrd 6", b"initrd 7", b"initrd 8", b"initrd 9"]


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnderlayError, match=r"the agent of machines cannot be loaded: .*No module named"):
        initrd.needed(sys.executable, [str(tmp_path)])


# For another processor: the same modules, with an interpreter of its own.


def userland(place: Path, **changed: object) -> str:
    """A userland of small files; returns its directory."""
    record = {
        "architecture": "arm64",
        "python": "3.13",
        "tag": "here",
        "interpreter": "/lib/ld-linux.so.1",
        "modules": ["encodings/__init__.py", "os.py", "unused.py"],
        "libraries": ["libc.so.6"],
        "extensions": {"_ctypes": ["libffi.so.8"], "_ssl": ["libssl.so.3"]},
        "needs": {"libc.so.6": ["ld-linux.so.1"], "ld-linux.so.1": [], "libffi.so.8": ["libc.so.6"]},
        **changed,
    }
    for name in ("python", *(f"libraries/{name}" for name in ("libc.so.6", "ld-linux.so.1", "libffi.so.8"))):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())
    for name in ("modules/encodings/__init__.py", "modules/os.py", "modules/unused.py", "extensions/_ctypes.so"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"NAME = {name!r}\n")
    (place / "userland.json").write_text(json.dumps(record))
    return str(place)


def answer(place: Path, *names: str) -> dict[str, Any]:
    """What the host's interpreter says: it has loaded two modules of its own and one of underlay's."""
    source = place / "import/underlay/agent.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("AGENT = 1\n")
    return {
        "names": ["encodings", "os", "sys", "underlay.agent", *names],
        "sources": ["/usr/lib/python3.13/os.py", str(source)],
        "paths": [f"{place}/import", "/usr/lib/python3.13"],
        "tag": "here",
    }


def test_an_initrd_for_another_processor(tmp_path: Path) -> None:
    place = userland(tmp_path / "userland")
    found = members(initrd.build_foreign(answer(tmp_path, "_ctypes"), place, []))
    ours = f"{tmp_path}/import/underlay".lstrip("/")
    content = {name: data for name, (mode, data, _) in found.items() if stat.S_ISREG(mode)}
    assert sorted(content) == sorted(
        [
            *("init", "modules/order", "usr/bin/python3.13", "lib/ld-linux.so.1", "lib/libc.so.6", "lib/libffi.so.8"),
            *(f"usr/lib/python3.13/{name}" for name in ("os.py", "__pycache__/os.here.pyc", "encodings/__init__.py")),
            "usr/lib/python3.13/encodings/__pycache__/__init__.here.pyc",
            "usr/lib/python3.13/lib-dynload/_ctypes.so",
            *(f"{ours}/agent.py", f"{ours}/__pycache__/agent.here.pyc"),
        ]
    )
    assert content["usr/bin/python3.13"] == b"python" and content["lib/ld-linux.so.1"] == b"libraries/ld-linux.so.1"
    names: dict[str, object] = {}
    exec(marshal.loads(content["usr/lib/python3.13/__pycache__/os.here.pyc"][16:]), names)
    assert names["NAME"] == "modules/os.py" and content["usr/lib/python3.13/os.py"] == b""
    first = content["init"].decode().splitlines()
    assert first[0] == "#!/usr/bin/python3.13 -ISB"
    paths = [f"{tmp_path}/import", "/usr/lib/python3.13", "/usr/lib/python3.13/lib-dynload"]
    assert f"sys.path[:] = {paths!r}" in first


def test_an_initrd_with_another_python(tmp_path: Path) -> None:
    """Which other modules that needs is not known: it has all of them, and those extensions that can be loaded."""
    place = userland(tmp_path / "userland", tag="other")
    found = members(initrd.build_foreign(answer(tmp_path), place, []))
    standard = "usr/lib/python3.13"
    assert {f"{standard}/unused.py", f"{standard}/lib-dynload/_ctypes.so", "lib/libffi.so.8"} <= set(found)
    assert found[f"{standard}/os.py"][1] == b"NAME = 'modules/os.py'\n" and not any("pyc" in name for name in found)
    assert f"{standard}/lib-dynload/_ssl.so" not in found
    assert found[f"{tmp_path}/import/underlay/agent.py".lstrip("/")][1] == b"AGENT = 1\n"


def test_a_userland_that_lacks_something(tmp_path: Path) -> None:
    place = userland(tmp_path / "userland")
    with pytest.raises(UnderlayError, match="the userland of machines for arm64 lacks libraries") as caught:
        initrd.build_foreign(answer(tmp_path, "_ssl"), place, [])
    assert "machine kernel fetch --platform linux/arm64" in caught.value.hint
    with pytest.raises(UnderlayError, match="lacks libraries"):
        initrd.build_foreign(answer(tmp_path), userland(tmp_path / "userland", libraries=["libz.so.1"]), [])


def test_one_for_another_processor_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = answer(tmp_path)
    monkeypatch.setattr(initrd, "_ask", lambda *_: said)
    kernel = tmp_path / "kernel"
    kernel.mkdir()
    words = (str(kernel), sys.executable, [f"{tmp_path}/import"], [])
    place = userland(tmp_path / "userland")
    first = initrd.cached(*words, place)
    assert initrd.cached(*words, place) == first
    userland(tmp_path / "userland", tag="other")
    assert initrd.cached(*words, place) != first


# Modules that the agent's code imports where it never gets to.
NEVER = {
    "datetime": "times for people",
    "difflib": "hints for people",
    "tomllib": "settings of the host",
    "json": "only says what is wrong with a message of the host's",
    "traceback": "after an error of ours",
    "subprocess": "hooks, which are not in a machine",
    "underlay.runtime.apply.hooks": "the same",
    "underlay.linux.cgroup.null": "the agent mounts cgroup2",
    "underlay.linux.cgroup.v1": "the same",
    "underlay.linux.files.loopdevice": "its disks are disks",
    "underlay.linux.security.apparmor": "no profile is set",
    "underlay.linux.security.tables": "filters are compiled on the host",
    "underlay.runtime.policy.profile_data": "the same",
}


def test_nothing_is_missing_that_is_imported_late() -> None:
    files, sources, _ = initrd.needed(sys.executable, [str(SOURCE)])
    there = {source for source, _ in sources} | set(files)
    assert any("python" in os.path.basename(file) for file in files) and any("libc" in file for file in files)
    missing: dict[str, str] = {}
    for source in sorted(there):
        if source.startswith(f"{SOURCE}/underlay/") and source.endswith(".py"):
            for name in _imported(Path(source)):
                if name not in NEVER and not _is_there(name, there):
                    missing[name] = source
    assert missing == {}


def _imported(source: Path) -> set[str]:
    """The modules that a module imports anywhere but for the type checker, and what could be modules."""
    parts = source.relative_to(SOURCE).with_suffix("").parts
    package = ".".join(parts[:-1])
    names: set[str] = set()
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def _is_there(name: str, there: set[str]) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return True  # a name in a module that is none
    return spec is None or spec.origin in (None, "built-in", "frozen") or spec.origin in there
