"""Creating a container: options and image become its record in the database and the files in its directory."""

from __future__ import annotations

import os

from ... import events
from ...errors import Conflict, InvalidInput, NameTaken, Unsupported
from ...human import whole
from ...linux import signals
from ...runtime.monitor import logs
from ...store.rows import containers, images
from ..images import find
from ..options import ContainerOptions
from .random_names import random_name
from .specification import compose, etc_texts, host_facts, limits, mount_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...linux.specification import Seccomp
    from ...oci.configuration import Execution
    from ...store.rows.id_ranges import Wanted
    from ...store.rows.images import ImageRow
    from ...store.rows.intent import Intent, Log, MountPoint, Publication, Restart
    from ...store.rows.meta import Transaction
    from ...store.store import Store
    from ..networks.attach import Place

NAME_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
LOG_DEFAULTS = {"local": (20 << 20, 5), "json-file": (0, 1), "none": (0, 1)}


class Draft:
    """A container thought out but not recorded: nothing has been made for it."""

    __slots__ = (
        "claims",
        "gateway",
        "hostname",
        "id",
        "image",
        "intent",
        "joins",
        "leasing",
        "mounts",
        "volumes",
        "wish",
    )

    def __init__(self, wish: ContainerOptions, image: ImageRow) -> None:
        self.wish = wish
        self.image = image
        self.id = os.urandom(32).hex()
        self.intent: Intent
        self.mounts: list[mount_flags.Mount] = []
        self.leasing: Callable[[Transaction, str], None] | None = None
        self.volumes: list[tuple[str, bool]] = []  # name, anonymous
        self.hostname = ""
        self.gateway = ""  # this host's address in the container's networks
        self.claims: list[Wanted] = []  # numbers that no other container may have
        self.joins = ""  # id of the container whose user namespace is joined


def draft(store: Store, wish: ContainerOptions, pull: bool = False) -> Draft:
    """Think a container out; with `pull` its image may be fetched. Raises NotFound (image), InvalidInput, Conflict, …."""
    if wish.name:
        containers.check_name(wish.name)
    restart = parse_restart(wish.restart)
    if restart["name"] != "no" and wish.remove:
        raise InvalidInput("conflicting options: cannot specify both --restart and --rm")
    log = log_settings(wish)
    limits.parent_group(wish.cgroup_parent)
    image = find.find_image(store, wish.image, wish.platform, wish.pull if pull else find.HERE)
    find.require_processor(wish.image, image.platform)
    config = images.config(store.paths, image.id).get("config") or {}
    shared: dict[str, str] = {}
    if wish.network.startswith("container:"):
        wish, shared = _sharing(store, wish)
    made = Draft(wish, image)
    _mounts(store, made, config)
    directory = store.paths.container(made.id)
    files = {name: directory + name.removeprefix("/etc") for name in NAME_FILES} | shared
    host = host_facts.gather(store, wish)
    networks = _networks(store, wish, host.rootless)
    if networks:
        host.network_namespace = store.paths.container_state(made.id) + "/net"
    ports = _ports(wish, config, bool(networks))
    if wish.userns or host.rootless:
        from .specification import user_namespace

        space = user_namespace.choose(store, wish, host)
        made.claims, made.joins = space.claims, space.joins
    if host.user_namespace and not host.rootless:
        for mount in made.mounts:
            if mount.kind == "volume" and "idmap" not in mount.options:
                mount.options.append("idmap")
    composed = compose.compose(made.id, wish, config, made.mounts, files, host)
    if composed.seccomp not in ("default", "unconfined"):
        composed.spec["linux"]["seccomp"] = _profile(composed.seccomp)
        composed.seccomp = "custom"
    signals.number(composed.stop_signal)  # for its errors
    stop_timeout = wish.stop_timeout if wish.stop_timeout is not None else config.get("StopTimeout")
    made.hostname = composed.spec.get("hostname") or os.uname().nodename
    made.intent = {
        "options": wish.given(),
        "spec": composed.spec,
        "extras": {
            "user": composed.user,
            "groups": composed.groups,
            "init": composed.init,
            "soft_sysctls": composed.soft_sysctls,
            "copy_up": composed.copy_up,
            "landlock": composed.landlock,
        },
        "seccomp": composed.seccomp,
        "image": {"id": image.id, "name": wish.image, "diff_ids": list(image.diff_ids), "chain": image.chain},
        "labels": {**(config.get("Labels") or {}), **wish.labels},
        "stop_signal": composed.stop_signal,
        "stop_timeout": 10 if stop_timeout is None else stop_timeout,
        "restart": restart,
        "remove": wish.remove,
        "log": log,
        "mounts": [_recorded(mount) for mount in made.mounts],
        "rootless": host.rootless,
        "joins": _joins(store, made),
        "disk": None,
    }
    if networks:
        from ..networks import attach

        made.intent["network"], made.intent["ports"] = [each.network.id for each in networks], ports
        made.leasing = attach.leasing(networks)
        made.gateway = etc_texts.host_address([each.network for each in networks])
    if wish.storage_options:
        from .specification import disk_limit

        made.intent["disk"], numbers = disk_limit.choose(store, wish)
        made.claims += numbers
    return made


