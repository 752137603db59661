"""QEMU: its command line, a pure function of the machine, and its process (qemu(1))."""

from __future__ import annotations

import os

from ...errors import Unsupported
from ...lean.values import Value
from .kernelmodules import WITHOUT
from .shares import TAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .records import MachineRecord, StandInRecord

_FIRMWARE = "/usr/share/qemu/qboot.rom"  # which does less than the usual one, and so is faster
_FIRST_SLOT = 4  # of the PCI bus: below it lie the board's own, the serial port and the network
_FUNCTIONS = 8  # devices in one slot
_SLOTS = 27
DISKS = _SLOTS * _FUNCTIONS  # that a machine can have
NETWORKS = _FUNCTIONS
# No partition is looked for, a kernel that panics ends the machine.
_PARAMETERS = "quiet panic=-1 audit=0 nokaslr"


class Board(Value):
    """What machines of an architecture are made of: the `program` of QEMU and the `package` that has it, the `machine` it
    emulates, the `processor` if that is emulated, too, the `firmware` ("" for none), the `console` of the kernel.

    `emulated` are words of the kernel's command line for a processor that is emulated.
    """

    program: str
    package: str
    machine: str
    processor: str
    firmware: str
    console: str
    emulated: tuple[str, ...]


# Boards that all versions since Debian 12 have: what a container's machine has no use for is left out.
BOARDS = {
    "amd64": Board(
        *("qemu-system-x86_64", "qemu-system-x86"),
        "q35,smm=off,vmport=off,hpet=off,i8042=off,graphics=off,dump-guest-core=off",
        *("max", _FIRMWARE, "ttyS0"),
        # No mitigation slows an emulated processor. What it does late a kernel takes for broken: it would panic on a busy
        # host.
        ("mitigations=off", "tsc=reliable", "no_timer_check"),
    ),
    "arm64": Board(
        *("qemu-system-aarch64", "qemu-system-arm"),
        "virt,gic-version=3,dump-guest-core=off",
        # Signatures of pointers make an emulated boot a tenth longer, and are no use to one that comes and goes.
        *("max,pauth=off", "", "ttyAMA0"),
        ("mitigations=off",),
    ),
}
_OF_NETWORKS = ("virtio_net", "net_failover", "failover")
_CACHE = 64  # MiB of translated code (tcg)
_PLACES = ("/usr/bin", "/usr/local/bin", "/bin", "/usr/libexec")


def architecture() -> str:
    """Return this host's architecture in the words of images."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def program(wanted: str) -> str:
    """Return the path of QEMU for machines of an architecture. Raises Unsupported."""
    board = BOARDS.get(wanted)
    if board is None:
        raise Unsupported(f"--isolation machine: there are no machines for {wanted}, only for {' and '.join(BOARDS)}")
    if architecture() != "amd64":
        raise Unsupported(f"--isolation machine: there are no machines on {architecture()} yet, only on amd64")
    for place in _PLACES:
        if os.access(f"{place}/{board.program}", os.X_OK):
            return f"{place}/{board.program}"
    raise Unsupported(f"--isolation machine: there is no {board.program}", f"install the package {board.package}")


def parameters(machine: MachineRecord, networked: bool) -> str:
    """Return the kernel's command line; what is not `networked` loads no modules for that (`kernelmodules.WITHOUT`)."""
    board = BOARDS[machine["architecture"]]
    emulated = board.emulated if machine["accelerator"] == "tcg" else ()
    words = (f"console={board.console}", _PARAMETERS, *emulated, *machine["parameters"])
    return " ".join(words if networked else (*words, f"{WITHOUT}={','.join(_OF_NETWORKS)}"))


