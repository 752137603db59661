"""The syntax of -v, --mount and --tmpfs, and the mounts that they stand for."""

from __future__ import annotations

import os
import posixpath

from ....errors import InvalidInput, Unsupported
from ....human import parse_size
from ....lean.values import Value
from ....runtime.plan import mountplan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Mount as OciMount

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_TRUE, _FALSE = ("", "1", "true"), ("0", "false")


class Mount:
    """A mount asked for.

    `kind` is bind, volume, tmpfs or image; `source` a host path, a volume's name ("" is anonymous) or an image's. With
    `subpath` only that path of the source is shown. `labels` and `driver_options` are those of a volume that is new.
    """

    __slots__ = (
        "copy_up",
        "driver_options",
        "inherited",
        "kind",
        "labels",
        "layers",
        "make_source",
        "options",
        "source",
        "subpath",
        "target",
    )

    def __init__(self, kind: str, source: str, target: str) -> None:
        self.kind = kind
        self.source = source
        self.target = clean(target)
        self.options: list[str] = []
        self.copy_up = False
        self.make_source = False  # -v makes a missing host directory, --mount does not
        self.subpath = ""
        self.labels: dict[str, str] = {}
        self.driver_options: dict[str, str] = {}
        self.layers: list[str] = []  # directories of an image that is more than one, topmost first
        self.inherited = False  # of another container (--volumes-from)

    def oci(self) -> OciMount:
        """Return the mount as the runtime specification words it."""
        if self.kind == "tmpfs":
            return {"destination": self.target, "type": "tmpfs", "source": "tmpfs", "options": self.options}
        if self.layers:
            lower = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in self.layers)
            without_root = ["userxattr"] if os.geteuid() != 0 else []
            options = ["ro", f"lowerdir={lower}", *without_root]
            return {"destination": self.target, "type": "overlay", "source": "overlay", "options": options}
        options = self.options
        if not any(word in mountplan.PROPAGATION for word in options):
            options = [*options, "rprivate"]
        recursive = "bind" if "bind" in options else "rbind"
        if recursive == "rbind" and "ro" in options:
            # What is mounted below the source is read-only, too, where the kernel can (as docker does since 25).
            options = [*options, "rro"]
        return {
            "destination": self.target,
            "type": "bind",
            "source": self.source,
            "options": [recursive, *(o for o in options if o not in ("bind", "rbind"))],
        }


def clean(target: str) -> str:
    """Return an absolute container path without `.`, `..` and doubled slashes; raises InvalidInput."""
    if not target.startswith("/"):
        raise InvalidInput(f"invalid mount path: '{target}' mount path must be absolute")
    if "\0" in target or len(target) > 4095:
        raise InvalidInput("invalid mount path: it is too long or holds a NUL character")
    path = posixpath.normpath(target)
    path = "/" + path.lstrip("/")
    if path == "/":
        raise InvalidInput("invalid mount path: destination can't be '/'")
    return path


def _check_length(text: str) -> None:
    """Raise InvalidInput for what cannot be a path: the kernel takes 4095 bytes (attacks RT-13)."""
    if "\0" in text or any(len(part) > 4095 for part in text.split(":")):
        raise InvalidInput("invalid mount: a path is too long or holds a NUL character")


