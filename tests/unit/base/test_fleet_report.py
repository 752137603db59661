"""The report over a fleet: what is to do first, in which order, and its pages."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

from underlay.base.fleet import charts, page, policy, report
from underlay.base.fleet.charts import Bar
from underlay.base.fleet.policy import NEAR, NOTHING, PAST, SUPPORTED, Policy, Standing, Vulnerabilities
from underlay.base.fleet.steps import steps

DAY = 86400
NOW = 1_700_000_000.0
FIXES = Vulnerabilities({"high": 2}, {"high": 2}, {"high": 2})
APP = Standing(
    "app:1",
    "debian:12-slim",
    ("debian:12-slim",),
    "sha256:" + "a" * 64,
    0.98,
    ("debian:12-slim", NOTHING),
    "debian 12",
    NOW - 10 * DAY,
    SUPPORTED,
    "2028-06-30",
    False,
    vulnerabilities=Vulnerabilities(),
)


def image(name: str, **values: object) -> Standing:
    return msgspec.structs.replace(APP, image=name, **values)


def on_base(name: str, base: str, **values: object) -> Standing:
    return image(name, base=base, chain=(base, "debian:12-slim", NOTHING), **values)


def told(*images: Standing) -> list[tuple[str, int]]:
    return [(step.text.partition(":")[0].partition(";")[0], step.mends) for step in steps(images)]


def test_what_mends_most_comes_first() -> None:
    ended = [image(f"old{each}", base="debian:10", life=PAST, ends="2024-06-30") for each in range(2)]
    late = [image(f"late{each}", outdated=True) for each in range(3)]
    assert [mends for _, mends in told(*ended, *late, APP)] == [3, 2]


def test_of_those_that_mend_as_many_the_one_with_more_fixes() -> None:
    plain = image("plain", base="alpine:3.20", outdated=True)
    fixed = image("fixed", base="debian:12", outdated=True, vulnerabilities=FIXES)
    assert told(plain, fixed) == [
        ("rebuild or rebase on today's debian", 1),
        ("rebuild or rebase on today's alpine", 1),
    ]


def test_what_mends_nothing_by_itself_comes_last() -> None:
    unknown = [image(f"u{each}", base="", chain=()) for each in range(5)]
    near = image("near", base="debian:11", life=NEAR, ends="2026-12-31")
    found = told(*unknown, near, image("late", outdated=True))
    assert [mends for _, mends in found] == [1, 0, 0]


def test_a_base_among_the_images_is_mended_once_for_all_that_stand_on_it() -> None:
    base = image("base/python:3", outdated=True, vulnerabilities=FIXES)
    above = [on_base(f"app:{each}", "base/python:3", vulnerabilities=FIXES) for each in range(4)]
    found = steps([*above, base])
    assert [step.mends for step in found] == [5]
    assert found[0].text.startswith("rebuild or rebase base/python:3 on today's debian:12-slim; then rebuild")
    assert found[0].images[0] == "base/python:3"  # it is the first to be rebuilt


def test_a_base_on_a_base_is_not_told_twice() -> None:
    lower = image("base/os:1", life=PAST, ends="2024-06-30")
    upper = image("base/python:3", base="base/os:1", chain=("base/os:1", "debian:12-slim", NOTHING), outdated=True)
    top = image("app:1", base="base/python:3", chain=("base/python:3", "base/os:1", "debian:12-slim", NOTHING))
    assert [(step.text.partition(",")[0], step.images) for step in steps([top, upper, lower])] == [
        ("move base/os:1 off debian:12-slim", ("base/os:1", "base/python:3", "app:1")),
    ]


def test_a_base_with_fixes_and_one_that_needs_nothing() -> None:
    hit = image("base/a:1", vulnerabilities=FIXES)
    fine = image("base/b:1")
    found = steps([hit, fine, on_base("on-a", "base/a:1"), on_base("on-b", "base/b:1")])
    assert [step.images for step in found] == [("base/a:1", "on-a")]
    assert "updated packages" in found[0].text


def test_a_base_from_scratch_is_rebuilt_or_replaced() -> None:
    root = image("team/os:1", base=NOTHING, chain=(NOTHING,), vulnerabilities=Vulnerabilities({}, {"low": 1}, {}))
    above = image("app:1", base="team/os:1", chain=("team/os:1", NOTHING), vulnerabilities=FIXES)
    assert [step.text.partition(":1 ")[0] for step in steps([root, above])] == ["rebuild team/os"]
    ended = msgspec.structs.replace(root, life=PAST, distribution="debian 10", ends="2024-06-30")
    assert [(step.text, step.mends) for step in steps([ended, above])] == [
        ("replace team/os:1: debian 10 is past its end of life since 2024-06-30; then rebuild what stands on it", 2)
    ]


def test_a_chain_that_names_itself_and_each_other_ends() -> None:
    one = image("one", base="two", chain=("two", "one"), outdated=True)
    two = image("two", base="one", chain=("one", "two"), outdated=True)
    assert {name for step in steps([one, two]) for name in step.images} == {"one", "two"}


def test_images_from_scratch_past_their_end() -> None:
    assert told(image("root:1", base=NOTHING, distribution="alpine 3.10", life=PAST)) == [("replace root", 1)]


def test_the_text_and_the_page() -> None:
    old = image("old", base="debian:10", names=("debian:10",), life=PAST, ends="2024-06-30", distribution="debian 10")
    late = image("late<script>", outdated=True, vulnerabilities=FIXES, life=NEAR)
    images = [APP, late, old, image("old:2", base="debian:10", life=PAST, distribution="debian 10")]
    found = report.report(images, policy.check(Policy(end_of_life=False), images, NOW))
    assert [(each.name, len(each.images)) for each in found.bases] == [("debian:10", 2), ("debian:12-slim", 2)]
    text = report.text(found)
    assert "4 images on 2 bases, 2 distributions" in text and "(end-of-life)" in text
    assert "1. leave debian:10: no more fixes come for it since 2024-06-30 (mends 2 images): old, old:2" in text
    shown = page.html(found, NOW)
    assert shown.startswith("<!doctype html>") and "<script>" not in shown and "late&lt;script&gt;" in shown
    assert "http" not in shown and "url(" not in shown  # nothing is loaded from elsewhere
    assert shown.count("<svg") == 4 and "<b>(mends 2 images)</b>" in shown
    assert "under 30 days: 4" in shown and "high: 1" in shown and "none: 3" in shown


def test_ages_that_nobody_knows_have_no_chart() -> None:
    found = report.report([image("a", created=None, vulnerabilities=None)])
    assert page.html(found, NOW).count("<svg") == 2


def test_an_empty_page() -> None:
    assert "0 images on 0 bases" in page.html(report.report([]), NOW)


@pytest.mark.parametrize(
    ("days", "label"),
    [(29, "under 30 days"), (30, "30 to 90 days"), (364, "180 to 365 days"), (729, "1 to 2 years"), (730, "over 2")],
)
def test_ages(days: int, label: str) -> None:
    assert f"<title>{label}" in page.html(report.report([image("a", created=NOW - days * DAY)]), NOW).replace(": 1", "")


def test_a_page_over_many_images_can_be_opened() -> None:
    worst = image("worst", base="x:0", problems=("cannot be read",))
    images = [*(image(f"i{each}", base=f"x:{each % 3000}", outdated=True) for each in range(20_000)), worst]
    found = report.report(images, policy.check(Policy(outdated=False), images, NOW))
    shown = page.html(found, NOW)
    assert len(shown) < 1_000_000
    assert "<td>worst</td>" in shown  # those that matter most are shown
    assert "19,501 more images" in shown and "2,800 more bases" in shown and "19,800 more broken rules" in shown
    assert "2989 others" in shown
    assert report.text(found).startswith("20,001 images on 3,000 bases, 1 distribution")


def test_a_chart_is_drawn() -> None:
    drawn = charts.bars("a & b", [Bar("<x>", 10), Bar("y" * 80, 5, charts.BAD), Bar("none", 0)])
    tree = ElementTree.fromstring(drawn)  # it is XML, so all is escaped
    assert tree.get("aria-label") == "a & b"
    widths = [float(each.get("width", "")) for each in tree.iter("rect")]
    assert widths[0] == 2 * widths[1] and widths[2] == 0
    assert [each.text for each in tree.iter("title")] == ["<x>: 10", "y" * 80 + ": 5", "none: 0"]


def test_a_chart_of_zeros() -> None:
    assert 'width="0.0"' in charts.bars("t", [Bar("a", 0)])


def test_rows_beyond_the_limit_are_one() -> None:
    rows = [Bar(str(each), each) for each in range(10, 0, -1)]
    assert charts.first(rows, 10) == rows
    assert charts.first(rows, 4)[3] == Bar("7 others", sum(range(1, 8)), charts.FAINT)
