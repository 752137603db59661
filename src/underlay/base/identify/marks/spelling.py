"""Tags of an image that is known by its marks: version and variant as its repository writes them.

The tags that official repositories have now come with the code (`official.tags`, made by tools/make_official_tags.py from
the library of Docker Official Images). An older or newer version is written as the nearest of these.
"""

from __future__ import annotations

import functools
import re
import zlib

import msgspec

from ....human import parse_rfc3339
from ... import DATA
from ..names import naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1 << 22  # bytes of the file, unpacked
_SUITES = frozenset(
    """wheezy jessie stretch buster bullseye bookworm trixie forky sid trusty xenial bionic focal jammy noble questing
    resolute""".split()
)
_UBUNTU = {
    "14.04": "trusty",
    "16.04": "xenial",
    "18.04": "bionic",
    "20.04": "focal",
    "22.04": "jammy",
    "24.04": "noble",
}
_UBUNTU |= {"25.10": "questing", "26.04": "resolute"}
_SYSTEMS = (
    "alpine",
    "slim",
    "windowsservercore",
    "nanoserver",
    "oraclelinux",
    "oracle",
    "ubi",
    "ubuntu",
    "debian",
    "al",
)
# Words of tags, and what shows in an image's steps that it is of that variant.
_SHOWN = {
    "fpm": re.compile(r"php-fpm|--enable-fpm"),
    "apache": re.compile(r"apache2-foreground|a2enmod"),
    "zts": re.compile(r"--enable-(?:maintainer-)?zts"),
    "management": re.compile(r"rabbitmq_management"),
    "jre": re.compile(r"[-_/]jre|_jre_"),
    "perl": re.compile(r"nginx-module-perl"),
    "otel": re.compile(r"nginx-module-otel"),
    "ubi": re.compile(r"microdnf|/ubi"),
}
# Variants that a plain tag leaves out; all others are said.
_PLAIN = frozenset("cli jdk stable standalone server standard community".split())


class Tags(msgspec.Struct, frozen=True):
    """The tags of official repositories on a `day` (ISO 8601): for each repository its variants, each a list of tags."""

    day: str
    repositories: dict[str, list[list[str]]]


@functools.cache
def official() -> Tags:
    """Return the tags that came with the code."""
    with open(DATA + "/official.tags", "rb") as file:
        return msgspec.json.decode(zlib.decompressobj().decompress(file.read(), _LARGEST), type=Tags)


@functools.cache
def day() -> float:
    """Return the day of these tags, in seconds since the epoch."""
    return parse_rfc3339(official().day + "T00:00:00Z")


@functools.cache
def repositories() -> frozenset[str]:
    """Return the names of official repositories."""
    return frozenset(official().repositories)


def names(repository: str, version: str, suffix: str, ground: str, steps: str) -> list[str]:
    """Return the names an image of `repository` may have, the likeliest first.

    `ground` is the distribution beneath it (`debian:trixie-slim`, "" when not known), `steps` the text of its own steps,
    `suffix` what its tag has behind the distribution's code name when it has no version.
    """
    suite = _suite(ground)
    if not version:
        return [f"{repository}:{suite}{suffix}" if suite and repository == "buildpack-deps" else f"{repository}:latest"]
    variants = official().repositories.get(repository, [])
    if not variants:
        return [f"{repository}:{form}" for form in _forms(version)]
    depth = _line(variants)
    rated = [(_fit(tags, version, ground, suite, steps), -spot, tags) for spot, tags in enumerate(variants)]
    _, _, best = max(rated)
    majors = {naming.form(f"x:{tag}").version.partition(".")[0] for tag in best}
    if version.partition(".")[0] not in majors:
        return [f"{repository}:{tag}" for tag in _composed(variants, version, depth, ground, steps)]
    return [f"{repository}:{tag}" for tag in _spelled(best, version, depth)]


def _suite(ground: str) -> str:
    tag = ground.partition(":")[2]
    if ground.startswith("ubuntu"):
        return _UBUNTU.get(tag, tag)
    return tag.removesuffix("-slim")


