"""Write a root file system of this host's own distribution release, made from its packages, as a tar to stdout.

Mirrors, suites and keys are taken from the host's apt configuration. Needs root and mmdebstrap. Usage:

    python3 tools/host_base.py [--variant minbase] [--include package,…] > rootfs.tar
    python3 tools/host_base.py --name        prints the image name, such as debian:trixie
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def release() -> tuple[str, str]:
    """Return (distribution, codename) of this host from /etc/os-release."""
    fields = {}
    for line in Path("/etc/os-release").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key] = value.strip("\"'")
    codename = fields.get("VERSION_CODENAME", "")
    if fields.get("ID") not in ("debian", "ubuntu") or not codename:
        sys.exit("host_base: this host is neither Debian nor Ubuntu with a codename in /etc/os-release")
    return fields["ID"], codename


def stanzas() -> list[str]:
    """Return the host's package sources that any machine could use: those read over http(s), deb822 or one-line."""
    found = []
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for block in path.read_text().replace("\r", "").split("\n\n"):
            lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
            fields = {
                line.partition(":")[0].strip().lower(): line.partition(":")[2].strip()
                for line in lines
                if ":" in line and not line[0].isspace()
            }
            if fields.get("uris", "").startswith("http") and fields.get("enabled", "yes") != "no":
                found.append("\n".join(lines))
    lists = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    one_line = [
        line
        for path in lists
        if path.exists()
        for line in path.read_text().splitlines()
        if line.startswith("deb ") and "http" in line
    ]
    return found or one_line


def main() -> None:
    """Run mmdebstrap with the host's own sources."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="minbase")
    parser.add_argument("--include", default="")
    parser.add_argument("--name", action="store_true")
    options = parser.parse_args()
    distribution, codename = release()
    if options.name:
        print(f"{distribution}:{codename}")
        return
    sources = stanzas()
    if not sources:
        sys.exit("host_base: no package source read over http(s) in /etc/apt")
    deb822 = sources[0].lower().startswith("types")
    with tempfile.NamedTemporaryFile("w", suffix=".sources" if deb822 else ".list") as file:
        file.write(("\n\n" if deb822 else "\n").join(sources) + "\n")
        file.flush()
        os.chmod(file.name, 0o644)
        command = ["mmdebstrap", "--quiet", f"--variant={options.variant}", "--mode=root"]
        command += ['--aptopt=Apt::Install-Recommends "false"', "--dpkgopt=path-exclude=/usr/share/man/*"]
        command += ["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*"]
        if options.include:
            command.append(f"--include={options.include}")
        sys.exit(subprocess.run([*command, codename, "-", file.name]).returncode)


if __name__ == "__main__":
    main()
