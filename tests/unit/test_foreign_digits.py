"""Numbers of outside texts in places that read them: digits of other scripts, signs and underscores are none."""

from __future__ import annotations

import pytest

from underlay.base import fit
from underlay.base.dockerfile import gotext
from underlay.base.fit import linking
from underlay.base.identify import history
from underlay.cli.flags import Options, limitflags
from underlay.cli.templates import goparse
from underlay.engine.containers.specification import grammar, log_options
from underlay.engine.filters import moments
from underlay.errors import Corrupt, InvalidInput, UnderlayError
from underlay.linux import scheduling
from underlay.network import forwarding
from underlay.oci import platform
from underlay.runtime import config
from underlay.transfer.archives import outertar

FOREIGN = ("²", "٣", "1_0", "+1", " 1")


def test_versions_of_symbols() -> None:
    assert linking._numbers("2.²") == (2,)
    assert fit.numbers("6.12.²") == (6, 12)


def test_variants_of_platforms() -> None:
    strange = platform.normalise("linux", "arm", "v²")  # a manifest's word
    assert platform.rank(strange, platform.parse("linux/arm/v7")) is None
    assert platform.normalise("linux", "arm", "²").variant == "²"


@pytest.mark.parametrize("text", FOREIGN)
def test_options_of_containers(text: str) -> None:
    with pytest.raises(InvalidInput):
        grammar.restart_policy(f"on-failure:{text}")
    with pytest.raises(InvalidInput):
        log_options.parse("local", {"max-file": text})
    with pytest.raises(InvalidInput):
        grammar.ulimit(f"nofile={text}")
    with pytest.raises(InvalidInput):
        moments.moment(text)
    with pytest.raises(UnderlayError):
        limitflags.options_of(_given("cpus", text), limitflags.PLAIN, limitflags.SIZES)


def _given(name: str, value: str) -> Options:
    options = Options({name: value})
    options.given.add(name)
    return options


def test_ulimits() -> None:
    assert grammar.ulimit("nofile=1024:unlimited") == {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": -1}
    assert grammar.ulimit("nofile=-1") == {"type": "RLIMIT_NOFILE", "soft": -1, "hard": -1}
    for text in ("nofile=-2", "nofile=1:", "nofile=5:-3"):
        with pytest.raises(InvalidInput):
            grammar.ulimit(text)


@pytest.mark.parametrize("text", ["²", "1_0", "٣"])
def test_documents_of_the_runtime(text: str) -> None:
    with pytest.raises(InvalidInput):
        scheduling.processors(text, "cpus")
    with pytest.raises(InvalidInput):
        config._check_version(f"1.0.{text}")


def test_addresses_of_name_servers() -> None:
    with pytest.raises(OSError):
        forwarding._socket_address("fe80::1%²")


@pytest.mark.parametrize("field", [b"1_0", b"+7", b"0o7", b" 1 1"])
def test_fields_of_archives(field: bytes) -> None:
    with pytest.raises(Corrupt):
        outertar._number(field.ljust(12, b"\0"))


def test_histories_of_images() -> None:
    assert history.normal("|" + "9" * 5000 + " A=1 /bin/sh -c true").startswith("RUN")
    found = gotext.health('&{["CMD" "true"] "30s" "3s" "0s" ' + "9" * 5000 + "}")
    assert found is not None and "--retries" not in " ".join(found[1])


@pytest.mark.parametrize("text", ["{{²}}", "{{٣}}", "{{+inf}}", r'{{"\x+1"}}', r'{{"\u1_23"}}'])
def test_templates(text: str) -> None:
    with pytest.raises(InvalidInput):
        goparse.parse(text, {})
