"""Merging layers: the images of `layers.CASES`, what is refused, and what one layer changes."""

import gc
import random

import pytest

from layercases import CASES
from layers import Tar, make
from underlay.errors import Corrupt, LimitExceeded
from underlay.store.layers import toc
from underlay.store.layers.merge import Change, Node, Tree, difference, merge
from underlay.store.layers.tar import Reader
from underlay.store.limits import Limits


def entries(data: bytes) -> list[toc.Entry]:
    reader = Reader()
    reader.feed(data)
    reader.finish()
    return reader.entries


def image(*layers: bytes, **limits: int) -> Tree:
    return merge([entries(layer) for layer in layers], Limits(**limits))


def walk(tree: Tree) -> dict[str, Node]:
    found = {}
    stack = [("", tree.root)]
    while stack:
        path, node = stack.pop()
        for name, child in (node.children or {}).items():
            full = path + name.decode("utf-8", "surrogateescape")
            found[full] = child
            if child.children is not None:
                stack.append((full + "/", child))
    return found


def view(tree: Tree, layers: list[bytes]) -> dict[str, str]:
    tree.count_links()
    nodes = walk(tree)
    first: dict[int, str] = {}
    for path in sorted(nodes):
        first.setdefault(id(nodes[path]), path)
    found = {}
    for path, node in nodes.items():
        entry = node.entry
        if entry.kind == toc.REGULAR:
            data = layers[node.layer][entry.offset : entry.offset + entry.size]
            text = "f:" + (data.decode() if entry.part == toc.TAR else "sparse")
        elif entry.kind == toc.SYMLINK:
            text = "l:" + entry.link.decode()
        elif entry.kind in (toc.CHARACTER, toc.BLOCK):
            text = f"{'c' if entry.kind == toc.CHARACTER else 'b'}:{entry.major}:{entry.minor}"
        else:
            text = {toc.DIRECTORY: "d", toc.FIFO: "p"}[entry.kind]
        several = node.children is None and node.nlink > 1
        found[path] = text + (f"={first[id(node)]}" if several else "")
    return found


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    layers, expected = CASES[case]
    found = view(image(*layers), layers)
    if case == "sparse":
        expected = {path: "f:sparse" if path != "after" else text for path, text in expected.items()}
    assert found == expected


@pytest.mark.parametrize("case", CASES)
def test_differences_stacked_give_the_tree(case):
    """Apply the changes of each layer as an overlay would, and compare with the merged tree."""
    layers, _ = CASES[case]
    tree = Tree()
    shown: dict[str, Node] = {}
    for layer in layers:
        below = tree.clone()
        tree.apply(entries(layer))
        shown = stacked(shown, difference(below, tree))
    tree.count_links()
    nodes = walk(tree)
    assert shown.keys() == nodes.keys()
    for path, node in nodes.items():
        assert shown[path].entry is node.entry
    # Every inode lies whole in one layer: the number of its names there is its link count.
    for path, node in shown.items():
        if node.children is None:
            assert sum(other is node for other in shown.values()) == nodes[path].nlink


def stacked(lower: dict[str, Node], change: Change) -> dict[str, Node]:
    """Overlayfs, in short: whiteouts and files hide what is below, opaque directories hide their inside."""
    found = dict(lower)
    stack = [("", change)]
    while stack:
        path, here = stack.pop()
        inside = path + "/" if path else ""
        if here.opaque:
            found = {k: v for k, v in found.items() if not k.startswith(inside) or k == path}
        for name, child in here.children.items():
            full = inside + name.decode("utf-8", "surrogateescape")
            if child.node is None:
                assert full in found, "a whiteout that hides nothing"
            if child.node is None or child.node.children is None:
                found = {k: v for k, v in found.items() if k != full and not k.startswith(full + "/")}
            if child.node is not None:
                found[full] = copies.setdefault(id(child.node), child.node)
                if child.node.children is not None:
                    stack.append((full, child))
    return found


copies: dict[int, Node] = {}


def test_a_change_far_down_touches_its_parents_only():
    base = make(*((f"d{n}/e{n}/f", "file", "x") for n in range(10)))
    below = image(base)
    tree = below.clone()
    tree.apply(entries(make(("d3/e3/g", "file", "y"))))
    top = difference(below, tree)
    assert list(top.children) == [b"d3"]
    assert list(top.children[b"d3"].children[b"e3"].children) == [b"g"]


