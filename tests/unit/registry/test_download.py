"""Blobs that come over several connections, and servers that start over, lie, or end early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import asking
from fakeregistry import FakeRegistry
from faults import (
    cut_after,
    endless,
    hang_up,
    no_range,
    redirect,
    stall,
    stall_after,
    status,
    with_headers,
    wrong_range,
)
from remoteimages import noise, sha
from underlay.errors import AccessDenied, DigestMismatch, NotFound, RegistryError
from underlay.oci.descriptor import Descriptor
from underlay.registry.download import Download
from underlay.registry.hosts import Settings
from underlay.registry.registries import Registries
from underlay.registry.repository import Repository
from underlay.registry.transport import Broken, Cancelled

SIZE = 400_000
BLOB = noise(SIZE, 1)
KIB = 1 << 10


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        made.repository("team/app").blobs[sha(BLOB)] = BLOB
        yield made


def download(registry: FakeRegistry, found: Registries | None = None, size: int = SIZE, **network: float) -> Download:
    """A download of the blob; the way to the registry is known already."""
    found = found or asking.registries(**network)
    found.remember(registry.host, False, next(s for s in found.servers(registry.host) if s.endpoint.scheme == "http"))
    return Repository(found, registry.host, "team/app").blob(Descriptor(digest=sha(BLOB), size=size))


def whole(source: Download, piece: int = 1 << 16) -> bytes:
    pieces = []
    while data := source.read(piece):
        assert 0 < len(data) <= piece
        pieces.append(data)
    assert source.read(piece) == b""
    source.close()
    return b"".join(pieces)


def ranges(registry: FakeRegistry) -> list[str | None]:
    return [each.headers.get("range") for each in registry.asked("GET", "/blobs/")]


def begins(text: str | None) -> int:
    return int((text or "bytes=0-")[6:].partition("-")[0])


@pytest.mark.parametrize("piece", [1000, 1 << 16, 1 << 24])
def test_in_one_go(registry: FakeRegistry, piece: int) -> None:
    assert whole(download(registry), piece) == BLOB
    assert ranges(registry) == [None]


def test_nothing_is_asked_before_it_is_read(registry: FakeRegistry) -> None:
    download(registry).close()
    assert registry.asked() == []


def test_nothing_is_asked_for_an_empty_blob(registry: FakeRegistry) -> None:
    assert whole(download(registry, size=0)) == b""
    assert registry.asked() == []


@pytest.mark.parametrize("known", [1, 1000, SIZE - 1, SIZE])
def test_what_is_known_is_not_asked_for(registry: FakeRegistry, known: int) -> None:
    source = download(registry)
    source.skip(known)
    assert whole(source) == BLOB[known:]
    assert ranges(registry) == ([f"bytes={known}-{SIZE - 1}"] if known < SIZE else [])


# Breaks


@pytest.mark.parametrize("reset", [True, False])
def test_a_break(registry: FakeRegistry, pauses: list[float], reset: bool) -> None:
    registry.rule("GET", "/blobs/", cut_after(100_000, reset), times=1)
    assert whole(download(registry)) == BLOB
    first, second = ranges(registry)
    assert first is None and second == f"bytes=100000-{SIZE - 1}"
    assert len(pauses) == 1


def test_a_stall(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", stall_after(100_000), times=1)
    assert whole(download(registry, stall_timeout=0.3)) == BLOB
    assert [begins(each) for each in ranges(registry)] == [0, 100_000]


def test_no_answer_at_first(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", stall(), times=1)
    registry.rule("GET", "/blobs/", hang_up(), times=1)
    assert whole(download(registry, stall_timeout=0.3)) == BLOB


def test_as_long_as_there_is_progress_it_goes_on(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", cut_after(70 * KIB, reset=False))
    assert whole(download(registry, retries=3)) == BLOB
    starts = [begins(each) for each in ranges(registry)]
    assert starts == list(range(0, SIZE, 70 * KIB))


def test_without_progress_it_ends(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", cut_after(1000, reset=False))
    source = download(registry, retries=3)
    with pytest.raises(Broken, match=r"\(after 3 tries\)") as caught:
        whole(source)
    assert "the part that was fetched is kept" in caught.value.hint
    assert source.position == 3000
    assert [begins(each) for each in ranges(registry)] == [0, 1000, 2000]
    assert len(pauses) == 2 and all(each <= 10 for each in pauses)


def test_tries_are_not_multiplied(registry: FakeRegistry, pauses: list[float]) -> None:
    """`retries` is how often a request is tried in all."""
    registry.rule("GET", "/blobs/", hang_up())
    with pytest.raises(Broken):
        whole(download(registry, retries=4))
    assert len(registry.asked("GET", "/blobs/")) == 4


def test_connections_are_bounded(registry: FakeRegistry, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may not make us ask for ever, a little at a time."""
    from underlay.registry import download as module

    monkeypatch.setattr(module, "_PROGRESS", 100)
    monkeypatch.setattr(module, "_RECONNECTIONS", 10)
    registry.rule("GET", "/blobs/", cut_after(200, reset=False))
    with pytest.raises(Broken, match="after 11 tries"):
        whole(download(registry))
    assert len(ranges(registry)) == 11


