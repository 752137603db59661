"""What an OCI runtime specification holds, for the type checker: objects that come from JSON and are read by their keys.

The names are those of the specification (version 1.2: config, config-linux). What may be missing there may be missing here;
null has been dropped where a document comes from outside (`runtime.config`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Required, TypedDict

    Maps = list[dict[str, int]]  # containerID, hostID, size
    IdMaps = tuple[Maps, Maps]  # of users, of groups

    class Memory(TypedDict, total=False):
        """`linux.resources.memory`: bytes."""

        limit: int
        reservation: int
        swap: int
        kernel: int
        kernelTCP: int
        swappiness: int
        disableOOMKiller: bool
        useHierarchy: bool
        checkBeforeUpdate: bool

    class Cpu(TypedDict, total=False):
        """`linux.resources.cpu`: microseconds, and lists of processors and memory nodes."""

        shares: int
        quota: int
        burst: int
        period: int
        realtimeRuntime: int
        realtimePeriod: int
        cpus: str
        mems: str
        idle: int

    class BlockDevice(TypedDict, total=False):
        """A device of `linux.resources.blockIO` and its weight or rate."""

        major: Required[int]
        minor: Required[int]
        weight: int
        leafWeight: int
        rate: int

    class BlockIO(TypedDict, total=False):
        """`linux.resources.blockIO`."""

        weight: int
        leafWeight: int
        weightDevice: list[BlockDevice]
        throttleReadBpsDevice: list[BlockDevice]
        throttleWriteBpsDevice: list[BlockDevice]
        throttleReadIOPSDevice: list[BlockDevice]
        throttleWriteIOPSDevice: list[BlockDevice]

    class Pids(TypedDict, total=False):
        """`linux.resources.pids`."""

        limit: int

    class HugePages(TypedDict):
        """An entry of `linux.resources.hugepageLimits`."""

        pageSize: str
        limit: int

    class Priority(TypedDict):
        """An entry of `linux.resources.network.priorities`."""

        name: str
        priority: int

    class NetworkClass(TypedDict, total=False):
        """`linux.resources.network`."""

        classID: int
        priorities: list[Priority]

    class DeviceRule(TypedDict, total=False):
        """An entry of `linux.resources.devices`."""

        allow: bool
        type: str
        major: int
        minor: int
        access: str

    class Resources(TypedDict, total=False):
        """`linux.resources`."""

        devices: list[DeviceRule]
        memory: Memory
        cpu: Cpu
        blockIO: BlockIO
        hugepageLimits: list[HugePages]
        network: NetworkClass
        pids: Pids
        rdma: dict[str, dict[str, int]]
        unified: dict[str, str]

    class Comparison(TypedDict, total=False):
        """An argument that a rule of `linux.seccomp` looks at."""

        index: int
        value: int
        valueTwo: int
        op: str

    class CallRule(TypedDict, total=False):
        """An entry of `linux.seccomp.syscalls`."""

        names: list[str]
        name: str  # instead of `names`, in docker's oldest profiles
        action: str
        errnoRet: int
        args: list[Comparison]

    class Seccomp(TypedDict, total=False):
        """`linux.seccomp`."""

        defaultAction: str
        defaultErrnoRet: int
        architectures: list[str]
        flags: list[str]
        listenerPath: str
        listenerMetadata: str
        syscalls: list[CallRule]

    class Personality(TypedDict, total=False):
        """`linux.personality`."""

        domain: str
        flags: list[str]

    class Namespace(TypedDict, total=False):
        """An entry of `linux.namespaces`."""

        type: Required[str]
        path: str

    class Device(TypedDict, total=False):
        """An entry of `linux.devices`."""

        type: str
        path: str
        major: int
        minor: int
        fileMode: int
        uid: int
        gid: int

    class Linux(TypedDict, total=False):
        """`linux`."""

        namespaces: list[Namespace]
        uidMappings: Maps
        gidMappings: Maps
        timeOffsets: dict[str, dict[str, int]]
        devices: list[Device]
        cgroupsPath: str
        resources: Resources
        sysctl: dict[str, str]
        seccomp: Seccomp
        rootfsPropagation: str
        maskedPaths: list[str]
        readonlyPaths: list[str]
        personality: Personality

    class ConsoleSize(TypedDict, total=False):
        """`process.consoleSize`: characters."""

        height: int
        width: int

    class User(TypedDict, total=False):
        """`process.user`."""

        uid: int
        gid: int
        umask: int
        additionalGids: list[int]
        username: str

    class Rlimit(TypedDict):
        """An entry of `process.rlimits`."""

        type: str
        soft: int
        hard: int

    class Scheduler(TypedDict, total=False):
        """`process.scheduler`."""

        policy: str
        nice: int
        priority: int
        flags: list[str]
        runtime: int
        deadline: int
        period: int

    # `process.ioPriority`, whose "class" is a word of the language.
    IoPriority = TypedDict("IoPriority", {"class": str, "priority": int}, total=False)

    class Affinity(TypedDict, total=False):
        """`process.execCPUAffinity`: lists of processors."""

        initial: str
        final: str

    class Process(TypedDict, total=False):
        """`process`."""

        terminal: bool
        consoleSize: ConsoleSize
        cwd: str
        env: list[str]
        args: list[str]
        rlimits: list[Rlimit]
        apparmorProfile: str
        capabilities: dict[str, list[str]]  # by set: bounding, effective, …
        noNewPrivileges: bool
        oomScoreAdj: int
        scheduler: Scheduler
        selinuxLabel: str
        ioPriority: IoPriority
        execCPUAffinity: Affinity
        user: User

    class Root(TypedDict, total=False):
        """`root`."""

        path: str
        readonly: bool

    class Mount(TypedDict, total=False):
        """An entry of `mounts`."""

        destination: Required[str]
        type: str
        source: str
        options: list[str]
        uidMappings: Maps
        gidMappings: Maps

    class Hook(TypedDict, total=False):
        """An entry of a list in `hooks`."""

        path: Required[str]
        args: list[str]
        env: list[str]
        timeout: int

    Hooks = dict[str, list[Hook]]  # by kind: prestart, createRuntime, …

    class Spec(TypedDict, total=False):
        """A whole specification: what `config.json` of a bundle holds."""

        ociVersion: Required[str]
        root: Root
        mounts: list[Mount]
        process: Required[Process]
        hostname: str
        domainname: str
        hooks: Hooks
        annotations: dict[str, str]
        linux: Linux

    class Beyond(TypedDict, total=False):
        """What goes with a specification beyond the OCI's words: arguments of `runtime.plan.Extras`."""

        user: str
        groups: list[str]
        init: bool
        soft_sysctls: dict[str, str]
        copy_up: list[str]
        subpaths: dict[str, str]
        hooks: list[str]
        secrets: list[tuple[str, int, int, int]]
        landlock: list[list[str]]

    class State(TypedDict, total=False):
        """A container's state as hooks and agents get it (runtime, "State")."""

        ociVersion: Required[str]
        id: Required[str]
        status: Required[str]
        pid: int
        bundle: str
        annotations: dict[str, str]
