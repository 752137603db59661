"""The Dockerfile that would build an image: FROM its base, and the steps above it, with what their layers hold."""

from __future__ import annotations

from typing import Any

import msgspec

from . import saying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..oci.config import Config
    from ..store.toc import Entry
    from .saying import Said

_SHOWN = 5
_FILLED = frozenset(("RUN", "COPY", "ADD"))


class Line(msgspec.Struct, frozen=True):
    """One instruction: its `text`, the layer (diff id, "" for none) that it made, `holds` what that layer has in words,
    `doubt` what is not certain of it, and `extracted` the archive of its files that it names ("" for none)."""

    text: str
    layer: str = ""
    holds: str = ""
    doubt: str = ""
    extracted: str = ""


class Reconstruction(msgspec.Struct, frozen=True):
    """The lines, FROM first. `layers` are those whose files are named in lines, by the archive's name."""

    lines: tuple[Line, ...]
    layers: dict[str, str]

    @property
    def text(self) -> str:
        """The Dockerfile, with what layers hold and what is in doubt as comments."""
        written = []
        for line in self.lines:
            if line.holds:
                written.append(f"# {line.holds}")
            if line.doubt:
                written.append(f"# in doubt: {line.doubt}")
            written.append(line.text)
        return "\n".join(written) + "\n"

    @property
    def doubts(self) -> int:
        """How many lines are not certain."""
        return sum(bool(line.doubt) for line in self.lines)


class Contents(msgspec.Struct, frozen=True):
    """What a layer holds: its regular files as (path, size in bytes), and how many members it has in all."""

    files: tuple[tuple[str, int], ...]
    members: int
    removes: bool = False


def contents(entries: Sequence[Entry]) -> Contents:
    """Return what a table of contents tells of a layer."""
    from ..store.kinds import REGULAR

    files = []
    removes = False
    for entry in entries:
        name = entry.name.strip(b"/").removeprefix(b"./")
        if name.rpartition(b"/")[2].startswith(b".wh."):
            removes = True
        elif entry.kind == REGULAR:
            files.append(("/" + name.decode("utf-8", "replace"), entry.size))
    return Contents(tuple(files), len(entries), removes)


def reconstruct(
    config: Config,
    base: str,
    base_steps: int,
    base_layers: int,
    inherited: Mapping[str, Any] | None = None,
    held: Mapping[str, Contents] | None = None,
    extract: bool = False,
) -> Reconstruction:
    """Return the Dockerfile of an image on `base` ("scratch" for none), which has its first steps and layers.

    `inherited` is the base's `config` member where it is known. `held` tells what layers hold, by diff id; with `extract`
    what COPY and ADD have put there is named as archives to be written beside the Dockerfile.
    """
    work = _Work(config, held or {}, extract)
    work.lines.append(Line(f"FROM {base}"))
    work.state.update(inherited or {})
    diff_ids = config.diff_ids[base_layers:]
    steps = (config.history or [])[base_steps:]
    filled = sum(not step.empty_layer for step in steps)
    # A tool that appends layers without history leaves those at the end unsaid.
    for step in steps:
        layer = diff_ids.pop(0) if not step.empty_layer and diff_ids else ""
        work.step(step.created_by or "", layer)
    for layer in diff_ids:
        doubt = "the history says nothing of this layer" if filled else "there is no history of this layer"
        work.files("ADD", layer, doubt)
    if inherited is not None or base == "scratch":
        work.corrections()
    return Reconstruction(tuple(work.lines), work.archives)


def reached(config: Config, steps: int) -> dict[str, Any]:
    """Return the `config` member that the first `steps` of an image's history lead to."""
    work = _Work(config, {}, False)
    for step in (config.history or [])[:steps]:
        work.step(step.created_by or "", "")
    return work.state


