"""Examples and manual pages: each example is a command line that is understood, each page one that man can read."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from underlay.cli import flags, main
from underlay.cli.index import COMMANDS
from underlay.cli.manual import pages
from underlay.cli.manual.examples import EXAMPLES

LINES = [(command, line) for command, examples in EXAMPLES.items() for line, _ in examples]


@pytest.mark.parametrize(("command", "line"), LINES)
def test_examples_are_understood(command: str, line: str) -> None:
    if line.startswith(". <("):
        line = line.removeprefix(". <(").removesuffix(")")
    program, *words = shlex.split(line)
    assert program == "underlay"
    name, module_name, rest = main._find(words)
    assert name == command
    module = __import__(f"underlay.cli.commands.{module_name}", fromlist=["FLAGS"])
    options, arguments = flags.parse(name, module.FLAGS, rest, getattr(module, "INTERSPERSED", True))
    main._check_count(name, arguments, getattr(module, "ARGUMENTS", (0, None)), module.SYNOPSIS)
    assert not options["help"]


def test_help_has_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["wait", "--help"]) == 0
    assert "Examples:\n  underlay wait job\n" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_pages(command: str, tmp_path: Path) -> None:
    text = pages.page(command)
    assert text.startswith(f'.TH "{pages.name_of(command).upper()}" "1"')
    if not shutil.which("groff"):
        pytest.skip("no groff")
    done = subprocess.run(
        ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_roff_would_take_for_its_own() -> None:
    assert pages._text(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert pages._text("a\\b --c `d' ~^") == "a\\eb \\-\\-c \\(gad\\(aq \\(ti\\(ha"
