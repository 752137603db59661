"""Terminals: raw mode, sizes, control characters, detach keys, as typed by a person."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import time

import pytest

from engines import Installation
from persons import Person

pytestmark = pytest.mark.root


def test_terminal_and_its_size(ul: Installation) -> None:
    person = Person(ul, "run", "--rm", "-it", "--network", "none", "box", "sh")
    person.wait_for(b"# ")
    person.type(b"tty; stty size; echo $TERM\n")
    text = person.wait_for(b"xterm\r\n")
    assert b"/dev/pts/0\r\n40 123\r\n" in text
    fcntl.ioctl(person.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 77, 0, 0))
    os.kill(person.pid, signal.SIGWINCH)
    person.type(b"until test \"$(stty size)\" = '11 77'; do sleep 0.05; done; echo resi''zed\n")
    person.wait_for(b"resized")
    person.type(b"exit 7\n")
    assert person.end() == 7


def test_control_c_goes_to_the_container(ul: Installation) -> None:
    person = Person(ul, "run", "--rm", "-it", "--network", "none", "box", "sh")
    person.wait_for(b"# ")
    person.type(b"sleep 100\n")
    person.wait_for(b"sleep 100")
    time.sleep(0.2)
    person.type(b"\x03")
    person.wait_for(b"# ")
    person.type(b"exit 3\n")
    assert person.end() == 3


def test_detach_attach(ul: Installation) -> None:
    person = Person(ul, "run", "-it", "--name", "left", "--network", "none", "box", "sh")
    person.wait_for(b"# ")
    person.type(b"\x10\x11")
    assert person.end() == 0
    assert ul.out("ps", "--format", "{{.Names}}") == "left"
    time.sleep(0.5)  # the monitor has become slim meanwhile
    person = Person(ul, "attach", "left")
    time.sleep(0.3)
    person.type(b"echo he''re\n")
    person.wait_for(b"here")
    person.type(b"exit 4\n")
    assert person.end() == 4
    ul("rm", "left")


def test_attaching_has_the_screen_drawn_anew(ul: Installation) -> None:
    """A program draws when the size changes; at the second time a terminal of the same size must make it draw, too."""
    script = "trap 'echo drawn $(stty size)' WINCH; echo begun; while :; do sleep 0.05; done"
    person = Person(ul, "run", "-it", "--network", "none", "--name", "painter", "box", "sh", "-c", script)
    person.wait_for(b"begun")
    person.type(b"\x10\x11")
    assert person.end() == 0
    person = Person(ul, "attach", "painter")
    person.wait_for(b"drawn 40 123")
    person.type(b"\x10\x11")
    assert person.end() == 0
    ul("rm", "-f", "painter")


def test_other_detach_keys(ul: Installation) -> None:
    person = Person(ul, "run", "-it", "--detach-keys", "ctrl-a,x", "--name", "left2", "--network", "none", "box", "sh")
    person.wait_for(b"# ")
    person.type(b"\x01y\x01x")
    assert person.end() == 0
    ul("rm", "-f", "left2")


def test_terminal_is_restored(ul: Installation) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(slave, number)
        os.execve(
            ul.command[0],
            [*ul.command, "run", "--rm", "-it", "--network", "none", "box", "true"],
            ul.environment,
        )
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_exec_with_terminal(ul: Installation) -> None:
    ul.start("--name", "base", "box", "sleep", "60")
    person = Person(ul, "exec", "-it", "base", "sh")
    person.wait_for(b"# ")
    person.type(b"stty size; tty\n")
    person.wait_for(b"/dev/pts/0")
    person.type(b"exit 6\n")
    assert person.end() == 6
    ul("rm", "-f", "base")


def test_terminal_needs_a_terminal(ul: Installation) -> None:
    done = ul("run", "--rm", "-it", "--network", "none", "box", "true", code=125)
    assert b"stdin is not a terminal" in done.stderr


def test_data_of_images_cannot_steer_a_terminal(ul: Installation) -> None:
    """What goes elsewhere is as it is: programs want it so."""
    evil = "\x1b]0;evil\x07 \x9b2J \u202e\r"
    ul("import", "-m", evil, "-", "hostile", input=ul("image", "save", "box").stdout)
    for words in (
        ("history", "--no-trunc", "--format", "{{.Comment}}", "hostile"),
        ("history", "--no-trunc", "--format", "json", "hostile"),
        ("history", "--no-trunc", "--format", "table {{.Comment}}", "hostile"),
        ("image", "inspect", "-f", "{{.Comment}}", "hostile"),
        ("image", "inspect", "-f", "{{json .}}", "hostile"),
        ("image", "inspect", "hostile"),
    ):
        person = Person(ul, *words)
        person.wait_for(b"evil")
        assert person.end() == 0
        text = person.seen.decode().replace("\r\n", "\n")
        assert all(letter.isprintable() or letter in "\n\t" for letter in text), (words, text)
    assert ul.out("image", "inspect", "-f", "{{.Comment}}", "hostile") == evil
    ul("rmi", "hostile")
