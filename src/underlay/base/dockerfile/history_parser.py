"""What a history step said in a Dockerfile, from `created_by` as docker's classic builder, BuildKit, buildah and kaniko
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
_PLACES = {"file": "file", "dir": "directory", "multi": "files/"}
FILLING = frozenset(("RUN", "COPY", "ADD"))
WORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR".split()
)


class Knows:
    """What is known beside a step, and tells how its words are to be read.

    `env`, `labels`, `volumes` and `commands` are the finished image's; `arguments` were declared before the step, `names`
    are all that any step was run with, `shell` is the one in force. `expanded` says that BuildKit has told the history:
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


class Said:
    """One step: its `word` ("" for none), its `text` as a Dockerfile has it ("" when that cannot be written), its `doubt`
    ("" for none), and what was `told`, for people.

    `given` are build arguments that it was run with. `sources` tells what a COPY or ADD has put where the history does
    not name it (file, dir, multi), `target` where that is.
    """

    __slots__ = ("doubt", "given", "sources", "target", "text", "told", "word")

    def __init__(self, word: str, text: str, told: str, doubt: str = "") -> None:
        self.word = word
        self.text = text
        self.told = told
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
    """Return the names of the build arguments that a RUN step was run with, as far as they can be told."""
    text = created_by.strip().removeprefix("RUN ")
    counted = _COUNTED.match(text)
    if counted is None:
        return []
    shell = _SHELL.search(text)
    head = text[counted.end() : shell.start() if shell else len(text)]
    return [each.partition("=")[0] for each in head.split(" ") if "=" in each][: int(counted[1]) * 2]


def read(created_by: str, knows: Knows | None = None) -> Said:
    """Return what a step said."""
    knows = knows if knows is not None else Knows()
    text = created_by.encode("utf-8", "replace").decode().strip()
    word = word_of(text)
    if not text:
        return Said("", "", "", "the history says nothing of this layer")
    if not word:
        return Said("", "", text, "this is no step of a Dockerfile")
    if len(text) > (_LONGEST if word == "RUN" else LINE_LIMIT):
        return Said(word, "", text, "this is longer than a Dockerfile's line can be")
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
        said = _run(rest, buildkit or rest == text, knows)
        if listed:
            said.given = dict(pairing.pairs(listed[1], {}))
    else:
        said = _READERS.get(word, _simple)(word, rest, knows, buildkit)
        said.told = f"{word} {rest}"
    if not said.text and not said.doubt:
        said.doubt = "this cannot be written in a Dockerfile" if rest or marked else "this says nothing"
    return said


def _is_word(text: str, word: str) -> bool:
    return text.partition(" ")[0].upper() == word


# RUN


def _run(text: str, whole: bool, knows: Knows) -> Said:
    """`whole` says that the history has the command line as it was executed, with its shell; else as it was written."""
    said = Said("RUN", "", text)
    counted = _COUNTED.match(text)
    if counted:
        whole = True
        text = _arguments(said, text[counted.end() :], int(counted[1]), knows)
    said.told = f"RUN {text}"
    prefix = " ".join(knows.shell) + " "
    known = _SHELL.match(text)
    if whole and text.startswith(prefix):
        command = text[len(prefix) :].strip()
        said.told = f"RUN {command}"
        if _SCRIPT.match(command):
            said.doubt = said.doubt or "it ran a script of its own, whose text is lost"
        said.text = instruction_writer.run(command, knows.shell)
    elif known:
        # Another shell than the one in force: it was named in exec form.
        command = text[known.end() :].strip()
        said.text = instruction_writer.command("RUN", [*known[1].split(" "), command])
        said.doubt = said.doubt or "in exec form, where its words end is guessed"
    elif whole:
        said.text = instruction_writer.command("RUN", text.split()) if not text.startswith("<<") else ""
        said.doubt = said.doubt or "in exec form, where its words end is guessed"
    else:
        found = instruction_writer.as_it_is(f"RUN {text}")
        # In exec form, with flags or with here-documents it is already as a Dockerfile has it.
        said.text = f"RUN {text}" if isinstance(found, it.Run) and text else instruction_writer.run(text, knows.shell)
    if "/run/secrets/" in text:
        said.doubt = said.doubt or "it may have used a secret, which the history does not tell"
    return said


def _arguments(said: Said, text: str, count: int, knows: Knows) -> str:
    """Read the build arguments that stand before a command; return the command."""
    declared = [(name, knows.get(name) or "") for name in knows.arguments]
    exact = " ".join(f"{name}={value}" for name, value in declared)
    if len(declared) == count and text.startswith(f"{exact} "):
        return text[len(exact) + 1 :]
    place = text.find(" ".join(knows.shell) + " ")
    if place < 0:
        shell = _SHELL.search(text)
        place = shell.start() if shell else -1
    if place >= 0:
        head, text = text[:place].strip(), text[place:]
    else:
        words = text.split(" ", count)
        head, text = " ".join(words[:count]), words[count] if len(words) > count else ""
        said.doubt = "where its build arguments end is guessed"
    known = {name: knows.get(name) or "" for name in knows.arguments}
    said.given = dict(pairing.pairs(head, known))
    if len(said.given) != count:
        said.given = dict(pairing.pairs(head, {}))
    if len(said.given) != count:
        said.doubt = said.doubt or "what its build arguments were is guessed"
    return text


# What makes files, but RUN


