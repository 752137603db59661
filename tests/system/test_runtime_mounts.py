"""Root, mounts and propagation of the runtime specification, seen from inside a container of the runtime's program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bundles import Bundle, bundle
from engines import needs_root

__all__ = ["bundle"]
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
needs_root()


def mount_line(text: str, point: str) -> str:
    """Return the line of /proc/self/mounts for a mount point."""
    [line] = [line for line in text.splitlines() if line.split()[1:2] == [point]]
    return line


# Root.


def test_root_is_the_bundles_and_may_be_read_only(bundle: Bundle) -> None:
    assert bundle.shell("cat /data/seed; touch /new && echo made") == "from the image\nmade"
    assert (bundle.root / "new").exists()
    bundle.spec["root"]["readonly"] = True
    assert "Read-only file system" in bundle.shell("touch /newer 2>&1; echo")
    assert not (bundle.root / "newer").exists()


def test_no_pivot(bundle: Bundle) -> None:
    bundle.write("sh", "-c", "ls /; cat /data/seed; cat /proc/self/mountinfo | wc -l; ls /..")
    out = bundle("run", "--no-pivot", "box").stdout.decode()
    assert "from the image" in out and "rootfs" not in out and "home" not in out


# Mounts.


def test_mount_options(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    add = bundle.spec["mounts"].append
    add({"destination": "/one", "source": str(source), "options": ["bind", "ro", "nosuid", "nodev", "noexec"]})
    add({"destination": "two", "source": "source", "options": ["bind", "noatime", "nosymfollow"]})
    add(
        {
            "destination": "/three",
            "type": "tmpfs",
            "source": "t",
            "options": ["size=4k", "mode=0711", "sync", "strictatime"],
        }
    )
    add({"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "noexec"]})
    text = bundle.shell(
        "cat /proc/self/mounts; cat /data/seed; stat -c %a /three; touch /one/x 2>&1; "
        "dd if=/dev/zero of=/three/x bs=8k 2>&1"
    )
    assert set(mount_line(text, "/one").split()[3].split(",")) >= {"ro", "nosuid", "nodev", "noexec"}
    assert set(mount_line(text, "/two").split()[3].split(",")) >= {"rw", "noatime", "nosymfollow"}
    assert set(mount_line(text, "/three").split()[3].split(",")) >= {"sync", "size=4k", "mode=711"}
    assert "relatime" not in mount_line(text, "/three")
    assert "from the image" in text and "\n711\n" in text and "Read-only" in text and "No space left" in text


def test_recursive_options_reach_what_is_mounted_below(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", source / "below"], check=True)
    try:
        add = bundle.spec["mounts"].append
        add({"destination": "/top", "source": str(source), "options": ["rbind", "ro"]})
        add({"destination": "/all", "source": str(source), "options": ["rbind", "rro", "rnoexec"]})
        text = bundle.shell("cat /proc/self/mounts")
        assert mount_line(text, "/top").split()[3].startswith("ro")
        assert mount_line(text, "/top/below").split()[3].startswith("rw")
        assert mount_line(text, "/all/below").split()[3].startswith("ro")
        assert "noexec" in mount_line(text, "/all/below")
    finally:
        subprocess.run(["umount", source / "below"], check=True)


def test_remount(bundle: Bundle, tmp_path: Path) -> None:
    add = bundle.spec["mounts"].append
    add({"destination": "/data", "type": "tmpfs", "source": "t", "options": ["size=1m"]})
    add({"destination": "/data", "type": "none", "options": ["remount", "bind", "ro", "noexec"]})
    assert {"ro", "noexec"} <= set(mount_line(bundle.shell("cat /proc/self/mounts"), "/data").split()[3].split(","))


def test_propagation(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "shared"
    (source / "later").mkdir(parents=True)
    subprocess.run(["mount", "--bind", source, source], check=True)
    subprocess.run(["mount", "--make-shared", source], check=True)
    try:
        add = bundle.spec["mounts"].append
        add({"destination": "/slave", "source": str(source), "options": ["rbind", "rslave"]})
        add({"destination": "/private", "source": str(source), "options": ["rbind"]})
        pid = bundle.start()
        subprocess.run(["mount", "-t", "tmpfs", "later", source / "later"], check=True)
        seen = Path(f"/proc/{pid}/mounts").read_text()
        assert " /slave/later " in seen and " /private/later " not in seen
        subprocess.run(["umount", source / "later"], check=True)
    finally:
        subprocess.run(["umount", "-l", source], check=True)


def test_a_shared_root_shares_mounts_with_the_host(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "shared"
    (source / "inner").mkdir(parents=True)
    subprocess.run(["mount", "--bind", source, source], check=True)
    subprocess.run(["mount", "--make-shared", source], check=True)

    def mounts() -> list[str]:
        """The host's mounts, without those of other tests, which come and go meanwhile."""
        found = []
        for line in Path("/proc/self/mounts").read_text().splitlines():
            place = line.split()[1]
            if place.startswith(str(tmp_path)) or place.split("/")[1] not in ("tmp", "run", "var"):
                found.append(line)
        return found

    old = mounts()
    try:
        bundle.spec["linux"]["rootfsPropagation"] = "rshared"
        bundle.write("true")
        bundle("run", "--no-pivot", "before")
        bundle.spec["mounts"].append({"destination": "/s", "source": str(source), "options": ["rbind", "rshared"]})
        bundle.spec["process"]["capabilities"] = {n: ["CAP_SYS_ADMIN"] for n in ("bounding", "effective", "permitted")}
        bundle.start("sh", "-c", "mount -t tmpfs inner /s/inner && sleep 300")
        for _ in range(100):
            if f"{source}/inner" in Path("/proc/self/mounts").read_text():
                break
            subprocess.run(["sleep", "0.05"])
        # Nothing else has come out: neither the root nor what is mounted in it.
        # (Where the host's root is shared, too, the new mount is there twice: at the bind and at what it binds.)
        lines = mounts()
        assert {line.split()[1] for line in lines if line not in old} == {f"{source}/inner"}
        assert [line for line in old if line not in lines] == []
    finally:
        subprocess.run(["umount", "-l", source / "inner"])
        subprocess.run(["umount", "-l", source], check=True)


