"""Volumes of other containers, parts of volumes, volumes with options, and other images as mounts."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from engines import Installation, image_tar, until
from underlay.linux.files import loopdevice

pytestmark = pytest.mark.root


def mounted(ul: Installation) -> list[str]:
    """Return what is mounted below the installation's volumes."""
    place = str(ul.root / "volumes")
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if place in line]


def refused(ul: Installation, *words: str, code: int = 125) -> str:
    """Return what `run` says when it refuses to."""
    return ul("run", "--rm", "--network", "none", *words, code=code).stderr.decode()


def test_volumes_of_another_container(ul: Installation, tmp_path: Path) -> None:
    ul.start("--name", "owner", "-v", "data:/data", "-v", "/anonymous", "-v", f"{tmp_path}:/host", "box", "sleep", "99")
    ul("exec", "owner", "sh", "-c", "echo kept > /data/f; echo nameless > /anonymous/f")
    assert ul.run("--volumes-from", "owner", "box", "cat", "/data/f", "/anonymous/f") == "kept\nnameless"
    ul.run("--volumes-from", "owner:ro", "box", "touch", "/data/x", code=1)
    ul.run("--volumes-from", "owner", "box", "touch", "/host/made")
    assert (tmp_path / "made").exists()
    # What is named oneself wins.
    assert ul.run("--volumes-from", "owner", "-v", "other:/data", "box", "ls", "/data") == "seed"
    for words, message in (
        (("nothere",), "No such container: nothere"),
        (("owner:bad",), 'invalid mode: "bad"'),
        (("",), "invalid volume specification"),
    ):
        assert message in refused(ul, "--volumes-from", *words, "box", "true")
    # The volume stays anonymous, and goes with the last that has it.
    name = ul.out(
        "inspect", "-f", '{{range .Mounts}}{{if eq .Destination "/anonymous"}}{{.Name}}{{end}}{{end}}', "owner"
    )
    ul.start("--name", "heir", "--volumes-from", "owner", "box", "sleep", "99")
    ul("rm", "-f", "-v", "owner")
    assert name in ul.out("volume", "ls", "-q")
    ul("rm", "-f", "-v", "heir")
    assert name not in ul.out("volume", "ls", "-q")
    ul("volume", "rm", "data", "other")


def test_a_part_of_a_volume(ul: Installation) -> None:
    script = "mkdir -p /v/part/deep; echo x > /v/part/f; ln -s part /v/link; ln -s /etc /v/out; ln -s ../../.. /v/up"
    ul.run("-v", "whole:/v", "box", "sh", "-c", script)

    def part(path: str, code: int = 0) -> str:
        words = ["--mount", f"type=volume,source=whole,target=/p,volume-subpath={path}", "box", "ls", "/p"]
        return refused(ul, *words, code=code) if code else ul.run(*words)

    assert part("part") == "deep\nf" and part("part/deep") == "" and part("link") == "deep\nf"
    assert ul.run("--mount", "type=volume,source=whole,target=/p,volume-subpath=part/f", "box", "cat", "/p")
    # Links of the volume lead nowhere else than into it: where /etc would be there is nothing, and up is the volume.
    assert "cannot access path" in part("out", 127)
    assert set(part("up").split()) == {"part", "link", "out", "up"}
    assert "must be a relative path within the volume" in part("../x", 125)
    assert "cannot access path" in part("missing", 127)
    ul("volume", "rm", "whole")


def test_volumes_made_by_mount(ul: Installation) -> None:
    mount = "type=volume,source=made,target=/v,volume-label=tier=db,volume-driver=local,volume-nocopy=true"
    ul.run("--mount", mount, "box", "true")
    assert json.loads(ul.out("volume", "inspect", "made"))[0]["Labels"] == {"tier": "db"}
    ul("volume", "rm", "made")
    for option, message in (
        ("volume-driver=nope", 'plugin "nope" not found'),
        ("volume-opt=nope=1", 'invalid option: "nope"'),
        ("volume-opt=type=tmpfs", 'missing required option: "device"'),
    ):
        words = ["--mount", f"type=volume,source=bad,target=/v,{option}", "box", "true"]
        assert message in refused(ul, *words)
    assert "bad" not in ul.out("volume", "ls", "-q")
    assert "not found" in refused(ul, "--volume-driver", "nope", "box", "true")
    ul.run("--volume-driver", "local", "-v", "made:/v", "box", "true")
    ul("volume", "rm", "made")


