"""What the machine's parts tell each other, for the type checker: objects that JSON can hold."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from ...linux.specification import Beyond, Spec

    class Interface(TypedDict):
        """A network interface of the machine: its MAC, and what it is given in the machine.

        `addresses` are (address, bits of prefix), `routes` (destination, bits of prefix, gateway), "" for none.
        """

        name: str
        mac: str
        mtu: int
        addresses: list[tuple[str, int]]
        routes: list[tuple[str, int, str]]

    class Inside(TypedDict):
        """What the agent is told of the container. `layers` names the disks with the layers' data, in the order of the
        index; `files` by name the texts that the specification binds from the agent's directory; `secrets` are in
        hexadecimal digits, `time` in seconds since the epoch. `shared` says that mounts are shared with the host, `root`
        which of them is the root (-1: the layers and the disk are), `idle` that nothing is started: files are served."""

        spec: Spec
        extras: Beyond
        seccomp: str
        open_stdin: bool
        layers: list[str]
        overlay: dict[str, str | None]
        files: dict[str, str]
        shared: bool
        root: int
        idle: bool
        secrets: list[str]
        network: list[Interface]
        time: float

    class Disk(TypedDict):
        """A disk of the machine: its name, the descriptor of its file in the stand-in, whether it may be written."""

        name: str
        fd: int
        writable: bool

    class MachineRecord(TypedDict):
        """How a machine is made: its architecture in the words of images, `program` of QEMU, the machine's kernel and
        initrd (paths in the sandbox), bytes of memory, processors, how it is accelerated (kvm, tcg), the kernel's modules
        in the order in which they are loaded. `userland` is the directory of the interpreter for another processor than
        the host's, "" for the host's own. With `balloon` the kernel says which memory it does not need any more."""

        architecture: str
        program: str
        userland: str
        kernel: str
        initrd: str
        memory: int
        processors: int
        accelerator: str
        balloon: bool
        modules: list[str]
        parameters: list[str]  # words of the kernel's command line

    class Around(TypedDict):
        """What a machine is started from: a `state` directory for its sockets and notes, the directory of compiled filters,
        the interpreter and what it imports from."""

        state: str
        filters: str
        python: str
        import_path: list[str]

    class Userland(TypedDict):
        """What `userland.json` says: the architecture, the version of the package of Python, its minor version (3.13) and
        the name that it gives what it compiles (cpython-313), the path of the dynamic loader.

        `modules` are the files of the standard library by their paths there. `libraries` are what the interpreter is linked
        with, `extensions` by name, `needs` by the name of a library.
        """

        format: int
        architecture: str
        version: str
        packages: list[str]
        python: str
        tag: str
        interpreter: str
        modules: list[str]
        libraries: list[str]
        extensions: dict[str, list[str]]
        needs: dict[str, list[str]]

    class StandInRecord(TypedDict):
        """What the stand-in is told: the machine, its disks and taps (descriptors), and what to start in it.

        With `volatile` what it writes goes with it, so that it need not outlast a power cut. `channel` is the setup socket
        to the monitor, `listener` the socket for further programs, `notes` the file for what the monitor asks about the
        end.
        """

        machine: MachineRecord
        disks: list[Disk]
        taps: list[tuple[int, str]]  # descriptor, MAC
        shares: int  # the socket to virtiofsd, -1 for none
        inside: Inside
        terminal: bool
        volatile: bool
        channel: int
        listener: int
        notes: int
