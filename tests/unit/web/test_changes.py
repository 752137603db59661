"""What layers add, change and remove: what is not hidden in the end is what merging the layers gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from underlay.store.kinds import DIRECTORY, REGULAR
from underlay.store.layers import merge
from underlay.store.layers.toc import Entry
from underlay.web import changes


def entry(name: bytes, size: int = 1, kind: int = REGULAR) -> Entry:
    return Entry(name, kind, 0o755, 0, 0, size if kind == REGULAR else 0, 0, 0)


def shown(layers: list[list[Entry]]) -> list[list[tuple[bytes, str, int, bool]]]:
    made = changes.changes_of(layers)
    return [[(each.path, each.kind, each.size, each.hidden) for each in layer.files] for layer in made]


def test_changes_of_two_layers() -> None:
    lower = [entry(b"d", kind=DIRECTORY), entry(b"d/a", 10), entry(b"d/b", 20), entry(b"c", 5), entry(b"e/f", 7)]
    upper = [entry(b"./d/a", 11), entry(b"d/.wh.b", 0), entry(b"e", 3), entry(b"new", 1), entry(b".wh.nothing", 0)]
    assert shown([lower, upper]) == [
        [
            (b"d/a", "added", 10, True),
            (b"d/b", "added", 20, True),
            (b"c", "added", 5, False),
            (b"e/f", "added", 7, True),
        ],
        [
            (b"d/a", "changed", 11, False),
            (b"d/b", "removed", 0, False),
            (b"e", "changed", 3, False),
            (b"new", "added", 1, False),
        ],
    ]
    made = changes.changes_of([lower, upper])
    assert [layer.hidden_bytes for layer in made] == [37, 0]
    assert (made[1].count("added"), made[1].count("changed"), made[1].count("removed")) == (1, 2, 1)


def test_opaque_directories_and_what_comes_twice() -> None:
    lower = [entry(b"d/a", 10), entry(b"d/s/b", 20)]
    upper = [entry(b"d/.wh..wh..opq", 0), entry(b"d/a", 1), entry(b"d/a", 2)]
    made = changes.changes_of([lower, upper])
    assert made[0].hidden_bytes == 30
    assert [(each.path, each.kind, each.hidden) for each in made[1].files][:2] == [
        (b"d/a", "removed", False),
        (b"d/s", "removed", False),
    ]
    # The last member of a name is the one that counts (pax, tar).
    assert [each.size for each in made[1].files if each.path == b"d/a" and not each.hidden and each.size] == [2]
    assert made[1].hidden_bytes == 1


names = st.sampled_from([b"a", b"b", b"d/a", b"d/b", b"d/s/a", b"e"])
members = st.one_of(
    st.builds(entry, names, st.integers(1, 9)),
    st.builds(lambda name: entry(name, kind=DIRECTORY), st.sampled_from([b"d", b"d/s", b"e"])),
)
removals = st.sampled_from([b".wh.a", b".wh.d", b"d/.wh.a", b"d/.wh.s", b".wh.e", b"d/.wh..wh..opq"]).map(entry)


@given(st.lists(st.tuples(st.lists(removals, max_size=3), st.lists(members, max_size=6)), max_size=4))
def test_what_is_left_is_what_merging_gives(parts: list[tuple[list[Entry], list[Entry]]]) -> None:
    layers = [[*gone, *there] for gone, there in parts]
    tree = merge.merge(layers)
    expected: set[tuple[bytes, int]] = set()
    waiting = [(b"", tree.root)]
    while waiting:
        prefix, node = waiting.pop()
        for name, child in (node.children or {}).items():
            if child.children is not None:
                waiting.append((prefix + name + b"/", child))
            else:
                expected.add((prefix + name, child.entry.size))
    made = changes.changes_of(layers)
    every = [each for layer in made for each in layer.files if each.kind != changes.REMOVED]
    left = {(each.path, each.size) for each in every if not each.hidden}
    assert left == expected
    whole = sum(each.size for each in every)
    assert whole - sum(layer.hidden_bytes for layer in made) == sum(size for _, size in expected)
