"""The initrd of a machine: a cpio archive (newc; kernel, driver-api/early-userspace/buffer-format) with the agent in it.

What the agent needs of the host is found by asking: an interpreter loads the agent and says which files it has mapped and
which modules it has read. So the archive holds this interpreter, its libraries, and nothing else. For another processor the
modules are the same, and interpreter, libraries and what Python has of its own come from a userland: a directory with an
interpreter for that processor, which `engine.machines.userlands` has made of a distribution's packages.
"""

from __future__ import annotations

import os
import stat
import sys

from ...errors import UnderlayError
from ...files import write_atomic
from ...lean import hashing
from ...lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .records import Userland

_ASK = """
import sys
sys.path[:0] = {path!r}
import underlay.runtime.machine.agent, underlay.runtime.machine.networks.interfaces, underlay.linux.libc as libc
import underlay.runtime.apply.copyup, underlay.runtime.apply.secretfiles, underlay.linux.tty, underlay.linux.userns
import underlay.linux.security.landlock, underlay.linux.security.seccomp, underlay.linux.scheduling, fcntl, termios
import underlay.linux.cgroup.v2, underlay.linux.cgroup.devices, underlay.linux.cgroup.oom, underlay.linux.cgroup.stats
import underlay.runtime.apply.idmapped, underlay.runtime.apply.seccomp_notify, encodings.ascii, encodings.latin_1
import underlay.runtime.process.reaper, resource
import underlay.runtime.machine.files as files
libc.load()
files.load()
from underlay.lean.jsontext import dumps
mapped = [line.split(None, 5)[-1].rstrip("\\n") for line in open("/proc/self/maps") if " /" in line]
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
sources = sorted(file for file in set(files) if file.endswith(".py"))
tag = sys.implementation.cache_tag
names = sorted(sys.modules)
print(dumps({{"mapped": sorted(set(mapped)), "sources": sources, "tag": tag, "paths": sys.path, "names": names}}))
"""
_INIT = """#!{python} -ISB
import sys
sys.path[:] = {path!r}
from underlay.runtime.machine import kernelmodules
loading = kernelmodules.begin()
from underlay.runtime.machine.agent import main
main(loading)
"""
_KEPT = 4  # initrds of a kernel: of several interpreters or versions of underlay
_DIRECTORIES = ("proc", "sys", "dev", "run", "tmp")


class Archive:
    """A cpio archive in the making: each file once, with the directories above it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._there: set[str] = set()

    def directory(self, path: str) -> None:
        """Add a directory, and those above it."""
        path = path.strip("/")
        if not path or path in self._there:
            return
        self.directory(os.path.dirname(path))
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, data: bytes, mode: int = 0o755) -> None:
        """Add a regular file."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFLNK | 0o777, os.fsencode(target))

    def device(self, path: str, major: int, minor: int) -> None:
        """Add a character device."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFCHR | 0o600, b"", major, minor)

    def _add(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        if path in self._there:
            return
        self._there.add(path)
        self._record(path, mode, data, major, minor)

    def _record(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        name = os.fsencode(path) + b"\0"
        numbers = (len(self._parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def finish(self) -> bytes:
        """Return the archive."""
        self._record("TRAILER!!!", 0, b"")
        return b"".join(self._parts)


def needed(python: str, import_path: Sequence[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return what the agent needs: files by path, modules (source, compiled), and the path that modules are looked for in.

    Raises UnderlayError.
    """
    answer = _ask(python, import_path)
    python = os.path.realpath(python)
    files = [path for path in answer["mapped"] if path == python or ".so" in os.path.basename(path)]
    return files, [(source, _compiled_name(source, answer["tag"])) for source in answer["sources"]], answer["paths"]


def _ask(python: str, import_path: Sequence[str]) -> dict[str, Any]:
    """Run an interpreter that loads the agent; returns which files and modules it has read. Raises UnderlayError."""
    import subprocess

    code = _ASK.format(path=list(import_path))
    asked = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise UnderlayError(f"the agent of machines cannot be loaded: {asked.stderr.strip().splitlines()[-1:]}")
    answer: dict[str, Any] = known(asked.stdout)
    return answer


