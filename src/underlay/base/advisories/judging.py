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


IGNORED = "ignored"


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
        counting: list[Exposed] = []
        ignored: list[Exposed] = []
        used: set[int] = set()
        for finding in findings:
            judged = finding
            for number, entry in enumerate(self._entries):
                if _means(entry, finding):
                    used.add(number)
                    if entry.until >= today:
                        because = f"ignored until {entry.until}: {entry.reason}"
                        judged = msgspec.structs.replace(finding, status=IGNORED, because=because)
            statement = self._last(finding, image)
            if statement is not None and statement.clears:
                judged = msgspec.structs.replace(
                    finding,
                    status=statement.status,
                    justification=statement.justification,
                    because=statement.because,
                )
            (ignored if judged.status else counting).append(judged)
        notes = []
        for number, entry in enumerate(self._entries):
            what = f"{entry.id} in {entry.package}" if entry.package else entry.id
            if entry.until < today:
                notes.append(f"the ignore entry for {what} ended on {entry.until} ({entry.reason})")
            elif number not in used:
                notes.append(f"the ignore entry for {what} matches nothing")
        return counting, ignored, notes

    def _last(self, finding: Exposed, image: vex.Image) -> Statement | None:
        """Return the newest statement about a finding, None without one."""
        about = (
            statement
            for statement in reversed(self._statements)
            if not statement.names.isdisjoint((finding.id, *finding.names))
        )
        return next((statement for statement in about if vex.applies(statement, image, finding.purls)), None)


def _means(entry: Ignored, finding: Exposed) -> bool:
    named = entry.id == finding.id or entry.id in finding.names
    return named and entry.package in ("", finding.package, *finding.packages)