def command(record: StandInRecord, agent: int) -> list[str]:
    """Return QEMU's command line; `agent` is the descriptor of its end of the connection to the agent. Its standard output
    is the machine's console."""
    machine = record["machine"]
    board = BOARDS[machine["architecture"]]
    accelerator = f"tcg,thread=multi,tb-size={_CACHE}" if machine["accelerator"] == "tcg" else machine["accelerator"]
    words = [machine["program"], "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    if board.firmware and os.path.exists(board.firmware):
        words += ["-bios", board.firmware]
    words += ["-name", "underlay", "-M", board.machine, "-accel", accelerator]
    words += ["-cpu", board.processor if machine["accelerator"] == "tcg" else "host"]
    words += ["-m", f"{machine['memory'] >> 20}M", "-smp", str(machine["processors"])]
    words += [
        "-kernel",
        machine["kernel"],
        "-initrd",
        machine["initrd"],
        "-append",
        parameters(machine, bool(record["taps"])),
    ]
    words += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    words += ["-chardev", f"socket,id=agent,fd={agent}"]
    words += [
        "-device",
        "virtio-serial-pci,addr=2,max_ports=2" + (",multifunction=on" if machine["balloon"] else ""),
        "-device",
        "virtserialport,chardev=agent,name=underlay",
    ]
    if machine["balloon"]:
        # Nothing blows it up: it is there for the pages that the kernel reports as free, which go back to the host.
        words += ["-device", "virtio-balloon-pci,free-page-reporting=on,addr=2.1"]
    if record["shares"] >= 0:
        # What is shared is read and written by virtiofsd in the machine's memory.
        words += ["-object", f"memory-backend-memfd,id=memory,size={machine['memory']},share=on"]
        words += ["-machine", "memory-backend=memory", "-chardev", f"socket,id=shares,fd={record['shares']}"]
        words += ["-device", f"vhost-user-fs-pci,chardev=shares,tag={TAG},queue-size=1024,addr=1"]
    for number, (tap, mac) in enumerate(record["taps"]):
        words += ["-netdev", f"tap,id=net{number},fd={tap}"]
        device = f"virtio-net-pci,netdev=net{number},mac={mac},romfile=,addr=3.{number:x}"
        words += ["-device", device + (",multifunction=on" if number == 0 else "")]
    for number, disk in enumerate(record["disks"]):
        words += _disk(number, disk["name"], disk["fd"], disk["writable"], disk["writable"] and record["volatile"])
    # After its start QEMU can neither start programs nor change who it is (its own filter, beside ours).
    words += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    return words


def _disk(number: int, name: str, fd: int, writable: bool, volatile: bool) -> list[str]:
    slot, function = divmod(number, _FUNCTIONS)
    words = ["-add-fd", f"fd={fd},set={number}"]
    settings = "discard=unmap" if writable else "read-only=on,auto-read-only=off"
    if volatile:
        settings += ",cache.no-flush=on"
    words += ["-blockdev", f"driver=file,node-name=d{number},filename=/dev/fdset/{number},locking=off,{settings}"]
    device = f"virtio-blk-pci,drive=d{number},serial={name},addr={_FIRST_SLOT + slot:x}.{function}"
    return [*words, "-device", device + (",multifunction=on" if function == 0 else "")]


def start(record: StandInRecord, agent: int, console: int) -> int:
    """Start QEMU, with the machine's console on the descriptor `console`; returns its pid. Raises OSError."""
    words = command(record, agent)
    for fd in (agent, *(disk["fd"] for disk in record["disks"]), *(tap for tap, _ in record["taps"])):
        os.set_inheritable(fd, True)
    if record["shares"] >= 0:
        os.set_inheritable(record["shares"], True)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    streams = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, console, 1), (os.POSIX_SPAWN_DUP2, console, 2)]
    try:
        return os.posix_spawn(words[0], words, {"PATH": "/usr/bin:/bin"}, file_actions=streams, setsigmask=())
    finally:
        os.close(null)
        for fd in (*(disk["fd"] for disk in record["disks"]), *(tap for tap, _ in record["taps"])):
            os.close(fd)
