"""Programs of today's Debian that older kernels refuse, in guests with these kernels: in a machine they run.

The machine's processor is emulated in a guest whose processor is: a boot takes two to three minutes, so these tests are run
when they are asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from guests import GUEST_RUN, MARKS
from machines import needs_machines

pytestmark = [
    *MARKS,
    pytest.mark.skipif(
        "UNDERLAY_NESTED" not in os.environ, reason="set UNDERLAY_NESTED=1: three minutes for each machine in a guest"
    ),
]

# Debian's util-linux and what its programs are linked with.
PACKAGES = (
    "libc6 util-linux coreutils libcap2 libcap-ng0 libmount1 libsmartcols1 libblkid1 libselinux1 libpcre2-8-0 libudev1 "
    "libuuid1"
).split()
SCRIPT = """\
export UNDERLAY_ROOT=/tmp/r UNDERLAY_STATE=/tmp/s PYTHONPATH=src:site
mkdir /tmp/r && cp -r kernels /tmp/r/
python3 -m underlay import debian.tar debian > /dev/null
run="python3 -m underlay run --rm --network none --cap-add SYS_ADMIN"
$run debian "$@"; echo "here: $?"
$run --isolation machine -m 128m debian "$@"; echo "in a machine: $?"
"""


@pytest.fixture(scope="module")
def nested(share: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for guests: underlay, a kernel for machines, an image of Debian's packages."""
    place, debian = tmp_path_factory.mktemp("nested"), tmp_path_factory.mktemp("debian")
    for name in ("src", "site"):
        shutil.copytree(share / name, place / name)
    shutil.copytree(needs_machines(tmp_path_factory), place / "kernels", ignore=shutil.ignore_patterns("initrd-*"))
    got = subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=debian, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"no packages: {got.stderr.strip()[-200:]}")
    packages = sorted(debian.glob("*.deb"))
    root = debian / "root"
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    with tarfile.open(place / "debian.tar", "w") as archive:
        archive.add(root, ".", filter=lambda item: None if "/usr/share/" in item.name else item)
    (place / "script").write_text(SCRIPT)
    return place


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        # Landlock is of Linux 5.13, listmount(2) of 6.8.
        ("bullseye", "setpriv --landlock-access fs:execute --landlock-rule path-beneath:execute:/ uname -r"),
        ("bookworm", "findmnt --kernel=listmount /"),
    ],
)
def test_what_an_older_kernel_refuses(nested: Path, kernel: str, words: str) -> None:
    command = [str(GUEST_RUN), "--kernel", kernel, "--mem", "1500", "--packages", "qemu-system-x86"]
    command += ["--share", str(nested), "--timeout", "500", "--", "sh", "script", *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    if done.returncode == 125:
        pytest.skip(f"no guest can be had here: {done.stderr.strip()[-300:]}")
    assert "Function not implemented" in done.stdout + done.stderr, done.stdout + done.stderr
    assert "here: 0" not in done.stdout and "in a machine: 0" in done.stdout, done.stdout + done.stderr
