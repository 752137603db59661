"""Links (`--link`): names for other containers that only this one knows, as lines of its hosts file."""

from __future__ import annotations

from ...errors import Conflict, InvalidInput, NotFound
from ...store.rows import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import Intent, Link
    from ...store.store import Store
    from ..options import ContainerOptions


def parse(text: str) -> tuple[str, str]:
    """Return (name, alias) of a --link value; raises InvalidInput in docker's words."""
    parts = text.split(":")
    if not text or len(parts) > 2 or not all(parts) or any(character.isspace() for character in text):
        raise InvalidInput(f"bad format for links: {text}", "write NAME or NAME:ALIAS")
    return parts[0], parts[-1].rpartition("/")[2]


def choose(store: Store, options: ContainerOptions) -> list[Link]:
    """Return what is recorded of a container's links. Raises InvalidInput, NotFound."""
    links: list[Link] = []
    for text in options.links:
        name, alias = parse(text)
        for mode, word in (("host", "host type networking"), ("container", "container type network")):
            if options.network.partition(":")[0] == mode:
                raise InvalidInput(
                    f"conflicting options: {word} can't be used with links. This would result in undefined behavior"
                )
        try:
            other = containers.find(store.meta, name)
        except NotFound as error:
            raise NotFound(f"could not get container for {name}: {error.message}", error.hint) from None
        links.append({"container": other.id, "name": other.name, "alias": alias})
    return links


def remove(store: Store, path: str) -> None:
    """Remove the link `/container/alias` (docker rm --link). Raises NotFound, Conflict, InvalidInput."""
    name, _, alias = path.strip("/").partition("/")
    if not alias:
        raise Conflict(
            "Conflict, cannot remove the default link name of the container", "write CONTAINER/ALIAS, as in inspect"
        )
    try:
        row = containers.find(store.meta, name)
    except NotFound:
        raise NotFound(f"Cannot get parent {name} for link name {path}") from None
    if not _named(row.intent, alias):
        raise NotFound(
            f"No such link: {path}", f"`underlay inspect -f '{{{{.HostConfig.Links}}}}' {row.name}` lists them"
        )

    def without(intent: Intent) -> Intent:
        left = [link for link in intent.get("links") or [] if link["alias"] != alias]
        return {**intent, "links": left}

    before = row.intent
    containers.change(store.meta, row.id, without)
    _rewrite(store, row, before, without(before))


def _named(intent: Intent, alias: str) -> bool:
    return any(link["alias"] == alias for link in intent.get("links") or [])


def _rewrite(store: Store, row: ContainerRow, before: Intent, after: Intent) -> None:
    """Take the name out of the hosts file of a container that runs."""
    from .. import presence

    if not before.get("network") or not presence.is_running(store, row.id):
        return
    from ...store.rows import networks as rows
    from . import etc_files
    from .records import Records

    leases = rows.leases(store.meta, row.id)
    networks = {lease.network: Records(store).get(lease.network) for lease in leases}
    etc_files.change(store, row.id, after, leases, leases, networks, before)