def _sharing(store: Store, wish: ContainerOptions) -> tuple[ContainerOptions, dict[str, str]]:
    """Return the wish of a container in another's network, which has its hostname, and that one's files, by their places.

    Raises NotFound, InvalidInput.
    """
    for given, words in (
        (wish.hostname, "hostname"),
        (wish.dns or wish.dns_search or wish.dns_options, "dns"),
        (wish.extra_hosts, "custom host-to-IP mapping"),
    ):
        if given:
            raise InvalidInput(
                f"conflicting options: {words} and the network mode", "give it to the container whose network it is"
            )
    owner = containers.find(store.meta, wish.network.partition(":")[2]).intent
    spec = owner["spec"]
    known = {"hostname": spec.get("hostname") or "", "domainname": spec.get("domainname") or ""}
    return ContainerOptions(**{**wish.given(), **known}), name_files(owner)


def name_files(intent: Intent) -> dict[str, str]:
    """Return the files of this host that a container has as its resolv.conf, hostname and hosts."""
    found = {each["destination"]: each["source"] for each in intent["spec"]["mounts"] if each["type"] == "bind"}
    return {name: found[name] for name in NAME_FILES if name in found}


def _networks(store: Store, wish: ContainerOptions, rootless: bool) -> list[Place]:
    """Return the places that a container is to have in networks. Raises NotFound, InvalidInput, Conflict, Unsupported."""
    mode = wish.network
    if mode in ("none", "host") or mode.startswith("container:"):
        for given, flag in ((wish.ip, "--ip"), (wish.ip6, "--ip6"), (wish.network_aliases, "--network-alias")):
            if given:
                raise InvalidInput(f"{flag} needs a network: it means nothing with --network {mode}")
        if wish.networks:
            raise InvalidInput(f"conflicting options: --network {mode} stands alone")
        return []
    if rootless:
        raise Unsupported(
            f"network {mode}: an unprivileged user cannot make interfaces for containers",
            "use --network none or --network host",
        )
    from ..networks import attach

    return attach.wanted(store, wish, mode)


def _ports(wish: ContainerOptions, config: Execution, networked: bool) -> list[Publication]:
    if not wish.publish and not wish.publish_all:
        return []
    if not networked:
        if wish.network == "host":
            return []  # said by the command: they are reachable anyway
        raise InvalidInput(
            f"conflicting options: port publishing and network {wish.network}",
            "drop -p, or choose another network",
        )
    from ..networks import ports as publishing

    exposed = [*(config.get("ExposedPorts") or {}), *wish.expose]
    return publishing.wanted_ports(wish.publish, wish.publish_all, exposed)


