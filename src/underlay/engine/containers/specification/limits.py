"""Resource limits: options become the OCI object `linux.resources`, by docker's rules. A pure function.

The command line asks here, too, whether a value has docker's form, so that both say the same.
"""

from __future__ import annotations

from ....errors import InvalidInput, Unsupported
from ....human import whole
from ....runtime.policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from ....linux.specification import BlockDevice, Cpu, DeviceRule, Memory, Resources
    from ...options import ContainerOptions
    from .compose import HostFacts

    Throttle = Literal[
        "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"
    ]

_PERIOD = 100_000  # µs: what --cpus means by one processor
_LEAST_MEMORY = 6 << 20  # docker's; with less not even its runtime starts
# The options that limit I/O to a device, and their fields (config-linux, "Block IO").
THROTTLES: tuple[tuple[str, Throttle], ...] = (
    ("device_read_bps", "throttleReadBpsDevice"),
    ("device_write_bps", "throttleWriteBpsDevice"),
    ("device_read_iops", "throttleReadIOPSDevice"),
    ("device_write_iops", "throttleWriteIOPSDevice"),
)


def compose(wish: ContainerOptions, host: HostFacts) -> Resources:
    """Return the resources of a container; raises InvalidInput, Unsupported naming the option."""
    found = limits(wish, host)
    block = found.get("blockIO", {})
    devices: list[BlockDevice] = []
    for text in wish.blkio_weight_device:
        path, weight = weight_device(text)
        devices.append({**_block_device(path, host), "weight": weight})
    if devices:
        block["weightDevice"] = devices
    for option, field in THROTTLES:
        entries: list[BlockDevice] = []
        for text in getattr(wish, option):
            path, rate = throttle(text, option.endswith("iops"))
            entries.append({**_block_device(path, host), "rate": rate})
        if entries:
            block[field] = entries
    if block:
        found["blockIO"] = block
    found["devices"] = _devices(wish, host)
    return found


def limits(wish: ContainerOptions, host: HostFacts) -> Resources:
    """Return what `update` can change as well: memory, processors, processes and the weight of I/O."""
    found: Resources = {}
    memory, cpu = _memory(wish), _cpu(wish, host)
    if memory:
        found["memory"] = memory
    if cpu:
        found["cpu"] = cpu
    if wish.pids_limit:
        found["pids"] = {"limit": max(-1, wish.pids_limit)}
    if wish.blkio_weight:
        if not 10 <= wish.blkio_weight <= 1000:
            raise InvalidInput("range of blkio weight is from 10 to 1000")
        found["blockIO"] = {"weight": wish.blkio_weight}
    return found


