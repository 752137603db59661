"""Images moved onto another base: the layers above stay, what was inherited changes, and what is unsafe is refused."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import Installation, image_tar, needs_root
from registries import DockerRegistry

STATUS = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n"
RELEASE = 'ID=debian\nVERSION_ID="{}"\nPRETTY_NAME="Debian {}"\n'


def root(files: dict[str, bytes | str]) -> bytes:
    """Return the small root file system with more files; `-> target` is a link."""
    buffer = io.BytesIO(image_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for path, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            if data.startswith(b"-> "):
                member.type, member.linkname, member.size = tarfile.SYMTYPE, data[3:].decode(), 0
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def packages(**versions: str) -> str:
    return "\n".join(STATUS.format(name, version) for name, version in versions.items())


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a base in two builds."""
    needs_root()
    made = Installation(tmp_path_factory.mktemp("rebase"))
    options = ("-c", 'CMD ["cat", "/etc/motd"]', "-c", "ENV RELEASE={}", "-c", "ENV SHARED=1", "-c", "LABEL from={}")
    for number, versions in ((1, {"libc6": "2.36-9", "zlib": "1.2"}), (2, {"libc6": "2.36-10", "zlib": "1.3"})):
        files = {
            "etc/os-release": RELEASE.format("12", number),
            "etc/motd": f"base {number}\n",
            "var/lib/dpkg/status": packages(**versions),
            "usr/bin/tool": "#!/bin/sh\necho tool\n",
        }
        words = [word.format(number) for word in options]
        made("import", *words, "-", f"base:{number}", input=root(files))
    yield made
    made.clean()


def build(ul: Installation, dockerfile: str, name: str) -> None:
    ul("build", "-q", "-t", name, "-", input=dockerfile.encode())


def inspect(ul: Installation, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ul.out("image", "inspect", name))[0]
    return found


def test_the_rebased_image_runs(ul: Installation) -> None:
    build(ul, 'FROM base:1\nRUN echo app > /app\nENV OWN=2\nCMD ["sh", "-c", "cat /etc/motd /app"]\n', "app")
    before = inspect(ul, "app")
    told = ul.out("base", "rebase", "--dry-run", "--base", "base:1", "--onto", "base:2", "app")
    assert "would be moved from base:1 (1 layer) onto base:2 (1 layer), with its 1 layer above" in told
    assert "changes: RELEASE changes from 1 to 2" in told and "zlib 1.2 → 1.3" in told
    assert inspect(ul, "app")["Id"] == before["Id"]
    moved = json.loads(
        ul.out("base", "rebase", "--format", "json", "--base", "base:1", "--onto", "base:2", "-t", "app:new", "app")
    )
    after = inspect(ul, "app:new")
    assert (moved["done"], moved["id"], moved["hazards"]) == (True, after["Id"], [])
    assert ul.run("app:new") == "base 2\napp" and ul.run("app") == "base 1\napp"
    # The layer above is the same, and so is all that the image has said itself.
    assert after["RootFS"]["Layers"] == [*inspect(ul, "base:2")["RootFS"]["Layers"], before["RootFS"]["Layers"][-1]]
    assert set(after["Config"]["Env"]) >= {"RELEASE=2", "SHARED=1", "OWN=2"}
    assert after["Config"]["Labels"] == {"from": "2"} and after["Config"]["Cmd"] == before["Config"]["Cmd"]
    steps = ul.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "app:new")
    assert "echo app > /app" in steps
    # By default it keeps its name.
    ul("base", "rebase", "--base", "base:1", "--onto", "base:2", "app")
    assert inspect(ul, "app")["Id"] == after["Id"]


