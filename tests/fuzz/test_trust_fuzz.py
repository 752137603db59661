"""Bytes that nobody meant, as signatures, entries of logs, policies and statements of VEX: refused, or an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import signing
from underlay.base.advisories import ignores, vex
from underlay.errors import UnderlayError
from underlay.oci import reference as references
from underlay.transfer.trust import certificates, keys, verify
from underlay.transfer.trust import identity as identities
from underlay.transfer.trust.certificates import Refused
from underlay.transfer.trust.policy_file import PolicyFile
from underlay.transfer.trust.requirements import Fulcio

BOUNDED = settings(max_examples=200, deadline=2000, suppress_health_check=list(HealthCheck))
WORDS = (
    "critical image identity type docker-manifest-digest docker-reference subject predicateType digest name sha256 default "
    "transports docker sigstoreSigned keyPath keyData fulcio signedIdentity prefix reject statements vulnerability status "
    "products @context @id Payload SignedEntryTimestamp body integratedTime logIndex logID kind spec data hash ignore id"
).split()
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([*WORDS, "https://openvex.dev/ns"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
DATA = st.one_of(st.binary(max_size=200), VALUES.map(lambda value: json.dumps(value).encode()))
IMAGE = references.parse("example.com/a/b:1")
DIGEST = "sha256:" + "0" * 64
AUTHORITY = signing.Authority()
LOG = keys.load(signing.pem(AUTHORITY.log), "log")


@BOUNDED
@given(DATA)
def test_what_is_signed(data: bytes) -> None:
    with pytest.raises(Refused):
        verify._check_simple(data, IMAGE, DIGEST, identities.DEFAULT)
    with pytest.raises(Refused):
        verify._check_statement(data, IMAGE, DIGEST, None, True)
    with pytest.raises(Refused):
        certificates.logged(data, [LOG], data, data, data)
    import datetime

    fulcio = Fulcio(AUTHORITY.pem(), signing.ISSUER, signing.EMAIL)
    with pytest.raises(Refused):
        certificates.key_of(data, data, fulcio, datetime.datetime.now(datetime.UTC))
    assert certificates._is_about(data, data, data, data) is False
    assert not LOG.verifies(data, data)


@BOUNDED
@given(DATA)
def test_files_of_people(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path: Path = tmp_path_factory.mktemp("file") / "file"
    path.write_bytes(data)
    for read in (
        lambda: PolicyFile(str(path)).of_registry(IMAGE),
        lambda: vex.read(str(path)),
        lambda: ignores.read(str(path)),
        lambda: keys.read(str(path)),
    ):
        try:
            read()
        except UnderlayError as error:
            assert str(path) in error.message or error.message.startswith("open ") or error.hint


@BOUNDED
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_package_url(one: str, other: str) -> None:
    vex._same_package(f"pkg:{one}", f"pkg:{other}")
    vex.Image({one}, {other}).named(f"pkg:oci/{one}@{other}")
