"""Reconstructs the Dockerfile of an image: FROM its base, and the steps above it with their layers' content."""

from __future__ import annotations

from typing import Any

import msgspec

from . import history_parser, instruction_writer
from .config_replay import Following
from .contents import Contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...oci.config import Config, Step
    from .history_parser import ParsedStep

_LONGEST = 6 << 20  # characters of a Dockerfile: a builder takes no longer one than eight MiB
_REMOVED = 20_000  # characters of the paths that one step removes
_ROOTS = ("", "0", "root", "0:0", "root:root")
_UNSAID = "the configuration has it, but no step sets it"
_BUILDKIT = "buildkit.dockerfile.v0"


class Line(msgspec.Struct, frozen=True, rename={"history_text": "told"}):
    """One instruction: its `text`, the layer (diff id, "" for none) that it made, `holds` what that layer has in words,
    `doubt` what is not certain of it, and `extracted` the archive of its files that it names ("" for none);
    `history_text` is then the step as the history has it.

    A step that a Dockerfile cannot say has a comment for its text.
    """

    text: str
    layer: str = ""
    holds: str = ""
    doubt: str = ""
    extracted: str = ""
    history_text: str = ""


class Reconstruction(msgspec.Struct, frozen=True):
    """A reconstructed Dockerfile: its lines, FROM first. `layers` maps names of archives in the lines to layers."""

    lines: tuple[Line, ...]
    layers: dict[str, str]

    @property
    def text(self) -> str:
        """The Dockerfile, with the contents of layers and doubts as comments."""
        written = []
        for line in self.lines:
            if line.history_text:
                written.append(instruction_writer.comment(f"in place of {line.history_text}"))
            if line.holds:
                written.append(instruction_writer.comment(line.holds))
            if line.doubt:
                written.append(instruction_writer.comment(f"in doubt: {line.doubt}"))
            written.append(line.text)
        return "\n".join(written) + "\n"

    @property
    def doubts(self) -> int:
        """How many lines are not certain."""
        return sum(bool(line.doubt) for line in self.lines)


def reconstruct(
    config: Config,
    base: str,
    base_steps: int,
    base_layers: int,
    inherited: Mapping[str, Any] | None = None,
    held: Mapping[str, Contents] | None = None,
    extract: bool = False,
    frozen: bool = False,
    doubt: str = "",
) -> Reconstruction:
    """Return the Dockerfile of an image on `base` ("scratch" for none), which has its first steps and layers; `doubt` says
    what is not certain of that.

    `inherited` is the base's `config` member; where it is not known, what the base's steps say stands for it. `held`
    tells what layers hold, by diff id; with `extract` what COPY and ADD have put there, and what steps have made that
    cannot be repeated for certain, is named as archives to be written beside the Dockerfile; with `frozen`, too, what any
    RUN has made.
    """
    if inherited is None:
        inherited = reached(config, base_steps)
    work = _Work(config, held or {}, extract or frozen, frozen)
    work.start(base, inherited, doubt)
    diff_ids = config.diff_ids[base_layers:]
    work.steps(_above((config.history or [])[base_steps:], len(diff_ids)), diff_ids)
    if config.config is not None:
        work.corrections(work.following.wanted, _UNSAID)
    return Reconstruction(tuple(work.lines), work.archives)


def _above(steps: Sequence[Step], layers: int) -> Sequence[Step]:
    """Return the steps of the last `layers` layers: a base whose history is written otherwise has those before them."""
    more = sum(not step.empty_layer for step in steps) - layers
    first = 0
    while more > 0:
        more -= not steps[first].empty_layer
        first += 1
    return steps[first:]


def reached(config: Config, steps: int) -> dict[str, Any]:
    """Return the `config` member that the first `steps` of an image's history lead to."""
    work = _Work(config, {})
    work.start("scratch", {})
    work.steps((config.history or [])[:steps], [])
    return work.following.state


