"""Finding images is on the way to every container start: it must import next to nothing."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src"
HEAVY = (
    "re",
    "json",
    "msgspec",
    "typing",
    "enum",
    "dataclasses",
    "hashlib",
    "pathlib",
    "subprocess",
    "argparse",
)
PROGRAM = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from underlay.oci import chain, digest, platform, reference
from underlay.store import blobs; from underlay.store.rows import images
reference.parse("example.com:5000/a/b:1@sha256:" + "0" * 64)
platform.rank(platform.host(), platform.parse("linux/arm64/v8"))
print(" ".join(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_finding_an_image_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
