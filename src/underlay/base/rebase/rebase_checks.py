"""Whether files above a base work on another one: what they use of it, replace in it and remove from it."""

from __future__ import annotations

import re

from ...human import whole
from ...store.kinds import REGULAR, SYMLINK
from ..fit import elf, needs
from . import Hazard, some, usage
from .upper import Upper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...oci.config import Config, Execution
    from ...oci.platform import Platform
    from ...store.rootfs.imagefiles import ImageFiles
    from ..fit.elf import Elf

# What is removed here is nothing that anything stands on.
_PASSING = (b"var/cache/", b"var/lib/apt/", b"var/log/", b"tmp/", b"var/tmp/", b"run/", b"root/.", b"usr/share/doc/")
_PROGRAMS = re.compile(rb"(?:^|/)(?:bin|sbin|lib|lib64|libexec)/")
_PYTHON = re.compile(rb"(.+/)?lib(?:64)?/python(\d\.\d+)/(?:site|dist)-packages/")
# A compiled module of Python, for one version of it (PEP 3149).
_EXTENSION = re.compile(rb"\.cpython-(\d)(\d+)[a-z]*-[^/]*\.so$")
_DATABASES = (b"var/lib/dpkg/status", b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_RPM = re.compile(rb"(?:var/lib|usr/lib/sysimage)/rpm/")


def look(
    config: Config, platform: Platform, before: ImageFiles, new_base: ImageFiles, count: int
) -> tuple[list[Hazard], list[str]]:
    """Return what speaks against the layers of the image `before` above its lowest `count` ones standing on `new_base`, and
    what merely changes."""
    above = Upper(before.entries(count))
    old_base, after = before.lower(count), before.on(new_base, count)
    hazards = [
        *_removed(above, old_base),
        *_replaced(above, old_base, new_base),
        *_covered(above, old_base, new_base),
        *_libraries(above, before, after, old_base, platform),
        *_interpreters(above, before, after),
        *usage.commands(above, config.config, before, after, old_base),
        *usage.dependencies(before, old_base, new_base),
        *usage.directories(above, old_base, new_base),
    ]
    if config.config is not None:
        hazards += [*_command(config.config, before, after), *_user(config.config.user or "", before, after)]
    known = {program.path for program in needs.of(config, platform, before).programs if program.missing}
    for program in needs.of(config, platform, after).programs:
        if program.missing and program.path not in known:
            text = f"{program.path} would lack {some(program.missing)}"
            hazards.append(Hazard("library", text, "choose a base with a newer C library, or build the image again"))
    changes = []
    if any(name in _DATABASES or _RPM.match(name) for name in above.added):
        changes.append(
            "the layers above have a database of packages of their own: it goes on to tell the old base's versions"
        )
    return _without_doubles(hazards), changes


def _without_doubles(hazards: list[Hazard]) -> list[Hazard]:
    return list({(hazard.id, hazard.text): hazard for hazard in hazards}.values())


def _removed(above: Upper, base: ImageFiles) -> list[Hazard]:
    removed = []
    for path in above.removed:
        node = base.node(path)
        if node is None or path.startswith(_PASSING) or (path.endswith(b"/") and not node.children):
            continue
        removed.append("/" + path.decode("utf-8", "replace"))
    if not removed:
        return []
    text = f"the layers above remove {len(removed)} files or directories of the base: {some(removed)}"
    return [Hazard("whiteout", text, "check that they are to be removed from the new base, too")]


def _replaced(above: Upper, old: ImageFiles, new: ImageFiles) -> list[Hazard]:
    """Find programs and libraries of the base that the layers above have again, and that differ in the new base."""
    replaced = []
    for path in above.added:
        if not _PROGRAMS.search(path):
            continue
        before, after = old.node(path), new.node(path)
        if before is None or before.entry.kind != REGULAR:
            continue
        same = after is not None and after.entry.size == before.entry.size
        if same and old.read(path, 1 << 28) == new.read(path, 1 << 28):
            continue
        if old.part(path, 0, 4) == b"\x7fELF":
            replaced.append("/" + path.decode("utf-8", "replace"))
    if not replaced:
        return []
    count = f"{len(replaced)} programs or libraries"
    text = f"the layers above have {count} of the old base in other versions: {some(replaced)}"
    return [Hazard("replaced", text, "they would be mixed with files of the new base: build the image again")]


def _covered(above: Upper, old: ImageFiles, new: ImageFiles) -> list[Hazard]:
    """Find directories of the layers above that would hide a link of the new base, with all that it leads to: `/lib` was a
    directory before distributions made it a link to `usr/lib`."""

    def link(files: ImageFiles, path: bytes) -> bool:
        parent, _, last = path.rpartition(b"/")
        directory = files.node(parent)
        node = (directory.children or {}).get(last) if directory is not None else None
        return node is not None and node.entry.kind == SYMLINK

    covered = [
        "/" + path.decode("utf-8", "replace") for path in above.directories if link(new, path) and not link(old, path)
    ]
    if not covered:
        return []
    text = "the layers above have directories that are symbolic links in the new base, and would hide their targets"
    text = f"{text}: {some(covered)}"
    return [Hazard("replaced", text, "build the image again on the new base")]


def _command(execution: Execution, before: ImageFiles, after: ImageFiles) -> list[Hazard]:
    """Find what the entrypoint and the command name that would be gone."""
    environment = dict(pair.partition("=")[::2] for pair in execution.env or ())
    search_path = (environment.get("PATH") or needs.PATH, execution.working_dir or "/")
    old_reader, new_reader = needs.Reader(before, *search_path), needs.Reader(after, *search_path)
    words = [*(execution.entrypoint or ()), *(execution.cmd or ())][: needs.WORDS]
    gone = [
        word
        for word in words
        if not word.startswith("-") and old_reader.find(word) is not None and new_reader.find(word) is None
    ]
    if not gone:
        return []
    text = f"the command needs {some(gone)}, which the new base does not have"
    return [Hazard("command", text, "choose a base that has it, or put it into the image")]


def _user(user: str, before: ImageFiles, after: ImageFiles) -> list[Hazard]:
    """Find the user or group of the configuration, when the new base does not know it, or knows it by another number."""
    hazards = []
    name, _, group = user.partition(":")
    for what, path, word in ((name, b"etc/passwd", "user"), (group, b"etc/group", "group")):
        old, new = _number(what, path, before), _number(what, path, after)
        if old and new != old:
            text = f"{word} {what} has the id {old}, and " + (
                f"{new} in the new base" if new else "the new base has none"
            )
            hazards.append(
                Hazard("user", text, "choose a base that has the same id, or create the account in the image")
            )
    return hazards


def _number(name: str, path: bytes, files: ImageFiles) -> str:
    """Return the number of a user or group, "" when there is none; what is a number itself needs no file."""
    if not name or whole(name) >= 0:
        return ""
    for line in files.part(path, 0, 1 << 20).split(b"\n"):
        parts = line.decode("utf-8", "replace").split(":")
        if len(parts) > 2 and parts[0] == name and whole(parts[2]) >= 0:
            return parts[2][:10]
    return ""


def _libraries(
    above: Upper, before: ImageFiles, after: ImageFiles, base: ImageFiles, platform: Platform
) -> list[Hazard]:
    """Find what executables above take from the old base, and the new one does not have."""
    old_reader, new_reader = needs.Reader(before), needs.Reader(after)
    missing: dict[str, list[str]] = {}
    interpreters: dict[str, list[str]] = {}
    checked: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for path in above.added:
        if before.part(path, 0, 4) != b"\x7fELF":
            continue
        read = elf.read(lambda offset, size, path=path: before.part(path, offset, size))  # type: ignore[misc]
        if read is None or read.architecture != platform.architecture:
            continue
        name = "/" + path.decode("utf-8", "replace")
        if read.interpreter and not after.real(read.interpreter.lstrip("/").encode()):
            if before.real(read.interpreter.lstrip("/").encode()):
                interpreters.setdefault(read.interpreter, []).append(name)
            continue
        for library in read.needed:
            if _by_run_path(library, read, path, before, after, base):
                missing.setdefault(library, []).append(name)
                continue
            wanted = tuple(read.versions.get(library, ()))
            key = (library, wanted)
            if key not in checked:
                checked[key] = _lacking(library, wanted, old_reader, new_reader, base, read)
            for text in checked[key]:
                missing.setdefault(text, []).append(name)
    hazards = [
        Hazard("interpreter", f"{some(users)} need {loader}, which the new base does not have", "choose another base")
        for loader, users in interpreters.items()
    ]
    for text, users in missing.items():
        remedy = "choose a base that has it, or build the image again"
        hazards.append(Hazard("library", f"{some(users)} need {text}, which the new base does not have", remedy))
    return hazards


def _by_run_path(library: str, user: Elf, path: bytes, before: ImageFiles, after: ImageFiles, base: ImageFiles) -> bool:
    """Tell whether an executable's own run path leads to a library of the old base, and nowhere with the new one."""
    if "/" in library:
        return False
    origin = "/" + path.rpartition(b"/")[0].decode("utf-8", "surrogateescape")
    for run_path in user.paths[:100]:
        run_path = run_path.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)
        wanted = f"{run_path}/{library}".lstrip("/").encode("utf-8", "surrogateescape")
        library_path = before.real(wanted)
        if library_path is not None:
            return base.node(library_path) is not None and after.real(wanted) is None
    return False


