"""Can this host run that image? Rules over what the image needs and what the host has, each with its evidence and a remedy.

The rules are breakages that others have met (their ids are those of the project's kernel facts); what distributions ask for
lies in `data/kernels.json`.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from ...errors import InvalidInput
from ...human import whole
from ...lean.jsontext import loads
from .. import DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .needs import Needs, Program

FAILS, LIMITS, NOTE = "fails", "limits", "note"
RUNS, RUNS_LIMITED, WILL_NOT_RUN = "runs", "runs with limits", "will not run"
_DATA = DATA + "/kernels.json"
_DISTRIBUTIONS = {"ol": "oraclelinux", "amzn": "amazonlinux", "cos": "centos-stream", "redhat": "rhel"}
_BITS32 = {"386": "amd64", "arm": "arm64"}


class Host(msgspec.Struct, frozen=True):
    """The host that is judged for; made of what `underlay info --format json` says (`of`)."""

    kernel: str
    architecture: str
    name: str = ""
    rootless: bool = False
    cgroup: str = ""  # 1, 2 or ""
    flags: frozenset[str] = frozenset()
    cpu_architecture: int = 0
    page_size: int = 4096
    vsyscall: bool = True
    compat32: bool = True
    emulated: tuple[str, ...] = ()
    nf_tables: bool = True
    sysctls: Mapping[str, str] = {}

    @property
    def version(self) -> tuple[int, ...]:
        """The numbers of the kernel's release."""
        return numbers(self.kernel)


class Reason(msgspec.Struct, frozen=True):
    """Why an image fails, or runs with limits: `image` and `host` are the evidence on either side, `codes` the exit codes
    with which containers die of it."""

    id: str
    effect: str  # fails, limits, note
    title: str
    image: str
    host: str
    remedy: str
    codes: tuple[int, ...] = ()


class Fit(msgspec.Struct, frozen=True):
    """The verdict: runs, runs with limits, or will not run; with all reasons, the most serious first. `certain` is false
    when the image's files could not be examined. `machine` is the release of a kernel in the store with which an image that
    does not run on this host runs in a virtual machine; "" if there is none, and for other hosts. `machine_architecture` is
    that kernel's."""

    verdict: str
    reasons: tuple[Reason, ...]
    needs: Needs
    host: Host
    certain: bool = True
    machine: str = ""
    machine_architecture: str = ""


