"""Local advisories: fetched or imported once, queried without a network. One file for each family of ecosystems."""

from __future__ import annotations

import os
import re

from ...errors import Corrupt, InvalidInput, NotFound
from ...files import Lock
from . import osv
from .advisory_file import AdvisoryFile, Builder, Head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_ENDING = ".advisories"
_FAMILY = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,40}")


class Imported:
    """The result of an import: `families` (head of each file that was written), how many records were `read`, how many of
    them were `withdrawn`, of `others` (unsupported ecosystems), or `broken` (invalid); of `lists` (KEV, EPSS) how many
    vulnerabilities each names."""

    __slots__ = ("broken", "families", "lists", "others", "read", "withdrawn")

    def __init__(self) -> None:
        self.families: dict[str, Head] = {}
        self.lists: dict[str, int] = {}
        self.read = 0
        self.withdrawn = 0
        self.others = 0
        self.broken = 0


class Advisories:
    """The store of advisories in a directory, which need not exist yet. Close it; files are opened when asked."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._files: dict[str, AdvisoryFile | None] = {}

    def path(self, family: str) -> str:
        """Return the file of a family; raises InvalidInput for a name that is none."""
        if not _FAMILY.fullmatch(family):
            raise InvalidInput(f"{family!r} is not the name of an ecosystem")
        return f"{self.directory}/{family.lower().replace(' ', '-')}{_ENDING}"

    def file(self, family: str) -> AdvisoryFile | None:
        """Return the open file of a family, None when there is none; raises Corrupt."""
        if family not in self._files:
            try:
                self._files[family] = AdvisoryFile(self.path(family))
            except FileNotFoundError:
                self._files[family] = None
        return self._files[family]

    def heads(self) -> dict[str, Head]:
        """Return what is here, by family; raises Corrupt."""
        heads = {}
        for family in osv.FAMILIES:
            file = self.file(family)
            if file is not None:
                heads[family] = file.head
        return heads

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()

    def __enter__(self) -> Advisories:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Changing

    def add(
        self, records: Iterable[bytes], only: str = "", replace: bool = False, facts: dict[str, Any] | None = None
    ) -> Imported:
        """Take records (OSV, JSON) into the files of their families; what is broken is counted and left out.

        With `only` those of one family. With `replace` its file holds nothing else afterwards: else records take the
        place of those with their id, and withdrawn ones take those away. `facts` go into the heads of the files.
        Raises Corrupt when nothing would be left by `replace`.
        """
        counts = Imported()
        builders: dict[str, Builder] = {}
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with Lock(f"{self.directory}/lock"):
            if only:
                builders[only] = self._builder(only, replace)
            for data in records:
                counts.read += 1
                try:
                    advisory = osv.read(data)
                except Corrupt:
                    counts.broken += 1
                    continue
                families = advisory.families & {only} if only else advisory.families
                counts.withdrawn += advisory.withdrawn
                counts.others += not families
                for family in families:
                    if family not in builders:
                        builders[family] = self._builder(family, replace)
                    builders[family].add(advisory)
            if replace and only and not len(builders[only]):
                raise Corrupt(f"the export holds no advisories for {only}; the old ones are kept")
            for family, builder in builders.items():
                counts.families[family] = builder.write(self.path(family), **(facts or {}))
        self.close()
        return counts

    def _builder(self, family: str, replace: bool) -> Builder:
        builder = Builder(family)
        if not replace:
            try:
                with AdvisoryFile(self.path(family)) as file:
                    builder.load(file)
            except (FileNotFoundError, Corrupt):
                pass  # what cannot be read is made anew from what comes
        return builder


def import_path(advisories: Advisories, path: str) -> Imported:
    """Take the advisories in a directory (of .json, .jsonl and .zip), a .zip, a .jsonl or a .json file.

    Raises NotFound, InvalidInput (nothing there that is a record), Corrupt, LimitExceeded.
    """
    from time import time_ns

    from ...human import rfc3339
    from . import osv_sources

    if not os.path.exists(path):
        raise NotFound(f"{path} does not exist")
    # What a feed knew of its own state stays: it may go on from there.
    facts = {"fetched": rfc3339(time_ns())[:19] + "Z"}
    counts = advisories.add(osv_sources.records(path), facts=facts)
    if counts.read == counts.broken:
        raise InvalidInput(f"{path} holds no advisories in OSV form", "a directory, .zip, .jsonl or .json is expected")
    return counts
