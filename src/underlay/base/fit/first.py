"""What kills an image's first program at once, whatever the host.

A command that is not there or cannot be executed, a script without its interpreter, a user or directory that cannot be had.
"""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...oci.config import Execution
    from .needs import Files

_HEAD = 256  # bytes that the kernel reads of a script's first line (fs/binfmt_script.c)
_SCRIPTS = 4  # interpreters in a row that are scripts themselves
# What comes from the engine or the kernel, and not from the image.
_GIVEN = (b"proc/", b"sys/", b"dev/")
# Formats that a host may have registered with binfmt_misc.
_REGISTERED = (b"PK\x03\x04", b"\x00asm", b"MZ", b"\xca\xfe\xba\xbe")
_ACCOUNTS = 1 << 20  # bytes


class Broken(msgspec.Struct, frozen=True):
    """One thing that keeps the first program from running; `codes` are the exit codes of `run` then."""

    id: str
    title: str
    evidence: str
    remedy: str
    codes: tuple[int, ...] = (127,)


def look(
    files: Files, words: Sequence[str], path: Sequence[bytes], directory: bytes, execution: Execution | None
) -> tuple[Broken, ...]:
    """Return what is broken. `words` are the command, `path` and `directory` where programs of it are looked for."""
    found = [*_command(files, words, path, directory)]
    if execution is not None:
        found += _user(files, execution.user or "")
        found += _directory(files, execution.working_dir or "")
    return tuple(found)


def _command(files: Files, words: Sequence[str], path: Sequence[bytes], directory: bytes) -> Iterator[Broken]:
    if not words:
        yield Broken(
            "no-command", "the image names no command", "it has neither CMD nor ENTRYPOINT", "name a command", (125,)
        )
        return
    name = words[0].encode("utf-8", "surrogateescape")
    places = [name.lstrip(b"/")] if name.startswith(b"/") else [directory + b"/" + name]
    if b"/" not in name:
        places = [folder + b"/" + name for folder in path]
    if any(place.lstrip(b"/").startswith(_GIVEN) for place in places if b"/" in name):
        return
    there = [real for place in places if (real := files.real(place)) is not None]
    if not there:
        where = "in no directory of PATH" if b"/" not in name else "not in the image"
        yield Broken(
            "command-missing", "the command is not in the image", f"{words[0]} is {where}", "correct CMD or ENTRYPOINT"
        )
        return
    program = next((real for real in there if files.executable(real)), None)
    if program is None:
        text = f"/{_text(there[0])} has no execute bit"
        yield Broken(
            "command-mode", "the command may not be executed", text, "chmod +x it, or COPY --chmod=755", (126,)
        )
        return
    yield from _script(files, program, path, directory)


def _script(files: Files, program: bytes, path: Sequence[bytes], directory: bytes) -> Iterator[Broken]:
    """Follow the interpreters of scripts."""
    for _ in range(_SCRIPTS):
        head = files.part(program, 0, _HEAD)
        if not head.startswith(b"#!"):
            if not head.startswith((b"\x7fELF", *_REGISTERED)):
                text = f"/{_text(program)} is neither an ELF file nor a script with #!"
                yield Broken(
                    "command-format", "the command is no program", text, "begin a script with #!/bin/sh", (126, 255)
                )
            return
        line = head[2:].split(b"\n")[0]
        if line.endswith(b"\r"):
            text = f"the first line of /{_text(program)} ends in CR LF, so that the interpreter's name has a CR"
            yield Broken("script-crlf", "a script with line ends of Windows", text, "save it with line ends of Unix")
            return
        words = line.split()
        if not words:
            yield _without(program, "")
            return
        place = words[0].lstrip(b"/") if words[0].startswith(b"/") else directory + b"/" + words[0]
        further = files.real(place)
        if further is None:
            yield _without(program, _text(words[0]))
            return
        if words[0].rpartition(b"/")[2] == b"env" and len(words) > 1:
            names = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
            if names and b"/" not in names[0]:
                further = next((real for folder in path if (real := files.real(folder + b"/" + names[0]))), None)
                if further is None:
                    yield _without(program, _text(names[0]))
                    return
        program = further


def _without(program: bytes, name: str) -> Broken:
    text = f"/{_text(program)} wants {name}" if name else f"/{_text(program)} names no interpreter behind #!"
    return Broken(
        "script-interpreter",
        "a script whose interpreter is not in the image",
        text,
        "install it, or correct the first line",
    )


def _user(files: Files, user: str) -> Iterator[Broken]:
    name, _, group = user.partition(":")
    for who, file, what in ((name, b"etc/passwd", "user"), (group, b"etc/group", "group")):
        if not who or who.isdecimal():
            continue
        lines = files.part(file, 0, _ACCOUNTS).split(b"\n")
        if not any(line.startswith(who.encode("utf-8", "surrogateescape") + b":") for line in lines):
            text = f"{what} {who} is not in /{_text(file)}"
            yield Broken(
                f"{what}-unknown",
                f"the {what} of the image is unknown",
                text,
                f"create the {what}, or use a number",
                (125,),
            )


def _directory(files: Files, directory: str) -> Iterator[Broken]:
    parts = directory.strip("/").encode("utf-8", "surrogateescape").split(b"/")
    for count in range(1, len(parts) + 1):
        place = b"/".join(parts[:count])
        if place and files.real(place) is not None:
            text = f"/{_text(place)} is a file"
            yield Broken(
                "working-directory", "the working directory cannot be made", text, "correct WORKDIR", (125, 126, 127)
            )
            return


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
