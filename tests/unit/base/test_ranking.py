"""The weights fit what they weigh; names that authors write come first."""

from __future__ import annotations

from typing import Any

import pytest
from test_lineage import app, build, root

from underlay.base.identify import features, image, lineage, ranking, weights
from underlay.base.index import index_builder, known


def test_there_is_a_weight_for_each_number() -> None:
    for kind in ("all", "history", "layers"):
        groups = weights.WEIGHTS[kind]
        assert len(groups["possible_base"]) == len(features.POSSIBLE_BASE)
        assert len(groups["scratch"]) == len(features.SCRATCH)
        assert len(groups["unknown"]) == len(features.UNKNOWN)
        assert len(groups["other"]) == len(features.OTHER)


def test_there_is_a_number_for_each_weight() -> None:
    from underlay.base.identify.matches import Asked, possible_bases, twins

    index = known.Known(index_builder.make([root(1), root(2)]))
    asked = Asked(image.from_record(app(root(1))), index)
    found = possible_bases(asked)
    table = features.table(asked, found, twins(asked, 2))
    assert table.rows and all(len(row) == len(features.POSSIBLE_BASE) for row in table.rows)
    assert len(table.scratch) == len(features.SCRATCH)
    assert len(table.other) == len(features.OTHER)
    assert all(len(row) == len(features.UNKNOWN) for _, row in table.unknown)


@pytest.mark.parametrize("kind", sorted(weights.CALIBRATION))
def test_calibration_rises(kind: str) -> None:
    points = weights.CALIBRATION[kind]
    assert [*points] == sorted(points)
    shares = [ranking.calibrated(points, step / 50) for step in range(51)]
    assert shares == sorted(shares)
    assert 0 <= shares[0] and shares[-1] <= 1


def line(version: str, others: list[str], month: int) -> dict[str, Any]:
    names = [f"lang:{name}" for name in (version, *others)]
    found = build(names, month, [f"ENV LANG_VERSION={version}", "RUN set -e; build lang", 'CMD ["lang"]'], root(month))
    return dict(found, config_digest=found["config_digest"][:-2] + f"{month:02x}")


def test_versions_in_parallel_are_what_authors_choose_between() -> None:
    records = [root(month) for month in range(1, 9)]
    for month in range(1, 9):
        records.append(line(f"3.5.{month}", ["3.5"], month))
        records.append(line(f"3.6.{month}", ["3.6", "3", "latest"], month))
    index = known.Known(index_builder.make(records))
    number = {index.name(each): each for each in range(len(index.steady))}
    assert index.parallel[number["lang:3.6"]] == 100
    assert index.parallel[number["lang:3.6.4"]] < 30
    first = lineage.identify(image.from_record(app(line("3.6.4", ["3.6", "3", "latest"], 4))), index).candidates[0]
    assert first.name == "lang:3.6"
    assert len(first.names) == 4
