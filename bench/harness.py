"""Timing commands side by side: interleaved rounds, medians, ratios to the fastest rival."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Contender:
    """One way to do a job: `command` is timed; `before` runs untimed in front of each round."""

    name: str
    command: Sequence[str]
    before: Callable[[], None] | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Result:
    """Seconds of each round by contender, in the order of the rounds."""

    job: str
    seconds: dict[str, list[float]]
    note: str = ""

    def median(self, name: str) -> float:
        """Return the median of a contender, in seconds."""
        return statistics.median(self.seconds[name])


def timed(contender: Contender) -> float:
    """Run a contender once; returns seconds of wall-clock time. Raises RuntimeError when it fails."""
    if contender.before:
        contender.before()
    environment = {**os.environ, **contender.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    done = subprocess.run(
        contender.command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{contender.name}: exit {done.returncode}: {text[-1] if text else ''}")
    return seconds


def race(job: str, contenders: Sequence[Contender], rounds: int, note: str = "") -> Result:
    """Run all contenders `rounds` times in turn; a contender that fails its first round is left out, and said."""
    able = []
    for contender in contenders:
        try:
            timed(contender)
            able.append(contender)
        except (RuntimeError, OSError) as error:
            print(f"  {job}: without {contender.name}: {error}")
    result = Result(job, {contender.name: [] for contender in able}, note)
    for number in range(rounds):
        # The order turns, so that nobody always runs after the same neighbour.
        turn = number % max(1, len(able))
        for contender in able[turn:] + able[:turn]:
            result.seconds[contender.name].append(timed(contender))
    return result


def table(results: Sequence[Result]) -> str:
    """Return the medians and the ratios ours/theirs as a Markdown table."""
    lines = ["| job | who | median | least | ours / theirs |", "| --- | --- | ---: | ---: | ---: |"]
    for result in results:
        ours = result.median("underlay") if "underlay" in result.seconds else 0.0
        for name, seconds in result.seconds.items():
            median = statistics.median(seconds)
            ratio = "" if name == "underlay" or not ours else f"{ours / median:.2f}"
            lines.append(f"| {result.job} | {name} | {median * 1000:.1f} ms | {min(seconds) * 1000:.1f} ms | {ratio} |")
    return "\n".join(lines)