HAZARDS = {
    "a package that another needs is gone": (
        "packages",
        "RUN printf '\\nPackage: app\\nStatus: install ok installed\\nVersion: 1\\nDepends: zlib (>= 1) | zlib-ng\\n'"
        " >> /var/lib/dpkg/status",
        {"var/lib/dpkg/status": packages(libc6="2.36-10")},
        "app, installed above the base, needs the package zlib",
    ),
    "a command of a script is gone": (
        "command",
        "RUN printf '#!/bin/sh\\n# zip\\nif tool --version; then exit; fi\\n' > /script && chmod 755 /script",
        {"usr/bin/tool": None},
        "/script calls tool",
    ),
    "a command of the command line is gone": (
        "command",
        "CMD id | tool",
        {"usr/bin/tool": None},
        "the command calls tool",
    ),
    "a compiled module of another Python": (
        "interpreter",
        "RUN mkdir -p /usr/lib/python3 && touch /usr/lib/python3/fast.cpython-311-x86_64-linux-gnu.so",
        {"usr/bin/python3.11": None},
        "is for python3.11",
    ),
    "a directory of another version": (
        "version",
        "RUN touch /usr/lib/php/20220829/mine.so",
        {"usr/lib/php/20220829/one.so": None, "usr/lib/php/20230831/one.so": "x"},
        "and the new base has /usr/lib/php/20230831 instead",
    ),
    "the layers above remove of the base": ("whiteout", "RUN rm /usr/bin/tool", {}, "/usr/bin/tool"),
    "an interpreter is gone": (
        "interpreter",
        "RUN printf '#!/usr/bin/tool\\n' > /script && chmod 755 /script",
        {"usr/bin/tool": None},
        "/script need /usr/bin/tool",
    ),
    "a Python is another": (
        "interpreter",
        "RUN mkdir -p /usr/lib/python3.11/site-packages && touch /usr/lib/python3.11/site-packages/mine.py",
        {"usr/bin/python3.11": None},
        "is for python3.11",
    ),
    "a Python of an environment is another": (
        "interpreter",
        "RUN mkdir -p /venv/lib/python3.11/site-packages && touch /venv/lib/python3.11/site-packages/mine.py",
        {"usr/bin/python3.11": None},
        "is for python3.11",
    ),
    "the program of the entrypoint is gone": (
        "command",
        'ENTRYPOINT ["/usr/bin/tool"]',
        {"usr/bin/tool": None},
        "the command needs /usr/bin/tool",
    ),
    "the user is gone": ("user", "USER me", {"etc/passwd": "root:x:0:0::/:/bin/sh\n"}, "user me"),
    "a directory is a link": (
        "replaced",
        "RUN mkdir /opt/lib/mine",
        {"opt/lib/x": None, "opt/lib": "-> /usr/bin"},
        "/opt/lib",
    ),
    "the command is inherited, and another": ("configuration", "", {"CMD": "other"}, "Cmd comes from the base"),
}


@pytest.mark.parametrize("case", HAZARDS)
def test_what_is_unsafe_is_refused(ul: Installation, case: str) -> None:
    kind, step, changed, said = HAZARDS[case]
    files: dict[str, Any] = {
        "etc/os-release": RELEASE.format("12", 1),
        "var/lib/dpkg/status": packages(libc6="2.36-10", zlib="1.3"),
        "usr/bin/tool": "#!/bin/sh\n",
        "usr/bin/python3.11": b"\x7fELF",
        "etc/passwd": "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\n",
        "opt/lib/x": "x",
        "usr/lib/php/20220829/one.so": "x",
    }
    tag = case.replace(" ", "-").replace(",", "").lower()
    ul("import", "-c", 'CMD ["true"]', "-", f"old:{tag}", input=root(files))
    other = {name: data for name, data in {**files, **changed}.items() if data is not None and name != "CMD"}
    command = changed.get("CMD", "true")
    ul("import", "-c", f'CMD ["{command}"]', "-", f"new:{tag}", input=root(other))
    step = step or "RUN touch /mine"
    command = "" if kind == "configuration" or "CMD" in step else '\nCMD ["id"]'
    build(ul, f"FROM old:{tag}\n{step}{command}\n", f"on:{tag}")
    words = ("base", "rebase", "--base", f"old:{tag}", "--onto", f"new:{tag}", "-t", f"moved:{tag}", f"on:{tag}")
    told = json.loads(ul.out(*words, "--dry-run", "--format", "json", code=1))
    assert [each["id"] for each in told["hazards"]] == [kind] and said in told["hazards"][0]["text"]
    refused = ul(*words, code=1).stderr.decode()
    assert said in refused and "--force" in refused
    assert b"No such image" in ul("image", "inspect", f"moved:{tag}", code=1).stderr
    ul(*words, "--force")
    assert inspect(ul, f"moved:{tag}")["RootFS"]["Layers"][0] == inspect(ul, f"new:{tag}")["RootFS"]["Layers"][0]


