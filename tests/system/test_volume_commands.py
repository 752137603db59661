"""Volumes by themselves: made, listed, inspected, removed and pruned as docker does it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from engines import Installation
from underlay import Engine
from underlay.errors import NotFound

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def none_left(ul: Installation) -> None:
    """Begin with no volume at all."""
    ul("volume", "prune", "-af")


def listed(ul: Installation, *words: str) -> list[str]:
    return ul.out("volume", "ls", "-q", *words).split()


def place(ul: Installation, name: str) -> Path:
    return Path(ul.out("volume", "inspect", "-f", "{{.Mountpoint}}", name))


def test_create_use_and_remove(ul: Installation) -> None:
    assert ul.out("volume", "create", "--label", "tier=db", "--label", "bare", "data") == "data"
    assert ul.out("volume", "create", "data") == "data"  # what is there is taken as it is
    old = os.umask(0o077)
    try:
        assert ul.out("volume", "create", "strict") == "strict"
    finally:
        os.umask(old)
    assert place(ul, "strict").stat().st_mode & 0o777 == 0o755
    assert ul.run("-v", "data:/data", "box", "cat", "/data/seed") == "from the image"
    ul.run("-v", "data:/data", "box", "sh", "-c", "mkdir -m 0 /data/deep; echo kept > /data/kept")
    assert ul.run("-v", "data:/v", "box", "cat", "/v/kept") == "kept"
    facts = json.loads(ul.out("volume", "inspect", "data"))
    assert [(f["Name"], f["Driver"], f["Scope"], f["Labels"]) for f in facts] == [
        ("data", "local", "local", {"bare": "", "tier": "db"})
    ]
    assert ul.out("inspect", "-f", "{{.Name}}", "data") == "data"
    assert ul.out("inspect", "--type", "volume", "-f", "{{.Scope}}", "data") == "local"
    here = place(ul, "data")
    assert here.is_dir()
    assert ul.out("volume", "rm", "data", "strict") == "data\nstrict"
    assert not here.parent.exists()
    assert listed(ul) == []


def test_list_in_dockers_form(ul: Installation) -> None:
    ul("volume", "create", "--label", "a=1", "tyler")
    ul("volume", "create", "--label", "a=2", "rosemary")
    assert ul.out("volume", "ls").splitlines() == [
        "DRIVER    VOLUME NAME",
        "local     rosemary",
        "local     tyler",
    ]
    assert ul.out("volume", "ls", "--format", "{{.Name}}: {{.Driver}}") == "rosemary: local\ntyler: local"
    rows = [json.loads(line) for line in ul.out("volume", "ls", "--format", "json").splitlines()]
    assert rows[1] == {
        "Driver": "local",
        "Labels": "a=1",
        "Links": "N/A",
        "Mountpoint": str(place(ul, "tyler")),
        "Name": "tyler",
        "Scope": "local",
        "Size": "N/A",
    }
    ul("create", "--network", "none", "-v", "tyler:/work", "box")
    for words, names in (
        (["dangling=true"], ["rosemary"]),
        (["dangling=0"], ["tyler"]),
        (["dangling=true", "dangling=false"], ["rosemary", "tyler"]),
        (["name=rose"], ["rosemary"]),
        (["name=rose", "name=^ty"], ["rosemary", "tyler"]),
        (["label=a"], ["rosemary", "tyler"]),
        (["label=a=2"], ["rosemary"]),
        (["label=a=1", "label=a=2"], []),
        (["driver=local"], ["rosemary", "tyler"]),
        (["driver=other"], []),
        (["label=a=1", "dangling=true"], []),
    ):
        assert listed(ul, *(word for filter in words for word in ("-f", filter))) == names, words


def test_one_in_use_stays(ul: Installation) -> None:
    container = ul.out("create", "--name", "holder", "--network", "none", "-v", "held:/v", "box")
    text = ul("volume", "rm", "held", code=1).stderr.decode()
    assert f"remove held: volume is in use - [{container}]" in text
    assert "holder" in text
    assert ul("volume", "rm", "-f", "held", code=1).stdout == b""
    assert listed(ul) == ["held"] and place(ul, "held").is_dir()
    assert ul.out("volume", "prune", "-af") == "Total reclaimed space: 0B"
    ul("rm", "-v", "holder")
    assert listed(ul) == ["held"]  # it has a name, so it outlives its container
    ul("volume", "rm", "held")


def test_what_is_not_there(ul: Installation) -> None:
    ul("volume", "create", "there")
    done = ul("volume", "rm", "gone", "there", code=1)
    assert done.stdout == b"there\n" and b"get gone: no such volume" in done.stderr
    assert ul.out("volume", "rm", "-f", "gone") == "gone"
    done = ul("volume", "inspect", "gone", code=1)
    assert done.stdout == b"[]\n" and b"get gone: no such volume" in done.stderr
    assert b"No such object: gone" in ul("inspect", "gone", code=1).stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["create", "a"], 1, b"invalid characters for a local volume name"),
        (["create", "../up"], 1, b"invalid characters for a local volume name"),
        (["create", "x" * 256], 1, b"invalid characters for a local volume name"),
        (["create", "ab", "cd"], 1, b"requires at most 1 argument"),
        (["create", "-d", "nfs", "ab"], 1, b'plugin "nfs" not found'),
        (["create", "-o", "type=tmpfs", "ab"], 1, b'missing required option: "device"'),
        (["create", "--nope"], 125, b"unknown flag: --nope"),
        (["ls", "-f", "colour=red"], 1, b"invalid filter 'colour'"),
        (["ls", "-f", "name=["], 1, b"not a regular expression"),
        (["ls", "-f", "dangling=perhaps"], 1, b"invalid filter 'dangling'"),
        (["rm"], 1, b"requires at least 1 argument"),
        (["inspect"], 1, b"requires at least 1 argument"),
        (["prune", "-f", "--filter", "until=1h"], 1, b"invalid filter 'until'"),
    ],
)
def test_refused(ul: Installation, words: list[str], code: int, text: bytes) -> None:
    ul("volume", "create", "some")
    assert text in ul("volume", *words, code=code).stderr
    assert listed(ul) == ["some"]


def test_prune(ul: Installation) -> None:
    name = ul.out("volume", "create")
    assert len(name) == 64
    ul("volume", "create", "--label", "keep=yes", "named")
    ul("volume", "create", "other")
    (place(ul, name) / "file").write_bytes(b"x" * 100_000)
    asked = ul.out("volume", "prune", input=b"n\n")
    assert asked.startswith("WARNING! This will remove anonymous local volumes not used by at least one container.")
    assert "Deleted" not in asked
    text = ul.out("volume", "prune", input=b"y\n")
    assert f"Deleted Volumes:\n{name}\n\nTotal reclaimed space: 1" in text and text.endswith("kB")
    assert listed(ul) == ["named", "other"]
    assert "Deleted Volumes:\nother\n\n" in ul.out("volume", "prune", "-af", "--filter", "label!=keep")
    assert listed(ul) == ["named"]
    assert "named" in ul.out("volume", "prune", "--all", "--force", "--filter", "label=keep=yes")
    assert listed(ul) == []


def test_an_anonymous_one_used_by_name_is_kept(ul: Installation) -> None:
    name = ul.out("volume", "create")
    ul.run("-v", f"{name}:/v", "-v", "/unnamed", "box", "touch", "/v/file")
    assert listed(ul) == [name]
    ul("volume", "prune", "-f")
    assert (place(ul, name) / "file").exists()


def test_removed_by_several_at_once(ul: Installation) -> None:
    ul("volume", "create", "busy")
    here = place(ul, "busy")
    for number in range(200):
        (here / f"f{number}").touch()
    wrong: list[BaseException] = []

    def remove() -> None:
        try:
            with Engine(str(ul.root), str(ul.state)) as engine:
                engine.volumes.remove("busy")
        except NotFound:
            pass
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert listed(ul) == [] and not here.parent.exists()


def test_files_that_cannot_go_are_removed_later(ul: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    ul("volume", "create", "sticky")
    with Engine(str(ul.root), str(ul.state)) as engine:

        def refuse(path: str) -> None:
            raise OSError(5, "Input/output error", path)

        with monkeypatch.context() as patch:
            patch.setattr("underlay.store.scratch.remove_tree", refuse)
            with pytest.raises(OSError, match="Input/output error"):
                engine.volumes.remove("sticky")
        assert engine.volumes.list() == []
        assert list((ul.root / "tmp").rglob("sticky"))
        engine.volumes.create("another")
        engine.volumes.remove("another")
        assert not list((ul.root / "tmp").rglob("sticky"))
