"""Whether an image can run here, told beforehand, and true: images that really fail are predicted to."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines import Installation, image_tar, needs_root
from underlay.base.fit import elf
from underlay.linux import abi

TRUE = Path("/usr/bin/true")


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An installation with a small image."""
    needs_root()
    made = Installation(tmp_path_factory.mktemp("fit"))
    made("import", "-c", 'CMD ["sh"]', "-", "box", input=image_tar())
    yield made
    made.clean()


def fit(ul: Installation, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ul.out("base", "fit", "--format", "json", *words, code=code))
    return found


def test_what_runs_is_told_to_run(ul: Installation) -> None:
    found = fit(ul, "box")
    assert (found["verdict"], found["reasons"], found["certain"]) == ("runs", [], True)
    assert [each["path"] for each in found["needs"]["programs"]] == ["/bin/busybox"]
    assert "box: runs on" in ul.out("base", "fit", "box")
    ul.run("box", "true")


def _dynamic(change: Any = None, leave_out: str = "") -> bytes:
    """Return a root file system with this host's `true`, its loader and its C library; `change` edits the program."""
    listed = subprocess.run(["ldd", str(TRUE)], capture_output=True, text=True, check=True).stdout
    paths = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in (str(TRUE), *paths):
            if leave_out and leave_out in path:
                continue
            data = Path(path).read_bytes()
            if path == str(TRUE) and change is not None:
                data = change(data)
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _needs_dynamic() -> None:
    read = elf.read(lambda offset, size: TRUE.read_bytes()[offset : offset + size]) if TRUE.exists() else None
    if read is None or not read.interpreter or not shutil.which("ldd"):
        pytest.skip("this host's `true` is not linked dynamically")


def test_a_processor_that_is_too_old(ul: Installation) -> None:
    """The loader refuses a program whose note needs a level of x86-64 that the processor does not have."""
    _needs_dynamic()
    if os.uname().machine != "x86_64":
        pytest.skip("levels are x86-64's")
    level = abi.level(abi.gather()["flags"])
    if level == 4:
        pytest.skip("this processor has all levels")

    def needing_more(data: bytes) -> bytes:
        # GNU_PROPERTY_X86_ISA_1_NEEDED, or USED in its place where there is none.
        for kind in (0xC0008002, 0xC0010002):
            at = data.find(struct.pack("<II", kind, 4))
            if at >= 0:
                return data[:at] + struct.pack("<III", 0xC0008002, 4, (1 << (level + 1)) - 1) + data[at + 12 :]
        pytest.skip("this host's `true` has no note of x86-64 levels")

    ul("import", "-", "newer", input=_dynamic(needing_more))
    found = fit(ul, "newer", "/usr/bin/true", code=1)
    assert found["verdict"] == "will not run"
    assert [each["id"] for each in found["reasons"]] == [f"cpu-v{level + 1}"]
    done = ul("run", "--rm", "--network", "none", "newer", "/usr/bin/true", code=127)
    assert b"newer cannot run here: the processor is older" in done.stderr


def test_a_loader_that_is_missing(ul: Installation) -> None:
    _needs_dynamic()
    ul("import", "-", "bare", input=_dynamic(leave_out="ld-"))
    found = fit(ul, "bare", "/usr/bin/true", code=1)
    assert [each["id"] for each in found["reasons"]] == ["missing-interpreter"]
    assert found["reasons"][0]["image"].startswith("/usr/bin/true needs /")
    ul("run", "--rm", "--network", "none", "bare", "/usr/bin/true", code=127)


def test_a_library_that_is_missing(ul: Installation) -> None:
    _needs_dynamic()
    ul("import", "-", "half", input=_dynamic(leave_out="libc.so"))
    found = fit(ul, "half", "/usr/bin/true", code=1)
    assert [each["id"] for each in found["reasons"]] == ["missing-library"]
    done = ul("run", "--rm", "--network", "none", "half", "/usr/bin/true", code=127)
    assert b"half cannot run here" in done.stderr and b"libc.so.6" in done.stderr
    # It is whole again with the library.
    ul("import", "-", "whole", input=_dynamic())
    assert fit(ul, "whole", "/usr/bin/true")["verdict"] == "runs"
    ul.run("whole", "/usr/bin/true")


def test_a_host_that_is_elsewhere(ul: Installation, tmp_path: Path) -> None:
    """`info` of another host is what it takes."""
    info = json.loads(ul.out("info", "--format", "json"))
    other = tmp_path / "host.json"
    info["KernelVersion"] = "2.6.18-5"
    info["HostABI"].update(page_size=65536, vsyscall=False)
    other.write_text(json.dumps(info))
    found = fit(ul, "--host", str(other), "box", code=1)
    assert {each["id"] for each in found["reasons"]} >= {"page-size"}
    text = ul.out("base", "fit", "--host", str(other), "box", code=1)
    assert "box: will not run on" in text and "remedy:" in text and "Linux 2.6.18-5" in text
    for wrong, said in (("{}", b"not the output of"), ("[]", b"not a JSON object"), ("{", b"is not JSON")):
        other.write_text(wrong)
        assert said in ul("base", "fit", "--host", str(other), "box", code=1).stderr
    assert b"No such file" in ul("base", "fit", "--host", str(tmp_path / "x"), "box", code=1).stderr


@pytest.mark.parametrize(
    ("id", "own"),
    [
        ("command-missing", 'CMD ["absent"]'),
        ("command-mode", 'RUN echo "#!/bin/sh" > /x\nCMD ["/x"]'),
        ("command-format", 'RUN echo hello > /x && chmod +x /x\nCMD ["/x"]'),
        ("script-crlf", 'RUN printf "#!/bin/sh\\r\\necho\\r\\n" > /x && chmod +x /x\nCMD ["/x"]'),
        ("script-interpreter", 'RUN echo "#!/usr/bin/python3" > /x && chmod +x /x\nCMD ["/x"]'),
        ("script-interpreter", 'RUN echo "#!python3" > /x && chmod +x /x\nCMD ["/x"]'),
        ("user-unknown", 'USER stranger\nCMD ["true"]'),
        ("working-directory", 'RUN rm -rf /w && echo > /w\nWORKDIR /w/inside\nCMD ["true"]'),
        ("", 'RUN echo "#!/bin/sh" > /x && chmod +x /x\nUSER 1000\nWORKDIR /new\nCMD ["/x"]'),
    ],
)
def test_what_dies_at_once_is_told(ul: Installation, id: str, own: str) -> None:
    """The prediction and what running the image shows."""
    if id == "working-directory":
        # A builder would make it: the configuration alone says so.
        ul("import", "-c", "WORKDIR /bin/busybox/inside", "-c", 'CMD ["true"]', "-", "first", input=image_tar())
    else:
        ul("build", "-q", "-t", "first", "-", input=f"FROM box\n{own}\n".encode())
    if not id:
        assert fit(ul, "first")["verdict"] == "runs"
        ul("run", "--rm", "first")
        return
    found = fit(ul, "first", code=1)
    assert [each["id"] for each in found["reasons"]] == [id]
    done = ul("run", "--rm", "first", code=None)
    assert done.returncode in found["reasons"][0]["codes"], done.stderr