def test_another_release_is_fine_for_what_uses_nothing_that_is_gone(ul: Installation) -> None:
    """Packages and programs of the old release that the image does not use are told, and do not stand in the way."""
    old = {"var/lib/dpkg/status": packages(libc6="2.36-10", libssl3="3.0"), "usr/bin/tool": "#!/bin/sh\n"}
    new = {"var/lib/dpkg/status": packages(libc6="2.41-1", libssl3t64="3.5"), "usr/bin/other": "#!/bin/sh\n"}
    for name, files in (("12", old), ("13", new)):
        release = {"etc/os-release": RELEASE.format(name, name)}
        ul("import", "-c", 'CMD ["true"]', "-", f"release:{name}", input=root({**files, **release}))
    script = "RUN printf '#!/bin/sh\\necho app\\n' > /app && chmod 755 /app\nCMD [\"/app\"]"
    build(ul, f"FROM release:12\n{script}\n", "over")
    words = ("base", "rebase", "--base", "release:12", "--onto", "release:13", "-t", "over:13", "over")
    moved = json.loads(ul.out(*words, "--format", "json"))
    assert moved["hazards"] == [] and any("libssl3" in change for change in moved["changes"])
    assert ul.run("over:13") == "app"


def test_by_its_id(ul: Installation) -> None:
    """What comes out has the image's names, and none that its id would make."""
    build(ul, "FROM base:1\nRUN touch /by-id\n", "identified")
    short = inspect(ul, "identified")["Id"][7:19]
    ul("base", "rebase", "--base", "base:1", "--onto", "base:2", short)
    moved = inspect(ul, "identified")
    assert moved["RootFS"]["Layers"][0] == inspect(ul, "base:2")["RootFS"]["Layers"][0]
    assert short not in ul.out("images", "--format", "{{.Repository}}").split()


def test_another_platform(ul: Installation) -> None:
    ul("import", "--platform", "linux/arm64", "-", "foreign", input=image_tar())
    build(ul, "FROM base:1\nRUN touch /mine\n", "native")
    refused = ul("base", "rebase", "--base", "base:1", "--onto", "foreign", "native", code=1).stderr.decode()
    assert "linux/amd64" in refused and "linux/arm64" in refused


def test_a_base_that_is_none(ul: Installation) -> None:
    build(ul, "FROM base:1\nRUN touch /mine\n", "some")
    refused = ul("base", "rebase", "--base", "base:2", "--onto", "base:1", "some", code=1).stderr.decode()
    assert "base:2 is not the base of some" in refused
    assert (
        b"No such image"
        in ul("base", "rebase", "--base", "base:1", "--onto", "sha256:" + "0" * 64, "some", code=1).stderr
    )


def in_a_registry(ul: Installation, registry: DockerRegistry, *names: str) -> None:
    for name in names:
        ul("tag", name.removeprefix("team/"), f"{registry.name}/{name}")
        ul("push", "-q", f"{registry.name}/{name}")


