"""Records of bundle containers, kept until they are deleted; whether one runs is asked of the kernel."""

from __future__ import annotations

import os

from ...errors import Conflict, InvalidInput, NotFound, UnderlayError
from ...files import remove_tree, write_atomic
from ...lean.jsontext import dumps, known
from ...linux import cgroup, process
from ...paths import make_private
from ..monitor import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from ...linux.specification import Spec, State
    from ..monitor.records import GroupLocation

    class BundleRecord(TypedDict):
        """A container of a bundle, in its `state.json`; `when` is the start time of `pid`, both 0 before it is made."""

        id: str
        bundle: str
        rootfs: str
        created: str
        owner: str
        pid: int
        when: int
        rootless: bool
        cgroup: GroupLocation
        config: Spec


CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
ROOT_HINT = "--root or XDG_RUNTIME_DIR names another"
GATE = "start"  # name of the socket on which a created container waits


def default_root() -> str:
    """Return where records are kept: /run for the host's root, else the user's runtime directory."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and (os.geteuid() != 0 or in_user_namespace()):
        return runtime + "/underlay-runtime"
    return "/run/underlay-runtime" if os.geteuid() == 0 else f"/tmp/underlay-runtime-{os.geteuid()}"


def in_user_namespace() -> bool:
    """Return whether our ids are not the host's (user_namespaces(7): the initial map is the identity over all ids)."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def directory(root: str, container_id: str) -> str:
    """Return the directory of a container's record; raises InvalidInput for an id that cannot be one."""
    if not container_id or not set(container_id) <= _ALLOWED or container_id in (".", "..") or len(container_id) > 1024:
        raise InvalidInput(f"invalid container ID: {container_id!r}", "letters, digits and _ + - . may be used")
    return f"{root}/{container_id}"


def claim(root: str, container_id: str) -> str:
    """Make the directory of a new container's record and return it; raises Conflict when there is one."""
    make_private(root, "root directory", ROOT_HINT)
    path = directory(root, container_id)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        raise Conflict(f"container with given ID already exists: {container_id}") from None
    return path


def save(root: str, record: BundleRecord) -> None:
    """Write a record in one step."""
    write_atomic(f"{directory(root, record['id'])}/state.json", dumps(record).encode(), durable=False)


def load(root: str, container_id: str) -> BundleRecord:
    """Return a container's record; raises NotFound, and UnderlayError when it cannot be read."""
    path = directory(root, container_id)
    try:
        with open(path + "/state.json", "rb") as file:
            value: BundleRecord = known(file.read())
    except FileNotFoundError:
        raise NotFound(f"container {container_id!r} does not exist".replace("'", '"')) from None
    except ValueError as error:
        raise UnderlayError(f"{path}/state.json cannot be read: {error}", "delete the container with --force") from None
    return value


def forget(root: str, container_id: str) -> None:
    """Remove a container's record."""
    remove_tree(directory(root, container_id))


def names(root: str) -> list[str]:
    """Return the ids of all containers, sorted."""
    try:
        return sorted(name for name in os.listdir(root) if os.path.exists(f"{root}/{name}/state.json"))
    except FileNotFoundError:
        return []


def alive(record: BundleRecord) -> bool:
    """Return whether the container's first process lives."""
    return bool(record["pid"]) and process.start_time(record["pid"]) == record["when"] != 0


def group_of(record: BundleRecord) -> cgroup.Group:
    """Return the container's control group."""
    group = record["cgroup"]
    return cgroup.open_group(group["path"], record["rootless"], group["base"])


def status(root: str, record: BundleRecord) -> str:
    """Return creating, created, running, paused or stopped (runtime, "State")."""
    if not record["pid"]:
        return CREATING
    if not alive(record):
        return STOPPED
    if group_of(record).frozen():
        return PAUSED
    waiting = control.connect(directory(root, record["id"]), GATE)
    if waiting is None:
        return RUNNING
    waiting.close()
    return CREATED


def state(root: str, record: BundleRecord) -> dict[str, Any]:
    """Return the state as the specification words it, with the fields that runc adds."""
    word = status(root, record)
    return {
        "ociVersion": record["config"]["ociVersion"],
        "id": record["id"],
        "pid": 0 if word in (STOPPED, CREATING) else record["pid"],
        "status": word,
        "bundle": record["bundle"],
        "rootfs": record["rootfs"],
        "created": record["created"],
        "annotations": record["config"].get("annotations") or {},
        "owner": record["owner"],
    }


def hook_state(record: BundleRecord, word: str) -> State:
    """Return what a hook reads from its standard input."""
    return {
        "ociVersion": record["config"]["ociVersion"],
        "id": record["id"],
        "status": word,
        "pid": record["pid"],
        "bundle": record["bundle"],
        "annotations": record["config"].get("annotations") or {},
    }
