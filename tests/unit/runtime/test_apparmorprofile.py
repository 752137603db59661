"""The default AppArmor profile: its text against the gathered facts, compiling, keeping and loading with fakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engines import SHARED
from underlay import events
from underlay.errors import KernelError, UnderlayError
from underlay.linux.security import apparmor
from underlay.runtime.policy import apparmor_profile, profiles

FACTS = SHARED / "data" / "container-defaults.json"


class Host:
    """A host with AppArmor: what is loaded, how often its parser has been run."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.root, self.state = str(place / "root"), str(place / "state")
        self.loads: list[bytes] = []
        self.names: set[str] = set()
        self.features = b"/caps/mask=chown"
        self.label = ""
        self.parser = place / "bin" / "apparmor_parser"
        self.parser.parent.mkdir()
        self.install()
        monkeypatch.setenv("PATH", str(self.parser.parent))
        monkeypatch.setattr(apparmor_profile, "find_parser", lambda: str(self.parser) if self.parser.exists() else "")
        monkeypatch.setattr(apparmor, "enabled", lambda: True)
        monkeypatch.setattr(apparmor, "loaded", lambda name: name in self.names)
        monkeypatch.setattr(apparmor, "features", lambda: self.features)
        monkeypatch.setattr(apparmor, "own_label", lambda: self.label)
        monkeypatch.setattr(apparmor, "load", self.load)

    def install(self, word: str = "one") -> None:
        count = self.place / "count"
        self.parser.write_text(f'#!/bin/sh\necho "$*" >>{count}\nprintf "policy {word} of "\n/bin/cat\n')
        self.parser.chmod(0o755)

    def load(self, policy: bytes) -> None:
        self.loads.append(policy)
        self.names.add(apparmor_profile.NAME)

    def reboot(self) -> None:
        self.names.clear()
        self.loads.clear()
        for path in Path(self.state).glob("*"):
            path.unlink()

    @property
    def compiled(self) -> int:
        try:
            return len((self.place / "count").read_text().splitlines())
        except FileNotFoundError:
            return 0

    def ensure(self) -> str:
        return apparmor_profile.ensure(self.root, self.state)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


# The text.