@pytest.mark.parametrize(
    "members, words",
    [
        ([("h", "hard", b"", {"link": "nothing"})], "does not exist"),
        ([("h", "hard", b"", {"link": "../../../etc/passwd"})], "does not exist"),
        ([("d", "dir"), ("h", "hard", b"", {"link": "d"})], "a directory"),
        ([("h", "hard", b"", {"link": "."})], "a directory"),
        ([("h", "hard", b"", {"link": "h"})], "does not exist"),
        ([("a", "file"), ("a/b", "file")], "not a directory"),
        ([("a", "file"), ("l", "link", b"", {"link": "a"}), ("l/b", "file")], "not a directory"),
        ([("a", "link", b"", {"link": "b"}), ("b", "link", b"", {"link": "a"}), ("a/x", "file")], "loop"),
        ([("a", "link", b"", {"link": "a"}), ("h", "hard", b"", {"link": "a/x"})], "loop"),
        ([(".", "link", b"", {"link": "/tmp"})], "root"),
        ([("/.", "file")], "root"),
        ([("a/..", "hard", b"", {"link": "x"})], "root"),
        ([("d/.wh.", "file")], "names no file"),
        ([("d/.wh..", "file")], "names no file"),
        ([("d/.wh...", "file")], "names no file"),
    ],
)
def test_what_means_nothing_is_refused(members, words):
    with pytest.raises(Corrupt, match=words):
        image(make(*members))
    with pytest.raises(Corrupt, match=words):
        image(CASES["one layer"][0][0], make(*members))


def test_a_chain_of_links_is_followed_to_255():
    tar = Tar().add("d", "dir").add("l0", "link", link="d")
    for n in range(1, 256):
        tar.add(f"l{n}", "link", link=f"l{n - 1}")
    links = tar.data(end=False)
    assert b"x" in walk(image(links + make(("l254/x", "file"))))["d"].children
    with pytest.raises(Corrupt, match="loop"):
        image(links + make(("l255/x", "file")))


def test_aufs_leftovers_hide_nothing():
    tree = image(
        make(("a", "file")),
        make((".wh..wh.plnk", "dir"), (".wh..wh.plnk/1.2", "file"), (".wh..wh.aufs", "file")),
    )
    assert set(walk(tree)) == {"a"}
    with pytest.raises(Corrupt, match="name of a whiteout"):
        image(make(("l", "link", b"", {"link": ".wh.x"}), ("l/f", "file")))


def test_a_hard_links_header_changes_the_inode():
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    said = {"mode": 0o4711, "uid": 7, "gid": 8, "mtime": "77.5", "xattrs": {"user.b": b"2"}}
    base = make(("a", "file", "A", {"xattrs": {"user.a": b"1", "security.capability": capability}}))
    below = image(base)
    tree = below.clone()
    tree.apply(entries(make(("b", "hard", b"", {"link": "a", **said}))))
    entry = walk(tree)["a"].entry
    assert (entry.mode, entry.uid, entry.gid, entry.mtime, entry.nsec) == (0o4711, 7, 8, 77, 500_000_000)
    # As after chown(2): the capability is gone, which the link does not have.
    assert dict(entry.xattrs) == {b"user.a": b"1", b"user.b": b"2"}
    assert (entry.offset, entry.size, walk(tree)["a"].layer) == (512 * 3, 1, 0)
    assert set(difference(below, tree).children) == {b"a", b"b"}
    assert walk(below)["a"].entry.mode == 0o644

    link = make(("a", "link", b"", {"link": "q"}), ("b", "hard", b"", {"link": "a", **said}))
    entry = walk(image(link))["a"].entry
    assert (entry.uid, entry.gid, entry.mtime, entry.mode) == (7, 8, 1_600_000_000, 0o777)


def test_attributes_of_hard_links_do_not_add_up_for_ever():
    links = [(f"l{n}", "hard", b"", {"link": "a", "xattrs": {f"user.{n}": b""}}) for n in range(5)]
    assert len(walk(image(make(("a", "file"), *links), xattrs=5))["a"].entry.xattrs) == 5
    with pytest.raises(LimitExceeded, match="extended attributes"):
        image(make(("a", "file"), *links), xattrs=4)


def test_links_into_what_aufs_left():
    kept = (".wh..wh.plnk/1.2", "file", "P", {"mode": 0o640})
    tree = image(
        make(
            (".wh..wh.aufs", "file"),
            (".wh..wh.orph", "dir"),
            (".wh..wh.plnk", "dir"),
            kept,
            (".wh..wh.plnk/3.4", "hard", b"", {"link": ".wh..wh.plnk/1.2", "mode": 0o640}),
            ("a", "hard", b"", {"link": "/.wh..wh.plnk/1.2", "mode": 0o640}),
            ("d/b", "hard", b"", {"link": ".wh..wh.plnk/3.4", "mode": 0o600}),
        )
    )
    tree.count_links()
    nodes = walk(tree)
    assert set(nodes) == {"a", "d", "d/b"}
    assert nodes["a"] is nodes["d/b"]
    assert (nodes["a"].entry.mode, nodes["a"].nlink) == (0o600, 2)
    for link in (".wh..wh.plnk", ".wh..wh.plnk/9.9", "d/.wh..wh.plnk/1.2", ".wh..wh.plnk/1.2/x"):
        with pytest.raises(Corrupt, match="does not exist"):
            image(make(kept, ("a", "hard", b"", {"link": link})))
    with pytest.raises(Corrupt, match="does not exist"):  # those of another layer
        image(make(kept), make(("a", "hard", b"", {"link": ".wh..wh.plnk/1.2"})))


def test_implied_directories():
    node = walk(image(make(("p/q/x", "file"))))["p/q"]
    assert (node.entry.mode, node.entry.uid, node.entry.gid, node.entry.mtime) == (0o755, 0, 0, 0)


