"""Runs of containers that this server has started, and clients that wait for one: attached before it, or for its exit.

Docker's client attaches to a created container and waits for its exit before it has it started. What is to be attached is
kept here until somebody starts the container: this server, or another command, which is looked for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import Conflict, NotFound, UnderlayError
from ..runtime.monitor.attachment import Attachment
from .work import TooMuch

if TYPE_CHECKING:
    from ..engine.containers.session import Session
    from .streaming.streams import Pipes
    from .work import Work

_LOOK = 0.1  # seconds between two looks whether another command has started it
_GONE = 0.01  # seconds between two looks whether it has been removed, as long as that is likely
_SOON = 1.0  # seconds after its exit
_WAITING = 256  # clients that are attached to containers which do not run: each takes descriptors


class Runs:
    """What waits for the next run of each container, by its id."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._attached: dict[str, list[Pipes]] = {}
        self._exits: dict[str, list[asyncio.Future[int]]] = {}
        self._running: set[str] = set()
        self._sizes: dict[str, tuple[int, int]] = {}
        self._watched: dict[str, asyncio.Future[int]] = {}
        self._shared: dict[str, _Shared] = {}  # who looks for a removal

    # Streams.

    async def expect(self, container_id: str, pipes: Pipes) -> None:
        """Note that pipes are to be attached to the next run, if the container does not run. Raises NotFound, TooMuch."""
        if not await self._work.do(self._work.engine.containers.is_running, container_id):
            if sum(map(len, self._attached.values())) >= _WAITING:
                raise TooMuch
            self._attached.setdefault(container_id, []).append(pipes)

    async def attach(self, container_id: str, pipes: Pipes) -> None:
        """Attach pipes to a running container, or wait for the run that they are expected for."""
        waiting = self._attached.get(container_id, [])
        if pipes in waiting:
            while pipes in waiting:
                await asyncio.sleep(_LOOK)
                if pipes in waiting and await self._runs_elsewhere(container_id):
                    waiting.remove(pipes)
                    break
            else:
                return
        elif pipes.claimed:
            return  # a start was quicker
        await self._join(container_id, pipes)

    async def _runs_elsewhere(self, container_id: str) -> bool:
        """Return whether another command has started the container, or removed it."""
        try:
            return await self._work.do(self._work.engine.containers.is_running, container_id)
        except NotFound:
            return True

    async def _join(self, container_id: str, pipes: Pipes) -> None:
        try:
            session = await self._work.do(self._work.engine.containers.attach, container_id, pipes.theirs)
        except (Conflict, NotFound):
            return  # it has ended meanwhile: the client gets the end of the streams
        finally:
            pipes.given()
        self._work.keep(self._follow(session))

    async def _follow(self, session: Session) -> None:
        """Keep the connection to a monitor, on which an attachment depends, until the container ends or is left."""
        try:
            await _ended(session)
        except (UnderlayError, OSError):
            pass  # the monitor was killed, or the client reads no more
        finally:
            session.close()

    def leave(self, container_id: str, pipes: Pipes) -> None:
        """Attach pipes no more: their client is gone."""
        waiting = self._attached.get(container_id, [])
        if pipes in waiting:
            waiting.remove(pipes)
            pipes.close()
        if not waiting:
            self._attached.pop(container_id, None)

    def resize(self, container_id: str, rows: int, columns: int) -> None:
        """Keep the size of the terminal for a container that is about to start."""
        if self._attached.get(container_id):
            self._sizes[container_id] = (rows, columns)

    # Starts.

    async def start(self, container_id: str, removes: bool) -> bool:
        """Start a container with what is to be attached; False if it runs. Raises what `Containers.start` raises.

        With `removes` it is removed as soon as it has ended, or when it cannot be started.
        """
        containers = self._work.engine.containers
        waiting = self._attached.pop(container_id, [])
        taken = [waiting.pop(0) for _ in range(len(waiting))]
        for pipes in taken:
            pipes.claimed = True
        first = taken[0].theirs if taken else Attachment()
        first.removes = removes
        size = self._sizes.pop(container_id, (0, 0))
        try:
            session = await self._work.do(
                containers.start_attached, container_id, first if taken or removes else None, size
            )
        except UnderlayError as error:
            for pipes in taken:
                pipes.given()
            self._settle(container_id, error.exit_code)
            if removes:
                await self._work.do(containers.remove, container_id, force=True, volumes=True)
            raise
        if session is None:
            for pipes in taken:
                await self._join(container_id, pipes)
            return False
        if taken:
            taken[0].given()
        self._running.add(container_id)
        self._work.keep(self._finish(container_id, session, removes))
        for pipes in taken[1:]:
            await self._join(container_id, pipes)
        return True

    async def _finish(self, container_id: str, session: Session, removes: bool) -> None:
        code: int | None = None
        try:
            code = await _ended(session)
            removes = session.removes
        except OSError:
            pass  # the client reads no more, and the container goes on
        except UnderlayError:
            code = 137  # the monitor was killed
        session.close()
        if code is None:
            # Of a client that has detached, too: we wait as others do, and the monitor removes the container.
            code, removes = await self.exited(container_id), False
        self._running.discard(container_id)
        self._settle(container_id, code)
        if removes:
            try:
                await self._work.do(self._work.engine.containers.remove_ended, container_id)
            except (UnderlayError, OSError):
                # Another command has removed it, or works on it now: then it is removed after that.
                try:
                    await self._work.do(self._work.engine.containers.remove, container_id, force=True, volumes=True)
                except UnderlayError:
                    pass

    def _settle(self, container_id: str, code: int) -> None:
        for future in self._exits.pop(container_id, []):
            if not future.done():
                future.set_result(code)

    # Exits.

    async def exited(self, container_id: str) -> int:
        """Return the exit code of a container, at once if it does not run. Raises NotFound."""
        containers = self._work.engine.containers
        watched = self._watched.get(container_id)
        if watched is None or watched.done():
            # One thread for all that wait: clients come and go.
            watched = self._watched[container_id] = self._work.wait(lambda: containers.wait(container_id))
            watched.add_done_callback(lambda _: self._watched.pop(container_id, None))
        return await asyncio.shield(watched)

    async def next_exit(self, container_id: str) -> int:
        """Return the exit code of a container's present run or, if it does not run, of its next one. Raises NotFound."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits.setdefault(container_id, []).append(future)
        containers = self._work.engine.containers
        try:
            while not (await asyncio.wait([future], timeout=_LOOK))[0]:
                if container_id not in self._running and await self._work.do(containers.is_running, container_id):
                    return await self.exited(container_id)
            return future.result()
        finally:
            waiting = self._exits.get(container_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._exits.pop(container_id, None)

    async def removed(self, container_id: str) -> int:
        """Return the exit code of a container when it has been removed."""
        shared = self._shared.get(container_id)
        if shared is None or shared.task.done():
            # One task for all that wait, as long as anybody does.
            shared = self._shared[container_id] = _Shared(self._work.keep(self._removed(container_id)))
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                shared.task.cancel()
                if self._shared.get(container_id) is shared:
                    del self._shared[container_id]

    async def _removed(self, container_id: str) -> int:
        code = 0
        try:
            code = await self.next_exit(container_id)
            clock = asyncio.get_running_loop().time
            ended = clock()
            while True:
                await self._work.do(self._work.engine.containers.get, container_id)
                await asyncio.sleep(_GONE if clock() - ended < _SOON else _LOOK)
        except NotFound:
            return code


class _Shared:
    """A task, and how many wait for it."""

    def __init__(self, task: asyncio.Task[int]) -> None:
        self.task = task
        self.waiting = 0


async def _ended(session: Session) -> int | None:
    """Return what `Session.wait` returns, without a thread for it. Raises as that does."""
    loop = asyncio.get_running_loop()
    number = session.channel.fileno()
    while not (session.code is not None or session.detached):
        readable = asyncio.Event()
        loop.add_reader(number, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(number)
        session.advance()
    return session.code
