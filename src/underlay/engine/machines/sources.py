"""Where the files of a kernel are: in Debian packages, or in the directories of an installed or unpacked one."""

from __future__ import annotations

import os
import re

from ...base.fit import kernels as reading
from ...errors import Corrupt, InvalidInput, LimitExceeded
from ...lean.values import Value
from ...store.kinds import REGULAR, TAR
from ...store.layers import tar
from ...store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = Limits(total=2 << 30, members=100_000)
_FILES = 100_000  # of a directory of modules
_RELEASE = reading.RELEASE.encode()
_BOOT = re.compile(rb"(?:\./)?boot/(vmlinuz|config)-" + _RELEASE)
_BELOW = re.compile(rb"(?:\./)?(?:usr/)?lib/modules/" + _RELEASE + rb"/(.+)")
_INSTALLED = ("/lib/modules", "/usr/lib/modules")


class Part(Value):
    """Some bytes of a file: a file of its own, or the member of a tar."""

    path: str
    offset: int
    size: int

    def read(self, most: int, name: str) -> bytes:
        """Return the bytes. Raises LimitExceeded if they are more than `most`, Corrupt, InvalidInput; `name` is theirs."""
        if self.size > most:
            raise LimitExceeded(f"{name} has {self.size} bytes, more than {most}")
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise InvalidInput(f"{name}: {error.strerror}") from None
        if len(data) != self.size:
            raise Corrupt(f"{name}: it is shorter than it was")
        return data


class Files:
    """The files of one kernel: `release`, `image`, `config` (None if there is none), and by their paths those `below` the
    directory of its modules; `source` is the name of what they come from."""

    __slots__ = ("below", "config", "image", "release", "source")

    def __init__(self, release: str, image: Part | None, config: Part | None, source: str) -> None:
        self.release = release
        self.image = image
        self.config = config
        self.below: dict[str, Part] = {}
        self.source = source


def package(path: str, scratch: str) -> Files:
    """Return the files of a Debian package, whose tar is decompressed into the file `scratch`.

    Raises InvalidInput, and Corrupt for a damaged package.
    """
    found: dict[tuple[str, bytes], Part] = {}
    for name, part in members(path, scratch):
        if match := _BOOT.fullmatch(name):
            found[match[2].decode(), match[1]] = part
        elif match := _BELOW.fullmatch(name):
            found.setdefault((match[1].decode(), match[2]), part)
    releases = sorted({release for release, _ in found})
    if len(releases) != 1:
        what = f"kernels of several releases ({', '.join(releases)[:200]})" if releases else "no kernel and no modules"
        raise InvalidInput(f"{path}: a package with {what}", "give the package linux-image-VERSION")
    return _made(releases[0], {name: part for (_, name), part in found.items()}, path)


def members(path: str, scratch: str) -> list[tuple[bytes, Part]]:
    """Return the regular files of a Debian package, whose tar is decompressed into the file `scratch`.

    Raises InvalidInput, and Corrupt for a damaged package.
    """
    reader = tar.Reader(_PACKAGE)
    try:
        with open(path, "rb") as file:
            pieces = reading.package_files(file, path, _PACKAGE)
            try:
                _spool(pieces, reader, scratch)
            except (Corrupt, LimitExceeded) as error:
                raise Corrupt(f"{path}: the package is damaged: {error.message}") from None
    except OSError as error:
        if error.filename != path:
            raise
        raise InvalidInput(f"{path}: {error.strerror}") from None
    return [
        (entry.name, Part(scratch, entry.offset, entry.size))
        for entry in reader.entries
        if (entry.kind, entry.part) == (REGULAR, TAR)
    ]


def _spool(pieces: Iterator[bytes], reader: tar.Reader, scratch: str) -> None:
    with open(scratch, "xb") as out:
        for piece in pieces:
            reader.feed(piece)
            out.write(piece)
    reader.finish()


def _made(release: str, found: dict[bytes, Part], path: str) -> Files:
    files = Files(release, found.pop(b"vmlinuz", None), found.pop(b"config", None), path)
    files.below = {name.decode("utf-8", "replace"): part for name, part in found.items()}
    return files


def image(path: str, modules: str) -> Files:
    """Return the files of a kernel whose image is at `path`, and whose modules are in the directory `modules` or above it,
    by default where they are installed on this host. Raises InvalidInput."""
    known = reading.read(path)
    if known.options is not None:
        raise InvalidInput(f"{path} is the configuration of a kernel, not its image", "give vmlinuz-VERSION")
    release = known.release
    directory = _modules(release, modules)
    below = _walk(directory) if directory else {}
    beside = _part(f"{os.path.dirname(path)}/config-{release}" if "/" in path else f"config-{release}")
    found = {os.fsencode(name): part for name, part in below.items()}
    found[b"vmlinuz"] = _whole(path)
    if beside is not None:
        found[b"config"] = beside
    return _made(release, found, path)


def directory_below(release: str, modules: str) -> dict[str, Part]:
    """Return the files below a directory of modules, which may be one above it. Raises InvalidInput."""
    return _walk(_modules(release, modules))


def _modules(release: str, given: str) -> str:
    """Return the directory that has the modules of a release, "" if none is `given` and none is installed."""
    if not given:
        return next((f"{above}/{release}" for above in _INSTALLED if os.path.isdir(f"{above}/{release}")), "")
    if not os.path.isdir(given):
        raise InvalidInput(f"{given}: no such directory of modules", "such as /lib/modules/VERSION")
    for below in (release, f"lib/modules/{release}", f"usr/lib/modules/{release}"):
        if os.path.isdir(f"{given}/{below}"):
            return f"{given}/{below}"
    if os.path.basename(os.path.abspath(given)) != release and not any(
        os.path.exists(f"{given}/{name}") for name in ("kernel", "modules.builtin")
    ):
        raise InvalidInput(f"{given}: it has no modules of the kernel {release}", f"such as /lib/modules/{release}")
    return given


def _walk(directory: str) -> dict[str, Part]:
    """Return the files below a directory by their paths there; no links are followed: some lead to the kernel's source."""
    found: dict[str, Part] = {}
    for above, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            if (part := _part(f"{above}/{name}")) is not None:
                found[os.path.relpath(f"{above}/{name}", directory)] = part
        if len(found) > _FILES:
            raise LimitExceeded(f"{directory} has more than {_FILES} files")
    return found


def _part(path: str) -> Part | None:
    from stat import S_ISREG

    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return Part(path, 0, facts.st_size) if S_ISREG(facts.st_mode) else None


def _whole(path: str) -> Part:
    try:
        return Part(path, 0, os.stat(path).st_size)  # /vmlinuz is a link
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
