"""Fetching advisories as OSV exports them: everything of a family once, afterwards what has changed.

Layout of the exports: `<Ecosystem>/all.zip` with one `<ID>.json` a record, `<Ecosystem>/<ID>.json`, and
`<Ecosystem>/modified_id.csv` with `<time>,<ID>` lines, the newest first (google.github.io/osv.dev/data).
"""

from __future__ import annotations

import os
import re
from time import time, time_ns

from ... import events, settings
from ...errors import Conflict, Corrupt, InvalidInput, LimitExceeded, NotFound, RegistryError
from ...files import Lock
from ...human import parse_rfc3339, rfc3339
from . import Advisories, osv, osv_sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from ...events import Emit
    from ...registry.transport import Answer
    from .advisory_file import Head

ADDRESS = "https://storage.googleapis.com/osv-vulnerabilities"
VARIABLE = "UNDERLAY_ADVISORIES"
# So many changed records are asked for one by one; of more the whole export comes sooner.
_SINGLE = 400
# Records that are gone from an export stand in no list: so now and then all of it is taken anew.
_WHOLE_SECONDS = 30 * 86400
_EXPORT_LIMIT = 16 << 30
_LINES_LIMIT = 256 << 20
_PIECE = 1 << 20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,120}")
_TRIES = 5


class Updated:
    """The result of an update of a family: `how` ("unchanged", "changes" or "whole"), the number of `records` now stored,
    the number of `changes` applied, and the bytes `fetched`."""

    __slots__ = ("changes", "family", "fetched", "how", "records")

    def __init__(self, family: str, how: str, records: int, changes: int, fetched: int) -> None:
        self.family = family
        self.how = how
        self.records = records
        self.changes = changes
        self.fetched = fetched


def address(given: str = "") -> str:
    """Return where exports are fetched from: `given`, else the variable UNDERLAY_ADVISORIES, else OSV's own place."""
    return (given or settings.value("advisories") or ADDRESS).rstrip("/")


def update(
    advisories: Advisories, families: list[str], source: str = "", whole: bool = False, emit: Emit = events.ignore
) -> list[Updated]:
    """Bring the advisories of these families (see osv.FAMILIES) up to date; with `whole` take all anew.

    A family is replaced in one step; what was fetched of an export that broke off is kept, and gone on with. Emits
    `advisories.progress` (bytes `done` of `total`, 0 when not known). Raises InvalidInput (an unknown family, a bad
    address), Conflict (somebody else is at it), NotFound (no such export), RegistryError (no connection), Corrupt,
    LimitExceeded.
    """
    unknown = [family for family in families if family not in osv.FAMILIES]
    if unknown:
        raise InvalidInput(f"unknown ecosystem {unknown[0]!r}", f"known: {', '.join(sorted(osv.FAMILIES))}")
    os.makedirs(advisories.directory, mode=0o700, exist_ok=True)
    feed = _Feed(address(source), emit)
    # Held over the network, but no process waits for it: reading and importing advisories do not take it.
    lock = Lock(f"{advisories.directory}/update")
    try:
        if not lock.acquire(wait=False):
            raise Conflict("another process is fetching advisories", "try again when it has ended")
        return [_update(advisories, family, feed, whole) for family in families]
    finally:
        lock.release()
        feed.close()


def _update(advisories: Advisories, family: str, feed: _Feed, whole: bool) -> Updated:
    file = advisories.file(family)
    head = file.head if file is not None else None
    before = feed.fetched
    now = rfc3339(time_ns())[:19] + "Z"
    followed = ""
    if head is not None and not whole and head.source == feed.source and _recent(head):
        followed, changed = feed.changes(family, head.followed)
        if changed is not None:
            if not changed:
                os.utime(advisories.path(family))
                return Updated(family, "unchanged", head.records, 0, feed.fetched - before)
            facts = {"fetched": now, "followed": followed}
            # All of them first: no lock is held over the network.
            records = [feed.record(family, name) for name in changed]
            counts = advisories.add(records, only=family, facts=facts)
            return Updated(family, "changes", counts.families[family].records, len(changed), feed.fetched - before)
    else:
        # Before the export, so that what changes meanwhile is asked for the next time.
        followed, _ = feed.changes(family, "")
    part = f"{advisories.path(family)}.part"
    # Without a list of changes the tag tells at least that there are none.
    same = head.etag if head is not None and not whole and head.source == feed.source else ""
    etag = feed.export(family, part, same)
    if head is not None and same and etag == same:
        os.utime(advisories.path(family))
        return Updated(family, "unchanged", head.records, 0, feed.fetched - before)
    facts = {"fetched": now, "whole": now, "followed": followed, "source": feed.source, "etag": etag}
    try:
        counts = advisories.add(osv_sources.archive(part), only=family, replace=True, facts=facts)
    finally:
        # Whole but broken: it would be broken again.
        _remove(part)
    head = counts.families[family]
    return Updated(family, "whole", head.records, counts.read, feed.fetched - before)


def _recent(head: Head) -> bool:
    try:
        return bool(head.followed) and time() - parse_rfc3339(head.whole) < _WHOLE_SECONDS
    except ValueError:
        return False