class _Work:
    def __init__(
        self, config: Config, held: Mapping[str, Contents], extract: bool = False, frozen: bool = False
    ) -> None:
        self.lines: list[Line] = []
        self.archives: dict[str, str] = {}
        self.following = Following(config)
        self._held = held
        self._extract = extract
        self._frozen = frozen
        self._length = 0
        # The places of the lines that declare build arguments.
        self._declared: dict[str, int] = {}

    def start(self, base: str, inherited: Mapping[str, Any], doubt: str = "") -> None:
        """Begin with the base and what is inherited from it."""
        triggers = inherited.get("OnBuild")
        if triggers and base != "scratch":
            # FROM would run them a second time, with a context that is not here.
            doubt = f"{base} has {len(triggers)} ONBUILD triggers, which FROM would run again: so its files are copied"
            self.lines.append(Line("FROM scratch", doubt=doubt))
            self.lines.append(Line(f"COPY --from={base} / /"))
            self.following.begin({})
            self.corrections({key: value for key, value in inherited.items() if key != "OnBuild"}, "")
        else:
            self.lines.append(Line(f"FROM {base}", doubt=doubt))
            self.following.begin(inherited)

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self._length += len(line.text) + 1

    def steps(self, steps: Sequence[Step], diff_ids: Sequence[str]) -> None:
        """Add the lines of steps, and the layers that they made."""
        texts = [step.created_by or "" for step in steps]
        context = self.following.context
        context.expanded = any(step.comment == _BUILDKIT for step in steps) or any(
            text.endswith(" # buildkit") for text in texts
        )
        context.names = {name for text in texts for name in history_parser.run_with(text)}
        filled = [not step.empty_layer for step in steps]
        left = list(diff_ids)[::-1]
        squashed = _squashed([history_parser.word_of(text) for text in texts], filled, len(left))
        for number, created_by in enumerate(texts):
            layer = left.pop() if filled[number] and left else ""
            if self._length > _LONGEST:
                self._add(
                    Line(instruction_writer.comment(f"and {len(texts) - number} more steps"), doubt="it is too long")
                )
                return
            self._step(history_parser.read(created_by, context), layer, number in squashed)
        # A tool that appends layers without history leaves those at the end unsaid.
        for layer in left[::-1]:
            known = "the history has no step for this layer" if any(filled) else "there is no history of this layer"
            self._files(layer, known)

    def _step(self, step: ParsedStep, layer: str, squashed: bool) -> None:
        """Add the lines of a step. A `squashed` one has its files in a layer that stands for several steps."""
        known = layer in self._held
        if step.word == "RUN" and not self.following.context.expanded and self.following.state.get("Volumes"):
            step.doubt = step.doubt or "what it has written into volumes the classic builder has dropped"
        if step.word in history_parser.FILLING:
            if self._extract and squashed and not layer:
                self._add(Line(instruction_writer.comment(f"{step.history_text} (its files come below)")))
            elif self._extract and known and (squashed or self._frozen or step.word != "RUN" or step.doubt):
                doubt = f"{step.doubt}: so its files are put there" if step.word == "RUN" and step.doubt else ""
                self._files(layer, doubt, step.history_text)
            else:
                self._declare(step)
                self._add_step(step, layer, self._holds(layer))
            return
        if step.word == "WORKDIR" and layer and not squashed:
            # Builders of old gave new directories to the USER in force.
            if self._extract and known and not self.following.context.expanded:
                self._files(layer, "")
            self._add_step(step, layer, "")
            return
        if step.word == "ONBUILD" and self.following.is_spent(step.text):
            self._add(Line(instruction_writer.comment(f"{step.history_text} (a stage above has run it)")))
        elif step.word:
            self._add_step(step, layer, "")
        elif not layer:
            self._add(Line(instruction_writer.comment(step.history_text), doubt=step.doubt))
        if layer and (self._extract or not squashed):
            certain = bool(step.word) or squashed
            self._files(layer, "" if certain else step.doubt, "" if step.word else step.history_text)

    def _add_step(self, step: ParsedStep, layer: str, holds: str) -> None:
        doubt = step.doubt
        text = step.text
        if text:
            problem = self.following.follow(text, step.word)
            doubt = doubt or problem
            text = "" if problem else text
        if text and step.word == "ARG":
            for name in self.following.context.arguments:
                self._declared.setdefault(name, len(self.lines))
        self._add(Line(text or instruction_writer.comment(step.history_text), layer, holds, doubt))

    def _declare(self, step: ParsedStep) -> None:
        """Have the build arguments that a step was run with declared before it, with the values that they had."""
        context = self.following.context
        for name, value in step.given.items():
            if name in context.variables or (name in context.arguments and (context.arguments[name] or "") == value):
                continue
            line_number = self._declared.get(name)
            if line_number is not None:
                # The command line of the build has given another value than the step of ARG says.
                instruction = instruction_writer.read_back(self.lines[line_number].text)
                before = getattr(instruction, "arguments", ())
                text = instruction_writer.argument(
                    [(argument, value if argument == name else old) for argument, old in before]
                )
                if text and not self.following.follow(text, "ARG"):
                    self.lines[line_number] = msgspec.structs.replace(self.lines[line_number], text=text)
                    continue
            text = instruction_writer.argument([(name, value)])
            if text and not self.following.follow(text, "ARG"):
                self._declared[name] = len(self.lines)
                doubt = "" if line_number is not None else "it was given at build, and no step declares it"
                self._add(Line(text, doubt=doubt))

    def _files(self, layer: str, doubt: str, history_text: str = "") -> None:
        """Add the files of a layer as an archive."""
        held = self._held.get(layer)
        if held is not None and not held.members and not held.removed:
            if history_text:
                self._add(Line(instruction_writer.comment(f"{history_text} (an empty layer)")))
            return
        if held is not None and held.removed:
            self._remove(held)
        holds = self._holds(layer)
        if not self._extract or held is None:
            self._add(
                Line(f"ADD layer-{layer.rpartition(':')[2][:12]}.tar /", layer, holds, doubt, history_text=history_text)
            )
        elif held.members:
            name = f"layer-{len(self.archives) + 1}.tar"
            self.archives[name] = layer
            self._add(Line(f"ADD {name} /", layer, holds, doubt, name, history_text))

    def _remove(self, held: Contents) -> None:
        """Take away what a layer does: that no archive can."""
        doubt = "removing the files that the layer removes needs a program `rm` in the image"
        user = self.following.state.get("User") or ""
        if user not in _ROOTS:
            self._add(Line("USER root"))
        some: list[str] = []
        for number, path in enumerate(held.removed):
            some.append(path)
            if sum(map(len, some)) > _REMOVED or number == len(held.removed) - 1:
                text = instruction_writer.command("RUN", ["rm", "-rf", "--", *some])
                self._add(Line(text or instruction_writer.comment(f"rm {' '.join(some)}"), doubt=doubt))
                some = []
        if user not in _ROOTS:
            self._add(Line(instruction_writer.word("USER", user)))

    def _holds(self, layer: str) -> str:
        held = self._held.get(layer)
        return held.text if held is not None else ""

    def corrections(self, wanted: Mapping[str, Any], doubt: str) -> None:
        """Add what a configuration has and no step has set: `docker commit --change`, and tools, leave no trace."""
        for text, description in self.following.differences(wanted):
            if text:
                problem = self.following.follow(text, text.partition(" ")[0])
                if problem:
                    text, description = "", f"{description}: {problem}"
            # BuildKit's histories never tell of triggers, so that they are there is no wonder.
            certain = text.startswith("ONBUILD ") or not doubt
            why = ("" if certain else doubt) if text else "the base has it, or no instruction can express it"
            self._add(Line(text or instruction_writer.comment(description), doubt=why))


def _squashed(words: Sequence[str], filled: Sequence[bool], layers: int) -> set[int]:
    """Return the steps whose files are in a layer that stands for several: of a build that makes one layer of all."""
    squashed: set[int] = set()
    group: list[int] = []
    for number, word in enumerate(words):
        if not filled[number]:
            if word in history_parser.FILLING:
                group.append(number)
            continue
        layers -= 1
        copies = any(words[step] != "RUN" for step in group)
        if group and (copies or word not in (*history_parser.FILLING, "WORKDIR")):
            squashed.update(group, (number,))
        group = []
    if layers > 0:
        squashed.update(group)
    return squashed
