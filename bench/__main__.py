"""`make bench`: measure, print a table, write bench/results/ and docs/benchmarks.md.

    python -m bench [--rounds N] [--only start,layers,load,runtime,pull,small,push,build,price,network,many,throughput,
                     connections,monitor,
                    calls,memory] [--write]

Everything lies on a fresh ext4 in a loop-mounted file, so that all use the same, quiet file system. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import builds, calls, clients, machines, material, networks, rivals, runtimes, transfers
from bench.harness import Contender, Result, race, table
from bench.setting import ROOT, UNDERLAY, Setting


@contextlib.contextmanager
def loop_file_system(size: int) -> Iterator[Path]:
    """Give a directory on a new ext4 in a file of `size` bytes; all is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="underlay-bench-"))
    image, point = place / "ext4.img", place / "fs"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, point], check=True)
        _direct(point)
        try:
            yield point
        finally:
            for _ in range(50):
                if subprocess.run(["umount", "-R", point], capture_output=True).returncode == 0:
                    break
                time.sleep(0.2)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _direct(point: Path) -> None:
    """Let the loop device pass the host's page cache by: else all that is written is cached, and copied, twice."""
    device = subprocess.run(["findmnt", "-n", "-o", "SOURCE", point], capture_output=True, text=True, check=True)
    subprocess.run(["losetup", "--direct-io=on", device.stdout.strip()], capture_output=True, check=False)


def start(setting: Setting, rounds: int) -> list[Result]:
    """A container of a small image, from command to its end: `run --rm --network none IMAGE true`."""
    setting.load(material.layered(setting.scratch, setting.base, 1))
    contenders = setting.engines(["run", "--rm", "--network", "none"], "bench:1", ["true"])
    bundle = rivals.bundle(setting.scratch, setting.base, ["true"]) if shutil.which("runc") else None
    if bundle is not None:
        contenders.append(Contender("runc (bare bundle)", ["runc", "run", "-b", str(bundle), "underlay-bench"]))
        if shutil.which("crun"):
            contenders.append(Contender("crun (bare bundle)", ["crun", "run", "-b", str(bundle), "underlay-bench"]))
        if shutil.which("bwrap"):
            words = [
                "bwrap",
                "--unshare-all",
                "--bind",
                f"{bundle}/rootfs",
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
            ]
            contenders.append(Contender("bwrap (bare root)", [*words, "true"]))
    return [race("start: run --rm --network none … true", contenders, rounds)]


def layers(setting: Setting, rounds: int) -> list[Result]:
    """Starting from 20 layers beside starting from one."""
    setting.load(material.layered(setting.scratch, setting.base, 1))
    setting.load(material.layered(setting.scratch, setting.base, 20))
    words = ["run", "--rm", "--network", "none"]
    one = setting.engines(words, "bench:1", ["true"])
    twenty = setting.engines(words, "bench:20", ["true"])
    for contender in one:
        contender.name += " (1 layer)"
    for contender in twenty:
        contender.name += " (20 layers)"
    return [race("layers: 20 beside 1", [*one, *twenty], rounds)]


