"""Executables and images from strangers: reading them never fails, and takes bounded time."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from underlay.base.fit import elf
from underlay.base.identify import image, lineage
from underlay.base.index import known

PROGRAM = Path(sys.executable).resolve().read_bytes()[: 1 << 20]
STEPS = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.sampled_from(
        [
            "/bin/sh -c #(nop) ADD file:" + "0" * 64 + " in / ",
            '/bin/sh -c #(nop)  CMD ["bash"]',
            "RUN |1 A=1 /bin/sh -c true # buildkit",
            "|2 A=1",
            "RUN # debian.sh --arch 'amd64' out/ 'trixie' '@1785715200'",
        ]
    ),
)


@given(st.binary(max_size=400))
def test_bytes_are_no_executable(data: bytes) -> None:
    elf.read(lambda offset, size: data[offset : offset + size])
    elf.read(lambda offset, size: (b"\x7fELF\x02\x01\x01" + data)[offset : offset + size])


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=30))
def test_a_broken_executable(changes: list[tuple[int, int]]) -> None:
    data = bytearray(PROGRAM)
    for place, value in changes:
        data[place] = value
    found = elf.read(lambda offset, size: bytes(data[offset : offset + size]))
    if found is not None:
        assert len(found.needed) <= 1000 and sum(map(len, found.versions.values())) <= 20_000


@given(
    st.lists(STEPS, max_size=8),
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.sampled_from(["2017-01-01T00:00:00Z"])), max_size=8
    ),
    st.lists(st.lists(st.one_of(st.none(), st.text(max_size=72), st.integers()), max_size=3), max_size=5),
    st.one_of(st.none(), st.integers(), st.lists(st.one_of(st.none(), st.text(max_size=9)), max_size=3)),
)
def test_any_image_has_an_answer(history: object, times: object, layers: object, command: object) -> None:
    record = {"history": history, "history_created": times, "layers": layers, "cmd": command, "entrypoint": command}
    found = lineage.identify(image.from_record(record), known.shipped())
    assert found.candidates and all(0 <= each.confidence <= 1 for each in found.candidates)
    assert found.chain and found.chain[-1].name in ("scratch", "?")
    assert sum(each.confidence for each in found.candidates) <= 1.01
