"""What may stand in place of the last word of a command line. Made from the tables that the commands are made from.

The shells' scripts ask with every press of a key: only what a word needs is imported, and nothing is changed.
"""

from __future__ import annotations

import os
import sys

from ..flags.globalflags import GLOBAL_FLAGS
from ..index import ALIASES, COMMANDS, NOUNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...store.store import Store
    from ..flags import Flag

    Candidate = tuple[str, str]  # a word, and what it is

FILES, DIRECTORIES, NOTHING = "files", "directories", "nothing"  # what a shell offers besides

# Commands that want containers in some states only.
_RUNNING = ("running", "paused", "restarting")
_STATES = {
    "start": ("created", "exited", "dead"),
    "unpause": ("paused",),
    "pause": ("running",),
    **dict.fromkeys(("attach", "exec", "kill", "stop", "top", "port"), _RUNNING),
}
# What a flag takes, by its name: a fixed list, or the kind of an object.
_VALUES: dict[str, tuple[str, ...]] = {
    "cgroupns": ("private", "host"),
    "compression": ("gzip", "zstd", "uncompressed"),
    "form": ("auto", "erofs", "tree"),
    "ipc": ("private", "shareable", "host", "none"),
    "log-driver": ("local", "json-file", "none"),
    "pid": ("host",),
    "platform": ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/riscv64"),
    "progress": ("auto", "plain", "tty", "quiet", "rawjson"),
    "pull": ("always", "missing", "never"),
    "restart": ("no", "always", "on-failure", "unless-stopped"),
    "severity": ("low", "medium", "high", "critical"),
    "uts": ("host",),
}
_OBJECTS = {"network": "NETWORK", "net": "NETWORK", "volumes-from": "CONTAINER", "link": "CONTAINER", "base": "IMAGE"}
_PATHS = {
    "cidfile", "env-file", "file", "host", "iidfile", "ignore-file", "input", "label-file", "metadata-file", "output",
    "policy", "vex",
}  # fmt: skip
_FILE_WORDS = {"FILE", "PATH", "file|-", "SRC_PATH", "DEST_PATH|-", "SRC_PATH|-", "DESTINATION", "SOURCE"}


def answer(words: Sequence[str]) -> int:
    """Print the candidates for the last of `words`, a line each, with a tab and an explanation; what else, comes last."""
    from ...errors import UnderlayError

    try:
        found, more = candidates(words)
        lines = [f"{word}\t{text}" if text else word for word, text in found]
    except (UnderlayError, OSError):
        lines, more = [], NOTHING  # a key is no place for errors
    sys.stdout.write("".join(line + "\n" for line in (*lines, f":{more}")))
    return 0


def candidates(words: Sequence[str]) -> tuple[list[Candidate], str]:
    """Return what may stand in place of the last word, and what the shell offers besides. Raises UnderlayError."""
    *before, begun = words or [""]
    settings: dict[str, str] = {}
    rest = _skip_global(before, GLOBAL_FLAGS, settings)
    if rest is None:
        return _of_flag(before[-1].lstrip("-"), "", begun, settings)
    name, taken = _command(rest)
    if not name:
        place = " ".join(rest)
        if begun.startswith("-"):
            return _starting(_flags(GLOBAL_FLAGS if not rest else ()), begun), NOTHING
        return _starting(_below(place), begun), NOTHING
    module = __import__(f"underlay.cli.commands.{COMMANDS[name][0]}", fromlist=["FLAGS"])
    interspersed = getattr(module, "INTERSPERSED", True)
    return _in_command(name, module.FLAGS, module.SYNOPSIS, interspersed, rest[taken:], begun, settings)


def _skip_global(words: Sequence[str], table: Sequence[Flag], settings: dict[str, str]) -> list[str] | None:
    """Return the words behind the flags that stand before the command; None where a value is missing."""
    kinds = {f"--{flag[0]}": flag for flag in table} | {f"-{flag[1]}": flag for flag in table if flag[1]}
    position = 0
    while position < len(words) and words[position].startswith("-"):
        word, equals, value = words[position].partition("=")
        position += 1
        flag = kinds.get(word)
        if flag is None or flag[2] == "bool":
            continue
        if not equals:
            if position == len(words):
                return None
            value = words[position]
            position += 1
        settings[flag[0]] = value
    return list(words[position:])


def _command(words: Sequence[str]) -> tuple[str, int]:
    for count in (3, 2, 1):
        name = " ".join(words[:count])
        name = ALIASES.get(name, name)
        if len(words) >= count and name in COMMANDS:
            return name, count
    return "", 0


def _below(place: str) -> list[Candidate]:
    """Return the words that may follow a beginning of a command."""
    if place and place not in NOUNS:
        return []
    prefix = place + " " if place else ""
    found: dict[str, str] = {}
    for name, (_, text) in COMMANDS.items():
        if name.startswith(prefix):
            word, more, _ = name[len(prefix) :].partition(" ")
            found.setdefault(word, f"{word} …" if more else text)
    for alias, name in ALIASES.items():
        if prefix and alias.startswith(prefix):
            found.setdefault(alias[len(prefix) :].partition(" ")[0], COMMANDS[name][1] if name in COMMANDS else "")
    return sorted(found.items())


