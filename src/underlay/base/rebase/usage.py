"""What layers above a base use of it: commands in scripts, packages that others need, directories with a version."""

from __future__ import annotations

import re

from ...packages import relations
from ..fit import needs
from . import Hazard, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...oci.config import Execution
    from ...store.rootfs.imagefiles import ImageFiles
    from .upper import Upper

_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")
_SCRIPT = 1 << 18  # bytes of a script that are read
_SCRIPTS = 2000
# Where the shell expects a command: at the beginning of a line, behind what separates commands, and behind its words.
_COMMAND = re.compile(
    r"(?:^|[\n;&|({`]|\b(?:then|do|else|exec|if|elif|while|until|time|command -v|xargs)[ \t])[ \t]*!?[ \t]*"
    r"(?=([A-Za-z_./][\w./+-]*))"
)
_DIGITS = re.compile(rb"\d+")
_UNVERSIONED = (b"usr/share/doc/", b"usr/share/man/", b"var/", b"tmp/", b"lib/modules/", b"usr/lib/modules/")
_PYTHON = re.compile(rb"python\d\.\d+$")


def commands(
    above: Upper, execution: Execution | None, before: ImageFiles, after: ImageFiles, base: ImageFiles
) -> list[Hazard]:
    """Find commands of the old base that shell scripts above call, or the image's own command line, and that are gone.

    What a program calls, or a script that computes a command's name, cannot be seen.
    """
    environment = dict(pair.partition("=")[::2] for pair in (execution.env if execution else None) or ())
    path = environment.get("PATH") or needs.PATH
    old_reader, new_reader = needs.Reader(before, path), needs.Reader(after, path)
    gone: dict[str, list[str]] = {}
    judged: dict[str, bool] = {}
    for user, text in _shell_texts(above, execution, before):
        for word in dict.fromkeys(_COMMAND.findall(text)):
            if word not in judged:
                program = old_reader.find(word)
                judged[word] = program is not None and base.node(program) is not None and new_reader.find(word) is None
            if judged[word]:
                gone.setdefault(word, []).append(user)
    return [
        Hazard(
            "command",
            f"{some(users)} {'calls' if len(users) == 1 else 'call'} {word}, which the new base does not have",
            f"install {word} in the image's own layers, or choose a base that has it",
        )
        for word, users in gone.items()
    ]


def _shell_texts(above: Upper, execution: Execution | None, files: ImageFiles) -> Iterator[tuple[str, str]]:
    """Yield shell scripts of the layers above, and what the configuration gives to a shell, with what they are."""
    if execution is not None:
        health = (execution.healthcheck.test if execution.healthcheck is not None else None) or []
        if health[:1] == ["CMD-SHELL"]:
            yield "the health check", "\n".join(health[1:])
        words = [*(execution.entrypoint or ()), *(execution.cmd or ())][: needs.WORDS]
        for shell, option, text in zip(words, words[1:], words[2:], strict=False):
            if shell.rpartition("/")[2] in _SHELLS and option == "-c":
                yield "the command", text
    left = _SCRIPTS
    for path, mode in above.added.items():
        if not mode & 0o111 or files.part(path, 0, 2) != b"#!":
            continue
        text = files.part(path, 0, _SCRIPT)
        line = text.split(b"\n", 1)[0][2:].split()
        names = [word.rpartition(b"/")[2].decode("utf-8", "replace") for word in line if not word.startswith(b"-")]
        if not names or (names[1] if names[0] == "env" and len(names) > 1 else names[0]) not in _SHELLS:
            continue
        lines = (each for each in text.decode("utf-8", "replace").split("\n") if not each.lstrip().startswith("#"))
        yield "/" + path.decode("utf-8", "replace"), "\n".join(lines)
        left -= 1
        if not left:
            return


def dependencies(before: ImageFiles, old: ImageFiles, new: ImageFiles) -> list[Hazard]:
    """Find packages that were installed above, and depend on packages of the old base that the new one does not have."""
    all_before, below, beneath = relations.read(before), relations.read(old), relations.read(new)
    above = {name: each for name, each in all_before.items() if name not in below}
    own = {name for each in above.values() for name in each.provides}
    had = own.union(*(each.provides for each in below.values()))
    has = own.union(*(each.provides for each in beneath.values()))
    lacking: dict[str, list[str]] = {}
    for name, each in sorted(above.items()):
        for group in each.depends:
            if had.intersection(group) and not has.intersection(group):
                lacking.setdefault(" or ".join(group), []).append(name)
    return [
        Hazard(
            "packages",
            f"{some(users)}, installed above the base, {'needs' if len(users) == 1 else 'need'} the package {wanted}, "
            "which the new base does not have",
            "build the image again on the new base",
        )
        for wanted, users in lacking.items()
    ]


def directories(above: Upper, old: ImageFiles, new: ImageFiles) -> list[Hazard]:
    """Find directories of the old base with a version in their names into which the layers above put files, and that the
    new base has for another version: modules of a language, extensions of a server."""
    hazards: dict[bytes, Hazard] = {}
    judged: set[bytes] = set()
    for path in above.added:
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            directory, name = b"/".join(parts[:count]), parts[count - 1]
            if directory in judged or not _DIGITS.search(name) or _PYTHON.match(name):
                continue
            judged.add(directory)
            if path.startswith(_UNVERSIONED) or not old.directory(directory) or new.directory(directory):
                continue
            pattern = _DIGITS.sub(b"0", name)
            parent = b"/".join(parts[: count - 1])
            other = next((each for each in new.names(parent) if _DIGITS.sub(b"0", each) == pattern), None)
            if other is not None:
                shown, now = ("/" + each.decode("utf-8", "replace") for each in (directory, parent + b"/" + other))
                text = f"the layers above put files into {shown}, and the new base has {now} instead"
                hazards[directory] = Hazard("version", text, "build the image again on the new base")
                break
    return list(hazards.values())