def parse_volume(text: str) -> Mount:
    """Return the mount of a -v value: [SOURCE:]TARGET[:OPTIONS]; raises InvalidInput with docker's words."""
    _check_length(text)
    parts = text.split(":")
    if not text or len(parts) > 3 or any(not part for part in parts):
        raise InvalidInput(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        # As docker, which takes a name without a path for a directory below /.
        mount = Mount("volume", "", parts[0] if parts[0].startswith("/") else "/" + parts[0])
        mount.copy_up = True
        return mount
    source, target = parts[0], parts[1]
    if source.startswith(("/", "./", "../", "~")) or source in (".", ".."):
        mount = Mount("bind", os.path.abspath(os.path.expanduser(source)), target)
        mount.make_source = True
    else:
        mount = Mount("volume", _volume_name(source), target)
        mount.copy_up = True
    for option in parts[2].split(",") if len(parts) == 3 else []:
        if option in ("z", "Z"):
            continue  # SELinux labels: docker, too, does nothing on a host without it
        if option == "nocopy" and mount.kind == "volume":
            mount.copy_up = False
        elif option in ("ro", "rw", "idmap") or (option in mountplan.PROPAGATION and mount.kind == "bind"):
            mount.options.append(option)
        elif option.startswith("idmap="):
            raise Unsupported(f"volume option {option} is not supported", "`idmap` takes the container's own ids")
        elif option in ("consistent", "cached", "delegated"):
            continue  # documented by docker as having no effect on Linux
        else:
            known = ["ro", "rw", "z", "Z", *(["nocopy"] if mount.kind == "volume" else mountplan.PROPAGATION), "idmap"]
            raise InvalidInput(f"invalid mode: {option}", f"one of {', '.join(known)}")
    if {"ro", "rw"} <= set(mount.options):
        raise InvalidInput(f"invalid mode: {parts[2]}", "ro or rw")
    return mount


def _volume_name(name: str) -> str:
    if len(name) < 2 or not set(name) <= _NAME or not name[0].isalnum() or len(name) > 255:
        raise InvalidInput(
            f"'{name}' includes invalid characters for a local volume name, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            "If you intended to pass a host directory, use an absolute path",
        )
    return name


def parse_tmpfs(text: str) -> Mount:
    """Return the mount of a --tmpfs value: TARGET[:OPTIONS]."""
    target, _, options = text.partition(":")
    mount = Mount("tmpfs", "", target)
    given = [option for option in options.split(",") if option]
    mount.options = ["noexec", "nosuid", "nodev"]
    for option in given:
        opposite = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}.get(option)
        if option in ("bind", "rbind") or option in mountplan.PROPAGATION:
            raise InvalidInput(f"invalid tmpfs option: {option}")
        if opposite:
            mount.options.remove(opposite) if opposite in mount.options else None
        elif option not in mount.options:
            mount.options.append(option)
    return mount


def parse_mount(text: str) -> Mount:
    """Return the mount of a --mount value: comma-separated key=value pairs; raises InvalidInput, Unsupported."""
    _check_length(text)
    values: dict[str, str] = {}
    several: list[tuple[str, str]] = []
    for field in _split(text):
        key, _, value = field.partition("=")
        key = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}.get(key, key)
        if key in ("volume-opt", "volume-label"):
            several.append((key, value))
            continue
        if key in values:
            raise InvalidInput(f"invalid argument '{text}' for --mount: '{key}' is given twice")
        values[key] = value
    kind = values.pop("type", "volume")
    target = values.pop("target", "")
    source = values.pop("source", "")
    if kind not in ("bind", "volume", "tmpfs", "image"):
        if kind in ("npipe", "cluster"):
            raise Unsupported(f"--mount type={kind} is not supported")
        raise InvalidInput(f"invalid argument '{text}' for --mount: mount type unknown: '{kind}'")
    if not target:
        raise InvalidInput(f"invalid argument '{text}' for --mount: target is required")
    if kind == "bind":
        if not source:
            raise InvalidInput(f"invalid argument '{text}' for --mount: source is required")
        if source.startswith("./") or source == ".":
            source = os.path.abspath(source)
        elif not source.startswith("/"):
            raise InvalidInput(
                f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute",
                "a path relative to the current directory begins with ./",
            )
    elif kind == "tmpfs" and source:
        raise InvalidInput(f"invalid argument '{text}' for --mount: a tmpfs has no source")
    elif kind == "image":
        if not source:
            raise InvalidInput(f"invalid argument '{text}' for --mount: source is required: the name of an image")
    elif source:
        source = _volume_name(source)
    mount = Mount(kind, source, target)
    mount.copy_up = kind == "volume"
    if kind == "tmpfs":
        mount.options = ["noexec", "nosuid", "nodev"]
    for key, value in [*values.items(), *several]:
        _mount_option(mount, key, value, text)
    if kind == "image":
        mount.options = ["ro"]  # whatever `readonly` says: an image never changes
    return mount


