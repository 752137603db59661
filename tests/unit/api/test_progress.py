"""Events as docker's messages, credentials of requests, and configurations as instructions."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from underlay.api.requests import buildquery, changes, logins
from underlay.api.requests.pulls import named
from underlay.api.streaming import buildprogress, progress
from underlay.errors import InvalidInput, StepFailed
from underlay.events import Event
from underlay.transfer.archives.changes import apply


def test_a_pull_begins_when_its_first_layer_is_known() -> None:
    translate = progress.Transfers()
    assert translate(Event("pull.start", "a", repository="library/a", tag="1")) == []
    first = translate(Event("layer.wait", "sha256:" + "ab" * 32, total=10))
    assert first == [
        {"status": "Pulling from library/a", "id": "1"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "abababababab"},
    ]


def test_progress_of_a_layer_is_thinned_out_but_its_end_is_told() -> None:
    translate = progress.Transfers()
    told = [translate(Event("layer.progress", "sha256:ab", done=done, total=100)) for done in range(1, 101)]
    details = [message["progressDetail"] for messages in told for message in messages]
    assert len(details) < 10
    assert details[-1] == {"current": 100, "total": 100}


def test_a_build_speaks_as_the_classic_builder() -> None:
    translate = buildprogress.Steps(quiet=False)
    name = "[ 2/10] RUN true"
    messages = [
        *translate(Event("build.begin", "[internal] load build definition", number=1)),
        *translate(Event("build.begin", name, number=2)),
        *translate(Event("build.log", name, number=2, data="h\u00e9".encode()[:2], stream=1)),
        *translate(Event("build.log", name, number=2, data="h\u00e9\n".encode()[2:], stream=1)),
        *translate(Event("build.cached", name, number=2)),
    ]
    assert "".join(message["stream"] for message in messages) == "Step 2/10 : RUN true\nh\u00e9\n ---> Using cache\n"


def test_a_failed_step_has_its_code() -> None:
    message = buildprogress.failure(StepFailed('process "x" did not complete successfully: exit code: 3'))
    assert message["errorDetail"]["code"] == 3
    assert message["error"] == message["errorDetail"]["message"] == "The command 'x' returned a non-zero code: 3"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_credentials_of_a_request_are_for_their_registry(encode: Any, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    header = encode(b'{"username":"u","password":"\xc3\xbf\xc3\xbf>>??"}').decode().rstrip("=")
    request = make_mocked_request("POST", "/images/create", headers={"X-Registry-Auth": header})
    given = logins.of_image(request, "registry.example/a:1")
    assert given is not None
    found = given.get("registry.example")
    assert found is not None
    assert (found.username, found.secret) == ("u", "\u00ff\u00ff>>??")
    assert given.get("other.example") is None


@pytest.mark.parametrize("text", ["%%%", b64encode(b"[]").decode(), b64encode(b"{").decode()])
def test_credentials_that_are_none_are_refused(text: str) -> None:
    request = make_mocked_request("POST", "/images/create", headers={"X-Registry-Auth": text})
    with pytest.raises(InvalidInput):
        logins.of_image(request, "a")


def test_a_configuration_survives_as_instructions() -> None:
    config: dict[str, Any] = {
        "User": "1:2",
        "Env": ['A=a "b" \\ $c', "B="],
        "Labels": {"a b": "c"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
        "Entrypoint": ["/e", "x y"],
        "Cmd": ["c"],
    }
    assert apply(changes.of_config(config)) == config


@pytest.mark.parametrize(
    ("name", "tag", "whole"),
    [
        ("alpine", "", "docker.io/library/alpine:latest"),
        ("alpine:1", "2", "docker.io/library/alpine:2"),
        ("alpine", "sha256:" + "0" * 64, "docker.io/library/alpine@sha256:" + "0" * 64),
    ],
)
def test_a_name_and_a_tag_make_an_image(name: str, tag: str, whole: str) -> None:
    assert named(name, tag) == whole


@pytest.mark.parametrize("name", ["../../etc/passwd", "/../etc/passwd", "a/../../etc/passwd"])
def test_a_dockerfile_is_inside_its_context(name: str) -> None:
    request = make_mocked_request("POST", f"/build?dockerfile={name}")
    assert buildquery.requested(request).dockerfile == "etc/passwd"
