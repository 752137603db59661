"""Whether the files above a base would stand on another one: what they take from it, replace in it and remove from it."""

from __future__ import annotations

import re

from ..store import layers
from ..store.imagefiles import ImageFiles
from ..store.kinds import REGULAR
from . import elf, needs
from .rebase import Hazard, some

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..oci.config import Config
    from ..oci.platform import Platform
    from ..paths import Paths
    from .elf import Elf

_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"
# What is removed here is nothing that anything stands on.
_PASSING = (b"var/cache/", b"var/lib/apt/", b"var/log/", b"tmp/", b"var/tmp/", b"run/", b"root/.", b"usr/share/doc/")
_PROGRAMS = re.compile(rb"(?:^|/)(?:bin|sbin|lib|lib64|libexec)/")
_PYTHON = re.compile(rb"((?:usr/)?(?:local/)?lib)/python(\d\.\d+)/(?:site|dist)-packages/")
_DATABASES = (b"var/lib/dpkg/status", b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_RPM = re.compile(rb"(?:var/lib|usr/lib/sysimage)/rpm/")
_FILES = 200_000  # of the layers above, that are looked at


class Upper:
    """The layers of an image above its base: names of what they add, and of what they remove."""

    __slots__ = ("added", "removed")

    def __init__(self, paths: Paths, diff_ids: Sequence[str]) -> None:
        self.added: dict[bytes, int] = {}  # regular files, with their modes
        self.removed: list[bytes] = []  # paths; a directory that was emptied ends in a slash
        for diff_id in diff_ids:
            for entry in layers.read_toc(paths, diff_id):
                name = entry.name.strip(b"/").removeprefix(b"./")
                place, _, last = name.rpartition(b"/")
                if last == _OPAQUE:
                    self.removed.append(place + b"/")
                elif last.startswith(_WHITEOUT):
                    hidden = last[len(_WHITEOUT) :]
                    self.removed.append(place + b"/" + hidden if place else hidden)
                elif entry.kind == REGULAR and len(self.added) < _FILES:
                    self.added[name] = entry.mode


def look(
    paths: Paths, config: Config, platform: Platform, old: Sequence[str], new: Sequence[str], upper: Sequence[str]
) -> tuple[list[Hazard], list[str]]:
    """Return what speaks against layers `upper` standing on `new` instead of `old` (diff ids), and what merely changes."""
    above = Upper(paths, upper)
    old_base, new_base = ImageFiles(paths, old), ImageFiles(paths, new)
    before, after = ImageFiles(paths, [*old, *upper]), ImageFiles(paths, [*new, *upper])
    hazards = [
        *_removed(above, old_base),
        *_replaced(above, old_base, new_base),
        *_libraries(above, before, after, old_base, platform),
        *_interpreters(above, before, after),
    ]
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
    return list({(each.id, each.text): each for each in hazards}.values())


def _removed(above: Upper, base: ImageFiles) -> list[Hazard]:
    found = []
    for path in above.removed:
        node = base.node(path)
        if node is None or path.startswith(_PASSING) or (path.endswith(b"/") and not node.children):
            continue
        found.append("/" + path.decode("utf-8", "replace"))
    if not found:
        return []
    text = f"the layers above remove {len(found)} files or directories of the base: {some(found)}"
    return [Hazard("whiteout", text, "check that the same is to be removed from the new base")]


def _replaced(above: Upper, old: ImageFiles, new: ImageFiles) -> list[Hazard]:
    """Find programs and libraries of the base that the layers above have again, and that differ in the new base."""
    found = []
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
            found.append("/" + path.decode("utf-8", "replace"))
    if not found:
        return []
    text = f"the layers above have {len(found)} programs or libraries of the old base in other versions: {some(found)}"
    return [Hazard("replaced", text, "they would stand beside what belongs to the new base: build the image again")]


def _libraries(
    above: Upper, before: ImageFiles, after: ImageFiles, base: ImageFiles, platform: Platform
) -> list[Hazard]:
    """Find what executables above take from the old base, and the new one does not have."""
    there, here = needs.Reader(before), needs.Reader(after)
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
            wanted = tuple(read.versions.get(library, ()))
            key = (library, wanted)
            if key not in checked:
                checked[key] = _lacking(library, wanted, there, here, base, read)
            for text in checked[key]:
                missing.setdefault(text, []).append(name)
    found = [
        Hazard("interpreter", f"{some(users)} need {loader}, which the new base does not have", "choose another base")
        for loader, users in interpreters.items()
    ]
    for text, users in missing.items():
        remedy = "choose a base that has it, or build the image again"
        found.append(Hazard("library", f"{some(users)} need {text}, which the new base does not have", remedy))
    return found


def _lacking(
    library: str, wanted: Sequence[str], there: needs.Reader, here: needs.Reader, base: ImageFiles, user: Elf
) -> list[str]:
    old = there.library(library, user.architecture)
    if old is None or base.node(old[0]) is None:
        return []  # not of the base
    new = here.library(library, user.architecture)
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
    there, here = needs.Reader(before), needs.Reader(after)
    versions: dict[bytes, bytes] = {}
    for path, mode in above.added.items():
        package = _PYTHON.match(path)
        if package:
            versions.setdefault(package[2], package[0])
        if not mode & 0o111 or before.part(path, 0, 2) != b"#!":
            continue
        interpreter = there.interpreter(path)
        if interpreter is not None and here.interpreter(path) is None:
            gone.setdefault("/" + interpreter.decode("utf-8", "replace"), []).append(
                "/" + path.decode("utf-8", "replace")
            )
    found = [
        Hazard("interpreter", f"{some(users)} need {program}, which the new base does not have", "choose another base")
        for program, users in gone.items()
    ]
    for version, place in versions.items():
        name = "python" + version.decode()
        if there.find(name) is not None and here.find(name) is None:
            text = f"/{place.decode('utf-8', 'replace')} is for {name}, which the new base does not have"
            found.append(Hazard("interpreter", text, f"choose a base with {name}, or build the image again"))
    return found
