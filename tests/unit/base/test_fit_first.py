"""What dies at once on every host: the first program, its user and its directory."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest

from fitcases import program
from underlay.base.fit import first
from underlay.oci.config import Execution

PATH = (b"usr/bin", b"bin")
ELF = program(b"\x90")
GOOD: dict[bytes, bytes] = {
    b"bin/sh": ELF,
    b"usr/bin/env": ELF,
    b"usr/bin/python3": ELF,
    b"usr/bin/tool": b"#!/bin/sh\necho\n",
    b"usr/bin/script": b"#!/usr/bin/env -S python3 -u\n",
    b"app/main": b"#!/usr/bin/env python3\n",
    b"etc/passwd": b"root:x:0:0::/:/bin/sh\nweb:x:9:9::/:/bin/sh\n",
    b"etc/group": b"root:x:0:\nweb:x:9:\n",
}


# Files that only one user, or one group, may read and execute.
OWNERS = {b"app/own": 9, b"app/others": 10}


class Given:
    """Files of an image that are made up; `plain` have no execute bit."""

    def __init__(self, files: dict[bytes, bytes], plain: tuple[bytes, ...] = ()) -> None:
        self._files = files
        self._plain = plain

    def real(self, path: bytes) -> bytes | None:
        path = posixpath.normpath(path).strip(b"/")
        return path if path in self._files else None

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        return self._files.get(path, b"")[offset : offset + size]

    def directory(self, path: bytes) -> bool:
        path = posixpath.normpath(path).strip(b"/")
        return any(name.startswith(path + b"/") for name in self._files)

    def executable(self, path: bytes) -> bool:
        return path in self._files and path not in self._plain

    def permits(self, path: bytes, uid: int, gids: tuple[int, ...], wanted: int) -> bool:
        return path not in OWNERS or OWNERS[path] in (uid, *gids)


def broken(
    words: list[str], plain: tuple[bytes, ...] = (), more: dict[bytes, bytes] | None = None, **set: Any
) -> list[str]:
    files: Any = Given({**GOOD, **(more or {})}, plain)
    return [each.id for each in first.look(files, words, PATH, b"app", Execution(**set))]


@pytest.mark.parametrize("words", [["sh"], ["/bin/sh"], ["tool"], ["script"], ["./main"], ["/proc/self/exe"]])
def test_what_runs(words: list[str]) -> None:
    assert not broken(words, user="web:web", working_dir="/app")


@pytest.mark.parametrize(
    ("words", "more", "plain", "id"),
    [
        ([], {}, (), "no-command"),
        (["absent"], {}, (), "command-missing"),
        (["/opt/absent"], {}, (), "command-missing"),
        (["/app/main"], {}, (b"app/main",), "command-mode"),
        (["/app"], {}, (), "command-mode"),
        (["x"], {b"bin/x": ELF[:40]}, (), "command-format"),
        (["x"], {b"bin/x": b"#!/bin/y\n", b"bin/y": b"#!/bin/x\n"}, (), "script-interpreter"),
        (["x"], {b"bin/x": b"echo hello\n"}, (), "command-format"),
        (["x"], {b"bin/x": b""}, (), "command-format"),
        (["x"], {b"bin/x": b"#!/bin/sh\r\necho\r\n"}, (), "script-crlf"),
        (["x"], {b"bin/x": b"#!/bin/bash\n"}, (), "script-interpreter"),
        (["x"], {b"bin/x": b"#!python3\n"}, (), "script-interpreter"),
        (["x"], {b"bin/x": b"#!/usr/bin/env ruby\n"}, (), "script-interpreter"),
        (["x"], {b"bin/x": b"#!\n"}, (), "script-interpreter"),
    ],
)
def test_what_dies(words: list[str], more: dict[bytes, bytes], plain: tuple[bytes, ...], id: str) -> None:
    assert broken(words, plain, more) == [id]


@pytest.mark.parametrize(
    ("set", "ids"),
    [
        ({"user": "nobody-here"}, ["user-unknown"]),
        ({"user": "web:nobody-here"}, ["group-unknown"]),
        ({"user": "1000:1000"}, []),
        ({"working_dir": "/bin/sh/inside"}, ["working-directory"]),
        ({"working_dir": "/new/folder"}, []),
    ],
)
def test_users_and_directories(set: dict[str, str], ids: list[str]) -> None:
    assert broken(["sh"], **set) == ids


@pytest.mark.parametrize(
    ("user", "words", "ids"),
    [
        ("web", ["/app/own"], []),
        ("8:9", ["/app/own"], []),
        ("8", ["/app/own"], ["command-mode"]),
        ("web", ["/app/others"], []),
        ("web:web", ["/app/others"], ["command-mode"]),
        ("root", ["/app/others"], []),
    ],
)
def test_a_program_that_the_user_may_not_run(user: str, words: list[str], ids: list[str]) -> None:
    """`web` has the number 9, and is a member of group 10 where no group is named."""
    more = {
        b"app/own": b"#!/bin/sh\n",
        b"app/others": b"#!/bin/sh\n",
        b"etc/group": b"root:x:0:\nweb:x:9:\nten:x:10:other,web\n",
    }
    assert broken(words, more=more, user=user) == ids


def test_a_program_found_further_along_the_path() -> None:
    """A file without an execute bit is passed over, as execvp(3) does."""
    assert not broken(["sh"], (b"usr/bin/sh",), {b"usr/bin/sh": b"no program"})
