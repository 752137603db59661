"""Resource limits: options become the OCI object `linux.resources`, by docker's rules. A pure function."""

from __future__ import annotations

from ....errors import InvalidInput
from ....human import whole
from ....runtime.policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import BlockDevice, Cpu, DeviceRule, Memory, Resources
    from ...options import ContainerOptions
    from .compose import HostFacts
    from .request import Request

_PERIOD = 100_000  # µs: what --cpus means by one processor
_MOST = (1 << 63) - 1  # what the kernel, runtimes and docker's clients read as a number
_LEAST_MEMORY = 6 << 20  # docker's; with less not even its runtime starts


def compose(request: Request, host: HostFacts) -> Resources:
    """Return the resources of a container; raises InvalidInput naming the option."""
    resources = limits(request.options, host)
    block = resources.get("blockIO", {})
    if request.weights:
        block["weightDevice"] = [{**_block_device(path, host), "weight": weight} for path, weight in request.weights]
    for field, rates in request.throttles.items():
        block[field] = [{**_block_device(path, host), "rate": rate} for path, rate in rates]
    if block:
        resources["blockIO"] = block
    resources["devices"] = _devices(request, host)
    return resources


def limits(options: ContainerOptions, host: HostFacts) -> Resources:
    """Return what `update` can change as well: memory, processors, processes and the weight of I/O."""
    resources: Resources = {}
    memory, cpu = _memory(options), _cpu(options, host)
    if memory:
        resources["memory"] = memory
    if cpu:
        resources["cpu"] = cpu
    if options.pids_limit:
        resources["pids"] = {"limit": max(-1, options.pids_limit)}
    if options.blkio_weight:
        if not 10 <= options.blkio_weight <= 1000:
            raise InvalidInput("range of blkio weight is from 10 to 1000")
        resources["blockIO"] = {"weight": options.blkio_weight}
    return resources


def _memory(options: ContainerOptions) -> Memory:
    memory: Memory = {}
    for name in ("memory", "memory_swap", "memory_reservation", "shm_size"):
        if getattr(options, name) > _MOST:
            raise InvalidInput(f"{name.replace('_', ' ')}: {getattr(options, name)} bytes are too many")
    if options.memory:
        if options.memory < _LEAST_MEMORY:
            raise InvalidInput("minimum memory limit allowed is 6MB")
        memory["limit"] = options.memory
        memory["swap"] = options.memory_swap or min(options.memory * 2, _MOST)
        if 0 < memory["swap"] < options.memory:
            raise InvalidInput("minimum memoryswap limit should be larger than memory limit")
    elif options.memory_swap > 0:
        raise InvalidInput("you should always set the memory limit when using the memoryswap limit")
    elif options.memory_swap:
        memory["swap"] = -1
    if options.memory_reservation:
        if options.memory_reservation < _LEAST_MEMORY:
            raise InvalidInput("minimum memory reservation allowed is 6MB")
        if options.memory and options.memory < options.memory_reservation:
            raise InvalidInput("minimum memory limit can not be less than memory reservation limit")
        memory["reservation"] = options.memory_reservation
    if not -1 <= options.memory_swappiness <= 100:
        raise InvalidInput(f"invalid value: {options.memory_swappiness}. Valid memory swappiness range is 0-100")
    if options.memory_swappiness >= 0:
        memory["swappiness"] = options.memory_swappiness
    if options.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(options: ContainerOptions, host: HostFacts) -> Cpu:
    cpu: Cpu = {}
    if options.cpus:
        if options.cpu_quota or options.cpu_period:
            raise InvalidInput("conflicting options: --cpus and --cpu-period or --cpu-quota cannot both be set")
        most = host.processors
        if options.cpus < 0.01 or (most and options.cpus > most):
            there = f" to {most}.00, as there are only {most} CPUs available" if most else f", not {options.cpus}"
            raise InvalidInput(f"range of CPUs is from 0.01{there}")
        cpu["period"], cpu["quota"] = _PERIOD, int(options.cpus * _PERIOD)
    if options.cpu_period:
        if not 1000 <= options.cpu_period <= 1_000_000:
            raise InvalidInput("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
        cpu["period"] = options.cpu_period
    if options.cpu_quota:
        if 0 < options.cpu_quota < 1000:
            raise InvalidInput("CPU cfs quota can not be less than 1ms (i.e. 1000)")
        cpu["quota"] = options.cpu_quota
    if options.cpu_shares:
        if options.cpu_shares < 0:
            raise InvalidInput(f"invalid CPU shares ({options.cpu_shares}): value must be a positive integer")
        if not 2 <= options.cpu_shares <= 1 << 18:
            word, bound = ("minimum", 2) if options.cpu_shares < 2 else ("maximum", 1 << 18)
            raise InvalidInput(f"the {word} allowed cpu-shares is {bound}")
        cpu["shares"] = options.cpu_shares
    if options.cpu_rt_period > 0 and options.cpu_rt_runtime > options.cpu_rt_period:
        raise InvalidInput("cpu real-time runtime cannot be higher than cpu real-time period")
    for option, value in (("cpu-rt-period", options.cpu_rt_period), ("cpu-rt-runtime", options.cpu_rt_runtime)):
        if value < 0:
            raise InvalidInput(f"--{option}: {value} is less than 0")
    if options.cpu_rt_period:
        cpu["realtimePeriod"] = options.cpu_rt_period
    if options.cpu_rt_runtime:
        cpu["realtimeRuntime"] = options.cpu_rt_runtime
    for option, text, there, words in (
        ("cpuset cpus", options.cpuset_cpus, host.online_cpus, "CPUs"),
        ("cpuset mems", options.cpuset_mems, host.online_mems, "memory nodes"),
    ):
        wanted = numbers(text, option) if text else set()
        if there and not wanted <= numbers(there, ""):
            raise InvalidInput(f"requested {words} are not available - requested {text}, available: {there}")
    if options.cpuset_cpus:
        cpu["cpus"] = options.cpuset_cpus
    if options.cpuset_mems:
        cpu["mems"] = options.cpuset_mems
    return cpu


def numbers(text: str, option: str) -> set[int]:
    """Return the numbers of a list such as `0-3,7` (cpuset(7), "List format"); raises InvalidInput."""
    listed: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        high = high if dash else low
        # The kernel's own lists end below this; a range of billions would be built here.
        first, last = whole(low), whole(high)
        if not 0 <= first <= last < 1 << 16:
            raise InvalidInput(f"invalid value {text} for {option}")
        listed.update(range(first, last + 1))
    return listed


def _block_device(path: str, host: HostFacts) -> BlockDevice:
    numbers_ = host.block_devices.get(path)
    if numbers_ is None:
        raise InvalidInput(f"{path} is not a block device of this host")
    return {"major": numbers_[0], "minor": numbers_[1]}


def _devices(request: Request, host: HostFacts) -> list[DeviceRule]:
    if request.options.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules = profiles.device_rules()
    for device in request.devices:
        for node in host.device.get(device.path) or []:
            rule: DeviceRule = {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"]}
            rules.append({**rule, "access": device.access})
    return rules + request.device_rules
