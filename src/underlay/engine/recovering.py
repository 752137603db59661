"""The Dockerfile of an image, and what its COPY and ADD steps had: read from the layers that are here."""

from __future__ import annotations

import os

from ..base import reconstruct
from ..store import layers
from .bases import require_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.reconstruct import Reconstruction
    from .engine import Engine
    from .rebasing import Ground
    from .subjects import Subject

_PIECE = 1 << 20


def dockerfile(engine: Engine, subject: Subject, ground: Ground, extract: str = "") -> Reconstruction:
    """Return the Dockerfile of an image that stands on `ground`; see `Bases.dockerfile`."""
    held = {}
    if extract:
        subject.require_files("what an image's steps have copied")
    if subject.image is not None:
        for diff_id in subject.view.diff_ids[ground.layers :]:
            held[diff_id] = reconstruct.contents(layers.read_toc(engine.paths, diff_id))
    made = reconstruct.reconstruct(
        subject.view, ground.name, ground.steps, ground.layers, ground.config, held, bool(extract)
    )
    if extract:
        require_empty(extract)
        for name, diff_id in made.layers.items():
            _write(engine, diff_id, f"{extract}/{name}")
        with open(f"{extract}/Dockerfile", "x", encoding="utf-8") as file:
            file.write(made.text)
    return made


def _write(engine: Engine, diff_id: str, path: str) -> None:
    """Write a layer's tar, as its diff id names it."""
    from ..store.kinds import TAR

    source = layers.open_part(engine.paths, diff_id, TAR)
    try:
        with open(path, "xb") as file:
            at = 0
            while data := os.pread(source, _PIECE, at):
                file.write(data)
                at += len(data)
    finally:
        os.close(source)
