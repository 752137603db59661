"""What monitors and their callers tell each other, for the type checker: objects that JSON can hold."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NotRequired, Required, TypedDict

    from ...errors import ErrorMessage
    from ...linux.specification import Beyond, Process, Seccomp, Spec, State
    from ..machine.records import Around, MachineRecord

    class GroupLocation(TypedDict, total=False):
        """Where the control group of a run has been made: version ("v1", "v2", "none"), path, and the base above it."""

        version: str
        path: str
        base: str

    class RootArguments(TypedDict, total=False):
        """Arguments of `plan.Root`."""

        target: Required[str]
        lower: list[str]
        upper: str
        work: str
        options: dict[str, str | None]
        disk: str

    class LogFile(TypedDict):
        """Where a container's output is written: `limit` in bytes (0 for none), `keep` how many files."""

        path: str
        driver: str
        limit: int
        keep: int
        compress: NotRequired[bool]
        attributes: NotRequired[dict[str, str]]  # of json-file: in each record
        fields: NotRequired[dict[str, str]]  # of journald: with each message
        address: NotRequired[str]
        facility: NotRequired[int]  # of syslog, as format and tag
        format: NotRequired[str]
        tag: NotRequired[str]
        buffer: NotRequired[int]  # bytes that may wait in the mode non-blocking

    class SharedMounts(TypedDict):
        """What else is mounted while the container runs: arguments of `SharedMount` and `VolumeMount` (`linux.files`)."""

        images: list[tuple[str, str, str, str, list[str]]]
        volumes: list[tuple[str, str, str, str, str, int, str]]

    class SecretSource(TypedDict):
        """Where the monitor has a secret's value from: a file, or `value` itself in hexadecimal digits."""

        id: str
        file: str
        value: str

    class Restart(TypedDict):
        """A restart policy: its name, and how often at most (0 for any number)."""

        name: str
        maximum: int

    class NameService(TypedDict):
        """A name server: the directory that its socket is in, and the command that starts it."""

        directory: str
        command: list[str]

    class PortRelay(TypedDict):
        """A published port whose traffic a process relays to a target, "" for none at present."""

        protocol: str
        address: str
        number: int
        target: str
        target_port: int

    class NetworkResources(TypedDict):
        """What a monitor takes down again of a container's networks.

        `namespaces` are the files that they are pinned to; `table` of the firewall, and what it and `later` hold by set,
        as hexadecimal keys; `ports` (protocol, address, number) are those of the host that are to be held, `relays` those
        that are relayed; `names` is the name server that the container's questions go to. With `plugins` those of CNI are
        to be told. `joined` has name and driver of each network, by its id, for the journal.
        """

        namespaces: list[str]
        table: str
        elements: dict[str, list[str]]
        later: dict[str, list[str]]
        ports: list[tuple[str, str, int]]
        relays: list[PortRelay]
        names: NameService | None
        plugins: NotRequired[bool]
        joined: NotRequired[dict[str, tuple[str, str]]]

    class HealthSettings(TypedDict):
        """When a container's health is checked (seconds), the failures until it is unhealthy, and what is run for it.

        In `exec` the pid, the start time and the base of the control group are filled in by the monitor.
        """

        interval: float
        timeout: float
        start_period: float
        start_interval: float
        retries: int
        exec: ExecRecord

    class StepRecord(TypedDict):
        """What is needed to run one program in a container of its own, without a monitor: a step of a build.

        `spec` and `seccomp` (a compiled filter in hexadecimal digits) are missing where nothing is started any more.
        """

        id: str
        spec: NotRequired[Spec]
        root: NotRequired[RootArguments]
        extras: Beyond
        cgroup: str
        rootless: bool
        seccomp: NotRequired[str]
        nodes: NotRequired[bool]  # False where we live in a user namespace ourselves
        machine: NotRequired[MachineRecord]  # in which it runs, instead of on this kernel
        around: NotRequired[Around]  # the machine

    class LaunchRecord(StepRecord):
        """The launch record: everything that the monitor of a container needs; see `launch`."""

        name: str
        directory: str
        state: str
        paths: list[str]
        cgroup_used: GroupLocation
        joined: list[tuple[int, int]]  # pid, start time
        log: LogFile
        terminal: bool
        open_stdin: bool
        stdin_once: bool
        restart: Restart
        remove: bool
        network: NetworkResources | Literal["coming"] | None
        journal: tuple[str, dict[str, str]]  # its file, and what is said of the container with each event
        shared_mount: tuple[str, str, str, str, list[str]]
        shared: NotRequired[SharedMounts]
        secrets: NotRequired[list[SecretSource]]
        python: str
        import_path: list[str]
        delay: NotRequired[float]  # seconds before the last restart
        health: NotRequired[HealthSettings]
        runtime: NotRequired[str]  # path of the OCI runtime that runs it instead of our driver

    class HeldClient(TypedDict):
        """Attached streams, handed over when a monitor re-executes itself."""

        source: int
        targets: list[tuple[int, int]]
        keys: list[int]
        seen: int

    class HeldChannel(TypedDict):
        """A connection, handed over when a monitor re-executes itself."""

        fd: int
        client: HeldClient | None
        removes: bool

    class Handover(TypedDict):
        """What a monitor hands over when it re-executes itself: descriptors, and what it has recorded so far."""

        launch: LaunchRecord
        lock: int
        hold: int
        holds: list[int]
        ports: list[int]
        questions: list[int]
        relaying: list[int]  # sockets of ports that are relayed
        relayed: int  # the connection to the process that has them, -1 for none
        asked: int  # the connection to the name server, -1 for none
        firewall: int  # the socket with news of the firewall, -1 for none
        pid: int
        pidfd: int
        when: int
        started: int
        restarts: int
        stopping: bool
        outputs: list[tuple[int, int]]
        input: int
        unread: str
        unfinished: dict[str, str]
        problem: str
        listener: int
        channels: list[HeldChannel]

    class ExecOperations(TypedDict):
        """Arguments of `plan.for_exec`, but for its `extras`."""

        body: Process
        size: tuple[int, int]
        profile: Seccomp | None

    class ExecRecord(TypedDict):
        """What is needed to run another program in a container: see `process.join.begin`."""

        pid: int
        when: int
        namespaces: list[str]
        group: tuple[str, bool, str]
        operations: ExecOperations
        extras: Beyond
        environment: dict[str, str]
        filter: str
        terminal: bool
        interactive: bool
        detach: bool
        state: State | None
        machine: NotRequired[str]  # the state directory of a container in a machine

    # Messages: see `control`.

    class Attach(TypedDict, total=False):
        """Which of three descriptors are streams, and the bytes by which they are detached."""

        stdin: bool
        stdout: bool
        stderr: bool
        keys: list[int]
        removes: bool

    class Failed(TypedDict):
        """Why a container could not start."""

        message: str
        code: int
        hint: NotRequired[str]

    class Message(TypedDict, total=False):
        """One message, of either side: a few of these."""

        attach: Attach
        resize: list[int]
        signal: int
        stopping: bool
        keep: bool  # with `stopping`: the container is to be started again
        paused: bool
        relaunch: bool
        renamed: str
        joined: dict[str, tuple[str, str]]  # to a monitor: the networks that its container is in now
        network: bool
        abandoned: str
        launch: list[int] | None
        started: int
        failed: Failed
        exited: int
        oom: bool
        remove: bool  # with `exited`: the container is to be removed; not when it is being restarted
        detached: bool
        lost: int
        noted: bool
        attached: bool
        container: str  # to a name server: whose sockets they are
        relay: PortRelay  # to the process that relays ports, with its socket; the last message has `complete`
        complete: bool
        relays: list[PortRelay]  # to a monitor: they lead elsewhere now
        # To a helper (`process.interpreter`): which of the descriptors that it is sent are there.
        given: list[bool]
        # To the stand-in of a machine: the streams whose descriptors come behind a parcel with what to run.
        call: list[int]
        kill: bool  # to the stand-in: kill the container's program
        limited: bool  # of the stand-in: the container's limits have been changed
        # Of a keeper (`process.keeper`).
        error: ErrorMessage
        pid: int
        pidfd: bool
        console: bool
        outputs: list[int]
        stdin: bool

    # Files: see `state`.

    class Now(TypedDict, total=False):
        """`state.json`: how the container runs."""

        status: str
        pid: int
        when: int
        monitor: int
        started: int
        cgroup: GroupLocation

    class Probe(TypedDict):
        """One check of a container's health: when it began and ended (ns since the epoch), exit code, output."""

        start: int
        end: int
        code: int
        output: str

    class Health(TypedDict, total=False):
        """`health.json`: starting, healthy or unhealthy; failures in a row; the last checks."""

        status: str
        streak: int
        log: list[Probe]

    class Last(TypedDict, total=False):
        """`last.json`: how the last run began and ended; `failed` when it never began."""

        started: int
        finished: int
        code: int | None
        oom: bool
        restarts: int
        error: str
        failed: bool
        stopped: bool  # by somebody: the restart policy unless-stopped asks for that
