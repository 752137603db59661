"""The agent: process 1 of a machine. It starts the container and other programs in it for the stand-in on the host.

It is the interpreter that underlay runs on, from the initrd, with the modules that start containers on the host: so users,
mounts, capabilities, filters and limits are the same inside. Its only connection is the port of a virtio-serial device.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from ...errors import KernelError, StartFailed, UnderlayError
from ...linux import cgroup, libc, process, tty
from ...linux.files import mounts, sharedmount
from ...linux.security import capabilities
from .. import plan
from ..monitor import control, streams
from ..plan.context import Context
from ..process import child_channel, init, join
from ..process import spawn as birth
from . import files, kernelmodules, shares
from .link import MACHINE, PROTOCOL, STDERR, STDIN, STDOUT, Link
from .networks.names import Asking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ...linux.specification import Resources
    from ..monitor.records import ExecRecord
    from .records import Inside

PORT = "underlay"  # the name of the virtio-serial port
GROUP = "container"  # the control group of the container
_LARGEST = 16 << 20  # bytes of a message of the host, which is trusted
_FILES, _IMAGE, _DISK, _ROOT = "/run/files", "/run/image", "/run/disk", "/run/root"
_LISTED = 256 << 10  # bytes of a list of processes
_GRACE = 0.2  # seconds to send what is left when others still hold the program's pipes
_POWER_OFF = 0x4321FEDC  # reboot(2)
_SERIAL = "/sys/class/virtio-ports"


def main(loading: int) -> NoReturn:
    """Run as process 1 of a machine; powers it off at the end. The child `loading` loads the kernel's modules."""
    try:
        _prepare()
        kernelmodules.finish(loading)
        Agent(_open_port()).serve()
    except BaseException as error:
        # The console's last lines are what the stand-in has when the agent does not answer.
        os.write(2, f"agent: {type(error).__name__}: {error}\n".encode())
        if not isinstance(error, UnderlayError | OSError):
            import traceback

            traceback.print_exc()
    finally:
        power_off()


def power_off() -> NoReturn:
    """Power the machine off."""
    os.sync()
    while True:
        libc.syscall("reboot", 0xFEE1DEAD, 672274793, _POWER_OFF, 0)
        time.sleep(1)


