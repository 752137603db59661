"""What dies at once on every host: the first program, its user and its directory."""

from __future__ import annotations

import posixpath
from typing import Any

import pytest

from underlay.base.fit import first
from underlay.oci.config import Execution

PATH = (b"usr/bin", b"bin")
ELF = b"\x7fELF" + bytes(60)
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

    def executable(self, path: bytes) -> bool:
        return path in self._files and path not in self._plain


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


def test_a_program_found_further_along_the_path() -> None:
    """A file without an execute bit is passed over, as execvp(3) does."""
    assert not broken(["sh"], (b"usr/bin/sh",), {b"usr/bin/sh": b"no program"})
