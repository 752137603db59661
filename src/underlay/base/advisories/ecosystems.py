"""Which OSV ecosystems cover the packages of an image, and under which of a package's names."""

from __future__ import annotations

from ...human import whole
from . import osv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...packages.model import Package

SOURCE, BINARY, BOTH = "source", "binary", "both"
LANGUAGES = {
    "pypi": "PyPI",
    "npm": "npm",
    "golang": "Go",
    "cargo": "crates.io",
    "maven": "Maven",
    "gem": "RubyGems",
    "composer": "Packagist",
    "nuget": "NuGet",
}


class Scope:
    """Where to look for a kind of package: the `family`, the patterns of its `ecosystems` (`*` stands for any text), and
    whether advisories name packages by SOURCE, BINARY or BOTH names."""

    __slots__ = ("ecosystems", "family", "names", "prefix")

    def __init__(self, family: str, ecosystems: tuple[str, ...], names: str) -> None:
        self.family = family
        self.ecosystems = ecosystems
        self.names = names
        # What stands before a version in modules, and not in advisories.
        self.prefix = "v" if family == "Go" else ""

    def chosen(self, counts: dict[str, int]) -> list[str]:
        """Return those of the ecosystems in a file that are meant."""
        from fnmatch import fnmatchcase

        plain = [ecosystem for ecosystem in self.ecosystems if "*" not in ecosystem and ecosystem in counts]
        patterns = [ecosystem for ecosystem in self.ecosystems if "*" in ecosystem]
        return plain + [name for name in counts if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def target(self, package: Package) -> tuple[str, str]:
        """Return name and version of what advisories of this family speak of when they mean this package."""
        if self.names == BINARY:
            return osv.normalised(self.family, package.name), package.version.removeprefix(self.prefix)
        return package.origin, package.origin_version

    def asked(self, package: Package) -> tuple[str, ...]:
        """Return the names under which advisories may know it."""
        return (package.origin, package.name) if self.names == BOTH else self.target(package)[:1]


def scope(release: dict[str, str]) -> Scope | None:
    """Return where to look for the packages of a distribution; None when no known source has advisories for that release.

    `release` is what os-release says. Debian without a VERSION_ID is testing or unstable, of which OSV says nothing.
    """
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    major = version.partition(".")[0]
    if name in ("wolfi", "chainguard", "minimos"):
        family = {"wolfi": "Wolfi", "chainguard": "Chainguard", "minimos": "MinimOS"}[name]
        return Scope(family, (family,), BOTH)
    if name == "opensuse-tumbleweed":
        return Scope("openSUSE", ("openSUSE:Tumbleweed",), SOURCE)
    if whole(major) < 0:
        return None
    minor = ".".join(version.split("_")[0].split(".")[:2])
    if name == "debian":
        return Scope("Debian", (f"Debian:{major}",), SOURCE)
    if name == "ubuntu":
        # `:LTS` is part of the name; `Ubuntu:Pro:…` lists what only paying users get, so it is not asked.
        return Scope("Ubuntu", (f"Ubuntu:{version}:LTS", f"Ubuntu:{version}"), SOURCE)
    if name == "alpine":
        return Scope("Alpine", (f"Alpine:v{minor}",), SOURCE)
    if name in ("opensuse-leap", "opensuse"):
        return Scope("openSUSE", (f"openSUSE:Leap {version}",), SOURCE)
    if name == "sles":
        pack = version.partition(".")[2]
        words = f"{major} SP{pack}" if pack.strip("0") else major
        return Scope("SUSE", (f"SUSE:*[a-z] {words}", f"SUSE:*[a-z] {words}-LTSS"), SOURCE)
    if name in ("rhel", "centos"):
        # CentOS was rebuilt from the same sources; there are no advisories of its own.
        return Scope("Red Hat", (f"Red Hat:enterprise_linux:{major}", f"Red Hat:enterprise_linux:{major}:*"), BINARY)
    plain = {
        "almalinux": ("AlmaLinux", major, BINARY),
        "rocky": ("Rocky Linux", major, SOURCE),
        "mageia": ("Mageia", major, SOURCE),
        "photon": ("Photon OS", minor, BINARY),
        "azurelinux": ("Azure Linux", major, SOURCE),
        "openEuler": ("openEuler", version, SOURCE),
    }
    if name in plain:
        family, number, names = plain[name]
        return Scope(family, (f"{family}:{number}", f"{family}:{number}-*"), names)
    return None
