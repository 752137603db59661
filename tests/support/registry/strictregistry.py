"""A registry that does what the OCI distribution specification 1.1 says a registry must do, and nothing that it may.

Each request is held against the specification; what a client does against it fails the test when the registry is closed.
Answers have the headers that the specification demands and no other, which clients tend to lean on.

Sections of the specification are named where something is refused.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable

from fakeregistry import DIGEST, NAME, ROUTES, TAG, FakeRegistry, Problem
from fakeserver import Handler, Headers
from remoteimages import INDEX, MANIFEST

# What may stand in the query of a request, by what it is for.
_QUERIES = {
    ("GET", "tags"): {"n", "last"},
    ("GET", "catalog"): {"n", "last"},  # not in the specification any more
    ("GET", "referrers"): {"artifactType"},
    ("POST", "uploads"): {"mount", "from", "digest", "digest-algorithm"},
    ("PUT", "upload"): {"_state", "digest"},
    ("PATCH", "upload"): {"_state"},
    ("GET", "upload"): {"_state"},
    ("DELETE", "upload"): {"_state"},
}
_METHODS = {
    "version": {"GET"},
    "catalog": {"GET"},
    "manifest": {"GET", "HEAD", "PUT", "DELETE"},
    "blob": {"GET", "HEAD", "DELETE"},
    "uploads": {"POST"},
    "upload": {"PATCH", "PUT", "GET", "DELETE"},
    "tags": {"GET"},
    "referrers": {"GET"},
}
_BODIES = {"POST", "PUT", "PATCH"}
_OPTIONAL = ("Docker-Distribution-Api-Version", "Docker-Upload-UUID", "ETag", "Accept-Ranges")


class StrictRegistry(FakeRegistry):
    """A `FakeRegistry` of good manners only. `wrongs` are what clients have done against the specification.

    Other than in the specification, a blob may be streamed: a PATCH without Content-Range, whose end nobody knows yet, as
    docker's client sends it and all registries take it. With `links` lists that go on say so by a Link; without, as
    before version 1.1, only their length tells. `digests` tells whether Docker-Content-Digest is sent with what is
    pulled (demanded since 1.1.1).
    """

    def __init__(self, *, links: bool = True, digests: bool = True, **manners: object) -> None:
        self.wrongs: list[str] = []
        self.links, self.digests = links, digests
        self._places: dict[str, str] = {}  # upload → the place that was named last
        super().__init__(**{"absolute": True, "negotiates": True, **manners})  # type: ignore[arg-type]

    def __exit__(self, kind: object, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if kind is None and self.wrongs:
            raise AssertionError("against the specification:\n" + "\n".join(self.wrongs))

    # Each request

    def serve(self, handler: Handler) -> None:
        for header in _OPTIONAL:
            handler.extra[header] = None
        if not self.digests or handler.command not in ("GET", "HEAD", "PUT"):
            handler.extra["Docker-Content-Digest"] = None
        what = _kind(handler.asked.path)
        if what:
            self._check(handler, what)
        super().serve(handler)

    def _wrong(self, handler: Handler, section: str, words: str) -> None:
        said = {name: value for name, value in handler.asked.headers.items() if name != "authorization"}
        self.wrongs.append(f"{handler.command} {handler.asked.target}: {words} ({section}); {said}")

    def _check(self, handler: Handler, what: str) -> None:
        asked, headers = handler.asked, handler.asked.headers
        if handler.command not in _METHODS[what]:
            self._wrong(handler, "Endpoints", "no such method there")
        for name in asked.query.keys() - _QUERIES.get((handler.command, what), set()):
            self._wrong(handler, "Endpoints", f"a query {name}")
        if "host" not in headers:
            self._wrong(handler, "RFC 9110, 7.2", "no Host")
        if "%" in asked.target.partition("?")[0]:
            self._wrong(handler, "Pulling manifests", "a name or reference that is escaped")
        body = bool(handler.chunked or int(headers.get("content-length", 0)))
        if handler.command in _BODIES and not handler.chunked and "content-length" not in headers:
            self._wrong(handler, "RFC 9112, 6", "neither Content-Length nor chunks")
        if handler.command not in _BODIES and body:
            self._wrong(handler, "RFC 9110, 9.3", "a body")
        check = getattr(self, f"_check_{handler.command.lower()}_{what}", None)
        if check is not None:
            check(handler)

    def _check_get_manifest(self, handler: Handler) -> None:
        named = {each.partition(";")[0].strip() for each in handler.asked.headers.get("accept", "").split(",")}
        for kind in (*MANIFEST.values(), *INDEX.values()):
            if kind not in named:
                self._wrong(handler, "Pulling manifests", f"Accept does not name {kind}")

    _check_head_manifest = _check_get_manifest

    def _check_put_manifest(self, handler: Handler) -> None:
        kind = handler.asked.headers.get("content-type", "")
        if kind not in (*MANIFEST.values(), *INDEX.values()):
            self._wrong(handler, "Pushing manifests", f"Content-Type {kind!r}")
        if "content-length" not in handler.asked.headers:
            self._wrong(handler, "Pushing manifests", "no Content-Length")

    def _check_get_tags(self, handler: Handler) -> None:
        query = handler.asked.query
        if "n" in query and not query["n"].isdecimal():
            self._wrong(handler, "Listing tags", f"n is {query['n']!r}")
        if "last" in query and not re.fullmatch(TAG, query["last"]):
            self._wrong(handler, "Listing tags", f"last is {query['last']!r}")

    def _check_post_uploads(self, handler: Handler) -> None:
        query, headers = handler.asked.query, handler.asked.headers
        if "mount" in query and not re.fullmatch(DIGEST, query["mount"]):
            self._wrong(handler, "Mounting a blob", f"mount is {query['mount']!r}")
        if "from" in query and not re.fullmatch(NAME, query["from"]):
            self._wrong(handler, "Mounting a blob", f"from is {query['from']!r}")
        if "digest" in query:
            self._check_blob(handler)
        elif headers.get("content-length") != "0":
            self._wrong(handler, "Pushing a blob in chunks", f"Content-Length {headers.get('content-length')}")

    def _check_patch_upload(self, handler: Handler) -> None:
        self._check_place(handler)
        self._check_blob(handler)

    def _check_put_upload(self, handler: Handler) -> None:
        self._check_place(handler)
        if not re.fullmatch(DIGEST, handler.asked.query.get("digest", "")):
            self._wrong(handler, "Pushing a blob in chunks", "no digest of the whole blob")
        if handler.chunked or int(handler.asked.headers.get("content-length", 0)):
            self._check_blob(handler)

    def _check_blob(self, handler: Handler) -> None:
        headers = handler.asked.headers
        if headers.get("content-type") != "application/octet-stream":
            self._wrong(handler, "Pushing blobs", f"Content-Type {headers.get('content-type')}")
        span = headers.get("content-range")
        if (handler.chunked or "content-length" not in headers) and (span or handler.command != "PATCH"):
            self._wrong(handler, "Pushing blobs", "no Content-Length")
        if span is None:
            return
        match = re.fullmatch(r"(\d+)-(\d+)", span)
        if not match:
            self._wrong(handler, "Pushing a blob in chunks", f"Content-Range {span}")
        elif int(match[2]) - int(match[1]) + 1 != int(headers.get("content-length", -1)):
            self._wrong(handler, "Pushing a blob in chunks", "Content-Range and Content-Length do not fit")

    def _check_place(self, handler: Handler) -> None:
        """Hold an upload's place against the one that was named last."""
        number = handler.asked.path.rpartition("/")[2]
        place = urllib.parse.urlsplit(self._places.get(number, ""))
        query = urllib.parse.parse_qsl(handler.asked.target.partition("?")[2])
        if ("_state", dict(urllib.parse.parse_qsl(place.query)).get("_state")) not in query:
            self._wrong(handler, "Pushing a blob in chunks", "not the place that was named last")

    # Answers that differ

    def _progress(self, name: str, number: str) -> Headers:
        headers = super()._progress(name, number)
        upload = self.repository(name).uploads[number]
        self._places[number] = headers["Location"]
        if not upload.data:
            del headers["Range"]  # there is no end of nothing
        return headers

    def _accepted(self, handler: Handler, name: str, number: str, code: int) -> None:
        headers = self._progress(name, number)
        if handler.command != "POST":
            headers.pop("OCI-Chunk-Min-Length", None)
        handler.answer(code, headers=headers)

    def _page(self, handler: Handler, words: Iterable[str], path: str) -> tuple[list[str], Headers]:
        some, headers = super()._page(handler, words, path)
        if handler.asked.query.get("n") == "0":
            return [], {}
        return some, (headers if self.links else {})

    def _get_referrers(self, handler: Handler, name: str, digest: str) -> None:
        if self.has_referrers and not re.fullmatch(DIGEST, digest):
            raise Problem(400, "DIGEST_INVALID")
        super()._get_referrers(handler, name, digest)


def _kind(path: str) -> str:
    return next((name for pattern, name in ROUTES if pattern.fullmatch(path)), "")
