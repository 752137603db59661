"""What containers share on request: System V IPC and /dev/shm, and names by links."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import Installation
from networks import World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures

pytestmark = pytest.mark.root


def test_shared_memory(ul: Installation) -> None:
    ul.start("--name", "donor", "--ipc", "shareable", "--shm-size", "1m", "box", "sleep", "99")
    ul("exec", "donor", "sh", "-c", "echo of the donor > /dev/shm/f")
    ul.start("--name", "guest", "--ipc", "container:donor", "box", "sleep", "99")
    namespaces = [Path(f"/proc/{ul.pid(name)}/ns/ipc").readlink() for name in ("donor", "guest")]
    assert namespaces[0] == namespaces[1]
    assert ul.out("exec", "guest", "cat", "/dev/shm/f") == "of the donor"
    ul("exec", "guest", "dd", "if=/dev/zero", "of=/dev/shm/big", "bs=1k", "count=1100", code=1)
    ul("exec", "guest", "rm", "/dev/shm/big")
    assert ul.run("--ipc", "container:guest", "box", "cat", "/dev/shm/f") == "of the donor"
    assert ul.out("inspect", "-f", "{{.HostConfig.IpcMode}}", "donor") == "shareable"
    # The memory lasts as long as somebody has it; who has ended cannot give it to more.
    ul("stop", "-t", "0", "donor")
    assert ul.out("exec", "guest", "cat", "/dev/shm/f") == "of the donor"
    refused = ul("run", "--network", "none", "--ipc", "container:donor", "box", "true", code=125)
    assert "non running container" in refused.stderr.decode()
    ul("rm", "donor")
    assert ul.out("exec", "guest", "cat", "/dev/shm/f") == "of the donor"


def test_private_memory_is_not_given_away(ul: Installation) -> None:
    ul.start("--name", "donor", "box", "sleep", "99")
    said = ul("run", "--network", "none", "--ipc", "container:donor", "box", "true", code=125).stderr.decode()
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in said
    assert "No such container" in ul("create", "--ipc", "container:no", "box", code=1).stderr.decode()


def test_who_shares_may_start_later(ul: Installation) -> None:
    """A container can be made that shares with one that does not run yet; it cannot be started before that one."""
    ul("create", "--name", "donor", "--network", "none", "--ipc", "shareable", "box", "sleep", "99")
    sharing = [word for option in ("--network", "--pid", "--ipc", "--uts") for word in (option, "container:donor")]
    ul("create", "--name", "guest", *sharing, "box", "sleep", "99")
    assert "non running container" in ul("start", "guest", code=1).stderr.decode()
    ul("start", "donor")
    ul("start", "guest")
    for kind in ("net", "pid", "ipc", "uts"):
        assert len({Path(f"/proc/{ul.pid(name)}/ns/{kind}").readlink() for name in ("donor", "guest")}) == 1


def test_a_user_namespace_shares_too(ul: Installation) -> None:
    words = ["--userns", "auto", "--ipc", "shareable"]
    assert (
        ul.run(*words, "box", "sh", "-c", "echo x > /dev/shm/f; stat -c %u:%a /dev/shm /dev/shm/f") == "0:1777\n0:644"
    )


def test_links(world: World) -> None:
    ul = world.underlay
    world.run("--name", "database", "--network", "front")
    world.run("--name", "web", "--network", "front", "--link", "database:db", "--link", "database")
    world.run("--name", "other", "--network", "front")
    world.run("--name", "away", "--network", "back", "--link", "database:db")
    address, short = world.address("database", "front"), ul.out("inspect", "-f", "{{.Id}}", "database")[:12]
    hosts = ul.out("exec", "web", "cat", "/etc/hosts").splitlines()
    assert f"{address}\tdb {short} database" in hosts and f"{address}\tdatabase {short}" in hosts
    # Nobody else knows the name, and in another network there is nothing to link to.
    for name in ("other", "database", "away"):
        assert "\tdb " not in ul.out("exec", name, "cat", "/etc/hosts")
    links = ul.out("inspect", "-f", "{{json .HostConfig.Links}}", "web")
    assert links == '["/database:/web/db","/database:/web/database"]'
    # The address stays the same over a restart of either.
    ul("restart", "-t", "0", "database", "web")
    assert f"{world.address('database', 'front')}\tdb " in ul.out("exec", "web", "cat", "/etc/hosts")
    ul("exec", "web", "sh", "-c", "echo 192.0.2.1 own >> /etc/hosts")
    assert ul.out("rm", "--link", "/web/db") == "/web/db"
    after = ul.out("exec", "web", "cat", "/etc/hosts")
    assert "\tdb " not in after and f"{address}\tdatabase {short}" in after and "192.0.2.1 own" in after
    ul("restart", "-t", "0", "web")
    assert "\tdb " not in ul.out("exec", "web", "cat", "/etc/hosts")
    for words, message in (
        (("rm", "--link", "web/db"), "No such link"),
        (("rm", "--link", "web"), "cannot remove the default link name"),
        (("rm", "--link", "no/db"), "Cannot get parent no"),
        (("create", "--link", "no", "box", "true"), "could not get container for no"),
        (("create", "--link", "a:b:c", "box", "true"), "bad format for links"),
        (
            ("create", "--network", "host", "--link", "web", "box", "true"),
            "host type networking can't be used with links",
        ),
        (
            ("create", "--network", "container:web", "--link", "web", "box", "true"),
            "container type network can't be used",
        ),
    ):
        assert message in ul(*words, code=1).stderr.decode()


def test_flags_of_other_systems(ul: Installation) -> None:
    assert ul.run("--isolation", "default", "--disable-content-trust", "box", "echo", "fine") == "fine"
    ul.run("--disable-content-trust=true", "box", "true")
    for words, message in (
        (("--isolation", "hyperv"), "invalid isolation mode"),
        (("--disable-content-trust=false",), "there is no Notary"),
    ):
        assert message in ul("run", "--network", "none", *words, "box", "true", code=125).stderr.decode()
