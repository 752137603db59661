"""Names of images, read and shown as docker does."""

import pytest

from underlay.errors import InvalidInput
from underlay.oci import reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("example.com/a/b/c", "example.com/a/b/c:latest", "example.com/a/b/c:latest"),
        ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("x/a__b--c.d_e", "docker.io/x/a__b--c.d_e:latest", "x/a__b--c.d_e:latest"),
        ("alpine@" + DIGEST, "docker.io/library/alpine@" + DIGEST, "alpine@" + DIGEST),
        ("alpine:1@" + DIGEST, "docker.io/library/alpine:1@" + DIGEST, "alpine:1@" + DIGEST),
        ("x.y.example/app:T_1.2-3", "x.y.example/app:T_1.2-3", "x.y.example/app:T_1.2-3"),
        ("app:5000", "docker.io/library/app:5000", "app:5000"),
    ],
)
def test_names_are_normalised(text, whole, familiar):
    found = reference.parse(text)
    assert (str(found), found.familiar) == (whole, familiar)
    assert reference.parse(whole) == found
    assert reference.parse(found.familiar) == found


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "/", "@", "alpine:", "alpine@", "alpine@sha256:abc", "a//b", "/a", "a/", "-a", "a-", "a..b",
        "a___b",
        "a:b:c", "a b", "a:" + "x" * 129, "a:.b", "a:-b", "../a", "a/../b", "%2e%2e", "ä", ".git",
        "a\0", "a\n",
        "host:port/a", "-h.com/a", "h..com/a", "[::1/a", "[zz]/a", "a" * 256, "a@md5:" + "0" * 32,
        "alpine@" + DIGEST.upper(), "alpine@" + DIGEST + "0",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text):
    with pytest.raises(InvalidInput, match="invalid reference format"):
        reference.parse(text)


def test_uppercase_is_refused_in_dockers_words():
    with pytest.raises(InvalidInput) as caught:
        reference.parse("Alpine")
    assert caught.value.message == "invalid reference format: repository name (library/Alpine) must be lowercase"


def test_an_id_is_no_name():
    with pytest.raises(InvalidInput, match="cannot specify 64-byte hexadecimal strings"):
        reference.parse("ab" * 32)


def test_the_exact_form_adds_no_tag():
    assert reference.parse_exact("alpine").tag == ""
    assert reference.familiar("docker.io/library/alpine") == "alpine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sha256:" + "0" * 64, "ambiguous tag using digest algorithm as name"),
        ("sha512", "ambiguous tag using digest algorithm as name"),
        ("docker.io/library/sha256:1", "ambiguous tag using digest algorithm as name"),
        ("app:1@sha256:" + "0" * 64, "a tag with a digest reference"),
        ("app@sha256:" + "0" * 64, "a tag with a digest reference"),
    ],
)
def test_names_that_no_image_gets(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        reference.check_new(reference.parse(text))


def test_names_that_read_as_ids() -> None:
    for text in ("0123456789ab", "abcdefabcdef:latest", "a" * 63, "docker.io/library/0123456789ab"):
        assert reference.reads_as_id(reference.parse(text)), text
    for text in ("beef", "0123456789ab:1", "x/0123456789ab", "example.com/0123456789ab", "0123456789ag"):
        assert not reference.reads_as_id(reference.parse(text)), text
        reference.check_new(reference.parse(text))
