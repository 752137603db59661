"""The store of advisories: what goes in comes out, by family and release; changes, withdrawals, broken input."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from advisories import affected, fixed, record
from underlay.base.advisories import Advisories, advisory_file, import_path, osv, osv_sources
from underlay.errors import Corrupt, InvalidInput, LimitExceeded, NotFound, Unsupported


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Advisories]:
    with Advisories(str(tmp_path / "advisories")) as found:
        yield found


def ids(store: Advisories, ecosystem: str, name: str) -> list[str]:
    file = store.file(ecosystem.partition(":")[0])
    if file is None:
        return []
    return sorted(file.record(entry.record).id for entry in file.entries(ecosystem, name))


ONE = record("DSA-1", fixed("Debian:8", "perl", "5.20"), fixed("Debian:9", "perl", "5.24"), upstream=["CVE-2018-0001"])
TWO = record("GHSA-x", fixed("PyPI", "Six_Pack", "1.1"), fixed("npm", "six-pack", "2.0.0"), fixed("Go", "x", "1"))


def test_in_and_out(store: Advisories) -> None:
    told = store.add([ONE, TWO, record("HSEC-1", fixed("Hackage", "y", "1")), b"{}", b"[", b"[" * 100_000])
    assert (told.read, told.broken, told.others, told.withdrawn) == (6, 3, 1, 0)
    assert {family: head.records for family, head in told.families.items()} == {
        "Debian": 1,
        "Go": 1,
        "PyPI": 1,
        "npm": 1,
    }
    assert ids(store, "Debian:8", "perl") == ids(store, "Debian:9", "perl") == ["DSA-1"]
    assert ids(store, "Debian:10", "perl") == ids(store, "Debian:8", "python") == []
    assert ids(store, "PyPI", "six-pack") == ids(store, "npm", "six-pack") == ["GHSA-x"]
    head = store.heads()["Debian"]
    assert head.ecosystems == {"Debian:8": 1, "Debian:9": 1} and head.newest == "2024-01-02T03:04:05Z"
    assert sorted(os.listdir(store.directory)) == [
        "debian.advisories", "go.advisories", "lock", "npm.advisories", "pypi.advisories",
    ]  # fmt: skip


def test_what_a_record_says(store: Advisories) -> None:
    store.add([ONE])
    file = store.file("Debian")
    assert file is not None
    (entry,) = file.entries("Debian:8", "perl")
    assert entry.affected == osv.Affected([[("i", "0"), ("f", "5.20")]], [])
    assert file.record(entry.record) == osv.Record(
        "DSA-1", ["CVE-2018-0001"], "", 0.0, "unknown", "2024-01-01T00:00:00Z", "2024-01-02T03:04:05Z"
    )


def test_changes_and_withdrawals(store: Advisories) -> None:
    store.add([ONE, TWO, record("DSA-2", fixed("Debian:8", "perl", "5.21"))])
    store.add([record("DSA-1", fixed("Debian:9", "perl", "5.25"))])
    assert ids(store, "Debian:8", "perl") == ["DSA-2"] and ids(store, "Debian:9", "perl") == ["DSA-1"]
    told = store.add([record("DSA-2", fixed("Debian:8", "perl", "5.21"), withdrawn="2024-02-01T00:00:00Z")])
    assert told.withdrawn == 1 and ids(store, "Debian:8", "perl") == [] and ids(store, "PyPI", "six-pack") == ["GHSA-x"]
    store.add([record("DSA-9", fixed("Debian:8", "apt", "1"))], only="Debian", replace=True)
    assert ids(store, "Debian:9", "perl") == [] and ids(store, "Debian:8", "apt") == ["DSA-9"]
    with pytest.raises(Corrupt):
        store.add([TWO], only="Debian", replace=True)
    assert ids(store, "Debian:8", "apt") == ["DSA-9"]


def test_who_reads_keeps_what_was_opened(store: Advisories, tmp_path: Path) -> None:
    store.add([ONE])
    with Advisories(store.directory) as other:
        assert ids(other, "Debian:8", "perl") == ["DSA-1"]
        store.add([record("DSA-9", fixed("Debian:8", "apt", "1"))], only="Debian", replace=True)
        assert ids(other, "Debian:8", "perl") == ["DSA-1"]


@pytest.mark.parametrize(("place", "value"), [(6, 1), (8, 97)])
def test_a_zip_that_is_not_read(store: Advisories, tmp_path: Path, place: int, value: int) -> None:
    """Encrypted, or compressed by a method of other programs."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.json", "{}")
    data = bytearray(path.read_bytes())
    data[place] = value  # of the file's own header, and of that in the directory at the end
    data[data.index(b"PK\x01\x02") + place + 2] = value
    path.write_bytes(data)
    with pytest.raises(Unsupported, match="is encrypted, or compressed"):
        import_path(store, str(path))


