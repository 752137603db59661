"""The processes of a container as ps(1) would list them, from the host's /proc alone: no program is started."""

from __future__ import annotations

import os
import time

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...store.rows.containers import ContainerRow
    from ...store.store import Store

_FULL = "uid_name,pid,ppid,c,stime,tname,time,cmd"
_USER = "user,pid,%cpu,%mem,vsz,rss,tname,stat,start_time,time_short,command"
_KNOWN = "known are -ef, aux, and columns by -o, -eo or axo"


class Processes:
    """A list of processes: the column `titles`, and `rows` with one string for each column."""

    __slots__ = ("rows", "titles")

    def __init__(self, titles: list[str], rows: list[list[str]]) -> None:
        self.titles = titles
        self.rows = rows


class Process:
    """A process, as read from /proc (proc_pid_stat(5)); times are clock ticks, `resident` is KiB."""

    __slots__ = (
        "arguments",
        "group",
        "name",
        "nice",
        "parent",
        "pid",
        "resident",
        "session",
        "size",
        "started",
        "state",
        "terminal",
        "threads",
        "ticks",
        "tpgid",
        "users",
    )

    def __init__(self, pid: int, files: Mapping[str, str] | None = None) -> None:
        """Read a process, from `files` (stat, status, cmdline) if they are given; raises OSError when it has ended."""
        read = files.__getitem__ if files is not None else lambda name: _read(pid, name)
        self.pid = pid
        text = read("stat")
        name, _, rest = text.partition("(")[2].rpartition(")")
        words = rest.split()
        self.name = name
        self.state = words[0]
        self.parent, self.group, self.session, self.terminal, self.tpgid = (int(word) for word in words[1:6])
        self.ticks = int(words[11]) + int(words[12])
        self.nice, self.threads, self.started = int(words[16]), int(words[17]), int(words[19])
        self.size, self.resident = int(words[20]), 0
        self.users = {"Uid": [0, 0], "Gid": [0, 0]}
        for line in read("status").splitlines():
            key, _, value = line.partition(":")
            if key in self.users:
                self.users[key] = [int(word) for word in value.split()[:2]]
            elif key == "VmRSS":
                self.resident = int(value.split()[0])  # `stat` has it, too, but not up to date
        self.arguments = read("cmdline").rstrip("\0").replace("\0", " ")


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()


class _Host:
    """What all rows are reckoned by, looked up once."""

    __slots__ = ("boot", "memory", "names", "now", "tick", "uptime")

    def __init__(self, uptime: float = 0.0) -> None:
        self.tick = os.sysconf("SC_CLK_TCK")
        self.memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
        self.now = time.time()
        self.uptime = uptime or time.clock_gettime(time.CLOCK_BOOTTIME)
        self.boot = self.now - self.uptime
        self.names: dict[tuple[str, int], str] = {}

    def name(self, kind: str, number: int) -> str:
        """Return the host's name of a user or group, its number when it has none."""
        key = (kind, number)
        if key not in self.names:
            try:
                if kind == "user":
                    import pwd

                    self.names[key] = pwd.getpwuid(number).pw_name
                else:
                    import grp

                    self.names[key] = grp.getgrgid(number).gr_name
            except KeyError:
                self.names[key] = str(number)
        return self.names[key]

    def elapsed(self, process: Process) -> float:
        """Return the seconds since a process has started."""
        return max(0.0, self.uptime - process.started / self.tick)

    def share(self, process: Process) -> float:
        """Return the processor time over the whole life, in hundredths."""
        elapsed = self.elapsed(process)
        return process.ticks / self.tick / elapsed * 100 if elapsed > 0 else 0.0

    def start(self, process: Process) -> str:
        """Return when a process has started: a time of today, a day of this year, or a year."""
        then, today = time.localtime(self.boot + process.started / self.tick), time.localtime(self.now)
        if then[:3] == today[:3]:
            return time.strftime("%H:%M", then)
        return time.strftime("%b%d" if then.tm_year == today.tm_year else "%Y", then)


def _tenths(value: float) -> str:
    """Return a number with one decimal, cut and not rounded, as ps does."""
    return f"{int(value * 10) / 10:.1f}"


