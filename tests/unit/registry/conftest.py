"""For the tests of the registry client: no settings, certificates or proxies of this host; pauses that pass at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.registry.transport import Transport


@pytest.fixture(autouse=True)
def nothing_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "no-certs.d"))
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/dev/null")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made, in seconds; none is."""
    made: list[float] = []

    def pause(transport: Transport, seconds: float) -> None:
        made.append(seconds)
        transport.check()

    monkeypatch.setattr(Transport, "pause", pause)
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own; nothing of the real one is in the environment."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    return home
