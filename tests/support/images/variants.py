"""Images made for the exam of bases: roots, images on them, and the ways in which people change images."""

from __future__ import annotations

import copy
import datetime
import gzip
import io
import json
import random
import tarfile
from typing import Any

from archives import SHARED, Layout, layer, sha

BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
_START = datetime.datetime(2026, 3, 2, 10, 0, 0)
_NOP = "/bin/sh -c #(nop) "


class Made:
    """An image in the making: tars of layers, steps, the configuration's `config`, annotations of the manifest."""

    def __init__(self, architecture: str = "amd64", day: int = 0) -> None:
        self.layers: list[bytes] = []
        self.steps: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {"Env": ["PATH=/usr/bin:/bin"]}
        self.annotations: dict[str, str] = {}
        self.architecture = architecture
        self.time = _START + datetime.timedelta(days=day)
        self.packing = "gzip"

    def on(self, days: int = 30) -> Made:
        """Return an image that begins as this one, made some days later."""
        other = copy.deepcopy(self)
        other.time = self.time + datetime.timedelta(days=days)
        return other

    def add(self, tar: bytes, step: str, **more: object) -> Made:
        """Add a layer and its step."""
        self.layers.append(tar)
        return self.say(step, False, **more)

    def say(self, step: str, empty: bool = True, **more: object) -> Made:
        """Add a step; CMD, ENTRYPOINT, ENV and LABEL change the configuration, too."""
        self.time += datetime.timedelta(seconds=7)
        self.steps.append({"created": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"), "created_by": step, **more})
        if empty:
            self.steps[-1]["empty_layer"] = True
        word, _, rest = step.removeprefix(_NOP).strip().partition(" ")
        rest = rest.removesuffix(" # buildkit")
        if word in ("CMD", "ENTRYPOINT"):
            self.config[word.capitalize()] = json.loads(rest.replace('" "', '","'))
        elif word == "ENV":
            self.config["Env"] = [*self.config["Env"], rest]
        elif word == "LABEL":
            name, _, value = rest.partition("=")
            self.config["Labels"] = {**self.config.get("Labels", {}), name: value.strip('"')}
        return self

    def document(self) -> dict[str, Any]:
        """The configuration."""
        return {
            "architecture": self.architecture,
            "os": "linux",
            "created": self.steps[-1].get("created") if self.steps else "2026-05-01T00:00:00Z",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [sha(each) for each in self.layers]},
            **({"history": self.steps} if self.steps else {}),
        }

    def packed(self) -> list[bytes]:
        """The layers, compressed as `packing` says."""
        if self.packing == "zstd":
            from underlay.store.layers import codec

            frames = []
            for each in self.layers:
                compressor = codec.compressor("zstd")
                frames.append(compressor.compress(each) + compressor.flush())
            return frames
        level = {"gzip": 6, "fast": 1}.get(self.packing)
        return [each if level is None else gzip.compress(each, level, mtime=0) for each in self.layers]

    def manifest(self) -> tuple[dict[str, Any], bytes, list[bytes]]:
        """The manifest with the blobs that it names: configuration and layers."""
        document, packed = json.dumps(self.document()).encode(), self.packed()
        kind = "application/vnd.oci.image.layer.v1.tar" + {"zstd": "+zstd", "none": ""}.get(self.packing, "+gzip")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha(document),
                "size": len(document),
            },
            "layers": [{"mediaType": kind, "digest": sha(each), "size": len(each)} for each in packed],
            **({"annotations": self.annotations} if self.annotations else {}),
        }
        return manifest, document, packed

    def layout(self, name: str = "") -> Layout:
        """The image as an OCI layout."""
        layout = Layout()
        manifest, document, packed = self.manifest()
        for data in (document, *packed):
            layout.blob(data)
        layout.descriptor(manifest, name)
        return layout


# Files


def files_of(tars: list[bytes]) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What layers make together; whiteouts are applied."""
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for each in tars:
        with tarfile.open(fileobj=io.BytesIO(each)) as tar:
            for member in tar:
                name = member.name.removeprefix("./").strip("/")
                folder, _, last = name.rpartition("/")
                if last.startswith(".wh."):
                    gone = f"{folder}/{last[4:]}".strip("/")
                    found = {path: value for path, value in found.items() if f"{path}/".find(f"{gone}/") != 0}
                    continue
                data = tar.extractfile(member) if member.isreg() else None
                found[name] = (member, data.read() if data is not None else b"")
    return found


def tar_of_files(files: dict[str, tuple[tarfile.TarInfo, bytes]], time: int | None = None) -> bytes:
    """One tar of what `files_of` returns; `time`: when all was changed last."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (member, data) in sorted(files.items()):
            if not name:
                continue
            member = copy.copy(member)
            member.name, member.pax_headers = name, {}
            member.mtime = member.mtime if time is None else time
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def flat(tars: list[bytes]) -> bytes:
    """Layers made one."""
    return tar_of_files(files_of(tars))