def load(setting: Setting, rounds: int) -> list[Result]:
    """Loading a 300 MB image from a docker-archive into an engine that does not have it."""
    archive = material.large(setting.scratch)
    contenders = []

    def without(command: list[str], environment: dict[str, str]) -> None:
        subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)
        os.sync()

    contenders.append(
        Contender(
            "underlay",
            [UNDERLAY, "load", "-q", "-i", str(archive)],
            lambda: without([UNDERLAY, "rmi", "-f", "bench:large"], setting.ours),
            setting.ours,
        )
    )
    if setting.with_docker:
        contenders.append(
            Contender(
                "docker",
                ["docker", "load", "-q", "-i", str(archive)],
                lambda: without(["docker", "rmi", "-f", "bench:large"], setting.docker.environment),
                setting.docker.environment,
            )
        )
    if setting.podman:
        contenders.append(
            Contender(
                "podman",
                [*setting.podman, "load", "-q", "-i", str(archive)],
                lambda: without([*setting.podman, "rmi", "-f", "localhost/bench:large"], {}),
            )
        )
    size = archive.stat().st_size >> 20
    return [race(f"load: docker-archive of {size} MB", contenders, max(3, rounds // 5))]


def monitor(setting: Setting, rounds: int) -> list[str]:
    """Private memory of an idle container's monitor, from smaps_rollup."""
    setting.load(material.layered(setting.scratch, setting.base, 1))
    environment = {**os.environ, **setting.ours}

    def ours(*words: str) -> str:
        return subprocess.run([UNDERLAY, *words], env=environment, check=True, capture_output=True, text=True).stdout

    # Two, since what two interpreters share counts as private when there is one.
    for name in ("idle-1", "idle-2"):
        ours("run", "-d", "--name", name, "--network", "none", "bench:1", "sleep", "60")
    time.sleep(1.5)
    pid = int(ours("inspect", "-f", "{{.State.Pid}}", "idle-1"))
    parent = next(
        line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid")
    )
    figures = {}
    for line in Path(f"/proc/{parent}/smaps_rollup").read_text().splitlines()[1:]:
        key, value = line.split(":")
        figures[key] = int(value.split()[0])
    ours("rm", "-f", "idle-1", "idle-2")
    private = figures["Private_Clean"] + figures["Private_Dirty"]
    return [f"monitor of an idle container: {private} kB private memory (RSS {figures['Rss']} kB, shared mostly)"]


def runtime(setting: Setting, rounds: int) -> list[Result]:
    """Our runtime's program beside runc and crun, on one bundle."""
    found = runtimes.apart(lambda: runtimes.run(setting.scratch, setting.base, rounds))
    return found + runtimes.apart(lambda: runtimes.execute(setting.scratch, setting.base, rounds))


def system_calls(setting: Setting) -> list[str]:
    """What each engine's default filter adds to a system call."""
    setting.load(material.layered(setting.scratch, setting.base, 1))
    loop = setting.scratch / "loop"
    calls.program(loop)
    contenders: list[tuple[str, list[str], dict[str, str]]] = []
    for more, words in (("", []), (" without a filter", ["--security-opt", "seccomp=unconfined"])):
        options = ["run", "--rm", "--network", "none", *words, "-v", f"{loop}:/loop:ro"]
        for each in setting.engines(options, "bench:1", ["/loop"]):
            contenders.append((each.name + more, list(each.command), each.environment))
    return calls.cost(contenders)


JOBS = {
    "start": start,
    "layers": layers,
    "load": load,
    "runtime": runtime,
    "pull": transfers.pull,
    "small": transfers.small,
    "push": transfers.push,
    "build": builds.build,
    "network": networks.network,
    "many": networks.many,
    "machine": machines.boots,
}


def host() -> str:
    """Return one line about the machine."""
    model = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        "?",
    )
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument(
        "--only",
        default="start,layers,load,runtime,pull,small,push,build,price,network,many,throughput,connections,monitor,calls,memory,clients,machine",
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root")
    chosen = options.only.split(",")
    results: list[Result] = []
    notes: list[str] = []
    with loop_file_system(12 << 30) as scratch:
        setting = Setting(scratch)
        try:
            for name, job in JOBS.items():
                if name in chosen:
                    results += job(setting, options.rounds)
            if "clients" in chosen:
                raced, more = clients.clients(setting, options.rounds)
                results += raced
                notes += more
            if "price" in chosen:
                notes += builds.price(setting, options.rounds)
            if "throughput" in chosen:
                notes += networks.throughput(setting, options.rounds)
            if "connections" in chosen:
                notes += networks.connections(setting, min(options.rounds, 11))
            if "monitor" in chosen:
                notes += monitor(setting, options.rounds)
            if "calls" in chosen:
                notes += system_calls(setting)
            if "memory" in chosen:
                notes += transfers.memory(setting)
        finally:
            setting.docker.stop()
    text = table(results)
    print(f"\n{host()}\n\n{text}\n")
    for note in notes:
        print(note)
    place = ROOT / "bench" / "results"
    place.mkdir(exist_ok=True)
    record = {
        "host": host(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "results": [{"job": r.job, "seconds": r.seconds} for r in results],
        "notes": notes,
    }
    (place / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())).write_text(json.dumps(record, indent=1))
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(page(text, notes))


def page(text: str, notes: list[str]) -> str:
    """Return docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Caveats first: one machine, shared cores, everything on a fresh loop-mounted ext4, warm page cache. The",
        "figures are medians of interleaved rounds of one run; trust the ratios, not the milliseconds. `make bench`",
        "repeats them, and `python -m bench --write` writes this page. Nothing here is asserted by a test.",
        "",
        f"Machine: {host()}. Measured on {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        text,
        "",
        *[f"- {note}" for note in notes],
        "",
        "docker runs with a private dockerd (overlay2, no bridge), podman with overlay and runc (crun refuses hybrid",
        "cgroups), runc, crun and bwrap with a prepared bundle: they find no image, keep no log and no record. A load is",
        "durable with us when it returns (fsync), which it waits for; docker and podman leave that to the kernel.",
        "",
        "What separates `underlay-runtime run` from crun and from bare unshare: crun is a C program that needs some 7 ms",
        "in all, unshare makes namespaces and nothing else. Of ours some 9 ms are the start of the interpreter (a",
        "`--version` takes 10), some 5 more the modules (a `list` takes 14), the rest are two thousand system calls made",
        "from Python: root, cgroup, list of devices, masks, the record. The runtimes are compared in a mount namespace",
        "without the version 2 hierarchy, since crun refuses hybrid hosts. The cost of a system call is that of three",
        "million getppid in a container, less that of none.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
