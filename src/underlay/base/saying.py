"""What a history step said in a Dockerfile, from `created_by` as docker's classic builder, BuildKit, buildah and kaniko
write it: the words are lost in part, so what cannot be known for certain is marked as doubt."""

from __future__ import annotations

import re

from ..jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NOP = re.compile(r"^(?:/bin/(?:ba|a)?sh -c )?#\(nop\)\s*", re.S)
_BUILDKIT = " # buildkit"
_ARGUMENTS = re.compile(r"^\|(\d+) ")
_SHELL = re.compile(r"(?:^|(?<= ))(/(?:usr/)?bin/(?:ba|a|da)?sh(?: -[a-z]+| -o pipefail)* -[a-z]*c) ", re.S)
_SOURCE = re.compile(r"^(file|dir|multi):[0-9a-f]{64} in (.+)$", re.S)
_GO_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~^-]+")
_NAME = re.compile(r"(?:^|(?<=\s))([A-Za-z_][A-Za-z0-9_.\-/]*)=")
WORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR".split()
)


class Said:
    """One step: its `word` ("" for none), `rest` (of the instruction, as a Dockerfile has it), and `doubt` ("" for none).

    `arguments` are build arguments that it was run with; `target` is where a COPY or ADD has put what the history does not
    name ("" otherwise); `sources` tell what that was (file, dir, multi).
    """

    __slots__ = ("arguments", "doubt", "rest", "sources", "target", "word")

    def __init__(self, word: str, rest: str = "", doubt: str = "") -> None:
        self.word = word
        self.rest = rest
        self.doubt = doubt
        self.arguments: dict[str, str] = {}
        self.target = ""
        self.sources = ""

    @property
    def line(self) -> str:
        """The instruction as a Dockerfile has it."""
        return f"{self.word} {self.rest}".rstrip()


def read(created_by: str, env: Iterable[str] = (), labels: Iterable[str] = (), volumes: Iterable[str] = ()) -> Said:
    """Return what a step said. `env`, `labels` and `volumes` are the names that the image has: words are told by them."""
    text = created_by.strip()
    nop = _NOP.match(text)
    if nop:
        return _instruction(text[nop.end() :].strip(), False, env, labels, volumes)
    buildkit = text.endswith(_BUILDKIT)
    text = text.removesuffix(_BUILDKIT).rstrip()
    word, _, rest = text.partition(" ")
    if word.upper() in WORDS and word.upper() != "RUN":
        return _instruction(text, buildkit, env, labels, volumes)
    if word.upper() == "RUN":
        return _run(rest.strip(), buildkit)
    if text.startswith("|") or _SHELL.match(text):
        return _run(text, True)
    if not text:
        return Said("", "", "the history says nothing of this layer")
    return Said("", text.partition("\n")[0][:120], "this is no step of a Dockerfile")


def _run(text: str, marked: bool) -> Said:
    """`marked` says that a shell would be named: what has none was in exec form."""
    said = Said("RUN")
    counted = _ARGUMENTS.match(text)
    if counted:
        text = text[counted.end() :]
        shell = _SHELL.search(text)
        head = text[: shell.start()] if shell else ""
        if shell:
            text = text[shell.start() :]
        else:
            words = text.split(" ", int(counted[1]))
            head, text = " ".join(words[:-1]), words[-1]
            said.doubt = "where its build arguments end is guessed"
        said.arguments = dict(pairs(head.strip(), None))
    shell = _SHELL.match(text)
    if shell:
        said.rest = text[shell.end() :].strip()
    elif marked and not text.startswith("["):
        said.rest = dumps(text.split())
        said.doubt = "in exec form, where its words end is guessed"
    else:
        said.rest = text
    said.rest = _continued(said.rest)
    return said


def _continued(text: str) -> str:
    """Write a command of several lines as a here-document: those that a backslash held together are one in the history."""
    if "\n" not in text or text.startswith("<<"):
        return text
    end = next(name for name in ("EOF", "END", *(f"EOF{number}" for number in range(len(text)))) if name not in text)
    return f"<<'{end}'\n{text}\n{end}"


