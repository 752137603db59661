"""The grammar of -v, --mount and --tmpfs."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.engine.containers.specification import mount_flags
from underlay.errors import InvalidInput, UnderlayError, Unsupported


def facts(mount: mount_flags.Mount) -> tuple:
    return mount.kind, mount.source, mount.target, mount.options, mount.copy_up, mount.make_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", ("volume", "", "/data", [], True, False)),
        ("name:/data", ("volume", "name", "/data", [], True, False)),
        ("name:/data:ro,nocopy", ("volume", "name", "/data", ["ro"], False, False)),
        ("/host:/data", ("bind", "/host", "/data", [], False, True)),
        ("/host/../x:/data/./y", ("bind", "/x", "/data/y", [], False, True)),
        ("/host:/data:ro,rslave", ("bind", "/host", "/data", ["ro", "rslave"], False, True)),
        ("/host:/data:z,ro", ("bind", "/host", "/data", ["ro"], False, True)),
        ("./x:/data", ("bind", os.path.abspath("x"), "/data", [], False, True)),
        ("/host:/data:cached", ("bind", "/host", "/data", [], False, True)),
    ],
)
def test_volumes(text: str, expected: tuple) -> None:
    assert facts(mount_flags.parse_volume(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid volume specification"),
        (":/x", "invalid volume specification"),
        ("/a:/b:/c:/d", "invalid volume specification"),
        ("/a::ro", "invalid volume specification"),
        ("/a:relative", "must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/../..", "destination can't be '/'"),
        ("/a:/b:fast", "invalid mode: fast"),
        ("/a:/b:nocopy", "invalid mode: nocopy"),
        ("name:/b:rslave", "invalid mode: rslave"),
        ("x:/b", "includes invalid characters"),
        ("a/b:/c", "includes invalid characters"),
        ("-ab:/c", "includes invalid characters"),
        ("..x:/c", "includes invalid characters"),
        ("naïve:/c", "includes invalid characters"),
        ("n" * 256 + ":/c", "includes invalid characters"),
        ("/a:/" + "b" * 5000, "too long"),
        ("/a:/b\0c", "NUL"),
    ],
)
def test_volumes_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        mount_flags.parse_volume(text)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,source=/h,target=/d", ("bind", "/h", "/d", [], False, False)),
        ("type=bind,src=/h,dst=/d,readonly", ("bind", "/h", "/d", ["ro"], False, False)),
        ("type=bind,src=/h,destination=/d,ro=false", ("bind", "/h", "/d", [], False, False)),
        ('type=bind,"src=/a,b",target=/d', ("bind", "/a,b", "/d", [], False, False)),
        ("type=bind,src=/h,target=/d,bind-propagation=rshared", ("bind", "/h", "/d", ["rshared"], False, False)),
        ("type=bind,src=./h,target=/d", ("bind", os.path.abspath("h"), "/d", [], False, False)),
        ("type=bind,src=.,target=/d", ("bind", os.getcwd(), "/d", [], False, False)),
        ("type=bind,src=/h,target=/d,bind-recursive=disabled", ("bind", "/h", "/d", ["bind"], False, False)),
        ("target=/d", ("volume", "", "/d", [], True, False)),
        ("type=volume,source=vol,target=/d,volume-nocopy", ("volume", "vol", "/d", [], False, False)),
        (
            "type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=1770",
            ("tmpfs", "", "/d", ["noexec", "nosuid", "nodev", "size=1048576", "mode=1770"], False, False),
        ),
    ],
)
def test_mounts(text: str, expected: tuple) -> None:
    assert facts(mount_flags.parse_mount(text)) == expected


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("type=bind,source=/h", "target is required", InvalidInput),
        ("type=bind,target=/d", "source is required", InvalidInput),
        ("type=moon,target=/d", "mount type unknown", InvalidInput),
        ("type=bind,source=/h,target=/d,target=/e", "given twice", InvalidInput),
        ("type=bind,source=/h,src=/i,target=/d", "given twice", InvalidInput),
        ("type=tmpfs,source=/h,target=/d", "has no source", InvalidInput),
        ("type=tmpfs,target=/d,tmpfs-size=big", "tmpfs-size", InvalidInput),
        ("type=tmpfs,target=/d,tmpfs-mode=rw", "tmpfs-mode", InvalidInput),
        ("type=bind,source=/h,target=/d,tmpfs-mode=1777", "tmpfs-mode", InvalidInput),
        ("type=bind,source=/h,target=/d,readonly=perhaps", "readonly", InvalidInput),
        ("type=volume,source=../x,target=/d", "includes invalid characters", InvalidInput),
        ("type=volume,target=/d,volume-opt=x", "volume-opt", InvalidInput),
        ("type=volume,source=vol,target=/d,volume-subpath=/x", "must be a relative path", InvalidInput),
        ("type=volume,source=vol,target=/d,volume-subpath=a/../../x", "must be a relative path", InvalidInput),
        ("type=image,target=/d", "source is required", InvalidInput),
        ("type=image,source=x,target=/d,volume-subpath=y", "volume-subpath", InvalidInput),
        ("type=npipe,source=x,target=/d", "not supported", Unsupported),
        ("source=vol,target=/d,colour=red", "colour", InvalidInput),
    ],
)
def test_mounts_refused(text: str, words: str, kind: type) -> None:
    with pytest.raises(kind) as caught:
        mount_flags.parse_mount(text)
    assert words in caught.value.message


def test_tmpfs() -> None:
    assert mount_flags.parse_tmpfs("/t").options == ["noexec", "nosuid", "nodev"]
    assert mount_flags.parse_tmpfs("/t:exec,suid,size=1m").options == ["nodev", "size=1m"]
    for text in ("/t:bind", "/t:rbind", "/t:rshared"):
        with pytest.raises(InvalidInput, match="invalid tmpfs option"):
            mount_flags.parse_tmpfs(text)


def test_oci_words() -> None:
    mount = mount_flags.parse_volume("/h:/d:ro")
    assert mount.oci() == {
        "destination": "/d",
        "type": "bind",
        "source": "/h",
        "options": ["rbind", "ro", "rprivate", "rro"],
    }
    mount = mount_flags.parse_mount("type=bind,source=/h,target=/d,bind-recursive=disabled,bind-propagation=slave")
    assert mount.oci()["options"] == ["bind", "slave"]
    assert mount_flags.parse_tmpfs("/t").oci()["type"] == "tmpfs"


@given(st.text(alphabet='ab/:.,=\0"-_ ~\udcff', max_size=40))
def test_anything_is_a_mount_or_an_error(text: str) -> None:
    for parse in (mount_flags.parse_volume, mount_flags.parse_mount, mount_flags.parse_tmpfs):
        try:
            mount = parse(text)
        except UnderlayError:
            continue
        assert mount.target.startswith("/") and mount.target != "/"
        assert not {"..", ".", ""} & set(mount.target[1:].split("/"))
        if mount.kind == "volume":
            assert "/" not in mount.source and not mount.source.startswith(".")


@pytest.mark.parametrize("source", ["relative", "a/b", "../x", "~/x", ".x"])
def test_a_bind_mount_of_a_relative_path(source: str) -> None:
    words = f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute"
    with pytest.raises(InvalidInput) as caught:
        mount_flags.parse_mount(f"type=bind,src={source},target=/d")
    assert caught.value.message == words
