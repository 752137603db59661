"""What a history step was in a Dockerfile, from `created_by` as docker's classic builder, BuildKit, buildah and kaniko
write it: the words are lost in part, so what cannot be known for certain is marked as doubt."""

from __future__ import annotations

import re

from ...dockerfile import instructions as it
from ...dockerfile.syntax import LINE_LIMIT
from ...dockerfile.words import has_special
from . import gotext, instruction_writer, pairing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_NOP = re.compile(r"^(?:/bin/(?:ba|a)?sh -c )?#\(nop\)\s*", re.S)
_BUILDKIT = " # buildkit"
_COUNTED = re.compile(r"^\|([0-9]{1,6}) ")
_SHELL = re.compile(r"(?:^|(?<= ))(/(?:usr/)?bin/(?:ba|a|da)?sh(?: -[a-z]+(?: pipefail)?)* -[a-z]*c) ", re.S)
_SOURCE = re.compile(r"^(file|dir|multi):[0-9a-f]{64} in (.+)$", re.S)
_SCRIPT = re.compile(r"^/dev/pipes/\S+$")
# As records of docker's official images have them, and `history.normal`.
_LISTED = re.compile(r"^# ARGS: ([^\n]*)\n(?=RUN )")
_LONGEST = 8 << 20  # characters of a step: those of a whole Dockerfile
_SOURCE_NAMES = {"file": "file", "dir": "directory", "multi": "files/"}
FILLING = frozenset(("RUN", "COPY", "ADD"))
WORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR".split()
)


class StepContext:
    """What is known beside the text of a step, and decides how its words are read.

    `env`, `labels`, `volumes` and `commands` are the finished image's; `arguments` were declared before the step, `names`
    are all that any step was run with, `shell` is the one in force. `expanded` says that BuildKit has written the history:
    variables have their values in it.
    """

    def __init__(self, expanded: bool = False) -> None:
        self.env: Mapping[str, str] = {}
        self.labels: Mapping[str, str] = {}
        self.volumes: Collection[str] = ()
        self.commands: Sequence[Sequence[str]] = ()
        self.arguments: dict[str, str | None] = {}
        self.variables: dict[str, str] = {}
        self.names: Collection[str] = ()
        self.shell: Sequence[str] = ("/bin/sh", "-c")
        self.expanded = expanded

    def get(self, name: str) -> str | None:
        """Return the value of a variable before the step, None for none."""
        return self.variables.get(name, self.arguments.get(name))


class ParsedStep:
    """One step: its `word` ("" for none), its `text` as a Dockerfile has it ("" when that cannot be written), its `doubt`
    ("" for none), and its `history_text` in a form for people.

    `given` are the build arguments that it was run with. Where the history does not name the sources of a COPY or ADD,
    `sources` is their kind (file, dir, multi) and `target` their destination.
    """

    __slots__ = ("doubt", "given", "history_text", "sources", "target", "text", "word")

    def __init__(self, word: str, text: str, history_text: str, doubt: str = "") -> None:
        self.word = word
        self.text = text
        self.history_text = history_text
        self.doubt = doubt
        self.given: dict[str, str] = {}
        self.target = ""
        self.sources = ""


def word_of(created_by: str) -> str:
    """Return the instruction that a step was, "" when it is none."""
    text = created_by.lstrip()
    nop = _NOP.match(text)
    if nop:
        text = text[nop.end() :]
    elif text.startswith("|") or _SHELL.match(text) or _LISTED.match(text):
        return "RUN"
    word = text.partition(" ")[0].strip().upper()
    return word if word in WORDS else ""


def run_with(created_by: str) -> list[str]:
    """Return the names of the build arguments that a RUN step was run with, as far as they can be recognised."""
    text = created_by.strip().removeprefix("RUN ")
    counted = _COUNTED.match(text)
    if counted is None:
        return []
    shell = _SHELL.search(text)
    head = text[counted.end() : shell.start() if shell else len(text)]
    return [word.partition("=")[0] for word in head.split(" ") if "=" in word][: int(counted[1]) * 2]


def read(created_by: str, context: StepContext | None = None) -> ParsedStep:
    """Return a step of the history, parsed."""
    context = context if context is not None else StepContext()
    text = created_by.encode("utf-8", "replace").decode().strip()
    word = word_of(text)
    if not text:
        return ParsedStep("", "", "", "the history has no step for this layer")
    if not word:
        return ParsedStep("", "", text, "this is not a step of a Dockerfile")
    if len(text) > (_LONGEST if word == "RUN" else LINE_LIMIT):
        return ParsedStep(word, "", text, "this is longer than a Dockerfile's line can be")
    nop = _NOP.match(text)
    marked = nop is not None
    if nop:
        text = text[nop.end() :].strip()
    listed = _LISTED.match(text)
    if listed:
        text = text[listed.end() :]
    buildkit = text.endswith(_BUILDKIT)
    text = text.removesuffix(_BUILDKIT).rstrip()
    rest = text if word == "RUN" and not _is_word(text, "RUN") else text.partition(" ")[2].strip()
    if word == "RUN":
        step = _run(rest, buildkit or rest == text, context)
        if listed:
            step.given = dict(pairing.pairs(listed[1], {}))
    else:
        step = _READERS.get(word, _simple)(word, rest, context, buildkit)
        step.history_text = f"{word} {rest}"
    if not step.text and not step.doubt:
        step.doubt = "this cannot be written in a Dockerfile" if rest or marked else "this step is empty"
    return step