def _prepare() -> None:
    """Mount what a kernel offers, and stand on a root that can be left (pivot_root(2))."""
    quiet = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    os.mkdir("/self")
    # The first root cannot be changed from (pivot_root(2)), a mount of the same files can.
    mounts.mount("/", "/self", None, mounts.MS_BIND)
    os.chdir("/self")
    mounts.mount(".", "/", None, mounts.MS_MOVE)
    os.chroot(".")
    mounts.mount("proc", "/proc", "proc", quiet)
    mounts.mount("sysfs", "/sys", "sysfs", quiet)
    mounts.mount("devtmpfs", "/dev", "devtmpfs", mounts.MS_NOSUID)
    mounts.mount("tmpfs", "/run", "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
    mounts.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", quiet)
    os.symlink("/proc/self/fd", "/dev/fd")
    for path in (_FILES, _IMAGE, _DISK, _ROOT):
        os.mkdir(path, 0o700)


def _open_port() -> int:
    for port in sorted(os.listdir(_SERIAL)):
        with open(f"{_SERIAL}/{port}/name", encoding="ascii") as file:
            if file.read().strip() == PORT:
                return os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    raise UnderlayError("the machine has no port for its agent")


class _Program:
    """A program that the agent has started: it is told of its end when its output has been sent."""

    __slots__ = ("code", "console", "ended", "group")

    def __init__(self) -> None:
        self.code: int | None = None
        self.ended = 0.0
        self.console = -1
        self.group: cgroup.Group | None = None  # of the container's first program


class Agent:
    """Serves the stand-in over the port `fd`."""

    def __init__(self, fd: int) -> None:
        self.poll = select.poll()
        self.link = Link(self.poll, fd, _LARGEST)
        self.programs: dict[int, _Program] = {}  # by conversation
        self.pids: dict[int, int] = {}  # pid → conversation
        self.container = 0  # conversation of the first program
        self.pid = self.when = 0
        self.inside: Inside
        self.disk = False
        self.names: Asking | None = None
        self.take_back: Callable[[], None] | None = None  # the last change of the container's limits

    def serve(self) -> None:
        """Answer until the container has ended, or the stand-in asks for the end."""
        woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        self.poll.register(woken, select.POLLIN)
        self.link.tell(MACHINE, {"hello": PROTOCOL, "kernel": os.uname().release})
        while not self.link.closed:
            timeout = 1000 * _GRACE if any(p.code is not None for p in self.programs.values()) else None
            for fd, mask in self.poll.poll(timeout):
                if fd == woken:
                    os.read(woken, 4096)
                    self._reap()
                    continue
                if self.names is not None and self.names.handle(fd):
                    continue
                for conversation, message in self.link.handle(fd, mask) or ():
                    self._obey(conversation, message)
            if self._report():
                break
        self._end()

    def _end(self) -> None:
        """Write back what the container has written, then send what waits."""
        if self.disk:
            try:
                mounts.umount(_DISK)
            except KernelError:
                os.sync()
        self.link.tell(MACHINE, {"off": True})
        deadline = time.monotonic() + 5
        while self.link.waiting and time.monotonic() < deadline:
            for fd, mask in self.poll.poll(100):
                if fd == self.link.fd:
                    self.link.handle(fd, mask)

    # What the stand-in asks for.

    def _obey(self, conversation: int, message: dict[str, Any]) -> None:
        if "start" in message or "exec" in message or "files" in message:
            self.programs[conversation] = program = _Program()
            try:
                if "start" in message:
                    self.container = conversation
                    self._start(conversation, program, message["start"])
                elif "exec" in message:
                    self._execute(conversation, program, message["exec"])
                else:
                    self._serve_files(conversation, program, message["files"])
            except (UnderlayError, OSError) as error:
                del self.programs[conversation]
                code = error.exit_code if isinstance(error, StartFailed) else 125
                hint = error.hint if isinstance(error, UnderlayError) else ""
                text = error.message if isinstance(error, UnderlayError) else str(error)
                self.link.tell(conversation, {"failed": {"message": text, "hint": hint, "code": code}})
                self.link.end(conversation)
            return
        if "processes" in message:
            self.link.tell(conversation, {"processes": self._processes()})
        if "limits" in message:
            self._limit(conversation, message["limits"])
        if "answer" in message and self.names is not None:
            self.names.answer(message)
        program_there = self.programs.get(conversation)
        if program_there is None:
            return
        if "unread" in message:
            self.link.end_source(conversation, message["unread"])
        if "gone" in message:
            self.link.end(conversation)
            if program_there.console >= 0:
                os.close(program_there.console)
                program_there.console = -1
        if "signal" in message:
            self._signal(conversation, message["signal"])
        if "resize" in message and program_there.console >= 0:
            tty.set_window_size(program_there.console, *message["resize"])

    def _serve_files(self, conversation: int, program: _Program, request: dict[str, Any]) -> None:
        """Have a child read or write files of the container."""
        ends = self._streams(conversation, False, True)
        pid = os.fork()
        if pid == 0:
            for number, fd in enumerate(ends):
                os.dup2(fd, number)
            process.close_from(3)
            files.serve(request, f"/proc/{self.pid}/root" if self.pid else _ROOT, f"{_DISK}/upper")
        for fd in ends:
            os.close(fd)
        self._started(conversation, program, pid, -1)

    def _signal(self, conversation: int, number: int) -> None:
        if conversation == self.container and not self.pid:
            self._leave(self.programs[conversation])  # there is no program: only files are served
        for pid, whose in self.pids.items():
            if whose == conversation:
                try:
                    os.kill(pid, number)
                except (ProcessLookupError, OSError):
                    pass

    def _processes(self) -> dict[str, Any]:
        """Return what proc says of the container's processes; of very many the first."""
        rows: list[list[int | str]] = []
        size = 0
        for pid in sorted(cgroup.open_group(GROUP).processes()):
            try:
                row: list[int | str] = [pid, *(_read(f"/proc/{pid}/{name}") for name in ("stat", "status", "cmdline"))]
            except OSError:
                continue  # it has ended
            size += sum(len(str(text)) for text in row)
            if size > _LISTED:
                break
            rows.append(row)
        return {"files": rows, "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)}

    def _limit(self, conversation: int, resources: Resources | None) -> None:
        """Change limits of the container, or take the last change back."""
        take_back, self.take_back = self.take_back, None
        try:
            if resources is not None:
                self.take_back = cgroup.open_group(GROUP).update(resources)
            elif take_back is not None:
                take_back()
        except (UnderlayError, OSError) as error:
            text, hint = (error.message, error.hint) if isinstance(error, UnderlayError) else (str(error), "")
            self.link.tell(conversation, {"failed": {"message": text, "hint": hint, "code": 125}})
        else:
            self.link.tell(conversation, {"limited": True})

    def _start(self, conversation: int, program: _Program, inside: Inside) -> None:
        """Start the container."""
        self.inside = inside
        if abs(time.time() - inside["time"]) > 1:
            time.clock_settime(time.CLOCK_REALTIME, inside["time"])
        for name, text in inside["files"].items():
            with open(f"{_FILES}/{name}", "x", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(f"{_FILES}/{name}", 0o644)
        if inside["network"]:
            from .networks import interfaces

            interfaces.configure(inside["network"])
            self.names = Asking(self.poll, self.link)
        if inside["shared"]:
            os.mkdir(shares.INSIDE, 0o755)
            mounts.mount(shares.TAG, shares.INSIDE, "virtiofs", 0)
        root = self._root(inside)
        if inside["idle"]:
            parts = (
                f"lowerdir={_IMAGE},upperdir={root.upper},workdir={root.work},redirect_dir=off,metacopy=off,index=off"
            )
            mounts.mount("overlay", _ROOT, "overlay", 0, parts)
            self.link.tell(conversation, {"started": 1})
            return
        spec = inside["spec"]
        made = plan.make(spec, root, plan.Extras(**inside["extras"]), "v2")
        init.prepare(made.operations)
        capabilities.last_known_cached()
        ours, theirs = control.pair()
        context = Context()
        context.channel = theirs
        context.seccomp = bytes.fromhex(inside["seccomp"])
        pairs = (pair.partition("=") for pair in spec["process"].get("env") or [])
        context.environment = {name: value for name, equals, value in pairs if equals}
        context.secrets = [bytes.fromhex(value) for value in inside["secrets"]]
        ends = self._streams(conversation, spec["process"].get("terminal", False), inside["open_stdin"])
        context.stdio = ends
        if made.maps is not None and ends:
            from ...linux import userns

            streams.give(ends, *(userns.outside(0, id_map) for id_map in made.maps))
        program.group = group = cgroup.open_group(GROUP)
        resources = spec["linux"].get("resources") or {}
        birth.prepare(made, context)
        pid, born = birth.clone(made, context, group, resources, ours)
        for fd in ends:
            os.close(fd)
        try:
            birth.let_on(made, group, resources, ours, pid, born)
            console = child_channel.await_start(ours, pid)
        except BaseException:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise
        finally:
            ours.close()
        self.pid, self.when = pid, process.start_time(pid)
        self._started(conversation, program, pid, console)

    def _root(self, inside: Inside) -> plan.Root:
        """Mount the image and the disk, unless the root is shared; returns how they are laid over each other."""
        if inside["root"] >= 0:
            return plan.Root(_ROOT, path=f"{shares.INSIDE}/{inside['root']}")
        disks = _disks()
        sharedmount.mount_index(disks["index"], [disks[name] for name in inside["layers"]], _IMAGE)
        mounts.mount(disks["disk"], _DISK, "ext4", 0, "discard")
        self.disk = True
        for name in ("upper", "work"):
            try:
                os.mkdir(f"{_DISK}/{name}", 0o755)
                os.chmod(f"{_DISK}/{name}", 0o755)
            except FileExistsError:
                pass
        return plan.Root(_ROOT, [_IMAGE], f"{_DISK}/upper", f"{_DISK}/work", inside["overlay"])

    def _streams(self, conversation: int, terminal: bool, open_stdin: bool) -> tuple[int, ...]:
        """Return the program's ends of its streams; ours are those of the conversation."""
        if terminal:
            return ()
        out, out_end = streams.output_pipe()
        err, err_end = streams.output_pipe()
        self.link.source(conversation, STDOUT, out)
        self.link.source(conversation, STDERR, err)
        if open_stdin:
            in_end, given = streams.input_pipe()
            self.link.sink(conversation, STDIN, given)
        else:
            in_end = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return in_end, out_end, err_end

    def _started(self, conversation: int, program: _Program, pid: int, console: int) -> None:
        self.pids[pid] = conversation
        if console >= 0:
            program.console = os.dup(console)
            self.link.sink(conversation, STDIN, os.dup(console))
            self.link.source(conversation, STDOUT, console)
        self.link.tell(conversation, {"started": pid})

    def _execute(self, conversation: int, program: _Program, record: ExecRecord) -> None:
        """Start another program in the container."""
        record["pid"], record["when"] = self.pid, self.when
        record["group"] = (GROUP, False, "")
        kinds = {namespace["type"] for namespace in self.inside["spec"]["linux"]["namespaces"]}
        record["namespaces"] = [kind for kind in record["namespaces"] if kind in kinds]
        joined = join.begin(record)
        for fd, stream in joined.outputs:
            self.link.source(conversation, stream, fd)
        if joined.stdin >= 0:
            self.link.sink(conversation, STDIN, joined.stdin)
        if joined.pidfd >= 0:
            os.close(joined.pidfd)
        self._started(conversation, program, joined.pid, joined.console)
        if record["detach"]:
            # It is nobody's any more: its end is told to no one.
            del self.pids[joined.pid], self.programs[conversation]

    # Ends.

    def _reap(self) -> None:
        """Wait for all that has ended: this is process 1, which inherits what has lost its parent."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            conversation = self.pids.pop(pid, None)
            if conversation is not None:
                code = os.waitstatus_to_exitcode(status)
                program = self.programs[conversation]
                program.code = code if code >= 0 else 128 - code
                program.ended = time.monotonic()

    def _leave(self, program: _Program) -> None:
        program.code, program.ended = 0, time.monotonic()
        try:
            mounts.umount(_ROOT)
        except KernelError:
            pass

    def _report(self) -> bool:
        """Tell of the programs that have ended and whose output is sent; returns whether the container has ended."""
        for conversation, program in list(self.programs.items()):
            if program.code is None:
                continue
            late = time.monotonic() > program.ended + _GRACE
            if not late and self.link.sends(conversation):
                continue
            if late and self.link.blocked(conversation):
                continue  # somebody reads slowly: nothing is lost for that
            told: dict[str, Any] = {"exited": program.code}
            if program.group is not None:
                told["oom"] = program.group.out_of_memory()
                program.group.kill()
            self.link.end(conversation)
            if program.console >= 0:
                os.close(program.console)
            self.link.tell(conversation, told)
            del self.programs[conversation]
            if conversation == self.container:
                return True
        return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(4096)


def _disks() -> dict[str, str]:
    """Return the machine's disks by the names that QEMU was given for them."""
    found = {}
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/serial", encoding="ascii") as file:
                found[file.read().strip()] = f"/dev/{name}"
        except OSError:
            continue
    return found