def _compiled_name(source: str, tag: str) -> str:
    """Return where the interpreter looks for what is compiled from a module's source (PEP 3147)."""
    directory, name = os.path.split(source)
    return f"{directory}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def build(
    python: str, needs: tuple[list[str], list[tuple[str, str]], list[str]], modules: Sequence[tuple[str, str]]
) -> bytes:
    """Return an initrd; `needs` is what `needed` has said, `modules` are the kernel's by name and path, in order.

    Raises OSError, SyntaxError for a module that cannot be compiled.
    """
    files, sources, path = needs
    made = _begin()
    for file in files:
        made.file(file, _read(file))
    for link in _links(files):
        made.link(link, os.readlink(link))
    for source, compiled in sources:
        _add_compiled(made, source, compiled, _compiled(source))
    return _finish(made, os.path.realpath(python), path, modules)


def _begin() -> Archive:
    made = Archive()
    for name in _DIRECTORIES:
        made.directory(name)
    made.device("dev/console", 5, 1)
    made.device("dev/null", 1, 3)
    return made


def _add_compiled(made: Archive, source: str, compiled: str, code: bytes) -> None:
    """Add a module of Python at the path `source`, of which `compiled` is what has been compiled."""
    # The source only has to be there: what is compiled from it says that it need not be compared (PEP 552).
    made.file(source, b"", 0o644)
    made.file(compiled, code, 0o644)


def _finish(made: Archive, python: str, path: Sequence[str], modules: Sequence[tuple[str, str]]) -> bytes:
    """Add the kernel's modules and the program that the kernel starts, and return the archive."""
    names = [name for name, _ in modules]
    made.file("modules/order", "\n".join(names).encode(), 0o644)
    for name, module in modules:
        made.file(f"modules/{name}.ko", _read(module), 0o644)
    made.file("init", _INIT.format(python=python, path=path).encode())
    return made.finish()


def build_foreign(answer: dict[str, Any], userland: str, modules: Sequence[tuple[str, str]]) -> bytes:
    """Return an initrd for another processor; `answer` is what the host's interpreter has said of the agent (`_ask`),
    `userland` the directory of the other interpreter, `modules` are the kernel's.

    What is compiled by the host's interpreter is the same for one of the same minor version. Another compiles the sources
    itself, and has all of its modules at hand: those that it needs may be others. Raises OSError, SyntaxError, and
    UnderlayError for a userland that lacks what the agent needs.
    """
    record = userland_record(userland)
    same = record["tag"] == answer["tag"]
    standard = f"/usr/lib/python{record['python']}"
    extensions = f"{standard}/lib-dynload"
    tag = record["tag"] if same else ""
    made = _begin()
    ours = [
        top for top in answer["paths"] if any(source.startswith(f"{top}/underlay/") for source in answer["sources"])
    ]
    for source in answer["sources"]:
        if any(source.startswith(f"{top}/underlay/") for top in ours):
            _add_module(made, source, source, tag)
    for file in _module_files(answer["names"], record["modules"]) if same else record["modules"]:
        _add_module(made, f"{userland}/modules/{file}", f"{standard}/{file}", tag)
    libraries = _linked(record, record["libraries"])
    for name in answer["names"] if same else record["extensions"]:
        if name not in record["extensions"]:
            continue
        of_it = _linked(record, record["extensions"][name])
        if of_it is not None:
            made.file(f"{extensions}/{name}.so", _read(f"{userland}/extensions/{name}.so"))
            libraries = {**(libraries or {}), **of_it}
        elif same:
            libraries = None
    if libraries is None:
        raise UnderlayError(
            f"the userland of machines for {record['architecture']} lacks libraries",
            f"`underlay machine kernel fetch --platform linux/{record['architecture']}` gets one",
        )
    loader = os.path.basename(record["interpreter"])
    for name in [loader, *libraries]:
        made.file(record["interpreter"] if name == loader else f"/lib/{name}", _read(f"{userland}/libraries/{name}"))
    python = f"/usr/bin/python{record['python']}"
    made.file(python, _read(f"{userland}/python"))
    return _finish(made, python, [*ours, standard, extensions], modules)


