"""Which vulnerabilities of an image do not count: those that an ignore file accepts or VEX documents clear."""

from __future__ import annotations

import msgspec

from . import ignores, vex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .exposure import Exposed
    from .ignores import Ignored
    from .vex import Statement


class Judges:
    """An ignore file and VEX documents, read. What expired says so, and counts no more."""

    def __init__(self, entries: list[Ignored], statements: list[Statement]) -> None:
        self._entries = entries
        self._statements = statements

    @classmethod
    def read(cls, ignore_file: str, vex_files: Sequence[str]) -> Judges:
        """Read the files. Raises NotFound, InvalidInput."""
        statements = [statement for path in vex_files for statement in vex.read(path)]
        statements.sort(key=lambda statement: statement.time)
        return cls(ignores.read(ignore_file) if ignore_file else [], statements)

    def judge(self, findings: Iterable[Exposed], image: vex.Image) -> tuple[list[Exposed], list[Exposed], list[str]]:
        """Return the findings that count, those that do not (with the reason), and notes on entries without effect."""
        today = ignores.today()
        counting, ignored = [], []
        used: set[int] = set()
        for finding in findings:
            because = ""
            for number, entry in enumerate(self._entries):
                if _means(entry, finding):
                    used.add(number)
                    if entry.until >= today:
                        because = f"ignored until {entry.until}: {entry.reason}"
            because = self._cleared(finding, image) or because
            if because:
                ignored.append(msgspec.structs.replace(finding, because=because))
            else:
                counting.append(finding)
        notes = []
        for number, entry in enumerate(self._entries):
            what = f"{entry.id} in {entry.package}" if entry.package else entry.id
            if entry.until < today:
                notes.append(f"the ignore entry for {what} ended on {entry.until} ({entry.reason})")
            elif number not in used:
                notes.append(f"the ignore entry for {what} matches nothing")
        return counting, ignored, notes

    def _cleared(self, finding: Exposed, image: vex.Image) -> str:
        """Return the reason of the last statement about a finding, "" when that does not clear it."""
        because = ""
        for statement in self._statements:
            if statement.names.isdisjoint((finding.id, *finding.names)):
                continue
            if vex.applies(statement, image, finding.purls):
                because = statement.because if statement.clears else ""
        return because


def _means(entry: Ignored, finding: Exposed) -> bool:
    named = entry.id == finding.id or entry.id in finding.names
    return named and entry.package in ("", finding.package, *finding.packages)