def _forms(version: str) -> list[str]:
    """Return a version in the ways tags have it, the likeliest first: major and minor, all, major."""
    parts = version.split(".")
    return list(dict.fromkeys((".".join(parts[:2]), version, parts[0])))


def _line(variants: Sequence[Sequence[str]]) -> int:
    """Return how many numbers tell the lines of a repository apart: 1 for node 22 and 24, 2 for python 3.12 and 3.13, and
    for what has one line only."""
    longest = {max((naming.form(f"x:{tag}").version for tag in tags), key=len, default="") for tags in variants}
    parts = [version.split(".") for version in longest if version]
    majors = len({each[0] for each in parts})
    return 1 if 1 < majors == len({".".join(each[:2]) for each in parts}) else 2


def _fit(tags: Sequence[str], version: str, ground: str, suite: str, steps: str) -> float:
    """Return how well a variant fits: its version, the distribution beneath, what shows in the steps."""
    forms = [naming.form(f"x:{tag}") for tag in tags]
    full = max((form.version for form in forms), key=len, default="").split(".")
    common = 0
    for ours, theirs in zip(version.split("."), full, strict=False):
        if ours != theirs:
            break
        common += 1
    score = 3.0 * common
    words = {re.sub(r"[\d.]+$", "", word) for form in forms for word in form.words}
    plain = any(not form.words for form in forms)
    suites = words & _SUITES
    alpine = ground.startswith("alpine")
    score += 4.0 if alpine == ("alpine" in words) else -4.0
    if suites and suite:
        score += 3.0 if suite in suites else -3.0
    exact = {word for form in forms for word in form.words}
    if alpine and any(word.startswith("alpine3") for word in exact):
        score += 1.0 if f"alpine{ground.partition(':')[2]}" in exact else -1.0
    score += 0.5 if any(not any(map(_says_system, form.words)) for form in forms) else 0.0
    score += 2.0 if ("slim" in words) == ground.endswith("-slim") else 0.0
    for word in words - suites - {"alpine", "slim", ""}:
        shown = _SHOWN.get(word)
        if shown is not None:
            score += 2.5 if shown.search(steps) else -2.5
        elif word not in _PLAIN:
            score -= 1.0
    for word, shown in _SHOWN.items():
        if word not in words and not plain and shown.search(steps):
            score -= 0.5
    return score


def _spelled(tags: Sequence[str], version: str, depth: int) -> list[str]:
    """Return the tags of a variant for a version, in the order in which people are likely to write them."""
    found: dict[str, tuple[bool, int, int, int]] = {}
    for tag in tags:
        form = naming.form(f"x:{tag}")
        if not form.version:
            continue
        ours = ".".join(version.split(".")[: form.depth])
        written = tag.replace(form.version, ours, 1)
        words = [word for word in form.words if word not in _PLAIN]
        order = (
            form.depth != depth,
            sum(1 for word in form.words if _says_system(word)),
            len(form.words) - len(words),
            form.depth,
        )
        found[written] = min(order, found.get(written, order))
    return sorted(found, key=lambda tag: (found[tag], len(tag))) or _forms(version)


def _composed(variants: Sequence[Sequence[str]], version: str, depth: int, ground: str, steps: str) -> list[str]:
    """Return tags for a version of which a repository has none now, of words that its other tags have."""
    words = {
        re.sub(r"[\d.]+$", "", word) for tags in variants for tag in tags for word in naming.form(f"x:{tag}").words
    }
    ending = "".join(
        f"-{word}" for word in ("fpm", "apache", "zts", "jre") if word in words and _SHOWN[word].search(steps)
    )
    ending += "-slim" if ground.endswith("-slim") and "slim" in words else ""
    ending += "-alpine" if ground.startswith("alpine") and "alpine" in words else ""
    parts = version.split(".")
    lines = (".".join(parts[:depth]), *_forms(version))
    return [f"{line}{ending}" for line in dict.fromkeys(lines)]


def _says_system(word: str) -> bool:
    """Tell whether a word of a tag says which release of a distribution is beneath, where a tag without it exists too."""
    return word in _SUITES or word.startswith("alpine3")
