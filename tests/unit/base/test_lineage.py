"""What images stand on, with a small index of builds made up for it."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from underlay.base.identify import image, lineage
from underlay.base.index import index_builder, known
from underlay.errors import Corrupt
from underlay.oci import config

Record = dict[str, Any]
EMPTY = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def build(
    tags: list[str], month: int, steps: list[str], beneath: Record | None = None, size: int = 50_000_000
) -> Record:
    """Return a build of a month of 2017; each RUN, ADD and COPY step leaves a layer of its own."""
    under = beneath or {"history": [], "history_created": [], "layers": [], "config_digest": None}
    made = f"2017-{month:02d}-10T10:00:00Z"
    layers = [
        [digest(f"{tags} {month} {step}"), size // (number + 1)]
        for number, step in enumerate(steps)
        if step.startswith(("RUN", "ADD", "COPY"))
    ]
    return {
        "ref": tags[0],
        "tags": tags,
        "config_digest": digest(f"config {tags} {month}"),
        "manifest_digest": digest(f"manifest {tags} {month}"),
        "first_seen": made[:10],
        "last_seen": f"2017-{month + 1:02d}-09",
        "layers": under["layers"] + layers,
        "history": under["history"] + steps,
        "history_created": under["history_created"] + [made] * len(steps),
        "parent": under["config_digest"],
    }


def root(month: int) -> Record:
    return build(["plain:seven", "plain:7"], month, [f"ADD file:{digest(str(month))[7:]} in /", 'CMD ["bash"]'])


def tool(month: int, version: str) -> Record:
    steps = [f"ENV TOOL_VERSION={version}", "RUN set -ex; fetch tool; make", 'CMD ["tool"]']
    return build(["tool:2.7", "tool:2", f"tool:{version}"], month, steps, root(month), 9_000_000)


def app(beneath: Record, month: int = 9) -> Record:
    steps = ["MAINTAINER somebody", "COPY dir:aa in /app", "RUN make install", 'CMD ["app"]']
    found = build(["app:1"], month, steps, beneath, 3_000_000)
    return {member: found[member] for member in ("layers", "history", "history_created")}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [each for month in range(1, 8) for each in (root(month), tool(month, f"2.7.{month}"))]


@pytest.fixture(scope="module")
def index(records: list[Record]) -> known.Known:
    return known.Known(index_builder.make(records))


def test_a_build_that_is_known(index: known.Known) -> None:
    report = lineage.identify(image.from_record(app(tool(5, "2.7.5"))), index)
    first = report.candidates[0]
    assert first.config_digest == tool(5, "2.7.5")["config_digest"]
    assert (first.layers, first.history) == (2, 5)
    assert first.name == "tool:2.7"
    assert set(first.names) == {"tool:2.7", "tool:2", "tool:2.7.5"}
    assert report.chain_names == ["tool:2.7", report.chain[1].name, "scratch"]
    assert report.chain[1].name in ("plain:seven", "plain:7")
    assert (report.chain[0].layers, report.chain[0].history) == (1, 3)
    assert (report.chain[1].layers, report.chain[1].history) == (1, 2)
    assert report.outdated is True
    assert any("in the image, in order" in line for line in first.evidence)
    assert sum(each.confidence for each in report.candidates) <= 1.0001


def test_the_newest_build_is_not_outdated(index: known.Known) -> None:
    assert lineage.identify(image.from_record(app(tool(7, "2.7.7"), 7)), index).outdated is False
    # Who knows what came after the index was made?
    assert lineage.identify(image.from_record(app(tool(7, "2.7.7"), 9)), index).outdated is None


@pytest.mark.parametrize("hidden", ["layers", "history"])
def test_less_evidence(index: known.Known, hidden: str) -> None:
    record = app(tool(5, "2.7.5"))
    if hidden == "layers":
        del record["layers"]
    else:
        del record["history"], record["history_created"]
    first = lineage.identify(image.from_record(record), index).candidates[0]
    assert first.config_digest == tool(5, "2.7.5")["config_digest"]
    assert (first.layers, first.history) == (2, 5)


def test_a_build_that_is_not_known(records: list[Record]) -> None:
    gone = {tool(5, "2.7.5")["config_digest"], root(5)["config_digest"]}
    index = known.Known(index_builder.make(each for each in records if each["config_digest"] not in gone))
    first = lineage.identify(image.from_record(app(tool(5, "2.7.5"))), index).candidates[0]
    assert first.name.startswith("tool:2")
    assert first.config_digest is None
    assert first.like
    assert first.history == 5


def test_a_build_known_only_by_what_stands_on_it(records: list[Record]) -> None:
    gone = root(5)["config_digest"]
    index = known.Known(index_builder.make(each for each in records if each["config_digest"] != gone))
    ghosts = [build for build in range(len(index)) if index.traits[build] & known.GHOST]
    assert [index.config_digest(ghost) for ghost in ghosts] == [gone]
    assert index.step_count(ghosts[0]) == 2
    assert "plain:seven" in [index.name(name) for name in index.names(ghosts[0])]


def test_records_need_not_tell_what_builds_stand_on(records: list[Record]) -> None:
    silent = [{member: value for member, value in each.items() if member != "parent"} for each in records]
    report = lineage.identify(image.from_record(app(tool(5, "2.7.5"))), known.Known(index_builder.make(silent)))
    assert [link.config_digest for link in report.chain] == [
        tool(5, "2.7.5")["config_digest"],
        root(5)["config_digest"],
        None,
    ]
    assert report.chain[-1].name == "scratch"


def test_an_image_is_not_its_own_base(index: known.Known) -> None:
    report = lineage.identify(image.from_record(tool(5, "2.7.5")), index)
    assert report.candidates[0].config_digest == root(5)["config_digest"]
    assert report.candidates[0].history == 2


def test_made_from_nothing(index: known.Known) -> None:
    record = {"layers": [[digest("own"), 5_000]], "history": ["COPY file:bb in /app", 'CMD ["/app"]']}
    report = lineage.identify(image.from_record(record), index)
    assert report.candidates[0].name == "scratch"
    assert report.chain_names == ["scratch"]
    assert report.outdated is None
    assert lineage.identify(image.from_record(root(3)), index).candidates[0].name == "scratch"


def test_empty_layers_say_nothing(index: known.Known) -> None:
    record = app(tool(5, "2.7.5"))
    record["layers"] = [[EMPTY, 32], record["layers"][0], [EMPTY, 32], *record["layers"][1:]]
    first = lineage.identify(image.from_record(record), index).candidates[0]
    assert first.config_digest == tool(5, "2.7.5")["config_digest"]
    assert first.layers == 4
    only = {"layers": [[EMPTY, 32]], "history": ["LABEL a=b"]}
    assert lineage.identify(image.from_record(only), index).candidates[0].config_digest is None


def test_an_image_of_a_store_is_found_by_diff_ids(records: list[Record]) -> None:
    with_ids = [dict(each, diff_ids=[digest("diff " + layer[0]) for layer in each["layers"]]) for each in records]
    index = known.Known(index_builder.make(with_ids))
    record = app(tool(5, "2.7.5"))
    steps = [
        config.Step(created=when, created_by=text, empty_layer=not text.startswith(("RUN", "ADD", "COPY")))
        for text, when in zip(record["history"], record["history_created"], strict=True)
    ]
    diff_ids = [digest("diff " + layer[0]) for layer in record["layers"]]
    content = image.from_config(config.Config(config.RootFS(diff_ids), "amd64", "linux", history=steps))
    first = lineage.identify(content, index).candidates[0]
    assert first.config_digest == tool(5, "2.7.5")["config_digest"]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"layers": None, "history": None},
        {"layers": "x", "history": [1, None, "RUN x"], "history_created": ["never"]},
        {"layers": [[], ["x"], ["sha256:zz", -1], [3, 4]], "history": [""]},
        {"history": ["RUN x"] * 3_000, "layers": [[digest("x"), 1]] * 300},
        {"history": ["RUN \udcff"], "layers": [["\udcff", 10**30]]},
    ],
)
def test_records_that_make_no_sense(index: known.Known, record: Record) -> None:
    report = lineage.identify(image.from_record(record), index)
    assert report.candidates
    assert 0 <= report.candidates[0].confidence <= 1


@pytest.mark.parametrize(
    "record",
    [{}, {"cmd": ["bash"]}, {"history": ["", ""]}, {"history": ["RUN apk add curl"]}]
    + [{"history": ["ADD file:aa in /", 'CMD ["sh"]', "RUN apk add curl"], "layers": [[digest("x"), 9]]}],
)
def test_what_says_nothing_is_not_said_to_be_made_from_nothing(record: Record) -> None:
    """Nor what begins with a program that is run, or goes on after it has said what is run: no image from scratch does."""
    first = lineage.identify(image.from_record(record), known.Known(index_builder.make([]))).candidates[0]
    assert first.name == "scratch" and first.confidence <= 0.15


def test_steps_that_say_nothing_do_not_weigh_more_than_layers(index: known.Known) -> None:
    record = app(tool(5, "2.7.5"))
    record["history"] = [""] * len(record["history"])
    assert (
        lineage.identify(image.from_record(record), index).candidates[0].config_digest
        == tool(5, "2.7.5")["config_digest"]
    )


@pytest.mark.parametrize("value", [None, -1, [], {}, "\udcff", 10**30, [[None]], [["x", 10**30]], ["\udcff"]])
def test_an_index_of_records_that_make_no_sense(records: list[Record], value: Any) -> None:
    for member in (*records[0], "index_digest", "diff_ids", "history_hash", "tag_first_seen"):
        made = known.Known(index_builder.make([*records[1:], {**records[0], member: value}]))
        assert lineage.identify(image.from_record(app(tool(5, "2.7.5"))), made).candidates[0].name.startswith("tool:")


def test_an_empty_index() -> None:
    index = known.Known(index_builder.make([]))
    assert lineage.identify(image.from_record(app(tool(5, "2.7.5"))), index).candidates[0].name == "scratch"


def test_index_files(records: list[Record], tmp_path: Any) -> None:
    data = index_builder.make(records)
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_bytes(data)
    packed.write_bytes(known.pack(data))
    for path in (plain, packed):
        assert len(known.open_index(os.fspath(path))) == len(records)
    for broken in (b"", b"x" * 5_000, data[:500], data[:-40], known.pack(data)[:-9]):
        path = tmp_path / "broken"
        path.write_bytes(broken)
        with pytest.raises(Corrupt):
            known.open_index(os.fspath(path))


def test_damage_within_a_file_is_an_error_or_an_answer(records: list[Record]) -> None:
    data = bytearray(index_builder.make(records))
    content = image.from_record(app(tool(5, "2.7.5")))
    whole = lineage.identify(content, known.Known(bytes(data))).chain_names
    spots = range(1_500, len(data), 97)
    found, answers = 0, []
    for spot in spots:
        damaged = bytes(data[:spot]) + b"\xff\xff\xff\xff" + bytes(data[spot + 4 :])
        try:
            answers.append(lineage.identify(content, known.Known(damaged)).chain_names)
        except Corrupt:
            found += 1
    assert found and found + len(answers) == len(spots)
    # Most places matter nothing to this image, and the others lead to fewer names, never to more.
    assert answers.count(whole) > len(spots) // 2 and max(map(len, answers)) == len(whole)


def test_what_an_image_says_is_compared_with_known_builds(records: list[Record]) -> None:
    other = build(["other:1"], 3, ["ADD file:aa in /"])
    below = build(["below:1"], 3, ["ADD file:bb in /"])
    index = known.Known(index_builder.make([*records, other, below, build(["above:1"], 3, ["RUN x"], below)]))
    asked = image.from_record(app(tool(3, "2.7.3")))

    def vouch(name: str, digest: str = "") -> bool | None:
        found = lineage.vouch(asked, index, name, digest)
        return None if found is None else found[0]

    assert vouch("tool:2") and vouch("plain:7") and vouch("", tool(3, "2.7.3")["manifest_digest"])
    # What is made from nothing is not beneath what stands on something else that is; but a newer build of what stands
    # on another base may by now stand on this one.
    assert vouch("other:1") is False and vouch("above:1") is None
    # The same repository has other names for the same build; of other names and digests nothing is known.
    assert vouch("plain:8") is None and vouch("nobody:1") is None and vouch("", digest("x")) is None
    assert lineage.vouch(image.ImageContent(), index, "tool:2", "") is None
    told = lineage.vouch(asked, index, "other:1", "")
    assert told is not None and told[1] == "plain:seven is beneath it, which is made from nothing, as other:1 is"


def test_the_shipped_index() -> None:
    index = known.shipped()
    assert len(index) > 5_000
    record = {
        "history": ["ADD alpine-minirootfs-3.22.6-x86_64.tar.gz / # buildkit", 'CMD ["/bin/sh"]', "RUN x # buildkit"],
        "layers": [
            ["sha256:53f8f5e03afd86ade91b7aa57a749f5a3d1419c113be5d8c10e7ee61bb5ab887", 3792075],
            [digest("x"), 9],
        ],
    }
    report = lineage.identify(image.from_record(record), index)
    assert report.candidates[0].name == "alpine:3.22"
    assert report.chain_names == ["alpine:3.22", "scratch"]


def test_layers_known_by_diff_ids_alone() -> None:
    """As docker's archives have them: no compressed digests, no sizes."""
    record = {
        "ref": "tool:2",
        "tags": ["tool:2"],
        "config_digest": "sha256:" + "c" * 64,
        "layers": [["sha256:" + "1" * 64, 3_000_000], ["sha256:" + "2" * 64, 900_000]],
        "diff_ids": ["sha256:" + "3" * 64, "sha256:" + "4" * 64],
        "history": ["ADD file:ab in /", "RUN make tool"],
        "history_created": ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"],
    }
    index = known.Known(index_builder.make([record]))
    app = {
        "diff_ids": [*record["diff_ids"], "sha256:" + "5" * 64],
        "history": [*record["history"], "COPY . /app"],
        "history_created": [*record["history_created"], "2026-02-01T00:00:00Z"],
    }
    first = lineage.identify(image.from_record(app), index).candidates[0]
    assert (first.name, first.layers, first.config_digest) == ("tool:2", 2, record["config_digest"])
    # Steps alone are words: the build is like it, and may be another.
    app["diff_ids"] = ["sha256:" + number * 64 for number in "678"]
    first = lineage.identify(image.from_record(app), index).candidates[0]
    assert first.name != "tool:2" or first.config_digest is None
