"""Archives whose files are placed in containers and build contexts."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from underlay.engine.containers.files.members import read_tar
from underlay.errors import InvalidInput


def archive(*sizes: int) -> bytes:
    """An archive of files of these sizes, without the zeros that fill its last block and end it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(str(number))
            member.size = size
            tar.addfile(member, io.BytesIO(b"x" * size))
            end = tar.offset
    return buffer.getvalue()[: end - (-sizes[-1] % 512)]


def contents(data: bytes) -> list[int]:
    """How long the files are that are read from an archive."""
    return [len(read(1 << 20)) for _, read in read_tar(io.BytesIO(data)) if read is not None]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("sizes", [(47,), (512,), (3, 47), (700, 1), (0, 513), (5, 0)])
def test_an_archive_need_not_fill_its_last_block(sizes: tuple[int, ...], packed: type[bytes]) -> None:
    assert contents(packed(archive(*sizes))) == list(sizes)


@pytest.mark.parametrize("missing", [1, 46])
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_file_that_ends_too_early_is_an_error(missing: int, packed: type[bytes]) -> None:
    with pytest.raises(InvalidInput):
        contents(packed(archive(3, 47)[:-missing]))


def test_a_file_of_which_nothing_was_read_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        list(read_tar(io.BytesIO(archive(3, 47)[:-1])))