def _clock(seconds: int, short: bool = False) -> str:
    days, rest = divmod(seconds, 86400)
    if short:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return (f"{days}-" if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _elapsed(seconds: int) -> str:
    text = _clock(seconds)
    return text.removeprefix("00:") if seconds < 3600 else text


def _terminal(number: int, none: str = "?") -> str:
    """Return the name of a terminal by its device number (proc_pid_stat(5), tty_nr)."""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{minor + 256 * (major - 136)}"
    if number == 0:
        return none
    return {4: f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}", 5: "console"}.get(major, f"{major}/{minor}")


def _command(process: Process) -> str:
    text = process.arguments or f"[{process.name}]"
    return text + " <defunct>" if process.state == "Z" else text


def _status(process: Process) -> str:
    text = process.state + ("<" if process.nice < 0 else "N" if process.nice > 0 else "")
    text += "s" if process.session == process.pid else ""
    text += "l" if process.threads > 1 else ""
    return text + ("+" if process.group == process.tpgid else "")


# Column → (title, text of a process): those of ps(1), "STANDARD FORMAT SPECIFIERS", that containers are asked for.
_COLUMNS: dict[str, tuple[str, Callable[[Process, _Host], str]]] = {
    "args": ("COMMAND", lambda p, h: _command(p)),
    "c": ("C", lambda p, h: str(min(99, int(h.share(p))))),
    "cmd": ("CMD", lambda p, h: _command(p)),
    "comm": ("COMMAND", lambda p, h: p.name),
    "etime": ("ELAPSED", lambda p, h: _elapsed(int(h.elapsed(p)))),
    "etimes": ("ELAPSED", lambda p, h: str(int(h.elapsed(p)))),
    "gid": ("GID", lambda p, h: str(p.users["Gid"][1])),
    "group": ("GROUP", lambda p, h: h.name("group", p.users["Gid"][1])),
    "ni": ("NI", lambda p, h: str(p.nice)),
    "nlwp": ("NLWP", lambda p, h: str(p.threads)),
    "%cpu": ("%CPU", lambda p, h: _tenths(h.share(p))),
    "%mem": ("%MEM", lambda p, h: _tenths(p.resident / h.memory * 100)),
    "pgid": ("PGID", lambda p, h: str(p.group)),
    "pid": ("PID", lambda p, h: str(p.pid)),
    "ppid": ("PPID", lambda p, h: str(p.parent)),
    "rss": ("RSS", lambda p, h: str(p.resident)),
    "ruid": ("RUID", lambda p, h: str(p.users["Uid"][0])),
    "ruser": ("RUSER", lambda p, h: h.name("user", p.users["Uid"][0])),
    "s": ("S", lambda p, h: p.state),
    "sid": ("SID", lambda p, h: str(p.session)),
    "start_time": ("START", lambda p, h: h.start(p)),
    "stat": ("STAT", lambda p, h: _status(p)),
    "stime": ("STIME", lambda p, h: h.start(p)),
    "time": ("TIME", lambda p, h: _clock(p.ticks // h.tick)),
    "time_short": ("TIME", lambda p, h: _clock(p.ticks // h.tick, short=True)),
    "tname": ("TTY", lambda p, h: _terminal(p.terminal)),
    "tty": ("TT", lambda p, h: _terminal(p.terminal)),
    "uid": ("UID", lambda p, h: str(p.users["Uid"][1])),
    "uid_name": ("UID", lambda p, h: h.name("user", p.users["Uid"][1])),
    "user": ("USER", lambda p, h: h.name("user", p.users["Uid"][1])),
    "vsz": ("VSZ", lambda p, h: str(p.size // 1024)),
}
_OTHER_NAMES = {
    "command": "args",
    "cputime": "time",
    "egid": "gid",
    "egroup": "group",
    "euid": "uid",
    "euser": "user",
    "nice": "ni",
    "pcpu": "%cpu",
    "pgrp": "pgid",
    "pmem": "%mem",
    "rssize": "rss",
    "sess": "sid",
    "session": "sid",
    "state": "s",
    "thcount": "nlwp",
    "tt": "tty",
    "ucmd": "comm",
    "uname": "user",
    "vsize": "vsz",
}
_INNER = frozenset(("uid_name", "time_short"))  # columns of the two formats that have no name of their own


def columns(words: list[str]) -> list[tuple[str, str]]:
    """Return (column, title) for options of ps: none, `-ef`, `aux`, or `-o`; raises InvalidInput for others.

    Options that select processes have no effect: the processes are always those of the container.
    """
    chosen: list[tuple[str, str]] = []
    words = list(words) or ["-ef"]
    full = False
    user = False
    while words:
        word = words.pop(0)
        letters, _, rest = word.removeprefix("-").partition("o")
        dashed = word[:1] == "-"
        if word in ("--format",) or word.startswith("--format="):
            letters, rest = "", word.partition("=")[2]
            word = "o"
        elif word[:2] == "--" or letters.strip("efAaxuw") or not word.strip("-"):
            raise InvalidInput(f"ps option {word!r} is not supported", _KNOWN)
        if "o" in word:
            if not rest:
                if not words:
                    raise InvalidInput(f"ps option {word!r} needs a list of columns", _KNOWN)
                rest = words.pop(0)
            chosen += _named(rest)
        full = full or "f" in letters
        user = user or ("u" in letters and not dashed)
        if dashed and set(letters) & set("ux"):
            raise InvalidInput(f"ps option {word!r} is not supported", _KNOWN)
    if chosen:
        return chosen
    if user:
        return [(name, _COLUMNS[_OTHER_NAMES.get(name, name)][0]) for name in _USER.split(",")]
    if full:
        return [(name, _COLUMNS[name][0]) for name in _FULL.split(",")]
    return [(name, _COLUMNS[name][0]) for name in ("pid", "tname", "time", "comm")]


def _named(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.replace(" ", ",").split(","):
        name, equals, title = part.partition("=")
        known = _OTHER_NAMES.get(name.lower(), name.lower())
        if known not in _COLUMNS or known in _INNER:
            raise InvalidInput(f"unknown ps column {name!r}", "known are " + ", ".join(sorted(set(_COLUMNS) - _INNER)))
        standard = _COLUMNS[known][0]
        pairs.append((name.lower(), title if equals else standard))
    return pairs


def listed(pids: list[int], words: list[str]) -> Processes:
    """Return the processes of `pids` that still live, by the options of ps in `words`; raises InvalidInput."""
    chosen = columns(words)
    host = _Host()
    rows = []
    for pid in sorted(set(pids)):
        try:
            process = Process(pid)
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        rows.append([_COLUMNS[_OTHER_NAMES.get(name, name)][1](process, host) for name, _ in chosen])
    return Processes([title for _, title in chosen], rows)


def of_container(store: Store, row: ContainerRow, pids: list[int], words: list[str]) -> Processes:
    """Return the processes of a container that has the processes `pids` on the host. Raises InvalidInput, Conflict."""
    if "machine" in row.intent:
        return of_machine(store.paths.container_state(row.id), words)
    return listed(pids, words)


def of_machine(state_directory: str, words: list[str]) -> Processes:
    """Return the processes of the container in a machine, with the pids that they have there.

    Raises InvalidInput, Conflict.

    The machine says what they are: it is not to be trusted, so what does not look like a process is left out.
    """
    from ...runtime.machine import calls

    chosen = columns(words)
    told = calls.processes(state_directory)
    host = _Host(told.uptime)
    rows = []
    for pid, files in sorted(told.files.items()):
        try:
            process = Process(pid, files)
            rows.append([_COLUMNS[_OTHER_NAMES.get(name, name)][1](process, host) for name, _ in chosen])
        except (ValueError, IndexError, KeyError, OverflowError, OSError):
            continue
    return Processes([title for _, title in chosen], rows)


def of_namespace(pid: int) -> list[int]:
    """Return the pids of all processes in the pid namespace of `pid`, none when it has exited: for use without a cgroup."""
    try:
        wanted = os.readlink(f"/proc/{pid}/ns/pid")
    except FileNotFoundError:
        return []
    pids = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == wanted:
                    pids.append(int(entry))
            except OSError:
                continue
    return pids
