"""What executables say of themselves, ours beside pyelftools, over this host's programs and libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from underlay.base.fit import elf

elffile = pytest.importorskip("elftools.elf.elffile")
versions = pytest.importorskip("elftools.elf.gnuversions")


def _files() -> list[Path]:
    """Return some programs and libraries, spread over all that there are."""
    found: list[Path] = []
    for place, pattern, count in (("/usr/bin", "*", 40), ("/usr/lib", "*.so*", 20), ("/usr/lib", "*/*.so*", 40)):
        there = sorted(path for path in Path(place).glob(pattern) if path.is_file() and not path.is_symlink())
        there = [path for path in there if path.open("rb").read(4) == b"\x7fELF"]
        found += there[:: max(1, len(there) // count)]
        # With its many symbols it has the longest table of strings.
        found += sorted(there, key=lambda path: path.stat().st_size)[-1:]
    return sorted(set(found))


@pytest.mark.parametrize("path", _files(), ids=str)
def test_an_executable(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        ours = elf.read(lambda offset, size: os.pread(fd, size, offset))
    finally:
        os.close(fd)
    assert ours is not None
    with path.open("rb") as file:
        theirs = elffile.ELFFile(file)
        segments = list(theirs.iter_segments())
        assert ours.bits == theirs.elfclass
        loads = [each["p_align"] for each in segments if each["p_type"] == "PT_LOAD"]
        assert ours.alignment == min(loads, default=0)
        names = [each.get_interp_name() for each in segments if each["p_type"] == "PT_INTERP"]
        assert ours.interpreter == (names[0] if names else "")
        dynamic = next((each for each in segments if each["p_type"] == "PT_DYNAMIC"), None)
        tags = list(dynamic.iter_tags()) if dynamic is not None else []
        assert ours.needed == [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
        assert ours.soname == next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), "")
        kernel, level = None, 0
        for segment in segments:
            if segment["p_type"] != "PT_NOTE":
                continue
            for note in segment.iter_notes():
                if note["n_type"] == "NT_GNU_ABI_TAG":
                    abi = note["n_desc"]
                    kernel = (abi["abi_major"], abi["abi_minor"], abi["abi_tiny"])
                if note["n_type"] == "NT_GNU_PROPERTY_TYPE_0":
                    for one in note["n_desc"]:
                        if one.pr_type in (0xC0008002, "GNU_PROPERTY_X86_ISA_1_NEEDED"):
                            level = one.pr_data.bit_length()
        assert (ours.kernel, ours.x86_level) == (kernel, level)
        wanted = theirs.get_section_by_name(".gnu.version_r")
        if wanted is not None:
            told = {file.name: [one.name for one in each] for file, each in wanted.iter_versions()}
            assert ours.versions == told
        given = theirs.get_section_by_name(".gnu.version_d")
        if given is not None:
            defined = [
                next(iter(names)).name for version, names in given.iter_versions() if not version["vd_flags"] & 1
            ]
            assert ours.defined == defined