def test_straight_in_a_registry(ul: Installation, tmp_path: Path) -> None:
    """Layers are read to look at their files and not kept; those of the result are mounted into its repository."""
    other = Installation(tmp_path / "other")
    try:
        with DockerRegistry(tmp_path / "registry") as registry:
            build(ul, 'FROM base:1\nRUN echo app > /app\nCMD ["sh", "-c", "cat /etc/motd /app"]\n', "app:1")
            in_a_registry(ul, registry, "base:1", "base:2", "team/app:1")
            options = ("--base", f"docker://{registry.name}/base:1", "--onto", f"{registry.name}/base:2")
            target = f"{registry.name}/team/app:2"
            image = f"docker://{registry.name}/team/app:1"
            before = len(registry.asked("POST", "/blobs/uploads/"))
            moved = json.loads(other.out("base", "rebase", *options, "--format", "json", "-t", target, image))
            assert moved["done"] and not moved["hazards"]
            assert any("zlib" in change for change in moved["changes"])
            # Nothing but the configuration is sent, and nothing is left here.
            sent = [path for _, path, _ in registry.asked("POST", "/blobs/uploads/")[before:] if "mount=" not in path]
            assert len(sent) <= 1
            assert other.out("images", "-q") == "" and not list((other.root / "layers").glob("*"))
            assert not list((other.root / "tmp").glob("*"))
            other("pull", "-q", target)
            assert other.run(target) == "base 2\napp"
    finally:
        other.clean()


def test_what_speaks_against_it_in_a_registry(ul: Installation, tmp_path: Path) -> None:
    """The same as in the store, by the same files."""
    other = Installation(tmp_path / "other")
    try:
        with DockerRegistry(tmp_path / "registry") as registry:
            ul("import", "-", "bare:1", input=image_tar())
            script = "RUN printf '#!/bin/sh\\ntool\\n' > /start && chmod 755 /start\n"
            build(ul, f'FROM base:1\n{script}CMD ["/start"]\n', "caller:1")
            in_a_registry(ul, registry, "base:1", "bare:1", "team/caller:1")
            words = ("base", "rebase", "--dry-run", "--format", "json", "-t", "x")
            here = json.loads(ul.out(*words, "--base", "base:1", "--onto", "bare:1", "caller:1", code=1))
            base, onto = f"docker://{registry.name}/base:1", f"{registry.name}/bare:1"
            there = json.loads(
                other.out(*words, "--base", base, "--onto", onto, f"docker://{registry.name}/team/caller:1", code=1)
            )
            assert here["hazards"] == there["hazards"]
            assert "command" in {hazard["id"] for hazard in here["hazards"]}
    finally:
        other.clean()


def test_outdated_and_rebase_agree(ul: Installation, tmp_path: Path) -> None:
    """What `outdated` sees in the registry, `rebase` takes, though the store has an older one; then nothing is to do."""
    other = Installation(tmp_path / "other")
    try:
        with DockerRegistry(tmp_path / "registry") as registry:
            name = f"{registry.name}/ours/base:stable"
            ul("tag", "base:1", name)
            ul("push", "-q", name)
            other("pull", "-q", name)
            build(other, f"FROM {name}\nRUN echo app > /app\n", "app")
            assert "nothing to do" in other.out("base", "rebase", "app")
            ul("tag", "base:2", name)
            ul("push", "-q", name)
            late = json.loads(other.out("base", "outdated", "--format", "json", "app", code=1))
            assert (late["moved"], late["asked"]) == (True, "registry")
            assert json.loads(other.out("base", "outdated", "--offline", "--format", "json", "app"))["moved"] is False
            old = inspect(other, name)["Id"]
            moved = json.loads(other.out("base", "rebase", "--force", "--format", "json", "app"))
            assert moved["done"] and moved["new_base"] == name
            assert inspect(other, name)["Id"] == old  # no name but the image's own has moved
            assert other.run("app", "cat", "/etc/motd", "/app") == "base 2\napp"
            late = json.loads(other.out("base", "outdated", "--format", "json", "app"))
            assert (late["moved"], late["now"]) == (False, inspect(ul, "base:2")["Id"])
            assert "nothing to do" in other.out("base", "rebase", "app")
    finally:
        other.clean()
        for tag in (name,):
            ul("rmi", tag)
