"""An image moved onto another base: the new configuration, and what speaks against it.

The layers above the base stay as they are, byte for byte; nothing is unpacked or compressed again. What was inherited from
the old base's configuration is inherited from the new one's. What may be unsafe is a hazard, reported beforehand.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...oci import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...packages.model import Package

# Inherited members that say what is run, and how: with another value the image would mean something else.
_MEANING = ("Entrypoint", "Cmd", "User", "WorkingDir", "Shell", "StopSignal", "Healthcheck")
_SETS = {"ExposedPorts": "EXPOSE", "Volumes": "VOLUME"}
_SHOWN = 6
_MARKS = str.maketrans('[]{}:",', "       ")  # of `EXPOSE map[80/tcp:{}]` and `VOLUME [/data]`


class Hazard(msgspec.Struct, frozen=True):
    """What speaks against a move: `id` for programs, `text` what and where, `remedy` what to do."""

    id: str
    text: str
    remedy: str = ""


class Configured(msgspec.Struct, frozen=True):
    """The moved image's configuration, with hazards and what merely changes."""

    value: dict[str, Any]
    hazards: tuple[Hazard, ...]
    changes: tuple[str, ...]


def configuration(image: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any], steps: int) -> Configured:
    """Return the configuration of `image`, which stands on `old`, on `new`; all as their JSON documents say.

    `steps` of the image's history are its base's.
    """
    hazards: list[Hazard] = []
    changes: list[str] = []
    if _platform(image) != _platform(new):
        text = f"the image is for {_platform(image)}, the new base for {_platform(new)}"
        hazards.append(Hazard("platform", text, "choose the base for the image's platform"))
    own = [str(step.get("created_by") or "") for step in (image.get("history") or [])[steps:]]
    execution = _execution(
        image.get("config") or {}, old.get("config") or {}, new.get("config") or {}, own, hazards, changes
    )
    exchanged = len((old.get("rootfs") or {}).get("diff_ids") or [])
    value = {key: item for key, item in image.items() if key not in ("config", "rootfs", "history", "container_config")}
    value["config"] = execution
    diff_ids = (image.get("rootfs") or {}).get("diff_ids") or []
    below = (new.get("rootfs") or {}).get("diff_ids") or []
    value["rootfs"] = {"type": "layers", "diff_ids": [*below, *diff_ids[exchanged:]]}
    value["history"] = [*(new.get("history") or []), *(image.get("history") or [])[steps:]]
    return Configured(value, tuple(hazards), tuple(changes))


def _platform(config: Mapping[str, Any]) -> str:
    # Some images state the default variant: that of linux/arm64 is v8.
    return str(platforms.normalise(*(str(config.get(key) or "") for key in ("os", "architecture", "variant"))))


def _execution(
    image: dict[str, Any],
    old: dict[str, Any],
    new: dict[str, Any],
    own: Sequence[str],
    hazards: list[Hazard],
    changes: list[str],
) -> dict[str, Any]:
    """Return what is to be run; `own` are the steps of the image above its base."""
    merged: dict[str, Any] = {}
    for key in dict.fromkeys((*image, *new)):
        if key == "Env":
            merged[key] = _environment(image.get(key) or [], old.get(key) or [], new.get(key) or [], hazards, changes)
        elif key == "Labels":
            own_values, before, after = (config.get(key) or {} for config in (image, old, new))
            merged[key] = {
                **after,
                **{name: text for name, text in own_values.items() if before.get(name) != text},
            } or None
        elif key in _SETS:
            own_values, before, after = (config.get(key) or {} for config in (image, old, new))
            kept = {
                name: value for name, value in own_values.items() if name not in before or _says(own, _SETS[key], name)
            }
            merged[key] = {**after, **kept} or None
            gone = [name for name in own_values if name not in merged[key]] if merged[key] else list(own_values)
            changes += [f"{_SETS[key]} {name} came from the base, and is gone" for name in gone]
        elif key == "OnBuild":
            merged[key] = image.get(key)  # triggers are for images made from a base, never inherited
        elif (image.get(key) or None) == (old.get(key) or None):
            merged[key] = new.get(key)
            if key in _MEANING and (new.get(key) or None) != (old.get(key) or None):
                text = f"{key} comes from the base, and changes from {_shown(old.get(key))} to {_shown(new.get(key))}"
                hazards.append(Hazard("configuration", text, "set it in the image, or check that the new value fits"))
        else:
            merged[key] = image.get(key)
    return {key: item for key, item in merged.items() if item is not None or key in image}


def _says(steps: Sequence[str], word: str, name: str) -> bool:
    """Tell whether one of these steps, as builders write them down, is `word` with a name."""
    plain = name.removesuffix("/tcp")
    for step in steps:
        _, keyword, rest = step.partition(word)
        names = rest.translate(_MARKS).split() if keyword else []
        if name in names or plain in names:
            return True
    return False


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))[:80] or "nothing"
    return str(value)[:80] if value else "nothing"


def _environment(
    image: list[str], old: list[str], new: list[str], hazards: list[Hazard], changes: list[str]
) -> list[str]:
    own_values, before, after = (dict(pair.partition("=")[::2] for pair in pairs) for pairs in (image, old, new))
    merged = dict(after)
    for name, value in own_values.items():
        if before.get(name) != value:
            merged[name] = value
    gone = [(name, value) for name, value in before.items() if "/" in value and after.get(name) != value]
    for name, value in own_values.items():
        parts = [variable for variable, held in gone if _holds(value, held)] if before.get(name) != value else []
        if parts:
            now = after.get(parts[0], "not set")[:80]
            text = (
                f"{name}={value[:80]} holds the value that {parts[0]} had in the old base; in the new base it is {now}"
            )
            hazards.append(Hazard("configuration", text, f"set {name} in the image anew"))
    for name, value in before.items():
        if own_values.get(name) != value or after.get(name) == value:
            continue
        if name == "PATH":
            text = f"PATH comes from the base, and changes from {value} to {after.get(name) or 'nothing'}"
            hazards.append(Hazard("configuration", text, "set PATH in the image"))
        elif name in after:
            changes.append(f"{name} changes from {value[:80]} to {after[name][:80]}")
        else:
            changes.append(f"{name}={value[:80]} is no longer set")
    return [f"{name}={value}" for name, value in merged.items()]


def _holds(value: str, part: str) -> bool:
    return re.search(rf"(?:^|[:\s=]){re.escape(part)}(?:$|[:/\s])", value) is not None


def packages(old: Sequence[Package], new: Sequence[Package]) -> list[str]:
    """Return which packages are gone in another base, and which have another version.

    Whether the image uses what is gone is judged by its files: `usage` and `rebase_checks`.
    """
    names = {(package.kind, package.name): package.version for package in new}
    gone = sorted({package.name for package in old if (package.kind, package.name) not in names})
    other = sorted(
        f"{package.name} {package.version} → {names[package.kind, package.name]}"
        for package in old
        if names.get((package.kind, package.name), package.version) != package.version
    )
    changes = [f"{len(gone)} packages of the old base are not in the new one: {some(gone)}"] if gone else []
    if other:
        changes.append(f"{len(other)} packages of the base have another version: {some(other)}")
    return changes


def some(names: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
