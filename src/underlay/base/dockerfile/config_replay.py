"""Replays the steps of an image by our builder's rules: the configuration after each step, and what no step has set."""

from __future__ import annotations

import msgspec

from ...dockerfile import instructions as it
from ...dockerfile import metadata
from ...dockerfile.problems import DockerfileError
from . import instruction_writer
from .history_parser import StepContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ...oci.config import Config

# What builders give an image whose base has no PATH.
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WORDS = (("User", "USER", "root"), ("WorkingDir", "WORKDIR", "/"), ("StopSignal", "STOPSIGNAL", ""))
_COMMANDS = (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD"), ("Shell", "SHELL"))
_TIMES = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start-period",
    "StartInterval": "start-interval",
}


class Following:
    """The configuration as the steps so far lead to it: `state` is the `config` member, `wanted` that of the image, and
    `context` what is known for reading the next step."""

    def __init__(self, config: Config) -> None:
        execution = msgspec.to_builtins(config.config) if config.config is not None else {}
        self.wanted: dict[str, Any] = {key: value for key, value in execution.items() if value}
        if "Healthcheck" in self.wanted:
            self.wanted["Healthcheck"] = {key: value for key, value in self.wanted["Healthcheck"].items() if value}
        self.state: dict[str, Any] = {}
        self.context = StepContext()
        self.context.env = metadata.environment_of(self.wanted)
        self.context.labels = self.wanted.get("Labels") or {}
        self.context.volumes = list(self.wanted.get("Volumes") or ())
        self.context.commands = [self.wanted[key] for key, _ in _COMMANDS if self.wanted.get(key)]
        self._command_given = False
        self._configured = config.config is not None

    def begin(self, inherited: Mapping[str, Any]) -> None:
        """Begin as a stage does, with a base's `config` member."""
        self.state = {key: value for key, value in inherited.items() if value and key != "OnBuild"}
        if not any(pair.startswith("PATH=") for pair in self.state.get("Env") or ()):
            self.state["Env"] = [*(self.state.get("Env") or ()), _PATH]
        self._know()

    def _know(self) -> None:
        self.context.variables = metadata.environment_of(self.state)
        self.context.shell = metadata.shell_of(self.state)

    def follow(self, text: str, word: str) -> str:
        """Take an instruction for done. Returns what a builder would have against it, "" for nothing."""
        instruction = instruction_writer.read_back(text)
        if instruction is None or instruction.keyword != word.lower():
            return "this cannot be written in a Dockerfile"
        try:
            expanded = it.expand(instruction, self.context.get)
            self.state = metadata.apply(expanded, self.state, self._command_given)
        except DockerfileError as error:
            return error.problem
        if isinstance(expanded, it.Arg):
            self.context.arguments.update(expanded.arguments)
        self._command_given = self._command_given or isinstance(expanded, it.Cmd)
        self._know()
        return ""

    def is_spent(self, text: str) -> bool:
        """Tell whether an ONBUILD is of a stage or base below another one, which has taken it for a step of its own."""
        return self._configured and text.removeprefix("ONBUILD ") not in (self.wanted.get("OnBuild") or ())

    def differences(self, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the instructions that lead from `state` to `wanted`, each with what it is about; "" for what none can do.

        Each must be followed before the next is asked for: ENTRYPOINT drops the CMD of a base.
        """
        yield from self._pairs("ENV", self.context.variables, metadata.environment_of(dict(wanted)))
        yield from self._pairs("LABEL", self.state.get("Labels") or {}, wanted.get("Labels") or {})
        for key, word, nothing in _WORDS:
            before, after = self.state.get(key) or "", wanted.get(key) or ""
            if before != after and (after or nothing) != (before or nothing):
                text = instruction_writer.word(word, after or nothing) if after or nothing else ""
                yield text, f"{word} {after}"
        for key, word in _COMMANDS:
            before, after = self.state.get(key) or [], wanted.get(key) or []
            if list(before) != list(after):
                after = after or (list(metadata.DEFAULT_SHELL) if key == "Shell" else [])
                yield instruction_writer.command(word, after), f"{word} {' '.join(after)}"
        yield from self._sets(wanted)
        if (wanted.get("Healthcheck") or {}) != (self.state.get("Healthcheck") or {}):
            yield _health(wanted.get("Healthcheck") or {}), "HEALTHCHECK"
        for trigger in list(wanted.get("OnBuild") or ())[len(self.state.get("OnBuild") or ()) :]:
            yield instruction_writer.trigger(trigger), f"ONBUILD {trigger}"

    def _pairs(self, word: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        for name, value in after.items():
            if before.get(name) != value:
                yield instruction_writer.pairs(word, [(name, value)]), f"{word} {name}={value}"
        for name in before:
            if name not in after and (word, name) != ("ENV", "PATH"):
                yield "", f"{word} {name} is not there any more"

    def _sets(self, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for key, word in (("ExposedPorts", "EXPOSE"), ("Volumes", "VOLUME")):
            before, after = self.state.get(key) or {}, wanted.get(key) or {}
            more = sorted(set(after) - set(before))
            if more:
                text = instruction_writer.ports(more) if word == "EXPOSE" else instruction_writer.volumes(more)
                yield text, f"{word} {' '.join(more)}"
            for name in sorted(set(before) - set(after)):
                yield "", f"{word} {name} is not there any more"


def _health(check: Mapping[str, Any]) -> str:
    test = check.get("Test") or ["NONE"]
    flags = [f"--{flag}={check[key] / 1e9:.9g}s" for key, flag in _TIMES.items() if check.get(key)]
    if check.get("Retries"):
        flags.append(f"--retries={check['Retries']}")
    return instruction_writer.health(test, flags)
