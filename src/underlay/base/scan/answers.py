"""Answers from the file of a scan, without any registry: what images stand on, what is hit, who has a package."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ...errors import Corrupt, InvalidInput, Unsupported
from ..advisories import Advisories, exposure, vulnerabilities
from ..fleet import fleet
from ..fleet.policy import Standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store
    from ..fleet.policy import Vulnerabilities
    from .database import ScanFile


class Holder(NamedTuple):
    """An image that has what was asked for: its `name`, the `base` that it stands on ("" unknown), the `version` that it
    has of a package, and whether that comes with the base (None: not known)."""

    name: str
    base: str
    version: str = ""
    from_base: bool | None = None


def standings(store: Store, scan: ScanFile) -> list[Standing]:
    """Return what the images of a scan stand on, by their names in order, with today's view of their support and of the
    vulnerabilities of their systems' packages, if there are advisories in the store. Raises Corrupt."""
    unread = scan.unread()
    counted = _Counting(store, scan)
    releases = scan.releases()
    found = []
    try:
        for name, problem, text, inventory, below, layers in scan.standings():
            problems = [problem] if problem else []
            if not text:
                problems += [f"layer {each}: {unread[each]}" for each in layers if each in unread]
                found.append(Standing(name, problems=tuple(problems)))
                continue
            standing = _standing(scan, text)
            life, ends = fleet.life(releases.get(inventory, {}), reversed(standing.chain))
            found.append(
                msgspec.structs.replace(
                    standing,
                    image=name,
                    life=life,
                    ends=ends,
                    vulnerabilities=counted.of(inventory, below) if inventory else None,
                    problems=tuple(problems),
                )
            )
    finally:
        counted.close()
    return found


def _standing(scan: ScanFile, text: str) -> Standing:
    try:
        return msgspec.json.decode(text, type=Standing)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{scan.path}: what an image stands on: {error}") from None


class _Counting:
    """Counts the vulnerabilities of inventories, of each once."""

    def __init__(self, store: Store, scan: ScanFile) -> None:
        self._scan = scan
        self._known: dict[tuple[int, int], Vulnerabilities | None] = {}
        self._advisories = Advisories(exposure.directory(store))

    def of(self, inventory: int, below: int) -> Vulnerabilities | None:
        """Count vulnerabilities of an inventory; None without advisories for it. `below` is the inventory of the base."""
        if (inventory, below) not in self._known:
            self._known[inventory, below] = self._count(inventory, below) if self._advisories.heads() else None
        return self._known[inventory, below]

    def _count(self, inventory: int, below: int) -> Vulnerabilities | None:
        report = vulnerabilities.match(self._scan.inventory(inventory), self._advisories)
        if report.gaps and not report.checked:
            return None
        if below:
            vulnerabilities.attribute(report.findings, self._scan.inventory(below).packages)
        findings = ((finding.label, finding.fixed, finding.origin) for finding in report.findings)
        return fleet.counted(findings, not report.gaps)

    def close(self) -> None:
        self._advisories.close()


def who(scan: ScanFile, text: str) -> list[Holder]:
    """Return the images that have a package of a system (NAME or NAME@VERSION, by its own name or that of its source), or,
    with a colon, those that stand on a base (NAME:TAG); by name. Raises InvalidInput, Unsupported (an advisory)."""
    if not text:
        raise InvalidInput("nothing is asked for", "a package, PACKAGE@VERSION, or the base NAME:TAG")
    if text.upper().startswith(("CVE-", "GHSA-", "DSA-", "DLA-", "USN-", "RHSA-")):
        raise Unsupported(
            "who has an advisory is not answered yet, who has a package is",
            "ask for the package that it is about, as PACKAGE or PACKAGE@VERSION",
        )
    name, _, version = text.partition("@")
    if ":" in name:
        return [Holder(image, base) for image, base in scan.on_base(text)]
    found = {(image, own): Holder(image, base, own, inside) for image, base, own, inside in scan.holders(name, version)}
    return [found[key] for key in sorted(found)]
