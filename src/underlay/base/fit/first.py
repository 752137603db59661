"""What kills an image's first program at once, whatever the host.

A command that is not there or cannot be executed, a script without its interpreter, a user or directory that cannot be had.
"""

from __future__ import annotations

import msgspec

from . import elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...oci.config import Execution
    from .files import Files

    Identity = tuple[int, tuple[int, ...]]  # uid, gids

_HEAD = 256  # bytes that the kernel reads of a script's first line (fs/binfmt_script.c)
_IN_A_ROW = 6  # files that the kernel goes through: scripts, and the program at the end (fs/exec.c)
# What comes from the engine or the kernel, and not from the image.
_GIVEN = (b"proc/", b"sys/", b"dev/")
# Formats that a host may have registered with binfmt_misc.
_REGISTERED = (b"PK\x03\x04", b"\x00asm", b"MZ", b"\xca\xfe\xba\xbe")
_ACCOUNTS = 1 << 20  # bytes
_READ, _EXECUTE = 4, 1  # bits of a mode
_OPEN = "open it to the user of the image: chmod a+rx, or COPY --chmod=755"


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
    user = (execution.user if execution is not None else None) or ""
    found = [*_command(files, words, path, directory, _identity(files, user)), *_user(files, user)]
    if execution is not None:
        found += _directory(files, execution.working_dir or "")
    return tuple(found)


def _command(
    files: Files, words: Sequence[str], path: Sequence[bytes], directory: bytes, identity: Identity
) -> Iterator[Broken]:
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
    if not there and any(files.directory(place) for place in places):
        text = f"{words[0]} is a directory"
        yield Broken("command-mode", "the command is a directory", text, "correct CMD or ENTRYPOINT", (126, 127))
        return
    if not there:
        where = "in no directory of PATH" if b"/" not in name else "not in the image"
        text = f"{words[0]} is {where}"
        remedy = "correct CMD or ENTRYPOINT"
        yield Broken("command-missing", "the command is not in the image", text, remedy, (126, 127))
        return
    program = next((real for real in there if files.executable(real)), None)
    if program is None:
        text = f"/{_text(there[0])} has no execute bit"
        yield Broken(
            "command-mode", "the command may not be executed", text, "chmod +x it, or COPY --chmod=755", (126,)
        )
        return
    yield from _script(files, program, path, directory, identity)


def _script(
    files: Files, program: bytes, path: Sequence[bytes], directory: bytes, identity: Identity
) -> Iterator[Broken]:
    """Follow the interpreters of scripts, to the program at the end and its loader."""
    first_script = program
    for _ in range(_IN_A_ROW):
        if not files.executable(program) or not _may(files, program, identity, _EXECUTE):
            text = f"/{_text(program)} may not be executed by user {identity[0]}"
            yield Broken("command-mode", "a program may not be executed", text, _OPEN, (126,))
            return
        head = files.part(program, 0, _HEAD)
        if not head.startswith(b"#!"):
            yield from _binary(files, program, head, identity)
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
        if not _may(files, program, identity, _READ):
            text = f"/{_text(program)}, a script, may not be read by user {identity[0]}"
            yield Broken("command-mode", "a script may not be read", text, _OPEN, (1, 2, 126))
            return
        program = further
    text = f"/{_text(first_script)} has an interpreter that is a script, and so on, more than {_IN_A_ROW} files"
    yield Broken("script-interpreter", "too many scripts run scripts", text, "name a program behind #!", (126,))


def _binary(files: Files, program: bytes, head: bytes, identity: Identity) -> Iterator[Broken]:
    if head.startswith(_REGISTERED):
        return
    read = elf.read(lambda offset, size: files.part(program, offset, size))
    if read is None or not read.executable:
        text = f"/{_text(program)} is neither an executable that Linux can load nor a script with #!"
        yield Broken("command-format", "the command is no program", text, "begin a script with #!/bin/sh", (126, 255))
    elif read.interpreter:
        loader = files.real(read.interpreter.lstrip("/").encode("utf-8", "surrogateescape"))
        if loader is not None and not (files.executable(loader) and _may(files, loader, identity, _EXECUTE)):
            text = f"/{_text(loader)}, the loader of /{_text(program)}, may not be executed by user {identity[0]}"
            yield Broken("command-mode", "a loader may not be executed", text, _OPEN, (126,))


def _without(program: bytes, name: str) -> Broken:
    text = f"/{_text(program)} wants {name}" if name else f"/{_text(program)} names no interpreter behind #!"
    return Broken(
        "script-interpreter",
        "a script whose interpreter is not in the image",
        text,
        "install it, or correct the first line",
        (126, 127),
    )


def _may(files: Files, path: bytes, identity: Identity, wanted: int) -> bool:
    uid, gids = identity
    return uid == 0 or files.permits(path, uid, gids, wanted)


def _identity(files: Files, user: str) -> Identity:
    """Return the uid and the groups of the image's user; those of root for an unknown user, which `_user` reports."""
    name, _, group = user.partition(":")
    if not name:
        return 0, (0,)
    own = _account(files, b"etc/passwd", name)
    uid = int(name) if name.isdecimal() else _number(own, 2)
    gids = [_number(own, 3)]
    if group:
        gids = [int(group) if group.isdecimal() else _number(_account(files, b"etc/group", group), 2)]
    elif len(own) > 3:
        for line in files.part(b"etc/group", 0, _ACCOUNTS).split(b"\n"):
            fields = line.split(b":")
            if len(fields) > 3 and own[0] in fields[3].split(b","):
                gids.append(_number(fields, 2))
    return uid, tuple(gids)


def _account(files: Files, file: bytes, name: str) -> list[bytes]:
    """Return the fields of the entry with this name or number; none without one."""
    wire = name.encode("utf-8", "surrogateescape")
    for line in files.part(file, 0, _ACCOUNTS).split(b"\n"):
        fields = line.split(b":")
        if fields[0] == wire or (name.isdecimal() and len(fields) > 2 and fields[2] == wire):
            return fields
    return []


def _number(fields: Sequence[bytes], index: int) -> int:
    return int(fields[index]) if len(fields) > index and fields[index].isdigit() else 0


def _user(files: Files, user: str) -> Iterator[Broken]:
    name, _, group = user.partition(":")
    for who, file, what in ((name, b"etc/passwd", "user"), (group, b"etc/group", "group")):
        if not who or who.isdecimal():
            continue
        if not _account(files, file, who):
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