def _instruction(text: str, buildkit: bool, env: Iterable[str], labels: Iterable[str], volumes: Iterable[str]) -> Said:
    word, _, rest = text.partition(" ")
    word, rest = word.upper(), rest.strip()
    if word not in WORDS:
        return Said("", text.partition("\n")[0][:120], "this is no step of a Dockerfile")
    if word == "RUN":
        return _run(rest, buildkit)
    said = Said(word, rest)
    if word in ("COPY", "ADD"):
        found = _SOURCE.match(rest)
        if found:
            said.sources, said.target = found[1], found[2].strip()
            said.doubt = "the names of its sources are lost"
    elif word in ("CMD", "ENTRYPOINT", "SHELL"):
        words = listed(rest)
        if words is not None:
            said.rest = dumps(words)
    elif word == "VOLUME":
        words = _known_words(rest, set(volumes)) or listed(rest)
        said.rest = dumps(words) if words is not None else rest
    elif word == "EXPOSE":
        inner = rest.removeprefix("map").strip("[]{}")
        said.rest = " ".join(part.split(":")[0] for part in inner.replace(":{}", "").split()) or rest
    elif word in ("ENV", "LABEL"):
        found_pairs = pairs(rest, set(env if word == "ENV" else labels))
        if found_pairs:
            said.rest = " ".join(f"{quoted(name)}={quoted(value)}" for name, value in found_pairs)
    elif word == "ARG":
        name, equals, value = rest.partition("=")
        said.rest = f"{name}={quoted(value)}" if equals else rest
    elif word == "HEALTHCHECK":
        said.rest = _health(rest)
        if said.rest == rest and rest.startswith("&{"):
            said.doubt = "its options cannot be read"
    return said


def listed(text: str) -> list[str] | None:
    """Return the words of a list as JSON or Go print it (`["a" "b"]`, `[a b]`, `&{["a"]}`), None for what is none."""
    inner = text.strip()
    if inner.startswith("&{") and inner.endswith("}"):
        inner = inner[2:-1].strip()
    if not inner.startswith("[") or not inner.endswith("]"):
        return None
    try:
        value = loads(inner)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return value
    except ValueError:
        pass
    body = inner[1:-1].strip()
    if body.startswith('"'):
        return [_unquoted(word) for word in _GO_WORD.findall(body)]
    return body.split()


def _known_words(text: str, known: set[str]) -> list[str]:
    """Return the words of `[/a /b c]` when they can be told by those that are known; [] otherwise."""
    rest, found = text.strip().removeprefix("[").removesuffix("]"), []
    while rest:
        word = max((each for each in known if rest == each or rest.startswith(each + " ")), key=len, default="")
        if not word:
            return []
        found.append(word)
        rest = rest[len(word) :].lstrip()
    return found


def _unquoted(text: str) -> str:
    """Return what a word quoted as Go's %q does stands for."""
    try:
        value = loads(f'"{text}"')
        return value if isinstance(value, str) else text
    except ValueError:
        return re.sub(r"\\(.)", r"\1", text)


def _health(text: str) -> str:
    words = listed(text.partition("]")[0].removeprefix("&{") + "]") if "[" in text else None
    if not words:
        return text
    times = re.findall(r'"((?:\d+(?:h|m|s|ms|µs|ns))+|0s)"', text.partition("]")[2])
    names = ("interval", "timeout", "start-period", "start-interval")
    flags = [f"--{name}={value}" for name, value in zip(names, times, strict=False) if value not in ("0s", "")]
    retries = re.search(r"'\\x([0-9a-f]{2})'|(?<=\s)(\d+)\}?$", text.partition("]")[2])
    if retries:
        count = int(retries[1], 16) if retries[1] else int(retries[2])
        if count:
            flags.append(f"--retries={count}")
    kind, rest = words[0], words[1:]
    if kind == "NONE":
        return "NONE"
    command = rest[0] if kind == "CMD-SHELL" and rest else dumps(rest)
    return " ".join([*flags, f"CMD {command}"])


def pairs(text: str, known: set[str] | None) -> list[tuple[str, str]]:
    """Return the pairs of `A=1 B=two words C=3`: a new one begins where a name is `known` (any, for None)."""
    if not text:
        return []
    found: list[tuple[str, int, int]] = []
    for match in _NAME.finditer(text):
        if not found or known is None or match[1] in known:
            found.append((match[1], match.start(), match.end()))
    if not found or found[0][1] != 0:
        name, _, value = text.partition(" ")
        return [(name, value)] if value else []
    made = []
    for number, (name, _, begin) in enumerate(found):
        end = found[number + 1][1] if number + 1 < len(found) else len(text)
        value = text[begin:end].rstrip() if number + 1 < len(found) else text[begin:]
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = _unquoted(value[1:-1])
        made.append((name, value))
    return made


def quoted(text: str) -> str:
    """Return a word as an instruction takes it, in quotes where it needs them."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return f'"{escaped}"'
