"""All packages of programming languages in an image: one walk over its files by name, one over its executables."""

from __future__ import annotations

from ...errors import LimitExceeded, UnderlayError
from ..model import DatabaseContents
from . import composer, conda, dotnet, elf, gem, go, java, npm, python, rust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Files, Package

_METADATA_LIMIT = 50_000
_EXECUTABLES_LIMIT = 50_000
# What Go and Rust link is larger (bytes); scripts and small programs need no look.
_LINKED = 64 << 10


class _Language:
    """Which files describe packages of a language, and what reads them."""

    __slots__ = ("endings", "is_package", "name", "read")

    def __init__(
        self,
        name: str,
        endings: tuple[bytes, ...],
        read: Callable[[Files, list[bytes], DatabaseContents], None],
        is_package: Callable[[bytes], bool] = lambda path: True,
    ) -> None:
        self.name = name
        self.endings = endings
        self.read = read
        self.is_package = is_package


_LANGUAGES = (
    _Language("Python", python.ENDINGS, python.read),
    _Language("npm", npm.ENDINGS, npm.read, npm.is_package),
    _Language("Java", java.ENDINGS, java.read),
    _Language("Ruby", gem.ENDINGS, gem.read, gem.is_package),
    _Language("PHP", composer.ENDINGS, composer.read),
    _Language(".NET", dotnet.ENDINGS, dotnet.read),
    _Language("conda", conda.ENDINGS, conda.read, conda.is_package),
)


def read(files: Files, problems: list[str]) -> list[Package]:
    """Return the packages of all languages; adds a sentence to `problems` for each that could not be read in full."""
    paths: dict[str, list[bytes]] = {}
    count = 0
    for path in files.find(tuple(ending for language in _LANGUAGES for ending in language.endings)):
        for language in _LANGUAGES:
            if path.endswith(language.endings) and language.is_package(path):
                paths.setdefault(language.name, []).append(path)
                count += 1
                break
        if count >= _METADATA_LIMIT:
            problems.append(f"more than {_METADATA_LIMIT} packages of languages: the rest is left out")
            break
    packages: list[Package] = []
    for language in _LANGUAGES:
        contents = DatabaseContents()
        try:
            language.read(files, paths.get(language.name, []), contents)
        except UnderlayError as error:
            problems.append(f"packages of {language.name} cannot be read: {error.message}")
        if contents.skipped:
            problems.append(f"{contents.skipped} packages of {language.name} have metadata that is too long or invalid")
        packages += contents.packages
    return packages + _linked(files, problems)


def _linked(files: Files, problems: list[str]) -> list[Package]:
    """Return what compilers note in executables."""
    by_go, by_rust = DatabaseContents(), DatabaseContents()
    try:
        for number, path in enumerate(files.executables()):
            if number >= _EXECUTABLES_LIMIT:
                raise LimitExceeded(f"more than {_EXECUTABLES_LIMIT} executables")
            if files.size(path) < _LINKED:
                continue

            def part(offset: int, size: int, path: bytes = path) -> bytes:
                return files.part(path, offset, size)

            found = elf.sections(part)
            name = path.decode("utf-8", "replace")
            if found is not None and go.SECTION in found.by_name:
                go.read(part, found, name, by_go)
            if found is not None and rust.SECTION in found.by_name:
                rust.read(part, found, name, by_rust)
    except UnderlayError as error:
        problems.append(f"executables cannot be read: {error.message}")
    for language, contents in (("Go", by_go), ("Rust", by_rust)):
        if contents.skipped:
            problems.append(f"{contents.skipped} executables of {language} have a list of modules that is invalid")
    return by_go.packages + by_rust.packages
