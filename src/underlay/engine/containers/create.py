"""Creating a container: options and image become its record in the database and the files in its directory."""

from __future__ import annotations

import fcntl
import os

from ... import events
from ...errors import Conflict, InvalidInput, NameTaken, Unsupported
from ...files import sync_directory
from ...linux import process, signals
from ...store import volumeoptions, volumes
from ...store.rows import containers, images
from .. import presence
from ..images import find
from ..options import ContainerOptions
from ..space import Writing
from .random_names import random_name
from .specification import compose, etc_texts, health, host_facts, machine, mount_points
from .specification.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...oci.configuration import Execution
    from ...store.rows.id_ranges import Wanted
    from ...store.rows.images import ImageRow
    from ...store.rows.intent import Intent, OfPlugins, Publication
    from ...store.rows.meta import Transaction
    from ...store.store import Store
    from ..networks.attach import EndpointRequest

NAME_FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")


class Draft:
    """A container worked out but not recorded: nothing has been made for it."""

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
        "request",
    )

    def __init__(self, request: Request, image: ImageRow) -> None:
        self.request = request
        self.image = image
        self.id = os.urandom(32).hex()
        self.intent: Intent
        self.leasing: Callable[[Transaction, str], None] | None = None
        self.mounts = mount_points.MountPoints()
        self.hostname = ""
        self.gateway = ""  # this host's address in the container's networks
        self.claims: list[Wanted] = []  # numbers that no other container may have
        self.joins = ""  # id of the container whose user namespace is joined


def draft(store: Store, options: ContainerOptions, pull: bool = False) -> Draft:
    """Work out a container without making anything; with `pull` its image may be fetched.

    Raises NotFound (image), InvalidInput, Conflict, ….
    """
    if options.name:
        containers.check_name(options.name)
    request = Request(options)
    if request.restart["name"] != "no" and options.remove:
        raise InvalidInput("conflicting options: cannot specify both --restart and --rm")
    options = request.options
    image = find.find_image(store, options.image, options.platform, options.pull if pull else find.HERE)
    kernel = machine.wanted(store, options)
    architecture = machine.require(options.image, image.platform) if kernel else ""
    if not kernel:
        find.require_processor(options.image, image.platform, bool(machine.architecture_of(image.platform)))
    config = images.config(store.paths, image.id).get("config") or {}
    shared: dict[str, str] = {}
    if options.network.startswith("container:"):
        request.options, shared = _sharing(store, options)
        options = request.options
    made = Draft(request, image)
    made.mounts = mount_points.choose(store, request, config, options.pull if pull else find.HERE)
    directory = store.paths.container(made.id)
    files = {name: directory + name.removeprefix("/etc") for name in NAME_FILES} | shared
    edits = None
    if request.described_devices or options.gpus:
        from .specification import described_devices

        edits = described_devices.choose(request)
    host = host_facts.gather(store, request)
    of_plugins = _networks_of_plugins(request, host.rootless)
    networks = [] if of_plugins else _networks(store, request, host.rootless)
    if networks or of_plugins:
        host.network_namespace = store.paths.container_state(made.id) + "/net"
    if options.ipc == "shareable" and not host.rootless:
        host.shared_memory = store.paths.container_state(made.id) + "/shm"
    ports = _ports(request, config, bool(networks or of_plugins))
    if options.userns or host.rootless:
        from .specification import user_namespace

        space = user_namespace.choose(store, options, host)
        made.claims, made.joins = space.claims, space.joins
    if host.user_namespace and not host.rootless:
        for mount in request.mounts:
            if mount.kind in ("volume", "image") and not mount.layers and "idmap" not in mount.options:
                mount.options.append("idmap")
    composed = compose.compose(made.id, request, config, request.mounts, files, host)
    if edits is not None:
        described_devices.add(edits, composed.spec)
        composed.groups += edits.groups
    if composed.seccomp not in ("default", "unconfined"):
        from ...linux.security import seccomp
        from .specification import seccomp_profile

        composed.spec["linux"]["seccomp"] = seccomp_profile.read(composed.seccomp, seccomp.machine(architecture))
        composed.seccomp = "custom"
    signals.number(composed.stop_signal)  # for its errors
    stop_timeout = options.stop_timeout if options.stop_timeout is not None else config.get("StopTimeout")
    made.hostname = composed.spec.get("hostname") or os.uname().nodename
    made.intent = {
        "options": options.given(),
        "spec": composed.spec,
        "extras": {
            "user": composed.user,
            "groups": composed.groups,
            "init": composed.init,
            "soft_sysctls": composed.soft_sysctls,
            "copy_up": composed.copy_up,
            "hooks": list(composed.spec.get("hooks") or {}),
            "subpaths": {mount.target: mount.subpath for mount in request.mounts if mount.subpath},
            "landlock": composed.landlock,
        },
        "seccomp": composed.seccomp,
        "image": {"id": image.id, "name": options.image, "diff_ids": list(image.diff_ids), "chain": image.chain},
        "labels": {**(config.get("Labels") or {}), **options.labels},
        "stop_signal": composed.stop_signal,
        "stop_timeout": 10 if stop_timeout is None else stop_timeout,
        "restart": request.restart,
        "remove": options.remove,
        "log": request.log,
        "mounts": made.mounts.recorded(request.mounts),
        "rootless": host.rootless,
        "joins": _joins(store, made),
        "disk": None,
    }
    if made.mounts.images:
        made.intent["image_mounts"] = made.mounts.images
    if options.secrets:
        from .specification import secrets

        made.intent["secrets"] = [secrets.parse(text) for text in options.secrets]
        secrets.check(made.intent["secrets"], [mount.target for mount in request.mounts])
        made.intent["extras"]["secrets"] = [
            (secret["target"], secret["mode"], secret["uid"], secret["gid"]) for secret in made.intent["secrets"]
        ]
    if options.links:
        from ..networks import links

        made.intent["links"] = links.choose(store, options)
    if options.runtime not in ("", "underlay"):
        from .specification import other_runtime

        made.intent["runtime"] = other_runtime.choose(made.intent)
    check = health.choose(options, config)
    if check is not None:
        made.intent["health"] = check
    if of_plugins:
        made.intent["network"], made.intent["cni"], made.intent["ports"] = [], of_plugins, ports
    if networks:
        from ..networks import attach

        made.intent["network"], made.intent["ports"] = [endpoint.network.id for endpoint in networks], ports
        made.intent["addresses"] = {
            endpoint.network.id: (endpoint.address4, endpoint.address6)
            for endpoint in networks
            if endpoint.address4 or endpoint.address6
        }
        made.leasing = attach.leasing(networks)
        made.gateway = etc_texts.host_address([endpoint.network for endpoint in networks])
    if kernel:
        made.intent["machine"], made.intent["disk"] = machine.choose(store, made.intent, options, kernel, architecture)
    elif options.storage_options:
        from .specification import disk_limit

        made.intent["disk"], numbers = disk_limit.choose(store, options)
        made.claims += numbers
    return made


