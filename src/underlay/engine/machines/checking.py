"""`system check` of the kernels of machines: their files against the digests in their records."""

from __future__ import annotations

import os
from hashlib import file_digest

from ...errors import Corrupt
from ...events import Event
from ...store.check import Problem
from ...store.scratch import Scratch
from . import bootimages, kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths
    from ...store.check import CheckReport
    from ...store.store import Store


def check(store: Store, report: CheckReport, repair: bool) -> None:
    """Verify all kernels and add what is wrong to a report; with `repair` those that are damaged are removed.

    Raises OSError.
    """
    paths = store.paths
    for release in kernels.releases(paths):
        store.emit(Event("check.kernel", release))
        directory = f"{kernels.directory_of(paths)}/{release}"
        with kernels.lock(paths):
            if not os.path.isdir(directory):
                continue  # it has just been removed
            report.kernels += 1
            damage = _damage(paths, release)
            boots = bool(damage) or _boots(paths, directory)
            if not boots:
                problem = Problem("kernel", release, "the image that machines boot, made from the kernel, is damaged")
                report.problems.append(problem)
                if repair:
                    bootimages.remove(directory)  # the next machine makes it
                    problem.repaired = True
        if damage:
            text = f"{damage}; fetch or import it again"
            report.problems.append(Problem("kernel", release, text, lost=True))
            if repair:
                kernels.remove(paths, release)


def _damage(paths: Paths, release: str) -> str:
    """Return what is wrong with the files of a kernel, "" if nothing is."""
    try:
        record = kernels.record(paths, release)
    except Corrupt as error:
        return error.message
    if record is None:
        return "its record is missing"
    # Kernels that were imported by earlier versions have a digest of the image alone.
    digests = {**dict.fromkeys((f"modules/{name}.ko" for name in record.modules), ""), **record.files}
    for name, digest in {"vmlinuz": record.digest, **digests}.items():
        try:
            with open(f"{kernels.directory_of(paths)}/{release}/{name}", "rb") as file:
                found = "sha256:" + file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return f"{name} is missing"
        if digest and found != digest:
            return f"the bytes of {name} have changed"
    return ""


def _boots(paths: Paths, directory: str) -> bool:
    """Return whether the boot image equals what is made of the kernel's image; True if it has not been made yet."""
    with Scratch(paths, "machine") as scratch:
        return bootimages.is_intact(directory, scratch.path)
