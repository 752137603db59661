"""A seccomp agent for tests: it is asked by filters, and answers."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import threading
from pathlib import Path


class Agent:
    """A seccomp agent: hears of processes, answers what they ask (seccomp_unotify(2))."""

    RECEIVE, SEND = 0xC0502100, 0xC0182101

    def __init__(self, path: Path, answer: tuple[int, int, int]) -> None:
        self.path = path
        self.answer = answer  # value, error, flags
        self.states: list[dict[str, object]] = []
        self.asked: list[int] = []
        self.trouble: list[str] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
            while piece := connection.recv(65536):
                data += piece
            connection.close()
            self.states.append(json.loads(data))
            assert len(fds) == 1
            threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()

    def _answer(self, fd: int) -> None:
        waiting = select.poll()
        waiting.register(fd, select.POLLIN)
        while True:
            question = bytearray(80)
            try:
                fcntl.ioctl(fd, self.RECEIVE, question)
                number, _, _, call = struct.unpack_from("<QIIi", question)
                self.asked.append(call)
                fcntl.ioctl(fd, self.SEND, struct.pack("<Qqii", number, *self.answer))
            except FileNotFoundError:
                # Who asked is gone; when it was the last one there is a hang-up (seccomp_unotify(2)).
                if any(mask & select.POLLHUP for _, mask in waiting.poll(0)):
                    os.close(fd)
                    return
            except OSError as error:
                self.trouble.append(str(error))
                os.close(fd)
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
