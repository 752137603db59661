"""Variables that steps set, and the versions in their values."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT = 2_000  # characters of a step that are looked at
_PAIR = re.compile(r"""(?:^|\s)([A-Za-z_][A-Za-z0-9_]{0,60})=("[^"]*"|'[^']*'|\S*)""")
_OLD = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,60}) (\S+)")
# What follows a stem: a version first of all; the rest only says that something of that name is there.
VERSIONS = frozenset(("VERSION", "MAJOR"))
_STEM = re.compile(
    r"([A-Z_][A-Z0-9_]*?)_(VERSION|MAJOR|HOME|RELEASE|TARBALL|URL|DOWNLOAD_URL|PREFIX|PATH|DIR|CONF_DIR|DATA_DIR"
    r"|SHA1|SHA256|SHA512|DOWNLOAD_SHA|DOWNLOAD_SHA1|DOWNLOAD_SHA256)$"
)
_LABEL = re.compile(r"""org\.opencontainers\.image\.(title|source|version|url)=("[^"]*"|'[^']*'|\S*)""")
_NUMBER = re.compile(r"(?:^|[^\d.])(\d{1,9}(?:\.\d{1,9}){0,3})")
_EPOCH = re.compile(r"^\d+:(?=\d)")


def assigned(step: str) -> Iterator[tuple[str, str]]:
    """Yield the variables that an ENV step in normal form sets, with their values: `ENV A=1 B=2`, `ENV A 1`."""
    if not step.startswith("ENV "):
        return
    text = step[4:_KEPT]
    old = _OLD.match(text)
    if old and "=" not in old[0]:
        yield old[1], old[2]
        return
    for name, value in _PAIR.findall(text):
        yield name, value.strip("\"'")


def labels(step: str) -> dict[str, str]:
    """Return the title, source, url and version that a LABEL step in normal form says, by their words in OCI's form."""
    if not step.startswith("LABEL ") or "org.opencontainers.image." not in step:
        return {}
    return {name: value.strip("\"'") for name, value in _LABEL.findall(step[:_KEPT])}


def stem(name: str) -> tuple[str, str]:
    """Return the stem of a variable's name and what follows it: NODE and VERSION of NODE_VERSION; itself and "" else."""
    found = _STEM.match(name)
    return (found[1], found[2]) if found else (name, "")


def version(value: str) -> str:
    """Return the version that a value says: `1:12.3.2+maria` 12.3.2, `jdk-21.0.12+8` 21.0.12; "" when there is none."""
    found = _NUMBER.search(_EPOCH.sub("", value.strip())[:60])
    return found[1] if found else ""
