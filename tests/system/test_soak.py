"""Eight workers on one store: every exit code is right, also while commands and monitors are killed; nothing is left.

UNDERLAY_SOAK says for how many seconds (20 without it). Each worker has objects of its own, so that it knows how its
must end; prunes take what is unused from all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from engines import Installation

SECONDS = float(os.environ.get("UNDERLAY_SOAK", "20"))
WORKERS = 8
# What a prune of another worker may have taken, in the words of the command that then misses it.
_TAKEN = (b"No such container", b"No such image", b"no such volume", b"not found", b"No such object")


class Worker(threading.Thread):
    """Does random work with its own objects and compares each exit code with what it must be."""

    def __init__(self, ul: Installation, number: int, over: threading.Event) -> None:
        super().__init__()
        self.ul = ul
        self.name = f"w{number}"
        self.chance = random.Random(number)
        self.over = over
        self.wrong: list[str] = []
        self.count = 0
        self.killed = 0
        self.running: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()

    def command(self, code: int, *words: str, input: bytes = b"") -> bool:
        """Run a command; returns whether it ended as it must, False when it was killed or its object was pruned."""
        with self.lock:
            process = subprocess.Popen(
                [*self.ul.command, *words],
                env=self.ul.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self.running = process
        try:
            _, errors = process.communicate(input, timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            self.wrong.append(f"{' '.join(words)}: hangs")
            return False
        finally:
            with self.lock:
                self.running = None
        self.count += 1
        if process.returncode == -signal.SIGKILL:
            self.killed += 1
            return False
        if process.returncode == code:
            return True
        if not any(text in errors for text in _TAKEN):
            self.wrong.append(
                f"{' '.join(words)}: {process.returncode}, not {code}: {errors.decode(errors='replace')[:500]}"
            )
        return False

    def kill(self) -> None:
        """Kill the command that runs now, if one does."""
        with self.lock:
            if self.running is not None:
                self.running.kill()

    def run(self) -> None:
        work = (self.ends, self.container, self.image, self.volume, self.network, self.build, self.look, self.prune)
        while not self.over.is_set():
            self.chance.choices(work, (4, 6, 2, 2, 1, 1, 3, 1))[0]()

    def ends(self) -> None:
        code = self.chance.choice((0, 3, 127))
        program = ["no-such-program"] if code == 127 else ["sh", "-c", f"exit {code}"]
        self.command(code, "run", "--rm", "-v", "/data", "box", *program)

    def container(self) -> None:
        name = f"{self.name}-{self.chance.randrange(3)}"
        policy = self.chance.choice(("no", "always", "on-failure:3"))
        made = self.command(0, "run", "-d", "--restart", policy, "--name", name, "box", "sleep", "100")
        acts = [
            ("exec", name, "true"),
            ("logs", name),
            ("inspect", name),
            ("top", name),
            ("update", "--pids-limit", "50", name),
            ("restart", "-t", "0", name),
            ("stats", "--no-stream", name),
        ]
        for act in self.chance.sample(acts, 3) if made else ():
            if not self.command(0, *act):
                break
        if self.chance.random() < 0.3:
            self.kill_monitor(name)
        # Whatever has become of it.
        while not self.command(0, "rm", "-f", name):
            if self.over.is_set():
                break

    def kill_monitor(self, name: str) -> None:
        shown = subprocess.run(
            [*self.ul.command, "inspect", "-f", "{{.State.Pid}}", name], env=self.ul.environment, capture_output=True
        )
        try:
            status = Path(f"/proc/{int(shown.stdout)}/status").read_text()
            monitor = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid")))
            if monitor > 1 and str(self.ul.state).encode() in Path(f"/proc/{monitor}/cmdline").read_bytes():
                os.kill(monitor, signal.SIGKILL)
        except (OSError, ValueError):
            pass  # it has none now

    def image(self) -> None:
        name = f"{self.name}:{self.chance.randrange(3)}"
        if self.command(0, "tag", "box", name):
            self.command(0, "image", "inspect", name)
            self.command(0, "history", name)
            self.command(0, "rmi", name)

    def volume(self) -> None:
        name = f"{self.name}-{self.chance.randrange(3)}"
        made = self.command(0, "volume", "create", name)
        if made and not self.command(0, "run", "--rm", "-v", f"{name}:/v", "box", "touch", "/v/file"):
            # The command was killed: its container ends by itself, or with the next command.
            while self.names("ps", "-aq", "--filter", f"volume={name}") and not self.over.is_set():
                time.sleep(0.05)
        while not self.command(0, "volume", "rm", "-f", name):
            if self.over.is_set():
                break

    def names(self, *words: str) -> bytes:
        return subprocess.run(
            [*self.ul.command, *words], env=self.ul.environment, capture_output=True, check=True
        ).stdout

    def network(self) -> None:
        name = f"{self.name}-{self.chance.randrange(3)}"
        self.command(0, "network", "create", "--subnet", f"10.{self.name[1:]}.{name[-1]}.0/24", name)
        while not self.command(0, "network", "rm", "-f", name):
            if self.over.is_set():
                break

    def build(self) -> None:
        text = f"FROM box\nRUN echo {self.chance.randrange(50)} > /made\nENV A={self.name}\n"
        if self.command(
            0,
            "build",
            "-q",
            "-t",
            f"{self.name}:built",
            "-f",
            "-",
            str(self.ul.root.parent / "context"),
            input=text.encode(),
        ):
            self.command(0, "rmi", f"{self.name}:built")

    def look(self) -> None:
        words = (
            ("ps", "-a"),
            ("ps", "-as"),
            ("images", "-a"),
            ("volume", "ls"),
            ("network", "ls"),
            ("system", "df"),
            ("info",),
        )
        self.command(0, *self.chance.choice(words))

    def prune(self) -> None:
        words = (
            ("container", "prune", "-f"),
            ("image", "prune", "-f"),
            ("volume", "prune", "-f"),
            ("network", "prune", "-f"),
            ("builder", "prune", "-f"),
        )
        self.command(0, *self.chance.choice(words))


@pytest.mark.slow
@pytest.mark.timeout(240 + 2 * SECONDS)
def test_soak(ul: Installation) -> None:
    (ul.root.parent / "context").mkdir()
    ul("tag", "box", "kept")
    over = threading.Event()
    workers = [Worker(ul, number, over) for number in range(WORKERS)]
    chance = random.Random(99)
    deadline = time.monotonic() + SECONDS
    for worker in workers:
        worker.start()
    try:
        while time.monotonic() < deadline and not any(worker.wrong for worker in workers):
            time.sleep(chance.uniform(0.1, 1.0))
            chance.choice(workers).kill()
    finally:
        over.set()
        for worker in workers:
            worker.join()
    count, killed = sum(worker.count for worker in workers), sum(worker.killed for worker in workers)
    print(f"{count} commands, {killed} killed")
    assert [line for worker in workers for line in worker.wrong] == []
    assert count > WORKERS
    left = ul.out("ps", "-aq").split()
    if left:
        ul("rm", "-f", *left)
    ul("volume", "prune", "-af")
    ul("network", "prune", "-f")
    ul("builder", "prune", "-af")
    ul("image", "prune", "-f")
    ul("ps", "-a")
    assert os.listdir(ul.root / "containers") == os.listdir(ul.state / "containers") == []
    assert os.listdir(ul.root / "volumes") == [] and os.listdir(ul.root / "tmp") == []
    assert ul.remains(left) == []
    assert "0 lost, 0 to repair" in ul.out("system", "check")