# Lengths that lie


def test_a_length_that_is_not_the_descriptors(registry: FakeRegistry, pauses: list[float]) -> None:
    for size in (SIZE - 1, SIZE + 1, 1):
        with pytest.raises(DigestMismatch, match=rf"wrong size: expected {size} bytes, found {SIZE}"):
            whole(download(registry, size=size))
    assert pauses == []


@pytest.mark.parametrize("length", ["0", "5", str(SIZE - 1), str(SIZE + 1), "1" + "0" * 17])
def test_a_content_length_that_lies(registry: FakeRegistry, pauses: list[float], length: str) -> None:
    registry.rule("GET", "/blobs/", with_headers({"Content-Length": length}))
    with pytest.raises(DigestMismatch):
        whole(download(registry))
    assert len(ranges(registry)) == 1


def test_a_range_whose_length_lies(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", with_headers({"Content-Length": str(SIZE * 2)}))
    source = download(registry, retries=2, stall_timeout=0.3)
    source.skip(1000)
    with pytest.raises(RegistryError):
        while source.position < SIZE:
            source.read(1 << 16)
        source.read(1)
        raise RegistryError("all that was asked for has come: that is good enough")
    assert source.position <= SIZE


def test_more_than_there_should_be(registry: FakeRegistry, pauses: list[float]) -> None:
    """Of unknown length, and it does not end."""
    registry.rule("GET", "/blobs/", endless(bytes(1 << 16)))
    source = download(registry)
    with pytest.raises(DigestMismatch, match=f"wrong size: expected {SIZE} bytes, found more"):
        whole(source)
    assert source.position < SIZE + (1 << 20)


def test_less_than_there_should_be(registry: FakeRegistry, pauses: list[float]) -> None:
    """Of unknown length, and it ends properly: what there is cannot grow, however often one asks."""
    chunked = with_headers({"Content-Length": None, "Connection": "close"})
    registry.repository("team/app").blobs[sha(BLOB)] = BLOB[:1000]
    registry.rule("GET", "/blobs/", chunked)
    with pytest.raises(RegistryError):
        whole(download(registry))
    assert len(ranges(registry)) <= 3


# Ranges


def test_a_server_without_ranges(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", cut_after(100_000, reset=False), times=1)
    registry.rule("GET", "/blobs/", no_range)
    assert whole(download(registry)) == BLOB
    assert [each.status for each in registry.asked("GET", "/blobs/")] == [200, 200]


def test_a_server_without_ranges_that_breaks_off_again_and_again(registry: FakeRegistry, pauses: list[float]) -> None:
    counts = iter([200_000, 100_000, SIZE])
    registry.rule("GET", "/blobs/", no_range)
    registry.rule("GET", "/blobs/", lambda handler, match: cut_after(next(counts), reset=False)(handler, match))
    assert whole(download(registry)) == BLOB
    assert [begins(each) for each in ranges(registry)] == [0, 200_000, 200_000]


@pytest.mark.parametrize(
    "action",
    [
        wrong_range(1),
        wrong_range(-1),
        wrong_range(-1000),
        with_headers({"Content-Range": None}),
        with_headers({"Content-Range": "bytes */400000"}),
        with_headers({"Content-Range": "items 1000-399999/400000"}),
        with_headers({"Content-Range": "\x1b[2J"}),
    ],
)
def test_a_range_that_was_not_asked_for(registry: FakeRegistry, pauses: list[float], action: object) -> None:
    registry.rule("GET", "/blobs/", action)  # type: ignore[arg-type]
    source = download(registry)
    source.skip(1000)
    with pytest.raises(RegistryError, match=f"blob {sha(BLOB)}: asked for bytes from 1000, got") as caught:
        whole(source)
    assert caught.value.message.isprintable()


def test_a_range_that_pretends(registry: FakeRegistry, pauses: list[float]) -> None:
    """Other bytes than it says: it ends, with an error or so many bytes as there should be. The digest tells."""
    for shift in (1, -1):
        registry.rules.clear()
        registry.rule("GET", "/blobs/", wrong_range(shift, honest=False))
        source = download(registry, retries=2)
        source.skip(1000)
        try:
            assert len(whole(source)) == SIZE - 1000
        except (RegistryError, DigestMismatch):
            pass


def test_a_range_without_being_asked(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", status(206, {"Content-Range": "bytes 5-9/10"}, b"12345"))
    with pytest.raises(RegistryError, match="asked for bytes from 0, got"):
        whole(download(registry))


# Refusals


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (404, NotFound, f"blob {sha(BLOB)} of {{}}/team/app not found"),
        (401, AccessDenied, "access denied"),
        (403, AccessDenied, "access denied"),
        (416, RegistryError, "status 416"),
        (500, RegistryError, "status 500"),
        (204, RegistryError, "status 204"),
        (304, RegistryError, "status 304"),
    ],
)
def test_refusals(registry: FakeRegistry, pauses: list[float], code: int, kind: type[Exception], text: str) -> None:
    registry.rule("GET", "/blobs/", status(code))
    source = download(registry)
    source.skip(1000)
    with pytest.raises(kind, match=text.format(registry.host)):
        whole(source)


def test_a_blob_that_goes_while_it_comes(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", cut_after(100_000, reset=False), times=1)
    source = download(registry)
    while source.position < 100_000:
        source.read(1 << 16)
    registry.repository("team/app").blobs.clear()
    with pytest.raises(NotFound):
        whole(source)


# Where it comes from


def test_by_a_redirect_each_time(registry: FakeRegistry, pauses: list[float]) -> None:
    with FakeRegistry() as store:
        store.repositories = registry.repositories
        registry.rule(
            "GET", "/blobs/", redirect(lambda it: f"{store.url}{it.asked.target}?signature={len(store.asked())}")
        )
        store.rule("GET", "/blobs/", cut_after(100_000, reset=False), times=2)
        assert whole(download(registry)) == BLOB
        assert [begins(each) for each in ranges(store)] == [0, 100_000, 200_000]
        # A signature may expire: the registry is asked for another.
        assert [each.query["signature"] for each in store.asked()] == ["0", "1", "2"]


def test_the_registry_goes_on_where_a_mirror_fails(
    registry: FakeRegistry, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeRegistry() as mirror:
        mirror.repository("team/app").blobs[sha(BLOB)] = BLOB
        path = tmp_path / "registries.toml"
        path.write_text(f'[registry."{registry.host}"]\nmirrors = ["http://{mirror.host}"]\n[network]\nretries = 2\n')
        monkeypatch.setenv("UNDERLAY_REGISTRIES", str(path))
        found = Registries(settings=Settings.load(), credentials=asking.Known())
        source = Repository(found, registry.host, "team/app").blob(Descriptor(digest=sha(BLOB), size=SIZE))
        mirror.rule("GET", "/blobs/", cut_after(100_000, reset=False), times=1)
        begun = source.read(1 << 16)
        mirror.rule("GET", "/blobs/", status(404))
        assert begun + whole(source) == BLOB
        assert [begins(each) for each in ranges(registry)] == [100_000]


# The end


def test_cancelling(registry: FakeRegistry) -> None:
    registry.rule("GET", "/blobs/", stall_after(1000))
    found = asking.registries(stall_timeout=15.0)
    source = download(registry, found)
    outcome, seconds = asking.ended_by(lambda: whole(source), found.cancel)
    assert isinstance(outcome, Cancelled) and seconds < 2
    assert len(ranges(registry)) == 1


def test_closing_ends_the_connection(registry: FakeRegistry) -> None:
    registry.rule("GET", "/blobs/", stall_after(1000))
    source = download(registry)
    source.read(100)
    source.close()
    source.close()
    assert source.position <= 1000
