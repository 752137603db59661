"""Finds the image that a name means, in the store or by pulling it; and whether this host's processor can run it."""

from __future__ import annotations

from ... import events
from ...errors import InvalidInput, NotFound, Unsupported
from ...oci import platform as platforms
from ...oci import reference as references
from ...store.rows import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.platform import Platform
    from ...store.rows.images import ImageRow
    from ...store.store import Store

HERE = ""  # look here alone, and say how an image may come


def find_image(store: Store, name: str, platform: str = "", pull: str = HERE) -> ImageRow:
    """Return the requested image, pulled from its registry as `pull` (missing, never, always, or HERE) requires.

    Raises NotFound with a hint, Unsupported for an image of another operating system, and what a pull raises.
    """
    if pull not in (HERE, "missing", "never", "always"):
        raise InvalidInput(f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"')
    wanted = platforms.parse(platform) if platform else None
    if pull == "always":
        _fetch(store, name, platform)
    try:
        image = images.resolve(store.meta, name, wanted)
    except NotFound as error:
        if pull in (HERE, "never") or not _may_be_pulled(name):
            if pull != "never":
                error.hint = error.hint or "bring it with `underlay pull`, `underlay load` or `underlay import`"
            raise
        store.emit(events.Event("image.missing", references.parse(name).familiar))
        _fetch(store, name, platform)
        image = images.resolve(store.meta, name, wanted)
    if image.os != "linux":
        raise Unsupported(f"image {name} is for {image.os}, this is Linux")
    return image


def _may_be_pulled(text: str) -> bool:
    """Return whether a name can be looked up in a registry: ids cannot."""
    if text.startswith(("sha256:", "sha512:")):
        return False
    try:
        references.parse(text)
    except InvalidInput:
        return False
    return True


def _fetch(store: Store, name: str, platform: str) -> None:
    try:
        from .transfer import pull

        pull(store, name, [platform] if platform else [])
    except BaseException:
        store.emit(events.Event("image.failed", name))
        raise


_QEMU = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}


def require_processor(name: str, platform: Platform, in_machine: bool = False) -> None:
    """Raise Unsupported unless this host can run programs of `platform`, those of the image `name`; `in_machine` says that
    a machine could."""
    host = platforms.host()
    if platforms.rank(host, platform) is None and not _emulated(platform.architecture):
        raise Unsupported(
            f"image {name} is for {platform}, this processor is {host}",
            ("run it with --isolation machine, " if in_machine else "")
            + f"register an emulator for {platform.architecture} in /proc/sys/fs/binfmt_misc (package qemu-user-binfmt), "
            "or use an image for this processor",
        )


def _emulated(architecture: str) -> bool:
    """Return whether binfmt_misc hands programs of `architecture` to an emulator that works inside containers."""
    path = f"/proc/sys/fs/binfmt_misc/qemu-{_QEMU.get(architecture, architecture)}"
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return False
    # Flag F: the emulator was opened when it was registered, so it need not be in the container.
    flags = [line.partition(":")[2] for line in text.splitlines() if line.startswith("flags")]
    return text.startswith("enabled") and any("F" in item for item in flags)
