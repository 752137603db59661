"""A registry in this process that can be made to misbehave.

with FakeRegistry() as registry:
    registry.add(image(), "team/app", "1.0")
    registry.rule("GET", r"/blobs/", cut_after(1000), times=1)
    …
    assert [each.headers.get("range") for each in registry.asked("GET", "/blobs/")] == [None, "bytes=1000-"]
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import urllib.parse
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakeserver import Handler, HasContext, Headers, Request, Server
from remoteimages import INDEX, Image, Index, encoded

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
DIGEST = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}"
TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
ROUTES = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"/v2/?", "version"),
        (r"/v2/_catalog", "catalog"),
        (rf"/v2/({NAME})/manifests/({DIGEST}|{TAG})", "manifest"),
        (rf"/v2/({NAME})/blobs/uploads/", "uploads"),
        (rf"/v2/({NAME})/blobs/uploads/([^/]+)", "upload"),
        (rf"/v2/({NAME})/blobs/({DIGEST})", "blob"),
        (rf"/v2/({NAME})/tags/list", "tags"),
        (rf"/v2/({NAME})/referrers/({DIGEST})", "referrers"),
    ]
]

Judge = Callable[[str, str], bool]


class IssuesTokens(Protocol):
    def challenge(self) -> str: ...

    def judge(self, authorization: str, scope: str) -> bool: ...


@dataclass
class Upload:
    data: bytearray = field(default_factory=bytearray)
    states: set[str] = field(default_factory=set)


@dataclass
class Repository:
    """What a repository holds; `documents` are manifests and indexes: digest → (media type, bytes)."""

    documents: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)


class Problem(Exception):
    """An answer that is an error in the words of the specification."""

    def __init__(self, status: int, code: str, message: str = "", headers: Headers | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.headers = headers or {}
        self.body = encoded({"errors": [{"code": code, "message": message or code.lower(), "detail": None}]})


def scope_of(request: Request) -> str:
    """What a token must allow for this request; empty when it must only be there."""
    if request.path == "/v2/_catalog":
        return "registry:catalog:*"
    match = re.match(rf"/v2/({NAME})/(?:manifests|blobs|tags|referrers)/", request.path)
    if not match:
        return ""
    actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "pull,push")
    if "/blobs/uploads/" in request.path:
        actions = "pull,push"
    return f"repository:{match[1]}:{actions}"


class FakeRegistry(Server):
    """A registry in memory that speaks the OCI distribution protocol 1.1.

    Who may ask: everyone, or `users` (name → password, Basic), or who has a token of a `TokenServer`, or whom `judge`
    (Authorization, scope) lets in after `challenge`, in which {scope} stands for what the request needs.

    Its manners: `mounts` blobs from other repositories; takes a blob in a `single_post`; knows `referrers`; `deletes`;
    gives `absolute` locations of uploads; lists at most `page` entries; `negotiates`: has no manifest of a type that
    Accept does not name, as docker-registry; `checks` that what a manifest names is there; wants chunks of at least
    `least_chunk` bytes but for the last.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | HasContext | None = None,
        *,
        users: dict[str, str] | None = None,
        token: IssuesTokens | None = None,
        challenge: str | list[str] | None = None,
        judge: Judge | None = None,
        mounts: bool = True,
        single_post: bool = True,
        referrers: bool = True,
        deletes: bool = True,
        absolute: bool = False,
        page: int = 0,
        negotiates: bool = False,
        checks: bool = True,
        least_chunk: int = 0,
    ) -> None:
        self.repositories: dict[str, Repository] = {}
        self.challenge: str | list[str] | None = challenge
        self.judge: Judge | None = judge
        self.token = token
        if users is not None:
            accepted = {"Basic " + base64.b64encode(f"{n}:{p}".encode()).decode() for n, p in users.items()}
            self.challenge = challenge or 'Basic realm="fake"'
            self.judge = lambda authorization, _: authorization in accepted
        elif token is not None:
            self.challenge = challenge or token.challenge()
            self.judge = judge or token.judge
        elif challenge is not None and judge is None:
            self.judge = lambda authorization, _: bool(authorization)
        self.mounts, self.single_post, self.has_referrers = mounts, single_post, referrers
        self.deletes, self.absolute, self.page = deletes, absolute, page
        self.negotiates, self.checks, self.least_chunk = negotiates, checks, least_chunk
        super().__init__(tls)

    # What tests do with it

    def add(self, image: Image | Index, repository: str, *tags: str) -> str:
        """Put an image there; returns its name with the first tag, or else with its digest."""
        place = self.repository(repository)
        place.documents.update(image.documents)
        place.blobs.update(image.blobs)
        place.tags.update(dict.fromkeys(tags, image.digest))
        return f"{self.host}/{repository}" + (f":{tags[0]}" if tags else f"@{image.digest}")

    def repository(self, name: str) -> Repository:
        with self.lock:
            return self.repositories.setdefault(name, Repository())

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """The document that a tag or digest names."""
        place = self.repository(repository)
        found: dict[str, Any] = json.loads(place.documents[place.tags.get(reference, reference)][1])
        return found

    # The protocol

    def denied(self, handler: Handler) -> bool:
        scope = scope_of(handler.asked)
        if self.judge is None or self.judge(handler.asked.headers.get("authorization", ""), scope):
            return False
        said = [self.challenge] if isinstance(self.challenge, str) else self.challenge or []
        problem = Problem(401, "UNAUTHORIZED", "authentication required")
        said = [each.replace("{scope}", scope) if scope else re.sub(r',?[a-z]+="\{scope\}"', "", each) for each in said]
        handler.answer(401, problem.body, {"WWW-Authenticate": said or None})
        return True

    def serve(self, handler: Handler) -> None:
        handler.extra = {"Docker-Distribution-Api-Version": "registry/2.0", **handler.extra}
        try:
            for pattern, name in ROUTES:
                match = pattern.fullmatch(handler.asked.path)
                if match:
                    method = handler.command.replace("HEAD", "GET").lower()
                    action = getattr(self, f"_{method}_{name}", None)
                    if action is None:
                        raise Problem(405, "UNSUPPORTED")
                    action(handler, *match.groups())
                    return
            raise Problem(404, "NAME_INVALID" if handler.asked.path.startswith("/v2/") else "NOT_FOUND")
        except Problem as problem:
            handler.answer(problem.status, problem.body, problem.headers)

    def _known(self, name: str) -> Repository:
        with self.lock:
            if name not in self.repositories:
                raise Problem(404, "NAME_UNKNOWN", "repository name not known to registry")
            return self.repositories[name]

    def _get_version(self, handler: Handler) -> None:
        handler.answer(200, b"{}")

    def _get_catalog(self, handler: Handler) -> None:
        names = [name for name, place in self.repositories.items() if place.documents or place.blobs]
        some, headers = self._page(handler, names, "/v2/_catalog")
        handler.answer(200, encoded({"repositories": some}), headers)

    def _get_tags(self, handler: Handler, name: str) -> None:
        some, headers = self._page(handler, self._known(name).tags, f"/v2/{name}/tags/list")
        handler.answer(200, encoded({"name": name, "tags": some}), headers)

    def _page(self, handler: Handler, words: Iterable[str], path: str) -> tuple[list[str], Headers]:
        query = handler.asked.query
        found = sorted(word for word in words if word > query.get("last", ""))
        try:
            count = int(query["n"]) if "n" in query else len(found)
        except ValueError:
            raise Problem(400, "PAGINATION_NUMBER_INVALID")
        if self.page:
            count = min(count, self.page)
        some = found[:count]
        if not some or len(some) == len(found):
            return some, {}
        more = urllib.parse.urlencode({"last": some[-1], "n": count})
        return some, {"Link": f'<{path}?{more}>; rel="next"'}

    # Manifests

    def _document(self, name: str, reference: str) -> tuple[Repository, str]:
        place = self._known(name)
        digest = place.tags.get(reference, reference)
        if digest not in place.documents:
            raise Problem(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return place, digest

    def _get_manifest(self, handler: Handler, name: str, reference: str) -> None:
        place, digest = self._document(name, reference)
        kind, data = place.documents[digest]
        accepted = handler.asked.headers.get("accept", "*/*")
        if self.negotiates and "*/*" not in accepted and kind not in accepted:
            raise Problem(404, "MANIFEST_UNKNOWN", "manifest found, but accept header does not support its type")
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        if digest in handler.asked.headers.get("if-none-match", ""):
            handler.answer(304, headers=headers)
        else:
            handler.answer(200, data, headers, kind)

    def _put_manifest(self, handler: Handler, name: str, reference: str) -> None:
        data = handler.read_body()
        place = self.repository(name)
        algorithm = reference.split(":")[0] if ":" in reference else "sha256"
        digest = _digest(data, algorithm)
        if ":" in reference and digest != reference:
            raise Problem(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        try:
            value = json.loads(data)
        except ValueError:
            raise Problem(400, "MANIFEST_INVALID")
        kind = handler.asked.headers.get("content-type", "")
        if value.get("mediaType", kind) != kind:
            raise Problem(400, "MANIFEST_INVALID", f"mediaType is not {kind}")
        wanted = [value["config"], *value.get("layers", [])] if "config" in value else []
        missing = [each["digest"] for each in wanted if each["digest"] not in place.blobs and not each.get("urls")]
        missing += [e["digest"] for e in value.get("manifests", []) if e["digest"] not in place.documents]
        if missing and self.checks:
            raise Problem(400, "MANIFEST_BLOB_UNKNOWN", f"unknown: {' '.join(missing)}")
        place.documents[digest] = (kind, data)
        if ":" not in reference:
            place.tags[reference] = digest
        headers = {"Location": self._location(f"/v2/{name}/manifests/{digest}"), "Docker-Content-Digest": digest}
        if "subject" in value and self.has_referrers:
            headers["OCI-Subject"] = value["subject"]["digest"]
        handler.answer(201, headers=headers)

    def _delete_manifest(self, handler: Handler, name: str, reference: str) -> None:
        self._may_delete()
        place, digest = self._document(name, reference)
        if reference in place.tags:
            del place.tags[reference]
        else:
            del place.documents[digest]
            for tag in [tag for tag, named in place.tags.items() if named == digest]:
                del place.tags[tag]
        handler.answer(202)

    def _may_delete(self) -> None:
        if not self.deletes:
            raise Problem(405, "UNSUPPORTED", "the operation is unsupported")

    def _get_referrers(self, handler: Handler, name: str, digest: str) -> None:
        if not self.has_referrers:
            raise Problem(404, "NOT_FOUND")
        place = self.repositories.get(name, Repository())
        found = []
        for own, (kind, data) in place.documents.items():
            value = json.loads(data)
            if value.get("subject", {}).get("digest") == digest:
                entry = {"mediaType": kind, "digest": own, "size": len(data)}
                entry["artifactType"] = value.get("artifactType") or value.get("config", {}).get("mediaType")
                if "annotations" in value:
                    entry["annotations"] = value["annotations"]
                found.append(entry)
        headers = {}
        wanted = handler.asked.query.get("artifactType")
        if wanted:
            found = [entry for entry in found if entry["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        if self.page:
            start = int(handler.asked.query.get("from") or 0)
            if start + self.page < len(found):
                path = f"/v2/{name}/referrers/{digest}?from={start + self.page}"
                headers["Link"] = f'<{path}>; rel="next"'
            found = found[start : start + self.page]
        value = {"schemaVersion": 2, "mediaType": INDEX[False], "manifests": found}
        handler.answer(200, encoded(value), headers, INDEX[False])

    # Blobs

    def _blob(self, name: str, digest: str) -> tuple[Repository, bytes]:
        place = self._known(name)
        if digest not in place.blobs:
            raise Problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return place, place.blobs[digest]

    def _get_blob(self, handler: Handler, name: str, digest: str) -> None:
        _, data = self._blob(name, digest)
        tag = f'"{digest}"'
        headers = {"Docker-Content-Digest": digest, "ETag": tag}
        if not handler.ignores_range:
            headers["Accept-Ranges"] = "bytes"
        span = handler.asked.headers.get("range", "")
        if span and not handler.ignores_range and handler.asked.headers.get("if-range", tag) == tag:
            found = _span(span, len(data))
            if found is None:
                raise Problem(416, "RANGE_INVALID", headers={"Content-Range": f"bytes */{len(data)}"})
            begin, end = found
            shift, honest = handler.range_shift
            low = max(0, begin + shift)
            high = min(len(data), end + shift)
            first, last = (low, high) if honest else (begin, end)
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
            handler.answer(206, memoryview(data)[low:high], headers, "application/octet-stream")
        else:
            handler.answer(200, data, headers, "application/octet-stream")

    def _delete_blob(self, handler: Handler, name: str, digest: str) -> None:
        self._may_delete()
        place, _ = self._blob(name, digest)
        del place.blobs[digest]
        handler.answer(202)

    # Uploads

    def _location(self, path: str) -> str:
        return self.url + path if self.absolute else path

    def _stored(self, handler: Handler, name: str, digest: str) -> None:
        location = self._location(f"/v2/{name}/blobs/{digest}")
        handler.answer(201, headers={"Location": location, "Docker-Content-Digest": digest})

    def _store(self, handler: Handler, name: str, digest: str, data: bytes) -> None:
        algorithm = digest.partition(":")[0]
        if not re.fullmatch(DIGEST, digest) or _digest(data, algorithm) != digest:
            raise Problem(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.repository(name).blobs[digest] = data
        self._stored(handler, name, digest)

    def _post_uploads(self, handler: Handler, name: str) -> None:
        query = handler.asked.query
        place = self.repository(name)
        mount = query.get("mount", "")
        if mount and self.mounts:
            sources = [self.repositories.get(query["from"])] if "from" in query else []
            for source in sources:
                if source and mount in source.blobs:
                    place.blobs[mount] = source.blobs[mount]
                    self._stored(handler, name, mount)
                    return
        if "digest" in query and self.single_post:
            self._store(handler, name, query["digest"], handler.read_body())
            return
        number = str(uuid.uuid4())
        place.uploads[number] = Upload()
        self._accepted(handler, name, number, 202)

    def _accepted(self, handler: Handler, name: str, number: str, code: int) -> None:
        handler.answer(code, headers=self._progress(name, number))

    def _progress(self, name: str, number: str) -> Headers:
        """What is said of an upload: where it goes on, with a state that must be brought along, and how far it is."""
        upload = self.repository(name).uploads[number]
        state = uuid.uuid4().hex
        upload.states.add(state)
        headers = {
            "Location": self._location(f"/v2/{name}/blobs/uploads/{number}?_state={state}"),
            "Docker-Upload-UUID": number,
            "Range": f"0-{max(0, len(upload.data) - 1)}",
        }
        if self.least_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.least_chunk)
        return headers

    def _upload(self, handler: Handler, name: str, number: str) -> tuple[Repository, Upload]:
        place = self._known(name)
        upload = place.uploads.get(number)
        if upload is None:
            raise Problem(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if handler.asked.query.get("_state") not in upload.states:
            raise Problem(400, "BLOB_UPLOAD_INVALID", "the query of the location was not brought along")
        return place, upload

    def _receive(self, handler: Handler, name: str, number: str, upload: Upload) -> None:
        """Append the body to an upload, each piece as it comes: what came before an interruption is kept."""
        headers = handler.asked.headers
        span = headers.get("content-range", "")
        if span:
            match = re.fullmatch(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", span)
            if not match or int(match[1]) != len(upload.data):
                raise Problem(416, "RANGE_INVALID", headers=self._progress(name, number))
            length = headers.get("content-length")
            if length is not None and int(length) != int(match[2]) - int(match[1]) + 1:
                raise Problem(400, "SIZE_INVALID")
        for piece in handler.pieces():
            upload.data += piece

    def _patch_upload(self, handler: Handler, name: str, number: str) -> None:
        _, upload = self._upload(handler, name, number)
        self._receive(handler, name, number, upload)
        self._accepted(handler, name, number, 202)

    def _put_upload(self, handler: Handler, name: str, number: str) -> None:
        place, upload = self._upload(handler, name, number)
        if "digest" not in handler.asked.query:
            raise Problem(400, "DIGEST_INVALID")
        self._receive(handler, name, number, upload)
        del place.uploads[number]
        self._store(handler, name, handler.asked.query["digest"], bytes(upload.data))

    def _get_upload(self, handler: Handler, name: str, number: str) -> None:
        self._upload(handler, name, number)
        self._accepted(handler, name, number, 204)

    def _delete_upload(self, handler: Handler, name: str, number: str) -> None:
        place, _ = self._upload(handler, name, number)
        del place.uploads[number]
        handler.answer(204)


def _digest(data: bytes, algorithm: str) -> str:
    try:
        return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    except ValueError:
        raise Problem(400, "DIGEST_INVALID", "unknown algorithm")


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """What of `size` bytes a Range of one part asks for: begin and end; None when there is nothing of it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(0, size - int(match[2])), size
    else:
        begin, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    return (begin, end) if begin < end else None
