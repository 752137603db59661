"""Patterns as Go and moby have them, the ignore file's lines, and ignore files that are traps."""

import os

import pytest

from underlay.builder.context import ignore, patterns
from underlay.builder.context.patterns import Matcher
from underlay.errors import InvalidInput

NAMES = [
    # pattern, name, whether filepath.Match says yes; None for a bad pattern
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "ab/c", False),
    ("a*/b", "abc/b", True),
    ("a*/b", "a/c/b", False),
    ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
    ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("[a-ζ]*", "\u03b1", True),
    ("*[a-ζ]", "A", False),
    ("a?b", "a/b", False),
    ("a*b", "a/b", False),
    ("[\\]a]", "]", True),
    ("[\\-]", "-", True),
    ("[x\\-]", "z", False),
    ("[]a]", "]", None),
    ("[-]", "-", None),
    ("[x-]", "x", None),
    ("[-x]", "x", None),
    ("\\", "a", None),
    ("[a-b-c]", "a", None),
    ("[", "a", None),
    ("[^", "a", None),
    ("[^bc", "a", None),
    ("a[", "a", None),
    ("a[", "ab", None),
    ("*x", "xxx", True),
    ("", "", True),
    ("[b-a]", "b", False),
    ("a.b", "axb", False),
    ("a\nb", "a\nb", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), NAMES)
def test_names(pattern, name, expected):
    if expected is None:
        with pytest.raises(InvalidInput, match="syntax error in pattern"):
            patterns.compile_name(pattern)
    else:
        assert bool(patterns.compile_name(pattern).fullmatch(name)) is expected


PATHS = [
    # lines, path, whether it is ignored (as moby's patternmatcher: MatchesOrParentMatches)
    ("**", "file", True),
    ("**", "dir/file", True),
    ("**/", "file", True),
    ("**/**", "dir/file", True),
    ("dir/**", "dir/file", True),
    ("dir/**", "dir", False),
    ("**/dir", "dir/file", True),
    ("**/dir", "x/dir/file", True),
    ("**/dir2/*", "dir/dir2/file", True),
    ("**/dir2/*", "dir/dir2", False),
    ("**/dir2/**", "dir/dir2/dir2/file", True),
    ("**file", "file", True),
    ("**file", "dir/file", True),
    ("**/file", "dir/file", True),
    ("**file", "dirfile", True),
    ("**/file", "dirfile", False),
    ("**/file*", "dir/file.txt", True),
    ("**/file*txt", "dir/dir/file.txt", True),
    ("**/file*.txt*", "dir/dir/file.txt", True),
    ("**/**/*.txt", "dir/dir/file.txt", True),
    ("**/*.txt2", "dir/dir/file.txt", False),
    ("a**b", "a/x/b", True),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ab", False),
    ("a[b-d]e", "ae", False),
    ("a[b-d]e", "ace", True),
    ("abc.def", "abcXdef", False),
    ("abc.def", "abc.def", True),
    ("a(b)c/def", "a(b)c/def", True),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", True),
    (
        "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
        "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl",
        True,
    ),
    ("dir", "dir/a/b", True),
    ("dir", "directory", False),
    ("di?", "dir/a", True),
    ("*", "a/b", True),
    ("*.md,!README.md", "README.md", False),
    ("*.md,!README.md", "X.md", True),
    ("!README.md,*.md", "README.md", True),
    ("docs,!docs/a.md", "docs/a.md", False),
    ("docs,!docs/a.md", "docs/b.md", True),
    ("docs,!docs/keep,docs/keep/x", "docs/keep/x/y", True),
    ("docs,!docs/keep,docs/keep/x", "docs/keep/z", False),
    ("**,!a/b", "a/b", False),
    ("**,!a/b", "a/b/c", False),
    ("**,!a/b", "a/c", True),
    ("/secret", "secret", False),
    ("Secret", "secret", False),
    ("\\*", "*", True),
    ("\\*", "x", False),
    ("a/../b", "b", True),
    ("./b/", "b", True),
]


@pytest.mark.parametrize(("lines", "path", "expected"), PATHS)
def test_paths(lines, path, expected):
    matcher = Matcher(lines.split(","))
    assert matcher.ignored(path) is expected
    # What was asked before must not matter.
    for other in ("a", "a/b/c", "docs/keep/x/q", "x/y/z", ""):
        matcher.ignored(other)
    assert matcher.ignored(path) is expected


