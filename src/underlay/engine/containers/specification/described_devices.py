"""Devices that a container names as descriptions of CDI do (--device vendor.com/class=name, --gpus), and what they add."""

from __future__ import annotations

import os

from ....errors import InvalidInput, NotFound
from ... import cdi
from . import grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Spec
    from .request import Request


def choose(request: Request) -> cdi.Edits | None:
    """Add the nodes and groups of the devices to the request; return the rest for `add`, None when none are named.

    Raises NotFound in docker's words, InvalidInput, Unsupported, Corrupt.
    """
    options = request.options
    names = [*request.described_devices]
    if options.gpus:
        names += cdi.gpus(options.gpus)
    if not names:
        return None
    try:
        edits = cdi.edits([(name, True) for name in names], {} if os.geteuid() == 0 else None)
    except NotFound as error:
        raise NotFound(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(names)}", error.hint
        ) from None
    request.devices += [grammar.device(text) for text in edits.devices]
    taken = {mount.target for mount in request.mounts}
    for mount in edits.mounts:
        if mount.target in taken:
            raise InvalidInput(f"Duplicate mount point: {mount.target}", "a device has it, too")
    return edits


def add(edits: cdi.Edits, spec: Spec) -> None:
    """Add variables, mounts and hooks to a container's specification, as the last (CDI, "OCI Edits")."""
    names = {text.partition("=")[0] for text in edits.environment}
    kept = [text for text in spec["process"]["env"] if text.partition("=")[0] not in names]
    spec["process"]["env"] = [*kept, *edits.environment]
    spec["mounts"] += [mount.oci() for mount in edits.mounts]
    if edits.hooks:
        spec["hooks"] = edits.hooks
