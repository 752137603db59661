"""Platforms: os, architecture and variant in Go's words, matched and ordered as containerd does."""

from __future__ import annotations

from ..errors import InvalidInput
from ..human import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# uname(2) machine → architecture and variant.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "arm64": ("arm64", "v8"),
    "armv8l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv5tejl": ("arm", "v5"),
    "loongarch64": ("loong64", ""),
    "mips64el": ("mips64le", ""),
}
ARCHITECTURES = frozenset(
    [
        "386",
        "amd64",
        "arm",
        "arm64",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mipsle",
        "ppc64",
        "ppc64le",
        "riscv64",
        "s390x",
        "wasm",
    ]
)
_SYSTEMS = frozenset(
    [
        "linux",
        "windows",
        "darwin",
        "freebsd",
        "netbsd",
        "openbsd",
        "solaris",
        "aix",
        "android",
        "illumos",
        "plan9",
        "js",
        "wasip1",
    ]
)
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Platform:
    """A normalised platform. `str()` gives `linux/arm64/v8`; the variant may be ""."""

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        self.os = os
        self.architecture = architecture
        self.variant = variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def brief(self) -> Platform:
        """The platform without a variant that goes without saying, as builders write it: linux/arm64."""
        implied = (self.architecture, self.variant) == ("arm64", "v8")
        return Platform(self.os, self.architecture) if implied else self

    def __repr__(self) -> str:
        return f"Platform({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def normalise(os: str, architecture: str, variant: str = "") -> Platform:
    """Return the platform with the usual synonyms settled: aarch64 is arm64, arm64 is v8, amd64 v1 is
    plain."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    if os == "macos":
        os = "darwin"
    architecture, implied = _MACHINES.get(architecture, (architecture, ""))
    variant = variant or implied
    if whole(variant[:1]) >= 0 and architecture in ("arm", "arm64", "amd64"):
        variant = "v" + variant
    if architecture == "arm64":
        variant = variant or "v8"
    elif architecture == "arm":
        variant = variant or "v7"
    elif architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(os, architecture, variant)


def host() -> Platform:
    """Return the platform of the running kernel."""
    from os import uname

    return normalise("linux", uname().machine)


def parse(text: str) -> Platform:
    """Return the platform that `--platform` means: `os[/arch[/variant]]`, or an architecture alone.

    What is left out is the host's. Raises InvalidInput.
    """
    words = text.split("/")
    for word in words:
        if not word or not _WORD.issuperset(word):
            raise InvalidInput(
                f'"{text}": invalid platform specification',
                "write os[/arch[/variant]], such as linux/arm64/v8",
            )
    if len(words) > 3:
        raise InvalidInput(f'"{text}": cannot parse platform specifier', "write os[/arch[/variant]]")
    host_platform = host()
    if len(words) == 1:
        word = words[0].lower()
        if word in _SYSTEMS or word == "macos":
            return normalise(word, host_platform.architecture, host_platform.variant)
        if word in ARCHITECTURES or word in _MACHINES:
            return normalise("linux", word)
        raise InvalidInput(f'"{text}": unknown operating system or architecture')
    return normalise(*words)


# Stands for all platforms that there are, where several make sense.
ALL = Platform("all", "")


def split(given: str | Sequence[str]) -> list[str]:
    """Return the platforms that one text names or several do; each may be a list with commas."""
    return [word for text in ([given] if isinstance(given, str) else given) if text for word in text.split(",")]


def several(given: str | Sequence[str], everything: bool = False) -> list[Platform]:
    """Return the platforms that a text names or several do; `all` is `ALL` where `everything` may be meant."""
    return [ALL if everything and word == "all" else parse(word) for word in split(given)]


def rank(wanted: Platform, offered: Platform) -> int | None:
    """Return how well `offered` serves `wanted`: 0 is exact, more is worse, None is not at all.

    A newer processor runs older variants; amd64 runs 386; arm64 runs arm (32-bit), as containerd's order of
    `platforms.Only` has it.
    """
    if wanted.os != offered.os:
        return None
    for position, (architecture, variant) in enumerate(_acceptable(wanted)):
        if (offered.architecture, offered.variant) == (architecture, variant):
            return position
    return None


def for_host(offered: Sequence[Platform]) -> int:
    """Return the place in `offered`, which is not empty, of what serves this host best: the first when nothing does."""
    host_platform = host()
    ranked = [(order, n) for n, platform in enumerate(offered) if (order := rank(host_platform, platform)) is not None]
    return min(ranked)[1] if ranked else 0


def _acceptable(wanted: Platform) -> list[tuple[str, str]]:
    architecture, variant = wanted.architecture, wanted.variant
    number = max(whole(variant[1:]), 0) if variant[:1] == "v" and len(variant) < 4 else 0
    if architecture == "amd64":
        older = [("amd64", f"v{n}" if n > 1 else "") for n in range(max(number, 1), 0, -1)]
        return [*older, ("386", "")]
    if architecture == "arm64":
        older = [("arm64", f"v{n}") for n in range(max(number, 8), 7, -1)]
        if number == 0 and variant != "v8":
            older.insert(0, (architecture, variant))
        return [*older, *(("arm", f"v{n}") for n in range(8, 4, -1))]
    if architecture == "arm" and number:
        return [("arm", f"v{n}") for n in range(number, 4, -1)] or [("arm", variant)]
    return [(architecture, variant)]