def test_the_propagation_of_the_root(bundle: Bundle) -> None:
    for word, sign in (("private", ""), ("slave", ""), ("rshared", "shared:"), ("unbindable", "unbindable")):
        bundle.spec["linux"]["rootfsPropagation"] = word
        line = bundle.shell("grep ' / / \\| /[^ ]* / ' /proc/self/mountinfo | head -n 1")
        assert sign in line if sign else ("shared:" not in line and "unbindable" not in line), (word, line)


def test_long_options_of_a_file_system(bundle: Bundle, tmp_path: Path) -> None:
    lower = []
    for number in range(12):
        place = tmp_path / ("directory-with-a-name-that-takes-room-" + str(number))
        place.mkdir()
        (place / f"file{number}").touch()
        lower.append(str(place))
    options = ["lowerdir=" + ":".join(lower)]
    bundle.spec["mounts"].append({"destination": "/data", "type": "overlay", "source": "overlay", "options": options})
    assert len(options[0]) > 500
    assert bundle.shell("ls /data | wc -l") == "12"


def test_idmapped_mounts(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "volume"
    source.mkdir()
    (source / "file").touch()
    os.chown(source / "file", 1000, 1001)
    maps = {
        "uidMappings": [{"containerID": 1000, "hostID": 5000, "size": 10}],
        "gidMappings": [{"containerID": 1001, "hostID": 6001, "size": 1}],
    }
    bundle.spec["mounts"].append({"destination": "/data", "source": str(source), "options": ["bind", "idmap"], **maps})
    assert bundle.shell("stat -c %u:%g /data/file") == "5000:6001"
    status = (source / "file").stat()
    assert (status.st_uid, status.st_gid) == (1000, 1001)
