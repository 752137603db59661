"""The configuration of a bundle: each field is known by type, each error names its JSON path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from engines import SHARED
from underlay.errors import InvalidInput, Unsupported
from underlay.runtime import config, documents
from underlay.runtime.apply import hooks

SCHEMAS = SHARED / "specs/oci-runtime/schema"


def whole() -> dict[str, Any]:
    """A specification that is accepted without a warning."""
    return copy.deepcopy(documents.specification())


def test_what_we_write_we_accept() -> None:
    assert config.check(whole()) == []
    assert config.check(documents.specification((1000, 1000))) == []


def example(schema: Any) -> Any:
    """A value of a schema, with every field."""
    if isinstance(schema, dict):
        return {"key" if key == "*" else key: example(item) for key, item in schema.items()}
    if isinstance(schema, list):
        return [example(schema[0])]
    return {bool: True, int: 1, str: "text", object: {}}[schema]


def wrong_values(schema: Any, path: str = "") -> list[tuple[str, list[Any], Any]]:
    """Return (JSON path, keys, value of another type) for every place of a schema."""
    found: list[tuple[str, list[Any], Any]] = []

    def walk(part: Any, path: str, keys: list[Any]) -> None:
        if part is object:
            return
        if path:
            found.append((path, keys, 7 if part is not int else "seven"))
        if isinstance(part, dict):
            for key, item in part.items():
                key = "key" if key == "*" else key
                walk(item, f"{path}.{key}" if path else key, [*keys, key])
        elif isinstance(part, list):
            walk(part[0], f"{path}[0]", [*keys, 0])

    walk(schema, path, [])
    return found


@pytest.mark.parametrize(
    ("path", "keys", "value"), wrong_values(config._SCHEMA), ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_value_of_another_type_is_refused_by_its_path(path: str, keys: list[Any], value: Any) -> None:
    spec = example(config._SCHEMA)
    place = spec
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(InvalidInput) as caught:
        config.check(spec)
    assert caught.value.message.startswith(f"{path}: "), caught.value.message


def test_null_means_absent_and_unknown_fields_are_told() -> None:
    spec = whole()
    spec["linux"]["seccomp"] = None
    spec["process"]["rlimits"] = None
    spec["process"]["colour"] = "red"
    spec["windows"] = {"x": 1}
    warnings = config.check(spec)
    assert warnings == [
        "process.colour: unknown, and ignored",
        "windows: it is for another platform and is ignored",
    ]
    assert "seccomp" not in spec["linux"] and "rlimits" not in spec["process"]


def test_capabilities_that_nobody_knows_are_left_out_with_a_warning() -> None:
    spec = whole()
    spec["process"]["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_FLY"], "ambient": None}
    assert config.check(spec) == ["process.capabilities.bounding: unknown, and left out: CAP_FLY"]
    assert spec["process"]["capabilities"] == {"bounding": ["CAP_CHOWN"]}


@pytest.mark.parametrize(
    ("change", "kind", "where"),
    [
        ({"ociVersion": "one"}, InvalidInput, "ociVersion"),
        ({"ociVersion": "2.0.0"}, Unsupported, "ociVersion"),
        ({"ociVersion": None}, InvalidInput, "ociVersion"),
        ({"root": {"path": ""}}, InvalidInput, "root.path"),
        ({"process": None}, InvalidInput, "process"),
        ({"process.args": []}, InvalidInput, "process.args"),
        ({"process.cwd": "work"}, InvalidInput, "process.cwd"),
        ({"process.env": ["A=b\0c"]}, InvalidInput, "process.env[0]"),
        ({"process.selinuxLabel": "x"}, Unsupported, "process.selinuxLabel"),
        ({"process.commandLine": "dir"}, Unsupported, "process.commandLine"),
        ({"linux.mountLabel": "x"}, Unsupported, "linux.mountLabel"),
        ({"linux.intelRdt": {"closID": "a"}}, Unsupported, "linux.intelRdt"),
        ({"linux.memoryPolicy": {"mode": "MPOL_BIND"}}, Unsupported, "linux.memoryPolicy"),
        ({"linux.netDevices": {"eth0": {}}}, Unsupported, "linux.netDevices"),
        ({"vm": {"kernel": {}}}, Unsupported, "vm"),
        ({"linux.sysctl": {"kernel.panic": "1"}}, InvalidInput, "linux.sysctl"),
        ({"linux.sysctl": {"../x": "1"}}, InvalidInput, "linux.sysctl"),
        ({"linux.sysctl": {"net.x": "1"}, "linux.namespaces": [{"type": "mount"}]}, InvalidInput, "linux.sysctl"),
        ({"linux.namespaces": [{"type": "user"}]}, InvalidInput, "linux.uidMappings"),
        ({"hooks": {"poststop": [{"path": "x"}]}}, InvalidInput, "hooks.poststop[0].path"),
        ({"hooks": {"prestart": [{"path": "/x", "timeout": 0}]}}, InvalidInput, "hooks.prestart[0].timeout"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(change: dict[str, Any], kind: type, where: str) -> None:
    spec = whole()
    for path, value in change.items():
        place: Any = spec
        *parents, last = path.split(".")
        for name in parents:
            place = place[name]
        place[last] = value
    with pytest.raises(kind) as caught:
        config.check(spec)
    assert caught.value.message.startswith(where), caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000], ids=["empty", "cut", "array", "number", "deep"])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"config\.json"):
        config.read(str(tmp_path))


def test_a_bundle_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        config.read(str(tmp_path))


def test_the_root_is_a_directory_of_the_bundle_or_anywhere(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "file").touch()
    assert config.root_directory({"root": {"path": "rootfs"}}, str(tmp_path)) == str(tmp_path / "rootfs")
    assert config.root_directory({"root": {"path": str(tmp_path)}}, "/") == str(tmp_path)
    for name in ("file", "missing"):
        with pytest.raises(InvalidInput, match=r"root\.path"):
            config.root_directory({"root": {"path": name}}, str(tmp_path))


def properties(schema: Any, definitions: dict[str, Any], seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the property names of a JSON schema as a tree, with references resolved."""
    while "$ref" in schema:
        pointer = schema["$ref"].partition("#/")[2]
        name = pointer.rpartition("/")[2]
        if name not in definitions:
            return {}  # another platform's
        schema = definitions[name]
        seen = (*seen, name)
    found: dict[str, Any] = {}
    for part in [*schema.get("allOf", []), *schema.get("anyOf", []), schema]:
        if part is not schema:
            found.update(properties(part, definitions, seen))
        for key, item in part.get("properties", {}).items():
            found[key] = properties(item, definitions, seen)
        if "items" in part:
            found.update(properties(part["items"], definitions, seen))
    return found