def _in_command(
    name: str,
    table: Sequence[Flag],
    synopsis: str,
    interspersed: bool,
    words: Sequence[str],
    begun: str,
    settings: dict[str, str],
) -> tuple[list[Candidate], str]:
    kinds = {f"--{flag[0]}": flag for flag in table} | {f"-{flag[1]}": flag for flag in table if flag[1]}
    arguments: list[str] = []
    awaited: Flag | None = None
    ended = False
    for word in words:
        if awaited is not None:
            awaited = None
        elif word == "--":
            ended = True
        elif word.startswith("-") and len(word) > 1 and not ended:
            flag = kinds.get(word)
            awaited = flag if flag is not None and flag[2] not in ("bool", "optional") else None
        else:
            arguments.append(word)
            ended = ended or not interspersed
    if awaited is not None:
        return _of_flag(awaited[0], awaited[3], begun, settings)
    if begun.startswith("-") and not ended:
        word, equals, value = begun.partition("=")
        if equals and word in kinds:
            found, more = _of_flag(kinds[word][0], kinds[word][3], value, settings)
            return [(f"{word}={text}", what) for text, what in found], more
        return _starting(_flags(table), begun), NOTHING
    return _argument(name, synopsis, arguments, begun, settings)


def _flags(table: Iterable[Flag]) -> list[Candidate]:
    return sorted((f"--{flag[0]}", flag[4]) for flag in table)


def _of_flag(name: str, kind: str, begun: str, settings: dict[str, str]) -> tuple[list[Candidate], str]:
    if name in ("root", "state"):
        return [], DIRECTORIES
    if name in _VALUES:
        return _starting([(word, "") for word in _VALUES[name]], begun), NOTHING
    if name in _OBJECTS:
        found = _objects(_OBJECTS[name], (), settings)
        if name in ("network", "net"):
            found += [("host", "network of this host"), ("none", "no network")]
        return _starting(found, begun), NOTHING
    if name == "format":
        return _starting([("json", ""), ("table", "")], begun), NOTHING
    return [], FILES if name in _PATHS or kind in ("file", "path") else NOTHING


def _argument(
    name: str, synopsis: str, arguments: Sequence[str], begun: str, settings: dict[str, str]
) -> tuple[list[Candidate], str]:
    """Return what may stand at the place of the next argument, by the words of the command's synopsis."""
    places = [word for word in synopsis.split("\n")[0].split()[len(name.split()) :] if word != "[OPTIONS]"]
    if not places:
        return [], NOTHING
    number = len(arguments)
    repeated = places[-1].endswith("...]") or places[-1].endswith("...")
    if number >= len(places) and not repeated:
        return [], NOTHING
    place = places[min(number, len(places) - 1)].strip("[]").removesuffix("...").strip("[]").partition("[")[0]
    if place in ("ARG", "COMMAND") and name in ("run", "create", "exec"):
        return [], FILES
    if place.startswith("CONTAINER:") or place in ("SRC_PATH|-", "DEST_PATH|-"):
        found = [(f"{word}:", text) for word, text in _objects("CONTAINER", (), settings)]
        return _starting(found, begun), FILES
    if place in _FILE_WORDS:
        return [], FILES
    states = _STATES.get(name.split()[-1], ())
    kind = {"SOURCE_IMAGE": "IMAGE", "NAME": "IMAGE", "REPOSITORY": "IMAGE", "NAME|ID": "ANY"}.get(place, place)
    chosen = {word for word in arguments if kind == "CONTAINER"}
    found = [item for item in _objects(kind, states, settings) if item[0] not in chosen]
    return _starting(found, begun), NOTHING


def _objects(kind: str, states: Sequence[str], settings: dict[str, str]) -> list[Candidate]:
    """Return the names of containers (in some states), images, networks, volumes or kernels, with what they are."""
    from ...paths import default_paths

    if kind not in ("CONTAINER", "IMAGE", "KERNEL", "NETWORK", "VOLUME", "ANY"):
        return []
    paths = default_paths(settings.get("root", ""), settings.get("state", ""))
    if kind == "KERNEL":
        from ...engine.machines import kernels

        return [(kernel.release, f"kernel, {kernel.architecture}") for kernel in kernels.listing(paths)]
    if not os.path.exists(paths.root + "/meta.db"):
        return []
    from ... import events
    from ...store.store import Store

    store = Store(paths, events.ignore, "auto")
    found: list[Candidate] = []
    if kind in ("CONTAINER", "ANY"):
        found += _containers(store, states)
    if kind in ("IMAGE", "ANY"):
        from ...oci import reference
        from ...store.rows import images

        found += [(reference.familiar(name), "image") for name, _, _ in images.names(store.meta)]
    if kind == "NETWORK":
        from ...store.rows import networks

        found += [(network["name"], network["driver"]) for network in networks.every(store.meta)]
    if kind in ("VOLUME", "ANY"):
        from ...store.rows import volumes

        found += [(volume.name, "volume") for volume in volumes.every(store.meta) if not volume.anonymous]
    return sorted(found)


def _containers(store: Store, states: Sequence[str]) -> Iterator[Candidate]:
    from ...runtime.monitor import state
    from ...store.rows import containers

    for row in containers.every(store.meta):
        word = state.status(store.paths.container(row.id), store.paths.container_state(row.id)).status
        if not states or word in states:
            yield row.name, f"{word}, {row.intent['image']['name']}"


def _starting(found: Iterable[Candidate], begun: str) -> list[Candidate]:
    return [item for item in found if item[0].startswith(begun)]
