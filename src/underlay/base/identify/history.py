"""Steps of an image's history: one normal form for all builders, what a step leaves, and its shape without versions."""

from __future__ import annotations

import re

from ...lean import hashing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Known steps may be cut at this many characters, so nothing behind them can be compared.
TEXT_KEPT = 240
# Characters of the masked text that make the shape: few enough that a longer version number before them cannot
# push a cut into view.
_SHAPE_KEPT = 120

_SHELLS = (
    "/bin/sh -c ",
    "/bin/bash -c ",
    "/bin/ash -c ",
    "/bin/sh -ec ",
    "/bin/bash -ec ",
    "/bin/bash -o pipefail -c ",
)
_NOP = re.compile(r"^(?:/bin/(?:ba|a)?sh -c )?#\(nop\)\s*")
_WORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR #".split()
)
_ARGUMENTS = re.compile(r"^\|([0-9]{1,6}) ")
_BUILDKIT = " # buildkit"
_CREATED_EMPTY = frozenset(
    "ARG CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME".split()
)
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}\b|\b[0-9A-F]{16,}\b|\b[0-9a-f]{32,}\b")
_NUMBER = re.compile(r"\d[\w.+~:-]*")
_SPACE = re.compile(r"\s+")
_VALUE = re.compile(r"=\S*")
_VERSION = re.compile(r"\b[A-Z][A-Z0-9_]*=v?(\d[\w.+~-]*)")


def normal(created_by: str) -> str:
    """Return a step in Dockerfile form: `RUN apt-get update`, `CMD ["bash"]`, `ADD file:… in /`.

    Understands `created_by` of Docker's classic builder, BuildKit, buildah, podman and kaniko; text that is in
    Dockerfile form already is returned as it is. BuildKit's mark ` # buildkit` stays. Build arguments of a RUN step
    come as a line before it: `# ARGS: A=1 B=2`.
    """
    text = created_by.strip()
    nop = _NOP.match(text)
    if nop:
        return text[nop.end() :].rstrip()
    word, _, rest = text.partition(" ")
    if word == "RUN" and rest.startswith(("/bin/", "|")):
        text = rest
    elif word in _WORDS:
        return text
    arguments = ""
    counted = _ARGUMENTS.match(text)
    if counted:
        arguments, text = _arguments(text[counted.end() :], int(counted[1]))
    for shell in _SHELLS:
        if text.startswith(shell):
            text = text[len(shell) :]
            break
    else:
        if not text:
            return ""
    return f"# ARGS: {arguments}\nRUN {text.strip()}" if arguments else f"RUN {text.strip()}"


def _arguments(text: str, count: int) -> tuple[str, str]:
    """Split `A=1 B=2 /bin/sh -c …` behind `|2 `; values may hold spaces, so the shell is what ends them."""
    for shell in _SHELLS:
        position = text.find(shell)
        if position >= 0:
            return text[:position].strip(), text[position:]
    words = text.split(" ", count)
    return " ".join(words[:count]), words[count] if len(words) > count else ""


def instruction(step: str) -> str:
    """Return the Dockerfile word of a step in normal form, upper case; "" when it begins with none."""
    if step.startswith("# ARGS:"):
        return "RUN"
    word = step.partition(" ")[0].upper()
    return word if word in _WORDS else ""


def leaves_layer(step: str) -> bool | None:
    """Tell whether a step in normal form leaves a layer; None for WORKDIR, of which builders think differently."""
    word = instruction(step)
    if word == "WORKDIR":
        return None
    return word not in _CREATED_EMPTY


def shape(step: str) -> str:
    """Return what stays the same when a step is built again for another version: numbers and digests are masked."""
    text = step
    cut = len(text) > TEXT_KEPT or text.endswith("…")
    text = text[:TEXT_KEPT].rstrip("…")
    if text.startswith("# ARGS:"):
        text = text.partition("\n")[2] or text
    text = text.removesuffix(_BUILDKIT)
    word = instruction(text)
    if word == "MAINTAINER":
        return word
    if word == "ENTRYPOINT":
        text = text.replace("&{", "").replace("}", "")
    if word == "ARG":
        return _VALUE.sub("=", text.partition("=")[0])
    text = _SPACE.sub(" ", text)
    text = _NUMBER.sub("#", _HEX.sub("#", text))
    if word == "ENV" and "#" in text:
        return text.partition("=")[0]
    if cut and len(text) < _SHAPE_KEPT + 12:
        text = text[:-12]
    return text[:_SHAPE_KEPT]


def short_hash(text: str) -> int:
    """Return the first 64 bits of the SHA-256 of `text`, as known steps are compared."""
    return int.from_bytes(hashing.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def versions(steps: Sequence[str]) -> list[str]:
    """Return the values of environment variables and arguments in `steps` that look like versions, without a `v`."""
    return [version for step in steps if "=" in step[:TEXT_KEPT] for version in _VERSION.findall(step[:TEXT_KEPT])]


def seconds(created: str | None) -> float | None:
    """Return seconds since the epoch of a step's time (RFC 3339); None when there is none, or not a real one."""
    if not created or created[:4] < "1990":
        return None
    from ...human import parse_rfc3339

    try:
        return parse_rfc3339(created)
    except ValueError:
        return None