def _transfer(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    said = Said(word, "", "")
    found = _SOURCE.match(rest)
    if found:
        said.sources, said.target = found[1], found[2].strip()
        said.doubt = "the names of its sources are lost"
        said.text = instruction_writer.transfer(word, (), [_PLACES[found[1]]], said.target)
        return said
    words = rest.split(" ")
    flags = []
    while words and words[0].startswith("--"):
        flags.append(words.pop(0))
    if buildkit or knows.expanded:
        sources = [each.partition("<<")[2] if each.startswith("<<") else each for each in words[:-1]]
        if sources != words[:-1]:
            said.doubt = "the text of its here-document is in the layer alone"
        said.text = instruction_writer.transfer(word, flags, sources, words[-1]) if sources else ""
        return said
    here = instruction_writer.as_it_is(f"{word} {rest}") if "\n" not in rest else None
    if isinstance(here, it.Transfer) and not here.heredocs:
        said.text = f"{word} {rest}"
        if isinstance(here, it.Copy) and here.from_:
            said.doubt = f"it copied from {here.from_}, which may be a stage that is not told of"
    return said


# What makes none


def _command(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    words = gotext.listed(rest)
    if words is None:
        return Said(word, instruction_writer.command_line(word, rest) if word != "SHELL" else "", "")
    doubt = ""
    body = rest.strip().removeprefix("&{").removesuffix("}").strip("[]").strip()
    if body and '"' not in body:
        known = [list(each) for each in knows.commands if " ".join(each) == body]
        words = known[0] if known else words
        doubt = "" if known or len(words) == 1 else "where its words end is guessed"
    return Said(word, instruction_writer.command(word, words), "", doubt)


def _pairs(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    known = knows.env if word == "ENV" else knows.labels
    raw = pairing.pairs(rest, known)
    written: list[tuple[str, str]] = []
    if not knows.expanded:
        found = instruction_writer.as_written(f"{word} {rest}", knows.get)
        written = list(getattr(found, "variables" if word == "ENV" else "labels", ())) if found is not None else []
    if written and (not raw or _fits(written, known) >= _fits(raw, known)):
        return Said(word, f"{word} {rest}", "")
    wrong = [name for name, _ in raw if known and name not in known]
    doubt = "where its values end is guessed" if wrong and len(raw) > 1 else ""
    return Said(word, instruction_writer.pairs(word, raw) if raw else "", "", doubt)


def _fits(pairs: Sequence[tuple[str, str]], known: Mapping[str, str]) -> int:
    """Return how many pairs are as the finished image has them, less those whose names it has not."""
    return sum(1 if known.get(name) == value else 0 if name in known else -1 for name, value in pairs)


def _argument(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    if not knows.expanded and has_special(rest) and instruction_writer.as_written(f"ARG {rest}", knows.get) is not None:
        return Said(word, f"ARG {rest}", "")
    found = pairing.declared(rest, knows.names)
    spaces = any(value is not None and " " in value for _, value in found)
    doubt = (
        "where its values end is guessed" if spaces and not {name for name, _ in found}.issubset(knows.names) else ""
    )
    return Said(word, instruction_writer.argument(found) if found else "", "", doubt)


def _volume(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    as_it_is = _unexpanded(word, rest, knows)
    if as_it_is:
        return Said(word, as_it_is, "")
    words = _known_words(rest, knows.volumes)
    doubt = ""
    if not words:
        found = gotext.listed(rest)
        words = found if found is not None else rest.split()
        if len(words) > 1 and '"' not in rest and found is not None:
            doubt = "where its words end is guessed"
    return Said(word, instruction_writer.volumes(words) if words else "", "", doubt)


def _known_words(text: str, known: Collection[str]) -> list[str]:
    """Return the words of `[/a /b c]` when they can be told by those that are known; [] otherwise."""
    rest, found = text.strip().removeprefix("[").removesuffix("]"), []
    while rest:
        word = max((each for each in known if rest == each or rest.startswith(each + " ")), key=len, default="")
        if not word:
            return []
        found.append(word)
        rest = rest[len(word) :].lstrip()
    return found


def _expose(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    as_it_is = _unexpanded(word, rest, knows)
    inner = rest.removeprefix("map").removeprefix("[").removesuffix("]").replace(":{}", "")
    return Said(word, as_it_is or (instruction_writer.ports(inner.split()) if inner.split() else ""), "")


def _simple(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    if word == "STOPSIGNAL":
        rest = rest.strip("[]")  # docker of 2016 has printed a list
    return Said(word, _unexpanded(word, rest, knows) or instruction_writer.word(word, rest), "")


def _unexpanded(word: str, rest: str, knows: Knows) -> str:
    """Return an instruction as it was written when the history has it so: with quotes, and variables that are known."""
    if knows.expanded or not has_special(rest) or rest.startswith(("[", "map[")):
        return ""
    return f"{word} {rest}" if instruction_writer.as_written(f"{word} {rest}", knows.get) is not None else ""


def _health(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    found = gotext.health(rest)
    if found is not None:
        test, flags = found
        text = instruction_writer.health(test, flags)
        if not text and test[0] == "CMD-SHELL" and len(test) == 2:
            # Several lines, say: in exec form the same shell gets them.
            text = instruction_writer.health(["CMD", *knows.shell, test[1]], flags)
        return Said(word, text, "", "" if text else "its options cannot be read")
    there = instruction_writer.as_it_is(f"{word} {rest}") if "\n" not in rest else None
    if isinstance(there, it.Healthcheck) and not rest.startswith("&{"):
        return Said(word, f"{word} {rest}", "")
    return Said(word, "", "", "its options cannot be read")


def _trigger(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    return Said(word, instruction_writer.trigger(rest), "")


def _maintainer(word: str, rest: str, knows: Knows, buildkit: bool) -> Said:
    return Said(word, instruction_writer.author(rest), "")


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
