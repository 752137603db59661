"""Logs that are sent elsewhere: the messages that services get, waiting and losing, options."""

from __future__ import annotations

import re
import select
import socket
from pathlib import Path

import pytest

from underlay.engine.containers.specification import log_options
from underlay.errors import InvalidInput, Unsupported
from underlay.runtime.monitor.logdrivers import open_log
from underlay.runtime.monitor.logdrivers.sending import Sending


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.settimeout(5)
    return made


def test_the_journal_gets_fields(tmp_path: Path) -> None:
    service = listening(tmp_path / "socket")
    fields = {"CONTAINER_NAME": "web", "NOTE": "two\nlines"}
    settings = {"path": str(tmp_path / "log"), "driver": "journald", "limit": 0, "keep": 1}
    log = open_log({**settings, "address": str(tmp_path / "socket"), "fields": fields}, select.poll())
    log.write(1, b"one\n\ntwo\nun")
    log.write(2, b"bad\n")
    log.write(1, b"finished\n" + b"x" * 20000 + b"\nend")
    log.close()
    got = [service.recv(1 << 17) for _ in range(7)]
    note = b"NOTE\n" + (9).to_bytes(8, "little") + b"two\nlines\n"
    assert got[0] == b"MESSAGE=one\nPRIORITY=6\nCONTAINER_NAME=web\n" + note
    assert [message.split(b"\n")[:2] for message in got[1:4]] == [
        [b"MESSAGE=two", b"PRIORITY=6"],
        [b"MESSAGE=bad", b"PRIORITY=3"],
        [b"MESSAGE=unfinished", b"PRIORITY=6"],
    ]
    assert got[4].endswith(b"CONTAINER_PARTIAL_MESSAGE=true\n") and got[5].startswith(b"MESSAGE=" + b"x" * 3616 + b"\n")
    assert got[6].startswith(b"MESSAGE=end\n") and b"PARTIAL" not in got[5] + got[6]
    assert b"finished" in (tmp_path / "log").read_bytes()  # a copy for `logs`


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("", r"<29>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d tag\[\d+\]: said\n"),
        ("rfc3164", r"<29>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ tag\[\d+\]: said\n"),
        ("rfc5424", r"<29>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d) \S+ tag \d+ tag - said\n"),
        ("rfc5424micro", r"<29>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \S+ tag \d+ tag - said\n"),
    ],
)
def test_formats_of_syslog(tmp_path: Path, form: str, pattern: str) -> None:
    service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    service.bind(("127.0.0.1", 0))
    service.settimeout(5)
    address = f"udp://127.0.0.1:{service.getsockname()[1]}"
    settings = {"path": "", "driver": "syslog", "limit": 0, "keep": 0, "tag": "tag", "address": address, "format": form}
    log = open_log({**settings, "facility": 3 + 0}, select.poll())
    log.write(1, b"said\n")
    message = service.recv(4096).decode()
    assert re.fullmatch(pattern.replace("<29>", "<30>"), message), message
    log.write(2, b"said\n")
    assert service.recv(4096).startswith(b"<27>")
    log.close()


def test_a_service_that_takes_nothing(tmp_path: Path) -> None:
    """In the mode non-blocking nobody waits, and the buffer goes out when there is room again."""
    service = listening(tmp_path / "socket")
    poll = select.poll()
    settings = {
        "path": "",
        "driver": "syslog",
        "limit": 0,
        "keep": 0,
        "tag": "t",
        "address": f"unixgram://{tmp_path}/socket",
    }
    log = open_log({**settings, "buffer": 1 << 12}, poll)
    assert isinstance(log, Sending)
    for number in range(3000):
        log.write(1, b"%d\n" % number)
    assert "buffer was full" in log.problem
    numbers = []
    while True:
        for fd, _ in poll.poll(0):
            assert log.handle(fd)
        try:
            service.settimeout(0.05)
            numbers.append(int(service.recv(4096).split(b": ")[1]))
        except TimeoutError:
            break
    assert numbers == list(range(len(numbers))) and 10 < len(numbers) < 3000 and poll.poll(0) == []
    log.write(1, b"7777\n")
    assert service.recv(4096).endswith(b": 7777\n")
    log.close()


def test_a_service_that_is_not_there_is_found_later(tmp_path: Path) -> None:
    settings = {
        "path": "",
        "driver": "syslog",
        "limit": 0,
        "keep": 0,
        "tag": "t",
        "address": f"unix://{tmp_path}/socket",
    }
    log = open_log(settings, select.poll())
    log.write(1, b"lost\n")
    assert "cannot reach the log's service" in log.problem
    service = listening(tmp_path / "socket")
    for _ in range(3):
        log.write(1, b"later\n")
    assert service.recv(4096).endswith(b": later\n")
    (tmp_path / "socket").unlink()
    service.close()
    service = listening(tmp_path / "socket")  # started anew
    log.write(1, b"again\n")
    assert service.recv(4096).endswith(b": again\n")


def test_streams(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    settings = {"path": "", "driver": "syslog", "limit": 0, "keep": 0, "tag": "t", "address": address}
    log = open_log(settings, select.poll())
    log.write(1, b"one\ntwo\n")
    log.close()
    text = b""
    channel = server.accept()[0]
    while piece := channel.recv(4096):
        text += piece
    assert [line.split(b": ")[1] for line in text.splitlines()] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("fluentd", {}, "is not supported"),
        ("local", {"tag": "x"}, "unknown log opt 'tag' for local log driver"),
        ("json-file", {"tag": "{{.Nothing}}"}, "invalid value for log opt 'tag'"),
        ("json-file", {"env-regex": "("}, "invalid value for log opt 'env-regex'"),
        ("json-file", {"mode": "maybe"}, "logging mode not supported: maybe"),
        ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("json-file", {"compress": "true"}, "compress cannot be true"),
        ("syslog", {"syslog-address": "nonsense"}, "unsupported scheme"),
        ("syslog", {"syslog-address": "tcp+tls://a:1"}, "is not supported"),
        ("syslog", {"syslog-address": "udp://a:0"}, "HOST:PORT is needed"),
        ("syslog", {"syslog-address": "unix:///nothere"}, "there is no socket /nothere"),
        ("syslog", {"syslog-facility": "moon"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "x"}, "Invalid syslog format"),
        ("syslog", {"syslog-tls-ca-cert": "x"}, "is not supported"),
    ],
)
def test_options_refused(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises((InvalidInput, Unsupported)) as caught:
        log_options.parse(driver, options)
    assert words in caught.value.message


def test_options() -> None:
    assert log_options.address("udp://host") == "udp://host:514"
    assert log_options.address("tcp://[::1]:99") == "tcp://[::1]:99"
    assert (log_options.facility(""), log_options.facility("local7"), log_options.facility("5")) == (3, 23, 5)
    assert log_options.parse("syslog", {"cache-disabled": "true"})["keep"] == 0