def _remove(part: str) -> None:
    for path in (part, f"{part}.etag"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


class _Feed:
    """The server of the exports. `fetched` counts the bytes that came."""

    def __init__(self, source: str, emit: Emit) -> None:
        from urllib.parse import urlsplit

        from ...registry import hosts
        from ...registry.auth import Authorizer
        from ...registry.exchange import Server
        from ...registry.transport import Transport

        self.source = source
        self.fetched = 0
        self._emit = emit
        endpoint = hosts.endpoint_of(source)
        self._prefix = urlsplit(source).path.rstrip("/")
        self._transport = Transport(hosts.Settings.load())
        # Nobody logs in here: exports are for all.
        self._server = Server(self._transport, endpoint, Authorizer(self._transport, endpoint, lambda: None), emit)

    def close(self) -> None:
        self._transport.close()

    def _ask(self, family: str, name: str, headers: dict[str, str] | None = None) -> Answer:
        from urllib.parse import quote

        return self._server.ask("GET", f"{self._prefix}/{quote(family)}/{quote(name)}", (), headers or {})

    def _refused(self, family: str, name: str, answer: Answer) -> NotFound | RegistryError:
        where = f"{self.source}/{family}/{name}"
        if answer.status in (403, 404, 410):
            return NotFound(f"there are no advisories at {where} (status {answer.status})")
        return RegistryError(f"{where} answers with status {answer.status}")

    def changes(self, family: str, known: str) -> tuple[str, list[str] | None]:
        """Return up to when the list of changes goes, and the ids that changed after `known`; None for too many.

        Without `known` only the time is of interest. A server without such a list gives ("", None).
        """
        with self._ask(family, "modified_id.csv") as answer:
            if answer.status in (403, 404):
                return "", None
            if answer.status != 200:
                raise self._refused(family, "modified_id.csv", answer)
            newest = ""
            ids: dict[str, bool] = {}
            for line in self._lines(answer):
                moment, comma, name = line.partition(",")
                if not comma or not moment or not _ID.fullmatch(name):
                    raise Corrupt(
                        f"{self.source}/{family}/modified_id.csv has a line that is not TIME,ID: {line!r:.80}"
                    )
                newest = newest or moment
                # Without the Z, since a fraction may stand before it.
                if not known or moment.rstrip("Z") < known.rstrip("Z"):
                    break
                if moment == known and newest == known:
                    break
                ids[name] = True
                if len(ids) > _SINGLE:
                    return newest, None
            return newest, list(ids)

    def _lines(self, answer: Answer) -> Iterator[str]:
        rest = b""
        taken = 0
        while piece := answer.read(1 << 16):
            taken += len(piece)
            self.fetched += len(piece)
            if taken > _LINES_LIMIT:
                raise LimitExceeded(
                    f"{self.source}: the list of changes (modified_id.csv) is longer than {_LINES_LIMIT} bytes"
                )
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line.decode("utf-8", "replace").strip()
        if rest.strip():
            yield rest.decode("utf-8", "replace").strip()

    def record(self, family: str, name: str) -> bytes:
        """Return one record."""
        with self._ask(family, f"{name}.json") as answer:
            if answer.status != 200:
                raise self._refused(family, f"{name}.json", answer)
            data = answer.document(osv.RECORD_LIMIT, f"{self.source}/{family}/{name}.json")
            self.fetched += len(data)
            return data

    def export(self, family: str, part: str, same: str) -> str:
        """Fetch the whole export into the file `part`, from where it ends if it is there; return the export's ETag.

        When that is `same`, nothing is fetched.
        """
        from ...registry.transport import Broken

        for tries in range(1, _TRIES + 1):
            try:
                return self._export(family, part, same)
            except Broken as error:
                if tries == _TRIES or error.final:
                    error.hint = error.hint or "try again: the part that was fetched is kept"
                    raise
                self._server.pause(float(tries), error.message)
        raise AssertionError("the last try returns or raises")

    def _export(self, family: str, part: str, same: str) -> str:
        known = _text(f"{part}.etag")
        at = os.path.getsize(part) if known and os.path.exists(part) else 0
        headers = {"range": f"bytes={at}-", "if-range": known} if at else {}
        if same and not at:
            headers = {"if-none-match": same}
        with self._ask(family, "all.zip", headers) as answer:
            if answer.status == 304 and same and not at:
                return same
            if answer.status == 416:
                _remove(part)
                raise _broken(f"{self.source}/{family}/all.zip has changed")
            if answer.status not in (200, 206):
                raise self._refused(family, "all.zip", answer)
            etag = answer.headers.get("etag", "")
            start = f"bytes {at}-"
            if answer.status == 200 or not answer.headers.get("content-range", "").startswith(start) or etag != known:
                if answer.status == 206:
                    _remove(part)
                    raise _broken(f"{self.source}/{family}/all.zip answers with another part than was asked for")
                at = 0
                _remove(part)
            total = answer.length + at if answer.length >= 0 else 0
            if total > _EXPORT_LIMIT:
                raise LimitExceeded(f"{self.source}/{family}/all.zip has {total} bytes")
            # Only with a strong tag can it be gone on with: it says that the bytes are the same.
            if etag.startswith('"'):
                with open(f"{part}.etag", "w", encoding="ascii", errors="replace") as file:
                    file.write(etag)
            with open(part, "ab" if at else "wb") as file:
                done = self._pour(answer, file, family, at, total)
        if total and done != total:
            raise _broken(f"{self.source}/{family}/all.zip ended after {done} of {total} bytes")
        return etag

    def _pour(self, answer: Answer, file: BinaryIO, family: str, done: int, total: int) -> int:
        while piece := answer.read(_PIECE):
            file.write(piece)
            done += len(piece)
            self.fetched += len(piece)
            if done > _EXPORT_LIMIT:
                raise LimitExceeded(f"{self.source}/{family}/all.zip has more than {_EXPORT_LIMIT} bytes")
            self._emit(events.Event("advisories.progress", family, done=done, total=total))
        return done


def _broken(message: str) -> RegistryError:
    from ...registry.transport import Broken

    return Broken(message)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""
