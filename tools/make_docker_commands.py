"""Writes docs/reference/docker-commands.md: docker's commands and flags, as its own --help has them, beside ours.

Needs docker's client with buildx. What differs, and why something is not there, stands in the tables below.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "docker-commands.md"

# Why commands are not there, by the words that they begin with.
ABSENT = {
    "builder create": "there is one builder",
    "builder dial-stdio": "there is no BuildKit to connect to",
    "builder imagetools": "`buildx imagetools`",
    "builder rm": "there is one builder",
    "builder stop": "there is one builder, and it does not run between builds",
    "builder version": "`version`",
    "buildx create": "there is one builder",
    "buildx dial-stdio": "there is no BuildKit to connect to",
    "buildx rm": "there is one builder",
    "buildx stop": "there is one builder, and it does not run between builds",
    "checkpoint": "needs criu, and is not done yet",
    "config": "of Swarm",
    "context": "there is no daemon to choose",
    "node": "of Swarm",
    "plugin": "volumes and networks have no plugins of docker's kind; networks of CNI are `--network cni:NAME`",
    "secret": "of Swarm",
    "service": "of Swarm",
    "stack": "of Swarm",
    "swarm": "of Swarm",
    "trust": "of Notary; signatures of sigstore are checked by `pull --verify` and the trust policy",
    "volume update": "of Swarm",
}
# Why flags are not there, whatever command has them.
ABSENT_FLAGS = {
    "availability": "of Swarm",
    "checkpoint": "needs criu",
    "checkpoint-dir": "needs criu",
    "cluster": "of Swarm",
    "config-from": "networks without a configuration of their own are not done",
    "config-only": "networks without a configuration of their own are not done",
    "cpu-count": "of Windows",
    "cpu-percent": "of Windows",
    "progress": "a combination is one step",
    "group": "of Swarm",
    "ingress": "of Swarm",
    "io-maxbandwidth": "of Windows",
    "io-maxiops": "of Windows",
    "limit-bytes": "of Swarm",
    "link-local-ip": "no use for it is known",
    "required-bytes": "of Swarm",
    "scope": "of Swarm",
    "secret": "of Swarm",
    "sharing": "of Swarm",
    "topology-preferred": "of Swarm",
    "topology-required": "of Swarm",
    "type": "of Swarm",
}
# What is there and differs.
DIFFERENT = {
    "cp": "without `-a` set-id bits and devices are left out",
    "container cp": "without `-a` set-id bits and devices are left out",
    "diff": "directories that were made for mounts are not listed",
    "container diff": "directories that were made for mounts are not listed",
    "exec": "a command that is not there ends with 127",
    "container exec": "a command that is not there ends with 127",
    "info": "more members; `--format` has docker's too",
    "system info": "more members; `--format` has docker's too",
    "load": "manifests in OCI archives keep their digests",
    "image load": "manifests in OCI archives keep their digests",
    "logout": "says whether somebody was logged in",
    "network prune": "networks of stopped containers stay",
    "system prune": "networks of stopped containers stay",
    "update": "a limit may be set where there was none",
    "container update": "a limit may be set where there was none",
    "version": "one program, which `--format` shows as client and server",
}
DIFFERENT_FLAGS = {
    ("run", "link"): "a line of the hosts file, no variables",
    ("run", "init"): "a program in memory",
    ("run", "log-driver"): "local is the default",
    ("run", "cgroupns"): "always private by default",
    ("run", "runtime"): "a name is looked up on the PATH",
    ("run", "mac-address"): "needs a network",
}


_AS_RUN = ("create", "container create", "container run")


def docker_tree(words: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Return the flags of each of docker's commands below `words`, as its help lists them."""
    text = subprocess.run(["docker", *words, "--help"], capture_output=True, text=True, check=True).stdout
    commands: list[str] = []
    flags: list[str] = []
    section = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            section = line.rstrip(":")
        elif "Commands" in section and (found := re.match(r"  ([a-z][a-z-]*)\*?\s", line)):
            commands.append(found[1])
        elif section == "Options" and (found := re.match(r"\s+(?:-\w, )?\s*--([a-z][a-z0-9-]*)", line)):
            flags.append(found[1])
    if not commands:
        return {" ".join(words): flags}
    # Compose is a program of its own, which `underlay compose` runs.
    commands = [command for command in commands if command != "compose"]
    return {name: own for command in commands for name, own in docker_tree((*words, command)).items()}


def our_flags(command: str) -> set[str] | None:
    """Return the flags of our command of this name, None when there is none."""
    from underlay.cli.index import ALIASES, COMMANDS

    name = ALIASES.get(command, command)
    if name not in COMMANDS:
        return None
    module = importlib.import_module(f"underlay.cli.commands.{COMMANDS[name][0]}")
    return {flag[0] for flag in module.FLAGS} | {"help"}


def page(tree: dict[str, list[str]], version: str) -> str:
    """Return the text of the page. Raises KeyError for something that is not there without a reason."""
    rows, absent = [], []
    alike = 0
    for command, flags in tree.items():
        ours = our_flags(command)
        if ours is None:
            words = command.split()
            reason = next(r for n in (3, 2, 1) if (r := ABSENT.get(" ".join(words[:n]))))
            absent.append(f"| `{command}` | {reason} |")
            continue
        reasons: dict[str, list[str]] = {}
        missing = [flag for flag in flags if flag not in ours]
        for flag in missing:
            reasons.setdefault(ABSENT_FLAGS[flag], []).append(f"`--{flag}`")
        told = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
        other = [
            f"`--{flag}`: {DIFFERENT_FLAGS[command, flag]}" for flag in flags if (command, flag) in DIFFERENT_FLAGS
        ]
        other += [DIFFERENT[command]] if command in DIFFERENT else []
        if command in _AS_RUN:
            told, other = ["as `run`"], ["as `run`"]
        same = len(flags) - len(missing)
        alike += not missing and not other
        rows.append(f"| `{command}` | {same} of {len(flags)} | {'; '.join(other)} | {', '.join(told)} |")
    return "\n".join(
        (
            "# Docker's commands",
            "",
            f"Docker's client {version}, by its own `--help`: {len(tree)} commands. {len(rows)} are there, of these",
            f"{alike} with all flags and without a difference that is known. Made by `tools/make_docker_commands.py`.",
            "",
            "Some 430 command lines are run with docker and with underlay, one after the other, and compared: exit codes",
            "and output (`pytest tests/oracle/test_command_lines_oracle.py`). Those that differ stand in",
            "`tests/oracle/command_lines.txt`, each with its reason.",
            "",
            "| command | flags | differs | not there |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "## Not there",
            "",
            "| command | why |",
            "| --- | --- |",
            *absent,
            "",
        )
    )


def client_version() -> str:
    """Return the version of docker's client, major and minor."""
    words = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True).stdout.split()
    return ".".join(words[2].split(".")[:2])


def main() -> None:
    """Write the page."""
    sys.path.insert(0, str(ROOT / "src"))
    PAGE.write_text(page(docker_tree(), client_version()), encoding="utf-8")


if __name__ == "__main__":
    main()
