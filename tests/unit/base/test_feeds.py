"""Fetching advisories: the whole once, then what changed; broken connections, wrong answers, servers that lie."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import faults
from advisories import fixed, record
from fakeserver import Handler, Server
from underlay.base.advisories import Advisories, feeds
from underlay.base.advisories.advisory_file import AdvisoryFile
from underlay.errors import Conflict, Corrupt, InvalidInput, NotFound, RegistryError
from underlay.events import Event
from underlay.files import Lock
from underlay.registry.transport import Transport


class Exports(Server):
    """OSV's exports of one family: `records` by id with the time of their change."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, tuple[str, bytes]] = {}
        self.listed = True
        self.spoilt = b""

    def put(self, name: str, when: str, version: str, padding: int = 0) -> None:
        data = record(name, fixed("Debian:12", "perl", version), modified=when, details=os.urandom(padding).hex())
        self.records[name] = when, data

    def export(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for name, (_, data) in self.records.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.json"), data)
        return out.getvalue()

    def serve(self, handler: Handler) -> None:
        name = handler.asked.path.removeprefix("/exports/Debian/")
        if name == "all.zip":
            data = self.spoilt or self.export()
            etag = f'"{hash(data)}"'
            headers = {"ETag": etag, "Accept-Ranges": "bytes"}
            asked = handler.asked.headers
            if asked.get("if-none-match") == etag:
                handler.answer(304, headers=headers)
            elif "range" in asked and asked.get("if-range") == etag:
                at = int(asked["range"].removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
                handler.answer(206, data[at:], headers, "application/zip")
            else:
                handler.answer(200, data, headers, "application/zip")
        elif name == "modified_id.csv" and self.listed:
            rows = sorted(((when, each) for each, (when, _) in self.records.items()), reverse=True, key=_moment)
            handler.answer(200, "".join(f"{when},{each}\n" for when, each in rows).encode(), None, "text/csv")
        elif name.removesuffix(".json") in self.records:
            handler.answer(200, self.records[name.removesuffix(".json")][1])
        else:
            handler.answer(404)


def _moment(row: tuple[str, str]) -> str:
    return row[0].rstrip("Z")


@pytest.fixture(autouse=True)
def nothing_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "no-certs.d"))
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/dev/null")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    monkeypatch.setattr(Transport, "pause", lambda transport, seconds: None)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", feeds.VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exports() -> Iterator[Exports]:
    with Exports() as server:
        server.put("DSA-1", "2024-01-01T00:00:00Z", "1")
        server.put("DSA-2", "2024-01-02T00:00:00Z", "2")
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Advisories]:
    with Advisories(str(tmp_path / "advisories")) as found:
        yield found


def update(store: Advisories, exports: Exports, **more: bool) -> feeds.Updated:
    (done,) = feeds.update(store, ["Debian"], f"{exports.url}/exports/", **more)
    return done


def fixes(store: Advisories) -> list[str]:
    file = store.file("Debian")
    assert file is not None
    return sorted(entry.affected.ranges[0][1][1] for entry in file.entries("Debian:12", "perl"))


def test_the_whole_and_then_changes(store: Advisories, exports: Exports) -> None:
    done = update(store, exports)
    assert (done.how, done.records) == ("whole", 2) and fixes(store) == ["1", "2"]
    assert done.fetched >= len(exports.export())
    exports.forget()
    assert update(store, exports).how == "unchanged"
    assert [each.path.rpartition("/")[2] for each in exports.requests] == ["modified_id.csv"]
    exports.put("DSA-2", "2024-01-03T00:00:00.5Z", "2.1")
    exports.put("DSA-3", "2024-01-03T00:00:00Z", "3")
    exports.forget()
    done = update(store, exports)
    assert (done.how, done.records, done.changes) == ("changes", 3, 2) and fixes(store) == ["1", "2.1", "3"]
    assert not exports.asked("GET", "all.zip")
    assert update(store, exports).how == "unchanged"
    assert update(store, exports, whole=True).how == "whole"
    head = store.heads()["Debian"]
    assert head.followed == "2024-01-03T00:00:00.5Z" and head.source == f"{exports.url}/exports"
    assert sorted(os.listdir(store.directory)) == ["debian.advisories", "lock", "update"]


def test_many_changes_are_the_whole(store: Advisories, exports: Exports) -> None:
    update(store, exports)
    for number in range(feeds._SINGLE + 5):
        exports.put(f"DSA-9{number}", "2024-02-01T00:00:00Z", "9")
    assert update(store, exports).how == "whole" and len(fixes(store)) == feeds._SINGLE + 7


