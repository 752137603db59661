"""Where underlay keeps things: the root (survives a reboot) and the state (does not)."""

from __future__ import annotations

import os
import stat
import sys

from . import settings
from .errors import InvalidInput

_OTHERS_WRITE = 0o022


class Paths:
    """Locations of one installation: `root` holds images and containers, `state` runtime state until reboot.

    `above` is the directory of the state where it is one that underlay makes, "" where the user or the system has it.
    """

    __slots__ = ("above", "root", "state")

    def __init__(self, root: str, state: str, above: str = "") -> None:
        self.root = os.path.abspath(root)
        self.state = os.path.abspath(state)
        self.above = above

    def make(self) -> None:
        """Make root and state where they are missing. Raises InvalidInput where other users own them or may write there."""
        if self.above:
            make_private(self.above, "state directory", _STATE_HINT)
        make_private(self.root, "root directory", _ROOT_HINT)
        make_private(self.state, "state directory", _STATE_HINT)

    @property
    def database(self) -> str:
        """File of the database of intent."""
        return self.root + "/meta.db"

    @property
    def blobs(self) -> str:
        """Directory of documents by digest: `sha256/<hex>`."""
        return self.root + "/blobs"

    @property
    def layers(self) -> str:
        """Directory of layers by diff id."""
        return self.root + "/layers"

    @property
    def indexes(self) -> str:
        """Directory of merged EROFS indexes by chain id."""
        return self.root + "/indexes"

    @property
    def trees(self) -> str:
        """Directory of unpacked layers by chain id (tree form)."""
        return self.root + "/trees"

    @property
    def mounts(self) -> str:
        """Directory in which indexes are mounted, one a chain, shared by containers."""
        return self.state + "/mounts"

    @property
    def temporary(self) -> str:
        """Directory for unfinished work, on the file system of the root."""
        return self.root + "/tmp"

    @property
    def locks(self) -> str:
        """Directory of lock files."""
        return self.state + "/locks"

    def container(self, container_id: str) -> str:
        """Directory of a container that survives a reboot: upper, log, configuration."""
        return f"{self.root}/containers/{container_id}"

    def container_state(self, container_id: str) -> str:
        """Directory of a container's present state, written by its monitor."""
        return f"{self.state}/containers/{container_id}"


_ROOT_HINT = "--root or UNDERLAY_ROOT names another"
_STATE_HINT = "--state, UNDERLAY_STATE or XDG_RUNTIME_DIR names another"


def make_private(path: str, role: str, hint: str) -> None:
    """Make a directory that only this user can write to, or see that it is one, as `check_private` does."""
    try:
        os.makedirs(path, mode=0o700)
    except FileExistsError:
        pass
    check_private(path, role, hint)


def check_private(path: str, role: str, hint: str) -> None:
    """See that only this user can write to a directory, if it is there: what is in it is believed.

    A link to it counts if only root or this user can have made it. Raises InvalidInput, in which the directory is a `role`.
    """
    user = os.geteuid()
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode) and status.st_uid in (0, user):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise InvalidInput(f"{role} {path}: a link that leads to no directory", hint) from None
    if not stat.S_ISDIR(status.st_mode):
        what = "a link that another user made" if stat.S_ISLNK(status.st_mode) else "not a directory"
        raise InvalidInput(f"{role} {path}: {what}", hint)
    if status.st_uid != user:
        raise InvalidInput(f"{role} {path}: it belongs to another user (uid {status.st_uid}, not {user})", hint)
    if status.st_mode & _OTHERS_WRITE:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise InvalidInput(f"{role} {path}: other users may write to it (mode {mode})", f"chmod 700 {path}; or {hint}")


def only_ours(status: os.stat_result) -> bool:
    """Return whether nobody but this user (and root) may write to what has this status."""
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE


USUAL_ROOT, _USUAL_STATE = "/var/lib/underlay", "/run/underlay"  # root's


def default_paths(root: str = "", state: str = "") -> Paths:
    """Return the locations: arguments first, then UNDERLAY_ROOT and UNDERLAY_STATE, then by privilege.

    Root uses /var/lib/underlay and /run/underlay; others their XDG directories (XDG Base Directory 0.8).
    """
    environment = os.environ
    root = root or settings.value("root")
    state = state or settings.value("state")
    if os.geteuid() == 0:
        return Paths(root or USUAL_ROOT, state or _USUAL_STATE)
    home = environment.get("HOME", "/")
    data = environment.get("XDG_DATA_HOME") or home + "/.local/share"
    root = root or data + "/underlay"
    runtime = environment.get("XDG_RUNTIME_DIR")
    if state or runtime:
        return Paths(root, state or f"{runtime}/underlay")
    above = f"/tmp/underlay-{os.geteuid()}"  # where others may have been before
    return Paths(root, above + "/underlay", above)


def interpreter() -> tuple[str, list[str]]:
    """Return the interpreter and the import path of helper processes: where this package is, and nothing else.

    A server with Python in it may name itself as the interpreter: then it is the one beside the libraries that counts.
    """
    python = sys.executable
    if not os.path.basename(python).startswith("python"):
        candidate = f"{sys.exec_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        python = candidate if os.access(candidate, os.X_OK) else "/usr/bin/python3"
    return python, [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