def _sharing(store: Store, options: ContainerOptions) -> tuple[ContainerOptions, dict[str, str]]:
    """Return the options of a container in another's network with that one's hostname, and that one's files by path.

    Raises NotFound, InvalidInput.
    """
    for given, words in (
        (options.hostname, "hostname"),
        (options.dns or options.dns_search or options.dns_options, "dns"),
        (options.extra_hosts, "custom host-to-IP mapping"),
    ):
        if given:
            raise InvalidInput(
                f"conflicting options: {words} and the network mode", "set it on the container whose network is shared"
            )
    owner = containers.find(store.meta, options.network.partition(":")[2]).intent
    spec = owner["spec"]
    known = {"hostname": spec.get("hostname") or "", "domainname": spec.get("domainname") or ""}
    return ContainerOptions(**{**options.given(), **known}), name_files(owner)


def name_files(intent: Intent) -> dict[str, str]:
    """Return the files of this host that a container has as its resolv.conf, hostname and hosts."""
    sources = {mount["destination"]: mount["source"] for mount in intent["spec"]["mounts"] if mount["type"] == "bind"}
    return {name: sources[name] for name in NAME_FILES if name in sources}


def _networks(store: Store, request: Request, rootless: bool) -> list[EndpointRequest]:
    """Return the endpoints that a container requests. Raises NotFound, InvalidInput, Conflict, Unsupported."""
    options, mode = request.options, request.options.network
    first = request.networks[0]
    if mode in ("none", "host") or mode.startswith("container:"):
        for given, flag in (
            (options.ip or first.address4, "--ip"),
            (options.ip6 or first.address6, "--ip6"),
            (options.mac_address or first.mac, "--mac-address"),
            (options.network_aliases or first.aliases, "--network-alias"),
        ):
            if given:
                raise InvalidInput(
                    f"{flag} cannot be used with --network {mode}: the container has no interface of its own"
                )
        if options.networks:
            raise InvalidInput(f"conflicting options: --network {mode} cannot be combined with other networks")
        return []
    if rootless:
        raise Unsupported(
            f"network {mode}: an unprivileged user cannot make interfaces for containers",
            "use --network none or --network host",
        )
    from ..networks import attach

    return attach.wanted(store, request)


def _networks_of_plugins(request: Request, rootless: bool) -> list[OfPlugins]:
    """Return the networks of CNI that a container requests. Raises NotFound, InvalidInput, Unsupported."""
    if not any(asked.name.startswith("cni:") for asked in request.networks):
        return []
    if rootless:
        raise Unsupported(
            f"network {request.options.network}: an unprivileged user cannot run plugins of CNI",
            "use --network none or --network host",
        )
    from ..networks import cni

    options, first = request.options, request.networks[0]
    # The options of their own are those of the first network.
    first = first.changed(
        address4=first.address4 or options.ip,
        address6=first.address6 or options.ip6,
        mac=first.mac or options.mac_address,
        aliases=(*first.aliases, *options.network_aliases),
    )
    return cni.wanted([first, *request.networks[1:]], bool(options.publish or options.publish_all))