def test_attributes_that_files_may_have():
    bad = {
        "trusted.overlay.opaque": b"y",
        "trusted.any": b"1",
        "user.overlay.redirect": b"/",
        "security.selinux": b"x",
        "security.ima": b"x",
        "system.nfs4_acl": b"x",
        "nonsense": b"x",
        "user.": b"x",
    }
    good = {"user.ok": b"1", "security.capability": b"2", "system.posix_acl_access": b"3"}
    nodes = walk(
        image(
            make(
                ("f", "file", b"", {"xattrs": {**bad, **good}}),
                ("d", "dir", b"", {"xattrs": {**bad, **good, "system.posix_acl_default": b"4"}}),
                ("l", "link", b"", {"link": "f", "xattrs": {**bad, **good}}),
            )
        )
    )
    assert dict(nodes["f"].xattrs) == {k.encode(): v for k, v in good.items()}
    assert {k for k, _ in nodes["d"].xattrs} == {
        b"user.ok",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    }
    assert nodes["l"].xattrs == []


def test_deep_trees_need_no_stack():
    # Each three members hang their directories below the last ones', through a link.
    path = "d/" * 1000
    members = [(f"{path}end", "file"), ("l0", "link", b"", {"link": path})]
    for n in (1, 2):
        members += [(f"l{n - 1}/{path}end", "file"), (f"l{n}", "link", b"", {"link": f"l{n - 1}/{path}"})]
    tree = image(make(*members))
    assert tree.count_links() == 3000 + 3 + 3 + 1
    below = tree.clone()
    tree.apply([])
    assert difference(below, tree).children == {}
    del tree, below
    gc.collect()
    with pytest.raises(LimitExceeded, match="deep"):
        image(make(*members), depth=2500)


def test_links_cannot_bring_in_impossible_names():
    with pytest.raises(LimitExceeded, match="256 bytes"):
        image(make(("l", "link", b"", {"link": "x" * 256}), ("l/f", "file")))
    image(make(("l", "link", b"", {"link": "x" * 256})))


def test_bombs_are_bounded():
    many = make(*((f"{n}/" * 500 + "x", "file") for n in range(10)))
    with pytest.raises(LimitExceeded, match="files"):
        image(many, nodes=4000)
    with pytest.raises(LimitExceeded, match="steps"):
        image(many, steps=4000)
    # Links that double the work at each turn.
    maze = Tar().add("d", "dir").add("l0", "link", link="d/" + "../d/" * 500)
    for n in range(1, 200):
        maze.add(f"l{n}", "link", link=f"/l{n - 1}/" + "../d/" * 500)
    for n in range(2000):
        maze.add(f"l199/f{n}", "file")
    with pytest.raises(LimitExceeded, match="steps"):
        image(maze.data(), steps=1_000_000)


def test_random_layers_against_the_obvious_model():
    """A tree of paths, without links: applied entry by entry to a plain dict."""
    for seed in range(300):
        rng = random.Random(seed)
        layers = []
        model: dict[str, str] = {}
        for _ in range(4):
            members, seen = [], set()
            for _ in range(rng.randrange(1, 12)):
                path = "/".join(rng.choice("abc") for _ in range(rng.randrange(1, 4)))
                if path in seen:
                    continue
                seen.add(path)
                kind = rng.choice(["file", "dir", "dir", "white", "opaque"])
                members.append((path, kind))
            # Whiteouts first, on the lower layers only.
            lower = {path for path, kind in model.items() if kind == "file"}
            for path, kind in members:
                parent = path.rpartition("/")[0]
                if kind in ("white", "opaque"):
                    for p in [path[:i] for i, c in enumerate(path) if c == "/"]:
                        if model.get(p) == "file":
                            model[p] = "dir"
                hidden = path if kind == "white" else parent if kind == "opaque" else None
                if hidden is not None:
                    for key in list(model):
                        inside = key.startswith(hidden + "/") or not hidden
                        if inside or (kind == "white" and key == hidden):
                            del model[key]
            tar = Tar()
            for path, kind in members:
                parent, _, name = path.rpartition("/")
                if kind in ("white", "opaque"):
                    word = f".wh.{name}" if kind == "white" else ".wh..wh..opq"
                    tar.add(f"{parent}/{word}" if parent else word)
                    continue
                above = [path[:i] for i, c in enumerate(path) if c == "/"]
                if any(model.get(p) == "file" and p not in lower for p in above):
                    continue
                for p in above:
                    model[p] = "dir"
                if kind == "file" or model.get(path) == "file":
                    for key in list(model):
                        if key == path or key.startswith(path + "/"):
                            del model[key]
                model[path] = kind
                lower.discard(path)
                tar.add(path, kind)
            layers.append(tar.data())
        tree = Tree()
        shown: dict[str, Node] = {}
        for layer in layers:
            below = tree.clone()
            tree.apply(entries(layer))
            shown = stacked(shown, difference(below, tree))
        found = {k: "dir" if v.children is not None else "file" for k, v in walk(tree).items()}
        assert found == model, seed
        assert {k: v.entry for k, v in shown.items()} == {k: v.entry for k, v in walk(tree).items()}, seed