def _mount_option(mount: Mount, key: str, value: str, text: str) -> None:
    bad = InvalidInput(f"invalid argument '{text}' for --mount: unexpected key '{key}' or value '{value}'")
    if key == "readonly":
        if value not in _TRUE + _FALSE:
            raise bad
        if value in _TRUE:
            mount.options.append("ro")
    elif key == "idmap" and mount.kind != "tmpfs":
        if value not in _TRUE + _FALSE:
            raise Unsupported(f"--mount option {key}={value} is not supported", "`idmap` takes the container's own ids")
        if value in _TRUE:
            mount.options.append("idmap")
    elif key == "bind-propagation" and mount.kind == "bind":
        if value not in mountplan.PROPAGATION:
            raise bad
        mount.options.append(value)
    elif key == "bind-recursive" and mount.kind == "bind" and value in ("enabled", "disabled"):
        if value == "disabled":
            mount.options.append("bind")
    elif key == "bind-create-src" and mount.kind == "bind" and value in _TRUE + _FALSE:
        mount.make_source = value in _TRUE
    elif key == "volume-nocopy" and mount.kind == "volume":
        mount.copy_up = value not in _TRUE
    elif key == "tmpfs-size" and mount.kind == "tmpfs":
        try:
            mount.options.append(f"size={parse_size(value)}")
        except ValueError:
            raise bad from None
    elif key == "tmpfs-mode" and mount.kind == "tmpfs":
        if not value or set(value) - set("01234567"):
            raise bad
        mount.options.append(f"mode={value}")
    elif key == "volume-driver" and mount.kind == "volume":
        check_driver(value)
    elif key == "volume-label" and mount.kind == "volume" and value:
        name, _, content = value.partition("=")
        mount.labels[name] = content
    elif key == "volume-opt" and mount.kind == "volume" and value:
        name, equals, content = value.partition("=")
        if not equals:
            raise bad
        mount.driver_options[name] = content
    elif (key, mount.kind) in (("volume-subpath", "volume"), ("image-subpath", "image")) and value:
        mount.subpath = _subpath(value)
        mount.copy_up = False
    elif key == "consistency" and mount.kind != "tmpfs" and value in ("default", "consistent", "cached", "delegated"):
        pass  # documented by docker as having no effect on Linux
    else:
        raise bad


def check_driver(name: str) -> None:
    """Refuse volume drivers that are not there; raises InvalidInput in docker's words."""
    if name not in ("", "local"):
        raise InvalidInput(f'error looking up volume plugin {name}: plugin "{name}" not found', "the driver is local")


def _subpath(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(f"invalid mount: subpath '{path}' must be a relative path within the volume")
    return posixpath.normpath(path)


class From(Value):
    """A container (of --volumes-from) whose mounts the new container gets, too."""

    name: str
    read_only: bool = False


def parse_volumes_from(text: str) -> From:
    """Return what a --volumes-from value `NAME[:ro|rw]` asks for; raises InvalidInput in docker's words."""
    name, colon, mode = text.partition(":")
    if not name:
        raise InvalidInput(f"invalid volume specification: '{text}'")
    words = [word for word in mode.split(",") if word]
    if (colon and not words) or any(word not in ("ro", "rw", "z", "Z") for word in words):
        raise InvalidInput(f'invalid mode: "{mode}"', "ro or rw")
    return From(name, "ro" in words)


def _split(text: str) -> list[str]:
    """Split at commas; a field may be quoted to hold one (docker reads the value as a line of CSV)."""
    fields, field, quoted = [], "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += character
    fields.append(field)
    return [item for item in fields if item]
