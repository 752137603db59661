"""A target of bake files as words of `build`."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager

from ...errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import Target

# Keys of a target that are lists, and the flag that each of their items becomes.
_LISTS = {
    "annotations": "annotation",
    "attest": "attest",
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "no-cache-filter": "no-cache-filter",
    "output": "output",
    "platforms": "platform",
    "secret": "secret",
    "ssh": "ssh",
    "tags": "tag",
    "ulimits": "ulimit",
}
_MAPS = {"args": "build-arg", "labels": "label", "extra-hosts": "add-host"}
_FLAGS = ("no-cache", "pull")
_TEXTS = ("call", "network", "shm-size", "target")
# What a path begins with that is meant from the working directory, whatever the context is.
_HERE = "cwd://"


@contextmanager
def words(target: Target, made: dict[str, str]) -> Iterator[tuple[list[str], Callable[[], str]]]:
    """Yield the words of `build` for a target, and what returns the id of its image afterwards.

    `made` are the ids of the images of other targets, which it may stand on. Raises Unsupported.
    """
    with tempfile.TemporaryDirectory(prefix="underlay-bake-") as place:
        identity = f"{place}/id"
        found = [f"--iidfile={identity}"]
        for key, flag in _LISTS.items():
            found += [f"--{flag}={item}" for item in target.get(key, [])]
        for key, flag in _MAPS.items():
            joint = ":" if key == "extra-hosts" else "="
            found += [f"--{flag}={name}{joint}{value}" for name, value in target.get(key, {}).items()]
        found += [f"--{key}" for key in _FLAGS if target.get(key)]
        found += [f"--{key}={target[key]}" for key in _TEXTS if target.get(key)]
        for name, context in target.get("contexts", {}).items():
            found.append(f"--build-context={name}={_context(context, made)}")
        context = _context(target.get("context", "."), made)
        if target.get("dockerfile-inline"):
            with open(f"{place}/Dockerfile", "w", encoding="utf-8") as file:
                file.write(target["dockerfile-inline"])
            found.append(f"--file={place}/Dockerfile")
        else:
            found.append(f"--file={_dockerfile(target.get('dockerfile', 'Dockerfile'), context)}")
        yield [*found, context], lambda: _content(identity)


def _context(context: str, made: dict[str, str]) -> str:
    if context.startswith("target:"):
        name = context.removeprefix("target:")
        if not made.get(name):
            raise Unsupported(
                f"bake: target {name} leaves no image here for others to stand on", "leave its output out"
            )
        return f"docker-image://{made[name]}"
    return context.removeprefix(_HERE) or "."


def _dockerfile(path: str, context: str) -> str:
    """Return the path of a Dockerfile: inside the context, unless it is absolute or says otherwise."""
    if path.startswith(_HERE):
        return path.removeprefix(_HERE)
    if os.path.isabs(path) or "://" in context or context == "-" or not os.path.isdir(context):
        return path
    return os.path.join(context, path)


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""  # a call that builds nothing
