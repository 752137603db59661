"""`commit`: a container's writable layer on its image becomes a new image."""

from __future__ import annotations

from time import time_ns

from ....errors import InvalidInput, Unsupported
from ....events import Event
from ....human import rfc3339
from ....oci import document
from ....oci import reference as references
from ....oci.annotations import BASE_DIGEST, BASE_NAME
from ....store import blobs, leases
from ....store.layers import packing
from ....store.rows import images
from ....transfer.archives.changes import apply
from ....transfer.recording import made_manifest, record_stacked
from ... import presence
from .. import pause
from . import differences, leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ....store.rows.containers import ContainerRow
    from ....store.store import Store


def commit(
    store: Store,
    row: ContainerRow,
    name: str = "",
    changes: Sequence[str] = (),
    message: str = "",
    author: str = "",
    pause_it: bool = True,
) -> str:
    """Make an image of a container's changes on its image, called `name` if given; returns its id.

    `changes` are Dockerfile instructions for its configuration. A running container is paused meanwhile if `pause_it`.
    Raises InvalidInput, Conflict as `differences.with_layers`, LimitExceeded, KernelError.
    """
    reference = references.parse(name) if name else None
    base = images.config(store.paths, row.intent["image"]["id"])
    execution = apply(changes, _execution(row, base.get("config") or {}))
    status = presence.status(store, row.id)
    # A machine that is paused answers nothing; its agent reads what is written.
    freezes = pause_it and bool(status.pid) and status.status == "running" and "machine" not in row.intent
    destinations = leftovers.destinations(row.intent)
    rootless = row.intent["rootless"]

    def work(upper: int, lower: int) -> Mapping[str, Any]:
        skip = leftovers.find(upper, lower, destinations)
        layer = packing.pack(store.paths, upper, userxattr=rootless, skip=skip)
        return {"diff_id": layer.diff_id}

    with leases.working(store.paths):
        if freezes:
            try:
                pause.freeze(store, row.id, True)
            except Unsupported as error:  # without root there may be no control group
                freezes = False
                warning = f"the container is not paused meanwhile: {error.message}"
                hint = (
                    "what it writes at that moment may be in the image in part; --pause=false says that this is meant"
                )
                store.emit(Event("host.warning", row.id, message=warning, hint=hint))
        try:
            if "machine" in row.intent:
                from . import inmachine

                diff_id = inmachine.commit_layer(store, row)
            else:
                diff_id = differences.with_layers(store, row, work)["diff_id"]
        finally:
            if freezes:
                pause.freeze(store, row.id, False)
        image = _recorded(store, row, base, execution, diff_id, reference, message, author)
    store.emit(Event("container.commit", row.id, imageID=image, imageRef=name))
    return image


def _execution(row: ContainerRow, image: Mapping[str, Any]) -> Any:
    """Return how programs of the image are to be run: as the container was, with what the image said."""
    options, process = row.intent["options"], row.intent["spec"]["process"]
    given = {text.partition("=")[0] for text in [*(image.get("Env") or []), *(options.get("environment") or [])]}
    execution: dict[str, Any] = {
        **image,
        "Env": [text for text in process["env"] if text.partition("=")[0] in given],
        "Labels": dict(row.intent["labels"]) or None,
        "WorkingDir": process["cwd"],
    }
    if options.get("entrypoint") is not None:
        execution["Entrypoint"] = options["entrypoint"] or None
        execution["Cmd"] = None
    if options.get("command"):
        execution["Cmd"] = options["command"]
    if options.get("user"):
        execution["User"] = options["user"]
    if options.get("expose"):
        ports: dict[str, Any] = {text if "/" in text else f"{text}/tcp": {} for text in options["expose"]}
        execution["ExposedPorts"] = {**(image.get("ExposedPorts") or {}), **ports}
    return execution


def _recorded(
    store: Store,
    row: ContainerRow,
    base: Mapping[str, Any],
    execution: Any,
    diff_id: str,
    reference: references.Reference | None,
    message: str,
    author: str,
) -> str:
    """Record the image: layers and history of the container's image, and one of each more."""
    image = row.intent["image"]
    parent = images.get(store.meta, image["id"])
    if parent is None:
        raise InvalidInput(f"the image of container {row.name} is not recorded any more", "pull or load it again")
    now = rfc3339(time_ns())
    entry: dict[str, Any] = {"created": now, "created_by": " ".join(row.intent["spec"]["process"]["args"])}
    entry |= {key: value for key, value in (("author", author), ("comment", message)) if value}
    diff_ids = [*image["diff_ids"], diff_id]
    config: dict[str, Any] = {
        **{key: value for key, value in base.items() if key not in ("container", "container_config", "docker_version")},
        "created": now,
        "config": execution,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [*(base.get("history") or []), entry],
    }
    if author:
        config["author"] = author
    data = document.encode(config)
    from ....store import layers

    sizes = [(layer, layers.size(store.paths, layer), "none") for layer in (*image["diff_ids"], diff_id)]
    annotations = (
        {BASE_NAME: image["name"], BASE_DIGEST: parent.manifest} if image["name"] else {BASE_DIGEST: parent.manifest}
    )
    manifest = made_manifest(blobs.put(store.paths, data), len(data), sizes, annotations)
    names = [reference] if reference is not None else []
    return record_stacked(store.paths, store.meta, store.form, data, manifest, diff_ids, parent.platform, now, names)
