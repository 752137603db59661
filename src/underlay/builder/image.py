"""The configuration and history that a stage has so far (OCI image configuration)."""

from __future__ import annotations

from ..human import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..dockerfile.metadata import Execution
    from ..oci.configuration import Configuration
    from ..oci.configuration import Step as Entry
    from ..oci.platform import Platform
    from ..store.rows.images import ImageRow
    from .filesystem import Filesystem

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMENT = "buildkit.dockerfile.v0"  # by which tools tell this form of history
# Members of `config` that an image built on another takes over (docker's image specification).
_EXECUTION = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Memory",
    "MemorySwap",
    "CpuShares",
    "Healthcheck",
    "OnBuild",
    "StopTimeout",
    "Shell",
)


class Base:
    """The image that a stage begins with: as it was named (normalised), and what it was then."""

    __slots__ = ("image", "name")

    def __init__(self, name: str, image: ImageRow) -> None:
        self.name = name
        self.image = image


class Step:
    """An entry of a history. `created` is ns since the epoch, None for what changes no file; or the base's own text."""

    __slots__ = ("base_entry", "created", "empty", "written")

    def __init__(self, base_entry: Entry | None, written: str, created: int | None, empty: bool) -> None:
        self.base_entry = base_entry  # an entry of the base's, taken over as it is
        self.written = written
        self.created = created
        self.empty = empty


class State:
    """Where a stage stands after some of its instructions.

    `arguments` are its ARGs in order, None for those unset; `variables` is what `$name` means: of an ENV and an ARG of one
    name the later one counts, as with BuildKit, whatever the Dockerfile reference says.
    """

    __slots__ = (
        "arguments",
        "author",
        "base",
        "command_set",
        "execution",
        "filesystem",
        "history",
        "other",
        "platform",
        "variables",
    )

    def __init__(self, platform: Platform, filesystem: Filesystem) -> None:
        self.platform = platform
        self.filesystem = filesystem
        self.execution: Execution = {"Env": [PATH], "WorkingDir": "/"}
        self.variables: dict[str, str] = self.environment()
        self.author = ""
        self.history: list[Step] = []
        self.base: Base | None = None
        self.arguments: dict[str, str | None] = {}
        self.command_set = False
        self.other: Configuration = {}  # members of the base's configuration beside these, such as os.version

    def copy(self) -> State:
        """Return a state to go on from, for a stage on this stage."""
        other = State(self.platform, self.filesystem)
        other.execution = {key: _copied(value) for key, value in self.execution.items()}
        other.author = self.author
        other.history = list(self.history)
        other.base = self.base
        other.arguments = dict(self.arguments)
        other.variables = dict(self.variables)
        other.other = self.other.copy()
        return other

    def environment(self) -> dict[str, str]:
        """Return ENV."""
        return dict(pair.partition("=")[::2] for pair in self.execution.get("Env") or [])

    def set_variable(self, name: str, value: str) -> None:
        """Set what `$name` means; steps are given it behind all others, as with BuildKit."""
        self.variables.pop(name, None)
        self.variables[name] = value

    def record(self, written: str, created: int | None = None) -> None:
        """Add to the history; with `created` the entry of a layer."""
        self.history.append(Step(None, written, created, created is None))


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value


def taken_over(state: State, config: Configuration) -> None:
    """Begin with the configuration of a base."""
    execution: dict[str, object] = {**(config.get("config") or {})}
    state.execution = {key: execution[key] for key in _EXECUTION if execution.get(key) not in (None, "", [], {})}
    if not any(pair.startswith("PATH=") for pair in state.execution.get("Env") or []):
        state.execution["Env"] = [*(state.execution.get("Env") or []), PATH]
    state.variables = state.environment()
    state.author = config.get("author") or ""
    state.history = [
        Step(history_entry.copy(), "", None, bool(history_entry.get("empty_layer")))
        for history_entry in config.get("history") or []
        if history_entry
    ]
    state.other = {}
    if config.get("os.version"):
        state.other["os.version"] = config["os.version"]
    if config.get("os.features"):
        state.other["os.features"] = config["os.features"]


def configuration(state: State, diff_ids: list[str], labels: dict[str, str], epoch: int | None) -> Configuration:
    """Return the image's configuration.

    Times of entries that change no file are those of the layer before them, or of the first new layer: so the same
    layers give the same image whenever it is put together.
    """
    execution = dict(state.execution)
    if labels:
        execution["Labels"] = {**(execution.get("Labels") or {}), **labels}
    history = _timed(state.history, epoch)
    platform = state.platform.brief
    config: Configuration = {"architecture": platform.architecture}
    if platform.variant:
        config["variant"] = platform.variant
    config["os"] = platform.os
    config |= state.other
    if state.author:
        config["author"] = state.author
    created = history[-1].get("created") if history else None
    if epoch is not None:
        created = _written(epoch * 1_000_000_000)
    if created:
        config["created"] = created
    filled: Any = {key: value for key, value in execution.items() if value not in (None, [], {}, "")}
    config["config"] = filled
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    config["history"] = history
    return config


def _timed(steps: list[Step], epoch: int | None) -> list[Entry]:
    times = [step.base_entry.get("created") if step.base_entry else _moment(step.created, epoch) for step in steps]
    current = None
    missing = False
    for time in times:
        if time:
            current = time
            if missing:
                break
        else:
            missing = True
    entries: list[Entry] = []
    missing = False
    for step, time in zip(steps, times, strict=True):
        if time:
            if missing:
                current = time
        else:
            missing = True
            time = current
        if step.base_entry is not None:
            base_entry = step.base_entry.copy()
            if time:
                base_entry["created"] = time
            entries.append(base_entry)
            continue
        entry: Entry = {"created": time} if time else {}
        entry["created_by"], entry["comment"] = step.written, COMMENT
        if step.empty:
            entry["empty_layer"] = True
        entries.append(entry)
    return entries


def _moment(created: int | None, epoch: int | None) -> str | None:
    if created is None:
        return None
    return _written(created if epoch is None else min(created, epoch * 1_000_000_000))


def _written(moment: int) -> str:
    """Return a time (ns since the epoch) as Go writes it: without zeros at the end of the fraction."""
    return rfc3339(moment).rstrip("Z").rstrip("0").rstrip(".") + "Z"