def create(store: Store, wish: ContainerOptions) -> tuple[str, Intent]:
    """Record a container; returns its id and intent (with its `name`). Raises as `draft` does."""
    made = draft(store, wish, pull=True)
    wish = made.wish
    for mount in made.mounts:
        if mount.kind == "bind" and mount.make_source and not os.path.lexists(mount.source):
            os.makedirs(mount.source, exist_ok=True)
    directory = store.paths.container(made.id)
    os.makedirs(directory, mode=0o700)
    try:
        write_files(directory, made.id, wish, made.hostname, made.gateway)
        for name in ("upper", "work"):
            os.mkdir(f"{directory}/{name}", 0o755)
            # It shows as the container's /, which the caller's umask is nothing to.
            os.chmod(f"{directory}/{name}", 0o755)
        if made.intent["disk"]:
            from .specification import disk_limit

            disk_limit.make(directory, made.intent["disk"])
        for name, _ in made.volumes:
            _make_volume(f"{store.paths.root}/volumes/{name}/_data")
        made.intent["name"] = _record(store, made)
    except BaseException:
        from ...files import remove_tree

        remove_tree(directory)
        for name, anonymous in made.volumes:
            if anonymous:
                remove_tree(f"{store.paths.root}/volumes/{name}")
        raise
    store.emit(events.Event("container.create", made.id, name=made.intent["name"], image=wish.image))
    return made.id, made.intent


def _make_volume(directory: str) -> None:
    try:
        os.makedirs(directory, mode=0o755)
        os.chmod(directory, 0o755)
    except FileExistsError:
        pass


def _record(store: Store, made: Draft) -> str:
    """Write the row; returns the name, a random one when none was given."""
    for _ in range(20):
        name = made.wish.name or random_name()
        try:
            containers.insert(
                store.meta,
                made.id,
                name,
                made.image.id,
                made.intent,
                made.volumes,
                made.claims,
                made.joins,
                made.leasing,
            )
            return name
        except NameTaken:
            if made.wish.name:
                raise
    raise Conflict("no free random name found", "give one with --name")


def parse_restart(text: str) -> Restart:
    """Return {"name", "maximum"} of a --restart value; raises InvalidInput."""
    name, colon, count = (text or "no").partition(":")
    if name not in RESTART_POLICIES:
        raise InvalidInput(f"invalid restart policy: unknown policy '{name}'; use one of {', '.join(RESTART_POLICIES)}")
    if colon and (name != "on-failure" or whole(count) < 0):
        raise InvalidInput(f"invalid restart policy: '{text}': a maximum count needs on-failure and a number")
    return {"name": name, "maximum": whole(count) if colon else 0}


def log_settings(wish: ContainerOptions) -> Log:
    """Return {"driver", "limit", "keep"} of the log options; raises InvalidInput, Unsupported."""
    driver = wish.log_driver or "local"
    if driver not in logs.DRIVERS:
        raise Unsupported(f"logging driver '{driver}' is not supported", f"use one of {', '.join(logs.DRIVERS)}")
    limit, keep = LOG_DEFAULTS[driver]
    for key, value in wish.log_options.items():
        try:
            if key == "max-size" and driver != "none":
                from ...human import parse_size

                limit = parse_size(value)
            elif key == "max-file" and driver != "none":
                keep = whole(value)
                if keep < 1:
                    raise ValueError
            else:
                raise InvalidInput(f"unknown log opt '{key}' for {driver} log driver")
        except ValueError:
            raise InvalidInput(f"invalid value for log opt '{key}': {value}") from None
    return {"driver": driver, "limit": limit, "keep": keep}


def _joins(store: Store, made: Draft) -> dict[str, str]:
    """Return the ids of the containers whose namespaces are joined, by kind of namespace."""
    found = {"user": made.joins} if made.joins else {}
    for kind in ("network", "pid", "uts"):
        mode, _, name = getattr(made.wish, kind).partition(":")
        if mode == "container":
            found[kind] = containers.find(store.meta, name).id
    return found


