"""Cases about COPY and ADD: what is copied where, and how it looks there."""

from __future__ import annotations

from .cases import (
    CAPABILITY,
    COMPRESSIONS,
    Case,
    Item,
    archive,
    directory,
    executable,
    hard,
    link,
    nameless,
    pipe,
    socket,
)

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
    "t/hard": hard("t/a"),
    "top": "top",
    "other": "other",
}

CASES = (
    Case(
        "copy files",
        "FROM box\n"
        "COPY top /\n"
        "COPY top /renamed\n"
        "COPY top /new/dir/\n"
        "COPY top other /several/\n"
        "COPY top data\n"
        "COPY top other ./\n"
        "WORKDIR /w\n"
        "COPY top .\n"
        "COPY other ./x\n",
        TREE,
        builders="db",
    ),
    Case(
        "copy directories",
        "FROM box\nCOPY t /t\nCOPY t /data\nCOPY t/ /slash/\nCOPY t/sub t/empty /merged/\nCOPY t/sticky /sticky\n",
        TREE,
        builders="db",
    ),
    Case("copy everything", "FROM box\nCOPY . .\nCOPY . /all\n", TREE),
    Case(
        "wildcards",
        "FROM box\n"
        "COPY t* /one/\n"
        "COPY t/* /two/\n"
        "COPY o?her /three\n"
        "COPY t/[ab]* /four/\n"
        "COPY t/sub/*/d /five/\n"
        "COPY to* oth* /six/\n"
        "COPY t/*/c /seven/\n",
        TREE,
    ),
    Case(
        "copy links",
        "FROM box\nCOPY t/link /link\nCOPY t/dirlink /dirlink/\nCOPY danglers /danglers/\nCOPY t/dirlink/c /c\n",
        {**TREE, "danglers/link": link("/no/where"), "danglers/loop": link("loop")},
    ),
    Case(
        "copy onto links",
        "FROM box\n"
        "RUN ln -s /data /dirlink; ln -s /data/seed /filelink; ln -s /data/none /nolink\n"
        "COPY top /dirlink\n"
        "COPY top /dirlink/sub/x\n"
        "COPY top /filelink\n"
        "COPY t/sub /dirlink/\n"
        "COPY top /nolink/\n",
        TREE,
    ),
    Case(
        "copy over what is there",
        "FROM box\n"
        "RUN mkdir -m 700 -p /x/sub && echo 1 > /x/sub/c && echo 2 > /x/sub/own && chown 5:6 /x "
        "/x/sub /x/sub/own && mkdir /x/sub/deep\n"
        "COPY t /x\n"
        "COPY top /x/sub/c\n",
        TREE,
    ),
    Case(
        "owners",
        "FROM box\n"
        "COPY --chown=alice top /a\n"
        "COPY --chown=alice:extra t /b\n"
        "COPY --chown=7:8 t/sub /c/d/\n"
        "COPY --chown=9 top /e\n"
        "COPY --chown=root:extra top /f\n"
        "COPY --chown=alice t /data\n"
        "ADD --chown=1:2 top /h/i/j\n"
        "USER alice\n"
        "COPY top /tmp/k\n",
        TREE,
        builders="db",
    ),
    Case(
        "modes",
        "FROM box\n"
        "COPY --chmod=600 top /a\n"
        "COPY --chmod=0751 t /b\n"
        "COPY --chmod=4755 --chown=alice top /c/d\n"
        "ADD --chmod=777 t/sub /e\n"
        "COPY --chmod=644 top /new/dir/\n",
        TREE,
    ),
    Case(
        "copies that link",
        "FROM box\n"
        "COPY --link top /\n"
        "COPY --link t /x\n"
        "COPY --link --chown=7:8 t/sub /y/\n"
        "COPY --link --chmod=600 top other /z/\n"
        "COPY --link --chown=1 --from=box /data /from\n"
        "ADD --link a.tar /unpacked/\n"
        "RUN ls -R /x /y /z /from /unpacked > /tmp/list\n",
        {**TREE, "a.tar": archive()},
    ),
    Case(
        "copies that exclude",
        "FROM box\nCOPY --exclude=**/c --exclude=**/a t /y\nCOPY --exclude=**/*.sh --exclude=**/.h* t /z\n",
        TREE,
        builders="b",
    ),
    Case(
        "copy from a stage",
        "FROM box AS a\n"
        "RUN mkdir -p /s/sub && echo 1 > /s/f && chown -R 5:6 /s && chmod 4711 /s/f && ln /s/f "
        "/s/sub/hard && ln -s f /s/link && ln -s /s /sl && touch -t 200101010000 /s/f /s/sub\n"
        "FROM box\n"
        "COPY --from=a /s /copied\n"
        "COPY --from=a s/link /\n"
        "COPY --from=a /sl/f /f\n"
        "COPY --from=a /sl /sl2\n"
        "COPY --from=a --chown=1:1 /s/. /owned/\n"
        "COPY --from=a /s/*f* /wild/\n"
        "COPY --from=box . /root/\n",
        TREE,
    ),
    Case(
        "copy from another context",
        "FROM box AS stage\nRUN false\nFROM box\nCOPY --from=other a /a\nCOPY --from=stage . /all\n"
        "RUN --mount=from=other,target=/o cat /o/sub/b > /b\n",
        flags=("--build-context", "other={beside}", "--build-context", "stage={beside}/sub"),
        beside={"a": "a", "sub/b": "b"},
    ),
    Case("copy of nothing that matches", "FROM box\nCOPY none* /x/\nCOPY none* t[op] top /y/\n", TREE),
    Case(
        "copy of several into a directory that is there",
        "FROM box\nCOPY top other /data\nWORKDIR /w\nCOPY to* other /w\n",
        TREE,
    ),
    Case("copy in json", 'FROM box\nCOPY ["a b", "/x y/"]\nCOPY ["a b", "c[d]", "/z/"]\n', {"a b": "1", "c[d]": "2"}),
    Case(
        "ignored",
        "FROM box\nCOPY . /all\nCOPY sub /sub/\nCOPY k*p /keep/\n",
        {
            ".dockerignore": "# comment\n"
            "\n"
            "*.log\n"
            "!keep.log\n"
            "**/*.tmp\n"
            "sub/no*\n"
            "!sub/nothing\n"
            "/rooted\n"
            "dir\n"
            "!dir/in\n"
            "  spaced  \n"
            "kept/**\n"
            "!kept/this\n"
            "Dockerfile\n"
            ".dockerignore\n",
            "a.log": "",
            "keep.log": "",
            "sub/b.log": "",
            "x.tmp": "",
            "sub/deep/y.tmp": "",
            "sub/no": "",
            "sub/nothing": "",
            "sub/yes": "",
            "rooted": "",
            "sub/rooted": "",
            "dir/in": "",
            "dir/out": "",
            "spaced": "",
            "kept/this": "",
            "kept/that": "",
            "keep": "1",
        },
        builders="db",
    ),
    Case(
        "ignored of one dockerfile",
        "FROM box\nCOPY . /all\n",
        {".dockerignore": "a\n", "My.dockerignore": "b\nMy*\n", "a": "", "b": ""},
        file="My",
    ),
    Case(
        "everything ignored but",
        "FROM box\nCOPY . /all\n",
        {
            ".dockerignore": "*\n!src\nsrc/**/x\n!src/a/x\n",
            "a": "",
            "src/f": "",
            "src/a/x": "",
            "src/b/x": "",
            "src/x": "",
        },
    ),
    Case(
        "add archives",
        "FROM box\n"
        + "".join(f"ADD a.{name} /{name}/\nADD a.{name} /data\nCOPY a.{name} /copied\n" for name in COMPRESSIONS),
        {f"a.{name}": archive(compress) for name, compress in COMPRESSIONS.items()},
    ),
    Case(
        "add what looks like archives",
        "FROM box\nADD a.tar /x/\nADD b.gz /x/\nADD c.tar /y\nADD top t /z/\nADD dir /dir\n",
        {
            **TREE,
            "a.tar": "no archive",
            "b.gz": COMPRESSIONS["tar.gz"](b"only text"),
            "c.tar": b"",
            "dir/in.tar": archive(),
        },
    ),
    Case(
        "add archives over what is there",
        "FROM box\n"
        "RUN mkdir -p /x/d && echo 1 > /x/d/file && echo 2 > /x/d/own && ln -s /data /l\n"
        "ADD a.tar /x\n"
        "ADD a.tar /l/\n"
        "ADD --chown=alice:extra a.tar /owned/\n"
        "ADD --chmod=700 a.tar /mode/\n",
        {"a.tar": archive()},
    ),
    Case(
        "capabilities of files",
        "FROM box AS a\n"
        "ADD a.tar /x\n"
        "RUN cp /x/d/capable /lost\n"
        "FROM box\n"
        "COPY --from=a /x/d/capable /\n"
        "COPY --from=a --chown=7 /x/d /y\n"
        "COPY f /f\n",
        {"a.tar": archive(), "f": Item(b"x", mode=0o755, xattrs=(("security.capability", CAPABILITY),))},
    ),
    Case("sockets", "FROM box\nCOPY d /d\nCOPY d/s /s\n", {"d/f": "f", "d/s": socket()}),
    Case("pipes", "FROM box\nCOPY d /d\nCOPY d/p /p\n", {"d/f": "f", "d/p": pipe()}),
    *(
        Case(
            f"an archive that begins with {name}", "FROM box\nADD a.tar /x/\nADD a.tar /y\n", {"a.tar": nameless(first)}
        )
        for name, first in {"no name": "", "dot": ".", "dot and slash": "./", "slash": "/"}.items()
    ),
    Case(
        "an archive with a file without a name",
        "FROM box\nADD a.tar /x/\n",
        {"a.tar": nameless("").replace(b"5", b"0", 1)},
    ),
    Case(
        "directories that are made have the mode",
        "FROM box\nCOPY --chmod=750 top /new/dir/\nCOPY --chmod=0700 t /t\n",
        TREE,
    ),
    Case(
        "times of directories",
        "FROM box\n"
        "COPY t /a\nCOPY t/ /a/b/\nCOPY t /data\nCOPY --chown=1 t /c\nCOPY --chown=1:2 t/sub /data\n"
        "COPY t/sub t/empty /several/\nCOPY t/s* /wild/\nCOPY . /all\nADD t/sub /added\n"
        "WORKDIR /a/sub\nCOPY top .\nCOPY t/sub .\n",
        TREE,
    ),
    Case(
        "owners that nobody knows",
        "FROM box\nCOPY --chown=nobody top /a\nCOPY --chown=alice:none top /b\nCOPY --chown=7:none t /c\n",
        TREE,
    ),
    Case("a directory of a user that nobody knows", "FROM box\nUSER nobody\nWORKDIR /w\nCOPY top .\n", TREE),
    Case("attributes of files", "FROM box\nCOPY f /f\nCOPY f /g\n", {"f": Item(b"x", xattrs=(("user.a", b"b\0c"),))}),
    Case(
        "copies between users and directories",
        "FROM box\n"
        "USER alice\n"
        "WORKDIR /home/alice/w\n"
        "COPY top sub/new/\n"
        "COPY --chown=alice t/sub/ ./sub\n"
        "RUN stat -c '%a %u %g %n' * > /tmp/list\n",
        TREE,
    ),
)
