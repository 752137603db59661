"""The mounts beside its root that a container shares with others: volumes with options, and other images' layers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.files.sharedmount import SharedMount
    from ...linux.files.volumemount import VolumeMount
    from .records import SharedMounts


def of_record(shared: SharedMounts) -> list[SharedMount | VolumeMount]:
    """Return the mounts that a record describes."""
    made: list[SharedMount | VolumeMount] = []
    if shared["images"]:
        from ...linux.files.sharedmount import SharedMount

        made += [SharedMount(*words) for words in shared["images"]]
    if shared["volumes"]:
        from ...linux.files.volumemount import VolumeMount

        made += [VolumeMount(*words) for words in shared["volumes"]]
    return made


def take(shared: SharedMounts) -> list[int]:
    """Mount what is not mounted; return the locks that keep all of it, as descriptors. Raises UnderlayError, OSError."""
    locks: list[int] = []
    try:
        for mount in of_record(shared):
            locks.append(mount.hold().fd)
            mount.ensure()
    except BaseException:
        give_back(shared, locks)
        raise
    return locks


def give_back(shared: SharedMounts, locks: list[int]) -> None:
    """Let go of the locks, and unmount what nobody else holds."""
    from ...errors import KernelError
    from ...files import unlock

    while locks:
        unlock(locks.pop())

    for mount in of_record(shared):
        try:
            mount.release()
        except (KernelError, OSError):
            pass  # a process of the host uses it: the next who leaves releases it
