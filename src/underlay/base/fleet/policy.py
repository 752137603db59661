"""Rules for the bases of a fleet, read from TOML, and the images that break them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SEVERITIES = ("low", "medium", "high", "critical")
UNRATED = "unknown"  # of advisories that tell no severity
SUPPORTED, NEAR, PAST, UNKNOWN = "supported", "near its end", "past its end", "unknown"
_DAY = 86400
NOTHING = "scratch"


class Vulnerabilities(msgspec.Struct, frozen=True):
    """How many advisories apply, by severity: in all, with a fix, and of those with a fix how many come from the base;
    whether all packages could be checked."""

    found: dict[str, int] = {}
    fixable: dict[str, int] = {}
    fixable_from_base: dict[str, int] = {}
    complete: bool = True


class Standing(msgspec.Struct, frozen=True):
    """An image and its base, as policies and reports use them; "" and None where something is unknown.

    `created` is the creation time of the base (seconds since the epoch), `life` one of supported, near, extended, ended
    and unknown, `ends` the last day of support.
    """

    image: str
    base: str = ""
    names: tuple[str, ...] = ()
    digest: str = ""
    confidence: float = 0.0
    chain: tuple[str, ...] = ()
    distribution: str = ""
    created: float | None = None
    life: str = UNKNOWN
    ends: str = ""
    outdated: bool | None = None
    newer: str = ""
    vulnerabilities: Vulnerabilities | None = None
    problems: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The rules for bases; a rule that is not set is off.

    `allow` and `deny` are patterns (`debian:*-slim`) of names of the base. `known` requires a base that is a known build,
    or identified with at least `confidence`; so does `allow`, since a name that an image only claims is not trusted.
    `max_distributions` and `max_bases` count over all images. `max_age` is in days. `end_of_life` false rejects a base
    past its end of life. `fixable` is the severity from which vulnerabilities with a fix are rejected; "low" also rejects
    those without a stated severity.
    """

    allow: list[str] | None = None
    deny: list[str] = []
    known: bool = False
    confidence: float = 0.9
    max_distributions: int | None = None
    max_bases: int | None = None
    max_age: int | None = None
    end_of_life: bool = True
    outdated: bool = True
    fixable: str = ""


class BrokenRule(msgspec.Struct, frozen=True):
    """A violation of a policy: the name of the rule, the image ("" for all together), and a sentence on the violation."""

    rule: str
    image: str
    text: str


def read(data: bytes, what: str) -> Policy:
    """Return the rules of a TOML document: a table `bases`. Raises InvalidInput with the place."""
    import tomllib

    try:
        value: Any = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{what}: {error}") from None
    unknown = sorted(set(value) - {"bases"})
    if unknown or not isinstance(value.get("bases"), dict):
        text = f"unknown table {unknown[0]!r}" if unknown else "there is no table [bases]"
        raise InvalidInput(f"{what}: {text}", "write the rules under [bases]")
    try:
        policy = msgspec.convert(value["bases"], Policy)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what}: [bases]: {error}") from None
    if policy.fixable and policy.fixable not in SEVERITIES:
        raise InvalidInput(f"{what}: fixable = {policy.fixable!r} is not a severity", f"one of {', '.join(SEVERITIES)}")
    if not 0 <= policy.confidence <= 1:
        raise InvalidInput(
            f"{what}: confidence = {policy.confidence} is not between 0 and 1", "write a share such as 0.9"
        )
    for name in ("max_distributions", "max_bases", "max_age"):
        number = getattr(policy, name)
        if number is not None and number < 0:
            raise InvalidInput(f"{what}: {name.replace('_', '-')} is negative")
    return policy


def check(policy: Policy, images: Sequence[Standing], now: float) -> list[BrokenRule]:
    """Return the rules that images break, in their order; those over all of them last. `now` in seconds since the epoch."""
    broken = [broken_rule for image in images for broken_rule in _of_one(policy, image, now)]
    for rule, limit, values in (
        ("max-distributions", policy.max_distributions, {image.distribution for image in images}),
        ("max-bases", policy.max_bases, {image.digest or image.base for image in images}),
    ):
        distinct = sorted(values - {""})
        if limit is not None and len(distinct) > limit:
            shown = ", ".join(distinct) if rule == "max-distributions" else f"{len(distinct)} bases"
            broken.append(BrokenRule(rule, "", f"{len(distinct)}, and {limit} are allowed: {shown}"))
    return broken


def _of_one(policy: Policy, image: Standing, now: float) -> list[BrokenRule]:
    broken = []

    def say(rule: str, text: str) -> None:
        broken.append(BrokenRule(rule, image.image, text))

    names = image.names or ((image.base,) if image.base else ())
    # A build all of whose layers and steps are there is known, under whichever of its names it was meant.
    sure = image.base and (image.digest or image.confidence >= policy.confidence)
    if policy.known and not sure:
        text = f"its base is most like {image.base}, {image.confidence:.0%}" if image.base else "its base is not known"
        say("known", text)
    if policy.allow is not None and not any(fnmatchcase(name, pattern) for name in names for pattern in policy.allow):
        say(
            "allow",
            f"its base {image.base} is not among those allowed"
            if image.base
            else "its base is not known, so it is not allowed",
        )
    elif policy.allow is not None and not sure:
        say("allow", f"its base is {image.base} with {image.confidence:.0%} only: too little to be allowed")
    denied = next((name for name in names if any(fnmatchcase(name, pattern) for pattern in policy.deny)), "")
    if denied:
        say("deny", f"its base {denied} is denied")
    if not policy.end_of_life and image.life == PAST:
        what = image.base if image.base != NOTHING else image.distribution or "it"
        say("end-of-life", f"{what} is past its end of life since {image.ends}")
    if not policy.outdated and image.outdated:
        say("outdated", f"{image.base} is another build now" + (f", {image.newer}" if image.newer else ""))
    if policy.max_age is not None and image.created is not None:
        age = (now - image.created) / _DAY
        if age > policy.max_age:
            say("max-age", f"its base is {age:.0f} days old, and {policy.max_age} are allowed")
    elif policy.max_age is not None and image.created is None:
        say("max-age", "the age of its base is not known")
    if policy.fixable:
        if image.vulnerabilities is None:
            say("fixable", "its vulnerabilities are not known")
        else:
            levels = SEVERITIES[SEVERITIES.index(policy.fixable) :]
            if policy.fixable == SEVERITIES[0]:
                levels = (*levels, UNRATED)  # as bad as that it may be
            counted = [(image.vulnerabilities.fixable.get(severity, 0), severity) for severity in levels]
            counts = ", ".join(f"{count} {severity}" for count, severity in counted if count)
            if counts:
                say("fixable", f"it has {counts} with a fix")
            if not image.vulnerabilities.complete:
                say("fixable", "not all of its packages could be checked: `underlay base vulns` says which")
    return broken
