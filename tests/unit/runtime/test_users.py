"""Users by name and number, from files that may be anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from underlay.errors import StartFailed
from underlay.runtime.apply import users

PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\nnohome:x:7:8\n"
GROUP = "root:x:0:\nalice:x:1001:\nextra:x:2000:bob,alice\nother:x:3000:\n"


class Root:
    """A root directory with these two files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "etc").mkdir()
        self.write(PASSWD, GROUP)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)

    def write(self, passwd: str | bytes, group: str | bytes = "") -> None:
        for name, text in (("passwd", passwd), ("group", group)):
            (self.path / "etc" / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def resolve(self, user: str, extra: tuple[str, ...] = ()) -> tuple[int, int, list[int], str]:
        return users.resolve(self.fd, user, list(extra))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    os.close(made.fd)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, [0], "/root")),
        ("root", (0, 0, [0], "/root")),
        ("0", (0, 0, [0], "/root")),
        ("alice", (1000, 1001, [1001, 2000], "/home/alice")),
        ("1000", (1000, 1001, [1001, 2000], "/home/alice")),
        ("alice:other", (1000, 3000, [3000], "/home/alice")),
        ("alice:0", (1000, 0, [0], "/home/alice")),
        ("1000:4444", (1000, 4444, [4444], "/home/alice")),
        ("4242", (4242, 0, [0], "/")),
        ("4242:5", (4242, 5, [5], "/")),
        ("nohome", (7, 8, [8], "/")),
        ("alice:", (1000, 1001, [1001, 2000], "/home/alice")),
    ],
)
def test_users(root: Root, user: str, expected: tuple) -> None:
    assert root.resolve(user) == expected


def test_more_groups(root: Root) -> None:
    assert root.resolve("alice", ("other", "77", "extra"))[2] == [1001, 2000, 3000, 77]
    assert root.resolve("4242:5", ("other",))[2] == [5, 3000]
    with pytest.raises(StartFailed, match="unable to find group nope"):
        root.resolve("alice", ("nope",))


@pytest.mark.parametrize("user", ["bob", "alice:nope", "0x10", "\u0661"])
def test_unknown(root: Root, user: str) -> None:
    with pytest.raises(StartFailed, match="unable to find") as caught:
        root.resolve(user)
    assert caught.value.exit_code == 125


def test_a_number_is_never_a_name(root: Root) -> None:
    # Asked for 1000, an image must not answer with root; nor for a group.
    root.write("1000:x:0:0::/:\nreal:x:1000:1001::/r:\n", "1001:x:0:\n5:x:0:\n")
    assert root.resolve("1000") == (1000, 1001, [1001], "/r")
    assert root.resolve("1000:1001")[:2] == (1000, 1001)
    assert root.resolve("real:5")[1] == 5
    assert root.resolve("real", ("5",))[2] == [1001, 5]
    root.write("1000:x:0:0::/:\n")
    assert root.resolve("1000")[:2] == (1000, 0)


def test_the_default_user_is_number_0(root: Root) -> None:
    root.write("root:x:1000:1000::/trap:\ntoor:x:0:0::/toor:\n")
    assert root.resolve("") == (0, 0, [0], "/toor")


def test_hostile_lines_are_skipped(root: Root) -> None:
    root.write(
        b"\xff\xfe:x:5:5::/:\n::::\nalice:x:"
        + b"9" * 10000
        + b":1::/a:\nalice:x:-5:1::/b:\nalice:x:4294967295:1::/c:\n"
        b"alice:x:1000:x::/d:\nalice\nalice:x: 7:1::/e:\nalice:x:1000:1001::/good:\n",
        b"g:x:" + b"9" * 10000 + b":alice\ng:x:9:alice\n" + b"\0" * 100 + b"\n",
    )
    assert root.resolve("alice") == (1000, 1001, [1001, 9], "/good")


def test_long_files_are_cut(root: Root) -> None:
    root.write(
        PASSWD + "x" * (2 << 20) + "\nlate:x:5:5::/:\n", "".join(f"g{n}:x:{n}:alice\n" for n in range(1_000_000))
    )
    uid, _, groups, _ = root.resolve("alice")
    assert uid == 1000 and len(groups) <= 65536
    with pytest.raises(StartFailed):
        root.resolve("late")


def test_the_last_line_of_a_cut_file_does_not_count(root: Root) -> None:
    # "bob:x:1000…" cut behind the first digit would be another user.
    line = b"bob:x:10001:10001::/:\n"
    filler = b"#" * ((1 << 20) - 10) + b"\n"
    root.write(filler + line)
    with pytest.raises(StartFailed):
        root.resolve("bob")


@pytest.mark.parametrize("kind", ["fifo", "link out", "zero", "loop", "sparse", "directory", "missing"])
def test_files_that_are_none(root: Root, tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    place = root.path / "etc/passwd"
    place.unlink()
    secret = tmp_path_factory.mktemp("host") / "passwd"
    secret.write_text("alice:x:666:666:token:/token:\n")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link out":
        place.symlink_to("../../../../../../../.." + str(secret))
    elif kind == "zero":
        place.symlink_to("/dev/zero")
    elif kind == "loop":
        place.symlink_to("passwd")
    elif kind == "sparse":
        with place.open("wb") as file:
            file.truncate(2 << 30)
    elif kind == "directory":
        place.mkdir()
    with pytest.raises(StartFailed, match="unable to find user alice") as caught:
        root.resolve("alice")
    assert "token" not in caught.value.message
    assert root.resolve("1000:7") == (1000, 7, [7], "/")
    assert users.home_of(root.fd, 1000) == "/"


def test_home_of(root: Root) -> None:
    assert users.home_of(root.fd, 1000) == "/home/alice"
    assert users.home_of(root.fd, 7) == "/" == users.home_of(root.fd, 12345)


@pytest.mark.parametrize("number", ["4294967295", "4294967296", "9" * 19, "9" * 5000, "-1", "+0"])
def test_numbers_that_are_no_ids_are_not_looked_up_as_names(root: Root, number: str) -> None:
    """An image may call a user with uid 0 so."""
    root.write(f"{number}:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n", f"{number}:x:0:\n")
    for user, extra in ((number, ()), (f"0:{number}", ()), (f"root:{number}", ()), ("0", (number,))):
        with pytest.raises(StartFailed, match=r"uids and gids must be in range 0-4294967294"):
            root.resolve(user, extra)
