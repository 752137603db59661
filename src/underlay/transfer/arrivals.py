"""Bringing layers into the store: what is there already is not read again, what is new is verified as it
comes."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from time import monotonic, sleep

from ..errors import Corrupt, DigestMismatch, DiskFull, LimitExceeded, is_disk_full
from ..events import Event
from ..oci import digest as digests
from ..store import blobs, layers, leases
from ..store.layers import intake
from ..store.rows import layers as layer_rows
from ..store.rows.layers import Layer
from .archives.outertar import PIECE, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeVar

    from ..events import Emit
    from ..files import Lock
    from ..paths import Paths
    from ..store.rows.meta import Meta
    from .archives.bag import Content

    T = TypeVar("T")
    R = TypeVar("R")

    class Source(Protocol):
        """Source of bytes: at most `n` of them per call, none at the end."""

        def read(self, n: int, /) -> bytes: ...


_PATIENCE = 30.0  # seconds


class Wanted:
    """A layer that an image needs: `content` in the archive, its `diff_id`, and the `blob` digest and `size`
    under which its manifest names it ("" and -1 where there is no manifest)."""

    __slots__ = ("blob", "content", "diff_id", "size")

    def __init__(self, content: Content, diff_id: str, blob: str = "", size: int = -1) -> None:
        self.content = content
        self.diff_id = diff_id
        self.blob = blob
        self.size = size


class Arrivals:
    """Ingests layers, to be used inside `leases.working`. `keep` keeps the compressed bytes too.

    `parallel` is how many are ingested at once (0: by the number of processors), and `cancel` stops those that wait for
    their source. If others fail, ingested layers are kept for another attempt for `await_for` seconds.
    """

    def __init__(
        self,
        paths: Paths,
        meta: Meta,
        emit: Emit,
        keep: bool = False,
        parallel: int = 0,
        cancel: Callable[[], None] | None = None,
        await_for: float = 0.0,
    ) -> None:
        self._paths = paths
        self._meta = meta
        self._emit = emit
        self._keep = keep
        self._parallel = parallel or min(4, os.cpu_count() or 1)
        self._cancel = cancel
        self._await_for = await_for

    def bring(self, wanted: Sequence[Wanted]) -> list[Layer]:
        """Return the layers in the order asked for, all in the store and verified; several arrive at once.

        Raises DigestMismatch (digest, size or diff id; expected and found are named), Corrupt, LimitExceeded,
        DiskFull with the sizes that the manifests name, OSError.
        """
        done: dict[str, Layer] = {}
        todo: list[Wanted] = []
        seen: set[str] = set()
        for item in wanted:
            if item.diff_id not in seen:
                seen.add(item.diff_id)
                here = self._here(item)
                if here is None:
                    todo.append(item)
                else:
                    done[item.diff_id] = here
        try:
            for layer in in_threads(self._one, todo, self._parallel, self._cancel):
                done[layer.diff_id] = layer
        except (Corrupt, LimitExceeded):
            # Nothing is kept of a source that sends wrong bytes.
            if self._await_for:
                layer_rows.give_up(self._meta, [item.diff_id for item in todo])
            raise
        except OSError as error:
            if not is_disk_full(error):
                raise
            needed = sum(max(item.size, item.content.size, 0) for item in todo)
            raise DiskFull(error.strerror or "no space left", needed=needed) from error
        return [done[item.diff_id] for item in wanted]

    def _here(self, wanted: Wanted) -> Layer | None:
        """Return the layer when nothing has to be read for it."""
        if wanted.content.layer is not None:
            passed = wanted.content.layer
            if passed.diff_id != wanted.diff_id:
                raise DigestMismatch(f"{shown(wanted.content.name)}: wrong diff id", wanted.diff_id, passed.diff_id)
            if wanted.blob and passed.blob and passed.blob != wanted.blob:
                raise DigestMismatch(f"{shown(wanted.content.name)}: wrong digest", wanted.blob, passed.blob)
            if wanted.size >= 0 and passed.blob_size != wanted.size:
                raise DigestMismatch(f"{shown(wanted.content.name)}: wrong size", wanted.size, passed.blob_size)
            return passed
        if not layers.exists(self._paths, wanted.diff_id):
            return None
        known = layer_rows.known_layer(self._meta, wanted.blob) if wanted.blob else None
        if known is not None and known[0] != wanted.diff_id:
            raise DigestMismatch(f"layer {wanted.blob}: wrong diff id", wanted.diff_id, known[0])
        if wanted.blob and not self._kept(wanted.blob, wanted.diff_id, known):
            return None
        self._emit(Event("layer.exists", wanted.blob or wanted.diff_id))
        return self.existing(wanted.diff_id)

    def existing(self, diff_id: str) -> Layer:
        """Return the recorded properties of a layer that is in the store."""
        known = layer_rows.facts(self._meta, diff_id)
        if known is not None:
            return Layer(diff_id, *known)
        # Another process has brought it in and not yet recorded it.
        return Layer(diff_id, *layers.measure(self._paths, diff_id))

    def _one(self, wanted: Wanted) -> Layer:
        content = wanted.content
        try:
            layer = self._from_somewhere(wanted)
        except DigestMismatch:
            content.close(keep=False)
            raise
        except (Corrupt, LimitExceeded) as error:
            content.close(keep=False)
            raise type(error)(f"layer {shown(content.name)}: {error.message}", error.hint) from None
        except BaseException:
            content.close(keep=True)
            raise
        content.close(keep=False)
        if self._await_for:
            layer_rows.record_layer(self._meta, layer, self._await_for)
        return layer

    def _from_somewhere(self, wanted: Wanted) -> Layer:
        """Take a layer in from the first place whose bytes are the right ones."""
        while True:
            try:
                return self._taken_in(wanted)
            except (Corrupt, LimitExceeded) as error:
                if not wanted.content.elsewhere(error.message):
                    raise

    def _taken_in(self, wanted: Wanted) -> Layer:
        size = wanted.size if wanted.size >= 0 else wanted.content.size
        expected = (wanted.blob, size) if wanted.blob else None
        source: Source = wanted.content
        if self._keep and wanted.blob and wanted.blob != wanted.diff_id:
            with blobs.Writer(self._paths, wanted.blob, size, "layer") as writer:
                layer = self._ingest(_Tee(source, writer), wanted.diff_id, expected)
                if layer is not None and layer.compression != "none":
                    writer.commit()
                    layer.kept = True
        else:
            layer = self._ingest(source, wanted.diff_id, expected)
        if layer is None:
            # The layer was here. When its compressed bytes are to be kept, they are verified by themselves.
            return self._keep_only(wanted, size)
        self._emit(Event("layer.done", wanted.blob or layer.diff_id, size=layer.size))
        return layer

    def _ingest(self, source: Source, diff_id: str | None, expected: tuple[str, int] | None) -> Layer | None:
        lock = leases.of_content(self._paths, diff_id.partition(":")[2]) if diff_id else None
        try:
            if lock is not None and not lock.acquire(wait=False):
                self._emit(Event("layer.await", expected[0] if expected else diff_id or ""))
                _await_turn(lock)
            ingested = intake.ingest(
                self._paths, source, expected_diff_id=diff_id, expected_blob=expected, emit=self._emit
            )
        finally:
            if lock is not None:
                lock.release()
        if ingested is None:
            return None
        layer = Layer(ingested.diff_id, ingested.size, ingested.entries, ingested.content)
        layer.blob, layer.blob_size, layer.compression = ingested.blob_digest, ingested.blob_size, ingested.compression
        return layer

    def _keep_only(self, wanted: Wanted, size: int) -> Layer:
        layer = self.existing(wanted.diff_id)
        if not self._keep or not wanted.blob or wanted.blob == wanted.diff_id:
            return layer
        from ..store.layers import codec

        wanted.content.again()
        with blobs.Writer(self._paths, wanted.blob, size, "layer") as writer:
            inner = digests.hasher()
            pieces = codec.decompress(lambda: _Tee(wanted.content, writer).read(PIECE))
            layer.compression = next(pieces).decode()
            for piece in pieces:
                inner.update(piece)
            if "sha256:" + inner.hexdigest() != wanted.diff_id:
                raise DigestMismatch("layer's diff id", wanted.diff_id, "sha256:" + inner.hexdigest())
            writer.commit()
        layer.blob, layer.blob_size, layer.kept = wanted.blob, size, True
        return layer

    def passing(self, name: str, size: int, source: Source) -> Layer:
        """Take in a layer out of a stream, before anything is known of it but the name of its member.

        The name often holds a digest. A layer known by it is not taken in again, and of two processes that
        meet it one waits for the other; a name that lies can do no more than leave its bytes out.
        """
        hint, is_blob = _hint(name)
        if not hint:
            return self.taken(source, None)
        lock = leases.of_content(self._paths, hint.partition(":")[2])
        _await_turn(lock)
        try:
            return self._passing(hint, is_blob, size, source)
        finally:
            lock.release()

    def _passing(self, hint: str, is_blob: bool, size: int, source: Source) -> Layer:
        known = layer_rows.known_layer(self._meta, hint)
        diff_id = known[0] if known else hint
        if diff_id.startswith("sha256:") and layers.exists(self._paths, diff_id) and self._kept(hint, diff_id, known):
            self._emit(Event("layer.exists", hint))
            layer = self.existing(diff_id)
            layer.blob_size = size
            return layer
        if not is_blob:
            return self.taken(source, None)
        layer = self.taken(source, (hint, size))
        # A process that waits for the lock knows only the blob's digest.
        layer_rows.record_layer(self._meta, layer)
        return layer

    def _kept(self, blob: str, diff_id: str, known: tuple[str, int, str, bool] | None) -> bool:
        """Tell whether no compressed bytes of a layer have still to be kept."""
        return not self._keep or blob == diff_id or bool(known and known[3])

    def taken(self, source: Source, expected: tuple[str, int] | None = None) -> Layer:
        """Take in a layer of which nothing is known, or digest and size of its blob; return what it turned
        out to be."""
        if self._keep and expected:
            with blobs.Writer(self._paths, *expected, "layer") as writer:
                layer = self._ingest(_Tee(source, writer), None, expected)
                assert layer is not None
                if layer.compression != "none":
                    writer.commit()
                    layer.kept = True
        else:
            layer = self._ingest(source, None, expected)
            assert layer is not None
        self._emit(Event("layer.done", layer.blob, size=layer.size))
        return layer


def _await_turn(lock: Lock) -> None:
    """Acquire the lock of a layer's ingestion, or continue without it when its holder takes long.

    A process that reads from a pipe may have to wait for the writer for ever, and must not block others:
    then the work is done twice, which does no harm.
    """
    deadline = monotonic() + _PATIENCE
    while not lock.acquire(wait=False) and monotonic() < deadline:
        sleep(0.02)


class _Tee:
    """Reads a source and also writes the data to a blob."""

    def __init__(self, source: Source, writer: blobs.Writer) -> None:
        self._source = source
        self._writer = writer

    def read(self, count: int, /) -> bytes:
        data = self._source.read(count)
        if data:
            self._writer.write(data)
        return data


def _hint(name: str) -> tuple[str, bool]:
    """Return the digest in a member's name, "" without one, and whether the name says that it is the
    blob's."""
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == "blobs" and digests.is_digest(f"{parts[1]}:{parts[2]}"):
        return f"{parts[1]}:{parts[2]}", True
    digest = "sha256:" + parts[0].removesuffix(".gz").removesuffix(".tar")
    if len(parts) == 1 and digests.is_digest(digest):
        return digest, False
    return "", False