@pytest.mark.parametrize("form", ["directory", "zip", "jsonl", "json"])
def test_imports(store: Advisories, tmp_path: Path, form: str) -> None:
    place = tmp_path / f"in.{form}"
    if form == "directory":
        (place / "PyPI").mkdir(parents=True)
        (place / "DSA-1.json").write_bytes(ONE)
        (place / "PyPI" / "all.jsonl").write_bytes(TWO + b"\n\n")
        (place / "README.md").write_text("not this")
    elif form == "zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("DSA-1.json", ONE)
            out.writestr("GHSA-x.json", TWO)
    elif form == "jsonl":
        place.write_bytes(ONE + b"\n" + TWO + b"\n")
    else:
        place.write_bytes(ONE)
    told = import_path(store, str(place))
    assert told.read == (1 if form == "json" else 2) and ids(store, "Debian:8", "perl") == ["DSA-1"]
    assert store.heads()["Debian"].fetched.endswith("Z")


def test_no_imports(store: Advisories, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        import_path(store, str(tmp_path / "none"))
    for name, data in (("a.txt", b"x"), ("b.json", b"{}"), ("c.jsonl", b"1\n2\n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidInput):
            import_path(store, str(tmp_path / name))
    (tmp_path / "d.zip").write_bytes(b"PK\x03\x04 that is all")
    with pytest.raises(Corrupt):
        import_path(store, str(tmp_path / "d.zip"))
    assert ids(store, "Debian:8", "perl") == []


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "bomb.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as out:
        for number in range(3):
            out.writestr(f"{number}.json", bytes(200 << 20) if not number else b"{}")
    with pytest.raises(LimitExceeded):
        list(osv_sources.archive(str(place)))
    # One that says less than it holds
    data = place.read_bytes().replace((200 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    place.write_bytes(data)
    with pytest.raises((Corrupt, LimitExceeded)):
        list(osv_sources.archive(str(place)))


def test_names_of_families_are_no_paths(store: Advisories) -> None:
    for name in ("../x", "a/b", "", ".", "x" * 100, "a\0"):
        with pytest.raises(InvalidInput):
            store.path(name)


def test_damaged_files(store: Advisories) -> None:
    store.add([ONE])
    path = store.path("Debian")
    whole = Path(path).read_bytes()
    for data in (b"", whole[:50], whole[:-20], b"x" + whole[1:], whole[:40] + b"\xff" * 32 + whole[72:]):
        Path(path).write_bytes(data)
        with pytest.raises(Corrupt), advisory_file.AdvisoryFile(path):
            pass
    # What cannot be read is made anew.
    store.add([ONE])
    assert ids(store, "Debian:8", "perl") == ["DSA-1"]


def test_damage_anywhere_is_no_other_error(store: Advisories) -> None:
    store.add([ONE, record("DSA-2", fixed("Debian:8", "perl", "5.21"))])
    path = Path(store.path("Debian"))
    whole = path.read_bytes()
    places = range(0, len(whole), 3)
    found, answered = 0, []
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xA5]) + whole[at + 1 :])
        try:
            with advisory_file.AdvisoryFile(str(path)) as file:
                answered.append([file.record(entry.record) for entry in file.entries("Debian:8", "perl")])
        except Corrupt:
            found += 1
    assert found and answered and found + len(answered) == len(places)
    assert all(isinstance(each, osv.Record) for answer in answered for each in answer)
    assert all(len(answer) <= 2 for answer in answered)


def test_severities() -> None:
    def label(**more: object) -> tuple[float, str]:
        found = osv.read(record("X", fixed("npm", "x", "1"), **more)).record
        return found.score, found.label

    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    assert label(severity=[{"type": "CVSS_V3", "score": vector}]) == (9.8, "critical")
    assert label(severity=[{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}], database_specific={"severity": "HIGH"}) == (
        0.0,
        "high",
    )
    assert label(severity=[{"type": "Ubuntu", "score": "medium"}]) == (0.0, "medium")
    assert label(summary="Important: curl security update") == (0.0, "high")
    assert label(summary="curl: a flaw") == (0.0, "unknown")
    part = fixed("Debian:12", "x", "1", ecosystem_specific={"urgency": "unimportant"})
    assert osv.read(record("X", part)).affected[0][2].label == "negligible"


def test_what_is_left_out_of_records() -> None:
    many = [str(number) for number in range(1000)]
    advisory = osv.read(
        record(
            "X",
            fixed("Debian:12", "x", "1", versions=many),
            affected("Debian:11", "x", versions=many),
            fixed("PyPI", "x", "1", versions=["0.1"]),
            {
                "package": {"ecosystem": "npm", "name": "y"},
                "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}],
            },
            {"package": None},
            related=["CVE-2020-1234", "ALSA-1"],
        )
    )
    assert [(ecosystem, len(part.versions)) for ecosystem, _, part in advisory.affected] == [
        ("Debian:12", 0),
        ("Debian:11", 1000),
        ("PyPI", 1),
    ]
    assert advisory.record.names == ["CVE-2020-1234"]


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"[]",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id":"x","affected":7}',
        b'{"id":"x","affected":[{"package":{"name":"x","ecosystem":"npm"},"ranges":[{"events":[{"fixed":7}]}]}]}',
        json.dumps({"id": "x" * 1000}).encode(),
        b'{"id":"x","database_specific":' + b"[" * 50_000 + b"]" * 50_000 + b"}",  # Python says how deep it goes
    ],
)
def test_no_records(data: bytes) -> None:
    with pytest.raises(Corrupt):
        osv.read(data)


