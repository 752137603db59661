"""Scans of fleets: what many images stand on and consist of, kept in one file that the next scan continues."""

from __future__ import annotations


def is_scan(path: str) -> bool:
    """Tell whether `path` means the file of a scan, which may be missing, and not an image: NAME.db, or a database that is
    there."""
    if path.endswith(".db"):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
