"""Where underlay keeps things: the root (survives a reboot) and the state (does not)."""

from __future__ import annotations

import os
import sys


class Paths:
    """Locations of one installation: `root` holds images and containers, `state` runtime state until reboot."""

    __slots__ = ("root", "state")

    def __init__(self, root: str, state: str) -> None:
        self.root = os.path.abspath(root)
        self.state = os.path.abspath(state)

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


USUAL_ROOT, _USUAL_STATE = "/var/lib/underlay", "/run/underlay"  # root's


def default_paths(root: str = "", state: str = "") -> Paths:
    """Return the locations: arguments first, then UNDERLAY_ROOT and UNDERLAY_STATE, then by privilege.

    Root uses /var/lib/underlay and /run/underlay; others their XDG directories (XDG Base Directory 0.8).
    """
    environment = os.environ
    root = root or environment.get("UNDERLAY_ROOT", "")
    state = state or environment.get("UNDERLAY_STATE", "")
    if os.geteuid() == 0:
        return Paths(root or USUAL_ROOT, state or _USUAL_STATE)
    home = environment.get("HOME", "/")
    data = environment.get("XDG_DATA_HOME") or home + "/.local/share"
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/tmp/underlay-{os.geteuid()}"
    return Paths(root or data + "/underlay", state or runtime + "/underlay")


def interpreter() -> tuple[str, list[str]]:
    """Return the interpreter and the import path of helper processes: where this package is, and nothing else.

    A server with Python in it may name itself as the interpreter: then it is the one beside the libraries that counts.
    """
    python = sys.executable
    if not os.path.basename(python).startswith("python"):
        candidate = f"{sys.exec_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        python = candidate if os.access(candidate, os.X_OK) else "/usr/bin/python3"
    return python, [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