def _add_module(made: Archive, source: str, place: str, tag: str) -> None:
    """Add a module of Python at the path `place`: compiled, if `tag` names who has compiled it, else its source."""
    if tag:
        _add_compiled(made, place, _compiled_name(place, tag), _compiled(source))
    else:
        made.file(place, _read(source), 0o644)


def _module_files(names: Iterable[str], there: Sequence[str]) -> list[str]:
    """Return the files of modules that a userland has; the others are built into its interpreter, or extensions."""
    files = frozenset(there)
    paths = [name.replace(".", "/") for name in names]
    return [file for path in paths for file in (f"{path}.py", f"{path}/__init__.py") if file in files]


def _linked(record: Userland, names: Iterable[str]) -> dict[str, None] | None:
    """Return the libraries of these names and those that they need, None if the userland lacks one."""
    found: dict[str, None] = {}
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in record["needs"]:
            return None
        if name not in found:
            found[name] = None
            waiting += record["needs"][name]
    return found


def userland_record(userland: str) -> Userland:
    """Return what a userland says of itself. Raises OSError, ValueError."""
    record: Userland = known(_read(f"{userland}/userland.json"))
    return record


def _compiled(source: str) -> bytes:
    """Return what the file of a compiled module holds (PEP 552, unchecked)."""
    import importlib.util
    import marshal

    with open(source, "rb") as file:
        code = compile(file.read(), source, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _links(files: Sequence[str]) -> list[str]:
    """Return the links by which the files are named elsewhere: those beside them, and those of directories at the root."""
    found = []
    for directory in sorted({os.path.dirname(path) for path in files}):
        for name in sorted(os.listdir(directory)):
            path = f"{directory}/{name}"
            if ".so" in name and os.path.islink(path) and os.path.realpath(path) in files:
                found.append(path)
    for path in ("/lib", "/lib64", "/usr/lib64", "/bin"):
        if os.path.islink(path):
            found.append(path)
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        real = os.path.dirname(os.path.realpath(os.path.dirname(path)) + "/x") + "/" + os.path.basename(path)
        if os.path.islink(real) and real not in found:
            found.append(real)
    return found


def cached(
    directory: str, python: str, import_path: Sequence[str], modules: Sequence[tuple[str, str]], userland: str = ""
) -> str:
    """Return the path of the initrd for a kernel's modules, made in `directory` unless it is there; with `userland` it is
    one for another processor.

    It is kept by what it is made of: interpreter, underlay's code and modules, by size and time. Raises OSError,
    UnderlayError.
    """
    facts = [_facts(python, import_path), [(name, *_stamp(path)) for name, path in modules]]
    if userland:
        facts.append([userland, *_stamp(f"{userland}/userland.json")])
    key = hashing.sha256(dumps(facts).encode())
    path = f"{directory}/initrd-{key.hexdigest()[:32]}"
    try:
        os.utime(path)
    except FileNotFoundError:
        if userland:
            write_atomic(path, build_foreign(_ask(python, import_path), userland, modules))
        else:
            write_atomic(path, build(python, needed(python, import_path), modules))
        os.chmod(path, 0o644)
        _remove_old(directory)
    return path


def _remove_old(directory: str) -> None:
    """Remove all but the initrds that were used last: others may be about to start with them."""
    made = [f"{directory}/{name}" for name in os.listdir(directory) if name.startswith("initrd-")]
    for old in sorted(made, key=os.path.getmtime)[:-_KEPT]:
        os.unlink(old)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _facts(python: str, import_path: Sequence[str]) -> list[object]:
    """Return what changes when the interpreter or underlay's code changes."""
    stamps: list[object] = [python, sys.version, *_stamp(python), list(import_path)]
    for top in import_path:
        for directory, names, files in os.walk(top + "/underlay"):
            names[:] = sorted(name for name in names if name in _PARTS or directory != top + "/underlay")
            stamps += [(name, *_stamp(f"{directory}/{name}")) for name in sorted(files) if name.endswith(".py")]
    return stamps


_PARTS = ("runtime", "linux", "lean")  # the agent's code
