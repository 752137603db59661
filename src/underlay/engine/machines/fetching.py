"""Downloading a kernel from the archive of the host's distribution, by apt, which verifies what it gets.

For another processor apt has lists and a configuration of its own, in a directory that goes with the download; the
sources and keys are the host's. With such a kernel comes a userland (`userlands`).
"""

from __future__ import annotations

import os
import re

from ...errors import InvalidInput, NotFound, Unsupported
from ...oci import platform as platforms
from ...store.scratch import Scratch
from . import importing, kernels, userlands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths
    from .kernels import Kernel

PLACES = "/usr/bin:/bin"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Debian's, and Ubuntu's: packages that depend on the newest kernel for virtual machines.
_USUAL = ("linux-image-cloud-{}", "linux-image-virtual")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,200}(?:=[0-9A-Za-z.+:~-]{1,100})?")
_KERNEL = re.compile(r"linux-image-(?:unsigned-)?[0-9]+\.[0-9]+[0-9a-z.+~-]*")
_OTHERS = ("-dbg", "-dbgsym", "-unsigned")
_PASSED_ON = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_PYTHON = re.compile(r"python3\.[0-9]{1,2}-minimal")
# What Python's packages are linked with that an agent has: libraries of other modules are left out.
_LIBRARY = re.compile(r"(?:libc|libexpat|zlib|libffi|libbz2-|liblzma|libgcc-s)[0-9][0-9a-z.-]*")
# Read after the host's configuration. Nothing of the host's is written, and none of its hooks is run.
_FOREIGN = """
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "{directory}/state";
Dir::State::status "{directory}/state/status";
Dir::Cache "{directory}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";
"""
_PATIENCE = 1800  # seconds
_DEPTH = 4  # packages that depend on each other before the kernel
_UPDATE = "`apt-get update` fetches the lists of packages"
_OTHERWISE = "get a kernel's package or image in another way, and `underlay machine kernel import FILE`"


def fetch(paths: Paths, package: str = "", platform: str = "") -> Kernel:
    """Download the package of a kernel and add it to the store: see `Machines.fetch_kernel`.

    Raises Unsupported without apt, InvalidInput, NotFound for a package that apt does not have, and what `import_file` and
    `userlands.make` raise.
    """
    if package and not _PACKAGE.fullmatch(package):
        raise InvalidInput(f"not the name of a package: {package!r:.100}")
    own = _ARCHITECTURES.get(os.uname().machine, "")
    architecture = platforms.parse(platform).architecture if platform else own
    if architecture not in kernels.ARCHITECTURES:
        raise Unsupported(
            f"there are no machines for the processor {architecture or os.uname().machine}",
            f"there are some for {' and '.join(kernels.ARCHITECTURES)}",
        )
    paths.make()
    with Scratch(paths, "import") as scratch:
        apt = Apt(scratch.path, "" if architecture == own else architecture)
        kernel, modules = _resolve(apt, package, architecture)
        file = apt.download(kernel)
        # It is here with another content if its version has changed and its release has not.
        made = importing.import_file(paths, file, apt.download(modules) if modules else "", replace=True)
        if made.architecture != own:
            _fetch_userland(paths, apt, made.architecture)
        return made


def _fetch_userland(paths: Paths, apt: Apt, architecture: str) -> None:
    """Download Python for another processor, unless the archive's is in the store already."""
    name = next((each for each in apt.depends("python3-minimal") or () if _PYTHON.fullmatch(each)), "")
    version = apt.version(name) if name else ""
    if not version:
        raise NotFound(f"apt has no Python for {architecture}", apt.problem or _UPDATE)
    if userlands.version_of(paths, architecture) == version:
        return
    python = name.removesuffix("-minimal")
    packages = [name, f"lib{python}-minimal", f"lib{python}-stdlib"]
    for each in [*packages]:
        packages += [library for library in apt.depends(each) or () if _LIBRARY.fullmatch(library)]
    userlands.make(paths, architecture, version, [apt.download(each) for each in dict.fromkeys(packages)])


