"""The form of a tag: how exact a version it is; whether a code name, a date, a variant."""

from __future__ import annotations

import re

import msgspec

_VERSION = re.compile(r"v?\d+(?:[.u]\d+)*(?:\.?(?:rc|alpha|beta|b|a)\d*)?$")
_DATE = re.compile(r"(?:19|20)\d{6}(?:\.\d+)?$|(?:19|20)\d\d\.\d\d\.\d+(?:\.\d+)?$")
# Names of channels, which point at something else after each release.
_CHANNELS = frozenset(
    "latest stable oldstable oldoldstable testing unstable edge rolling devel test rc beta alpha nightly lts mainline "
    "next current experimental dev".split()
)
_SPLIT = re.compile(r"[.u]")


class Form(msgspec.Struct, frozen=True, gc=False):
    """The form of a tag. `version` "" when it begins with none; `depth` = its number of parts; `words` = the rest."""

    repository: str
    tag: str
    version: str
    depth: int
    last: str  # the last part of the version
    dated: bool
    latest: bool
    words: tuple[str, ...]
    numbered: int  # words behind the first that hold a digit
    channel: bool  # begins with the name of a release channel
    echo: bool  # says the repository's name again


_forms: dict[str, Form] = {}


def form(name: str) -> Form:
    """Return the form of a name such as `openjdk:8-jre-alpine`."""
    known_form = _forms.get(name)
    if known_form is None:
        if len(_forms) > 20_000:
            _forms.clear()
        known_form = _forms[name] = _form(name)
    return known_form


def _form(name: str) -> Form:
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    version = ""
    dated = False
    rest: list[str] = []
    for word in tag.split("-"):
        if _DATE.match(word):
            dated = True
        elif not version and not rest and _VERSION.match(word):
            version = word.lstrip("v")
        else:
            rest.append(word)
    parts = _SPLIT.split(version) if version else []
    depth = len(parts)
    last = parts[-1] if parts else ""
    numbered = sum(any(letter.isdigit() for letter in word) for word in rest[0 if version else 1 :])
    own = repository.rpartition("/")[2]
    channel = bool(rest) and rest[0] in _CHANNELS
    return Form(
        repository,
        tag,
        version,
        depth,
        last,
        dated,
        tag == "latest",
        tuple(rest),
        numbered,
        channel,
        tag.startswith(own),
    )


def agrees(version: str, full_versions: list[str]) -> bool:
    """Tell whether one of the full versions `found` is what a tag's `version` promises: 2.7 and 2.7.13."""
    length = len(version)
    return any(full.startswith(version) and not full[length : length + 1].isdigit() for full in full_versions)
