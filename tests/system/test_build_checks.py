"""`build --check` and the checks of every build: bases in registries, what is told before an error, exit codes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildcases import Builder, write
from fakeregistry import FakeRegistry

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def check(builder: Builder, context: Path, *words: str, code: int = 0) -> tuple[str, str]:
    done = builder.ul("build", "--check", *words, str(context), code=code)
    return done.stdout.decode(), done.stderr.decode()


def test_what_a_base_in_a_registry_sets(builder: Builder, registry: FakeRegistry) -> None:
    """Its configuration is read there; no layer is, and no image is here afterwards."""
    name = f"{registry.host}/team/base:1"
    builder('FROM box\nENV KNOWN=1\nSHELL ["/bin/sh", "-c"]\n', "-t", name, "--push")
    builder.ul("rmi", name)
    context = builder.context(f"FROM {name}\nRUN echo $KNOWN\nCMD run\nLABEL a=$KNOWN b=$UNKNOWN\n")
    before = len(registry.requests)
    said, _ = check(builder, context, code=1)
    assert "Usage of undefined variable '$UNKNOWN'" in said
    assert "KNOWN'" not in said.replace("$UNKNOWN'", "") and "JSONArgsRecommended" not in said
    asked = [request for request in registry.requests[before:] if "/blobs/" in str(request)]
    assert len(asked) == 1  # the configuration
    assert "team/base" not in builder.ul.out("images")
    # One that cannot be had is not what the checks are about.
    write(context, {"Dockerfile": "FROM 127.0.0.1:1/none\nLABEL b=$UNKNOWN\n"})
    assert check(builder, context)[0] == "Check complete, no warnings found.\n"


def test_warnings_before_an_error(builder: Builder) -> None:
    """Where a Dockerfile cannot be read, what is above is checked nevertheless."""
    context = builder.context("FROM box as one\nMAINTAINER me\nFROM box\nNONE such\nMAINTAINER you\n")
    said, error = check(builder, context, code=1)
    assert said.count("WARNING: ") == 2 and "WARNING: FromAsCasing" in said and "WARNING: MaintainerDeprecated" in said
    assert "Dockerfile:4:1: unknown instruction: NONE" in error
    said = builder.at(context, code=1)
    assert "2 warnings found" in said and "FromAsCasing: " in said and "unknown instruction: NONE" in said
    write(context, {"Dockerfile": "NONE such\n"})
    assert check(builder, context, code=1)[0] == ""


def test_checks_that_fail_a_build(builder: Builder) -> None:
    context = builder.context("# check=error=true\nFROM box as one\n")
    said, error = check(builder, context, code=1)
    assert "WARNING: FromAsCasing" in said and "lint violation found for rules: FromAsCasing" in error
    assert "lint violation found" in builder.refused(context)
    assert check(builder, context, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all") == (
        "Check complete, no warnings found.\n",
        "",
    )
