#!/usr/bin/env python3
"""Make `src/underlay/base/data/kernels.json` from a file of kernel facts: what releases of distributions ask of a host.

tools/make_kernel_facts.py ../shared/data/kernel-facts.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/underlay/base/data/kernels.json"


def main() -> None:
    """Write the facts that `underlay.base.fit` uses, and nothing else."""
    facts = json.loads(Path(sys.argv[1]).read_text())["facts"]
    releases: dict[str, dict[str, Any]] = {}
    for fact in facts:
        if fact["kind"] == "distro-release":
            level = int(fact["cpu_baseline_amd64"].rpartition("v")[2])
            found = [fact["libc"], fact["libc_version"], fact["min_kernel_amd64"] or "", level, fact["kernel"] or ""]
            releases.setdefault(fact["distro"], {})[fact["version"]] = found
    floors = [
        [fact["arch"], fact["from_version"], fact["to_version"], fact["min_kernel"]]
        for fact in facts
        if fact["kind"] == "glibc-min-kernel"
    ]
    supported = {
        f"{fact['image'].rpartition(' ')[2]}/{fact['host'].rpartition(' ')[2]}": fact["supported"]
        for fact in facts
        if fact["kind"] == "vendor-matrix"
    }
    made = {"releases": releases, "glibc": floors, "redhat": supported}
    TARGET.write_text(json.dumps(made, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
