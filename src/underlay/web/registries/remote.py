"""Images that are not here: in registries, known by their documents alone, and in archives of this host."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ...base.identify import image_source
from ...engine.images.history import steps_of
from ...errors import NotFound
from ...oci import platform as platforms
from ...oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...base.identify.image_source import Subject
    from ...engine.engine import Engine
    from ...engine.images.results import HistoryEntry

PLATFORMS = 100  # of an image on its page
_FRESH = 300.0  # seconds for which the documents of an image are kept, so that its tabs ask its registry once
_KEPT = 16  # images
NEEDS_FILES = {  # the tabs that need the files of an image: what they show
    "files": "its files",
    "packages": "its packages",
    "vulnerabilities": "what is known of the vulnerabilities of its packages",
    "compare": "what another image has otherwise",
}


def is_archive(name: str) -> bool:
    """Return whether a name is that of an archive or layout of this host, such as docker-archive:/path."""
    return name.startswith((*image_source.ARCHIVES, "/"))


def path_of(name: str) -> str:
    """Return the path in the name of an archive."""
    return next((name.removeprefix(each) for each in image_source.ARCHIVES if name.startswith(each)), name)


def normal(name: str) -> str:
    """Return a name as it is shown: that of an archive as it is, one in a registry in its short form, with a tag.

    Raises InvalidInput.
    """
    name = name.strip()
    return name if is_archive(name) else references.parse(name.removeprefix("docker://")).familiar


class RemoteImage:
    """An image that is not in the store, with what pages ask of an `engine.images.handle.Image`.

    `name` and `asked_platform` are how it was asked for, `offered` the platforms that its index has ([] without an index).
    `size` is the bytes of its layers as its registry has them, 0 where that is not known. `subject` is what functions of
    `engine.bases` take for it.
    """

    __slots__ = (
        *(
            "asked_platform",
            "created",
            "diff_ids",
            "digests",
            "id",
            "is_archive",
            "name",
            "offered",
            "platform",
            "size",
        ),
        *("subject", "tags"),
    )

    def __init__(self, subject: Subject, name: str, asked_platform: str) -> None:
        self.subject = subject
        self.name = name
        self.asked_platform = asked_platform
        self.is_archive = is_archive(name)
        self.id = subject.id
        self.platform = str(subject.platform)
        self.created = subject.view.created or ""
        self.diff_ids = subject.view.diff_ids
        self.size = sum(size for _, size in subject.layers)
        self.offered = subject.offered[:PLATFORMS]
        self.tags = [name]
        manifest = [subject.manifest.digest] if subject.manifest is not None and not self.is_archive else []
        repository = references.parse(name).familiar_repository if manifest else ""
        self.digests = [f"{repository}@{digest}" for digest in (*subject.above, *manifest)]

    @property
    def config(self) -> Mapping[str, Any]:
        """The OCI image configuration of the image."""
        return self.subject.value

    def history(self) -> list[HistoryEntry]:
        """Return its history, newest first, with the sizes of layers as its registry has them."""
        sizes = {diff_id: size for diff_id, (_, size) in zip(self.diff_ids, self.subject.layers, strict=False)}
        return steps_of(self.config, self.diff_ids, sizes)


class RemoteImages:
    """The images that were looked at in the last minutes. Several threads may use it."""

    def __init__(self) -> None:
        self._images: dict[tuple[str, str], tuple[float, RemoteImage]] = {}
        self._lock = threading.Lock()

    def get(self, engine: Engine, name: str, platform: str = "") -> RemoteImage:
        """Return an image of a registry or an archive by its name in normal form, for one platform of it or by default
        this host's.

        Raises InvalidInput, NotFound, PlatformMissing, and what registries and archives raise.
        """
        if platform:
            platforms.parse(platform)
        if is_archive(name):  # which is read again, as it may be another by now
            return RemoteImage(image_source.find(engine._store, name, platform), name, platform)
        now = time.monotonic()
        with self._lock:
            self._images = {key: known for key, known in self._images.items() if now - known[0] < _FRESH}
            known = self._images.get((name, platform))
        if known is not None:
            return known[1]
        found = RemoteImage(image_source.find(engine._store, f"docker://{name}", platform), name, platform)
        with self._lock:
            self._images[name, platform] = time.monotonic(), found
            while len(self._images) > _KEPT:
                del self._images[next(iter(self._images))]
        return found


def local_id(engine: Engine, image: RemoteImage) -> str:
    """Return the id of the same image in the store, "" when it is not there."""
    try:
        return engine.images.get(image.id).id
    except NotFound:
        return ""


def address(word: str, name: str, platform: str = "") -> str:
    """Return the URL path of a tab of an image that is not in the store."""
    query = urlencode({"name": name, **({"platform": platform} if platform else {})})
    return f"/remote?{query}" if word == "overview" else f"/remote/{word}?{query}"
