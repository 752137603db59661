"""`--runtime`: another OCI runtime instead of our own driver, and what cannot be had with it."""

from __future__ import annotations

import os
import shutil

from ....errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....store.rows.intent import Intent

# Where administrators install programs, beside the caller's PATH.
_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def choose(intent: Intent) -> str:
    """Return the path of the runtime that a container's options name.

    Raises InvalidInput when there is no such program, Unsupported for options that only our own driver can carry out.
    """
    name = intent["options"]["runtime"]
    path = name if name.startswith("/") else ""
    if not path and "/" not in name:
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PLACES}") or ""
    if not path or not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise InvalidInput(
            f"unknown or invalid runtime name: {name}",
            "underlay is our own driver; else give an OCI runtime: runc, crun, or the absolute path of a program",
        )
    extras = intent["extras"]
    for asked, words in (
        (intent["rootless"], "without root"),
        (any(item["type"] == "user" for item in intent["spec"]["linux"]["namespaces"]), "with a user namespace"),
        (extras.get("init"), "with --init"),
        (extras.get("secrets"), "with --secret"),
        (extras.get("subpaths"), "with volume-subpath"),
        (extras.get("landlock"), "with landlock rules"),
    ):
        if asked:
            raise Unsupported(f"--runtime {name} {words} is not possible", "leave out --runtime: our own driver can")
    return os.path.realpath(path)
