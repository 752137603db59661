"""What is asked of a container or an execution: defaults that are everyone's own, and what counts as given."""

from __future__ import annotations

import pytest

from underlay.engine.options import ContainerOptions, ExecOptions
from underlay.lean.values import Record


@pytest.mark.parametrize("kind", [ContainerOptions, ExecOptions])
def test_no_default_is_shared(kind: type[Record]) -> None:
    first, second = kind(), kind()
    changed = 0
    for name in kind.__annotations__:
        value = getattr(first, name)
        if isinstance(value, list):
            value.append("x")
        elif isinstance(value, dict):
            value["x"] = "x"
        else:
            continue
        changed += 1
        assert not getattr(second, name), name
        assert not getattr(kind(), name), name
    assert changed


def test_given_is_what_was_asked_for() -> None:
    wish = ContainerOptions(image="box", entrypoint=[], pids_limit=0)
    assert wish.given() == {"image": "box", "entrypoint": [], "pids_limit": 0}
    wish.volumes.append("/a:/b")
    wish.init = True
    assert wish.given() == {"image": "box", "entrypoint": [], "pids_limit": 0, "volumes": ["/a:/b"], "init": True}


@pytest.mark.parametrize("name", ["volume", "given", "__doc__"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        ContainerOptions(**{name: "x"})  # type: ignore[arg-type]