WORST = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


@pytest.mark.parametrize(
    ("ecosystem", "more", "label"),
    [
        ("Debian:12", {}, "critical"),
        ("Debian:12", {"ecosystem_specific": {"urgency": "unimportant"}}, "negligible"),
        ("Debian:12", {"ecosystem_specific": {"urgency": "not yet assigned"}}, "critical"),
        (
            "Ubuntu:24.04:LTS",
            {"severity": [{"type": "Ubuntu", "score": "low"}, {"type": "CVSS_V3", "score": WORST}]},
            "low",
        ),
    ],
)
def test_the_word_of_a_distribution_counts(store: Advisories, ecosystem: str, more: dict[str, Any], label: str) -> None:
    data = record("X-1", fixed(ecosystem, "perl", "2", **more), severity=[{"type": "CVSS_V3", "score": WORST}])
    advisory = osv.read(data)
    ((_, _, affected),) = advisory.affected
    assert (affected.label or advisory.record.label) == label and advisory.record.score == 9.8
    # Of the record as a whole, too; but only a distribution rates a package as it is built.
    for family, wanted in (("Red Hat:enterprise_linux:9", "medium"), ("PyPI", "critical")):
        severity = [{"type": "CVSS_V3", "score": WORST}]
        data = record("X-2", fixed(family, "perl", "2"), severity=severity, database_specific={"severity": "Moderate"})
        assert osv.read(data).record.label == wanted