def _ports(request: Request, config: Execution, networked: bool) -> list[Publication]:
    options = request.options
    if not options.publish and not options.publish_all:
        return []
    if not networked:
        if options.network in ("host", "none"):
            return []  # for the first `create` warns: what listens is reachable anyway
        raise InvalidInput(
            f"conflicting options: port publishing and network {options.network}",
            "drop -p, or choose another network",
        )
    from ..networks import ports as publishing

    return publishing.wanted_ports(request, config.get("ExposedPorts") or {})


def create(store: Store, options: ContainerOptions, starts: bool = False) -> tuple[str, Intent]:
    """Record a container; returns its id and intent (with its `name`). Raises as `draft` does.

    With `starts` this process starts it at once: should it be killed before, a container that is to remove itself goes.
    """
    made = draft(store, options, pull=True)
    if starts and options.remove:
        made.intent["runner"] = os.getpid(), process.start_time(os.getpid())
    options = made.request.options
    if options.network == "host" and (options.publish or options.publish_all):
        message = "WARNING: Published ports are discarded when using host network mode"
        hint = "the container has the host's ports as they are: drop -p, or choose another network"
        store.emit(events.Event("host.warning", made.id, message=message, hint=hint))
    for mount in made.request.mounts:
        if mount.kind == "bind" and mount.make_source and not os.path.lexists(mount.source):
            os.makedirs(mount.source, exist_ok=True)
    with Writing(store, f"create container {options.name or made.id[:12]}"):
        _make(store, made)
    store.emit(events.Event("container.create", made.id, name=made.intent["name"], image=options.image))
    return made.id, made.intent


def _make(store: Store, made: Draft) -> None:
    """Make a container's files and record it; when that fails nothing is left."""
    options = made.request.options
    directory = store.paths.container(made.id)
    lock = _make_locked(directory)
    try:
        for name in ("upper", "work"):
            os.mkdir(f"{directory}/{name}", 0o755)
            # It shows as the container's /, which the caller's umask is nothing to.
            os.chmod(f"{directory}/{name}", 0o755)
        write_files(directory, made.id, options, made.hostname, made.gateway)
        if made.intent["disk"]:
            from .specification import disk_limit

            disk_limit.make(directory, made.intent["disk"])
        if not options.remove:
            sync_directory(directory)
            sync_directory(os.path.dirname(directory))
        made.intent["name"] = _record(store, made)
    except BaseException:
        from ...files import remove_tree

        remove_tree(directory)
        raise
    finally:
        os.close(lock)


def _make_locked(directory: str) -> int:
    """Make a container's directory and return its lock, a descriptor: without a row it is not a leftover as long as that
    is held (`sweep`)."""
    while True:
        os.makedirs(directory, mode=0o700)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a sweep was faster
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(directory):
            return fd
        os.close(fd)


def _record(store: Store, made: Draft) -> str:
    """Write the row; returns the name, a random one when none was given."""
    for _ in range(20):
        name = made.request.options.name or random_name()
        try:
            containers.insert(
                store.meta,
                made.id,
                name,
                made.image.id,
                made.intent,
                made.mounts.volumes,
                made.claims,
                made.joins,
                made.leasing,
                lambda volume: volumes.make_directory(
                    f"{store.paths.root}/volumes/{volume.name}", volumeoptions.check(volume.options)
                ),
                [used["id"] for used in made.mounts.images.values()],
            )
            return name
        except NameTaken:
            if made.request.options.name:
                raise
    raise Conflict("no free random name found", "give one with --name")


def _joins(store: Store, made: Draft) -> dict[str, str]:
    """Return the ids of the containers whose namespaces are joined, by kind of namespace."""
    owners = {"user": made.joins} if made.joins else {}
    for kind in ("network", "pid", "ipc", "uts"):
        mode, _, name = getattr(made.request.options, kind).partition(":")
        if mode == "container":
            owner = containers.find(store.meta, name)
            presence.require_process(owner.name, owner.intent, f"sharing its {kind} namespace")
            owners[kind] = owner.id
    return owners


def write_files(directory: str, container_id: str, options: ContainerOptions, hostname: str, gateway: str) -> None:
    """Write resolv.conf, hostname and hosts of a container, readable by all inside it; for `gateway` see `extra_hosts`."""
    host_network = options.network == "host"
    if host_network and not options.extra_hosts and options.uts in ("", "private"):
        hosts = host_facts.text_of("/etc/hosts") or etc_texts.LOCAL_HOSTS
    else:
        hosts = etc_texts.LOCAL_HOSTS + etc_texts.extra_hosts(options, etc_texts.LOOPBACK if host_network else gateway)
    if not host_network and hostname:
        hosts += f"127.0.0.1\t{etc_texts.own_names(container_id, hostname, options.domainname)}\n"
    texts = {"resolv.conf": etc_texts.resolver(options), "hostname": hostname + "\n", "hosts": hosts}
    write_texts(directory, texts, durable=not options.remove)


def write_texts(directory: str, texts: dict[str, str], durable: bool = False) -> None:
    """Write files that are shown in a container, readable by all inside it; `durable`, so that they outlast a power cut."""
    for name, text in texts.items():
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            os.write(fd, text.encode())
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
