"""What instructions make of an image's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.dockerfile import metadata, stages
from underlay.dockerfile.instructions import Cmd
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.syntax import parse


def after(text: str, start: dict[str, Any] | None = None) -> dict[str, Any]:
    execution, cmd_set = start or {}, False
    for item in stages.read(parse(f"FROM a\n{text}\n".encode())).stages[0].instructions:
        execution = metadata.apply(item, execution, cmd_set)
        cmd_set = cmd_set or isinstance(item, Cmd)
    return execution


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("ENV a=1 b=2\nENV c=3 a=4", {}, {"Env": ["a=4", "b=2", "c=3"]}),
        ("ENV b=2", {"Env": ["b=1", "z"]}, {"Env": ["b=2", "z"]}),
        ("LABEL a=1\nLABEL b=2 a=3", {"Labels": {"z": "0"}}, {"Labels": {"z": "0", "a": "3", "b": "2"}}),
        ('CMD ["a", "b"]', {}, {"Cmd": ["a", "b"], "ArgsEscaped": True}),
        ("CMD a b", {}, {"Cmd": ["/bin/sh", "-c", "a b"], "ArgsEscaped": True}),
        ("CMD []", {"Cmd": ["x"]}, {"Cmd": [], "ArgsEscaped": True}),
        ('SHELL ["x", "-y"]\nENTRYPOINT a', {}, {"Shell": ["x", "-y"], "Entrypoint": ["x", "-y", "a"]}),
        ('ENTRYPOINT ["a"]', {"Cmd": ["old"]}, {"Entrypoint": ["a"]}),
        ("CMD new\nENTRYPOINT []", {"Entrypoint": ["x"]}, {"Cmd": ["/bin/sh", "-c", "new"], "ArgsEscaped": True}),
        (
            "EXPOSE 80 53/UDP 1-3",
            {},
            {"ExposedPorts": {k: {} for k in ("1/tcp", "2/tcp", "3/tcp", "53/udp", "80/tcp")}},
        ),
        ("EXPOSE 127.0.0.1:8080:80 1-2:3-4", {}, {"ExposedPorts": {k: {} for k in ("3/tcp", "4/tcp", "80/tcp")}}),
        ('VOLUME ["/a b"]\nVOLUME /c /d', {}, {"Volumes": {"/a b": {}, "/c": {}, "/d": {}}}),
        ("USER a:b", {}, {"User": "a:b"}),
        ("WORKDIR a\nWORKDIR ../b/./c/", {"WorkingDir": "/srv"}, {"WorkingDir": "/srv/b/c"}),
        ("WORKDIR //a", {"WorkingDir": "/srv"}, {"WorkingDir": "/a"}),
        ("STOPSIGNAL SIGRTMIN+3", {}, {"StopSignal": "SIGRTMIN+3"}),
        ("STOPSIGNAL 9", {}, {"StopSignal": "9"}),
        ("HEALTHCHECK NONE", {}, {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=1m --timeout=1.5s --start-interval=2s --retries=3 CMD a b",
            {},
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "a b"],
                    "Interval": 60_000_000_000,
                    "Timeout": 1_500_000_000,
                    "StartInterval": 2_000_000_000,
                    "Retries": 3,
                }
            },
        ),
        ("ONBUILD RUN a\nONBUILD COPY b c", {"OnBuild": ["x"]}, {"OnBuild": ["x", "RUN a", "COPY b c"]}),
        ("RUN a\nCOPY b c\nARG d\nMAINTAINER e", {"User": "x"}, {"User": "x"}),
    ],
)
def test_apply(text: str, start: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(start)
    assert after(text, start) == expected
    assert repr(start) == before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("EXPOSE x", "2:8: invalid containerPort: x"),
        ("EXPOSE 1 0", "2:10: invalid containerPort: 0"),
        ("EXPOSE 65536", "invalid containerPort"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("EXPOSE 80/icmp", "invalid proto: icmp"),
        ("EXPOSE /tcp", "no port specified"),
        ("EXPOSE x:80", "invalid hostPort: x"),
        ("EXPOSE x:1:80", "invalid IP address: x"),
        ("EXPOSE 1-2:3-5", "invalid ranges"),
        ("STOPSIGNAL SIGNOPE", "2:12: invalid signal: SIGNOPE"),
        ("STOPSIGNAL 65", "invalid signal"),
        ("STOPSIGNAL RTMIN+16", "invalid signal"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError, match=problem.replace("+", r"\+")):
        after(text)
