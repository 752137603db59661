"""Image configurations and their history (OCI image specification, config.md), with docker's additions."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import InvalidInput, LimitExceeded
from . import digest, document, mediatype
from . import platform as platforms
from .manifest import LAYERS_LIMIT

HISTORY_LIMIT = 20_000
TEXT_LIMIT = 1 << 20  # characters of one environment variable, label or word of a command


class Health(msgspec.Struct, rename="pascal"):
    """Docker's HEALTHCHECK; times in nanoseconds."""

    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class Execution(msgspec.Struct, rename="pascal"):
    """What to run and how: the `config` member. Any field may be null, as docker writes them."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    healthcheck: Health | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None
    hostname: str | None = None
    args_escaped: bool | None = None


class RootFS(msgspec.Struct):
    """The layers by diff id, lowest first."""

    diff_ids: list[str] | None = None
    type: str | None = None


class Step(msgspec.Struct):
    """One entry of the history, oldest first."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class Config(msgspec.Struct, rename={"stated_architecture": "architecture", "stated_os": "os"}):
    """An image configuration; its digest is the image id.

    `os` and `architecture` must be there (OCI image specification), but are not in every image: see `platform`.
    """

    rootfs: RootFS
    stated_architecture: str | None = None
    stated_os: str | None = None
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    config: Execution | None = None
    history: list[Step] | None = None

    @property
    def os(self) -> str:
        """The operating system, Linux when none is stated."""
        return self.platform().os

    @property
    def architecture(self) -> str:
        """The architecture, this host's when none is stated."""
        return self.stated_architecture or self.platform().architecture

    def platform(self, described: platforms.Platform | None = None) -> platforms.Platform:
        """Return the platform; what is not stated is as its descriptor in an index says, else Linux on this processor.

        So docker and podman have it.
        """
        other = described if described is not None and described.architecture else platforms.host()
        os = self.stated_os or (described.os if described is not None else "") or "linux"
        if self.stated_architecture:
            return platforms.normalise(os, self.stated_architecture, self.variant or "")
        return platforms.normalise(os, other.architecture, self.variant or other.variant)

    @property
    def diff_ids(self) -> list[str]:
        """Layers, lowest first."""
        return self.rootfs.diff_ids or []


def read(data: bytes, what: str) -> document.Document:
    """Return the checked configuration in `data`.

    More history entries with a layer than layers is an error, as docker has it; fewer happen in real images
    (a tool appends a layer to an image without history) and are let be. Raises InvalidInput or LimitExceeded.
    """
    configuration = document.read(data, Config, what, document.CONFIG_LIMIT)
    own = configuration.value.get("mediaType")
    if isinstance(own, str) and own in mediatype.INDEXES | mediatype.MANIFESTS:
        raise InvalidInput(f"{what}: $.mediaType: {own} is not a media type of configurations")
    view: Config = configuration.view
    diff_ids = view.diff_ids
    if len(diff_ids) > LAYERS_LIMIT:
        raise LimitExceeded(f"{what}: more than {LAYERS_LIMIT} layers")
    for number, diff_id in enumerate(diff_ids):
        digest.check(diff_id, f"{what}: $.rootfs.diff_ids[{number}]")
    history = view.history or []
    if len(history) > HISTORY_LIMIT:
        raise LimitExceeded(f"{what}: more than {HISTORY_LIMIT} history entries")
    filled = sum(not step.empty_layer for step in history)
    if filled > len(diff_ids):
        raise InvalidInput(
            f"{what}: $.history: {filled} entries have a layer, but $.rootfs.diff_ids has {len(diff_ids)}"
        )
    _check_execution(view.config, what)
    return configuration


def _check_execution(execution: Execution | None, what: str) -> None:
    """Refuse what no kernel could take: words with a zero byte, endless text."""
    if execution is None:
        return
    for member in ("env", "entrypoint", "cmd", "shell", "on_build"):
        for number, word in enumerate(getattr(execution, member) or ()):
            _check_text(word, f"{what}: $.config.{member}[{number}]")
    for member in ("user", "working_dir", "stop_signal", "hostname"):
        _check_text(getattr(execution, member) or "", f"{what}: $.config.{member}")
    for path in execution.volumes or ():
        _check_text(path, f"{what}: $.config.Volumes")


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise InvalidInput(f"{where}: holds a zero byte")
    if len(text) > TEXT_LIMIT:
        raise LimitExceeded(f"{where}: longer than {TEXT_LIMIT} characters")