def test_a_tmpfs_is_shared_and_ends_with_its_last_container(ul: Installation) -> None:
    ul("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000,mode=750", "tv")
    assert json.loads(ul.out("volume", "inspect", "-f", "{{json .Options}}", "tv"))["o"] == "size=1m,uid=1000,mode=750"
    ul.start("--name", "one", "-v", "tv:/t", "box", "sleep", "99")
    assert ul.run("-v", "tv:/t", "box", "sh", "-c", "echo shared > /t/f; stat -c %u:%a /t") == "1000:750"
    assert ul.out("exec", "one", "cat", "/t/f") == "shared" and len(mounted(ul)) == 1
    ul.run("-v", "tv:/t", "box", "dd", "if=/dev/zero", "of=/t/big", "bs=1k", "count=2000", code=1)
    ul("stop", "-t", "0", "one")
    assert mounted(ul) == []
    ul("start", "one")
    assert ul.out("exec", "one", "ls", "/t") == "" and len(mounted(ul)) == 1
    # A killed monitor leaves the mount to the next command.
    state = json.loads((ul.state / "containers" / ul.out("inspect", "-f", "{{.Id}}", "one") / "state.json").read_text())
    for pid in (state["monitor"], state["pid"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{state['monitor']}/root").exists())
    ul("ps")
    assert mounted(ul) == []
    # The files of one that does not run are looked at with the volume mounted, for as long as that takes.
    ul("cp", "one:/t", "-")
    assert mounted(ul) == []
    ul("rm", "one")
    ul("volume", "rm", "tv")


def test_directories_and_what_cannot_be_mounted(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("of the host\n")
    ul("volume", "create", "-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind,ro", "bv")
    assert ul.run("-v", "bv:/b", "box", "cat", "/b/f") == "of the host"
    ul.run("-v", "bv:/b", "box", "touch", "/b/x", code=1)
    assert mounted(ul) == []
    ul("volume", "rm", "bv")
    assert (tmp_path / "f").exists()
    ul("volume", "create", "-o", "type=none", "-o", "device=/nothere", "-o", "o=bind", "bad")
    said = refused(ul, "-v", "bad:/b", "box", "true")
    assert "failed to mount local volume: mount /nothere:" in said and "no such file or directory" in said
    assert mounted(ul) == [] and ul.out("ps", "-aq") == ""
    # What is there is taken as it is, as with docker.
    ul("volume", "create", "-o", "type=none", "-o", "device=/other", "bad")
    assert ul.out("volume", "inspect", "-f", "{{.Options.device}}", "bad") == "/nothere"
    ul("volume", "rm", "bad")
    for words, message in (
        (("-o", "type=tmpfs"), 'missing required option: "device"'),
        (("-o", "o=bind"), "missing required option"),
        (("-o", "nope=1"), 'invalid option: "nope"'),
        (("-o", "size=x"), "invalid size: 'x'"),
    ):
        assert message in ul("volume", "create", *words, "bad", code=1).stderr.decode()


@pytest.mark.skipif(bool(loopdevice.why_not()), reason=loopdevice.why_not())
def test_a_size_limit(ul: Installation) -> None:
    ul("volume", "create", "-o", "size=16m", "small")
    fill = "dd if=/dev/zero of=/s/f bs=1M count=40 2>/dev/null; stat -c %s /s/f"
    written = int(ul.run("-v", "small:/s", "box", "sh", "-c", fill))
    assert 4 << 20 < written < 16 << 20
    assert int(ul.run("-v", "small:/s", "box", "stat", "-c", "%s", "/s/f")) == written and mounted(ul) == []
    ul("volume", "rm", "small")


@pytest.mark.parametrize("form", ["erofs", "tree"])
def test_another_image_as_a_mount(tmp_path: Path, form: str, ul: Installation) -> None:
    made = Installation(tmp_path / "other", form) if form == "tree" else ul
    if form == "tree":
        (tmp_path / "box.tar").write_bytes(image_tar())
        made("import", str(tmp_path / "box.tar"), "box")
    (tmp_path / "Dockerfile").write_text(
        "FROM box\nRUN mkdir /kept; echo one > /kept/f; ln -s / /kept/out\nRUN rm /data/seed\n"
    )
    made("build", "-q", "-t", "tools", str(tmp_path))
    mount = "type=image,source=tools,target=/tools"
    assert made.run("--mount", mount, "box", "cat", "/tools/kept/f") == "one"
    made.run("--mount", mount, "box", "test", "-e", "/tools/data/seed", code=1)
    made.run("--mount", mount + ",readonly=false", "box", "touch", "/tools/x", code=1)
    if form == "erofs":
        assert made.run("--mount", mount + ",image-subpath=kept", "box", "cat", "/tools/f") == "one"
        inside = made.run("--mount", mount + ",image-subpath=kept/out", "box", "ls", "/tools")
        assert "kept" in inside.split()  # its root is the image's
        made.run("--mount", mount + ",image-subpath=none", "box", "true", code=127)
    # It is kept as long as a container has it mounted, and gone after that.
    made.start("--name", "user", "--mount", mount, "box", "sleep", "99")
    assert (
        made.out("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.RW}}{{end}}", "user") == "image tools false"
    )
    assert "is using its referenced image" in made("rmi", "tools", code=1).stderr.decode()
    assert made.run("--volumes-from", "user", "box", "cat", "/tools/kept/f") == "one"
    made("rm", "-f", "user")
    made("rmi", "tools")
    assert "No such image" in refused(made, "--pull", "never", "--mount", mount, "box", "true")
    if form == "tree":
        made.clean()
