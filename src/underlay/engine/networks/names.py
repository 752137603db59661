"""Names of containers in their networks: who can ask for them, and where."""

from __future__ import annotations

import os
import sys

from ...errors import KernelError, Unsupported
from ...events import Event
from ...network import questions
from ...network.model import DEFAULT
from ...paths import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...network.model import Network
    from ...paths import Paths
    from ...runtime.monitor.records import NameService
    from ...store.store import Store

BUILD = "build-"  # what places of steps of builds are called by begins so, where those of containers have an id
SERVER = questions.ADDRESS  # of a container that can ask


def can_ask(network: Network) -> bool:
    """Return whether containers of a network ask our name server: those of all networks but the default one do."""
    return has_names(network.name)


def has_names(network: str) -> bool:
    """Return whether there are names in the network of this name."""
    return network != DEFAULT


def open_questions(store: Store, namespace: int) -> tuple[NameService | None, Sequence[int]]:
    """Return the name server of an installation, and sockets for the questions of a network namespace (a descriptor).

    Where that cannot be, a `host.warning` says why, and the result is (None, ()). Raises OSError.
    """
    try:
        made = service(store)
        return made, questions.listen(namespace)
    except (Unsupported, KernelError) as error:
        message = f"containers do not find each other by name: {error.message}"
        store.emit(Event("host.warning", "names", message=message, hint=error.hint))
        return None, ()


def available() -> bool:
    """Return whether the name server can run here."""
    try:
        _library()
    except Unsupported:
        return False
    return True


def service(store: Store) -> NameService:
    """Return where the installation's name server is, and the command that starts it. Raises Unsupported, OSError."""
    directory = store.paths.state + "/networks"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return {"directory": directory, "command": _command(store.paths)}


def _command(paths: Paths) -> list[str]:
    """Return the command that starts the name server of an installation. Raises Unsupported without its library."""
    python, import_path = interpreter()
    # What others installed comes last, so that it takes no module's place.
    code = f"import sys; sys.path[:0] = {import_path!r}; sys.path += {_library()!r}"
    code += "; from underlay.engine.networks.name_service import serve; serve()"
    return [python, "-I", "-S", "-c", code, os.path.abspath(paths.root), os.path.abspath(paths.state)]


def _library() -> list[str]:
    """Return where the library for messages is. Asking the import system for it would load more than is worth it."""
    for entry in sys.path:
        if entry.startswith("/") and os.path.isfile(entry + "/dns/message.py"):
            return [entry]
    raise Unsupported("names of containers need the Python package dnspython", "pip install dnspython")