def _lacking(
    library: str, wanted: Sequence[str], old_reader: needs.Reader, new_reader: needs.Reader, base: ImageFiles, user: Elf
) -> list[str]:
    old = old_reader.linker.library(library, user.architecture)
    if old is None or base.node(old[0]) is None:
        return []  # not of the base
    new = new_reader.linker.library(library, user.architecture)
    if new is None:
        return [library]
    if not new[1].defined:
        return []
    return [
        f"{version} of {library}" for version in wanted if version in old[1].defined and version not in new[1].defined
    ]


def _interpreters(above: Upper, before: ImageFiles, after: ImageFiles) -> list[Hazard]:
    """Find scripts whose interpreter, and packages whose Python, would be gone."""
    gone: dict[str, list[str]] = {}
    old_reader, new_reader = needs.Reader(before), needs.Reader(after)
    versions: dict[bytes, bytes] = {}
    for path, mode in above.added.items():
        package = _PYTHON.match(path)
        own = (package[1] or b"") + b"bin/python" + package[2] if package else b""
        if package and own not in above.added:
            versions.setdefault(package[2], package[0])
        extension = None if package else _EXTENSION.search(path)
        if extension:
            versions.setdefault(extension[1] + b"." + extension[2], path)
        if not mode & 0o111 or before.part(path, 0, 2) != b"#!":
            continue
        interpreter = old_reader.interpreter(path)
        if interpreter is not None and new_reader.interpreter(path) is None:
            gone.setdefault("/" + interpreter.decode("utf-8", "replace"), []).append(
                "/" + path.decode("utf-8", "replace")
            )
    hazards = [
        Hazard("interpreter", f"{some(users)} need {program}, which the new base does not have", "choose another base")
        for program, users in gone.items()
    ]
    for version, path_of_version in versions.items():
        name = "python" + version.decode()
        if old_reader.find(name) is not None and new_reader.find(name) is None:
            text = f"/{path_of_version.decode('utf-8', 'replace')} is for {name}, which the new base does not have"
            hazards.append(Hazard("interpreter", text, f"choose a base with {name}, or build the image again"))
    return hazards
