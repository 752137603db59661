"""Images to measure with: a small base, a 20-layer image, a large one; made here, from this host's own files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

SHARED = Path(os.environ.get("UNDERLAY_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def base_tar(scratch: Path) -> Path:
    """Return a small root file system tar: Alpine when it is at hand, else a static busybox."""
    found = sorted((SHARED / "images" / "alpine").glob("alpine-minirootfs-3.20*-x86_64.tar.gz"))
    if found:
        return found[0]
    path = scratch / "busybox.tar"
    with tarfile.open(path, "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "true", "sleep", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return path


def _archive(path: Path, name: str, layers: list[bytes | Path]) -> Path:
    """Write a docker-archive (as `docker save` lays it out) of layers given as tars."""
    diff_ids, members = [], []
    with tarfile.open(path, "w") as tar:
        for number, layer in enumerate(layers):
            data = layer if isinstance(layer, bytes) else layer.read_bytes()
            digest = sha256(data).hexdigest()
            diff_ids.append(f"sha256:{digest}")
            member = tarfile.TarInfo(f"{number:02d}{digest[:62]}/layer.tar")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            members.append(member.name)
        config = json.dumps(
            {
                "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
                "os": "linux",
                "config": {"Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [{"created_by": f"layer {n}"} for n in range(len(layers))],
            }
        ).encode()
        config_name = sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": members}]).encode()
        for file_name, data in ((config_name, config), ("manifest.json", manifest)):
            member = tarfile.TarInfo(file_name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _small_layer(number: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for index in range(20):
            data = f"layer {number} file {index}\n".encode() * 50
            member = tarfile.TarInfo(f"srv/{number}/{index}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def layered(scratch: Path, base: Path, count: int) -> Path:
    """Return a docker-archive of the base and `count` - 1 small layers above it, named bench:<count>."""
    opener = (
        subprocess.run(["gzip", "-dc", base], capture_output=True, check=True).stdout if base.suffix == ".gz" else base
    )
    layers: list[bytes | Path] = [opener]
    layers += [_small_layer(number) for number in range(1, count)]
    return _archive(scratch / f"bench-{count}.tar", f"bench:{count}", layers)


def large(scratch: Path, size: int = 300 << 20) -> Path:
    """Return a docker-archive of one layer with about `size` bytes of this host's files below /usr, named bench:large."""
    layer = scratch / "large-layer.tar"
    total = 0
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        for directory, names, files in os.walk("/usr"):
            names.sort()
            for name in sorted(files):
                path = os.path.join(directory, name)
                try:
                    status = os.lstat(path)
                    if not os.path.islink(path) and status.st_size < 32 << 20:
                        tar.add(path, path.lstrip("/"), recursive=False)
                        total += status.st_size
                except OSError:
                    continue
                if total >= size:
                    break
            if total >= size:
                break
    result = _archive(scratch / "bench-large.tar", "bench:large", [layer])
    layer.unlink()
    return result
