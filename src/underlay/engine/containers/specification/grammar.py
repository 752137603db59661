"""Docker's grammar of a container's options: each function turns the text of one option into its value, or refuses it.

Mounts (-v, --mount, --tmpfs) are in `mount_flags`, published ports in `network.ports`. The command line asks here, too,
so that it refuses what the Python interface refuses, in the same words.
"""

from __future__ import annotations

from ....errors import InvalidInput, Unsupported
from ....human import plain, whole
from ....lean.values import Value
from ....linux.security.capabilities import NUMBERS
from ....runtime.plan import processplan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import DeviceRule, Rlimit
    from ....store.rows.intent import Restart
    from ...options import ContainerOptions

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_ULIMITS = {name.removeprefix("RLIMIT_").lower(): name for name in processplan.RLIMITS}


class DeviceRequest(Value):
    """A device that a container is to have: `path` on the host, `target` in the container, `access` of `rwm`."""

    path: str
    target: str
    access: str = "rwm"


def check_names(options: ContainerOptions) -> None:
    """Refuse names of hosts that would be lines or words of their own in the container's files, or are set nowhere.

    Raises InvalidInput, in docker's words where it has some.
    """
    for kind, name in (("hostname", options.hostname), ("domainname", options.domainname)):
        if not plain(name):
            raise InvalidInput(f"invalid {kind} format: {name}", "white space and control characters are not allowed")
        if name and options.uts not in ("", "private"):
            raise InvalidInput(f"conflicting options: {kind} and the UTS mode")
    for flag, names, reason in (
        ("dns-search", options.dns_search, "is not a valid domain"),
        ("dns-option", options.dns_options, "holds white space or control characters"),
    ):
        for name in names:
            if not name or not plain(name):
                raise InvalidInput(f'invalid argument "{name}" for "--{flag}" flag: {name} {reason}')


class NetworkAttachment(Value):
    """A network that a container is to be in: addresses and MAC as texts, "" for any; its names there beside its own."""

    name: str
    address4: str = ""
    address6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()


def network(text: str) -> NetworkAttachment:
    """Return what a --network value asks for: a name, or `name=NAME[,alias=…][,ip=…][,ip6=…][,mac-address=…]`.

    Raises InvalidInput, Unsupported.
    """
    if "=" not in text:
        return NetworkAttachment(text)
    values: dict[str, list[str]] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or not value:
            raise InvalidInput(f"invalid field in --network: {field}", "write key=value, separated by commas")
        values.setdefault(key, []).append(value)
    names, aliases = values.pop("name", []), values.pop("alias", [])
    if len(names) != 1:
        raise InvalidInput(f"network name/id is not specified: {text}", "name=NETWORK is needed, once")
    single = {"ip": "", "ip6": "", "mac-address": ""}
    for key, texts in values.items():
        if key in ("driver-opt", "link-local-ip", "gw-priority"):
            raise Unsupported(f"--network {key} is not supported")
        if key not in single or len(texts) > 1:
            raise InvalidInput(
                f"invalid field key {key} in --network: {text}", "known: name, alias, ip, ip6, mac-address"
            )
        single[key] = texts[0]
    return NetworkAttachment(names[0], single["ip"], single["ip6"], single["mac-address"], tuple(aliases))