@pytest.mark.oracle
@pytest.mark.skipif(not SCHEMAS.exists(), reason="no schemas of the specification beside the checkout")
def test_every_field_of_the_published_schema_is_known() -> None:
    definitions: dict[str, Any] = {}
    for file in ("defs.json", "defs-linux.json"):
        definitions.update(json.loads((SCHEMAS / file).read_text())["definitions"])
    schema = json.loads((SCHEMAS / "config-schema.json").read_text())
    schema["properties"]["linux"] = json.loads((SCHEMAS / "config-linux.json").read_text())["linux"]
    elsewhere = {"windows", "solaris", "vm", "zos", "freebsd"}
    missing = []

    def compare(theirs: dict[str, Any], ours: Any, path: str) -> None:
        while isinstance(ours, list):
            ours = ours[0]
        for key, below in theirs.items():
            if not path and key in elsewhere:
                continue
            if ours is object or (isinstance(ours, dict) and "*" in ours):
                continue
            if not isinstance(ours, dict) or key not in ours:
                missing.append(f"{path}.{key}")
            else:
                compare(below, ours[key], f"{path}.{key}")

    compare(properties(schema, definitions), config._SCHEMA, "")
    assert missing == []


def test_hooks_get_their_environment_and_the_state(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f'{{ env; cat; echo " $0 $1"; }} >{said}'
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script, "name", "first"], "env": ["A=b=c"]}
    hooks.run("prestart", [hook], {"id": "x", "pid": 5})
    text = said.read_text()
    assert '{"id":"x","pid":5} name first' in text and "A=b=c\n" in text and "HOME=" not in text


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({"path": "/no/such"}, r"hooks.poststart\[0\]: cannot execute /no/such: no such file"),
        ({"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}, "exit status 3: why"),
        ({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $$"]}, "signal 9"),
        ({"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}, "longer than its timeout of 1 s"),
    ],
)
def test_a_hook_that_fails(hook: dict[str, Any], words: str) -> None:
    from underlay.errors import UnderlayError

    with pytest.raises(UnderlayError, match=words):
        hooks.run("poststart", [hook], {})