def test_withdrawn_since(store: Advisories, exports: Exports) -> None:
    update(store, exports)
    gone = json.loads(exports.records["DSA-1"][1]) | {"withdrawn": "2024-03-01T00:00:00Z"}
    exports.records["DSA-1"] = "2024-03-01T00:00:00Z", json.dumps(gone).encode()
    assert update(store, exports).how == "changes" and fixes(store) == ["2"]


def test_without_a_list_of_changes(store: Advisories, exports: Exports) -> None:
    exports.listed = False
    assert [update(store, exports).how for _ in range(2)] == ["whole", "unchanged"]
    exports.put("DSA-3", "2024-01-03T00:00:00Z", "3")
    assert update(store, exports).how == "whole" and fixes(store) == ["1", "2", "3"]


def test_a_connection_that_breaks_is_gone_on_with(store: Advisories, exports: Exports) -> None:
    exports.put("DSA-3", "2024-01-03T00:00:00Z", "3", padding=1 << 20)
    exports.rule("GET", "all.zip", faults.cut_after(1 << 20), times=1)
    events: list[Event] = []
    feeds.update(store, ["Debian"], f"{exports.url}/exports", emit=events.append)
    first, second = exports.asked("GET", "all.zip")
    assert "range" not in first.headers and second.headers["range"] != "bytes=0-"
    assert fixes(store) == ["1", "2", "3"]
    progress = [each.attributes for each in events if each.kind == "advisories.progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == len(exports.export())


def test_what_came_is_kept_for_the_next_time(store: Advisories, exports: Exports) -> None:
    exports.put("DSA-3", "2024-01-03T00:00:00Z", "3", padding=4 << 20)
    rule = exports.rule("GET", "all.zip", faults.cut_after(1 << 20))
    with pytest.raises(RegistryError) as caught:
        update(store, exports)
    assert "kept" in caught.value.hint and not store.heads()
    exports.rules.remove(rule)
    exports.forget()
    assert update(store, exports).how == "whole"
    (asked,) = exports.asked("GET", "all.zip")
    assert int(asked.headers["range"].strip("bytes=-")) > 1 << 20


def test_another_export_begins_anew(store: Advisories, exports: Exports) -> None:
    exports.put("DSA-3", "2024-01-03T00:00:00Z", "3", padding=4 << 20)
    rule = exports.rule("GET", "all.zip", faults.cut_after(1 << 20))
    with pytest.raises(RegistryError):
        update(store, exports)
    exports.rules.remove(rule)
    exports.put("DSA-4", "2024-01-04T00:00:00Z", "4")
    assert update(store, exports).how == "whole" and fixes(store) == ["1", "2", "3", "4"]


def test_what_is_no_export_changes_nothing(store: Advisories, exports: Exports) -> None:
    update(store, exports)
    for data in (b"<html>", exports.export()[:-30], b"PK\x05\x06" + bytes(18)):
        exports.spoilt = data
        with pytest.raises(Corrupt):
            update(store, exports, whole=True)
        assert fixes(store) == ["1", "2"]


def test_refusals(store: Advisories, exports: Exports) -> None:
    with pytest.raises(InvalidInput):
        feeds.update(store, ["Nonesuch"], exports.url)
    with pytest.raises(InvalidInput):
        feeds.update(store, ["Debian"], "ftp://x")
    with pytest.raises(NotFound):
        feeds.update(store, ["Debian"], f"{exports.url}/elsewhere")
    exports.rule("GET", "modified_id.csv", faults.body(b"no,../../list\n"))
    with pytest.raises(Corrupt):
        update(store, exports)
    exports.rules.clear()
    exports.rule("GET", "all.zip", faults.status(500))
    with pytest.raises(RegistryError):
        update(store, exports)
    assert store.heads() == {}


def test_one_at_a_time(store: Advisories, exports: Exports) -> None:
    update(store, exports)
    os.utime(store.path("Debian"), (1, 1))
    with Lock(f"{store.directory}/update"), pytest.raises(Conflict):
        update(store, exports)
    assert update(store, exports).how == "unchanged"
    with AdvisoryFile(store.path("Debian")) as file:
        assert file.checked > 1


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert feeds.address() == feeds.ADDRESS
    monkeypatch.setenv(feeds.VARIABLE, "http://mirror/")
    assert feeds.address() == "http://mirror" and feeds.address("http://other") == "http://other"
