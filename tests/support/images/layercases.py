"""Images of layers, and the trees that they must make in every form."""

from __future__ import annotations

import os

from layers import SPARSE, make

# Images that must come out right in every form: name → (layers, what is there then). A value is `d`,
# `f:content`, `l:target`, `c:major:minor`, `b:…` or `p`; names of one inode have `=first name` behind it.
BASE = make(
    ("usr", "dir"),
    ("usr/lib", "dir"),
    ("usr/lib/a", "file", "A"),
    ("lib", "link", b"", {"link": "usr/lib"}),
    ("etc", "dir"),
    ("etc/one", "file", "1"),
    ("etc/two", "file", "2"),
)
_BASE = {
    "usr": "d",
    "usr/lib": "d",
    "usr/lib/a": "f:A",
    "lib": "l:usr/lib",
    "etc": "d",
    "etc/one": "f:1",
    "etc/two": "f:2",
}


def _but(*gone: str, **new: str) -> dict[str, str]:
    kept = {k: v for k, v in _BASE.items() if not any(k == g or k.startswith(g + "/") for g in gone)}
    return {**kept, **{k.replace("__", "/"): v for k, v in new.items()}}


CASES: dict[str, tuple[list[bytes], dict[str, str]]] = {
    "nothing": ([], {}),
    "an empty layer": ([make()], {}),
    "one layer": ([BASE], _BASE),
    "the same layer twice": ([BASE, BASE], _BASE),
    "whiteout": ([BASE, make(("etc/.wh.one", "file"))], _but("etc/one")),
    "whiteout of a directory": ([BASE, make((".wh.etc", "file"))], _but("etc")),
    "whiteout of nothing": ([BASE, make(("no/.wh.thing", "file"), ("etc/.wh.x", "file"))], _BASE),
    "whiteout after its own layer's file": (
        [BASE, make(("etc/one", "file", "new"), ("etc/.wh.one", "file"))],
        _but(etc__one="f:new"),
    ),
    "whiteout and new directory": (
        [BASE, make((".wh.etc", "file"), ("etc", "dir"), ("etc/three", "file", "3"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "whiteout through a lower link": ([BASE, make(("lib/.wh.a", "file"))], _but(lib="d")),
    "opaque through a lower link": ([BASE, make(("lib/.wh..wh..opq", "file"))], _but(lib="d")),
    "whiteout through a link that the layer has too": (
        [BASE, make(("lib/.wh.a", "file"), ("lib", "link", b"", {"link": "usr/lib"}))],
        _but("usr/lib/a"),
    ),
    "whiteout below a lower file": ([BASE, make(("etc/one/.wh.a", "file"))], _but(etc__one="d")),
    "whiteout, then again in the next layer": (
        [BASE, make((".wh.etc", "file")), make(("etc", "dir"), ("etc/two", "file", "new"))],
        _but("etc", etc="d", etc__two="f:new"),
    ),
    "opaque first": (
        [BASE, make(("etc", "dir"), ("etc/.wh..wh..opq", "file"), ("etc/three", "file", "3"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "opaque last": (
        [BASE, make(("etc", "dir"), ("etc/three", "file", "3"), ("etc/.wh..wh..opq", "file"))],
        _but("etc", etc="d", etc__three="f:3"),
    ),
    "opaque root": ([BASE, make((".wh..wh..opq", "file"), ("x", "file", "x"))], {"x": "f:x"}),
    "opaque, deeper directories are new": (
        [
            BASE,
            make(("usr", "dir"), ("usr/.wh..wh..opq", "file"), ("usr/lib", "dir"), ("usr/lib/b", "file", "B")),
        ],
        _but("usr", usr="d", usr__lib="d", usr__lib__b="f:B"),
    ),
    "opaque over opaque": (
        [
            BASE,
            make(("etc/.wh..wh..opq", "file"), ("etc/three", "file", "3")),
            make(("etc/.wh..wh..opq", "file"), ("etc/four", "file", "4")),
            make(("etc/five", "file", "5")),
        ],
        _but("etc", etc="d", etc__four="f:4", etc__five="f:5"),
    ),
    "hard links in a layer": (
        [make(("a", "file", "A"), ("b", "hard", b"", {"link": "a"}), ("c", "hard", b"", {"link": "b"}))],
        {"a": "f:A=a", "b": "f:A=a", "c": "f:A=a"},
    ),
    "hard link to a lower layer": (
        [BASE, make(("etc/three", "hard", b"", {"link": "/etc/two"}))],
        _but("etc/two", etc__two="f:2=etc/three", etc__three="f:2=etc/three"),
    ),
    "hard link through a link": (
        [BASE, make(("h", "hard", b"", {"link": "lib/a"}))],
        _but(h="f:A=h", usr__lib__a="f:A=h"),
    ),
    "hard link to a link": (
        [BASE, make(("h", "hard", b"", {"link": "lib"}))],
        _but(h="l:usr/lib=h", lib="l:usr/lib=h"),
    ),
    "hard link to itself": (
        [BASE, make(("etc/one", "file", "x"), ("x", "hard", b"", {"link": "x/../etc/one"}))],
        _but(etc__one="f:x=etc/one", x="f:x=etc/one"),
    ),
    "one of two links goes": (
        [
            make(("a", "file", "A"), ("b", "hard", b"", {"link": "a"}), ("c", "hard", b"", {"link": "a"})),
            make((".wh.b", "file")),
            make(("c", "file", "C")),
        ],
        {"a": "f:A", "c": "f:C"},
    ),
    "links over four layers": (
        [
            make(("d", "dir"), ("d/a", "file", "A")),
            make(("b", "hard", b"", {"link": "d/a"})),
            make((".wh.d", "file"), ("c", "hard", b"", {"link": "b"})),
            make(("e", "hard", b"", {"link": "c"})),
        ],
        {"b": "f:A=b", "c": "f:A=b", "e": "f:A=b"},
    ),
    "a link into an opaque directory": (
        [
            make(("d", "dir"), ("d/x", "file", "X"), ("e", "hard", b"", {"link": "d/x"})),
            make(("d/.wh..wh..opq", "file"), ("d/x", "hard", b"", {"link": "e"})),
        ],
        {"d": "d", "d/x": "f:X=d/x", "e": "f:X=d/x"},
    ),
    "duplicates, links keep the first": (
        [make(("a", "file", "1"), ("b", "hard", b"", {"link": "a"}), ("a", "file", "2"))],
        {"a": "f:2", "b": "f:1"},
    ),
    "file over directory": ([BASE, make(("etc", "file", "F"))], _but("etc", etc="f:F")),
    "link over directory": ([BASE, make(("etc", "link", b"", {"link": "usr"}))], _but("etc", etc="l:usr")),
    "directory over file": (
        [BASE, make(("etc/one", "dir"), ("etc/one/x", "file", "X"))],
        _but(etc__one="d", etc__one__x="f:X"),
    ),
    "directory, file, directory": (
        [BASE, make(("etc", "file", "F")), make(("etc", "dir"), ("etc/new", "file", "N"))],
        _but("etc", etc="d", etc__new="f:N"),
    ),
    "directory over link": (
        [BASE, make(("lib", "dir"), ("lib/x", "file", "X"))],
        _but(lib="d", lib__x="f:X"),
    ),
    "members through a lower link": (
        [BASE, make(("lib/x", "file", "X"), ("lib/y/z", "file", "Z"))],
        _but(lib="d", lib__x="f:X", lib__y="d", lib__y__z="f:Z"),
    ),
    "members below a lower file": (
        [BASE, make(("etc/one/x", "file", "X")), make(("etc/one/y", "file", "Y"))],
        _but(etc__one="d", etc__one__x="f:X", etc__one__y="f:Y"),
    ),
    "members through a link to a lower link": (
        [BASE, make(("l", "link", b"", {"link": "/"}), ("l/lib/x", "file", "X"))],
        _but(l="l:/", lib="d", lib__x="f:X"),
    ),
    "members through links of the layer to what is lower": (
        [BASE, make(("l", "link", b"", {"link": "lib"}), ("l/x", "file", "X"))],
        _but(l="l:lib", usr__lib__x="f:X"),
    ),
    "members through the same link again": (
        [BASE, make(("lib", "link", b"", {"link": "usr/lib"}), ("lib/x", "file", "X"))],
        _but(usr__lib__x="f:X"),
    ),
    "links with headers of their own": (
        [
            make(
                ("a", "file", "A", {"xattrs": {"user.a": b"1"}}),
                ("b", "hard", b"", {"link": "a", "mode": 0o4711, "uid": 7, "gid": 8, "mtime": "77.5"}),
                ("l", "link", b"", {"link": "a", "mode": 0o644}),
                ("m", "hard", b"", {"link": "l", "mode": 0o600, "uid": 9, "mtime": 5}),
            ),
            make(("c", "hard", b"", {"link": "a", "mode": 0o700, "xattrs": {"user.b": b"2"}})),
        ],
        {"a": "f:A=a", "b": "f:A=a", "c": "f:A=a", "l": "l:a=l", "m": "l:a=l"},
    ),
    "what aufs left": (
        [
            make(
                (".wh..wh.aufs", "file"),
                (".wh..wh.orph", "dir"),
                (".wh..wh.orph/x", "file"),
                (".wh..wh.plnk", "dir"),
                (".wh..wh.plnk/12.34", "file", "P", {"mode": 0o755, "uid": 3}),
                ("a", "hard", b"", {"link": ".wh..wh.plnk/12.34", "mode": 0o755, "uid": 3}),
                ("d", "dir"),
                ("d/b", "hard", b"", {"link": "/.wh..wh.plnk/12.34", "mode": 0o755, "uid": 3}),
            )
        ],
        {"a": "f:P=a", "d": "d", "d/b": "f:P=a"},
    ),
    "members through a link in the same layer": (
        [make(("d", "dir"), ("l", "link", b"", {"link": "/d/../d/"}), ("l/x", "file", "X"))],
        {"d": "d", "l": "l:/d/../d/", "d/x": "f:X"},
    ),
    "links that leave the root": (
        [
            make(
                ("e", "link", b"", {"link": "../../../tmp"}),
                ("e/x", "file", "X"),
                ("f", "link", b"", {"link": "/"}),
                ("f/y", "file", "Y"),
            )
        ],
        {"e": "l:../../../tmp", "tmp": "d", "tmp/x": "f:X", "f": "l:/", "y": "f:Y"},
    ),
    "a dangling link in the way": (
        [make(("a", "link", b"", {"link": "/n/m/../o"}), ("a/x", "file", "X"))],
        {"a": "l:/n/m/../o", "n": "d", "n/o": "d", "n/o/x": "f:X"},
    ),
    "missing parents": ([BASE, make(("p/q/x", "file", "X"))], _but(p="d", p__q="d", p__q__x="f:X")),
    "names that want out": (
        [
            make(
                ("../../a/../b", "file", "B"),
                ("/abs", "file", "S"),
                ("./c//d/.", "dir"),
                ("c/./d/e", "file", "E"),
            )
        ],
        {"b": "f:B", "abs": "f:S", "c": "d", "c/d": "d", "c/d/e": "f:E"},
    ),
    "the root's own attributes": (
        [
            make(("./", "dir", b"", {"mode": 0o700, "uid": 5, "mtime": 9}), ("a", "file", "A")),
            make(("/", "dir", b"", {"mode": 0o751})),
        ],
        {"a": "f:A"},
    ),
    "devices and fifos": (
        [
            make(
                ("null", "char", b"", {"major": 1, "minor": 3, "mode": 0o666}),
                ("disk", "block", b"", {"major": 259, "minor": 70000}),
                ("same", "hard", b"", {"link": "disk"}),
                ("pipe", "fifo", b"", {"mode": 0o620, "uid": 9}),
            )
        ],
        {"null": "c:1:3", "disk": "b:259:70000=disk", "same": "b:259:70000=disk", "pipe": "p"},
    ),
    "overlay's own whiteout": (
        [BASE, make(("etc/one", "char", b"", {"mode": 0}), ("etc/new", "char"))],
        _but("etc/one"),
    ),
    "modes, owners, times": (
        [
            make(
                ("s", "file", "x", {"mode": 0o6755, "uid": 1000, "gid": 4_000_000_000}),
                ("t", "dir", b"", {"mode": 0o1777, "uid": 0xFFFFFFFE}),
                ("old", "file", "x", {"mtime": -1_000_000_000}),
                ("older", "dir", b"", {"mtime": "-1.25"}),
                ("late", "file", "x", {"mtime": 5_000_000_000}),
                ("exact", "link", b"", {"mtime": "1234567890.123456789", "link": "s"}),
                ("none", "file", "", {"mode": 0}),
            )
        ],
        {"s": "f:x", "t": "d", "old": "f:x", "older": "d", "late": "f:x", "exact": "l:s", "none": "f:"},
    ),
    "attributes": (
        [
            make(
                (
                    "f",
                    "file",
                    "x",
                    {"xattrs": {"user.a": b"1", "user.long": b"v" * 2000, "trusted.overlay.opaque": b"y"}},
                ),
                (
                    "cap",
                    "file",
                    "x",
                    {"xattrs": {"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")}},
                ),
                (
                    "d",
                    "dir",
                    b"",
                    {"xattrs": {"user.overlay.redirect": b"/x", "user.d": b"", "trusted.x": b"1"}},
                ),
                ("l", "link", b"", {"link": "f", "xattrs": {"user.a": b"1"}}),
            ),
            make(("f", "file", "y", {"xattrs": {"user.b": b"2"}}), ("d", "dir")),
        ],
        {"f": "f:y", "cap": "f:x", "d": "d", "l": "l:f"},
    ),
    "long names": (
        [
            make(*((f"{'d' * 200}/{'e' * 200}/" + chr(97 + n) * 255, "file", str(n)) for n in range(20))),
            make(("l", "link", b"", {"link": "t/" * 2047 + "t"}), ("m", "link", b"", {"link": "u" * 300})),
        ],
        {
            "d" * 200: "d",
            "d" * 200 + "/" + "e" * 200: "d",
            **{f"{'d' * 200}/{'e' * 200}/" + chr(97 + n) * 255: f"f:{n}" for n in range(20)},
            "l": "l:" + "t/" * 2047 + "t",
            "m": "l:" + "u" * 300,
        },
    ),
    "names of any bytes": (
        [make((b"\xff\xfe\x01\n", "file", "1"), (b"caf\xc3\xa9", "file", "2"), (b"d\\ e", "dir"))],
        {os.fsdecode(b"\xff\xfe\x01\n"): "f:1", "café": "f:2", "d\\ e": "d"},
    ),
    "sizes around blocks": (
        [make(*((f"f{n}", "file", "x" * n) for n in (0, 1, 511, 512, 513, 1024, 4095, 4096, 4097, 100_000)))],
        {f"f{n}": "f:" + "x" * n for n in (0, 1, 511, 512, 513, 1024, 4095, 4096, 4097, 100_000)},
    ),
    "sparse": (
        [
            b"".join(
                make_sparse(b"s" + form.encode(), 70_000, [(0, b"head"), (8192, b"x" * 512), (50_001, b"tail")])
                for form, make_sparse in SPARSE.items()
            )
            + make(("after", "file", "A"))
            + b""
        ],
        {
            **{
                f"s{form}": "f:" + ("head" + "\0" * 8188 + "x" * 512).ljust(50_001, "\0") + "tail".ljust(19_999, "\0")
                for form in SPARSE
            },
            "after": "f:A",
        },
    ),
}
