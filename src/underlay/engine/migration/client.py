"""What another engine has, asked of its own client: `docker` or `podman`."""

from __future__ import annotations

import json
import os
import subprocess

from ...errors import NotFound, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PATIENCE = 120.0  # seconds for an answer, but for an archive of images


class Client:
    """The client of another engine: `program` is docker or podman."""

    def __init__(self, program: str) -> None:
        self.program = program

    def ask(self, *words: str) -> str:
        """Return what a command prints. Raises NotFound (no such program), UnderlayError with its own words."""
        try:
            done = subprocess.run([self.program, *words], capture_output=True, text=True, timeout=_PATIENCE)
        except FileNotFoundError:
            raise NotFound(
                f"{self.program} is not installed here", "its client is needed to read what it has"
            ) from None
        except subprocess.TimeoutExpired:
            raise UnderlayError(f"{self.program} {words[0]}: no answer for {_PATIENCE:.0f} seconds") from None
        if done.returncode != 0:
            problem = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise UnderlayError(f"{self.program} {words[0]}: {problem}", f"is the daemon of {self.program} running?")
        return done.stdout

    def images(self) -> list[tuple[str, list[str]]]:
        """Return the id of each image that has a name, with its names."""
        found: dict[str, list[str]] = {}
        for line in self.ask("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").splitlines():
            image, _, name = line.partition(" ")
            if "<none>" not in name:
                found.setdefault(image if ":" in image else f"sha256:{image}", []).append(name)
        return list(found.items())

    def save(self, names: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
        """Begin to write an archive of images; returns the process and the descriptor to read it from."""
        more = ["--format", "docker-archive", "--multi-image-archive"] if self.program == "podman" else []
        process = subprocess.Popen(
            [self.program, "save", *more, *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        return process, os.dup(process.stdout.fileno())

    def volumes(self) -> list[dict[str, Any]]:
        """Return the volumes, as `volume inspect` shows them."""
        names = self.ask("volume", "ls", "-q").split()
        return self._inspected("volume", "inspect", *names) if names else []

    def networks(self) -> dict[str, dict[str, Any]]:
        """Return the networks by name."""
        names = self.ask("network", "ls", "-q").split()
        found = self._inspected("network", "inspect", *names) if names else []
        return {str(each.get("Name") or each.get("name") or ""): each for each in found}

    def containers(self) -> list[dict[str, Any]]:
        """Return all containers, the oldest first, as `container inspect` shows them."""
        ids = self.ask("ps", "-aq", "--no-trunc").split()
        found = self._inspected("container", "inspect", *ids) if ids else []
        return sorted(found, key=lambda each: str(each.get("Created") or ""))

    def image(self, name: str) -> dict[str, Any]:
        """Return the `Config` of an image, {} where it is gone."""
        try:
            found = self._inspected("image", "inspect", name)
        except UnderlayError:
            return {}
        config = found[0].get("Config") if found else None
        return config if isinstance(config, dict) else {}

    def has_changed(self, container: str) -> bool:
        """Return whether a container has written anything into its own layer."""
        return any(line[:1] in "ADC" for line in self.ask("diff", container).splitlines() if line)

    def _inspected(self, *words: str) -> list[dict[str, Any]]:
        try:
            value = json.loads(self.ask(*words))
        except json.JSONDecodeError:
            raise UnderlayError(f"{self.program} {words[0]}: the answer is not JSON") from None
        return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
