"""Flags of `build` that docker has: calls, devices, security, layouts, credentials, frontends; and `buildx …`."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from buildcases import Builder, cached, commit, git, outputs, repository, write
from engines import Installation
from fakeregistry import FakeRegistry

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--builder", "default"), 0),
        (("--builder", "other"), 125),
        (("--compress",), 0),
        (("--isolation", "default"), 0),
        (("--isolation", "hyperv"), 125),
        (("--call", "build"), 0),
        (("--call", "other"), 125),
        (("--call", "check,form=json"), 125),
        (("--allow", "device=a.com/b=c"), 0),
        (("--allow", "other"), 1),
    ],
)
def test_values(builder: Builder, words: tuple[str, ...], code: int) -> None:
    said = builder.at(builder.context("FROM box\n"), *words, code=code)
    assert len([line for line in said.splitlines() if line.startswith("underlay: ")]) == int(code > 0)


DESCRIBED = """\
# VERSION is what we build
ARG VERSION=1
# build makes it
FROM box AS build
ARG VERSION
ARG MODE=fast
RUN --mount=type=secret,id=token,required --mount=type=ssh true
FROM box AS other
ARG UNUSED
FROM build
COPY --from=build /data /x
"""


def test_calls(builder: Builder) -> None:
    context = str(builder.context(DESCRIBED))

    def call(what: str, *words: str, code: int = 0) -> str:
        return builder.ul.out("build", "--call", what, *words, context, code=code)

    assert call("targets").splitlines() == ["TARGET      DESCRIPTION", "build       makes it", "other", "(default)"]
    assert [one["name"] for one in json.loads(call("targets,format=json"))["targets"]] == ["build", "other", ""]
    said = call("outline", "--build-arg", "MODE=slow", "--target", "build").split()
    for word in ("TARGET:", "DESCRIPTION:", "MODE", "slow", "VERSION", "is", "token", "true"):
        assert word in said
    assert "UNUSED" not in said
    outline = json.loads(call("outline,format=json"))
    assert {one["name"]: one["value"] for one in outline["args"]} == {"MODE": "fast", "VERSION": "1"}
    assert outline["secrets"] == [{"name": "token", "required": True}]
    assert json.loads(call("check,format=json")) == {"warnings": []}
    (Path(context) / "Dockerfile").write_text("FROM box as build\n")
    (warning,) = json.loads(call("check,format=json", code=1))["warnings"]
    assert warning["ruleName"] == "FromAsCasing"


def test_security_options(builder: Builder) -> None:
    look = "FROM box\nRUN grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | cut -f 2\n"
    assert builder.said(look) == ["0", "2"]
    assert builder.said(look, "--security-opt", "no-new-privileges") == ["1", "2"]
    assert builder.said(look, "--security-opt", "seccomp=unconfined") == ["0", "0"]
    assert "what" in builder.fails(look, "--security-opt", "what=1")


# Devices


@pytest.fixture
def devices(builder: Builder, tmp_path: Path) -> Iterator[Builder]:
    write(
        tmp_path / "cdi",
        {
            "one.json": json.dumps(
                {
                    "cdiVersion": "0.6.0",
                    "kind": "vendor.com/device",
                    "containerEdits": {"env": ["KIND=all"]},
                    "devices": [
                        {
                            "name": "a",
                            "containerEdits": {
                                "env": ["A=1"],
                                "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/full"}],
                                "mounts": [
                                    {
                                        "hostPath": str(tmp_path / "cdi"),
                                        "containerPath": "/mnt/cdi",
                                        "options": ["ro", "bind"],
                                    }
                                ],
                            },
                        },
                        {
                            "name": "b",
                            "annotations": {"org.mobyproject.buildkit.device.class": "fast"},
                            "containerEdits": {"env": ["B=1"]},
                        },
                        {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "x", "path": "/bin/x"}]}},
                    ],
                }
            )
        },
    )
    builder.ul.environment["UNDERLAY_CDI"] = f"{tmp_path / 'none'}:{tmp_path / 'cdi'}"
    yield builder
    del builder.ul.environment["UNDERLAY_CDI"]


def test_devices(devices: Builder, tmp_path: Path) -> None:
    show = "echo $KIND $A $B; ls -d /dev/mine /mnt/cdi/one.json 2> /dev/null || true"
    have = ["all 1", "/dev/mine", "/mnt/cdi/one.json"]
    allowed = ("--allow", "device")
    assert devices.said(f"FROM box\nRUN --device=vendor.com/device=a {show}\n", *allowed) == have
    assert devices.said(f"FROM box\nRUN --device=vendor.com/device {show}\n", *allowed) == have
    assert devices.said(f"FROM box\nRUN --device=fast {show}\n", *allowed) == ["all 1"]
    assert devices.said(f"FROM box\nRUN --device=vendor.com/device=none {show}\n", *allowed) == [""]
    assert devices.said(f"FROM box\nRUN {show}\n", "--device", "vendor.com/device=a") == have
    named = ("--allow", "device=vendor.com/device=a")
    dockerfile = "FROM box\nRUN --device=vendor.com/device=a {} > /dev/mine && ls -A /mnt 2> /dev/null; true\n"
    assert "No space" in "".join(devices.said(dockerfile.format("echo x"), *named))
    # Nothing of it is left in the image.
    tree = devices.tree("FROM box\nRUN --device=vendor.com/device=a true\n", *named)
    assert not (tree / "mnt").exists() and not (tree / "dev/mine").exists()


def test_devices_that_are_refused(devices: Builder, tmp_path: Path) -> None:
    def fails(line: str, *words: str) -> str:
        return devices.fails(f"FROM box\nRUN {line} true\n", *words)

    assert "--allow device=vendor.com/device=a" in fails("--device=vendor.com/device=a")
    assert "not allowed" in fails("--device=vendor.com/device=b", "--allow", "device=vendor.com/device=a")
    assert "not registered" in fails("--device=vendor.com/device=none,required", "--allow", "device")
    assert "hooks" in fails("--device=vendor.com/device=hooked", "--allow", "device")
    (tmp_path / "cdi/bad.json").write_text("{")
    assert "bad.json" in fails("--device=fast", "--allow", "device")
    (tmp_path / "cdi/bad.json").rename(tmp_path / "cdi/bad.yaml")
    assert "bad.yaml" in fails("--device=fast", "--allow", "device")


# Layouts, frontends


def test_layouts(builder: Builder, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    builder(
        "FROM box\nRUN echo laid out > /made\nENV SET=1\n", "-o", f"type=oci,dest={layout},tar=false", "-t", "base:1"
    )
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    use = "FROM base\nCOPY --from=base /made /again\nRUN cat /again; echo $SET\n"
    before = builder.ul.out("images", "--format", "{{.Repository}}")
    for place in (f"{layout}", f"{layout}@{digest}"):
        assert builder.said(use, "--build-context", f"base=oci-layout://{place}") == ["laid out", "1"]
    assert builder.ul.out("images", "--format", "{{.Repository}}").split().count("localhost/oci-layout") == 0 and before
    for place, word in ((f"{layout}:none", "none"), (f"{layout}@sha256:{'0' * 64}", "0" * 64), ("/none", "/none")):
        assert word in builder.fails(use, "--build-context", f"base=oci-layout://{place}")


def test_frontends(builder: Builder) -> None:
    for image in ("docker/dockerfile:1", "docker/dockerfile:1.7-labs", "mirror.local:5000/docker/dockerfile@sha256:0"):
        builder(f"# syntax={image}\nFROM box\n")
    said = builder.fails("# syntax=ghcr.io/other/language:2\nFROM box\n")
    assert "Dockerfile:1:3: syntax=ghcr.io/other/language:2" in said and "docker/dockerfile:1" in said
    assert "other/language" in builder.fails("FROM box\n", "--build-arg", "BUILDKIT_SYNTAX=other/language")


# Credentials


class Guarded(SimpleHTTPRequestHandler):
    """Gives files to those who have the word; sends those who ask for /moved to another port."""

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", server.other)  # type: ignore[attr-defined]
            self.end_headers()
        elif self.headers.get("Authorization") not in server.wanted:  # type: ignore[attr-defined]
            self.send_response(404)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/file").write_text("guarded\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(tmp_path / "served"))) as server:
        server.seen, server.other = [], ""  # type: ignore[attr-defined]
        server.wanted = ("Bearer word", "Custom word", f"Basic {base64.b64encode(b'x-access-token:word').decode()}")  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_credentials_for_files(builder: Builder, guarded: ThreadingHTTPServer, tmp_path: Path) -> None:
    host = f"127.0.0.1:{guarded.server_port}"
    add = f"FROM box\nADD http://{host}/{{}} /f\nRUN cat /f\n"
    builder.fails(add.format("file"))
    for name, word in (("HTTP_AUTH_TOKEN", "word"), ("HTTP_AUTH_HEADER", "Custom word")):
        (tmp_path / "s").write_text(word + "\n")
        assert builder.said(add.format("file"), "--secret", f"id={name}_{host},src={tmp_path / 's'}") == ["guarded"]
        builder.fails(add.format("file"), "--secret", f"id={name}_other,src={tmp_path / 's'}")
    # Who is redirected to gets nothing.
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(tmp_path / "served"))) as other:
        other.seen, other.wanted, other.other = [], (), ""  # type: ignore[attr-defined]
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        guarded.other = f"http://127.0.0.1:{other.server_port}/file"  # type: ignore[attr-defined]
        builder.fails(add.format("moved"), "--secret", f"id=HTTP_AUTH_TOKEN_{host},src={tmp_path / 's'}")
        assert guarded.seen[-1] == "Bearer Custom word" and set(other.seen) == {None}  # type: ignore[attr-defined]
        other.shutdown()


def test_credentials_for_git(builder: Builder, guarded: ThreadingHTTPServer, tmp_path: Path) -> None:
    repo = repository(tmp_path / "app", {"f": "in git\n", "Dockerfile": "FROM box\nCOPY f /f\nRUN cat /f\n"})
    commit(repo) if git(repo, "status", "--porcelain") else None
    git(tmp_path, "clone", "-q", "--bare", str(repo), "served/app.git")
    git(tmp_path / "served/app.git", "update-server-info")
    host = f"127.0.0.1:{guarded.server_port}"
    (tmp_path / "s").write_text("word")
    for name in ("GIT_AUTH_TOKEN", f"GIT_AUTH_TOKEN.{host}"):
        words = ("--secret", f"id={name},src={tmp_path / 's'}")
        assert builder.said(f"FROM box\nADD http://{host}/app.git /g\nRUN cat /g/f\n", *words) == ["in git"]
        assert outputs(builder.at(f"http://{host}/app.git", "--no-cache", *words)) == ["in git"]
    builder.fails(f"FROM box\nADD http://{host}/app.git /g\n")
    builder.fails(
        f"FROM box\nADD http://{host}/app.git /g\n", "--secret", f"id=GIT_AUTH_TOKEN.other,src={tmp_path / 's'}"
    )


# buildx


def test_buildx(builder: Builder, registry: FakeRegistry) -> None:
    ul = builder.ul
    context = builder.context("FROM box\nRUN echo bx > /bx\n")
    name = f"{registry.host}/team/bx:1"
    ul("buildx", "build", "-t", name, "--push", str(context))
    assert ul.out("buildx", "ls").splitlines()[1].startswith("default*")
    said = ul.out("buildx", "du")
    assert said.startswith("ID") and "Reclaimable:" in said and "Total:" in said
    assert "RUN echo bx > /bx" in ul.out("buildx", "du", "--verbose")
    ul("buildx", "imagetools", "create", "-t", f"{registry.host}/team/bx:2", name)
    said = ul.out("buildx", "imagetools", "inspect", f"{registry.host}/team/bx:2")
    assert f"Name:      {registry.host}/team/bx:2" in said and "Digest:    sha256:" in said
    ul("buildx", "imagetools", "create", "-t", f"{registry.host}/team/bx:3", name, f"{registry.host}/team/bx:2")
    assert "Manifests:" in ul.out("buildx", "imagetools", "inspect", f"{registry.host}/team/bx:3")
    # Of indexes what they name is taken, with what attests it.
    ul("buildx", "build", "-t", f"{registry.host}/team/bx:4", "--provenance=true", "--push", str(context))
    ul("buildx", "imagetools", "create", "-t", f"{registry.host}/other/bx:5", f"{registry.host}/team/bx:4", name)
    raw = json.loads(ul.out("buildx", "imagetools", "inspect", "--raw", f"{registry.host}/other/bx:5"))
    whole = json.loads(ul.out("buildx", "imagetools", "inspect", "--raw", f"{registry.host}/team/bx:4"))
    assert raw["manifests"][:2] == whole["manifests"] and "annotations" in raw["manifests"][1]
    check_other_indexes(ul, registry, builder.place)
    shown = ul.out(
        "buildx", "imagetools", "inspect", "--format", "{{.Manifest.digest}} {{.Name}}", f"{registry.host}/team/bx:2"
    )
    assert shown.startswith("sha256:") and shown.endswith(f"{registry.host}/team/bx:2")
    assert ul.out("buildx", "du", "--filter", "until=1h", "--format", "{{.ID}}") == ""
    assert ul.out("buildx", "du", "--builder", "default", "--filter", "until=0s", "--format", "{{.ID}}")
    assert "RUN" in ul.out("buildx", "prune", "-af", "--verbose")
    assert cached(builder.at(context)) == []
    for words in (("ls", "x"), ("du", "x"), ("imagetools", "inspect"), ("none",)):
        ul("buildx", *words, code=1)
    ul("buildx", "imagetools", "create", name, code=125)


def check_other_indexes(ul: Installation, registry: FakeRegistry, place: Path) -> None:
    """With annotations, from files, added to what is there, and shown without being pushed."""
    one, two = (f"{registry.host}/team/bx:{tag}" for tag in (1, 4))
    words = ("buildx", "imagetools", "create")
    (place / "name").write_text(one + "\n")
    ul(*words, "-t", f"{registry.host}/team/bx:6", "-f", str(place / "name"), "--annotation", "index:k=v")

    def raw(tag: int) -> Any:
        return json.loads(ul.out("buildx", "imagetools", "inspect", "--raw", f"{registry.host}/team/bx:{tag}"))

    assert raw(6)["annotations"] == {"k": "v"} and len(raw(6)["manifests"]) == 1
    (place / "descriptor").write_text(json.dumps(raw(4)["manifests"][1]))
    shown = ul.out(*words, "--dry-run", "--append", "-t", f"{registry.host}/team/bx:6", "-f", str(place / "descriptor"))
    assert [entry["digest"] for entry in json.loads(shown)["manifests"]] == [
        raw(6)["manifests"][0]["digest"],
        raw(4)["manifests"][1]["digest"],
    ]
    assert len(raw(6)["manifests"]) == 1
    ul(*words, "--append", "-t", f"{registry.host}/team/bx:6", two)
    assert len(raw(6)["manifests"]) == 2 and "annotations" not in raw(6)
    ul(*words, "--append", "-t", f"{registry.host}/team/bx:7", two)
    assert raw(7) == raw(4)
    assert json.loads(ul.out(*words, "--dry-run", two)) == raw(4)
    for wrong in (("--annotation", "manifest:k=v", one), ("--annotation", "k", one), ("-f", str(place / "none"))):
        ul(*words, "-t", f"{registry.host}/team/bx:8", *wrong, code=1)


BAKE = {
    "variable": {"TAG": {"default": "1"}, "WORD": {"default": "plain"}},
    "group": {"default": {"targets": ["app", "tool"]}},
    "target": {
        "common": {"args": {"A": "common", "B": "common"}, "labels": {"by": "bake"}},
        "base": {"dockerfile-inline": "FROM box\nRUN echo base > /base\n"},
        "app": {
            "inherits": ["common"],
            "context": "app",
            "contexts": {"below": "target:base"},
            "args": {"B": "${WORD}"},
            "tags": ["baked:${TAG}"],
        },
        "tool": {"inherits": ["common"], "context": "app", "dockerfile": "Other", "target": "one", "tags": ["tool"]},
    },
}


def test_bake(builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        {
            "docker-bake.json": json.dumps(BAKE),
            "app/Dockerfile": "FROM below\nARG A\nARG B\nRUN echo $A $B $(cat /base) > /out\n",
            "app/Other": "FROM box AS one\nRUN echo one > /one\nFROM box\nRUN false\n",
        },
    )
    monkeypatch.chdir(tmp_path)
    ul = builder.ul
    ul("buildx", "bake")
    assert ul.run("baked:1", "cat", "/out") == "common plain base" and ul.run("tool", "cat", "/one") == "one"
    assert ul.out("inspect", "-f", "{{.Config.Labels.by}}", "baked:1") == "bake"
    ul.environment["WORD"] = "outside"
    ul(
        "bake",
        "app",
        "--set",
        "app.args.A=set",
        "--set",
        "*.tags=baked:set",
        "--metadata-file",
        str(tmp_path / "results"),
    )
    results = json.loads((tmp_path / "results").read_text())
    assert results["app"]["containerimage.config.digest"] == ul.out("inspect", "-f", "{{.Id}}", "baked:set")
    del ul.environment["WORD"]
    assert ul.run("baked:set", "cat", "/out") == "set outside base"
    printed = json.loads(ul.out("buildx", "bake", "--print"))
    assert printed["group"]["default"]["targets"] == ["app", "tool"] and printed["target"]["app"]["tags"] == ["baked:1"]


def test_bake_files_get_no_more_than_their_user_allows(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    step = "RUN --security=insecure grep Seccomp: /proc/self/status > /out\n"
    target = {"entitlements": ["security.insecure"], "dockerfile-inline": f"FROM box\n{step}", "tags": ["entitled"]}
    (tmp_path / "docker-bake.json").write_text(json.dumps({"target": {"default": target, "net": {"network": "host"}}}))
    said = builder.ul("buildx", "bake", code=1).stderr
    assert b"target default wants security.insecure" in said and b"--allow security.insecure" in said
    assert b"wants network.host" in builder.ul("buildx", "bake", "net", code=1).stderr
    builder.ul("buildx", "bake", "--allow", "security.insecure", "--allow", "fs.read=/")
    assert builder.ul.run("entitled", "cat", "/out") == "Seccomp:\t0"


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (None, (), "no bake file"),
        ("{", (), "docker-bake.json"),
        ({"target": {"a": {}}}, ("b",), "failed to find target b"),
        ({"target": {"a": {"inherits": ["a"]}}}, ("a",), "target a inherits from itself"),
        ({"target": {"a": {"contexts": {"b": "target:a"}}}}, ("a",), "stands on itself"),
        ({"target": {"a": {"tags": ["${X}"]}}}, ("a",), "variable 'X' is not declared"),
        ({"target": {"a": {"tags": ["${f(1)}"]}}}, ("a",), "no function 'f'"),
        ({"target": {"a": {"matrix": {}}}}, ("a",), "a matrix needs a name"),
        ({"target": {"a": {"colour": 1}}}, ("a",), "'colour' is not supported"),
        ({"target": {"a": {}}}, ("a", "--set", "a"), "invalid --set"),
        ({"group": {"a": {"targets": ["a"]}}}, ("a",), "group a holds itself"),
        ({"function": {"f": {}}}, (), "needs params"),
    ],
)
def test_bake_files_that_are_wrong(
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: object,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "docker-bake.json").write_text(content if isinstance(content, str) else json.dumps(content))
    done = builder.ul("buildx", "bake", *words, code=1)
    assert message in done.stderr.decode() and "Traceback" not in done.stderr.decode()


def test_bake_in_hcl(builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hcl2")
    monkeypatch.chdir(tmp_path)
    text = """
variable "WORDS" { default = ["one", "two"] }
target "default" {
  name = "said-${word}"
  matrix = { word = WORDS }
  contexts = { below = "target:below" }
  tags = ["said:${word}"]
  dockerfile-inline = <<EOT
FROM below
RUN echo ${upper(word)} $(cat /below) > /out
EOT
}
target "below" { dockerfile-inline = "FROM box\\nRUN echo below > /below\\n" }
"""
    builder.ul("buildx", "bake", "-f", "-", input=text.encode())
    assert [builder.ul.run(f"said:{word}", "cat", "/out") for word in ("one", "two")] == ["ONE below", "TWO below"]
    done = builder.ul("bake", "--list=variables,format=json", "-f", "-", input=text.encode())
    assert json.loads(done.stdout)[0]["value"] == '["one","two"]'
