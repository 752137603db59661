"""BuildKit's cache keys of steps, as far as they can be known without BuildKit.

A key is a digest of an operation (its LLB, as Go writes JSON) and links to the keys of its inputs. What is computed here
are the plain forms: images, WORKDIR, RUN (`mounts` has its mounts), COPY and ADD of local files. Anything
else has no key (None), and neither have steps above it: they are built as if there were no cache. Sources: BuildKit's
solver/llbsolver/ops (exec.go, file.go, source.go), solver/cachekey.go, client/llb and dockerfile2llb.
"""

from __future__ import annotations

import json
import posixpath
from base64 import b64encode

from ....lean.hashing import sha256
from ...copy.names import is_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....oci.platform import Platform

    Links = tuple[tuple[str, "Key"], ...]  # selector, key

_HOST, _NONE = 1, 2  # networks of an ExecOp; the default is 0 and is left out
_INSECURE = 1
_NOT = -1  # an output, an input or a mode that is not there
_LONGEST_OWNER = 256  # letters
# How an owner's id is called: before BuildKit 0.17, and since then.
_ID_NAMES = ("byID", "byId")


class Key:
    """A key: the `digests` that its operation may have (versions of BuildKit differ), and for each input the keys that may
    stand for it, with what of the input is read (a selector, "" for all)."""

    __slots__ = ("digests", "inputs")

    def __init__(self, digests: Sequence[str], inputs: Sequence[Links] = ()) -> None:
        self.digests = tuple(digests)
        self.inputs = tuple(inputs)


SCRATCH = Key(())
"""What a stage FROM scratch begins with: no input to anything."""


class Copied:
    """One source of a COPY: its clean `path` in its root, and the digest of what is there ("" where that is not known)."""

    __slots__ = ("digest", "path")

    def __init__(self, path: str, digest: str) -> None:
        self.path = path
        self.digest = digest


def _digest(text: str) -> str:
    return "sha256:" + sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _output(digest: str, number: int) -> str:
    """Return the digest of a key for one of its operation's outputs."""
    return _digest(f"{digest}@{number}")