def noise(salt: str, size: int) -> bytes:
    """Bytes that cannot be compressed, so that layers differ in size as real ones do."""
    return random.Random(salt).randbytes(size)


def many(folder: str, count: int, salt: str) -> dict[str, bytes]:
    return {f"{folder}/{salt}-{number}": noise(f"{salt} {number}", 40 * (number + 1)) for number in range(count)}


def debian_files(release: str = "12", packages: int = 20) -> dict[str, bytes]:
    code = {"11": "bullseye", "12": "bookworm", "13": "trixie"}[release]
    status = "\n".join(
        f"Package: part{n}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {release}.{n}\n"
        for n in range(packages)
    )
    text = f'PRETTY_NAME="Debian GNU/Linux {release} ({code})"\nID=debian\n'
    text += f'VERSION_ID="{release}"\nVERSION_CODENAME={code}\n'
    return {
        "etc/os-release": text.encode(),
        "etc/debian_version": f"{release}.1\n".encode(),
        "var/lib/dpkg/status": status.encode(),
        "lib64/ld-linux-x86-64.so.2": b"\x7fELF glibc" * 40,
        **many("usr/share/debian", 40, f"debian{release}"),
    }


def alpine_files(release: str = "3.20.3") -> dict[str, bytes]:
    branch = release.rpartition(".")[0]
    database = "\n".join(f"P:part{n}\nV:{release}-r{n}\nA:x86_64\n" for n in range(14))
    text = f'NAME="Alpine Linux"\nID=alpine\nVERSION_ID={release}\nPRETTY_NAME="Alpine Linux v{branch}"\n'
    return {
        "etc/os-release": text.encode(),
        "etc/alpine-release": release.encode() + b"\n",
        "lib/apk/db/installed": database.encode(),
        "lib/ld-musl-x86_64.so.1": b"\x7fELF musl" * 40,
        **many("usr/share/alpine", 40, f"alpine{branch}"),
    }


def alpine_tar(release: str = "3.20.3") -> bytes:
    """Alpine's own root file system where it is here, else a small one that says the same of itself."""
    real = SHARED / "images" / "alpine" / f"alpine-minirootfs-{release}-x86_64.tar.gz"
    return gzip.decompress(real.read_bytes()) if real.exists() else layer(alpine_files(release))


# Bases


def alpine(release: str = "3.20.3", day: int = 0) -> Made:
    made = Made(day=day).add(alpine_tar(release), f"ADD alpine-minirootfs-{release}-x86_64.tar.gz / # buildkit")
    return made.say('CMD ["/bin/sh"]', comment="buildkit.dockerfile.v0")


def debian(release: str = "12", day: int = 0, packages: int = 20) -> Made:
    code = {"11": "bullseye", "12": "bookworm", "13": "trixie"}[release]
    step = f"# debian.sh --arch 'amd64' out/ '{code}' '@17{day:02}000000'"
    files = {**debian_files(release, packages), "etc/built": f"{day}".encode()}
    return Made(day=day).add(layer(files), step, comment="debuerreotype 0.15")


def runtime(below: Made, version: str = "3.4.1", day: int = 10, salt: str = "") -> Made:
    """An image of a runtime of somebody's own, of which nothing is in public lists."""
    made = below.on(day)
    made.say(f"ENV SPROCKET_VERSION={version}")
    files = {"usr/local/bin/sprocket": noise(f"sprocket {version}{salt}", 90_000), **many("usr/local/lib", 20, version)}
    made.add(layer(files), "RUN /bin/sh -c fetch sprocket-$SPROCKET_VERSION && make install # buildkit")
    return made.say('CMD ["sprocket"]')


def app(below: Made, name: str = "shop") -> Made:
    """An application of four steps."""
    made = below.on()
    made.say("WORKDIR /srv/app")
    made.add(layer({f"srv/app/{name}": noise(name, 7_000)}), "COPY . . # buildkit")
    made.add(layer({"srv/app/built": noise(f"{name} built", 31_000)}), "RUN /bin/sh -c ./build # buildkit")
    return made.say(f'CMD ["./{name}"]')
