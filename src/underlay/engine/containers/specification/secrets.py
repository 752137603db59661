"""The syntax of --secret, and where the values of a container's secrets come from when it starts.

Only where a value is found is recorded; the value goes from the file, or from the variable of the command that starts
the container, into memory of its monitor, and from there to a tmpfs that the container alone sees.
"""

from __future__ import annotations

import os

from ....errors import InvalidInput, NotFound
from ....human import plain
from .mount_flags import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....runtime.monitor.records import SecretSource
    from ....store.rows.intent import Secret

DIRECTORY = "/run/secrets"
_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAMES = {"source": "src", "destination": "target", "dst": "target"}


def parse(text: str) -> Secret:
    """Return what a --secret value `id=…,src=FILE|env=NAME[,target=…][,mode=…][,uid=…][,gid=…]` asks for.

    Raises InvalidInput.
    """
    values: dict[str, str] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = _NAMES.get(key, key)
        if not equals or not value or key in values:
            raise InvalidInput(f"invalid field '{field}' in --secret", "write key=value, each key once")
        if key not in ("id", "src", "env", "target", "mode", "uid", "gid", "type"):
            raise InvalidInput(f"unexpected key '{key}' in --secret", "known: id, src, env, target, mode, uid, gid")
        values[key] = value
    name = values.get("id", "")
    if not name or len(name) > 64 or not set(name) <= _ID or name in (".", ".."):
        raise InvalidInput(f"invalid id '{name}' in --secret", "letters, digits, _ . and -, at most 64")
    kind = values.get("type", "env" if "env" in values else "file")
    if kind not in ("file", "env") or ("src" in values) == ("env" in values) or (kind == "env") != ("env" in values):
        raise InvalidInput(f"--secret id={name}: one of src=FILE and env=NAME is needed")
    target = values.get("target", name)
    return {
        "id": name,
        "file": os.path.abspath(os.path.expanduser(values["src"])) if "src" in values else "",
        "variable": values.get("env", ""),
        "target": clean(target if target.startswith("/") else f"{DIRECTORY}/{target}"),
        "mode": _number(name, "mode", values.get("mode", "444"), 8, 0o7777),
        "uid": _number(name, "uid", values.get("uid", "0"), 10, (1 << 32) - 2),
        "gid": _number(name, "gid", values.get("gid", "0"), 10, (1 << 32) - 2),
    }


def _number(name: str, key: str, text: str, base: int, highest: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not set(text) <= set(digits) or len(text) > 10 or int(text, base) > highest:
        raise InvalidInput(
            f"--secret id={name}: invalid {key} '{text}'", "a number" if base == 10 else "as of chmod, 0400"
        )
    return int(text, base)


def check(secrets: Sequence[Secret], mounts: Sequence[str]) -> None:
    """Refuse secrets that cannot be given, before anything is made; `mounts` are the targets of mounts.

    Raises InvalidInput, NotFound.
    """
    taken = set(mounts)
    for secret in secrets:
        if secret["target"] in taken:
            raise InvalidInput(f"Duplicate mount point: {secret['target']}")
        if secret["target"] == "/proc" or secret["target"].startswith(("/proc/", "/sys/", "/dev/")):
            raise InvalidInput(f"--secret id={secret['id']}: the target {secret['target']} belongs to the kernel")
        taken.add(secret["target"])
        if secret["file"] and not os.path.isfile(secret["file"]):
            raise NotFound(f"--secret id={secret['id']}: there is no file {secret['file']}")
    sources(secrets)


def sources(secrets: Sequence[Secret]) -> list[SecretSource]:
    """Return where the monitor has the values from; those of variables are looked up here. Raises NotFound."""
    found: list[SecretSource] = []
    for secret in secrets:
        value = ""
        if secret["variable"]:
            given = os.environb.get(os.fsencode(secret["variable"]))
            if given is None:
                name = secret["variable"] if plain(secret["variable"]) else repr(secret["variable"])
                raise NotFound(
                    f"secret {secret['id']}: the variable {name} is not set",
                    "its value is not kept: set it for the command that starts the container",
                )
            value = given.hex()
        found.append({"id": secret["id"], "file": secret["file"], "value": value})
    return found
