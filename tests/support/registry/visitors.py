"""Installations that talk to registries: with a home of their own, watched for memory, secrets and what they leave."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Protocol

import pytest

from engines import Installation

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
MIB = 1 << 20


class HasHost(Protocol):
    @property
    def host(self) -> str: ...


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


class Visitor(Installation):
    """An installation whose settings, certificates and credentials of registries are below its own `home`.

    What is in `secrets` must never be seen: each output of a command is searched for it.
    """

    def __init__(self, place: Path, form: str = "auto") -> None:
        super().__init__(place, form)
        self.home = place / "home"
        self.home.mkdir(parents=True)
        self.registries = self.home / "registries.toml"
        self.registries.write_text("")
        self.certificates = self.home / "certs.d"
        self.docker = self.home / "docker"
        self.secrets: list[str] = []
        self._text = ""
        self._token_servers: dict[str, str] = {}
        for name in list(self.environment):
            if name.lower() in PROXIES:
                del self.environment[name]
        self.environment |= {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "DOCKER_CONFIG": str(self.docker),
            "UNDERLAY_REGISTRIES": str(self.registries),
            "UNDERLAY_CERTS_D": str(self.certificates),
        }

    def settings(self, text: str) -> None:
        """Write registries.toml; `sends_to` is kept."""
        self._text = text
        tables = [f'[registry."{host}"]\ntoken_servers = ["{url}"]\n' for host, url in self._token_servers.items()]
        self.registries.write_text("\n".join((text, *tables)))

    def sends_to(self, registry: HasHost, tokens: HasUrl) -> None:
        """Let a registry on this host have its token server at another port, with credentials."""
        self._token_servers[registry.host] = tokens.url
        self.settings(self._text)

    def credentials(self, auths: dict[str, tuple[str, str]], **more: object) -> None:
        """Write docker's config.json with these names and passwords by host; they are secrets from now on."""
        self.docker.mkdir(exist_ok=True)
        entries = {}
        for host, (user, password) in auths.items():
            encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
            entries[host] = {"auth": encoded}
            self.secrets += [password, encoded]
        (self.docker / "config.json").write_text(json.dumps({"auths": entries, **more}))

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )

    def __call__(self, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        done = super().__call__(*words, **more)
        self.look(done.stdout + done.stderr)
        return done

    def look(self, output: bytes) -> None:
        """Fail when an output holds a secret."""
        for secret in self.secrets:
            assert secret.encode() not in output, f"a secret is told: {output.decode(errors='replace')[-3000:]}"

    def fails(self, *words: str, code: int = 1, timeout: float = 60, most: int = 200 * MIB) -> str:
        """Run a command that must fail, with little memory and one clear line (and perhaps a hint); return that."""
        process = self.begin(*words)
        peak = watched(process)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"underlay {' '.join(words)} does not end: {out[-500:]!r} {err[-500:]!r}")
        self.look(out + err)
        text = err.decode()
        assert process.returncode == code, f"exit {process.returncode}: {out.decode()[-500:]}{text[-2000:]}"
        assert peak() < most, f"{peak() >> 20} MiB"
        lines = [line for line in text.splitlines() if not line.startswith("hint: ")]
        if "-D" not in words:
            assert len(lines) == 1 and lines[0].startswith("underlay: "), text
            assert "Traceback" not in text
        for letter in (out.decode() + text).replace("\n", ""):
            assert letter.isprintable(), f"{letter!r} in {out!r} {err!r}"
        return text

    def is_empty(self) -> None:
        """Fail when the store holds anything: an image, a layer, a document, the beginning of one."""
        assert self.out("images", "-aq") == ""
        assert self.files() == []

    def files(self) -> list[str]:
        """The files and directories in the store that hold content, relative to the root."""
        found = []
        for name in ("layers", "blobs/sha256", "blobs/sha512", "indexes", "trees", "tmp"):
            directory = self.root / name
            if directory.is_dir():
                found += [f"{name}/{each.name}" for each in directory.iterdir()]
        return sorted(found)

    def partials(self) -> dict[str, int]:
        """What interrupted downloads have left: digest → bytes."""
        return {
            each.name.removeprefix("partial-").replace("-", ":"): each.stat().st_size
            for each in (self.root / "tmp").glob("partial-*")
        }


def watched(process: subprocess.Popen[bytes]) -> Any:
    """Follow the memory of a process until it ends; returns a function that says the most it had (bytes)."""
    most = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                if line.startswith("VmHWM"):
                    most[0] = max(most[0], int(line.split()[1]) << 10)
            if process.returncode is not None:
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()

    def peak() -> int:
        ended.set()
        thread.join(5)
        return most[0]

    return peak
