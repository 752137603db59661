"""Settings: what one would otherwise say with each command. Variables win over the user's file, that one over /etc's.

`/etc/underlay/config.toml` and `~/.config/underlay/config.toml` have the names below as keys; a file is read when a setting
is asked for that no variable has.
"""

from __future__ import annotations

import os

from .errors import InvalidInput, KernelError, LimitExceeded
from .lean.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE, FLAG, DEFAULT = "variable", "flag", "default"
_FILE_LIMIT = 1 << 20  # bytes


class Setting(Value):
    """One setting: the variable that has it, its default, what it means, and the words it may be (none: any text)."""

    variable: str
    default: str
    text: str
    words: tuple[str, ...] = ()


SETTINGS = {
    "root": Setting("UNDERLAY_ROOT", "", "directory of images, containers, volumes"),
    "state": Setting("UNDERLAY_STATE", "", "directory of what is true until the next boot"),
    "form": Setting("UNDERLAY_FORM", "auto", "how layers are kept", ("auto", "erofs", "tree")),
    "network": Setting("UNDERLAY_NETWORK", "", "the network of containers for which none is named"),
    "userns": Setting("UNDERLAY_USERNS", "", "the user namespace of containers for which none is named"),
    "log-driver": Setting("UNDERLAY_LOG_DRIVER", "local", "how the output of containers is kept"),
    "log-opts": Setting("UNDERLAY_LOG_OPTS", "", "options of the log driver: name=value, separated by commas"),
    "keep-compressed": Setting("UNDERLAY_KEEP_COMPRESSED", "", "keep layers' compressed bytes as well"),
    "add-limit": Setting("UNDERLAY_ADD_LIMIT", "2g", "how large a file may be that a build fetches"),
    "registries": Setting("UNDERLAY_REGISTRIES", "", "the only file of settings of registries"),
    "networks": Setting("UNDERLAY_NETWORKS", "", "the only file of settings of address pools"),
    "certificates": Setting("UNDERLAY_CERTS_D", "", "the only directory of registries' certificates"),
    "trust-policy": Setting("UNDERLAY_TRUST_POLICY", "", "the only trust policy"),
    "cdi": Setting("UNDERLAY_CDI", "/etc/cdi:/var/run/cdi", "directories with descriptions of devices"),
    "advisories": Setting("UNDERLAY_ADVISORIES", "", "address of the exports of advisories"),
    "colour": Setting("UNDERLAY_COLOUR", "auto", "colours in output", ("auto", "always", "never")),
}
_read_files: dict[str, dict[str, str]] = {}


def value(name: str) -> str:
    """Return a setting. Raises InvalidInput naming file and key, LimitExceeded, KernelError."""
    return found(name)[0]


def found(name: str) -> tuple[str, str]:
    """Return a setting, and where it comes from: its variable, the path of a file, or "default"; raises as `value`."""
    setting = SETTINGS[name]
    given = os.environ.get(setting.variable, "")
    if given:
        _check(setting.variable, name, given)
        return given, setting.variable
    for path in reversed(files()):
        table = _table(path)
        if name in table:
            return table[name], path
    return setting.default, DEFAULT


def files() -> list[str]:
    """Return the paths of the files of settings, whether they exist or not, the weaker first."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return ["/etc/underlay/config.toml", home + "/underlay/config.toml"]


def _table(path: str) -> dict[str, str]:
    if path not in _read_files:
        _read_files[path] = _read(path)
    return _read_files[path]


def _read(path: str) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise KernelError("open", path, error.errno or 0) from None
    if len(data) > _FILE_LIMIT:
        raise LimitExceeded(f"{path}: longer than {_FILE_LIMIT} bytes")
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    return {name: _text(path, name, item) for name, item in document.items()}


def _text(path: str, name: str, item: Any) -> str:
    setting = SETTINGS.get(name)
    if setting is None:
        from .human import did_you_mean

        raise InvalidInput(
            f"{path}: no setting is called {name}", did_you_mean(name, SETTINGS, "", f"known are {', '.join(SETTINGS)}")
        )
    if name == "log-opts" and isinstance(item, dict):
        item = ",".join(f"{key}={one}" for key, one in item.items())
    elif isinstance(item, bool) and name == "keep-compressed":
        item = "1" if item else ""
    elif isinstance(item, list) and name == "cdi" and all(isinstance(one, str) for one in item):
        item = ":".join(item)
    if not isinstance(item, str):
        raise InvalidInput(f"{path}: {name}: expected a text")
    _check(f"{path}: {name}", name, item)
    return item


def _check(where: str, name: str, item: str) -> None:
    words = SETTINGS[name].words
    if words and item not in words:
        raise InvalidInput(f"{where}: {item!r} is none of {', '.join(words)}")