def _profile(path: str) -> Seccomp:
    """Read a seccomp profile in OCI or docker form; raises InvalidInput."""
    from ...lean.jsontext import known

    try:
        with open(path, "rb") as file:
            value: Seccomp = known(file.read(4 << 20))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"opening seccomp profile ({path}) failed: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"seccomp profile {path} is not a JSON object")
    if value.get("archMap"):
        from ...linux.security.seccomp import NATIVE

        value["architectures"] = list(NATIVE.get(os.uname().machine, ()))
    rules = value.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise InvalidInput(f"seccomp profile {path}: syscalls is not a list of objects")
    for rule in rules:
        if rule.get("includes") or rule.get("excludes"):
            raise Unsupported(f"seccomp profile {path}: `includes` and `excludes` are not supported yet")
        if "name" in rule:
            # The oldest form has one name a rule.
            rule["names"] = [*(rule.get("names") or []), rule.pop("name")]
    from ...linux.security.seccomp import compile_filter, flags_of
    from ...runtime.apply import seccomp_notify

    try:
        compile_filter(value)  # what is wrong with it is told now, not at each start
        flags_of(value)
        seccomp_notify.wanted(value)
    except (TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"seccomp profile {path}: {error}") from None
    return value


def _mounts(store: Store, made: Draft, config: Execution) -> None:
    """Find the user's and the image's mounts with their host sources, and the volumes among them."""
    wish = made.wish
    found = [mount_flags.parse_volume(text) for text in wish.volumes]
    found += [mount_flags.parse_mount(text) for text in wish.mounts]
    found += [mount_flags.parse_tmpfs(text) for text in wish.tmpfs]
    taken: set[str] = set()
    for mount in found:
        if mount.target in taken:
            raise InvalidInput(f"Duplicate mount point: {mount.target}")
        taken.add(mount.target)
    for path in config.get("Volumes") or {}:
        target = mount_flags.clean(path)
        if target not in taken:
            taken.add(target)
            mount = mount_flags.Mount("volume", "", target)
            mount.copy_up = True
            found.append(mount)
    for mount in found:
        if mount.kind == "bind" and not os.path.exists(mount.source) and not mount.make_source:
            raise InvalidInput(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
        if mount.kind == "volume":
            name = mount.source or os.urandom(32).hex()
            made.volumes.append((name, not mount.source))
            mount.source = f"{store.paths.root}/volumes/{name}/_data"
    made.mounts = found


def _recorded(mount: mount_flags.Mount) -> MountPoint:
    """Return a mount as docker's inspect shows it."""
    propagation = [o for o in mount.options if o in ("shared", "rshared", "slave", "rslave", "private")]
    named: MountPoint = {"Type": mount.kind}
    if mount.kind == "volume":
        named["Name"] = mount.source.rsplit("/", 2)[-2]
    return {
        **named,
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": ",".join(mount.options),
        "RW": "ro" not in mount.options,
        "Propagation": propagation[0] if propagation else ("rprivate" if mount.kind == "bind" else ""),
    }


def write_files(directory: str, container_id: str, wish: ContainerOptions, hostname: str, gateway: str) -> None:
    """Write resolv.conf, hostname and hosts of a container, readable by all inside it; for `gateway` see `extra_hosts`."""
    host_network = wish.network == "host"
    if host_network and not wish.extra_hosts and wish.uts in ("", "private"):
        hosts = host_facts.text_of("/etc/hosts") or etc_texts.LOCAL_HOSTS
    else:
        hosts = etc_texts.LOCAL_HOSTS + etc_texts.extra_hosts(wish, etc_texts.LOOPBACK if host_network else gateway)
    if not host_network and hostname:
        hosts += (
            f"127.0.0.1\t{hostname} {container_id[:12]}\n"
            if hostname != container_id[:12]
            else (f"127.0.0.1\t{hostname}\n")
        )
    write_texts(directory, {"resolv.conf": etc_texts.resolver(wish), "hostname": hostname + "\n", "hosts": hosts})


def write_texts(directory: str, texts: dict[str, str]) -> None:
    """Write files that are shown in a container, readable by all inside it."""
    for name, text in texts.items():
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, text.encode())
        finally:
            os.close(fd)
