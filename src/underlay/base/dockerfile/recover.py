"""The Dockerfile of an image of the store, with the files of its COPY and ADD steps extracted from layers."""

from __future__ import annotations

import os

from ...errors import Conflict, Corrupt, InvalidInput, NotFound
from ...store import layers
from ...store.kinds import REGULAR, TAR
from ...store.layers import tarheader
from . import contents, reconstruct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ...store.store import Store
    from ..identify.image_source import Subject
    from ..rebase.move import Ground
    from .reconstruct import Reconstruction

_PIECE = 1 << 20


def dockerfile(
    store: Store, subject: Subject, ground: Ground, extract: str = "", frozen: bool = False
) -> Reconstruction:
    """Return the Dockerfile of an image that stands on `ground`; see `Bases.dockerfile`."""
    if frozen and not extract:
        raise InvalidInput(
            "--frozen needs a directory for the files that RUN steps have made", "name it with --extract"
        )
    held = {}
    if extract:
        subject.require_files("extracting the files that the steps of an image have copied")
    if subject.image is not None:
        for diff_id in subject.view.diff_ids[ground.layers :]:
            held[diff_id] = contents.contents(layers.read_toc(store.paths, diff_id))
    reconstruction = reconstruct.reconstruct(
        subject.view, ground.name, ground.steps, ground.layers, ground.config, held, bool(extract), frozen, ground.doubt
    )
    if extract:
        _require_empty(extract)
        for name, diff_id in reconstruction.layers.items():
            _write(store, diff_id, f"{extract}/{name}")
        with open(f"{extract}/Dockerfile", "x", encoding="utf-8") as file:
            file.write(reconstruction.text)
    return reconstruction


def _require_empty(path: str) -> None:
    """Make a directory for what is written out. Raises Conflict when there is something in it, NotFound."""
    try:
        os.makedirs(path, exist_ok=True)
        if os.listdir(path):
            raise Conflict(f"{path} is not empty", "name a new directory")
    except (NotADirectoryError, FileExistsError):
        raise NotFound(f"{path} is not a directory") from None


def _write(store: Store, diff_id: str, path: str) -> None:
    """Write a layer's tar: as it is, or without the marks that something is gone, which mean nothing to ADD."""
    entries = layers.read_toc(store.paths, diff_id)
    kept = [entry for entry in entries if not contents.is_removal(entry)]
    with open(path, "xb") as file:
        if len(kept) == len(entries):
            _pour(store, diff_id, TAR, 0, None, file)
            return
        for entry in kept:
            file.write(tarheader.header(entry))
            if entry.kind == REGULAR and entry.size:
                _pour(store, diff_id, entry.part, entry.offset, entry.size, file)
                file.write(bytes(-entry.size % tarheader.BLOCK))
        file.write(bytes(2 * tarheader.BLOCK))


def _pour(store: Store, diff_id: str, part: int, at: int, size: int | None, file: BinaryIO) -> None:
    """Copy `size` bytes, or all from `at` on, of a part of a layer. Raises Corrupt when there are fewer."""
    source = layers.open_part(store.paths, diff_id, part)
    try:
        left = size
        while left != 0:
            data = os.pread(source, _PIECE if left is None else min(_PIECE, left), at)
            if not data:
                break
            file.write(data)
            at += len(data)
            left = None if left is None else left - len(data)
        if left:
            raise Corrupt(f"layer {diff_id} is shorter than its table of contents says")
    finally:
        os.close(source)
