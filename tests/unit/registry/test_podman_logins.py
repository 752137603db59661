"""Logins in podman's files, which are looked at after docker's: which file, and which part of a repository, counts."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from underlay.errors import InvalidInput
from underlay.registry import credentials as credentials_
from underlay.registry.credentials import Credential, Store

SECRET = "s3cr3t-never-shown"

pytestmark = pytest.mark.usefixtures("home")


def podmans(path: Path, auths: dict[str, str], **more: object) -> Path:
    """Write a file as podman has it: a user for each key; the password is the key again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {k: {"auth": base64.b64encode(f"{user}:{k}".encode()).decode()} for k, user in auths.items()}
    path.write_text(json.dumps({"auths": entries, **more}))
    return path


def user(host: str, repository: str = "") -> str:
    found = Store().get(host, repository)
    return found.username if found else ""


def test_podmans_files_come_after_dockers(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = podmans(home / "xdg/containers/auth.json", {"h": "kept", "only.kept": "kept"})
    assert (user("h"), Store().elsewhere("h")) == ("kept", str(kept))
    run = podmans(tmp_path / "run/containers/auth.json", {"h": "run", "docker.io": "hub"})
    assert [user(host) for host in ("h", "only.kept", "docker.io", "no")] == ["run", "kept", "hub", ""]
    assert Store().hosts() == ["docker.io", "h", "only.kept"]
    podmans(home / ".docker/config.json", {"h": "docker"})
    assert [user(host) for host in ("h", "only.kept")] == ["docker", "kept"]
    assert Store().elsewhere("h") == str(run)
    assert Store().elsewhere("https://index.docker.io/v1/") == str(run)
    podmans(run, {"https://old.form/v1/": "u", "in.part/team": "u"})
    assert [Store().elsewhere(host) for host in ("old.form", "in.part", "team", "h")] == [str(run)] * 2 + [
        "",
        str(kept),
    ]
    # $DOCKER_CONFIG names the one place to look.
    monkeypatch.setenv("DOCKER_CONFIG", str(podmans(tmp_path / "docker/config.json", {"h": "own"}).parent))
    assert [user(host) for host in ("h", "only.kept", "docker.io")] == ["own", "", ""]
    assert Store().elsewhere("h") == ""


def test_where_podman_keeps_logins_without_a_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert credentials_.podmans() == [
        f"/run/containers/{os.getuid()}/auth.json",
        f"{home}/.config/containers/auth.json",
    ]


def test_one_file_for_all(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    podmans(home / ".docker/config.json", {"h": "docker"})
    podmans(home / "xdg/containers/auth.json", {"h": "kept"})
    place = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(place))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    assert user("h") == ""
    assert Store().put("h", Credential("alice", SECRET)) == str(place)
    podmans(place, {"h": "file", "h/team": "team"})
    assert (user("h"), user("h", "team/app")) == ("file", "team")
    assert Store().erase("h")
    assert (user("h"), user("h", "team/app")) == ("", "team")
    assert json.loads((home / ".docker/config.json").read_text())["auths"]["h"]


def test_the_largest_part_of_a_repository_counts(home: Path, tmp_path: Path) -> None:
    podmans(
        tmp_path / "run/containers/auth.json",
        {"h": "all", "h/team": "team", "h/team/app": "app", "h/team/app/deep": "deep", "h:5000/x": "port"},
    )
    asked = ("", "other", "team", "team/b", "team/app", "team/apple", "team/app/x", "team/app/deep/y", "x")
    assert [user("h", each) for each in asked] == ["all", "all", "team", "team", "app", "team", "app", "deep", "all"]
    assert [user("h:5000", each) for each in ("x/y", "y")] == ["port", ""]
    assert [Store().part("h", each) for each in ("other", "team/b", "team/app/x")] == ["", "team", "team/app"]
    assert Store().elsewhere("h:5000")
    # Docker's own file knows no parts, and comes first.
    podmans(home / ".docker/config.json", {"h/team": "docker", "other/team": "docker"})
    assert (user("h", "team/b"), user("other", "team/b")) == ("team", "")
    podmans(home / ".docker/config.json", {"h": "docker"})
    assert user("h", "team/b") == "docker"


def test_a_broken_file_of_podmans_is_named(home: Path, tmp_path: Path) -> None:
    path = podmans(tmp_path / "run/containers/auth.json", {"h/team": "u"})
    path.write_text(path.read_text().replace('"auth": "', '"auth": "!'))
    with pytest.raises(InvalidInput, match=rf'{path}: auths\["h/team"\].auth: expected base64'):
        Store().get("h", "team/app")
    assert Store().get("h", "other") is None
    path.write_text("{")
    for ask in (lambda: Store().get("h"), lambda: Store().part("h", "a"), lambda: Store().elsewhere("h")):
        with pytest.raises(InvalidInput, match=f"{path}: not JSON"):
            ask()
