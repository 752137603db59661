"""Landlock: the grammar of rules, what each version of the interface governs, and a process that rules itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underlay.errors import InvalidInput, Unsupported
from underlay.linux import libc, process
from underlay.linux.security import landlock


def test_rules() -> None:
    assert landlock.parse("ro:/usr,rw:/data") == [["ro", "/usr"], ["rw", "/data"]]
    assert landlock.parse("rx:/a:b,rwx:/") == [["rx", "/a:b"], ["rwx", "/"]]
    assert landlock.parse("bind:0,connect:65535,connect:none") == [
        ["bind", "0"],
        ["connect", "65535"],
        ["connect", "none"],
    ]


@pytest.mark.parametrize(
    "text", ["", ",", "ro", "ro:", "ro:a", "ro:/a,", "x:/a", "bind:", "bind:-1", "bind:65536", "bind:²"]
)
def test_no_rules(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid landlock rule"):
        landlock.parse(text)


def test_what_versions_govern() -> None:
    files, ports = [["ro", "/"]], [["bind", "1"]]
    assert landlock.handled(files, 1) == (0x1FFF, 0)
    assert landlock.handled(files, 2) == (0x3FFF, 0)
    assert landlock.handled(files, 4) == (0x7FFF, 0)
    assert landlock.handled(files, 9) == (0xFFFF, 0)
    assert landlock.handled(ports, 4) == (0, 3)
    assert landlock.handled(files + ports, 5) == (0xFFFF, 3)
    with pytest.raises(Unsupported, match="no Landlock"):
        landlock.handled(files, 0)
    with pytest.raises(Unsupported, match="no rules for ports"):
        landlock.handled(ports, 3)


def test_a_process_that_rules_itself(tmp_path: Path) -> None:
    if landlock.version() < 1:
        pytest.skip("no Landlock here")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "b").write_text("y")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            rules = landlock.parse(f"ro:{tmp_path / 'a'},rw:{tmp_path / 'b'}")
            files, network = landlock.handled(rules, landlock.version())
            ruleset = landlock.create(files, network)
            for word, path in rules:
                fd = os.open(path, os.O_PATH)
                landlock.allow_path(ruleset, fd, landlock.PATHS[word] & files, os.path.isdir(path))
            process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
            libc.check("landlock", "", "landlock_restrict_self", ruleset, 0)
            (tmp_path / "a" / "file").read_text()
            (tmp_path / "b").write_text("z")
            refused = 0
            for action in (
                lambda: (tmp_path / "a" / "file").write_text("w"),
                lambda: os.listdir(tmp_path),
                lambda: (tmp_path / "c").write_text(""),
                lambda: open("/etc/passwd").close(),
            ):
                try:
                    action()
                except PermissionError:
                    refused += 1
            code = 0 if refused == 4 else 10 + refused
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