def _resolve(apt: Apt, package: str, architecture: str) -> tuple[str, str]:
    """Return the package of the kernel that a package is or depends on, and that of its modules or ""."""
    name = package
    if not name:
        usual = [each.format(architecture) for each in _USUAL]
        name = next((each for each in usual if apt.depends(each) is not None), "")
        if not name:
            raise NotFound(f"apt has no package {' or '.join(usual)}", apt.problem or _UPDATE)
    for _ in range(_DEPTH):
        depends = apt.depends(name)
        if depends is None:
            raise NotFound(f"apt has no package {name}", apt.problem or _UPDATE)
        if _KERNEL.fullmatch(name.partition("=")[0]):
            modules = next((each for each in depends if each.startswith("linux-modules-")), "")
            return name, modules
        further = [each for each in depends if each.startswith("linux-image-") and not each.endswith(_OTHERS)]
        if not further:
            break
        name = next((each for each in further if _KERNEL.fullmatch(each)), further[0])
    raise InvalidInput(
        f"the package {package or name} is not a kernel's, and depends on none", "linux-image-VERSION is one"
    )


class Apt:
    """apt-get and apt-cache of the host, run in the directory of their downloads, without the caller's environment.

    With `architecture` they are asked for another processor than the host's; `problem` says why the archive's
    package lists for that processor could not be downloaded, "" if they were.
    """

    def __init__(self, directory: str, architecture: str = "") -> None:
        import shutil

        self._directory = directory
        self._programs: dict[str, str] = {}
        self._options: tuple[str, ...] = ()
        self.problem = ""
        for name in ("apt-get", "apt-cache"):
            path = shutil.which(name, path=PLACES)
            if path is None:
                raise Unsupported(f"there is no {name} on this host", _OTHERWISE)
            self._programs[name] = path
        if architecture:
            self._prepare(architecture)

    def _prepare(self, architecture: str) -> None:
        """Have apt download the archive's package lists for another processor."""
        place = f"{self._directory}/apt"
        for name in ("state/lists/partial", "cache/archives/partial"):
            os.makedirs(f"{place}/{name}", 0o700)
        with open(f"{place}/state/status", "x", encoding="ascii"):
            pass  # nothing is installed for it
        with open(f"{place}/apt.conf", "x", encoding="utf-8") as file:
            file.write(_FOREIGN.format(architecture=architecture, directory=place))
        self._options = ("-c", f"{place}/apt.conf")
        # A source without this processor is no reason against the others.
        code, _, problem = self._run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "update")
        said = [line for line in problem.splitlines() if line.startswith(("E:", "W:"))]
        if code != 0 or said:
            self.problem = f"apt-get update for {architecture}: {said[0][:300] if said else f'exit code {code}'}"

    def version(self, package: str) -> str:
        """Return the version of a package, "" if it is not known."""
        _, out, _ = self._run("apt-cache", "show", "--no-all-versions", package)
        return next((line[9:].strip() for line in out.splitlines() if line.startswith("Version: ")), "")

    def depends(self, package: str) -> list[str] | None:
        """Return the names of the packages that one depends on; None if it is not known."""
        code, out, _ = self._run("apt-cache", "show", "--no-all-versions", package)
        if code != 0 or not out.strip():
            return None
        found = []
        for line in out.splitlines():
            key, _, value = line.partition(": ")
            if key in ("Depends", "Pre-Depends"):
                # name (= 1.2) | another, name:any
                found += [each.split("|")[0].split("(")[0].partition(":")[0].strip() for each in value.split(",")]
        return [each for each in found if _PACKAGE.fullmatch(each)]

    def download(self, package: str) -> str:
        """Download a package; return the path of its file. Raises NotFound with what apt says."""
        before = set(os.listdir(self._directory))
        # Its own user, which it takes for that, cannot write here; it would say so.
        code, _, problem = self._run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package)
        new = [name for name in os.listdir(self._directory) if name not in before and name.endswith(".deb")]
        if code != 0 or len(new) != 1:
            why = problem.strip().splitlines()
            raise NotFound(
                f"apt cannot download {package}: {why[-1][:300] if why else f'exit code {code}'}",
                self.problem or _UPDATE,
            )
        return f"{self._directory}/{new[0]}"

    def _run(self, program: str, *words: str) -> tuple[int, str, str]:
        import subprocess

        environment = {"PATH": _PATH, "HOME": self._directory, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            done = subprocess.run(
                [self._programs[program], *self._options, *words],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotFound(f"{program} {words[0]} has not ended within {_PATIENCE} seconds") from None
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
