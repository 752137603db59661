"""Mounts, devices and ports of the body that creates a container, in the grammar of docker's flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.containers.specification import mount_flags
from ...errors import InvalidInput, Unsupported
from ...network import ports as published

if TYPE_CHECKING:
    from .fields import Fields

_HERE = (".", "~")  # what begins so would be a path on the server, seen from the directory in which it runs


def mounts(config: Fields, host: Fields) -> dict[str, Any]:
    """Return the options volumes, mounts, tmpfs, volumes_from and volume_driver. Raises InvalidInput, Unsupported."""
    binds, texts, temporary = host.texts("Binds"), [_mount(mount) for mount in host.children("Mounts")], []
    for at, text in enumerate(binds):
        if text.startswith(_HERE) and ":" in text:
            raise host.wrong(f"Binds[{at}]", f"'{text}': the path on the host must be absolute")
    for path, words in host.map("Tmpfs").items():
        if ":" in path:
            raise host.wrong("Tmpfs", f"'{path}' holds a colon")
        temporary.append(f"{path}:{words}" if words else path)
    taken = {mount_flags.parse_volume(text).target for text in binds}
    taken |= {mount_flags.parse_mount(text).target for text in texts}
    taken |= {mount_flags.parse_tmpfs(text).target for text in temporary}
    anonymous = []
    for path in config.keys("Volumes"):
        if ":" in path:
            raise config.wrong("Volumes", f"'{path}' holds a colon")
        if mount_flags.parse_volume(path).target not in taken:
            anonymous.append(path)
    return {
        "volumes": [*binds, *anonymous],
        "mounts": texts,
        "tmpfs": temporary,
        "volumes_from": host.texts("VolumesFrom"),
        "volume_driver": host.text("VolumeDriver"),
    }


def _mount(mount: Fields) -> str:
    """Return one of HostConfig.Mounts as a --mount value."""
    kind, source = mount.text("Type") or "volume", mount.text("Source")
    if kind == "bind" and not source.startswith("/"):
        raise mount.wrong("Source", f"'{source}': the path on the host must be absolute")
    words = [f"type={kind}", f"target={mount.text('Target')}"]
    if source:
        words.append(f"source={source}")
    if mount.flag("ReadOnly"):
        words.append("readonly")
    if mount.text("Consistency"):
        words.append(f"consistency={mount.text('Consistency')}")
    for member, of in (("BindOptions", "bind"), ("VolumeOptions", "volume"), ("TmpfsOptions", "tmpfs")):
        options = mount.child(member)
        if mount.has(member) and kind != of:
            raise mount.wrong(member, f"a mount of type {kind} has none")
        words += _OPTIONS[of](options)
    subpath = mount.child("ImageOptions").text("Subpath")
    if subpath:
        words.append(f"image-subpath={subpath}")
    text = ",".join(_quoted(mount, word) for word in words)
    mount_flags.parse_mount(text)  # so that errors show here
    return text


def _quoted(mount: Fields, word: str) -> str:
    """Return a field of a line of CSV, as `mount_flags` splits it."""
    if '"' in word:
        raise InvalidInput(f"invalid {mount.path}: {word}: quotation marks are not supported")
    return f'"{word}"' if "," in word else word


def _bind_options(options: Fields) -> list[str]:
    options.refuse("ReadOnlyNonRecursive", "ReadOnlyForceRecursive")
    words = [f"bind-propagation={options.text('Propagation')}"] if options.text("Propagation") else []
    words += ["bind-recursive=disabled"] if options.flag("NonRecursive") else []
    return words + (["bind-create-src=true"] if options.flag("CreateMountpoint") else [])


def _volume_options(options: Fields) -> list[str]:
    words = ["volume-nocopy=true"] if options.flag("NoCopy") else []
    words += [f"volume-label={key}={value}" for key, value in options.map("Labels").items()]
    driver = options.child("DriverConfig")
    words += [f"volume-driver={driver.text('Name')}"] if driver.text("Name") else []
    words += [f"volume-opt={key}={value}" for key, value in driver.map("Options").items()]
    return words + ([f"volume-subpath={options.text('Subpath')}"] if options.text("Subpath") else [])


def _tmpfs_options(options: Fields) -> list[str]:
    options.refuse("Options")
    size, mode = options.number("SizeBytes"), options.number("Mode")
    if size < 0 or mode < 0:
        raise options.wrong("SizeBytes" if size < 0 else "Mode", "it cannot be negative")
    return ([f"tmpfs-size={size}"] if size else []) + ([f"tmpfs-mode={mode:o}"] if mode else [])


_OPTIONS = {"bind": _bind_options, "volume": _volume_options, "tmpfs": _tmpfs_options}


def devices(host: Fields) -> dict[str, Any]:
    """Return the options devices and gpus. Raises InvalidInput, Unsupported."""
    texts, gpus = [], ""
    for device in host.children("Devices"):
        path = device.text("PathOnHost")
        words = [path, device.text("PathInContainer") or path, device.text("CgroupPermissions") or "rwm"]
        if any(":" in word for word in words) or set(words[2]) - set("rwm"):
            raise InvalidInput(f"invalid {device.path}: {':'.join(words)}")
        texts.append(":".join(words))
    for request in host.children("DeviceRequests"):
        request.refuse("Options")
        driver, names, count = request.text("Driver"), request.texts("DeviceIDs"), request.number("Count")
        wanted = {word for row in request.grid("Capabilities") for word in row}
        if driver == "cdi":
            texts += names
            continue
        if driver and "gpu" not in wanted and driver != "nvidia":
            raise Unsupported(f'could not select device driver "{driver}"', "there are cdi, and gpu as a capability")
        if not driver and "gpu" not in wanted:
            raise Unsupported(f"could not select device driver with capabilities: {sorted(wanted)}", "gpu is known")
        if gpus:
            raise Unsupported(f"{request.path}: GPUs are requested twice")
        if count and names:
            raise InvalidInput(f"invalid {request.path}: cannot set both Count and DeviceIDs")
        if any('"' in name or "," in name for name in names):
            raise InvalidInput(f"invalid {request.path}.DeviceIDs")
        if names:
            ids = f"device={','.join(names)}"
            gpus = f'"{ids}"' if len(names) > 1 else ids
        else:
            gpus = "all" if count == -1 else str(count)
        if driver:
            gpus = f"{gpus if names else f'count={gpus}'},driver={driver}"
    return {"devices": texts, "gpus": gpus}


def ports(config: Fields, host: Fields) -> dict[str, Any]:
    """Return the options publish, publish_all and expose. Raises InvalidInput."""
    bindings = host.lists_by_name("PortBindings")
    texts = []
    for port, places in bindings.items():
        _check_port(host, "PortBindings", port)
        for place in places:
            address, number = place.text("HostIp"), place.text("HostPort")
            if set(number) - set("0123456789-"):
                raise place.wrong("HostPort", repr(number))
            if address and not published.is_address(address):
                raise place.wrong("HostIp", repr(address))
            address = f"[{address}]" if ":" in address else address
            text = f"{address}:{number}:{port}" if address else f"{number}:{port}" if number else port
            published.parse(text)
            texts.append(text)
    exposed = config.keys("ExposedPorts")
    for port in exposed:
        _check_port(config, "ExposedPorts", port)
    known = {port for port, places in bindings.items() if places}
    names = dict.fromkeys([*exposed, *bindings])
    return {
        "publish": texts,
        "publish_all": host.flag("PublishAllPorts"),
        "expose": [port for port in names if port not in known],
    }


def _check_port(fields: Fields, member: str, port: str) -> None:
    if ":" in port or "=" in port:
        raise fields.wrong(member, f"'{port}' is not port/protocol")
    published.parse_exposed(port)
