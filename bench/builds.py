"""Builds beside docker (BuildKit), podman and buildah: steps, stages, large contexts, and a step's price."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import material
from bench.harness import Contender, Result, race
from bench.setting import UNDERLAY

if TYPE_CHECKING:
    from bench.setting import Setting

_NUMBERS = itertools.count()
_TEN = """\
FROM {base}
COPY seed /seed
WORKDIR /app
ENV MODE=production
RUN mkdir -p /var/lib/app && echo 1 > /var/lib/app/version
COPY settings settings
RUN for n in 1 2 3 4 5 6 7 8 9 10; do echo "file $n" > part-$n; done
RUN cat settings part-* > whole
COPY main bin/main
RUN chmod 755 bin/main && rm part-*
RUN sha256sum whole > whole.sum
"""
_STAGES = """\
FROM {base} AS first
COPY seed /seed
RUN sleep 0.3; echo first > /made
FROM {base} AS second
COPY seed /seed
RUN sleep 0.3; echo second > /made
FROM {base} AS third
COPY seed /seed
RUN sleep 0.3; echo third > /made
FROM {base}
COPY --from=first /made /first
COPY --from=second /made /second
COPY --from=third /made /third
"""
_EIGHT = (
    "".join(
        f"FROM {{base}} AS stage{n}\nCOPY seed /seed\nRUN echo {n} > /made\nRUN cat /made > /again\n" for n in range(8)
    )
    + "FROM {base}\n"
    + "".join(f"COPY --from=stage{n} /made /made{n}\n" for n in range(8))
)
_FILES = 5000


def _limits() -> list[str]:
    """Return the limits that we have ourselves: buildah asks for more, which a host may refuse."""
    found = []
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        _, hard = resource.getrlimit(number)
        found += ["--ulimit", f"{name}={hard}:{hard}"]
    return found


_THEIRS = ["--jobs", "3", *_limits()]


class Case:
    """A context with a Dockerfile, and the commands that build it."""

    def __init__(self, setting: Setting, name: str, dockerfile: str) -> None:
        self.setting = setting
        self.name = name
        self.place = setting.scratch / f"context-{name}"
        self.place.mkdir()
        (self.place / "Dockerfile").write_text(dockerfile.format(base="bench:1"))
        self.seed()
        for file in ("settings", "main"):
            (self.place / file).write_text(f"{file}\n" * 100)

    def seed(self) -> None:
        """Change what the first step copies, so that nothing can come from a cache."""
        (self.place / "seed").write_text(f"{next(_NUMBERS)}\n")

    def contenders(self, before: Callable[[], None] | None) -> list[Contender]:
        """Return the build by everyone; `before` each of them."""
        setting, place = self.setting, str(self.place)
        words = ["--network", "host", "-t", f"bench-{self.name}", place]
        found = [Contender("underlay", [UNDERLAY, "build", *words], before, setting.ours)]
        if setting.with_docker:
            environment = {**setting.docker.environment, "DOCKER_BUILDKIT": "1"}
            found.append(Contender("docker (BuildKit)", ["docker", "build", *words], before, environment))
        if setting.podman:
            found.append(Contender("podman", [*setting.podman, "build", *_THEIRS, *words], before))
        if shutil.which("buildah"):
            buildah = buildah_command(setting.scratch)
            # Without --layers it makes one layer of all steps and keeps no cache: as it is when nothing is said.
            found.append(Contender("buildah", [*buildah, "build", *_THEIRS, *words], before))
            layers = [*buildah, "build", "--layers", *_THEIRS, *words]
            found.append(Contender("buildah --layers", layers, before))
        return found


def buildah_command(scratch: Path) -> list[str]:
    """Return buildah's command with podman's directories, where the base is."""
    return [
        "buildah",
        f"--root={scratch}/podman",
        f"--runroot={scratch}/podman-run",
        "--storage-driver=overlay",
    ]


def _files(place: Path) -> None:
    """Write the many files of a context, each with content that was never there before."""
    number = next(_NUMBERS)
    for index in range(_FILES):
        directory = place / "tree" / f"{index % 50:02d}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file-{index}.txt").write_text(f"{number} {index}\n" * 200)


def _one_file(place: Path) -> None:
    (place / "tree" / "07" / "file-7.txt").write_text(f"changed {next(_NUMBERS)}\n")


def build(setting: Setting, rounds: int) -> list[Result]:
    """Ten steps cold and cached, independent stages, 5,000 files cold and after one change."""
    os.environ["BUILDAH_RUNTIME"] = "runc"
    setting.load(material.layered(setting.scratch, setting.base, 1))
    ten = Case(setting, "ten", _TEN)
    stages = Case(setting, "stages", _STAGES)
    eight = Case(setting, "eight", _EIGHT)
    many = Case(setting, "many", "FROM {base}\nCOPY tree /tree\n")
    _files(many.place)
    few = max(3, rounds // 2)
    return [
        race("build: 10 steps, cold", ten.contenders(ten.seed), few),
        race("build: 10 steps, cached", ten.contenders(None), rounds),
        race("build: 8 stages that one copies from, cached", eight.contenders(None), rounds),
        race("build: 3 stages that sleep 0.3 s each, cold", stages.contenders(stages.seed), max(3, rounds // 4)),
        race(f"build: COPY {_FILES} files, cold", many.contenders(lambda: _files(many.place)), max(3, rounds // 4)),
        race(f"build: COPY {_FILES} files, one changed", many.contenders(lambda: _one_file(many.place)), few),
    ]


def price(setting: Setting, rounds: int) -> list[str]:
    """What a step costs above its own work: builds with 1 and with 21 `RUN true`, cold."""
    os.environ["BUILDAH_RUNTIME"] = "runc"
    setting.load(material.layered(setting.scratch, setting.base, 1))
    figures: dict[int, Result] = {}
    for count in (1, 21):
        lines = "".join(f"RUN true {number}\n" for number in range(count))
        case = Case(setting, f"runs-{count}", "FROM {base}\nCOPY seed /seed\n" + lines)
        figures[count] = race(f"{count} RUN", case.contenders(case.seed), max(3, rounds // 4))
    found = []
    for name in figures[21].seconds:
        if name in figures[1].seconds and name != "buildah":
            cost = (statistics.median(figures[21].seconds[name]) - statistics.median(figures[1].seconds[name])) / 20
            found.append(f"{name} {cost * 1000:.1f} ms")
    return [f"a step of a build (RUN true, with its layer): {', '.join(found)}"]