def _json(value: object) -> str:
    """Return JSON as Go's encoding/json writes it; raises ValueError for text that is not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for letter, escape in _GO_ESCAPES:
        text = text.replace(letter, escape)
    text.encode()
    return text


# What Go escapes beyond the standard; of the short escapes \b and \f it knows nothing before Go 1.22.
_GO_ESCAPES = (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def image(diff_ids: Sequence[str]) -> Key | None:
    """Return the key of a base image, which is that of its layers; None for one without any."""
    if not diff_ids:
        return None
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = _digest(f"{chain} {diff_id}")
    return Key([_output(_digest(f"buildkit.source.v0:{chain}"), 0)])


def run(
    below: Key,
    words: Sequence[str],
    environment: Sequence[str],
    directory: str,
    user: str,
    network: str,
    insecure: bool,
    platform: Platform,
    mounts: Sequence[Sequence[dict[str, object]]] = (),
    inputs: Sequence[Links] = (),
) -> Key | None:
    """Return the key of a RUN. Its `network` is default, host or none; another has no key.

    `mounts`, in the forms that they may have, and all `inputs` are those of `mounts.described`.
    """
    if below is SCRATCH or network not in ("default", "host", "none"):
        return None
    meta: dict[str, object] = {"args": list(words), "env": list(environment), "cwd": directory}
    if user:
        meta["user"] = user
    meta["removeMountStubsRecursive"] = True
    operation: dict[str, object] = {"meta": meta}
    if mounts:
        operation["mounts"] = []  # where JSON has it
    if network != "default":
        operation["network"] = _HOST if network == "host" else _NONE
    if insecure:
        operation["security"] = _INSECURE
    whole = {"Type": "buildkit.exec.v0", "Exec": operation, "OS": platform.os, "Arch": platform.architecture}
    if platform.variant:
        whole["Variant"] = platform.variant
    digests = []
    try:
        for form in mounts or ((),):
            if form:
                operation["mounts"] = form
            digests.append(_output(_digest(_json(whole)), 0))
    except ValueError:
        return None
    return Key(digests, inputs or [((selector("/"), below),)])


def selector(*paths: str) -> str:
    """Return what stands for the paths of an input that are read."""
    return _digest("\0".join(paths))


def directory(below: Key, path: str, user: str) -> Key | None:
    """Return the key of a WORKDIR that may have to be made, for a `user`."""
    alternatives: list[list[dict[str, object]]] = []
    for name in _ID_NAMES:
        owner = _owned(user, below, name)
        if owner is None:
            return None
        alternatives.append([{"path": path, "mode": 0o755, "makeParents": True, **owner, "timestamp": _NOT}])
    return _file_key(alternatives, below, None)


def copy(
    below: Key,
    sources: Sequence[Copied],
    origin: Key | None,
    destination: str,
    workdir: str,
    owner: str,
    mode: int | None,
    unpack: bool,
) -> Key | None:
    """Return the key of a COPY or ADD of local files, from the context or from `origin`, a stage or an image.

    `mode` is what --chmod gives, if it is a number.
    """
    target = _target(destination, workdir)
    if not target or origin is below or not sources:
        return None
    alternatives = []
    for name in _ID_NAMES:
        actions = []
        for source in sources:
            owned = _owned(owner, below, name)
            if owned is None:
                return None
            action: dict[str, object] = {"src": posixpath.basename(source.path) or "/", "dest": target, **owned}
            action["mode"] = _NOT if mode is None else mode
            action |= {"followSymlink": True, "dirCopyContents": True}
            if unpack:
                action["attemptUnpackDockerCompatibility"] = True
            action |= {"createDestPath": True, "allowWildcard": True, "allowEmptyWildcard": True, "timestamp": _NOT}
            if not mode and mode is not None:
                del action["mode"]  # zero is left out
            actions.append(action)
        alternatives.append(actions)
    links: list[tuple[str, Key]] = []
    if origin is not None and origin is not SCRATCH:
        links.append((selector(*sorted((source.path for source in sources), reverse=True)), origin))
    if all(source.digest for source in sources):
        links.append(held(sources))
    return _file_key(alternatives, below, tuple(links)) if links else None


def held(sources: Sequence[Copied]) -> tuple[str, Key]:
    """Return the link to what is read of one input, by the digests of that, which are known."""
    known = {source.path: source.digest for source in sources}
    # What lies below another source is not read again, unless a pattern names it.
    paths = [
        path
        for path in sorted(known)
        if is_pattern(path) or not any(path != other and _below(path, other) for other in known)
    ]
    return "", Key([_output(_digest("\0".join(known[path] for path in paths)), _NOT)])


def _below(path: str, other: str) -> bool:
    return path.startswith(other if other.endswith("/") else other + "/")


def _file_key(alternatives: list[list[dict[str, object]]], below: Key, read: Links | None) -> Key | None:
    """Return the key of a FileOp, whose actions are done one after the other above `below`; each reads `read`."""
    inputs: list[Links] = [] if below is SCRATCH else [(("", below),)]
    base = _NOT if below is SCRATCH else 0
    second = _NOT
    if read is not None:
        second = len(inputs)
        inputs.append(read)
    digests = []
    try:
        for actions in alternatives:
            indexes = []
            for number in range(len(actions)):
                first = base if not number else len(inputs) + number - 1
                indexes.append([first, second, 0 if number == len(actions) - 1 else _NOT])
            whole: dict[str, object] = {
                "Type": "buildkit.file.v0",
                "Actions": [b64encode(_json(action).encode()).decode() for action in actions],
            }
            if not _usual(indexes):
                whole["indexes"] = indexes
            digests.append(_output(_digest(_json(whole)), 0))
    except ValueError:
        return None
    return Key(list(dict.fromkeys(digests)), inputs)


def _usual(indexes: list[list[int]]) -> bool:
    """Tell whether these are the indexes that BuildKit leaves out (file.go, isDefaultIndexes)."""
    for number, (first, second, output) in enumerate(indexes):
        if first != (len(indexes) + number - 1 if number else 0) or second not in (_NOT, 1):
            return False
        if output != (0 if number == len(indexes) - 1 else _NOT):
            return False
    return True


def _owned(text: str, below: Key, name: str) -> dict[str, object] | None:
    """Return the member of an operation that has an owner, as written; `name` is how a number is called. None for one that
    is malformed, or whose name nobody knows."""
    if not text:
        return {}
    owner: dict[str, object] = {}
    for who, value in zip(("user", "group"), text.split(":", 1), strict=False):
        one: dict[str, object] = {}
        if len(value) > _LONGEST_OWNER:
            return None
        number = 0 if value == "root" else int(value) if value.isascii() and value.isdigit() else None
        if number is not None:
            if number:
                one[name] = number
        elif not value or ":" in value or below is SCRATCH:
            return None
        else:
            named: dict[str, object] = {"name": value}
            if name == _ID_NAMES[0]:
                named["input"] = 0  # the file system below, which is left out since BuildKit 0.17
            one["byName"] = named
        owner[who] = {"User": one}
    return {"owner": owner}


def _target(destination: str, workdir: str) -> str:
    """Return the destination of a COPY from the root, with a slash at its end if it has one; "" for "…/."."""
    if destination in ("", "."):
        destination = "./"
    if destination.endswith("/."):
        return ""
    path = "/" + posixpath.normpath(posixpath.join("/", workdir, destination)).lstrip("/")
    return path + "/" if destination.endswith("/") and path != "/" else path
