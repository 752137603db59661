"""The configuration of an image on another base: what is inherited, what is its own, and what would mean something else."""

from __future__ import annotations

from typing import Any

from underlay.base import rebase
from underlay.base.rebase import move
from underlay.oci.config import Step
from underlay.packages.model import Package


def config(**execution: Any) -> dict[str, Any]:
    return {"os": "linux", "architecture": "amd64", "config": execution, "rootfs": {"diff_ids": []}, "history": []}


OLD = config(Env=["PATH=/bin", "V=1"], Cmd=["sh"], Labels={"by": "them", "v": "1"}, ExposedPorts={"80/tcp": {}})
NEW = config(Env=["PATH=/bin", "V=2", "W=3"], Cmd=["sh"], Labels={"by": "them", "v": "2"}, User="")


def moved(image: dict[str, Any], old: dict[str, Any] = OLD, new: dict[str, Any] = NEW) -> rebase.Configured:
    return rebase.configuration(image, old, new, 0)


def test_what_is_inherited_follows_the_base() -> None:
    image = config(Env=["PATH=/bin", "V=1", "MINE=x"], Cmd=["app"], Labels={"by": "me", "v": "1"}, WorkingDir="/app")
    found = moved(image)
    assert not found.hazards
    assert found.value["config"] == {
        "Env": ["PATH=/bin", "V=2", "W=3", "MINE=x"],
        "Cmd": ["app"],
        "Labels": {"by": "me", "v": "2"},
        "WorkingDir": "/app",
        "User": "",
    } | {key: value for key, value in found.value["config"].items() if key == "ExposedPorts"}
    assert found.changes == ("V changes from 1 to 2",)


def test_what_the_image_has_set_stays() -> None:
    found = moved(config(Env=["PATH=/mine", "V=9"], Cmd=["sh"]))
    assert "PATH=/mine" in found.value["config"]["Env"] and "V=9" in found.value["config"]["Env"]
    assert not found.hazards and found.changes == ()


def test_inherited_meaning_that_changes_is_a_hazard() -> None:
    for key, before, after in (
        ("Entrypoint", ["a"], ["b"]),
        ("Cmd", ["a"], None),
        ("User", "me", ""),
        ("WorkingDir", "/a", "/b"),
        ("StopSignal", "SIGTERM", "SIGINT"),
    ):
        found = moved(config(**{key: before}), config(**{key: before}), config(**{key: after}))
        assert [each.id for each in found.hazards] == ["configuration"], key
        assert key in found.hazards[0].text
        # Not when the image says it itself.
        assert not moved(config(**{key: ["own"]}), config(**{key: before}), config(**{key: after})).hazards


def test_a_path_that_changes_is_a_hazard_and_a_variable_that_goes_is_told() -> None:
    found = moved(config(Env=["PATH=/bin", "V=1"]), config(Env=["PATH=/bin", "V=1"]), config(Env=["PATH=/usr/bin"]))
    assert [each.id for each in found.hazards] == ["configuration"] and found.changes == ("V=1 is no longer set",)


def test_values_that_were_made_of_the_old_bases_are_a_hazard() -> None:
    old = config(Env=["PATH=/bin", "HOME_OF=/java11", "SAME=/s"])
    new = config(Env=["PATH=/bin:/new", "HOME_OF=/java17", "SAME=/s"])
    own = ["PATH=/app:/bin", "CLASSES=/java11/lib", "HOME_OF=/java11", "SAME=/s", "OTHER=/java110 /s/x"]
    found = moved(config(Env=own), old, new)
    assert [(each.id, each.text.partition("=")[0]) for each in found.hazards] == [
        ("configuration", "PATH"),
        ("configuration", "CLASSES"),
    ]


def test_ports_and_volumes_of_ones_own_stay_and_others_are_told() -> None:
    old = config(ExposedPorts={"80/tcp": {}, "81/tcp": {}}, Volumes={"/d": {}, "/e": {}})
    image = config(ExposedPorts={"80/tcp": {}, "81/tcp": {}, "9/udp": {}}, Volumes={"/d": {}, "/e": {}})
    image["history"] = [{"created_by": "/bin/sh -c #(nop)  EXPOSE 80"}, {"created_by": "VOLUME [/d]"}]
    found = moved(image, old, config())
    assert found.value["config"]["ExposedPorts"] == {"80/tcp": {}, "9/udp": {}}
    assert found.value["config"]["Volumes"] == {"/d": {}} and not found.hazards
    assert found.changes == (
        "EXPOSE 81/tcp came from the base, and is gone",
        "VOLUME /e came from the base, and is gone",
    )


def test_layers_and_history_are_exchanged() -> None:
    step = [{"created_by": name} for name in "abcd"]
    image = {**config(), "rootfs": {"diff_ids": ["1", "2", "3"]}, "history": step}
    old = {**config(), "rootfs": {"diff_ids": ["1", "2"]}, "history": step[:3]}
    new = {**config(), "rootfs": {"diff_ids": ["9"]}, "history": [{"created_by": "z"}]}
    found = rebase.configuration(image, old, new, 3)
    assert found.value["rootfs"]["diff_ids"] == ["9", "3"]
    assert [each["created_by"] for each in found.value["history"]] == ["z", "d"]


def test_other_platforms_are_a_hazard() -> None:
    found = moved(config(), config(), {**config(), "architecture": "arm64"})
    assert [each.id for each in found.hazards] == ["platform"]


def test_a_variant_that_goes_without_saying_is_none() -> None:
    image, new = ({**config(), "architecture": "arm64", "variant": variant} for variant in ("v8", ""))
    assert not moved(image, image, new).hazards


def test_history_fits_the_layers_where_the_base_has_another() -> None:
    steps = [Step(created_by="a"), Step(created_by="b", empty_layer=True), Step(created_by="c"), Step(created_by="d")]
    assert [move.steps_of(steps, count) for count in range(5)] == [0, 1, 3, 4, 0]


def test_packages_that_are_gone() -> None:
    old = [Package("deb", "libssl1.1", "1"), Package("deb", "libc6", "2.31")]
    gone, other = rebase.packages(old, [Package("deb", "libc6", "2.36"), Package("deb", "libssl3", "3")])
    assert "libssl1.1" in gone and "libc6 2.31 → 2.36" in other
    assert rebase.packages(old, old) == []
