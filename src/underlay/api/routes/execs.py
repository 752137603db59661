"""Programs in running containers: exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...engine.options import ExecOptions
from ...errors import Conflict, InvalidInput, UnderlayError
from ...events import Event
from ...runtime.monitor import attachment
from ...runtime.monitor.attachment import Attachment
from ..access.policy import Forbidden
from ..answers import EXECS, RULES, answer, nothing, version_of, work_of
from ..execs import Exec
from ..requests import query
from ..requests.fields import Fields
from ..streaming import streams
from .containers import containers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...engine.containers.exec import Execution
    from ..answers import Route
    from ..work import Work

_KINDS_SINCE = (1, 42)
_LONGEST_WORD = 128 << 10  # bytes of an argument or a variable with its NUL (MAX_ARG_STRLEN)
_LONGEST_WORDS = 2 << 20  # bytes of all, with a pointer to each: a quarter of the usual stack
_POINTER = 8
_LONGEST_NAME = 4096


async def create(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/exec."""
    members = await query.body(request)
    body = Fields(members)
    words, environment = body.words("Cmd"), body.texts("Env")
    if not words:
        raise InvalidInput("No exec command specified")
    _check_sizes(body, words, environment)
    privileged, terminal = body.flag("Privileged"), body.flag("Tty")
    attached = body.flag("AttachStdin"), body.flag("AttachStdout"), body.flag("AttachStderr")
    rules = request.get(RULES)
    if privileged and rules is not None and not any(rule.privileged for rule in rules):
        raise Forbidden("the rules of this server do not allow privileged programs")
    options = ExecOptions(
        command=words,
        environment=environment,
        working_directory=body.text("WorkingDir"),
        user=body.text("User"),
        terminal=terminal,
        interactive=attached[0],
        privileged=privileged,
    )
    if (size := _size(members)) is not None:
        options = options.changed(size=size)
    asked = body.text("DetachKeys")
    keys = attachment.detach_keys(asked) if asked else attachment.DEFAULT_KEYS if terminal else b""
    work, containers = work_of(request), containers_of(request)
    found = await work.do(containers.get, request.match_info["name"])
    status = (await work.do(containers.state, found.id)).status
    if status == "paused":
        raise Conflict(f"container {found.name} is paused, unpause the container before exec")
    if status != "running":
        raise Conflict(f"container {found.id} is not running")
    made = Exec(found.id, options, *attached)
    made.keys = keys
    request.app[EXECS].add(made)
    command = " ".join(words)
    told = Event("container.exec_create", found.id, execID=made.id, command=command)
    await work.do(work.engine._store.emit, told)
    return answer({"Id": made.id}, 201)


def _check_sizes(body: Fields, words: list[str], environment: list[str]) -> None:
    """Refuse what no program could be started with (execve(2)), so that nobody has it kept here. Raises InvalidInput."""
    total = 0
    for name, values in (("Cmd", words), ("Env", environment)):
        for value in values:
            size = len(value.encode("utf-8", "replace")) + 1
            if size > _LONGEST_WORD:
                raise body.wrong(name, "a string of it is longer than a program can be given")
            total += size + _POINTER
    if total > _LONGEST_WORDS:
        raise InvalidInput("invalid Cmd and Env: they are longer than a program can be given")
    for name in ("User", "WorkingDir", "DetachKeys"):
        if len(body.text(name)) > _LONGEST_NAME:
            raise body.wrong(name, "it is too long")


def _size(members: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return rows and columns of a terminal, None where they are not said. Raises InvalidInput."""
    size = next((value for name, value in members.items() if name.lower() == "consolesize"), None)
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(streams.is_cells(number) for number in size):
        raise InvalidInput("invalid ConsoleSize: rows and columns of a terminal are needed")
    return size[0], size[1]


async def start(request: web.Request) -> web.StreamResponse:
    """POST /exec/{id}/start."""
    execs, name, work = request.app[EXECS], request.match_info["id"], work_of(request)
    execs.get(name)  # there must be one before anything is waited for
    members = query.object_of(await streams.body_of(request), "request body")
    detached, size = Fields(members).flag("Detach"), _size(members)
    made = execs.get(name)
    if made.started:
        raise Conflict(f"exec command {made.id} is already running")
    if size is not None:
        made.options = made.options.changed(size=size)
    made.started = True
    terminal = made.options.terminal
    if detached:
        options = made.options.changed(interactive=False)
        execution = await _begun(work, made, options, Attachment())
        work.keep(_ended(work, made, execution))
        return nothing(200)
    stdin, stdout, stderr = made.streams
    pipes = streams.Pipes(stdin, stdout, stderr and not terminal)
    pipes.theirs.keys = made.keys
    try:
        if not await work.do(work.engine.containers.is_running, made.container):
            raise Conflict(f"container {made.container} is not running")
        # Before the program begins: docker's libraries lose output that comes together with the head.
        connection, taken = await streams.take(request, pipes, terminal, version_of(request) >= _KINDS_SINCE)
    except BaseException:
        made.code = 137
        pipes.close()
        raise
    try:
        execution = await _begun(work, made, made.options, pipes.theirs)
    except (UnderlayError, OSError) as error:
        # The client reads the reason in the stream, and asks for the exit code.
        made.code = 126 if made.code is None else made.code
        connection.send(streams.STDERR, f"{error}\r\n".encode())
        pipes.given()
        return taken
    ending = work.keep(_ended(work, made, execution, pipes))
    await connection.over
    # The exit code must be there when the client asks next.
    if connection.drained:
        await ending
    return taken


async def _begun(work: Work, made: Exec, options: ExecOptions, attachment: Attachment) -> Execution:
    try:
        made.execution = await work.do(
            work.engine.containers.exec_attached, made.container, options, attachment, made.id
        )
    except UnderlayError as error:
        made.code = error.exit_code
        raise
    made.pid = made.execution.pid
    if made.size is not None:
        made.execution.resize(*made.size)
    return made.execution


async def _ended(work: Work, made: Exec, execution: Execution, pipes: streams.Pipes | None = None) -> None:
    """Forward the streams until the program has ended, and note its exit code."""
    try:
        code = await work.wait(execution.wait)
        if code is None:
            # The client has typed the detach keys: nobody learns how it ends.
            code = 0
        made.code = code
    except (UnderlayError, OSError):
        made.code = 137 if made.code is None else made.code
    finally:
        if pipes is not None:
            pipes.given()
        made.execution = None


async def inspect(request: web.Request) -> web.StreamResponse:
    """GET /exec/{id}/json."""
    return answer(request.app[EXECS].get(request.match_info["id"]).inspected())


async def resize(request: web.Request) -> web.StreamResponse:
    """POST /exec/{id}/resize: clients send it as soon as they have the head of the start, before the program may run."""
    made = request.app[EXECS].get(request.match_info["id"])
    size = streams.asked_size(request)
    if made.execution is not None:
        made.execution.resize(*size)
    else:
        made.size = size
    return nothing(200)


ROUTES: tuple[Route, ...] = (
    ("POST", "/containers/{name}/exec", create),
    ("POST", "/exec/{id}/start", start),
    ("POST", "/exec/{id}/resize", resize),
    ("GET", "/exec/{id}/json", inspect),
)