def rules(text: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^  deny (/\S+) (\w+),$", text, re.M))


@pytest.mark.skipif(not FACTS.exists(), reason="no facts beside the checkout")
def test_it_denies_what_the_facts_list() -> None:
    facts = json.loads(FACTS.read_text())["apparmor_docker_default"]
    text = apparmor_profile.text()
    wanted = {(r["path"].replace("@{PROC}", "/proc"), r["perm"]) for r in facts["deny"] if "path" in r}
    assert rules(text) == wanted
    for rule in (r["rule"] for r in facts["deny"] if "rule" in r):
        assert f"  deny {rule}," in text
    for word in ("network", "capability", "file", "umount"):
        assert word in facts["allow"] and f"\n  {word}," in text
    assert ",".join(facts["flags"]) in text


def test_signals_come_from_outside_and_within() -> None:
    text = apparmor_profile.text("p", ("engine//child", "x"))
    assert 'profile "p" ' in text and 'signal (send,receive) peer="p",' in text
    for peer in ("unconfined", "engine//child", "x"):
        assert f'signal (receive) peer="{peer}",' in text
    assert 'ptrace (trace,read,tracedby,readby) peer="p",' in text


def test_the_set_of_features_is_pinned_where_the_parser_knows_it() -> None:
    assert apparmor_profile.text(abi=True).startswith("abi <abi/3.0>,\n")
    assert apparmor_profile.text().startswith("profile ")
    assert apparmor_profile.NAME == profiles.APPARMOR


# Compiling, keeping, loading.


def test_compiled_once_loaded_once(host: Host) -> None:
    assert apparmor_profile.available(host.root)
    assert host.ensure() == "" and host.ensure() == ""
    assert host.compiled == 1 and len(host.loads) == 1
    assert host.loads[0].startswith(b"policy one of ") and b'profile "underlay-default"' in host.loads[0]
    assert (host.place / "count").read_text() == "--skip-kernel-load --skip-cache --stdout\n"
    kept = Path(apparmor_profile.cache_path(host.root))
    assert kept.stat().st_mode & 0o777 == 0o600 and kept.parent.stat().st_mode & 0o777 == 0o700


def test_after_a_reboot_the_kept_one_is_loaded_without_the_parser(host: Host) -> None:
    host.ensure()
    first = host.loads[0]
    host.reboot()
    host.parser.unlink()
    assert host.ensure() == "" and host.loads == [first] and host.compiled == 1


@pytest.mark.parametrize("change", ["features", "parser", "label", "version"])
def test_compiled_anew_when_something_has_changed(host: Host, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host.ensure()
    host.reboot()
    if change == "features":
        host.features += b" kill"
    elif change == "parser":
        host.install("two, longer")
    elif change == "label":
        host.label = "confined-engine"
    else:
        monkeypatch.setattr(apparmor_profile, "VERSION", 99)
    assert host.ensure() == "" and host.compiled == 2
    assert (b'peer="confined-engine"' in host.loads[0]) == (change == "label")


def test_one_that_somebody_has_unloaded_is_loaded_again(host: Host) -> None:
    host.ensure()
    host.names.clear()
    assert host.ensure() == "" and len(host.loads) == 2 and host.compiled == 1


@pytest.mark.parametrize("damage", [b"", b"x", b"underlay-apparmor 1\n", None])
def test_damage_is_no_policy(host: Host, damage: bytes | None) -> None:
    host.ensure()
    path = Path(apparmor_profile.cache_path(host.root))
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    host.reboot()
    assert host.ensure() == "" and host.compiled == 2
    host.reboot()
    path.write_bytes(b"x")
    host.parser.unlink()
    assert "not installed" in host.ensure() and host.loads == []


def test_features_of_another_kernel_without_a_parser(host: Host) -> None:
    host.ensure()
    host.reboot()
    host.features = b"another"
    host.parser.unlink()
    assert "not installed" in host.ensure() and host.loads == []
    # Loaded by somebody else it is good enough.
    host.names.add(apparmor_profile.NAME)
    assert host.ensure() == ""


def test_what_the_parser_says_is_told(host: Host) -> None:
    host.parser.write_text("#!/bin/sh\necho 'syntax error in line 3' >&2\nexit 1\n")
    assert "syntax error in line 3" in host.ensure()
    host.parser.write_text("#!/bin/sh\n")
    assert "has returned no policy" in host.ensure()
    host.parser.write_text("no program")
    with pytest.raises(KernelError, match="run"):
        apparmor_profile.compile_policy(str(host.parser), "")


def test_a_kernel_that_refuses(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(policy: bytes) -> None:
        raise KernelError("load AppArmor policy", "/x", 1)

    monkeypatch.setattr(apparmor, "load", refuse)
    assert "not permitted" in host.ensure()


def test_the_warning_comes_once(host: Host) -> None:
    heard: list[events.Event] = []
    for _ in range(2):
        apparmor_profile.warn_once(host.state, "no parser", heard.append)
    assert len(heard) == 1 and heard[0].kind == "host.warning" and "no parser" in str(heard[0].attributes["message"])
    apparmor_profile.warn_once(host.state, "another reason", heard.append)
    host.reboot()
    apparmor_profile.warn_once(host.state, "another reason", heard.append)
    assert len(heard) == 3


# What the kernel shows.


def test_lists_labels_and_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "SECURITYFS", str(tmp_path))
    assert apparmor.loaded("a") is None
    (tmp_path / "profiles").write_text("a-b (enforce)\nc (complain)\n/usr/bin/x//y (enforce)\n")
    assert [apparmor.loaded(name) for name in ("a-b", "c", "/usr/bin/x//y", "a", "b", "y")] == [True] * 3 + [False] * 3
    (tmp_path / "features" / "caps").mkdir(parents=True)
    (tmp_path / "features" / "caps" / "mask").write_text("chown  kill\n")
    (tmp_path / "features" / "abi").write_text("1\n")
    assert apparmor.features() == b"/abi=1\n/caps/mask=chown kill"
    (tmp_path / ".replace").write_bytes(b"")
    apparmor.load(b"policy")
    assert (tmp_path / ".replace").read_bytes() == b"policy"
    (tmp_path / ".replace").unlink()
    with pytest.raises(KernelError):
        apparmor.load(b"policy")
    assert apparmor.request("p q") == b"exec p q" and apparmor.request_now("p") == b"changeprofile p"


def test_a_host_without() -> None:
    if apparmor.enabled():
        pytest.skip("this host has AppArmor")
    assert not apparmor_profile.available("/nowhere") and apparmor.loaded(apparmor_profile.NAME) is None
    with pytest.raises(UnderlayError):
        apparmor.load(b"not a policy")
