"""Rules of what runs where: each with an image and a host that it means, and with those that it does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from layers import Tar, load, store
from packagedatabases import elf, inline
from underlay.base import fit
from underlay.base.fit import Host, needs
from underlay.base.fit.first import Broken
from underlay.base.fit.needs import Needs, Program
from underlay.paths import Paths
from underlay.store.rootfs.imagefiles import ImageFiles

ALL = frozenset(
    "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave "
    "avx512f avx512bw avx512cd avx512dq avx512vl".split()
)
V2 = frozenset("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split())
HOST = Host("6.12.5-amd64", "amd64", "Debian GNU/Linux 13 (trixie)", cgroup="2", flags=ALL)
DEBIAN = Needs("amd64", distribution="debian", release="12", name="Debian 12", libc="glibc", libc_version="2.36")


def host(**changes: object) -> Host:
    return msgspec.structs.replace(HOST, **changes)


def image(**changes: object) -> Needs:
    return msgspec.structs.replace(DEBIAN, **changes)


def reasons(needs: Needs, there: Host = HOST) -> set[str]:
    return {each.id for each in fit.judge(needs, there).reasons}


def test_what_fits_has_no_reasons() -> None:
    found = fit.judge(DEBIAN, HOST)
    assert (found.verdict, found.reasons) == (fit.RUNS, ())


@pytest.mark.parametrize(
    ("id", "needs", "there"),
    [
        ("arch-foreign", image(architecture="arm64"), HOST),
        ("arch-32", image(architecture="386"), host(compat32=False)),
        ("armv6-armv7", image(architecture="arm", variant="v7"), host(architecture="arm", cpu_architecture=6)),
        ("kernel-too-old", image(programs=(Program("/bin/x", kernel="6.13.0"),), libc_version="2.35"), HOST),
        ("kernel-too-old", image(distribution="debian", release="11", libc_version=""), host(kernel="2.6.32-5")),
        ("kernel-too-old", image(distribution="x", release="", libc_version="2.31"), host(kernel="3.1.9")),
        ("vsyscall", image(distribution="centos", release="6", libc="", libc_version=""), host(vsyscall=False)),
        ("vsyscall", image(libc_version="2.12"), host(vsyscall=False)),
        ("cpu-v2", image(distribution="rocky", release="9.3", name="Rocky Linux 9.3"), host(flags=frozenset(["pni"]))),
        ("cpu-v3", image(distribution="almalinux", release="10"), host(flags=V2)),
        ("cpu-v3", image(programs=(Program("/bin/x", x86_level=3),)), host(flags=V2)),
        ("page-size", image(programs=(Program("/bin/x", alignment=4096),)), host(page_size=16384)),
        ("arch-program", image(programs=(Program("/bin/x", architecture="arm64"),)), HOST),
        ("missing-interpreter", image(programs=(Program("/a", interpreter="/lib/ld", missing=("/lib/ld",)),)), HOST),
        ("missing-library", image(programs=(Program("/a", missing=("GLIBC_2.38 of libc.so.6",)),)), HOST),
        ("cgroup2-old-systemd", image(systemd=219), HOST),
        ("cgroup1-new-systemd", image(systemd=257), host(cgroup="1")),
        ("apparmor-userns", DEBIAN, host(rootless=True, sysctls={"kernel.apparmor_restrict_unprivileged_userns": "1"})),
    ],
)
def test_what_fails(id: str, needs: Needs, there: Host) -> None:
    found = fit.judge(needs, there)
    assert found.verdict == fit.WILL_NOT_RUN
    assert [each.id for each in found.reasons if each.effect == "fails"] == [id]
    reason = found.reasons[0]
    assert reason.image and reason.host and reason.remedy


@pytest.mark.parametrize(
    ("id", "needs", "there"),
    [
        ("arch-foreign", image(architecture="arm64"), host(emulated=("arm64",))),
        ("kernel-too-old", DEBIAN, host(kernel="2.6.32-5")),  # glibc 2.36
        (
            "io-uring",
            image(programs=(Program("/x", "amd64", io_uring="needs liburing.so.2"),)),
            host(sysctls={"kernel.io_uring_disabled": "2"}),
        ),
        ("mmap-count", image(has=("max_map_count",)), host(sysctls={"vm.max_map_count": "65530"})),
        ("iptables-nft", image(has=("iptables-nft",)), host(nf_tables=False)),
    ],
)
def test_what_runs_with_limits(id: str, needs: Needs, there: Host) -> None:
    found = fit.judge(needs, there)
    assert (found.verdict, [each.id for each in found.reasons]) == (fit.RUNS_LIMITED, [id])


@pytest.mark.parametrize(
    ("needs", "there"),
    [
        (image(architecture="386"), HOST),
        (image(programs=(Program("/bin/x", kernel="6.12.5"),)), HOST),
        (image(programs=(Program("/bin/x", kernel="6.12"),)), host(kernel="6.12")),
        (image(distribution="centos", release="6"), HOST),  # its page of calls is there
        (image(distribution="alpine", release="3.20.3", libc="musl", libc_version="1.2.5"), host(vsyscall=False)),
        (image(systemd=252), HOST),
        (image(systemd=252), host(cgroup="1")),
        (image(systemd=219), host(cgroup="1")),
        (image(has=("max_map_count",)), host(sysctls={"vm.max_map_count": "262144"})),
        (image(distribution="nothing", release="known"), HOST),
        (Needs("amd64", looked_inside=False), HOST),
    ],
)
def test_what_no_rule_means(needs: Needs, there: Host) -> None:
    assert fit.judge(needs, there).verdict == fit.RUNS


def test_red_hats_matrix_is_a_note() -> None:
    there = host(name="Red Hat Enterprise Linux 7.9 (Maipo)")
    found = fit.judge(image(distribution="rhel", release="9.4"), there)
    assert (found.verdict, [each.id for each in found.reasons]) == (fit.RUNS, ["redhat-support"])
    assert reasons(image(distribution="rhel", release="8.9"), there) == set()


def test_numbers_of_versions() -> None:
    assert fit.numbers("6.18.44-fc-v595") == (6, 18, 44)
    assert fit.numbers("5.10.0-32-amd64") == (5, 10, 0, 32)
    assert fit.numbers("nothing") == ()


def test_what_no_host_helps() -> None:
    """A broken command and another operating system are reasons on every host."""
    gone = Broken("command-missing", "the command is not in the image", "x is in no directory of PATH", "correct CMD")
    found = fit.judge(image(broken=(gone,)), HOST)
    assert (found.verdict, [each.id for each in found.reasons]) == (fit.WILL_NOT_RUN, ["command-missing"])
    assert "other-system" in reasons(image(os="windows"))


def linked(paths: Paths, data: bytes) -> tuple[Program, ...]:
    """The programs of a command that is this file."""
    files = ImageFiles(paths, load(paths, [Tar().add("app", data=data, mode=0o755).data()]))
    return tuple(needs.Reader(files).programs(["/app"]))


@pytest.mark.parametrize(("built", "level", "codes"), [("v3", 3, (1,)), ("v1", 1, ()), ("v9", 0, ()), ("", 0, ())])
def test_the_level_that_go_builds_for(tmp_path: Path, built: str, level: int, codes: tuple[int, ...]) -> None:
    """Its runtime checks it at the start, and ends with 1; a setting that is none says nothing."""
    modules = "path\texample.org/app\nbuild\t-compiler=gc\n" + (f"build\tGOAMD64={built}\n" if built else "")
    programs = linked(store(tmp_path), elf(".go.buildinfo", inline("go1.22.1", modules)))
    assert [program.x86_level for program in programs] == [level]
    failures = fit.judge(image(programs=programs), host(flags=V2)).reasons
    assert [each.codes for each in failures if each.id.startswith("cpu")] == ([codes] if codes else [])
    assert all("/app is built with GOAMD64=v3, and checks" in each.image for each in failures)
    assert fit.judge(image(programs=programs), HOST).verdict == fit.RUNS


def test_a_note_needs_more_than_what_go_checks() -> None:
    programs = (Program("/app", x86_level=3, goamd64="v2"),)
    [reason] = fit.judge(image(programs=programs), host(flags=V2)).reasons
    assert "ISA note of /app" in reason.image and 1 not in reason.codes