BELOW = [
    ("docs,!docs/a.md", "docs", True),
    ("docs,!docs/a/b.md", "docs/a", True),
    ("docs,!docs/a/b.md", "docs/b", False),
    ("docs", "docs", False),
    ("**,!**/keep", "x/y", True),
    ("**,!*/keep", "x", True),
    ("**,!*/keep", "x/y", False),
    ("**,!x/[ab]/c", "x/b", True),
    ("**,!x/[ab]/c", "x/c", False),
    ("docs,!docs", "docs", False),
    ("**,!a**", "a/b", True),
    ("**,!a/\\*/c", "a/*", True),
]


@pytest.mark.parametrize(("lines", "directory", "expected"), BELOW)
def test_whether_a_directory_may_hold_exceptions(lines, directory, expected):
    assert Matcher(lines.split(",")).may_hold_exceptions(directory) is expected


@pytest.mark.parametrize("line", ["!", "[", "a\\", "x[", "!["])
def test_bad_lines(line):
    with pytest.raises(InvalidInput):
        Matcher([line])


@pytest.mark.timeout(60)
def test_patterns_that_would_take_for_ever_do_not():
    for pattern in ("*a" * 40 + "b", "**/*a" * 30 + "b", "*" * 4000 + "b", "a**" * 300, "[a-z]*" * 200 + "!"):
        matcher = Matcher([pattern])
        matcher.ignored("a" * 255)
        matcher.ignored("/".join(["a" * 50] * 80))
    with pytest.raises(InvalidInput, match="5000 characters"):
        Matcher(["a" * 5000])
    with pytest.raises(InvalidInput, match="at most"):
        Matcher(["a"] * 10_001)


def test_deep_paths():
    assert Matcher(["a/b"]).ignored("a/b" + "/c" * 2000)


LINES = [
    (b"a\nb\r\n\n  c  \n", ["a", "b", "c"]),
    (b"\xef\xbb\xbf#x\na", ["a"]),
    (b"# no\n #yes\n", ["#yes"]),
    (b"/a/b/\n/\n.\n", ["a/b", "/", "."]),
    (b"! /x/ \n!y", ["!x", "!y"]),
    (b"a/./b/../c\n../d", ["a/c", "../d"]),
    (b"\xff\n", [os.fsdecode(b"\xff")]),
    (b"", []),
    (b"!\n", ["!"]),
]


@pytest.mark.parametrize(("data", "expected"), LINES)
def test_lines(data, expected):
    assert ignore.parse(data) == expected


@pytest.fixture
def context(tmp_path):
    (tmp_path / "c").mkdir()
    fd = os.open(tmp_path / "c", os.O_PATH)
    yield fd, tmp_path / "c"
    os.close(fd)


def test_which_file_counts(context):
    fd, place = context
    assert ignore.read(fd, "Dockerfile") is None
    (place / ".dockerignore").write_text("a\n")
    (place / "sub").mkdir()
    (place / "sub" / "My.dockerignore").write_text("b\n")
    assert ignore.read(fd, "Dockerfile").ignored("a")
    for name in ("sub/My", "./sub//My"):
        found = ignore.read(fd, name)
        assert found.ignored("b") and not found.ignored("a")
    beside = os.open(place / "sub", os.O_PATH)
    assert ignore.read(fd, "My", beside=beside).ignored("b")
    os.close(beside)
    (place / "Dockerfile.dockerignore").write_text("# nothing\n")
    assert ignore.read(fd, "Dockerfile") is None


def test_a_link_within_the_context_is_followed(context):
    fd, place = context
    (place / "real").write_text("a\n")
    os.symlink("real", place / ".dockerignore")
    assert ignore.read(fd, "Dockerfile").ignored("a")


TRAPS = {
    "a link out": lambda place, secret: os.symlink(secret, place),
    "a relative link out": lambda place, secret: os.symlink("../secret", place),
    "a link to a device": lambda place, secret: os.symlink("/dev/zero", place),
    "a link to nothing": lambda place, secret: os.symlink("nowhere", place),
    "a loop": lambda place, secret: os.symlink(".dockerignore", place),
    "a pipe": lambda place, secret: os.mkfifo(place),
    "a directory": lambda place, secret: os.mkdir(place),
    "huge": lambda place, secret: os.truncate(os.open(place, os.O_CREAT | os.O_WRONLY), 1 << 30),
}


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.timeout(60)
def test_traps_are_refused_at_once_and_nothing_is_told(context, name):
    fd, place = context
    secret = place.parent / "secret"
    secret.write_text("[the-token\n")  # a bad pattern, which an error would repeat
    TRAPS[name](place / ".dockerignore", secret)
    with pytest.raises(InvalidInput) as raised:
        ignore.read(fd, "Dockerfile")
    assert "token" not in raised.value.message + raised.value.hint