def host_of(info: Mapping[str, Any]) -> Host:
    """Return the host that a saved `underlay info` tells of. Raises InvalidInput when it is none."""
    abi = info.get("HostABI")
    if not isinstance(abi, dict) or not isinstance(info.get("KernelVersion"), str):
        raise InvalidInput(
            "the file is not the output of `underlay info --format json`", "save that output on the other host"
        )
    try:
        return Host(
            kernel=info["KernelVersion"],
            architecture=str(info.get("Platform", "")).partition("/")[2].partition("/")[0],
            name=str(info.get("OperatingSystem", "")),
            rootless=bool(info.get("Rootless")),
            cgroup=str(info.get("CgroupVersion", "")),
            flags=frozenset(map(str, abi.get("flags", ()))),
            cpu_architecture=int(abi.get("cpu_architecture", 0)),
            page_size=int(abi.get("page_size", 4096)),
            vsyscall=bool(abi.get("vsyscall", True)),
            compat32=bool(abi.get("compat32", True)),
            emulated=tuple(map(str, abi.get("emulated", ()))),
            nf_tables=bool(abi.get("nf_tables", True)),
            sysctls={str(key): str(value) for key, value in dict(abi.get("sysctls", {})).items()},
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the saved output of `underlay info` has a wrong value: {error}") from None


def judge(needs: Needs, host: Host) -> Fit:
    """Return whether a host can run an image."""
    order = (FAILS, LIMITS, NOTE)
    broken = [
        Reason(each.id, FAILS, each.title, each.evidence, "no host helps", each.remedy, each.codes)
        for each in needs.broken
    ]
    reasons = sorted(
        [*broken, *(reason for rule in _RULES if (reason := rule(needs, host)) is not None)],
        key=lambda item: order.index(item.effect),
    )
    effects = {item.effect for item in reasons}
    verdict = WILL_NOT_RUN if FAILS in effects else RUNS_LIMITED if LIMITS in effects else RUNS
    return Fit(verdict, tuple(reasons), needs, host, needs.looked_inside)


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with."""
    parts = []
    for part in text.replace("-", ".").replace("+", ".").split("."):
        number = whole(part)
        if number < 0:
            break
        parts.append(number)
    return tuple(parts)


_facts: dict[str, Any] = {}


def _known(needs: Needs) -> tuple[str, str, str, int, str] | None:
    """Return what is known of a distribution's release: libc, its version, lowest kernel and level on amd64, own kernel."""
    if not _facts:
        with open(_DATA, encoding="utf-8") as file:
            _facts.update(cast("dict[str, Any]", loads(file.read())))
    releases = _facts["releases"].get(_DISTRIBUTIONS.get(needs.distribution, needs.distribution))
    if releases is None or not needs.release:
        return None
    version = needs.release
    while version and version not in releases:
        version = version.rpartition(".")[0]
    if not version:
        return None
    libc, libc_version, kernel, level, own = releases[version]
    return libc, libc_version, kernel, level, own


def _release(needs: Needs) -> str:
    return needs.name or f"{needs.distribution} {needs.release}".strip()


# Rules


def _architecture(needs: Needs, host: Host) -> Reason | None:
    wanted, host_architecture = needs.architecture, host.architecture
    if not wanted or wanted == host_architecture:
        return None
    if _BITS32.get(wanted) == host_architecture:
        if host.compat32:
            return None
        return Reason(
            "arch-32",
            FAILS,
            "a 32-bit image on a kernel that runs 64-bit programs only",
            f"its platform is {wanted}",
            "the kernel refuses 32-bit programs",
            "use an image for this platform, or boot with ia32_emulation=1",
            (126, 127, 255),
        )
    if wanted in host.emulated or (wanted == "arm" and "arm" in host.emulated):
        return Reason(
            "arch-foreign",
            LIMITS,
            "an image of another processor, emulated",
            f"its platform is {wanted}",
            f"binfmt_misc has an interpreter for {wanted}",
            "slow; use an image for this platform where there is one",
        )
    return Reason(
        "arch-foreign",
        FAILS,
        "an image of another processor",
        f"its platform is {wanted}",
        f"this is {host_architecture}, and binfmt_misc has no interpreter for {wanted}",
        "choose the platform (--platform), or install an emulator (package qemu-user-binfmt)",
        (126, 127, 255),
    )


def _system(needs: Needs, host: Host) -> Reason | None:
    if needs.os == "linux":
        return None
    return Reason(
        "other-system",
        FAILS,
        "an image of another operating system",
        f"its platform is {needs.os}/{needs.architecture}",
        "this is Linux",
        "choose the platform (--platform), if the image has one for Linux",
        (125, 126),
    )


def _arm_variant(needs: Needs, host: Host) -> Reason | None:
    variant = whole(needs.variant.removeprefix("v"))
    if needs.architecture != "arm" or variant < 0 or not host.cpu_architecture:
        return None
    if host.architecture != "arm" or variant <= host.cpu_architecture:
        return None
    return Reason(
        "armv6-armv7",
        FAILS,
        "the processor is older than the image's",
        f"its platform is arm/v{variant}",
        f"the processor is ARMv{host.cpu_architecture}",
        f"use an image for arm/v{host.cpu_architecture}",
        (132,),
    )


def _kernel(needs: Needs, host: Host) -> Reason | None:
    floor: tuple[int, ...] = ()
    evidence = ""
    for program in needs.programs:
        if program.kernel and numbers(program.kernel) > floor:
            floor = numbers(program.kernel)
            evidence = f"the ABI note of {program.path} asks for Linux {program.kernel}"
    if not floor:
        floor, evidence = _assumed_floor(needs)
    if not floor or (*host.version, 0, 0)[:3] >= floor:
        return None
    # Since glibc 2.36 its loader does not compare the versions any more: what is missing shows when it is called.
    refused = needs.libc != "glibc" or numbers(needs.libc_version) < (2, 36)
    return Reason(
        "kernel-too-old",
        FAILS if refused else LIMITS,
        "the kernel is older than the image's C library works with",
        evidence,
        f"this is Linux {host.kernel}",
        "a newer kernel, or an older base",
        (127, 139),
    )


def _assumed_floor(needs: Needs) -> tuple[tuple[int, ...], str]:
    """Return the lowest kernel that a release, or a version of the C library, is known to work with."""
    known = _known(needs)
    if known is not None and known[2] and needs.architecture == "amd64":
        return numbers(known[2]), f"{_release(needs)} asks for Linux {known[2]}"
    if needs.libc == "glibc" and needs.libc_version:
        version = numbers(needs.libc_version)
        name = {"386": "i386"}.get(needs.architecture, needs.architecture)
        for architecture, first, last, kernel in _facts.get("glibc", ()):
            if architecture == name and numbers(first) <= version <= numbers(last):
                return numbers(kernel), f"glibc {needs.libc_version} asks for Linux {kernel}"
    return (), ""


def _vsyscall(needs: Needs, host: Host) -> Reason | None:
    if needs.architecture != "amd64" or host.vsyscall:
        return None
    version, evidence = numbers(needs.libc_version), f"glibc {needs.libc_version} calls into the vsyscall page"
    known = _known(needs)
    if not version and known is not None and known[0] == "glibc":
        version, evidence = numbers(known[1]), f"{_release(needs)} has glibc {known[1]}, which calls into that page"
    if needs.libc == "musl" or not version or version >= (2, 15):
        return None
    return Reason(
        "vsyscall",
        FAILS,
        "old x86-64 programs need the vsyscall page",
        evidence,
        "there is no vsyscall page in this kernel",
        "boot the host with vsyscall=emulate (or xonly), or use a newer base",
        (139,),
    )


def _processor(needs: Needs, host: Host) -> Reason | None:
    if needs.architecture != "amd64" or not host.flags:
        return None
    from ...linux import abi

    codes: tuple[int, ...] = (127, 132)
    level, evidence = 1, ""
    for program in needs.programs:
        if program.x86_level > level:
            level = program.x86_level
            checked = program.goamd64 == f"v{level}"
            evidence = (
                f"{program.path} is built with GOAMD64=v{level}, and checks at its start that the processor has that"
                if checked
                else f"the ISA note of {program.path} needs x86-64-v{level}"
            )
            codes = (1,) if checked else (127, 132)
    known = _known(needs)
    if known is not None and known[3] > level:
        level, evidence, codes = known[3], f"{_release(needs)} is made for x86-64-v{known[3]}", (127, 132)
    if abi.level(host.flags) >= level:
        return None
    wanted = set().union(*(flags for number, flags in abi.LEVELS.items() if number <= level))
    return Reason(
        f"cpu-v{level}",
        FAILS,
        "the processor is older than the image's programs are made for",
        evidence,
        f"the processor lacks {', '.join(sorted(wanted - host.flags))}",
        "give the virtual machine the host's processor, or use another base",
        codes,
    )


def _pages(needs: Needs, host: Host) -> Reason | None:
    for program in needs.programs:
        if 0 < program.alignment < host.page_size:
            return Reason(
                "page-size",
                FAILS,
                "programs made for smaller pages of memory",
                f"the segments of {program.path} are aligned to {program.alignment} bytes",
                f"pages of this kernel have {host.page_size} bytes",
                "an image made for larger pages, or a kernel with pages of 4 KiB",
                (127, 139),
            )
    return None


def _missing(needs: Needs, host: Host) -> Reason | None:
    for program in needs.programs:
        if program.missing:
            first = program.missing[0]
            loader = first == program.interpreter
            return Reason(
                "missing-interpreter" if loader else "missing-library",
                FAILS,
                "a program of the image wants what the image does not have",
                f"{program.path} needs {', '.join(program.missing[:5])}",
                "no host has it for a container",
                "copy it into the image, link the program statically, or use a base with the C library it was made with",
                (127,) if loader else (1, 127),
            )
    return None


def _foreign_programs(needs: Needs, host: Host) -> Reason | None:
    program: Program
    for program in needs.programs:
        architecture = program.architecture
        if architecture and architecture != needs.architecture and _BITS32.get(architecture) != needs.architecture:
            if architecture == host.architecture or architecture in host.emulated:
                continue
            return Reason(
                "arch-program",
                FAILS,
                "a program of another processor than the image says",
                f"{program.path} is for {architecture}, the image for {needs.architecture}",
                f"this is {host.architecture}",
                "build the image again with the program for its platform",
                (126, 127, 255),
            )
    return None


def _systemd(needs: Needs, host: Host) -> Reason | None:
    if not needs.systemd:
        return None
    if host.cgroup == "2" and needs.systemd < 230:
        return Reason(
            "cgroup2-old-systemd",
            FAILS,
            "an init that does not know version 2 of control groups",
            f"it starts systemd {needs.systemd}; version 2 is known since 230",
            "this host has control groups of version 2 only",
            "a host with version 1, or a newer base",
            (1, 255),
        )
    if host.cgroup == "1" and needs.systemd >= 256:
        return Reason(
            "cgroup1-new-systemd",
            FAILS,
            "an init that refuses version 1 of control groups",
            f"it starts systemd {needs.systemd}; version 1 is refused since 256"
            + (", and gone since 258" if needs.systemd >= 258 else ""),
            "this host has control groups of version 1",
            "a host with version 2"
            + ("" if needs.systemd >= 258 else ", or -e SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1, or an older base"),
            (1, 255),
        )
    return None


def _io_uring(needs: Needs, host: Host) -> Reason | None:
    program = next((each for each in needs.programs if each.io_uring), None)
    if program is None:
        return None
    off = host.sysctls.get("kernel.io_uring_disabled") == "2"
    old = host.version < (5, 1)
    return Reason(
        "io-uring",
        LIMITS,
        "io_uring is refused",
        f"{program.path} {program.io_uring}",
        "kernel.io_uring_disabled is 2"
        if off
        else f"Linux {host.kernel} does not have it"
        if old
        else "the default seccomp profile does not let its calls pass",
        "programs fall back to epoll; or allow the calls in a profile (--security-opt seccomp=FILE)",
    )


def _maps(needs: Needs, host: Host) -> Reason | None:
    if "max_map_count" not in needs.has:
        return None
    value = host.sysctls.get("vm.max_map_count", "")
    if not 0 <= whole(value) < 262144:
        return None
    return Reason(
        "mmap-count",
        LIMITS,
        "the program checks a setting of the host when it starts",
        "it has a search engine that wants vm.max_map_count of 262144",
        f"vm.max_map_count is {value}",
        "sysctl -w vm.max_map_count=262144 on the host",
        (78,),
    )


def _iptables(needs: Needs, host: Host) -> Reason | None:
    if "iptables-nft" not in needs.has or host.nf_tables:
        return None
    return Reason(
        "iptables-nft",
        LIMITS,
        "its iptables needs nf_tables",
        "iptables is the nf_tables flavour",
        "the kernel has no nf_tables",
        "load nf_tables, or use iptables-legacy",
    )


def _user_namespaces(needs: Needs, host: Host) -> Reason | None:
    if not host.rootless or host.sysctls.get("kernel.apparmor_restrict_unprivileged_userns") != "1":
        return None
    return Reason(
        "apparmor-userns",
        FAILS,
        "unprivileged user namespaces are restricted",
        "any image, without root",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "an AppArmor profile for underlay, or that setting at 0",
        (125,),
    )


def _support(needs: Needs, host: Host) -> Reason | None:
    """Red Hat's matrix of supported pairs, when both sides are Red Hat's."""
    if needs.distribution not in ("rhel", "ubi") or "Red Hat" not in host.name:
        return None
    _known(needs)
    version = numbers(host.name.rpartition("Linux ")[2])
    if not version:
        return None
    supported = _facts["redhat"].get(f"{needs.release.partition('.')[0]}/{version[0]}")
    if supported is not False:
        return None
    return Reason(
        "redhat-support",
        NOTE,
        "a pair that Red Hat does not support",
        _release(needs),
        host.name,
        "see Red Hat's container compatibility matrix",
    )


_RULES: tuple[Callable[[Needs, Host], Reason | None], ...] = (
    _system,
    _architecture,
    _arm_variant,
    _kernel,
    _vsyscall,
    _processor,
    _pages,
    _foreign_programs,
    _missing,
    _systemd,
    _user_namespaces,
    _io_uring,
    _maps,
    _iptables,
    _support,
)
