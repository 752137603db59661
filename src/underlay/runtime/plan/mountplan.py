"""The mounts and devices of a specification become operations: the grammar of mount options, and what each means."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...linux.files import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Device, IdMaps, Mount
    from .context import Add, IdMapping, Node
    from .extras import Extras

# Option → attributes (MOUNT_ATTR_*) to set and to clear (config, "Linux mount options"). With an r before the word the
# attribute goes to all mounts below, too.
ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mounts.MOUNT_ATTR_RDONLY),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mounts.MOUNT_ATTR_NOSUID),
    "nodev": (mounts.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mounts.MOUNT_ATTR_NODEV),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mounts.MOUNT_ATTR_NOEXEC),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, 0),
    "atime": (0, mounts.MOUNT_ATTR_NOATIME),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mounts.MOUNT_ATTR_NODIRATIME),
    "strictatime": (mounts.MOUNT_ATTR_STRICTATIME, 0),
    "nostrictatime": (0, mounts.MOUNT_ATTR_STRICTATIME),
    "relatime": (0, mounts.MOUNT_ATTR__ATIME),
    "norelatime": (0, 0),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mounts.MOUNT_ATTR_NOSYMFOLLOW),
}
PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "slave": mounts.MS_SLAVE,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "shared": mounts.MS_SHARED,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "unbindable": mounts.MS_UNBINDABLE,
    "runbindable": mounts.MS_UNBINDABLE | mounts.MS_REC,
}
# Options of the file system as a whole, as fsconfig(2) takes them; a bind mount has none of its own.
_SUPERBLOCK = frozenset(("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"))
# `silent` quietens the kernel's log, into which the descriptor-based interface does not write in the first place.
_NOTHING = frozenset(("defaults", "async", "nolazytime", "nomand", "noiversion", "loud", "silent"))
_LONGEST = 4095  # bytes of a path (path_resolution(7), PATH_MAX)
_LINKS = {
    "/dev/ptmx": "pts/ptmx",
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
DEFAULT_DEVICES: tuple[Node, ...] = (
    ("/dev/null", "c", 1, 3, 0o666, 0, 0),
    ("/dev/zero", "c", 1, 5, 0o666, 0, 0),
    ("/dev/full", "c", 1, 7, 0o666, 0, 0),
    ("/dev/random", "c", 1, 8, 0o666, 0, 0),
    ("/dev/urandom", "c", 1, 9, 0o666, 0, 0),
    ("/dev/tty", "c", 5, 0, 0o666, 0, 0),
)


class Options:
    """What the options of one mount ask for.

    `on` and `off` are attributes to set and to clear on the mount, `all_on` and `all_off` on it and all below it;
    `propagation` MS_* words in the order given; `data` the options of the file system itself.
    """

    __slots__ = (
        "all_off",
        "all_on",
        "bind",
        "copy_up",
        "data",
        "idmap",
        "off",
        "on",
        "propagation",
        "recursive",
        "remount",
    )

    def __init__(self) -> None:
        self.on = self.off = self.all_on = self.all_off = 0
        self.propagation: list[int] = []
        self.bind = self.recursive = self.remount = self.copy_up = False
        self.idmap = ""
        self.data: dict[str, str | None] = {}


def parse_options(words: list[str], where: str) -> Options:
    """Return what OCI mount options mean; raises Unsupported naming `where`."""
    options = Options()
    for word in words:
        if word in ("bind", "rbind"):
            options.bind, options.recursive = True, word == "rbind"
        elif word in ATTRIBUTES:
            on, off = ATTRIBUTES[word]
            options.on, options.off = (options.on | on) & ~off, (options.off | off) & ~on
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            on, off = ATTRIBUTES[word[1:]]
            options.all_on, options.all_off = (options.all_on | on) & ~off, (options.all_off | off) & ~on
        elif word in PROPAGATION:
            options.propagation.append(PROPAGATION[word])
        elif word in ("idmap", "ridmap"):
            options.idmap = word
        elif word == "tmpcopyup":
            options.copy_up = True
        elif word == "remount":
            options.remount = True
        elif word == "iversion":
            raise Unsupported(f"{where}: 'iversion' is not supported by the kernel's mount interface")
        elif word in _SUPERBLOCK:
            options.data[word] = None
        elif word not in _NOTHING:
            key, equals, value = word.partition("=")
            options.data[key] = value if equals else None
    return options


def is_bind(item: Mount) -> bool:
    """Return whether an entry of `mounts` binds something that is there (config, "Mounts")."""
    kind = item.get("type") or ""
    words = item.get("options") or []
    return kind == "bind" or (kind in ("", "none") and ("bind" in words or "rbind" in words))


def add_mount(
    add: Add,
    item: Mount,
    where: str,
    cgroup: str,
    own_cgroup: bool,
    maps: IdMaps | None,
    extras: Extras,
) -> None:
    """Emit the operations of one entry of `mounts`.

    `cgroup` is as in `plan.make`, `own_cgroup` whether the container has a cgroup namespace of its own; `maps` are the
    container's (uid, gid) maps or None; `extras` say what is filled, what of a source is bound, and what relative sources
    lie below.
    """
    path = item.get("destination") or ""
    for key, text in (("destination", path), ("source", item.get("source") or "")):
        # What cannot be a path is refused before it is copied about (attacks RT-13).
        if len(text.encode(errors="surrogateescape")) > _LONGEST or "\0" in text:
            raise InvalidInput(f"{where}.{key}: longer than a path can be ({_LONGEST} bytes), or with a NUL in it")
    if not path.startswith("/"):
        if not path:
            raise InvalidInput(f"{where}.destination: a path is needed")
        path = "/" + path  # deprecated, and meant so (config, "Mounts")
    kind = item.get("type") or ""
    options = parse_options(item.get("options") or [], f"{where}.options")
    bind = is_bind(item)
    if options.remount:
        add(("remount", path, options.on, options.off, options.data, bind))
        return
    if bind:
        add_bind(add, item, where, options, path, maps, extras)
        return
    for word, given in (("idmap", options.idmap), ("uidMappings", item.get("uidMappings"))):
        if given:
            raise Unsupported(f"{where}: {word} needs a bind mount")
    if not kind:
        raise InvalidInput(f"{where}.type: a file system type is needed, or the option bind")
    on = options.on | options.all_on
    if kind in ("cgroup", "cgroup2"):
        version, _, hierarchies = cgroup.partition(":")
        if version == "v1":
            add(("cgroup-v1", path, hierarchies.split(","), on, own_cgroup))
        elif version == "v2":
            add(("mount", "cgroup2", "cgroup", path, on, {}, [], True))
        return
    if options.copy_up:
        if kind != "tmpfs":
            raise InvalidInput(f"{where}.options: tmpcopyup needs a tmpfs")
        add(("tmpfs-copy-up", path, on, options.data))
        return
    optional = kind == "mqueue"
    add(("mount", kind, item.get("source") or kind, path, on, options.data, options.propagation, optional))


def add_bind(
    add: Add,
    item: Mount,
    where: str,
    options: Options,
    path: str,
    maps: IdMaps | None,
    extras: Extras,
) -> None:
    """Emit the operations of a bind mount."""
    meaningless = [word for word in options.data if word not in _SUPERBLOCK]
    if meaningless or options.copy_up:
        raise InvalidInput(f"{where}.options: {(meaningless or ['tmpcopyup'])[0]!r} has no effect on a bind mount")
    if options.data:
        raise Unsupported(
            f"{where}.options: {next(iter(options.data))!r} belongs to the whole file system, not to a bind"
        )
    source = item.get("source") or ""
    if not source:
        raise InvalidInput(f"{where}.source: a path is needed")
    if not source.startswith("/"):
        source = f"{extras.base}/{source}"
    if path in extras.copy_up:
        add(("copy-up", path, source))
    propagation = [word & ~mounts.MS_REC if not options.recursive else word for word in options.propagation]
    settings: dict[str, object] = {
        "on": options.on,
        "off": options.off,
        "all-on": options.all_on,
        "all-off": options.all_off,
        "propagation": propagation or [mounts.MS_PRIVATE | mounts.MS_REC],
    }
    if path in extras.subpaths:
        settings["beneath"] = extras.subpaths[path]
    mapping = _mapping(item, where, options, maps)
    if mapping:
        settings["idmap"] = mapping
    add(("bind", source, path, options.recursive, {key: value for key, value in settings.items() if value}))


def _mapping(item: Mount, where: str, options: Options, maps: IdMaps | None) -> IdMapping | None:
    """Return the id mapping of a mount (config, "POSIX-platform Mounts"); None when it asks for none."""
    uids, gids = item.get("uidMappings") or [], item.get("gidMappings") or []
    if bool(uids) != bool(gids):
        raise InvalidInput(f"{where}: uidMappings and gidMappings must be given together")
    if not uids:
        if not options.idmap:
            return None
        if maps is None:
            raise InvalidInput(f"{where}.options: {options.idmap!r} needs uidMappings, or a user namespace of its own")
        uids, gids = maps
    return {"uids": uids, "gids": gids, "recursive": options.idmap == "ridmap"}


def add_devices(add: Add, devices: list[Device], bind: bool, mounted: bool) -> None:
    """Emit the making of device nodes; `mounted` when /dev is a file system of its own, `bind` when nodes cannot be made.

    Where the host's /dev has been bound, nothing is made in it: the nodes asked for must be there.
    """
    nodes: dict[str, Node] = {node[0]: node for node in DEFAULT_DEVICES} if mounted else {}
    for position, item in enumerate(devices):
        where = f"linux.devices[{position}]"
        path, kind = item.get("path") or "", item.get("type") or "c"
        if not path.startswith("/") or not {"", ".", ".."}.isdisjoint(path[1:].split("/")):
            raise InvalidInput(f"{where}.path: {path!r} is not an absolute path without dots")
        if path in ("/dev", "/proc", "/sys") or path.startswith(("/proc/", "/sys/")):
            raise InvalidInput(f"{where}.path: a device cannot be created at {path!r}")
        if kind not in ("c", "b", "u", "p"):
            raise InvalidInput(f"{where}.type: unknown type {kind!r}, not c, b, u or p")
        if kind != "p" and (item.get("major") is None or item.get("minor") is None):
            raise InvalidInput(f"{where}: major and minor numbers are needed")
        mode = item.get("fileMode")
        nodes[path] = (
            path,
            "c" if kind == "u" else kind,
            int(item.get("major") or 0),
            int(item.get("minor") or 0),
            (0o666 if mode is None else int(mode)) & 0o7777,
            int(item.get("uid") or 0),
            int(item.get("gid") or 0),
        )
    if not mounted:
        elsewhere = [node for node in nodes.values() if not node[0].startswith("/dev/")]
        add(("devices-present", [node for node in nodes.values() if node[0].startswith("/dev/")]))
        add(("devices", elsewhere, {}, bind))
        return
    add(("devices", list(nodes.values()), _LINKS, bind))
