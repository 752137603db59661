"""The options of a volume of the driver local (docker volume create, "Driver-specific options"), and the mount they mean.

`type`, `device` and `o` are those of mount(8); `size` alone limits what the volume holds. Used by create and at each start.
"""

from __future__ import annotations

import os

from ..errors import InvalidInput, Unsupported
from ..linux.files import mounts
from ..linux.files.volumemount import LOOP, VolumeMount
from .volumes import DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..paths import Paths
    from .rows.volumes import Volume

_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_SET = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "sync": mounts.MS_SYNCHRONOUS,
    "dirsync": mounts.MS_DIRSYNC,
    "mand": mounts.MS_MANDLOCK,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
_CLEAR = {
    "rw": mounts.MS_RDONLY,
    "suid": mounts.MS_NOSUID,
    "dev": mounts.MS_NODEV,
    "exec": mounts.MS_NOEXEC,
    "async": mounts.MS_SYNCHRONOUS,
    "nomand": mounts.MS_MANDLOCK,
    "atime": mounts.MS_NOATIME,
    "diratime": mounts.MS_NODIRATIME,
    "norelatime": mounts.MS_RELATIME,
    "nostrictatime": mounts.MS_STRICTATIME,
    "defaults": 0,
}
_OF_NETWORK = ("nfs", "nfs3", "nfs4", "cifs", "smb3")


def check(options: Mapping[str, str]) -> int:
    """Check the options of a new volume; returns the bytes of a size limit, 0 for none.

    Raises InvalidInput in docker's words, Unsupported.
    """
    for key in options:
        if key not in ("type", "device", "o", "size"):
            raise InvalidInput(f'invalid option: "{key}"', "the driver local knows type, device, o and size")
    for key, needed in _NEEDS.items():
        for other in needed if key in options else ():
            if other not in options:
                raise InvalidInput(f'missing required option: "{other}"')
    if not options:
        return 0
    if os.geteuid() != 0:
        raise Unsupported("volumes with options need root", "only root may mount; leave out the options")
    if "size" not in options:
        return 0
    if "type" in options:
        raise Unsupported(
            "size cannot be combined with type and device", "a tmpfs has a size of its own: -o o=size=100m"
        )
    from ..human import parse_size
    from ..linux.files import loopdevice
    from .rootfs import ext4

    try:
        size = parse_size(options["size"])
    except ValueError:
        raise InvalidInput(f"invalid size: '{options['size']}'") from None
    if not ext4.MINIMUM <= size <= ext4.MAXIMUM:
        raise InvalidInput(
            f"invalid size: '{options['size']}': a volume has at least {ext4.MINIMUM >> 20}m "
            f"and less than {-(-ext4.MAXIMUM >> 40)}t"
        )
    reason = loopdevice.why_not()
    if reason:
        raise Unsupported(f"a volume's size cannot be limited here: {reason}")
    return size


def mount_of(paths: Paths, volume: Volume, resolve: bool = True) -> VolumeMount:
    """Return how a volume with options is mounted; with `resolve` the name of an NFS or CIFS server becomes its address.

    Raises InvalidInput for a server that is not known.
    """
    directory = f"{paths.root}/volumes/{volume.name}"
    locks = directory + "/change.lock", directory + "/use.lock"
    options = volume.options
    point = directory + "/_data"
    if "type" not in options:
        return VolumeMount(*locks, point, f"{directory}/{DISK}", LOOP, 0, "")
    flags, data = parse(options.get("o", ""))
    kind, device = options["type"], options["device"]
    if resolve and kind in _OF_NETWORK:
        data = [_with_address(word) for word in data]
    return VolumeMount(*locks, point, device, kind, flags, ",".join(data))


def parse(text: str) -> tuple[int, list[str]]:
    """Return the flags of mount(2) (MS_*) and the file system's own options in a value of `o`."""
    flags, data = 0, []
    for word in text.split(","):
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word:
            data.append(word)
    return flags, data


def _with_address(word: str) -> str:
    """Return an option `addr=NAME` with the address of that server: the kernel asks no name server (nfs(5))."""
    key, equals, name = word.partition("=")
    if key != "addr" or not equals:
        return word
    import socket

    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInput(f"error resolving passed in network volume address: lookup {name}: {error}") from None
    return f"addr={found[0][4][0]}"
