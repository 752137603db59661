"""What installed packages depend on and provide, by dpkg's and apk's databases; versions are left out."""

from __future__ import annotations

from . import apk, dpkg
from .model import TEXT_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model import Files


class Relations:
    """`depends` are groups of names of which one is enough; `provides` its own name, and what it stands in for."""

    __slots__ = ("depends", "provides")

    def __init__(self, depends: list[list[str]], provides: set[str]) -> None:
        self.depends = depends
        self.provides = provides


def read(files: Files) -> dict[str, Relations]:
    """Return the relations of the installed packages by their names; none without a database. Raises LimitExceeded."""
    status = files.read(dpkg.STATUS, TEXT_LIMIT)
    if status is not None:
        return _of_dpkg(status.decode("utf-8", "replace"))
    for path in apk.DATABASES:
        data = files.read(path, TEXT_LIMIT)
        if data is not None:
            return _of_apk(data.decode("utf-8", "replace"))
    return {}


def _of_dpkg(text: str) -> dict[str, Relations]:
    """Read a status file (deb-control(5))."""
    found = {}
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name and not name[0].isspace():
                fields[name.lower()] = value.strip()
        name = fields.get("package", "")
        if not name or not fields.get("status", "install ok installed").endswith(" installed"):
            continue
        wanted = f"{fields.get('pre-depends', '')},{fields.get('depends', '')}"
        groups = [[_name(each) for each in group.split("|")] for group in wanted.split(",") if group.strip()]
        provided = {_name(each) for each in fields.get("provides", "").split(",") if each.strip()}
        found[name] = Relations(groups, provided | {name})
    return found


def _name(text: str) -> str:
    """Return the name in `libc6:any (>= 2.36)`."""
    return text.strip().partition(" ")[0].partition("(")[0].partition(":")[0]


def _of_apk(text: str) -> dict[str, Relations]:
    """Read a database of apk (apk-package(5)): D dependencies, p what is provided; names may be `so:…` and `cmd:…`."""
    found = {}
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            if line[1:2] == ":":
                fields.setdefault(line[0], line[2:].strip())
        name = fields.get("P", "")
        if name:
            groups = [[_unversioned(each)] for each in fields.get("D", "").split() if not each.startswith("!")]
            found[name] = Relations(groups, {_unversioned(each) for each in fields.get("p", "").split()} | {name})
    return found


def _unversioned(text: str) -> str:
    for position, character in enumerate(text):
        if character in "=<>~":
            return text[:position]
    return text
