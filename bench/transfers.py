"""Pull and push beside docker, podman, skopeo and `curl | igzip -d`, all with one docker-registry on loopback."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import material
from bench.harness import Contender, Result, race
from bench.setting import UNDERLAY

if TYPE_CHECKING:
    from bench.setting import Setting

IMAGES = ("alpine", "large", "twenty")
SMALL = 50
_OCI = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """Debian's docker-registry with its storage on the scratch file system."""

    def __init__(self, scratch: Path) -> None:
        self.storage = scratch / "registry"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"localhost:{self.port}"
        configuration = scratch / "registry.yml"
        configuration.write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.storage}}}}}\nhttp: {{addr: 127.0.0.1:{self.port}}}\n"
        )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("docker-registry does not answer")

    def empty(self) -> None:
        """Forget all images."""
        shutil.rmtree(self.storage, ignore_errors=True)

    def layers(self, repository: str) -> list[str]:
        """Return the digests of an image's layers."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/latest", headers={"Accept": _OCI}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [layer["digest"] for layer in json.load(answer)["layers"]]

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def served(setting: Setting) -> Iterator[tuple[Registry, dict[str, str]]]:
    """Give a registry, and the names of the images in every engine; none is pushed yet."""
    registry = Registry(setting.scratch)
    try:
        archives = {
            "alpine": (material.layered(setting.scratch, setting.base, 1), "bench:1"),
            "large": (material.large(setting.scratch), "bench:large"),
            "twenty": (material.layered(setting.scratch, setting.base, 20), "bench:20"),
        }
        names = {}
        for image, (archive, name) in archives.items():
            setting.load(archive)
            names[image] = f"{registry.host}/bench/{image}:latest"
            _ours(setting, "tag", name, names[image])
            if setting.with_docker:
                setting.docker.run("tag", name, names[image])
            if setting.podman:
                _quiet([*setting.podman, "tag", f"localhost/{name}", names[image]])
        yield registry, names
    finally:
        registry.close()


def _ours(setting: Setting, *words: str) -> None:
    subprocess.run([UNDERLAY, *words], env={**os.environ, **setting.ours}, check=True, stdout=subprocess.DEVNULL)


def _quiet(command: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, capture_output=True, env={**os.environ, **(environment or {})}, check=False)


def _then_sync(*steps: Callable[[], object]) -> Callable[[], None]:
    def all_of_it() -> None:
        for step in steps:
            step()
        os.sync()

    return all_of_it


def pull(setting: Setting, rounds: int) -> list[Result]:
    """From the registry into a store that does not have the image."""
    found = []
    with served(setting) as (registry, names):
        for name in names.values():
            _ours(setting, "push", "-q", name)
        # Nobody may have a layer of one image from another.
        for name in (*names.values(), "bench:1", "bench:20", "bench:large"):
            _quiet([UNDERLAY, "rmi", "-f", name], setting.ours)
            setting.docker.run("rmi", "-f", name)
            _quiet([*setting.podman, "rmi", "-f", name if "/" in name else f"localhost/{name}"])
        for image in IMAGES:
            name = names[image]
            contenders = [
                Contender(
                    "underlay",
                    [UNDERLAY, "pull", "-q", name],
                    _then_sync(lambda name=name: _quiet([UNDERLAY, "rmi", "-f", name], setting.ours)),
                    setting.ours,
                ),
                Contender(
                    "docker",
                    ["docker", "pull", "-q", name],
                    _then_sync(lambda name=name: setting.docker.run("rmi", "-f", name)),
                    setting.docker.environment,
                ),
                Contender(
                    "podman",
                    [*setting.podman, "pull", "-q", "--tls-verify=false", name],
                    _then_sync(lambda name=name: _quiet([*setting.podman, "rmi", "-f", name])),
                ),
                Contender(
                    "skopeo (to an OCI layout, packed)",
                    ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{setting.scratch}/sk"],
                    _then_sync(lambda: shutil.rmtree(setting.scratch / "sk", ignore_errors=True)),
                ),
                Contender(
                    "curl, igzip -d > file",
                    ["sh", "-c", _by_hand(registry, f"bench/{image}", setting.scratch)],
                    _then_sync(lambda: shutil.rmtree(setting.scratch / "by-hand", ignore_errors=True)),
                ),
            ]
            found.append(race(f"pull: {image}", contenders, rounds))
    return found


def small(setting: Setting, rounds: int) -> list[Result]:
    """Fifty images of one small layer each, one after the other, and all of them named in one command."""
    registry = Registry(setting.scratch)
    try:
        names = [f"{registry.host}/bench/small-{number}:latest" for number in range(SMALL)]
        for number, name in enumerate(names):
            tar = setting.scratch / "small.tar"
            with tarfile.open(tar, "w") as file:
                member = tarfile.TarInfo(f"file-{number}")
                member.size = 10_000
                file.addfile(member, io.BytesIO(bytes([number]) * member.size))
            _ours(setting, "import", str(tar), name)
            _ours(setting, "push", "-q", name)

        def loop(words: list[str]) -> list[str]:
            return ["sh", "-c", " && ".join(shlex.join([*words, name]) for name in names)]

        def forget() -> None:
            _quiet([UNDERLAY, "rmi", "-f", *names], setting.ours)
            setting.docker.run("rmi", "-f", *names)
            _quiet([*setting.podman, "rmi", "-f", *names])

        docker, podman = ["docker", "pull", "-q"], [*setting.podman, "pull", "-q", "--tls-verify=false"]
        contenders = [
            Contender("underlay", loop([UNDERLAY, "pull", "-q"]), _then_sync(forget), setting.ours),
            Contender("underlay, one command", [UNDERLAY, "pull", "-q", *names], _then_sync(forget), setting.ours),
            Contender("docker", loop(docker), _then_sync(forget), setting.docker.environment),
            Contender("podman", loop(podman), _then_sync(forget)),
            Contender("podman, one command", [*podman, *names], _then_sync(forget)),
        ]
        return [race(f"pull: {SMALL} small images", contenders, rounds)]
    finally:
        registry.close()


def _by_hand(registry: Registry, repository: str, scratch: Path) -> str:
    steps = [f"mkdir {scratch}/by-hand"]
    for number, digest in enumerate(registry.layers(repository)):
        url = f"http://{registry.host}/v2/{repository}/blobs/{digest}"
        steps.append(f"curl -s {url} | igzip -d > {scratch}/by-hand/{number}")
    return " && ".join(steps)


def push(setting: Setting, rounds: int) -> list[Result]:
    """To a registry that has nothing of the image, and to one that has it all."""
    found = []
    with served(setting) as (registry, names):
        for image in IMAGES:
            name = names[image]
            skopeo = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{setting.scratch}/"]
            file = {"alpine": "bench-1.tar", "large": "bench-large.tar", "twenty": "bench-20.tar"}[image]
            skopeo[-1] += file
            commands: list[tuple[str, list[str], dict[str, str]]] = [
                ("underlay", [UNDERLAY, "push", "-q", name], setting.ours),
                ("docker", ["docker", "push", "-q", name], setting.docker.environment),
                ("podman", [*setting.podman, "push", "-q", "--tls-verify=false", name], {}),
                ("skopeo (from a docker-archive)", [*skopeo, f"docker://{name}"], {}),
            ]
            first = [Contender(who, words, _then_sync(registry.empty), env) for who, words, env in commands]
            found.append(race(f"push: {image}, first", first, rounds))
            again = [
                Contender(who, words, _then_sync(registry.empty, lambda w=words, e=env: _quiet(w, e)), env)
                for who, words, env in commands
            ]
            found.append(race(f"push: {image}, again", again, rounds))
    return found


def memory(setting: Setting) -> list[str]:
    """The greatest resident size of our pull and push of the large image."""
    notes = []
    with served(setting) as (_, names):
        for word in ("push", "pull"):
            if word == "pull":
                _quiet([UNDERLAY, "rmi", "-f", names["large"], "bench:large"], setting.ours)
            code = (
                "import os, resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, UNDERLAY, word, "-q", names["large"]],
                env={**os.environ, **setting.ours},
                capture_output=True,
                text=True,
                check=True,
            )
            notes.append(f"memory of a {word} of the large image: {int(done.stdout) // 1024} MB at most (RSS)")
    return notes
