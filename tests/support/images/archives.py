"""Image archives made for tests: layers, configurations, layouts and docker archives, honest or not."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("UNDERLAY_SHARED") or Path(__file__).resolve().parents[4] / "shared")


def shared(name: str) -> Path:
    """A directory of real images, or a skip with the reason."""
    path = SHARED / "images" / name
    if not path.exists():
        pytest.skip(f"real images are not here: {path}")
    return path


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes] | None = None) -> bytes:
    """The tar of a layer with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (files if files is not None else {"hello": b"world\n"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def tar_of(parts: list[tuple[str, bytes | str]]) -> bytes:
    """The outer tar: (name, bytes) is a file, (name, text) a symbolic link, (name, "=text") a hard link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in parts:
            member = tarfile.TarInfo(name)
            if isinstance(data, str):
                member.type = tarfile.LNKTYPE if data.startswith("=") else tarfile.SYMTYPE
                member.linkname = data.removeprefix("=")
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def config(layers: list[bytes], **changes: object) -> dict[str, Any]:
    value: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-02-03T04:05:06Z",
        "config": {"Cmd": ["/hello"], "Env": ["PATH=/bin"], "Labels": {"org.test": "1"}},
        "rootfs": {"type": "layers", "diff_ids": [sha(each) for each in layers]},
        "history": [{"created": "2024-02-03T04:05:06Z", "created_by": f"step {n}"} for n in range(len(layers))],
    }
    value.update(changes)
    return value


class Layout:
    """An OCI layout in the making: blobs and the entries of index.json."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.entries: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> str:
        self.blobs[sha(data)] = data
        return sha(data)

    def image(
        self, layers: list[bytes], name: str = "", compress: bool = True, top: bool = True, **changes: object
    ) -> dict[str, Any]:
        """Add an image; return its descriptor."""
        packed = [gzip.compress(each, mtime=0) if compress else each for each in layers]
        document = json.dumps(config(layers, **changes)).encode()
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress else "")
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.blob(document),
                "size": len(document),
            },
            "layers": [{"mediaType": kind, "digest": self.blob(each), "size": len(each)} for each in packed],
        }
        return self.descriptor(manifest, name=name, top=top)

    def descriptor(self, value: dict[str, Any], name: str = "", top: bool = True, **more: object) -> dict[str, Any]:
        data = json.dumps(value).encode()
        found = {"mediaType": value["mediaType"], "digest": self.blob(data), "size": len(data), **more}
        if name:
            found["annotations"] = {"org.opencontainers.image.ref.name": name}
        if top:
            self.entries.append(found)
        return found

    def files(self) -> list[tuple[str, bytes | str]]:
        index = {"schemaVersion": 2, "manifests": self.entries}
        return [
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", json.dumps(index).encode()),
            *((f"blobs/{digest.replace(':', '/')}", data) for digest, data in self.blobs.items()),
        ]

    def tar(self) -> bytes:
        return tar_of(self.files())

    def write(self, path: Path) -> Path:
        for name, data in self.files():
            place = path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path


def docker_archive(
    layers: list[bytes], tags: list[str] | None, last: bool = True, **changes: object
) -> list[tuple[str, bytes | str]]:
    """The members of a docker archive as docker 1.10 to 24 wrote it: manifest.json comes last."""
    document = json.dumps(config(layers, **changes)).encode()
    name = sha(document)[7:] + ".json"
    parts: list[tuple[str, bytes | str]] = [(f"{n:064x}/layer.tar", each) for n, each in enumerate(layers)]
    listed = [{"Config": name, "RepoTags": tags, "Layers": [part for part, _ in parts]}]
    manifest = ("manifest.json", json.dumps(listed).encode())
    return [*parts, (name, document), manifest] if last else [manifest, (name, document), *parts]


def old_archive(
    layers: list[bytes], repositories: dict[str, Any] | None, **changes: object
) -> list[tuple[str, bytes | str]]:
    """The members of an archive as docker before 1.10 wrote it; `changes` are members of the uppermost JSON."""
    parts: list[tuple[str, bytes | str]] = []
    for n, each in enumerate(layers):
        value: dict[str, Any] = {"id": f"{n + 1:064x}", "created": f"2015-02-03T04:05:0{n}.123456789Z"}
        if n:
            value["parent"] = f"{n:064x}"
        value["container_config"] = {"Cmd": ["/bin/sh", "-c", f"echo {n} > /f && true"]}
        value["docker_version"] = "1.9.1"
        if n == len(layers) - 1:
            value |= {"config": {"Cmd": ["/hello"], "Env": ["A=<b>"]}, "architecture": "amd64", "os": "linux"}
            value |= {"author": "someone", "Size": 5, **changes}
        text = json.dumps(value, ensure_ascii=False)
        parts += [(f"{n + 1:064x}/VERSION", b"1.0"), (f"{n + 1:064x}/json", text.encode())]
        parts.append((f"{n + 1:064x}/layer.tar", each))
    if repositories is not None:
        parts.append(("repositories", json.dumps(repositories).encode()))
    return parts


def members(data: bytes) -> dict[str, bytes]:
    """The files of a tar by name."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                found[member.name] = file.read()
    return found