def _is_word(text: str, word: str) -> bool:
    return text.partition(" ")[0].upper() == word


# RUN


def _run(text: str, whole: bool, context: StepContext) -> ParsedStep:
    """`whole` says that the history has the command line as it was executed, with its shell; else as it was written."""
    step = ParsedStep("RUN", "", text)
    counted = _COUNTED.match(text)
    if counted:
        whole = True
        text = _arguments(step, text[counted.end() :], int(counted[1]), context)
    step.history_text = f"RUN {text}"
    prefix = " ".join(context.shell) + " "
    known = _SHELL.match(text)
    if whole and text.startswith(prefix):
        command = text[len(prefix) :].strip()
        step.history_text = f"RUN {command}"
        if _SCRIPT.match(command):
            step.doubt = step.doubt or "it ran a script of its own, whose text is lost"
        step.text = instruction_writer.run(command, context.shell)
    elif known:
        # Another shell than the one in force: it was named in exec form.
        command = text[known.end() :].strip()
        step.text = instruction_writer.command("RUN", [*known[1].split(" "), command])
        step.doubt = step.doubt or "in exec form, where its words end is guessed"
    elif whole:
        step.text = instruction_writer.command("RUN", text.split()) if not text.startswith("<<") else ""
        step.doubt = step.doubt or "in exec form, where its words end is guessed"
    else:
        instruction = instruction_writer.as_it_is(f"RUN {text}")
        # In exec form, with flags or with here-documents it is already as a Dockerfile has it.
        step.text = (
            f"RUN {text}" if isinstance(instruction, it.Run) and text else instruction_writer.run(text, context.shell)
        )
    if "/run/secrets/" in text:
        step.doubt = step.doubt or "it may have used a secret, which the history does not record"
    return step


def _arguments(step: ParsedStep, text: str, count: int, context: StepContext) -> str:
    """Read the build arguments that stand before a command; return the command."""
    declared = [(name, context.get(name) or "") for name in context.arguments]
    exact = " ".join(f"{name}={value}" for name, value in declared)
    if len(declared) == count and text.startswith(f"{exact} "):
        return text[len(exact) + 1 :]
    position = text.find(" ".join(context.shell) + " ")
    if position < 0:
        shell = _SHELL.search(text)
        position = shell.start() if shell else -1
    if position >= 0:
        head, text = text[:position].strip(), text[position:]
    else:
        words = text.split(" ", count)
        head, text = " ".join(words[:count]), words[count] if len(words) > count else ""
        step.doubt = "where its build arguments end is guessed"
    known = {name: context.get(name) or "" for name in context.arguments}
    step.given = dict(pairing.pairs(head, known))
    if len(step.given) != count:
        step.given = dict(pairing.pairs(head, {}))
    if len(step.given) != count:
        step.doubt = step.doubt or "what its build arguments were is guessed"
    return text


# What makes files, but RUN


