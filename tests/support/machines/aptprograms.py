"""Programs in place of apt's, which log what they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.engine.machines import fetching


def install(place: Path, monkeypatch: pytest.MonkeyPatch, apt_cache: str, apt_get: str) -> Path:
    """Have kernels fetched by these scripts; returns the directory of what they download.

    In the scripts $LOG is the file `log` below `place`, and $FILES the directory that is returned.
    """
    files, programs = place / "files", place / "programs"
    files.mkdir()
    programs.mkdir()
    for name, text in (("apt-cache", apt_cache), ("apt-get", apt_get)):
        (programs / name).write_text(text.replace("$LOG", f"{place}/log").replace("$FILES", str(files)))
        (programs / name).chmod(0o755)
    monkeypatch.setattr(fetching, "PLACES", str(programs))
    return files
