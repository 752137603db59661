"""Cases about COPY and ADD: what is copied where, and how it looks there."""

from __future__ import annotations

from .cases import COMPRESSIONS, Case, Item, archive, directory, executable, hard, link

TREE: dict[str, Item | str | bytes] = {
    "t/a": "a",
    "t/b.sh": executable("b"),
    "t/private": Item(b"p", mode=0o600),
    "t/setuid": Item(b"s", mode=0o4755),
    "t/sub/c": "c",
    "t/sub/deep/d": "d",
    "t/sub/.hidden": "h",
    "t/empty": directory(0o700),
    "t/sticky": directory(0o1777),
    "t/link": link("sub/c"),
    "t/dirlink": link("sub"),
    "t/dangling": link("/no/where"),
    "t/hard": hard("t/a"),
    "top": "top",
    "other": "other",
}

CASES = (
    Case("copy files", "FROM box\nCOPY top /\nCOPY top /renamed\nCOPY top /new/dir/\nCOPY top other /several/\nCOPY top data\nCOPY top other ./\nWORKDIR /w\nCOPY top .\nCOPY other ./x\n", TREE, builders="db"),
    Case("copy directories", "FROM box\nCOPY t /t\nCOPY t /data\nCOPY t/ /slash/\nCOPY t/sub t/empty /merged/\nCOPY t/sticky /sticky\n", TREE, builders="db"),
    Case("copy everything", "FROM box\nCOPY . .\nCOPY . /all\n", TREE),
    Case("wildcards", "FROM box\nCOPY t* /one/\nCOPY t/* /two/\nCOPY o?her /three\nCOPY t/[ab]* /four/\nCOPY t/sub/*/d /five/\nCOPY to* oth* /six/\nCOPY t/*/c /seven/\n", TREE, builders="db"),
    Case("copy links", "FROM box\nCOPY t/link /link\nCOPY t/dirlink /dirlink/\nCOPY t/dangling* /dangling/\nCOPY t/dirlink/c /c\n", TREE),
    Case("copy onto links", "FROM box\nRUN ln -s /data /dirlink; ln -s /data/seed /filelink; ln -s /data/none /nolink\nCOPY top /dirlink\nCOPY top /dirlink/sub/x\nCOPY top /filelink\nCOPY t/sub /dirlink/\nCOPY top /nolink/\n", TREE),
    Case(
        "copy over what is there",
        "FROM box\nRUN mkdir -m 700 -p /x/sub && echo 1 > /x/sub/c && echo 2 > /x/sub/own && chown 5:6 /x /x/sub /x/sub/own && mkdir /x/sub/deep\nCOPY t /x\nCOPY top /x/sub/c\n",
        TREE,
    ),
    Case(
        "owners",
        "FROM box\nCOPY --chown=alice top /a\nCOPY --chown=alice:extra t /b\nCOPY --chown=7:8 t/sub /c/d/\nCOPY --chown=9 top /e\nCOPY --chown=root:extra top /f\n"
        "COPY --chown=:extra top /g\n".replace("COPY --chown=:extra top /g\n", "")
        + "COPY --chown=alice t /data\nADD --chown=1:2 top /h/i/j\nUSER alice\nCOPY top /tmp/k\n",
        TREE,
        builders="db",
    ),
    Case("modes", "FROM box\nCOPY --chmod=600 top /a\nCOPY --chmod=0751 t /b\nCOPY --chmod=4755 --chown=alice top /c/d\nADD --chmod=777 t/sub /e\nCOPY --chmod=644 top /new/dir/\n", TREE),
    Case("copies that link", "FROM box\nRUN mkdir -m 700 /x && ln -s /data /l\nCOPY --link top /\nCOPY --link t /x\nCOPY --link --chown=7:8 t/sub /x/y/z/\nCOPY --link --chmod=600 top other /x/\nCOPY --link top /l\nCOPY --link --chown=1 --from=box /data /from\n", TREE),
    Case("copies that keep parents", "FROM box\nCOPY --parents t/sub/c top /p/\nCOPY --parents t/sub/deep /q/\nCOPY --parents t/./sub/c /r/\nCOPY --parents t/*/deep /s/\n", TREE, builders="b"),
    Case("copies that exclude", "FROM box\nCOPY --exclude=sub --exclude=a t /x\nCOPY --exclude=**/c t /y\nCOPY --exclude=*.sh --exclude=!b.sh t /z\n", TREE, builders="b"),
    Case("copy from a stage", "FROM box AS a\nRUN mkdir -p /s/sub && echo 1 > /s/f && chown -R 5:6 /s && chmod 4711 /s/f && ln /s/f /s/sub/hard && ln -s f /s/link && ln -s /s /sl && touch -d '2001-01-01 00:00:00' /s/f /s/sub\n".replace("touch -d '2001-01-01 00:00:00'", "touch -t 200101010000")
         + "FROM box\nCOPY --from=a /s /copied\nCOPY --from=a s/link /\nCOPY --from=a /sl/f /f\nCOPY --from=a /sl /sl2\nCOPY --from=a --chown=1:1 /s/. /owned/\nCOPY --from=a /s/*f* /wild/\nCOPY --from=a . /root/\n", TREE),
    Case("copy in json", "FROM box\nCOPY [\"a b\", \"/x y/\"]\nCOPY [\"a b\", \"c[d]\", \"/z/\"]\nCOPY a\\ b /e\n".replace("COPY a\\ b /e\n", "").replace(', \\"c[d]\\"', ""), {"a b": "1", "c[d]": "2"}),
    Case("ignored", "FROM box\nCOPY . /all\nCOPY sub /sub/\nCOPY k*p /keep/\n", {
        ".dockerignore": "# comment\n\n*.log\n!keep.log\n**/*.tmp\nsub/no*\n!sub/nothing\n/rooted\ndir\n!dir/in\n  spaced  \nkept/**\n!kept/this\nDockerfile\n.dockerignore\n",
        "a.log": "", "keep.log": "", "sub/b.log": "", "x.tmp": "", "sub/deep/y.tmp": "", "sub/no": "", "sub/nothing": "", "sub/yes": "", "rooted": "", "sub/rooted": "",
        "dir/in": "", "dir/out": "", "spaced": "", "kept/this": "", "kept/that": "", "keep": "1"}, builders="db"),
    Case("ignored of one dockerfile", "FROM box\nCOPY . /all\n", {".dockerignore": "a\n", "My.dockerignore": "b\nMy*\n", "a": "", "b": ""}, file="My"),
    Case("everything ignored but", "FROM box\nCOPY . /all\n", {".dockerignore": "*\n!src\nsrc/**/x\n!src/a/x\n", "a": "", "src/f": "", "src/a/x": "", "src/b/x": "", "src/x": ""}),
    *(Case(f"add {name}", f"FROM box\nADD a.{name} /x/\nADD a.{name} /data\nCOPY a.{name} /copied\n", {f"a.{name}": archive(compress)}) for name, compress in COMPRESSIONS.items()),
    Case("add what looks like archives", "FROM box\nADD a.tar /x/\nADD b.gz /x/\nADD c.tar /y\nADD top t /z/\nADD dir /dir\n", {**TREE, "a.tar": "no archive", "b.gz": COMPRESSIONS["tar.gz"](b"only text"), "c.tar": b"", "dir/in.tar": archive()}),
    Case("add archives over what is there", "FROM box\nRUN mkdir -p /x/d && echo 1 > /x/d/file && echo 2 > /x/d/own && ln -s /data /l\nADD a.tar /x\nADD a.tar /l/\nADD --chown=alice:extra a.tar /owned/\nADD --chmod=700 a.tar /mode/\n", {"a.tar": archive()}),
    Case("attributes of files", "FROM box\nCOPY f /f\nCOPY f /g\n", {"f": Item(b"x", xattrs=(("user.a", b"b\0c"),))}),
    Case("copies between users and directories", "FROM box\nUSER alice\nWORKDIR /home/alice/w\nCOPY top sub/new/\nCOPY --chown=alice t/sub/ ./sub\nRUN ls -ln . > /tmp/list\n", TREE),
)
