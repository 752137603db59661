"""Docker's build checks: for each rule what it finds, and what it lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.dockerfile import lint
from underlay.dockerfile.problems import DockerfileError
from underlay.dockerfile.rules import RULES
from underlay.dockerfile.scope import platform_arguments
from underlay.dockerfile.stages import read
from underlay.dockerfile.syntax import parse

PLATFORMS = platform_arguments("linux/amd64", "linux/amd64")

FOUND: list[tuple[str, str, list[tuple[int, str]]]] = [
    ("ConsistentInstructionCasing", "FROM a\nRUN x\nUser y\nworkdir /", [
        (3, "Command 'User' should match the case of the command majority (uppercase)"),
        (4, "Command 'workdir' should match the case of the command majority (uppercase)")]),
    ("ConsistentInstructionCasing", "from a\nrun x\nUSER y\n", [
        (3, "Command 'USER' should match the case of the command majority (lowercase)")]),
    ("CopyIgnoredFile", "FROM a\nCOPY ./out/x y /\nADD out http://out /\nCOPY --from=b out /", [
        (2, 'Attempting to Copy file "out/x" that is excluded by .dockerignore'),
        (3, 'Attempting to Add file "out" that is excluded by .dockerignore')]),
    ("DuplicateStageName", "FROM a AS b\nFROM a AS B\nFROM a\nFROM a", [
        (2, 'Duplicate stage name "b", stage names should be unique')]),
    ("ExposeInvalidFormat", "FROM a\nARG P=1:2\nEXPOSE 80 127.0.0.1:80:80 $P", [
        (3, "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'"),
        (3, "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'")]),
    ("ExposeProtoCasing", "FROM a\nEXPOSE 80/TcP 81/tcp", [
        (2, "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase")]),
    ("FromAsCasing", "FROM a as b\nfrom a AS c\nFROM a AS d\nFrom a as e", [
        (1, "'as' and 'FROM' keywords' casing do not match"),
        (2, "'AS' and 'from' keywords' casing do not match")]),
    ("FromPlatformFlagConstDisallowed",
     "FROM --platform=linux/arm64 a\nFROM --platform=linux/arm64 a AS b-arm64\nFROM --platform=$BUILDPLATFORM a", [
        (1, 'FROM --platform flag should not use constant value "linux/arm64"')]),
    ("InvalidDefaultArgInFrom", "ARG T\nARG U=1\nFROM a:$T\nFROM a:$U\nFROM $T\nFROM a:${T:-x}", [
        (3, "Default value for ARG a:$T results in empty or invalid base image name"),
        (5, "Default value for ARG $T results in empty or invalid base image name")]),
    ("InvalidDefinitionDescription",
     "# text\nARG A\n# A text\nARG A\n# text\n\nARG A\n# text\nFROM a AS b\n# b c\nFROM a\n# x\nARG C D", [
        (2, "Comment for ARG should follow the format: `# A <description>`"),
        (9, "Comment for FROM should follow the format: `# b <description>`"),
        (13, "Comment for ARG should follow the format: `# <arg_key> <description>`")]),
    ("JSONArgsRecommended", 'FROM a\nCMD x\nENTRYPOINT ["x"]\nSHELL ["y"]\nENTRYPOINT x', [
        (2, "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals")]),
    ("LegacyKeyValueFormat", "FROM a\nENV a b\nLABEL a b\nENV a=b\n", [
        (2, '"ENV key=value" should be used instead of legacy "ENV key value" format'),
        (3, '"LABEL key=value" should be used instead of legacy "LABEL key value" format')]),
    ("MaintainerDeprecated", "FROM a\nMAINTAINER x", [
        (2, "Maintainer instruction is deprecated in favor of using label")]),
    ("MultipleInstructionsDisallowed", "FROM a\nCMD []\nCMD []\nHEALTHCHECK NONE\nCMD []\nFROM a\nCMD []", [
        (line, "Multiple CMD instructions should not be used in the same stage because only the last one will be used")
        for line in (2, 3)]),
    ("NoEmptyContinuation", "FROM a\nRUN a \\\n\n b\nRUN a \\\n# c\n b", [(4, "Empty continuation line")]),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a\nFROM --platform=$BUILDPLATFORM a", [
        (1, "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior")]),
    ("ReservedStageName", "FROM a AS scratch\nFROM a AS context\nFROM scratch", [
        (1, 'Stage name should not use the same name as reserved stage "scratch"'),
        (2, 'Stage name should not use the same name as reserved stage "context"')]),
    ("SecretsUsedInArgOrEnv", "FROM a\nARG AWS_SECRET_KEY\nENV PASSWORD=x PUBLIC_KEY=y MONKEY=z\nARG a_token=1", [
        (2, 'Do not use ARG or ENV instructions for sensitive data (ARG "AWS_SECRET_KEY")'),
        (3, 'Do not use ARG or ENV instructions for sensitive data (ENV "PASSWORD")'),
        (4, 'Do not use ARG or ENV instructions for sensitive data (ARG "a_token")')]),
    ("StageNameCasing", "FROM a AS Build\nFROM a AS build2", [(1, "Stage name 'Build' should be lowercase")]),
    ("UndefinedArgInFrom", "ARG A=1\nFROM a:${A}${BB}\nFROM --platform=$BULDPLATFORM a", [
        (2, "FROM argument 'BB' is not declared"),
        (3, "FROM argument 'BULDPLATFORM' is not declared (did you mean BUILDPLATFORM?)")]),
    ("UndefinedVar",
     "FROM scratch AS a\nARG D\nENV P=$PAHT:$PATH:$D\nRUN echo $no\nCOPY $xyz /\nFROM a\nUSER $P$D$qqq\nFROM u\nUSER $x",
     [(3, "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
      (5, "Usage of undefined variable '$xyz'"),
      (7, "Usage of undefined variable '$qqq'")]),
    ("WorkdirRelativePath", "FROM a AS b\nWORKDIR x\nWORKDIR y\nFROM b\nWORKDIR z\nFROM c\nARG R=/r\nWORKDIR $R", [
        (2, 'Relative workdir "x" can have unexpected results if the base image changes')]),
]  # fmt: skip


def check(text: str, **more: Any) -> list[Any]:
    document = parse(text.encode())
    return lint.check(document, read(document), predefined=PLATFORMS, **more)


@pytest.mark.parametrize(("rule", "text", "expected"), FOUND, ids=[rule for rule, _, _ in FOUND])
def test_rules(rule: str, text: str, expected: list[tuple[int, str]]) -> None:
    options = lint.Options(experimental=frozenset(("all",)))
    findings = check(text, options=options, ignored=lambda path: path.startswith("out"))
    assert [(item.line, item.message) for item in findings if item.rule == rule] == expected


def test_every_rule_is_tested() -> None:
    assert {rule for rule, _, _ in FOUND} == set(RULES)


def test_what_the_base_image_defines() -> None:
    text = "FROM a\nCMD x\nENV A=$B C=$D"
    assert [item.message for item in check(text, bases={0: {"Env": ["B=1"], "Shell": ["x"]}})] == [
        "Usage of undefined variable '$D'"
    ]


@pytest.mark.parametrize(
    ("directive", "rules"),
    [
        ("skip=all", []),
        ("skip=StageNameCasing", ["JSONArgsRecommended", "CopyIgnoredFile"]),
        ("skip=stagenamecasing, JSONArgsRecommended;error=true", ["StageNameCasing", "CopyIgnoredFile"]),
        ("skip=all;experimental=InvalidDefinitionDescription", ["InvalidDefinitionDescription"]),
        (
            "experimental=all",
            ["InvalidDefinitionDescription", "StageNameCasing", "JSONArgsRecommended", "CopyIgnoredFile"],
        ),
        ("error=false", ["StageNameCasing", "JSONArgsRecommended", "CopyIgnoredFile"]),
    ],
)
def test_directive(directive: str, rules: list[str]) -> None:
    found = check(f"# check={directive}\n# other\nFROM a AS B\nCMD x\nCOPY a b", ignored=lambda path: True)
    assert sorted(item.rule for item in found) == sorted(rules)


def test_arguments_without_a_value_are_declared() -> None:
    """What they make of the name of a base is another rule's."""
    found = check("ARG BASE\nFROM $BASE\nFROM ${BASE}:1 AS b\nFROM $NONE")
    rules = [(item.rule, item.line) for item in found if item.rule == "UndefinedArgInFrom"]
    assert rules == [("UndefinedArgInFrom", 4)]


def test_findings_as_an_error() -> None:
    options = lint.read_options("error=true")
    findings = check("FROM a AS B\nFROM a AS C\nCMD x", options=options)
    error = lint.failure(findings, options)
    assert str(error) == "lint violation found for rules: JSONArgsRecommended, StageNameCasing"
    assert lint.failure([], options) is None
    assert lint.failure(findings, lint.Options()) is None


@pytest.mark.parametrize("text", ["skip", "foo=bar", "error=maybe"])
def test_directives_that_are_wrong(text: str) -> None:
    with pytest.raises(DockerfileError, match="check option"):
        check(f"# check={text}\nFROM a")
