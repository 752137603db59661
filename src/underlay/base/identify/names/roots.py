"""Root file systems that say in their own build step what they are: `ADD alpine-minirootfs-3.22.6-x86_64.tar.gz /`."""

from __future__ import annotations

import re

import msgspec

from .. import history

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DEBIAN = re.compile(r"# debian\.sh .*?'(?P<suite>[a-z]+)'(?: '@(?P<time>[0-9]{1,12})')?")
_DISTTAG = re.compile(r"DISTTAG=f(\d+)")
_LABEL = re.compile(r"^LABEL org\.opencontainers\.image\.version=(\d\d\.\d\d)")
_UMOCI = re.compile(r"umoci .*?(?P<name>[a-z]+)-(?P<version>\d\d\.\d\d)|ubuntu[ :-](?P<only>\d\d\.\d\d)")
_TARBALL = re.compile(
    r"^(?:ADD|COPY) (?P<name>[a-z][a-z]+)-(?:[a-z]+-)?(?P<version>\d+(?:\.\d+)*)[^/ ]*\.tar(?:\.\w+)? /"
)
_AT_ROOT = re.compile(r" (?:in )?/(?: # buildkit)?$")
_SLIM = 40_000_000  # bytes of a compressed layer: Debian's slim variants are smaller, the others larger


class Root(msgspec.Struct, frozen=True):
    """What a root's own steps say: the name it goes by, the steps that are the root's, and the step that says so."""

    name: str
    steps: int
    step: str


def read(steps: Sequence[str], size: int = 0) -> Root | None:
    """Return what the first steps of an image say of its root; `size` is that of its lowest layer, 0 if not known."""
    for spot, step in enumerate(steps[:8]):
        name = _name(step, size)
        if name:
            return Root(name, _end(steps, spot), step[:100])
        if history.instruction(step) in ("CMD", "ENTRYPOINT"):
            break
    return None


def unnamed(steps: Sequence[str]) -> int:
    """Return how many of the first steps make a root that does not say what it is, and that others stand on: an archive put
    at the root and a command, then steps that fill more layers. 0 where there is none such."""
    if not steps or history.instruction(steps[0]) not in ("ADD", "COPY") or not _AT_ROOT.search(steps[0]):
        return 0
    end = _end(steps, 0)
    more = any(history.instruction(step) in ("ADD", "COPY", "RUN") for step in steps[end:])
    return end if more and history.instruction(steps[end - 1]) == "CMD" else 0


def _name(step: str, size: int) -> str:
    debian = _DEBIAN.search(step[:300])
    if debian:
        return f"debian:{debian['suite']}{'-slim' if 0 < size < _SLIM else ''}"
    fedora = _DISTTAG.search(step[:300])
    if fedora:
        return f"fedora:{fedora[1]}"
    ubuntu = _LABEL.match(step)
    if ubuntu:
        return f"ubuntu:{ubuntu[1]}"
    umoci = _UMOCI.search(step[:300])
    if umoci:
        return f"ubuntu:{umoci['version'] or umoci['only']}"
    if step.startswith("COPY /rootfs/ / #"):
        return "amazonlinux:2023"
    tarball = _TARBALL.match(step)
    if tarball:
        parts = tarball["version"].split(".")
        # Alpine's tags name the branch, those of the others the release; three numbers are one build of a branch.
        return f"{tarball['name']}:{'.'.join(parts[:2] if len(parts) > 2 else parts)}"
    return ""


def _end(steps: Sequence[str], spot: int) -> int:
    """Return how many steps are the root's: up to the command that follows its file system."""
    end = spot + 1
    for after in range(spot, min(spot + 6, len(steps))):
        word = history.instruction(steps[after])
        if word == "CMD":
            return after + 1
        if after > spot and word not in ("ADD", "COPY", "LABEL", "ENV"):
            break
        # Only what is put at the root is of the root: a file that is copied elsewhere is the image's own.
        if word in ("ADD", "COPY"):
            if after > spot and not _AT_ROOT.search(steps[after]):
                break
            end = after + 1
    return end