def _transfer(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    step = ParsedStep(word, "", "")
    match = _SOURCE.match(rest)
    if match:
        step.sources, step.target = match[1], match[2].strip()
        step.doubt = "the names of its sources are lost"
        step.text = instruction_writer.transfer(word, (), [_SOURCE_NAMES[match[1]]], step.target)
        return step
    words = rest.split(" ")
    flags = []
    while words and words[0].startswith("--"):
        flags.append(words.pop(0))
    if buildkit or context.expanded:
        sources = [source.partition("<<")[2] if source.startswith("<<") else source for source in words[:-1]]
        if sources != words[:-1]:
            step.doubt = "the text of its here-document is in the layer alone"
        step.text = instruction_writer.transfer(word, flags, sources, words[-1]) if sources else ""
        return step
    instruction = instruction_writer.as_it_is(f"{word} {rest}") if "\n" not in rest else None
    if isinstance(instruction, it.Transfer) and not instruction.heredocs:
        step.text = f"{word} {rest}"
        if isinstance(instruction, it.Copy) and instruction.from_:
            step.doubt = f"it copied from {instruction.from_}, which may be a stage that the history does not record"
    return step


# What makes none


def _command(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    words = gotext.listed(rest)
    if words is None:
        return ParsedStep(word, instruction_writer.command_line(word, rest) if word != "SHELL" else "", "")
    doubt = ""
    body = rest.strip().removeprefix("&{").removesuffix("}").strip("[]").strip()
    if body and '"' not in body:
        known = [list(command) for command in context.commands if " ".join(command) == body]
        words = known[0] if known else words
        doubt = "" if known or len(words) == 1 else "where its words end is guessed"
    return ParsedStep(word, instruction_writer.command(word, words), "", doubt)


def _pairs(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    known = context.env if word == "ENV" else context.labels
    raw = pairing.pairs(rest, known)
    written: list[tuple[str, str]] = []
    if not context.expanded:
        instruction = instruction_writer.as_written(f"{word} {rest}", context.get)
        written = (
            list(getattr(instruction, "variables" if word == "ENV" else "labels", ()))
            if instruction is not None
            else []
        )
    if written and (not raw or _fits(written, known) >= _fits(raw, known)):
        return ParsedStep(word, f"{word} {rest}", "")
    wrong = [name for name, _ in raw if known and name not in known]
    doubt = "where its values end is guessed" if wrong and len(raw) > 1 else ""
    return ParsedStep(word, instruction_writer.pairs(word, raw) if raw else "", "", doubt)


def _fits(pairs: Sequence[tuple[str, str]], known: Mapping[str, str]) -> int:
    """Return how many pairs are as the finished image has them, less those whose names it has not."""
    return sum(1 if known.get(name) == value else 0 if name in known else -1 for name, value in pairs)


def _argument(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    if (
        not context.expanded
        and has_special(rest)
        and instruction_writer.as_written(f"ARG {rest}", context.get) is not None
    ):
        return ParsedStep(word, f"ARG {rest}", "")
    arguments = pairing.declared(rest, context.names)
    spaces = any(value is not None and " " in value for _, value in arguments)
    doubt = (
        "where its values end is guessed"
        if spaces and not {name for name, _ in arguments}.issubset(context.names)
        else ""
    )
    return ParsedStep(word, instruction_writer.argument(arguments) if arguments else "", "", doubt)


def _volume(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    as_it_is = _unexpanded(word, rest, context)
    if as_it_is:
        return ParsedStep(word, as_it_is, "")
    words = _known_words(rest, context.volumes)
    doubt = ""
    if not words:
        listed_words = gotext.listed(rest)
        words = listed_words if listed_words is not None else rest.split()
        if len(words) > 1 and '"' not in rest and listed_words is not None:
            doubt = "where its words end is guessed"
    return ParsedStep(word, instruction_writer.volumes(words) if words else "", "", doubt)


def _known_words(text: str, known: Collection[str]) -> list[str]:
    """Return the words of `[/a /b c]` when they are all among the known ones; [] otherwise."""
    rest, words = text.strip().removeprefix("[").removesuffix("]"), []
    while rest:
        word = max((path for path in known if rest == path or rest.startswith(path + " ")), key=len, default="")
        if not word:
            return []
        words.append(word)
        rest = rest[len(word) :].lstrip()
    return words


def _expose(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    as_it_is = _unexpanded(word, rest, context)
    inner = rest.removeprefix("map").removeprefix("[").removesuffix("]").replace(":{}", "")
    return ParsedStep(word, as_it_is or (instruction_writer.ports(inner.split()) if inner.split() else ""), "")


def _simple(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    if word == "STOPSIGNAL":
        rest = rest.strip("[]")  # docker of 2016 has printed a list
    return ParsedStep(word, _unexpanded(word, rest, context) or instruction_writer.word(word, rest), "")


def _unexpanded(word: str, rest: str, context: StepContext) -> str:
    """Return an instruction as it was written when the history has it so: with quotes, and variables that are known."""
    if context.expanded or not has_special(rest) or rest.startswith(("[", "map[")):
        return ""
    return f"{word} {rest}" if instruction_writer.as_written(f"{word} {rest}", context.get) is not None else ""


def _health(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    healthcheck = gotext.health(rest)
    if healthcheck is not None:
        test, flags = healthcheck
        text = instruction_writer.health(test, flags)
        if not text and test[0] == "CMD-SHELL" and len(test) == 2:
            # Several lines, say: in exec form the same shell gets them.
            text = instruction_writer.health(["CMD", *context.shell, test[1]], flags)
        return ParsedStep(word, text, "", "" if text else "its options cannot be read")
    instruction = instruction_writer.as_it_is(f"{word} {rest}") if "\n" not in rest else None
    if isinstance(instruction, it.Healthcheck) and not rest.startswith("&{"):
        return ParsedStep(word, f"{word} {rest}", "")
    return ParsedStep(word, "", "", "its options cannot be read")


def _trigger(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    return ParsedStep(word, instruction_writer.trigger(rest), "")


def _maintainer(word: str, rest: str, context: StepContext, buildkit: bool) -> ParsedStep:
    return ParsedStep(word, instruction_writer.author(rest), "")


_READERS = {
    "ADD": _transfer,
    "ARG": _argument,
    "CMD": _command,
    "COPY": _transfer,
    "ENTRYPOINT": _command,
    "ENV": _pairs,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _pairs,
    "MAINTAINER": _maintainer,
    "ONBUILD": _trigger,
    "SHELL": _command,
    "VOLUME": _volume,
}