class _Work:
    def __init__(self, config: Config, held: Mapping[str, Contents], extract: bool) -> None:
        import msgspec as codec

        execution = codec.to_builtins(config.config) if config.config is not None else {}
        self.wanted: dict[str, Any] = {key: value for key, value in execution.items() if value}
        self.lines: list[Line] = []
        self.archives: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        self._held = held
        self._extract = extract
        self._arguments: dict[str, str] = {}
        self._command_given = False
        self._environment = [pair.partition("=")[0] for pair in self.wanted.get("Env") or ()]
        self._labels = list(self.wanted.get("Labels") or {})

    def step(self, created_by: str, layer: str) -> None:
        """Add what a step said."""
        said = saying.read(created_by, self._environment, self._labels, self.wanted.get("Volumes") or ())
        self._follow(said)
        if said.word == "RUN":
            self._declare(said)
            self.lines.append(Line(said.line, layer, self._holds(layer), said.doubt))
        elif said.word in _FILLED:
            self.files(said.word, layer, said.doubt, said)
        elif said.word:
            self.lines.append(Line(said.line, layer, "", said.doubt))
        elif layer:
            self.files("ADD", layer, said.doubt, None, said.rest)
        else:
            self.lines.append(Line(f"# {said.rest}", "", "", said.doubt))

    def _declare(self, said: Said) -> None:
        """Build arguments that a step was run with are declared before it."""
        for name, value in said.arguments.items():
            if self._arguments.get(name) == value:
                continue
            self._arguments[name] = value
            line = f"ARG {name}={saying.quoted(value)}"
            place = next((n for n, each in enumerate(self.lines) if each.text.split("=")[0] == f"ARG {name}"), -1)
            if place >= 0:
                self.lines[place] = Line(line)
            else:
                self.lines.append(Line(line, doubt="it was given at build, and is no step of its own"))

    def files(self, word: str, layer: str, doubt: str, said: Said | None = None, note: str = "") -> None:
        """Add the files of a layer that a COPY or ADD made, or that nothing is known of."""
        holds = self._holds(layer) or note
        if self._extract and layer in self._held:
            name = f"layer-{len(self.archives) + 1}.tar"
            self.archives[name] = layer
            told = f"{said.line}: " if said is not None else ""
            self.lines.append(Line(f"ADD {name} /", layer, told + holds, "" if said is not None else doubt, name))
            return
        if said is None:
            self.lines.append(Line(f"ADD layer-{layer.rpartition(':')[2][:12]}.tar /", layer, holds, doubt))
        elif said.target:
            self.lines.append(Line(f"{word} {self._sources(said, layer)} {said.target}", layer, holds, said.doubt))
        else:
            self.lines.append(Line(said.line, layer, holds, said.doubt))

    def _sources(self, said: Said, layer: str) -> str:
        held = self._held.get(layer)
        if said.sources == "file" and held is not None and len(held.files) == 1:
            return held.files[0][0].rpartition("/")[2]
        return {"file": "./file", "dir": "./directory", "multi": "./files/"}[said.sources]

    def _holds(self, layer: str) -> str:
        from ..human import size

        held = self._held.get(layer)
        if held is None:
            return ""
        files = sorted(held.files, key=lambda each: -each[1])
        total = sum(each[1] for each in files)
        names = ", ".join(f"{path} ({size(count)})" for path, count in files[:_SHOWN])
        more = f", and {len(files) - _SHOWN} more files" if len(files) > _SHOWN else ""
        removes = "; it removes files of layers below" if held.removes else ""
        if not files:
            return f"{held.members} directories or links{removes}" if held.members else f"an empty layer{removes}"
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        return f"{size(total)} in {count}: {names}{more}{removes}"

    # What the configuration comes to

    def _follow(self, said: Said) -> None:
        """Keep what the steps lead to."""
        state, rest = self.state, said.rest
        if said.word == "ENV":
            pairs = dict(pair.partition("=")[::2] for pair in state.get("Env") or [])
            known = set(self._environment)
            pairs.update(saying.pairs(rest, known))
            state["Env"] = [f"{name}={value}" for name, value in pairs.items()]
        elif said.word == "LABEL":
            state["Labels"] = {**(state.get("Labels") or {}), **dict(saying.pairs(rest, set(self._labels)))}
        elif said.word in ("CMD", "ENTRYPOINT", "SHELL"):
            words = saying.listed(rest)
            state[said.word.title()] = words if words is not None else ["/bin/sh", "-c", rest]
            if said.word == "CMD":
                self._command_given = True
            elif said.word == "ENTRYPOINT" and not self._command_given:
                # An entrypoint makes the base's command meaningless (Dockerfile reference, CMD and ENTRYPOINT).
                state.pop("Cmd", None)
        elif said.word == "USER":
            state["User"] = rest
        elif said.word == "WORKDIR":
            before = state.get("WorkingDir") or "/"
            state["WorkingDir"] = rest if rest.startswith("/") else f"{before.rstrip('/')}/{rest}"
        elif said.word == "STOPSIGNAL":
            state["StopSignal"] = rest

    def corrections(self) -> None:
        """Say what the configuration has and no step has said: `docker commit --change`, and tools, leave no trace."""
        doubt = "the configuration has it, and no step says so"
        wanted, state = self.wanted, self.state
        pairs = dict(pair.partition("=")[::2] for pair in state.get("Env") or [])
        for pair in wanted.get("Env") or ():
            name, _, value = pair.partition("=")
            if name not in pairs and name != "PATH":
                self.lines.append(Line(f"ENV {name}={saying.quoted(value)}", doubt=doubt))
        labels = state.get("Labels") or {}
        for name, value in (wanted.get("Labels") or {}).items():
            if name not in labels:
                self.lines.append(Line(f"LABEL {saying.quoted(name)}={saying.quoted(value)}", doubt=doubt))
        from ..jsontext import dumps

        for key, word in (("User", "USER"), ("WorkingDir", "WORKDIR"), ("StopSignal", "STOPSIGNAL")):
            if wanted.get(key) and not state.get(key) and wanted[key] != "/":
                self.lines.append(Line(f"{word} {wanted[key]}", doubt=doubt))
        for key, word in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
            if wanted.get(key) and not state.get(key):
                self.lines.append(Line(f"{word} {dumps(wanted[key])}", doubt=doubt))