def is_described(text: str) -> bool:
    """Return whether a --device value is a name of CDI, vendor.com/class=name, and not a path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name) and "/" in kind and not text.startswith("/")


def device(text: str) -> DeviceRequest:
    """Return what a --device value `host[:container][:access]` asks for; raises InvalidInput."""
    parts = text.split(":")
    access = "rwm"
    if len(parts) > 1 and parts[-1] and not set(parts[-1]) - set("rwm") and "/" not in parts[-1]:
        access = parts.pop()
    if len(parts) > 2 or not parts[0].startswith("/"):
        raise InvalidInput(f"invalid device specification: {text}")
    target = parts[1] if len(parts) == 2 else parts[0]
    if not target.startswith("/dev/") or not {"", ".", ".."}.isdisjoint(target[5:].split("/")):
        raise InvalidInput(f"invalid device specification: {text}: the path in the container must be below /dev")
    return DeviceRequest(parts[0], target, access)


def device_rule(text: str) -> DeviceRule:
    """Return the OCI rule of a --device-cgroup-rule value such as `c 10:229 rw`; raises InvalidInput."""
    words = text.split(" ")
    major, colon, minor = words[1].partition(":") if len(words) == 3 else ("", "", "")
    plain = all(number == "*" or whole(number) >= 0 for number in (major, minor))
    if not colon or words[0] not in ("a", "b", "c") or not plain or not 1 <= len(words[2]) <= 3:
        raise InvalidInput(f"invalid device cgroup format '{text}'")
    if set(words[2]) - set("rwm"):
        raise InvalidInput(f"invalid device cgroup format '{text}'")
    rule: DeviceRule = {"allow": True, "type": words[0], "access": words[2]}
    if major != "*":
        rule["major"] = whole(major)
    if minor != "*":
        rule["minor"] = whole(minor)
    return rule


def weight_device(text: str) -> tuple[str, int]:
    """Return (path, weight) of a --blkio-weight-device value; raises InvalidInput in docker's words."""
    path, colon, value = text.rpartition(":")
    if not colon:
        raise InvalidInput(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidInput(f"bad format for device path: {text}")
    if not 10 <= whole(value) <= 1000:
        raise InvalidInput(f"invalid weight for device: {text}")
    return path, whole(value)


def throttle(text: str, operations: bool) -> tuple[str, int]:
    """Return (path, rate) of a --device-read-bps value and its kin; raises InvalidInput in docker's words.

    With `operations` the rate is a plain number of them a second, else bytes, which may have a unit.
    """
    path, colon, value = text.rpartition(":")
    if not colon:
        raise InvalidInput(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidInput(f"bad format for device path: {text}")
    try:
        if operations:
            if not 0 <= whole(value) < 1 << 63:
                raise ValueError
            return path, whole(value)
        from ....human import parse_size

        return path, parse_size(value)
    except ValueError:
        unit, more = ("", "") if operations else ("[<unit>]", ". Unit is optional and can be kb, mb, or gb")
        raise InvalidInput(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>{unit}. "
            f"Number must be a positive integer{more}"
        ) from None


def parent_group(text: str) -> str:
    """Return the path of a --cgroup-parent, "" for the engine's own; raises Unsupported, InvalidInput."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if any(part.endswith(".slice") for part in parts):
        raise Unsupported(
            f"--cgroup-parent {text}: slices belong to systemd, and there is no driver for it yet",
            "name a path of control groups, as /mine",
        )
    if ".." in parts:
        raise InvalidInput(f"--cgroup-parent {text}: the path contains ..")
    if not text.isprintable():  # the kernel's lists of groups have one on a line
        raise InvalidInput(f"--cgroup-parent {text!r}: the path contains control characters")
    return "/".join(parts)


def ulimit(text: str) -> Rlimit:
    """Return the limit of a --ulimit value `name=soft[:hard]`; raises InvalidInput in docker's words."""
    name, _, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    if name not in _ULIMITS:
        raise InvalidInput(f"invalid ulimit type: {name}")
    words = (soft, hard if colon else soft)
    low, high = map(whole, words)
    if any(number < 0 and word not in ("unlimited", "-1") for word, number in zip(words, (low, high), strict=True)):
        raise InvalidInput(f"invalid ulimit argument: {text}")
    if high != -1 and (low > high or low == -1):
        raise InvalidInput(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"type": _ULIMITS[name], "soft": low, "hard": high}


def capability(name: str) -> str:
    """Return `ALL` or a capability's full name, such as CAP_CHOWN; raises InvalidInput."""
    upper = name.upper()
    if upper == "ALL":
        return upper
    if not upper.startswith("CAP_"):
        upper = "CAP_" + upper
    if upper not in NUMBERS:
        raise InvalidInput(f'invalid capability: "{name}"', "see capabilities(7) for the names")
    return upper


def restart_policy(text: str) -> Restart:
    """Return {"name", "maximum"} of a --restart value; raises InvalidInput."""
    name, colon, count = (text or "no").partition(":")
    if name not in RESTART_POLICIES:
        raise InvalidInput(f"invalid restart policy: unknown policy '{name}'; use one of {', '.join(RESTART_POLICIES)}")
    if colon and (name != "on-failure" or whole(count) < 0):
        raise InvalidInput(f"invalid restart policy: '{text}': a maximum count needs on-failure and a number")
    return {"name": name, "maximum": whole(count) if colon else 0}
