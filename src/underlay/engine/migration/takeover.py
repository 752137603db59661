"""The takeover itself: what the other engine has is made here, too, and what cannot be is listed."""

from __future__ import annotations

import os

from ...errors import Conflict, KernelError, NotFound, UnderlayError
from ...lean.values import Value
from ..options import ContainerOptions
from . import translation
from .client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..engine import Engine

TAKEN, HERE, LEFT = "taken", "already here", "not taken"
WOULD = "would be taken"


class Result(Value):
    """One object: its `kind` (image, volume, network, container) and name, what became of it, and what is to be known."""

    kind: str
    name: str
    state: str
    notes: tuple[str, ...] = ()


def images(engine: Engine, client: Client, dry: bool) -> Iterator[Result]:
    """Take the images that are not here yet; layers that are here are not kept twice."""
    wanted: list[tuple[str, list[str]]] = []
    for image, names in client.images():
        here = [name for name in names if _image_of(engine, name) == image]
        if len(here) == len(names):
            yield Result("image", ", ".join(names), HERE)
        elif dry:
            yield Result("image", ", ".join(names), WOULD)
        else:
            wanted.append((image, names))
    for _, names in wanted:
        process, fd = client.save(names)
        try:
            engine.images.load(fd)
            code = process.wait()
        except UnderlayError as error:
            yield Result("image", ", ".join(names), LEFT, (error.message,))
            continue
        finally:
            os.close(fd)
            if process.poll() is None:
                process.terminate()
            process.wait()
        if code:
            yield Result("image", ", ".join(names), LEFT, (f"{client.program} save ends with {code}",))
        else:
            yield Result("image", ", ".join(names), TAKEN)


def _image_of(engine: Engine, name: str) -> str:
    try:
        return engine.images.get(name).id
    except UnderlayError:
        return ""


def volumes(engine: Engine, client: Client, dry: bool) -> Iterator[Result]:
    """Take the volumes with the owners, modes, times and attributes of their files."""
    from ...store.rows import volumes as rows

    for facts in client.volumes():
        name, place = str(facts.get("Name") or ""), str(facts.get("Mountpoint") or "")
        if facts.get("Driver") not in ("local", "", None):
            yield Result("volume", name, LEFT, (f"it is of driver {facts['Driver']}",))
            continue
        if facts.get("Options"):
            yield Result("volume", name, LEFT, (f"it is mounted with options: {facts['Options']}",))
            continue
        try:
            rows.find(engine._store.meta, name)
        except NotFound:
            pass
        else:
            yield Result("volume", name, HERE, ("its files stay as they are",))
            continue
        if dry:
            yield Result("volume", name, WOULD)
            continue
        yield _volume(engine, name, place, {str(k): str(v) for k, v in (facts.get("Labels") or {}).items()})


def _volume(engine: Engine, name: str, place: str, labels: dict[str, str]) -> Result:
    from ...runtime.apply.copyup import copy_tree

    try:
        source = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return Result("volume", name, LEFT, (f"{place}: {error.strerror}",))
    try:
        engine.volumes.create(name, labels)
        target = os.open(engine.volumes.mountpoint(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_tree(source, target)
        finally:
            os.close(target)
    except OSError as error:
        engine.volumes.remove(name)  # a part of the files would look like all
        return Result("volume", name, LEFT, (KernelError("copy", place, error.errno or 0).message,))
    except UnderlayError as error:
        return Result("volume", name, LEFT, (error.message,))
    finally:
        os.close(source)
    return Result("volume", name, TAKEN)


def containers(engine: Engine, client: Client, dry: bool) -> Iterator[Result]:
    """Create the containers with the same options, and the networks that they are in; none is started."""
    networks: dict[str, dict[str, Any]] = {}
    for facts in client.containers():
        image = client.image(str(facts.get("Image") or ""))
        made = translation.translate(facts, image)
        name = made.options["name"]
        notes = [f"not taken: {text}" for text in made.untaken]
        if client.has_changed(str(facts.get("Id"))):
            notes.append(f"what it has written into its image is not taken: `{client.program} commit {name}` keeps it")
        if made.networks and not networks:
            networks = client.networks()
        for network in made.networks:
            yield from _network(engine, network, networks.get(network) or {}, dry)
        if dry:
            yield Result("container", name, WOULD, tuple(notes))
            continue
        try:
            engine.containers.create(ContainerOptions(**made.options))
        except Conflict as error:
            yield Result("container", name, HERE if "in use" in error.message else LEFT, (*notes, error.message))
        except UnderlayError as error:
            yield Result("container", name, LEFT, (*notes, error.message))
        else:
            yield Result("container", name, TAKEN, tuple(notes))


def _network(engine: Engine, name: str, facts: dict[str, Any], dry: bool) -> Iterator[Result]:
    try:
        engine.networks.get(name)
        return  # it was made for another container, or is here
    except NotFound:
        pass
    if dry:
        yield Result("network", name, WOULD)
        return
    configs = (facts.get("IPAM") or {}).get("Config") or facts.get("subnets") or []
    subnets = [str(each.get("Subnet") or each.get("subnet")) for each in configs]
    gateways = [
        str(each.get("Gateway") or each.get("gateway"))
        for each in configs
        if each.get("Gateway") or each.get("gateway")
    ]
    internal = bool(facts.get("Internal") or facts.get("internal"))
    try:
        engine.networks.create(name, subnets=subnets, gateways=gateways, internal=internal)
    except UnderlayError as error:
        # Most often the other engine's bridge still has the range.
        try:
            engine.networks.create(name, internal=internal)
        except UnderlayError:
            yield Result("network", name, LEFT, (error.message,))
        else:
            yield Result("network", name, TAKEN, (f"with another range: {error.message}",))
    else:
        yield Result("network", name, TAKEN)
