"""The types of the public interface: what a type checker accepts of a program that uses it, and what not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines import REPOSITORY

pytest.importorskip("mypy")

# A line that ends with `# error: …` must be refused with these words, no other line may be.
SAMPLE = """
from collections.abc import Iterator
from underlay import Container, ContainerOptions, Engine, Image, Pruned, Result, errors

with Engine() as engine:
    result: Result = engine.containers.run("alpine", ["id"], memory="64m", environment={"A": "b"}, remove=True)
    line: Result = engine.containers.run("alpine", "echo hi", volumes={"data": {"bind": "/x", "mode": "ro"}})
    text: str = result.text
    web: Container = engine.containers.run("alpine", detach=True, publish={"80/tcp": 8080}, cpus=1.5)
    made: Container = engine.containers.create(ContainerOptions(image="alpine", command=["id"]))
    asked: Result = web.exec(["id"], user="root", input=b"")
    whole: bytes = web.logs()
    pieces: Iterator[bytes] = web.logs(follow=True)
    web.update(memory="1g", pids_limit=5)
    image: Image = engine.images.pull("alpine", "linux/arm64")
    images: list[Image] = engine.images.pull("alpine", all_tags=True)
    built: Image | None = engine.builds.build(".", tags=["a", "b"], arguments={"A": "b"}).image
    pruned: list[Pruned] = [
        engine.containers.prune(), engine.images.prune(), engine.volumes.prune(), engine.networks.prune(),
        engine.builds.prune(),
    ]
    raised: type[errors.UnderlayError] = errors.DockerfileError
    engine.containers.run("alpine", wrong=1)  # error: Unexpected keyword argument
    engine.containers.run("alpine", command=5)  # error: No overload variant
    engine.containers.run("alpine", memory=[1])  # error: No overload variant
    engine.containers.run("alpine", pull="sometimes")  # error: No overload variant
    engine.containers.create("alpine", environment=5)  # error: incompatible type
    engine.containers.create("alpine", mem_limit="1g")  # error: Unexpected keyword argument
    web.exec(["id"], wrong=1)  # error: Unexpected keyword argument
    web.update(hostname="x")  # error: Unexpected keyword argument
    engine.builds.build(".", tag="x")  # error: Unexpected keyword argument
    lost: Container = engine.containers.run("alpine")  # error: Incompatible types in assignment
    engine.store  # error: has no attribute "store"
"""


def test_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "--follow-imports=silent"]
        + ["--config-file", "", "--cache-dir", str(REPOSITORY / ".mypy_cache" / "sample"), str(program)],
        env={"MYPYPATH": str(REPOSITORY / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    told: dict[int, str] = {}
    for line in done.stdout.splitlines():
        # What a run before has found comes from the cache, under that run's path.
        place, error, words = line.partition(": error: ")
        if error and "program.py:" in place:
            number = int(place.partition("program.py:")[2].partition(":")[0])
            told[number] = told.get(number, "") + words
    for number, line in enumerate(SAMPLE.splitlines(), 1):
        wanted = line.partition("# error: ")[2]
        if wanted:
            assert wanted in told.pop(number, ""), line
    assert told == {}, done.stdout
    assert done.stderr == ""
