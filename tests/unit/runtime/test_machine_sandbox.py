"""What a machine is made of, as data: QEMU's command line, the sandbox that it runs in, and what the agent is told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from underlay.errors import LimitExceeded, StartFailed, Unsupported
from underlay.runtime.machine import inside, outside, qemu
from underlay.runtime.machine.kernelmodules import WITHOUT

IDENTITY = "abcde" + "0" * 59
MACHINE: Any = {
    "architecture": "amd64",
    "userland": "",
    "program": "/usr/bin/qemu-system-x86_64",
    "kernel": "/machine/kernel",
    "initrd": "/machine/initrd",
    "memory": 512 << 20,
    "processors": 2,
    "accelerator": "tcg",
    "balloon": True,
    "modules": ["virtio_blk"],
    "parameters": ["vsyscall=xonly"],
}
SPEC: Any = {
    "ociVersion": "1.2.0",
    "root": {"path": "rootfs"},
    "hostname": "inside",
    "process": {
        "args": ["sh"],
        "cwd": "/",
        "env": ["SECRET=x"],
        "user": {"uid": 0, "gid": 0, "additionalGids": [5]},
        "capabilities": {"bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]},
        "apparmorProfile": "docker-default",
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/etc/hosts", "type": "bind", "source": "HOSTS", "options": ["rbind"]},
        {"destination": "/data", "type": "bind", "source": "/host/data", "options": ["rbind", "ro"]},
        {"destination": "/more", "type": "bind", "source": "/host/more", "options": ["rbind"]},
    ],
    "linux": {
        "namespaces": [
            *({"type": kind} for kind in ("mount", "pid", "ipc", "uts")),
            {"type": "network", "path": "/state/net"},
        ],
        "resources": {
            "memory": {"limit": 64 << 20, "swap": 64 << 20},
            "cpu": {"quota": 150_000, "period": 100_000},
            "blockIO": {"weight": 100},
            "pids": {"limit": 40},
        },
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
    },
}


def changed(**linux: Any) -> Any:
    made = copy.deepcopy(SPEC)
    made["linux"] |= linux
    return made


# QEMU


def command(layers: int = 1, networks: int = 0, **more: Any) -> list[str]:
    disks: list[Any] = [{"name": "index", "fd": 20, "writable": False}, {"name": "disk", "fd": 21, "writable": True}]
    disks += [{"name": f"l{number}", "fd": 30 + number, "writable": False} for number in range(layers)]
    taps = [(100 + number, f"02:00:00:00:00:{number:02x}") for number in range(networks)]
    record: Any = {"machine": {**MACHINE, **more}, "disks": disks, "taps": taps, "shares": -1, "volatile": False}
    return qemu.command(record, 7)


def values(words: list[str], option: str) -> list[str]:
    return [words[number + 1] for number, word in enumerate(words) if word == option]


def test_qemu_is_told_all_and_takes_nothing_else() -> None:
    words = command()
    assert words[0] == MACHINE["program"] and {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
    assert values(words, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert values(words, "-m") == ["512M"] and values(words, "-smp") == ["2"] and values(words, "-display") == ["none"]
    assert values(words, "-kernel") == ["/machine/kernel"] and values(words, "-initrd") == ["/machine/initrd"]
    # No path of an image or of the store: descriptors that were opened for it.
    assert {word for word in words if word.startswith("/")} <= {
        *words[:1],
        "/machine/kernel",
        "/machine/initrd",
        qemu._FIRMWARE,
    }
    # Nor a monitor, a network of its own, or a graphics card.
    assert not {"-monitor", "-qmp", "-vnc", "-nic", "-vga", "-hda", "-drive", "-fsdev", "-usb"} & set(words)


def test_what_a_machine_may_only_read_is_read_only() -> None:
    blocks = values(command(3), "-blockdev")
    assert len(blocks) == 5
    for number, words in enumerate(block.split(",") for block in blocks):
        assert f"filename=/dev/fdset/{number}" in words
        assert ("read-only=on" in words) == (number != 1) and ("discard=unmap" in words) == (number == 1)


@pytest.mark.parametrize("layers", [1, 6, 7, 100, qemu.DISKS - 2])
def test_each_device_has_a_place_of_its_own(layers: int) -> None:
    devices = values(command(layers, qemu.NETWORKS), "-device")
    found: dict[str, list[tuple[int, bool]]] = {}
    for words in (device.split(",") for device in devices):
        place = next((word.removeprefix("addr=") for word in words if word.startswith("addr=")), "")
        if place:
            slot, _, function = place.partition(".")
            found.setdefault(slot, []).append((int(function or 0), "multifunction=on" in words))
    assert all(1 <= int(slot, 16) <= 0x1E for slot in found)  # the board has the last
    for functions in found.values():
        assert [number for number, _ in functions] == list(range(len(functions))) and len(functions) <= 8
        assert functions[0][1] or len(functions) == 1
        assert not any(several for _, several in functions[1:])
    names = [word for device in devices for word in device.split(",") if word.startswith("serial=")]
    assert len(set(names)) == layers + 2


def test_memory_that_goes_back() -> None:
    assert any("free-page-reporting=on" in device for device in values(command(), "-device"))
    without = values(command(balloon=False), "-device")
    assert not any("balloon" in device or "multifunction" in device for device in without if "blk" not in device)


def test_accelerators_and_the_kernels_command_line() -> None:
    emulated, real = command(), command(accelerator="kvm")
    assert values(emulated, "-cpu") == ["max"] and values(emulated, "-accel")[0].startswith("tcg,")
    assert values(real, "-cpu") == ["host"] and values(real, "-accel") == ["kvm"]
    [line] = values(emulated, "-append")
    assert line.split()[0] == "console=ttyS0" and {"panic=-1", "vsyscall=xonly", "mitigations=off"} <= set(line.split())
    # A processor that is not emulated has the flaws that mitigations are for.
    assert "mitigations=off" not in values(real, "-append")[0]
    assert WITHOUT in line and WITHOUT not in values(command(networks=1), "-append")[0]


def test_a_board_for_each_architecture() -> None:
    words = command(architecture="arm64", networks=1)
    assert values(words, "-M")[0].startswith("virt,") and values(words, "-cpu")[0].startswith("max")
    assert "-bios" not in words
    line = values(words, "-append")[0].split()
    assert line[0] == "console=ttyAMA0" and not {"tsc=reliable", "no_timer_check"} & set(line)
    # All else is as it is for the host's own processor.
    ours = command(networks=1)
    for option in ("-device", "-blockdev", "-sandbox", "-serial", "-netdev", "-accel", "-m", "-smp"):
        assert values(words, option) == values(ours, option), option


def test_there_is_no_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(qemu, "_PLACES", (str(tmp_path),))
    with pytest.raises(Unsupported, match="there is no qemu-system-x86_64") as raised:
        qemu.program("amd64")
    assert "qemu-system-x86" in raised.value.hint
    (tmp_path / "qemu-system-x86_64").touch(0o755)
    assert qemu.program("amd64") == f"{tmp_path}/qemu-system-x86_64"
    with pytest.raises(Unsupported, match="there is no qemu-system-aarch64") as raised:
        qemu.program("arm64")
    assert "qemu-system-arm" in raised.value.hint
    with pytest.raises(Unsupported, match="no machines for s390x, only for amd64 and arm64"):
        qemu.program("s390x")
    monkeypatch.setattr(qemu, "architecture", lambda: "arm64")
    with pytest.raises(Unsupported, match="no machines on arm64 yet, only on amd64"):
        qemu.program("arm64")


# The sandbox


def sandbox(spec: Any = SPEC, machine: Any = MACHINE) -> Any:
    return outside.specification(spec, IDENTITY, machine, ("/store/kernel", "/store/initrd"), ["python"], ["/usr"])


def test_the_sandbox_gives_nothing() -> None:
    made = sandbox()
    process = made["process"]
    kinds_of_sets = ("bounding", "permitted", "effective", "inheritable", "ambient")
    assert process["capabilities"] == {kind: [] for kind in kinds_of_sets}
    assert (
        process["noNewPrivileges"] is True and process["env"] == outside.ENVIRONMENT and process["args"] == ["python"]
    )
    number = outside.user(IDENTITY)
    assert process["user"] == {"uid": number, "gid": number, "additionalGids": []}
    assert 2_000_000_000 <= number < 2**31 and number != outside.user("abcdf" + "0" * 59)
    assert made["root"]["readonly"] is True and made["linux"]["maskedPaths"] == ["/proc/kcore"]
    kinds = {item["type"]: item.get("path") for item in made["linux"]["namespaces"]}
    own = dict.fromkeys(("mount", "pid", "ipc", "uts", "cgroup"))
    assert kinds == {**own, "network": "/state/net"}
    assert process["apparmorProfile"] == "docker-default"
    assert SPEC["process"]["env"] == ["SECRET=x"]  # what it was given is as it was


def test_the_sandbox_shows_programs_only() -> None:
    mounts = {mount["destination"]: mount for mount in sandbox()["mounts"]}
    assert set(mounts) == {"/proc", "/dev", "/usr", "/machine/kernel", "/machine/initrd"}
    assert mounts["/machine/kernel"]["source"] == "/store/kernel"
    for mount in mounts.values():
        if mount["type"] == "bind":
            assert {"ro", "nosuid", "nodev"} <= set(mount["options"])
    terminal = changed()
    terminal["process"] |= {"terminal": True, "consoleSize": {"height": 1, "width": 2}, "oomScoreAdj": 7}
    made = sandbox(terminal)
    assert "/dev/pts" in {mount["destination"] for mount in made["mounts"]}
    assert made["process"]["consoleSize"] == {"height": 1, "width": 2} and made["process"]["oomScoreAdj"] == 7


def test_places_of_programs(tmp_path: Path) -> None:
    python = tmp_path / "python/bin/python3"
    python.parent.mkdir(parents=True)
    python.touch()
    found = outside.places(str(python), ["/usr/lib/x", "/elsewhere/src"], "/usr/bin/qemu")
    assert found[-2:] == [str(tmp_path / "python"), "/elsewhere/src"] and "/usr" in found and "/usr/lib/x" not in found


def test_limits_of_the_sandbox() -> None:
    given = SPEC["linux"]["resources"]
    made: Any = outside.resources(given, 256 << 20, False)
    # Programs are counted in the machine; on the host there are always the same few.
    assert set(made) == {"devices", "cpu", "blockIO", "memory"} and made["cpu"] == given["cpu"]
    assert made["memory"] == dict.fromkeys(("limit", "swap"), (256 << 20) + outside.OVERHEAD)
    assert not any(rule.get("minor") == 232 for rule in made["devices"])
    assert any(rule.get("minor") == 232 for rule in outside.resources({}, 1, True)["devices"])
    assert set(outside.resources({}, 256 << 20, False)) == {"devices"}
    for name in ("hugepageLimits", "network", "rdma", "unified"):
        other: Any = {name: {"x": "1"}}
        with pytest.raises(Unsupported, match=f"a limit of {name} is not possible"):
            outside.resources(other, 1, False)
    assert set(inside.resources(given)) == {"memory", "pids"} and "cpu" in given


def test_limits_that_change_while_it_runs() -> None:
    given: Any = {"cpu": {"quota": 50_000, "period": 100_000}, "pids": {"limit": 9}, "memory": {"reservation": 1}}
    assert outside.changes(given, 256 << 20) == {"cpu": given["cpu"]}
    assert inside.resources(given) == {"pids": {"limit": 9}, "memory": {"reservation": 1}}
    # QEMU's limit follows from the machine's memory, which stays.
    whole = (256 << 20) + outside.OVERHEAD
    assert outside.changes({"memory": {"limit": 7}}, 256 << 20) == {"memory": {"limit": whole, "swap": whole}}
    assert outside.room_of(outside.memory_of(200 << 20, 64 << 30)) == 200 << 20


def test_memory_and_processors_of_a_machine() -> None:
    mib = 1 << 20
    assert outside.memory_of(0, 1 << 30) == 512 * mib and outside.memory_of(0, 64 << 30) == 2048 * mib
    assert outside.memory_of(0, 64 * mib) == outside.memory_of(6 * mib, 64 << 30) == outside.LEAST
    assert outside.memory_of((200 << 20) + 1, 64 << 30) == 201 * mib + outside.RESERVE
    every: list[tuple[Any, int]] = [
        ({}, 8),
        ({"quota": 150_000}, 2),
        ({"quota": 1}, 1),
        ({"quota": -1, "period": 5}, 8),
        ({"quota": 10_000_000}, 8),
        ({"cpus": "0-2,5"}, 4),
        ({"cpus": "7", "quota": 400_000}, 1),
    ]
    for cpu, expected in every:
        assert outside.processors_of(cpu, 8) == expected, cpu
    assert outside.processors_of({}, 500) == 64 and outside.processors_of({}, 0) == 1


# What the agent is told


def test_what_a_machine_cannot_have() -> None:
    inside.check(SPEC, {})
    kinds = SPEC["linux"]["namespaces"]
    cases: list[tuple[Any, Any, str]] = [
        (changed(namespaces=[item for item in kinds if item["type"] != "network"]), {}, "--network"),
        (changed(namespaces=[*kinds[:4], {"type": "network", "path": "/proc/77/ns/net"}]), {}, "--network"),
        (changed(namespaces=[*kinds, {"type": "user"}]), {}, "--userns"),
        (changed(devices=[{"path": "/dev/kvm"}]), {}, "--device"),
        (SPEC, {"hooks": ["one"]}, "hooks"),
    ]
    for kind in ("pid", "ipc", "uts"):
        others = [item for item in kinds if item["type"] != kind]
        cases.append((changed(namespaces=others), {}, f"--{kind}"))
        cases.append((changed(namespaces=[*others, {"type": kind, "path": f"/proc/77/ns/{kind}"}]), {}, f"--{kind}"))
    for word in ("rshared", "slave", "idmap"):
        spec = changed()
        spec["mounts"][2]["options"].append(word)
        cases.append((spec, {}, f"/data: {word}"))
    for spec, extras, said in cases:
        with pytest.raises(Unsupported, match=f"--isolation machine: {said}"):
            inside.check(spec, extras)


def test_what_the_agent_is_told(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_bytes(b"127.0.0.1 caf\xe9\n")
    spec = changed()
    spec["mounts"][1]["source"] = str(hosts)
    made, files = inside.specification(spec, True)
    assert files == {"hosts": "127.0.0.1 caf\udce9\n"}
    sources = {mount["destination"]: mount["source"] for mount in made["mounts"]}
    assert sources == {
        "/proc": "proc",
        "/etc/hosts": "/run/files/hosts",
        "/data": "/run/shares/0",
        "/more": "/run/shares/1",
    }
    assert "network" not in {item["type"] for item in made["linux"]["namespaces"]}
    assert made["process"]["apparmorProfile"] == "" and made["process"]["env"] == ["SECRET=x"]
    assert set(made["linux"].get("resources") or {}) == {"memory", "pids"}
    alone, _ = inside.specification(spec, False)
    assert {"type": "network"} in alone["linux"]["namespaces"]
    assert spec["mounts"][1]["source"] == str(hosts) and spec["process"]["apparmorProfile"] == "docker-default"
    hosts.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(LimitExceeded, match="more than 1048576 bytes"):
        inside.specification(spec, True)
    hosts.unlink()
    with pytest.raises(StartFailed, match="no such file"):
        inside.specification(spec, True)
