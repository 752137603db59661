"""The pages on build checks: one for each rule, whose examples are reported and not reported as they say."""

from __future__ import annotations

import re

import pytest

from engines import REPOSITORY
from underlay.dockerfile import lint
from underlay.dockerfile.rules import RULES
from underlay.dockerfile.scope import platform_arguments
from underlay.dockerfile.stages import read
from underlay.dockerfile.syntax import parse

PLACE = REPOSITORY / "docs" / "reference" / "checks"
PLATFORMS = platform_arguments("linux/amd64", "linux/amd64")


def name_of(rule: str) -> str:
    """`JSONArgsRecommended` → `json-args-recommended`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", rule).lower()


def reported(dockerfile: str) -> set[str]:
    document = parse(dockerfile.encode())
    found = lint.check(
        document,
        read(document),
        options=lint.read_options("experimental=all"),
        predefined=PLATFORMS,
        ignored=lambda path: path.endswith(".log"),
    )
    return {finding.rule for finding in found}


def test_every_rule_has_a_page() -> None:
    assert {path.stem for path in PLACE.glob("*.md")} == {name_of(rule) for rule in RULES}


@pytest.mark.parametrize("rule", RULES)
def test_examples(rule: str) -> None:
    page = (PLACE / f"{name_of(rule)}.md").read_text()
    assert page.startswith(f"# {rule}\n\n{RULES[rule]}.\n")
    bad, good = re.findall(r"```dockerfile\n(.*?)```", page, re.DOTALL)
    assert reported(bad) == {rule}
    assert reported(good) == set()