def in_threads(
    work: Callable[[T], R], items: Sequence[T], parallel: int, cancel: Callable[[], None] | None = None
) -> list[R]:
    """Apply `work` to each item, at most `parallel` at a time; the first error ends it and is raised.

    `cancel` is called then, to wake up those that wait for something; none is left running.
    """
    count = min(len(items), parallel)
    if count <= 1:
        return [work(item) for item in items]
    waiting = list(enumerate(items))[::-1]
    results: dict[int, R] = {}
    errors: list[BaseException] = []

    def failed(error: BaseException) -> None:
        errors.append(error)
        if cancel is not None:
            cancel()

    def run() -> None:
        try:
            while not errors:
                try:
                    number, item = waiting.pop()
                except IndexError:
                    return
                results[number] = work(item)
        except BaseException as error:
            failed(error)
        finally:
            ended.put(None)

    # Not Thread.join: interrupted by Ctrl-C it takes the thread for ended (CPython 3.11, threading.py).
    ended: SimpleQueue[None] = SimpleQueue()
    for number in range(count):
        threading.Thread(target=run, name=f"transfer-{number}").start()
    while count:
        try:
            ended.get()
            count -= 1
        except BaseException as error:
            # Ctrl-C reaches the main thread only.
            failed(error)
    if errors:
        # Errors after the first come from threads that were told to stop.
        raise errors[0]
    return [results[number] for number in range(len(items))]
