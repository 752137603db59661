"""What `base identify` says of an answer: how it stands, how sure it is, how old what is known is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from underlay.base.fleet import outdated
from underlay.base.identify import answers, identify, image, lineage, release
from underlay.base.identify.answers import Candidate, Link
from underlay.base.identify.claims import REFUTED, UNCHECKED, Claim
from underlay.base.identify.identify import Identified
from underlay.base.index import index_builder, known
from underlay.cli.commands.base import identify as command

NOTHING = Candidate("scratch", ("scratch",), 0.9976, 0, 0)


def identified(*candidates: Candidate, **more: Any) -> Identified:
    chain = (*(each.link() for each in candidates[:1]), Link("scratch"))
    given: dict[str, Any] = {"image": "app", "id": "sha256:aa", "where": "registry", "outdated": None, "unknown": 0.0}
    return Identified(**{**given, "candidates": candidates, "chain": chain, "as_of": "2020-01-01", **more})


def test_nothing_unread_is_certain() -> None:
    """An image whose files nobody looked at is not surely made from nothing."""
    first = identify._not_here(NOTHING)
    assert first.confidence <= 0.95 and first.evidence[-1] == "its files were not looked at"
    sure = Candidate("tool:2", ("tool:2",), 1.0, 1, 1, "sha256:bb")
    assert identify._not_here(sure).confidence < 1
    assert identified(sure).certainty < 1 and identified(sure, where="store").certainty == 1


def test_what_is_not_certain_is_not_a_hundred_percent() -> None:
    assert command._lines(identified(NOTHING), False)[0] == "app is made from nothing (99%)"


def test_the_age_of_what_is_known() -> None:
    like = Candidate("python:3.13", ("python:3.13",), 0.9, 1, 5)
    notice = "  known bases as of 2020-01-01: `underlay base index update python` reads newer ones"
    assert notice in command._lines(identified(like, standing=answers.BETWEEN), False)
    assert notice not in command._lines(identified(like, as_of="9999-01-01"), False)
    # A build that is wholly there is what it is, whatever has been built since.
    exact = Candidate("python:3.13", ("python:3.13",), 0.9, 1, 5, "sha256:bb")
    assert notice not in command._lines(identified(exact), False)


def test_something_unknown_above_a_known_base() -> None:
    doubted = Candidate("debian:trixie", ("debian:trixie",), 0.3, 1, 1)
    lines = command._lines(identified(doubted, standing=answers.BETWEEN), False)
    assert lines[0] == "app stands on something unknown above debian:trixie (30%)"


@pytest.mark.parametrize(
    ("own", "steps"),
    [
        # A root without a command of its own ends before what is copied elsewhere.
        (["COPY app /usr/bin/app # buildkit", "RUN x # buildkit", 'CMD ["app"]'], 1),
        (["COPY . /app # buildkit", 'CMD ["app"]'], 1),
        (['CMD ["/bin/sh"]', "COPY app /usr/bin/app # buildkit"], 2),
    ],
)
def test_a_copied_file_is_not_of_the_root(own: list[str], steps: int) -> None:
    record = {"history": ["ADD alpine-minirootfs-3.20.3-x86_64.tar.gz / # buildkit", *own]}
    report = lineage.identify(image.from_record(record), known.Known(index_builder.make([])))
    first = report.candidates[0]
    assert (first.name, first.history, first.layers) == ("alpine:3.20", steps, 1)


def test_offline_asks_no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not here is not found, and no connection is tried."""
    from underlay.base.identify import image_source
    from underlay.errors import NotFound
    from underlay.store.rows import images

    def nothing(*_: Any) -> None:
        raise NotFound("No such image: app")

    def forbidden(*_: Any) -> None:
        raise AssertionError("a registry was asked")

    monkeypatch.setattr(images, "resolve", nothing)
    monkeypatch.setattr(image_source, "_in_registry", forbidden)
    store: Any = SimpleNamespace(meta=None)
    for name in ("app", "docker://registry.example/app:1"):
        with pytest.raises(NotFound, match="offline"):
            image_source.find(store, name, offline=True)


ALPINE = release.Release(("alpine:3.20", "alpine:3.20.3"), "Alpine Linux v3.20")
DEBIAN = release.Release(("debian:bookworm", "debian:12"), "Debian GNU/Linux 12 (bookworm)")
ROOT = Candidate("alpine:3.20", ("alpine:3.20",), 0.5, 1, 2)


def test_files_confirm_what_the_root_says() -> None:
    """An ordinary application on alpine: the root's step and os-release say the same."""
    other = Candidate("alpine:3.19", ("alpine:3.19",), 0.3, 1, 2)
    found, chain = release.weigh([ROOT, other], (ROOT.link(), Link("scratch")), ALPINE)
    assert found[0].name == "alpine:3.20" and found[0].confidence > 0.9 > found[1].confidence
    assert [link.name for link in chain] == ["alpine:3.20", "scratch"]


def test_files_refute_forged_steps() -> None:
    """Debian's files under alpine's step are Debian's, whatever stands on them by the steps."""
    python = Candidate("python:3.13-alpine", ("python:3.13-alpine",), 0.9, 2, 9)
    for first, chain in ((ROOT, (ROOT.link(),)), (python, (python.link(), ROOT.link()))):
        found, links = release.weigh([first], (*chain, Link("scratch")), DEBIAN)
        assert (found[0].name, links[-1].name) == ("debian:bookworm", "?")
        assert "not alpine:3.20 as its steps do" in found[0].evidence[0]
    # A build that is there layer for layer is what it is.
    exact = Candidate("alpine:3.20", ("alpine:3.20",), 0.9, 1, 2, "sha256:aa")
    assert release.weigh([exact], (exact.link(),), DEBIAN)[0] == [exact]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("debian:bookworm", REFUTED),
        ("docker.io/library/debian:12", REFUTED),
        ("alpine:3.20", UNCHECKED),
        ("own:1", UNCHECKED),
    ],
)
def test_files_refute_a_false_label(name: str, verdict: str) -> None:
    judged = release.judge(Claim(name, "", "label"), ALPINE)
    assert judged.verdict == verdict
    assert ("Alpine Linux v3.20" in judged.because) == (verdict == REFUTED)


def test_of_a_squashed_image_layers_say_nothing() -> None:
    """Only files of the base are in it: whether that is today's cannot be told by layers."""
    subject: Any = SimpleNamespace(view=SimpleNamespace(diff_ids=["sha256:squashed"]))
    like = Candidate("base:1", ("base:1",), 0.85, 0, 0, like="sha256:aa")
    assert outdated._another(subject, like, "sha256:bb", ["sha256:one"]) is None
    assert outdated._another(subject, like, "sha256:bb", ["sha256:squashed"]) is False
    by_steps = Candidate("base:1", ("base:1",), 0.85, 1, 3)
    assert outdated._another(subject, by_steps, "sha256:bb", ["sha256:one"]) is True
