"""The Python interface on real containers: results, handles, streams, and what is left when something goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import REPOSITORY, Installation, until
from underlay import Attachment, Container, ContainerOptions, Engine, ExecOptions, Session
from underlay.errors import Conflict, InvalidInput, NotFound, StartFailed

pytestmark = pytest.mark.root


@pytest.fixture
def engine(ul: Installation) -> Iterator[Engine]:
    """The installation from Python; containers have no network unless they ask for one."""
    with Engine(str(ul.root), str(ul.state)) as engine:
        engine.network_setting = "none"
        yield engine
        for container in engine.containers.list(all=True):
            container.remove(force=True)


def sleeper(engine: Engine, **options: object) -> Container:
    return engine.containers.run("box", ["sleep", "600"], detach=True, stop_signal="KILL", **options)  # type: ignore[call-overload,no-any-return]


def test_a_result(engine: Engine) -> None:
    result = engine.containers.run("box", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.code, result.stdout, result.stderr, result.text, result.oom) == (
        3,
        b"out\n",
        b"err\n",
        "out\n",
        False,
    )
    container = engine.containers.get(result.id)
    assert (container.status, container.state.code, container.logs()) == ("exited", 3, b"out\nerr\n")
    assert container.logs(stderr=False) == b"out\n" and container.logs(tail=0) == b""


def test_more_output_than_a_pipe_holds(engine: Engine) -> None:
    """Nobody reads while the program runs, and nothing blocks."""
    result = engine.containers.run("box", "sh -c 'seq 1 200000; seq 1 200000 >&2'", remove=True)
    assert result.stdout == result.stderr == b"".join(b"%d\n" % n for n in range(1, 200_001))
    text = os.urandom(3 << 20)
    assert engine.containers.run("box", ["cat"], input=text, remove=True).stdout == text


def test_streams_of_the_caller(engine: Engine, tmp_path: Path) -> None:
    with open(tmp_path / "in", "wb+") as source, open(tmp_path / "out", "w") as target:
        source.write(b"from a file\n")
        source.flush()
        source.seek(0)
        target.write("before\n")
        result = engine.containers.run("box", "sh -c 'cat; echo err >&2'", stdin=source, stdout=target, remove=True)
        assert (result.stdout, result.stderr) == (b"", b"err\n")
    assert (tmp_path / "out").read_text() == "before\nfrom a file\n"
    with pytest.raises(InvalidInput, match="detach=True"):
        engine.containers.run("box", detach=True, input=b"x")  # type: ignore[call-overload]
    assert engine.containers.list(all=True) == []


def test_nothing_is_left_of_what_is_removed(engine: Engine) -> None:
    assert engine.containers.run("box", "true", remove=True, volumes="/v").code == 0
    for command, code in ((["nope"], 127), (["/etc/passwd"], 126)):
        with pytest.raises(StartFailed) as failure:
            engine.containers.run("box", command, remove=True)
        assert failure.value.exit_code == code
    with pytest.raises(InvalidInput, match="memory"):
        engine.containers.run("box", "true", memory="lots")
    assert engine.containers.list(all=True) == [] and engine.volumes.list() == []


def test_an_exception_while_it_runs_kills_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "wait", lambda self: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        engine.containers.run("box", "sleep 600", remove=True)
    assert engine.containers.list(all=True) == []
    with pytest.raises(KeyboardInterrupt):
        engine.containers.run("box", "sleep 600", name="stays")
    assert engine.containers.get("stays").status == "exited"


def test_a_container(engine: Engine) -> None:
    web = sleeper(engine, name="web", labels={"a": "b"}, environment={"WORD": "x y"})
    assert repr(web) == f"<Container web {web.short_id} running>"
    assert (web.name, web.image, web.labels, web.status) == ("web", "box", {"a": "b"}, "running")
    assert web.image_id == engine.images.get("box").id and web.attrs["Id"] == web.id
    assert [web] == engine.containers.list() and {web} == {engine.containers.get("web")}
    with pytest.raises(Conflict):
        web.remove()
    assert web.exec("sh -c 'echo $WORD'").text == "x y\n"
    assert (
        web.exec(["sh", "-c", "echo $WORD; pwd"], environment={"WORD": "z"}, working_directory="/etc").text
        == "z\n/etc\n"
    )
    with pytest.raises(StartFailed):
        web.exec("nope")
    with pytest.raises(TypeError, match="working_directory"):
        web.exec("true", workdir="/")  # type: ignore[call-overload]
    assert web.exec("sleep 601", detach=True) is None
    with pytest.raises(InvalidInput, match="detach=True"):
        web.exec("cat", detach=True, input=b"x")  # type: ignore[call-overload]
    assert until(lambda: ["sleep", "601"] in [row[0].split() for row in web.top(["-o", "args"]).rows])
    web.pause()
    with pytest.raises(Conflict):
        web.exec("true")
    web.unpause()
    web.update(memory="64m")
    assert web.stats().memory_limit == 64 << 20
    other = engine.containers.get("web")
    web.rename("renamed")
    assert (web.name, other.name) == ("renamed", "web")
    other.reload()
    assert other.name == "renamed"
    first = web.state.pid
    web.restart()
    assert web.state.pid not in (0, first)
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(web.wait()))
    thread.start()
    web.stop()
    thread.join()
    assert (waiting, web.wait(), web.status) == ([137], 137, "exited")
    web.start()
    web.remove(force=True)
    assert web.status == "removed"
    with pytest.raises(NotFound):
        web.reload()


def test_logs_are_followed_to_the_end(engine: Engine) -> None:
    container = engine.containers.run("box", "sh -c 'echo one; sleep 0.2; echo two'", detach=True)
    assert b"".join(container.logs(follow=True)) == b"one\ntwo\n"


def test_sessions_are_closed_at_the_end_of_the_block(engine: Engine) -> None:
    engine.containers.list()  # the database is open from now on
    before = len(os.listdir("/proc/self/fd"))
    with engine.containers.run_attached(
        ContainerOptions(image="box", command=["sleep", "600"], stop_signal="KILL")
    ) as session:
        assert session.pid > 0
    container = engine.containers.get(session.id)
    assert container.status == "running"
    with container.attach(Attachment()):
        pass
    for command in (["true"], ["sleep", "600"]):
        with pytest.raises(RuntimeError), engine.containers.exec_attached(container.id, ExecOptions(command=command)):
            raise RuntimeError
    assert len(os.listdir("/proc/self/fd")) == before
    session.close()
    # Nobody has waited for the programs: the container can end all the same.
    container.stop()
    assert container.status == "exited"


def test_a_container_of_an_image(engine: Engine) -> None:
    assert engine.containers.run(engine.images.get("box"), "true", remove=True).code == 0


def test_a_terminal(engine: Engine) -> None:
    assert engine.containers.run("box", "tty", terminal=True, remove=True).stdout == b"/dev/pts/0\r\n"


PROGRAM = """
import os, signal, sys, threading
from underlay import Engine
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
for number in (0, 1, 2):
    os.close(number)
