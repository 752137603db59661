"""The user namespace of a container: the values of --userns and the id mappings they mean (podman run, "--userns")."""

from __future__ import annotations

import os

from ....errors import InvalidInput, Unsupported
from ....human import whole
from ....linux import userns
from ....store.rows import containers, id_ranges
from ... import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.userns import Maps
    from ....store.rows.intent import Intent
    from ....store.store import Store
    from ...options import ContainerOptions
    from .compose import HostFacts

SIZE = 65536  # ids of a container, unless it asks for more or less: what images are made for


class Choice:
    """What --userns means for one container: numbers that it `claims`, and the container whose namespace it `joins`."""

    __slots__ = ("claims", "joins")

    def __init__(self) -> None:
        self.claims: list[id_ranges.Wanted] = []
        self.joins = ""  # id


def choose(store: Store, options: ContainerOptions, host: HostFacts) -> Choice:
    """Add to `host` which user namespace the container gets, and return what has to be recorded for that.

    Nothing is taken yet. Raises InvalidInput, Unsupported, LimitExceeded (no ids left), Conflict, NotFound.
    """
    choice = Choice()
    mode, _, words = options.userns.partition(":")
    if host.rootless:
        host.user_namespace = True
        host.maps = userns.default_maps()
    if mode in ("", "host"):
        if words:
            raise InvalidInput(f"--userns: invalid USER mode: {options.userns}")
    elif mode == "auto":
        _auto(store, words, host, choice)
    elif mode == "keep-id":
        _keep(words, host)
        if not options.user:
            host.user = f"{host.kept[0]}:{host.kept[1]}"
    elif mode == "container":
        _join(store, words, host, choice)
    else:
        raise InvalidInput("--userns: invalid USER mode", "use auto, host, keep-id or container:NAME")
    if host.user_namespace and not host.rootless:
        _check_others(options)
    return choice


def _auto(store: Store, words: str, host: HostFacts, choice: Choice) -> None:
    given = _options(words, ("size",))
    size = given.get("size", SIZE)
    if not 0 < size <= 1 << 31:
        raise InvalidInput(f"--userns: invalid size: {size}")
    if host.rootless:
        raise Unsupported(
            "--userns=auto needs root",
            "without root the ids of an image's files cannot be mapped for one container",
        )
    host.user_namespace = True

    def settle_uids(intent: Intent, first: int) -> None:
        intent["spec"]["linux"]["uidMappings"] = _map(first, size)

    def settle_gids(intent: Intent, first: int) -> None:
        intent["spec"]["linux"]["gidMappings"] = _map(first, size)

    for kind, path, settle in (
        (id_ranges.UID, "/etc/subuid", settle_uids),
        (id_ranges.GID, "/etc/subgid", settle_gids),
    ):
        choice.claims.append(id_ranges.Wanted(kind, size, userns.pool(path), settle))
    # What a plan shows; what is recorded is found once more, when no other can take it.
    firsts = [id_ranges.look(store.meta, wanted) for wanted in choice.claims]
    host.maps = _map(firsts[0], size), _map(firsts[1], size)


def _map(first: int, size: int) -> Maps:
    return [{"containerID": 0, "hostID": first, "size": size}]


def _keep(words: str, host: HostFacts) -> None:
    if not host.rootless:
        raise InvalidInput("--userns=keep-id is only for containers without root")
    given = _options(words, ("uid", "gid"))
    host.kept = given.get("uid", os.geteuid()), given.get("gid", os.getegid())
    maps = []
    for own, others in zip(host.kept, host.maps, strict=True):
        if len(others) < 2:
            raise Unsupported(
                "--userns=keep-id needs subordinate ids",
                "see /etc/subuid and /etc/subgid, and install the package uidmap",
            )
        maps.append(userns.keeping(own, others))
    host.maps = maps[0], maps[1]


def _join(store: Store, name: str, host: HostFacts, choice: Choice) -> None:
    other = containers.find(store.meta, name)
    linux = other.intent["spec"]["linux"]
    if not linux.get("uidMappings"):
        if host.rootless:
            raise InvalidInput(f"--userns: container {name} has no user namespace of its own")
        return  # it has the host's, and so has this one
    if host.rootless:
        raise Unsupported("--userns=container: needs root", "without root all containers have the ids of the same user")
    host.user_namespace = True
    host.maps = linux["uidMappings"], linux["gidMappings"]
    host.user_pid, _ = presence.first_process(store, other.id, name)
    choice.joins = other.id


def _options(words: str, known: tuple[str, ...]) -> dict[str, int]:
    values: dict[str, int] = {}
    for word in words.split(",") if words else []:
        key, _, value = word.partition("=")
        if key not in known:
            raise InvalidInput(f'--userns: unknown option specified: "{word}"', f"known: {', '.join(known)}")
        if not 0 <= whole(value) < (1 << 32) - 1:
            raise InvalidInput(f"--userns: invalid {key}: {value!r}")
        values[key] = whole(value)
    return values


def _check_others(options: ContainerOptions) -> None:
    """Refuse what the kernel would: a procfs belongs to the user namespace of the pid namespace that it shows."""
    if options.pid not in ("", "private") and not (
        options.pid.startswith("container:") and options.pid == options.userns
    ):
        what = "the host" if options.pid == "host" else "another"
        raise Unsupported(f"cannot share {what} PID namespace when user namespaces are enabled")
