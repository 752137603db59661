"""Options in the forms that docker's Python library takes: what they become, and what is refused by its name."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from underlay import BuildRequest, ContainerOptions, ExecOptions
from underlay.engine import given, keywords
from underlay.engine.containers.update import UPDATABLE
from underlay.errors import InvalidInput


def options(**values: Any) -> dict[str, Any]:
    return given.container_options("box", None, values).given()


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"memory": "64m"}, "memory", 64 << 20),
        ({"memory": 4096}, "memory", 4096),
        ({"memory_swap": "-1"}, "memory_swap", -1),
        ({"shm_size": "1g"}, "shm_size", 1 << 30),
        ({"cpus": "1.5"}, "cpus", 1.5),
        ({"cpus": 2}, "cpus", 2.0),
        ({"environment": {"A": "b", "C": None}}, "environment", ["A=b", "C"]),
        ({"environment": ["A=b"]}, "environment", ["A=b"]),
        ({"environment": "A=b"}, "environment", ["A=b"]),
        ({"volumes": {"data": {"bind": "/x", "mode": "ro"}}}, "volumes", ["data:/x:ro"]),
        ({"volumes": {"data": {"bind": "/x"}, "/h": "/y"}}, "volumes", ["data:/x", "/h:/y"]),
        ({"volumes": ("a:/a", "b:/b")}, "volumes", ["a:/a", "b:/b"]),
        ({"publish": {"80/tcp": 8080, "53/udp": None}}, "publish", ["8080:80/tcp", "53/udp"]),
        ({"publish": {"80": ("127.0.0.1", 8080)}}, "publish", ["127.0.0.1:8080:80"]),
        ({"publish": {80: [("::1", 81), 82]}}, "publish", ["[::1]:81:80", "82:80"]),
        ({"tmpfs": {"/run": "size=1m", "/tmp": ""}}, "tmpfs", ["/run:size=1m", "/tmp"]),
        ({"extra_hosts": {"a": "10.0.0.1"}}, "extra_hosts", ["a:10.0.0.1"]),
        ({"ulimits": {"nofile": "10:20"}}, "ulimits", ["nofile=10:20"]),
        ({"labels": ["a=b", "c"]}, "labels", {"a": "b", "c": ""}),
        ({"sysctls": {"net.core.somaxconn": 5}}, "sysctls", {"net.core.somaxconn": "5"}),
        ({"entrypoint": "sh -c"}, "entrypoint", ["sh", "-c"]),
        ({"entrypoint": []}, "entrypoint", []),
    ],
)
def test_forms(values: dict[str, Any], field: str, expected: object) -> None:
    assert options(**values)[field] == expected


def test_a_command_is_split_as_a_shell_would_split_it() -> None:
    assert given.container_options("box", "sh -c 'echo $A; b'", {}).command == ["sh", "-c", "echo $A; b"]
    assert given.container_options("box", ["echo hi"], {}).command == ["echo hi"]
    assert given.exec_options(("id", "-u"), {}).command == ["id", "-u"]
    with pytest.raises(InvalidInput, match="command: No closing quotation"):
        given.container_options("box", "echo 'hi", {})


def test_options_that_exist_already_are_made_right_too() -> None:
    wish = ContainerOptions(image="box", environment={"A": "b"}, memory="1k")  # type: ignore[arg-type]
    settled = given.container_options(wish, None, {"name": "web"})
    assert settled.given() == {"image": "box", "environment": ["A=b"], "memory": 1024, "name": "web"}
    assert wish.name == ""


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"wrong": 1}, TypeError, "no option 'wrong': did you mean"),
        ({"memry": 1}, TypeError, "did you mean 'memory'"),
        ({"mem_limit": 1}, TypeError, "called 'memory' here"),
        ({"ports": {}}, TypeError, "called 'publish' here"),
        ({"auto_remove": True}, TypeError, "called 'remove' here"),
        ({"memory": [1]}, TypeError, "memory is a number of bytes or a text"),
        ({"memory": True}, TypeError, "memory is a number of bytes or a text"),
        ({"memory": "64x"}, InvalidInput, "memory: invalid size: '64x'"),
        ({"cpus": "many"}, InvalidInput, "cpus: invalid number"),
        ({"remove": "yes"}, TypeError, "remove is True or False"),
        ({"pids_limit": "5"}, TypeError, "pids_limit is a whole number"),
        ({"pids_limit": True}, TypeError, "pids_limit is a whole number"),
        ({"name": 5}, TypeError, "name is a text"),
        ({"dns": 5}, TypeError, "dns is a list"),
        ({"dns": {"a": "b"}}, TypeError, "dns is a list of texts"),
        ({"volumes": {"data": {"target": "/x"}}}, InvalidInput, "volumes: data"),
    ],
)
def test_refused_by_name(values: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        options(**values)


def test_a_build() -> None:
    request = given.build_request("src", {"tags": "a:1", "arguments": {"N": 1}, "limits": {"memory": 5}})
    assert (request.context, request.tags, request.arguments, request.limits) == (
        "src",
        ["a:1"],
        {"N": "1"},
        {"memory": 5},
    )
    assert given.build_request(request, {"pull": True}) == request.changed(pull=True)
    with pytest.raises(TypeError, match="'tag': it is called 'tags' here"):
        given.build_request(".", {"tag": "a"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ContainerKeywords", {*ContainerOptions._fields} - {"image", "command"}),
        ("ExecKeywords", {*ExecOptions._fields} - {"command", "detach"}),
        ("BuildKeywords", {*BuildRequest._fields} - {"context"}),
        ("LimitKeywords", {*UPDATABLE}),
    ],
)
def test_type_checkers_know_every_option(name: str, expected: set[str]) -> None:
    tree = ast.parse(inspect.getsource(keywords))
    [kind] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    assert {ast.unparse(node.target) for node in kind.body if isinstance(node, ast.AnnAssign)} == expected
