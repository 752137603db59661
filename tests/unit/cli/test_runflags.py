"""From the words of `run` to the options of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from underlay.cli import flags
from underlay.cli.commands.container import exec
from underlay.cli.commands.lifecycle import create, run
from underlay.cli.flags import runflags
from underlay.cli.main import main
from underlay.engine.options import ContainerOptions
from underlay.errors import UnderlayError


def wish(*words: str) -> dict:
    options, arguments = flags.parse("run", run.FLAGS, list(words), False)
    return runflags.container_options_of(options, arguments)


def test_what_is_not_said_is_not_set() -> None:
    assert wish("img") == {"image": "img"}
    assert wish("img", "cmd", "-x") == {"image": "img", "command": ["cmd", "-x"]}


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-it"], "terminal", True),
        (["--rm"], "remove", True),
        (["--rm=false"], "remove", False),
        (["-m", "1g"], "memory", 1 << 30),
        (["--memory-swap", "-1"], "memory_swap", -1),
        (["--shm-size", "64k"], "shm_size", 64 << 10),
        (["--cpus", "1.5"], "cpus", 1.5),
        (["--pids-limit=-1"], "pids_limit", -1),
        (["--network", "host"], "network", "host"),
        (["--net=none"], "network", "none"),
        (["--entrypoint", "a b"], "entrypoint", ["a b"]),
        (["--entrypoint", ""], "entrypoint", []),
        (["-l", "a=b=c", "-l", "d"], "labels", {"a": "b=c", "d": ""}),
        (["--sysctl", "net.x=1"], "sysctls", {"net.x": "1"}),
        (["--log-opt", "max-size=1m"], "log_options", {"max-size": "1m"}),
        (["-v", "/a:/b", "-v", "c:/d"], "volumes", ["/a:/b", "c:/d"]),
        (["-e", "A=1", "-e", "B="], "environment", ["A=1", "B="]),
        (["-h", "name"], "hostname", "name"),
    ],
)
def test_flags(words: list[str], name: str, value: object) -> None:
    assert wish(*words, "img")[name] == value


def test_every_flag_has_an_option() -> None:
    for option in [*runflags._PLAIN.values(), *runflags._SIZES.values()]:
        assert hasattr(ContainerOptions, option), option
    known = {flag[0] for flag in runflags.COMMON}
    assert set(runflags._PLAIN) | set(runflags._SIZES) | set(runflags._DURATIONS) <= known
    elsewhere = {
        "add-host",
        "attach",
        "dns-opt",
        "annotation",
        "cidfile",
        "cpus",
        "entrypoint",
        "env",
        "env-file",
        "label",
    }
    elsewhere |= {"label-file", "log-opt", "network", "net", "quiet", "storage-opt", "sysctl", "kernel-memory"}
    elsewhere |= {"isolation", "disable-content-trust", "runtime"}
    assert known <= set(runflags._PLAIN) | set(runflags._SIZES) | set(runflags._DURATIONS) | elsewhere
    for module in (run, create, exec):
        names = [flag[0] for flag in module.FLAGS]
        shorts = [flag[1] for flag in module.FLAGS if flag[1]]
        assert len(names) == len(set(names)) and len(shorts) == len(set(shorts))
        assert module.SYNOPSIS and module.SUMMARY


@pytest.mark.parametrize(
    "words",
    [
        ["--cpus", "many", "img"],
        ["--cpus", "nan", "img"],
        ["--cpus", "inf", "img"],
        ["--cpus", "-1", "img"],
        ["-m", "1x", "img"],
        ["-m", "", "img"],
        ["--shm-size", "-5", "img"],
        ["-l", "=x", "img"],
        ["--sysctl", "net.x", "img"],
        ["--log-opt", "x", "img"],
    ],
)
def test_refused(words: list[str]) -> None:
    with pytest.raises(UnderlayError):
        wish(*words)


def test_bare_variables_take_the_value_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "yes\nand=no")
    monkeypatch.delenv("NOT_HERE", raising=False)
    assert wish("-e", "HERE", "-e", "NOT_HERE", "img")["environment"] == ["HERE=yes\nand=no", "NOT_HERE"]


def test_environment_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "1")
    monkeypatch.delenv("NOT_HERE", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# comment\n\nA=1 # no comment\n  B=x=y\nHERE\nNOT_HERE\nC=\nQ='\"'\n", encoding="utf-8")
    found = wish("--env-file", str(file), "-e", "A=2", "img")["environment"]
    assert found == ["A=1 # no comment", "B=x=y", "HERE=1", "C=", "Q='\"'", "A=2"]
    for text in ("A B=1\n", "=1\n"):
        file.write_text(text)
        with pytest.raises(UnderlayError, match=r"env:1: variable"):
            wish("--env-file", str(file), "img")
    file.write_bytes(b"A=\xff\n")
    with pytest.raises(UnderlayError, match="open "):
        wish("--env-file", str(file), "img")
    with pytest.raises(UnderlayError, match="No such file"):
        wish("--env-file", str(tmp_path / "none"), "img")


@pytest.mark.parametrize(
    ("text", "terminal", "keys"),
    [
        ("", True, b"\x10\x11"),
        ("", False, b""),
        ("ctrl-a", True, b"\x01"),
        ("ctrl-a,x", False, b"\x01x"),
        ("ctrl-@,ctrl-[,ctrl-_", True, b"\x00\x1b\x1f"),
        ("a,b,c", True, b"abc"),
    ],
)
def test_detach_keys(text: str, terminal: bool, keys: bytes) -> None:
    assert runflags.detach_keys(text, terminal) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrl-ab", "shift-a", "a,,b", "ctrl-é"])
def test_detach_keys_refused(text: str) -> None:
    with pytest.raises(UnderlayError, match="invalid detach keys"):
        runflags.detach_keys(text, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nope"], 1, "unknown command: underlay nope"),
        (["run", "--nope"], 125, "unknown flag: --nope"),
        (["ps", "--nope"], 125, "unknown flag: --nope"),
        (["container", "nope"], 1, "unknown command: underlay container nope"),
        (["nope"], 1, "hint: see `underlay --help`"),
        (["--nope"], 125, "unknown flag: --nope"),
        (["run"], 1, "requires at least 1 argument"),
        (["exec", "x"], 1, "requires at least 2 arguments"),
        (["--root"], 125, "flag needs an argument: --root"),
    ],
)
def test_exit_codes(
    words: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("UNDERLAY_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("UNDERLAY_STATE", str(tmp_path / "state"))
    assert main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("underlay: ") and text in error


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["run", "--help"], ["--help"], ["help", "ps"]])
def test_help_goes_to_standard_output(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    assert capsys.readouterr().out


def test_a_group_without_a_command_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """As with docker this is no failure, and no output that a program would read."""
    for words, stream in ((["container"], "err"), (["container", "--help"], "out")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        seen = capsys.readouterr()
        assert "Commands:" in getattr(seen, stream) and "" in (seen.out, seen.err)
