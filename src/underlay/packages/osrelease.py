"""The os-release file of an image: os-release(5)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model import Files

PLACES = (b"etc/os-release", b"usr/lib/os-release")
_LIMIT = 1 << 20
# Releases that had no os-release yet say it here, in a line or two.
_REDHAT = b"etc/centos-release"
_DEBIAN = b"etc/debian_version"
# All files that tell of a release; alpine-release is read where os-release is not believed.
FILES = frozenset((*PLACES, _REDHAT, _DEBIAN, b"etc/alpine-release"))


def read(files: Files) -> dict[str, str]:
    """Return what os-release says (ID, VERSION_ID, VERSION_CODENAME, …); {} when the image says nothing."""
    for path in PLACES:
        data = files.read(path, _LIMIT)
        if data is not None:
            return parse(data.decode("utf-8", "replace"))
    return read_older(files)


def parse(text: str) -> dict[str, str]:
    """Return the assignments of an os-release file; quotes are taken off, a backslash before `"$\\`` too."""
    assignments = {}
    for line in text.split("\n"):
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quote = value[:1]
            if quote in ("'", '"') and value.endswith(quote) and len(value) > 1:
                value = value[1:-1]
            else:
                value = value.strip("\"'")
            if quote == '"' and "\\" in value:
                for letter in '"$`\\':
                    value = value.replace("\\" + letter, letter)
            assignments[name] = value
    return assignments


def read_older(files: Files) -> dict[str, str]:
    """Return what the files say that releases had before os-release; {} when they say nothing."""
    import re

    data = files.read(_REDHAT, _LIMIT)
    if data is not None and (match := re.search(rb"release (\d[\d.]*)", data[:200])):
        return {"ID": "centos", "VERSION_ID": match[1].decode()}
    data = files.read(_DEBIAN, _LIMIT)
    if data is not None and (match := re.match(rb"(\d+)[\d.]*\s*$", data[:200])):
        return {"ID": "debian", "VERSION_ID": match[1].decode()}
    return {}