def _memory(wish: ContainerOptions) -> Memory:
    memory: Memory = {}
    if wish.memory:
        if wish.memory < _LEAST_MEMORY:
            raise InvalidInput("minimum memory limit allowed is 6MB")
        memory["limit"] = wish.memory
        memory["swap"] = wish.memory_swap or wish.memory * 2
        if 0 < memory["swap"] < wish.memory:
            raise InvalidInput("minimum memoryswap limit should be larger than memory limit")
    elif wish.memory_swap > 0:
        raise InvalidInput("you should always set the memory limit when using the memoryswap limit")
    elif wish.memory_swap:
        memory["swap"] = -1
    if wish.memory_reservation:
        if wish.memory_reservation < _LEAST_MEMORY:
            raise InvalidInput("minimum memory reservation allowed is 6MB")
        if wish.memory and wish.memory < wish.memory_reservation:
            raise InvalidInput("minimum memory limit can not be less than memory reservation limit")
        memory["reservation"] = wish.memory_reservation
    if not -1 <= wish.memory_swappiness <= 100:
        raise InvalidInput(f"invalid value: {wish.memory_swappiness}. Valid memory swappiness range is 0-100")
    if wish.memory_swappiness >= 0:
        memory["swappiness"] = wish.memory_swappiness
    if wish.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(wish: ContainerOptions, host: HostFacts) -> Cpu:
    cpu: Cpu = {}
    if wish.cpus:
        if wish.cpu_quota or wish.cpu_period:
            raise InvalidInput("conflicting options: --cpus and --cpu-period or --cpu-quota cannot both be set")
        most = host.processors
        if wish.cpus < 0.01 or (most and wish.cpus > most):
            there = f" to {most}.00, as there are only {most} CPUs available" if most else f", not {wish.cpus}"
            raise InvalidInput(f"range of CPUs is from 0.01{there}")
        cpu["period"], cpu["quota"] = _PERIOD, int(wish.cpus * _PERIOD)
    if wish.cpu_period:
        if not 1000 <= wish.cpu_period <= 1_000_000:
            raise InvalidInput("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
        cpu["period"] = wish.cpu_period
    if wish.cpu_quota:
        if 0 < wish.cpu_quota < 1000:
            raise InvalidInput("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        cpu["quota"] = wish.cpu_quota
    if wish.cpu_shares:
        if wish.cpu_shares < 0:
            raise InvalidInput(f"invalid CPU shares ({wish.cpu_shares}): value must be a positive integer")
        if not 2 <= wish.cpu_shares <= 1 << 18:
            word, bound = ("minimum", 2) if wish.cpu_shares < 2 else ("maximum", 1 << 18)
            raise InvalidInput(f"the {word} allowed cpu-shares is {bound}")
        cpu["shares"] = wish.cpu_shares
    if wish.cpu_rt_period > 0 and wish.cpu_rt_runtime > wish.cpu_rt_period:
        raise InvalidInput("cpu real-time runtime cannot be higher than cpu real-time period")
    for option, value in (("cpu-rt-period", wish.cpu_rt_period), ("cpu-rt-runtime", wish.cpu_rt_runtime)):
        if value < 0:
            raise InvalidInput(f"--{option}: {value} is less than 0")
    if wish.cpu_rt_period:
        cpu["realtimePeriod"] = wish.cpu_rt_period
    if wish.cpu_rt_runtime:
        cpu["realtimeRuntime"] = wish.cpu_rt_runtime
    for option, text, there, words in (
        ("cpuset cpus", wish.cpuset_cpus, host.online_cpus, "CPUs"),
        ("cpuset mems", wish.cpuset_mems, host.online_mems, "memory nodes"),
    ):
        wanted = numbers(text, option) if text else set()
        if there and not wanted <= numbers(there, ""):
            raise InvalidInput(f"requested {words} are not available - requested {text}, available: {there}")
    if wish.cpuset_cpus:
        cpu["cpus"] = wish.cpuset_cpus
    if wish.cpuset_mems:
        cpu["mems"] = wish.cpuset_mems
    return cpu


def numbers(text: str, option: str) -> set[int]:
    """Return the numbers of a list such as `0-3,7` (cpuset(7), "List format"); raises InvalidInput."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        high = high if dash else low
        # The kernel's own lists end below this; a range of billions would be built here.
        first, last = whole(low), whole(high)
        if not 0 <= first <= last < 1 << 16:
            raise InvalidInput(f"invalid value {text} for {option}")
        found.update(range(first, last + 1))
    return found


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
            if whole(value) < 0:
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


def device_rule(text: str) -> DeviceRule:
    """Return the OCI rule of a --device-cgroup-rule value such as `c 10:229 rw`; raises InvalidInput."""
    words = text.split(" ")
    major, colon, minor = words[1].partition(":") if len(words) == 3 else ("", "", "")
    plain = all(number == "*" or whole(number) >= 0 for number in (major, minor))
    if not colon or words[0] not in ("a", "b", "c") or not plain or not 1 <= len(words[2]) <= 3:
        raise InvalidInput(f"invalid device cgroup format '{text}'")
    if set(words[2]) - set("rwm"):
        raise InvalidInput(f"invalid device cgroup format '{text}'")
    found: DeviceRule = {"allow": True, "type": words[0], "access": words[2]}
    if major != "*":
        found["major"] = whole(major)
    if minor != "*":
        found["minor"] = whole(minor)
    return found


def parent_group(text: str) -> str:
    """Return the path of a --cgroup-parent, "" for the engine's own; raises Unsupported, InvalidInput."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if any(part.endswith(".slice") for part in parts):
        raise Unsupported(
            f"--cgroup-parent {text}: slices belong to systemd, and there is no driver for it yet",
            "name a path of control groups, as /mine",
        )
    if ".." in parts:
        raise InvalidInput(f"--cgroup-parent {text}: the path leads upwards")
    return "/".join(parts)


def _block_device(path: str, host: HostFacts) -> BlockDevice:
    found = host.block_devices.get(path)
    if found is None:
        raise InvalidInput(f"{path} is not a block device of this host")
    return {"major": found[0], "minor": found[1]}


def _devices(wish: ContainerOptions, host: HostFacts) -> list[DeviceRule]:
    if wish.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules = profiles.device_rules()
    for text in wish.devices:
        path, _, _, access = device_words(text)
        for node in host.device.get(path) or []:
            rule: DeviceRule = {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"]}
            rules.append({**rule, "access": access})
    return rules + [device_rule(text) for text in wish.device_cgroup_rules]


def device_words(text: str) -> tuple[str, str, bool, str]:
    """Return (host path, container path, whether it was given, access) of a --device value; raises InvalidInput."""
    parts = text.split(":")
    access = "rwm"
    if len(parts) > 1 and parts[-1] and not set(parts[-1]) - set("rwm") and "/" not in parts[-1]:
        access = parts.pop()
    if len(parts) > 2 or not parts[0].startswith("/"):
        raise InvalidInput(f"invalid device specification: {text}")
    target = parts[1] if len(parts) == 2 else parts[0]
    if not target.startswith("/dev/") or not {"", ".", ".."}.isdisjoint(target[5:].split("/")):
        raise InvalidInput(f"invalid device specification: {text}: the path in the container must be below /dev")
    return parts[0], target, len(parts) == 2, access