threading.Thread(target=threading.Event().wait, daemon=True).start()
with Engine(*sys.argv[1:3]) as engine:
    engine.network_setting = "none"
    result = engine.containers.run("box", ["sh", "-c", "cat; grep SigBlk /proc/self/status; ls /proc/self/fd | wc -l"],
        input=b"in\\n", remove=True)
    web = engine.containers.run("box", "sleep 600", name="web", detach=True, stop_signal="KILL")
    asked = web.exec("sh -c 'grep SigBlk /proc/self/status; ls /proc/self/fd | wc -l'")
    with open(sys.argv[3], "wb") as file:
        file.write(result.stdout + b"|" + asked.stdout)
"""


def test_a_program_without_streams_and_with_blocked_signals(ul: Installation, engine: Engine, tmp_path: Path) -> None:
    """Nothing of the caller's reaches what is started: neither its signal mask nor its descriptors."""
    place = tmp_path / "result"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ul.root), str(ul.state), str(place)],
        env={**ul.environment, "PYTHONPATH": str(REPOSITORY / "src")},
        check=True,
        pass_fds=(),
    )
    mask = b"SigBlk:\t0000000000000000\n"
    assert place.read_bytes() == b"in\n" + mask + b"4\n|" + mask + b"4\n"
    web = engine.containers.get("web")
    assert web.status == "running"  # its program has ended since
    monitor = web.state.monitor
    assert Path(f"/proc/{monitor}/status").read_text().partition("PPid:\t")[2].splitlines()[0] != str(os.getpid())
