"""Programs in running containers: exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ...engine.options import ExecOptions
from ...errors import Conflict, InvalidInput, UnderlayError
from ...runtime.monitor import attachment
from ...runtime.monitor.attachment import Attachment
from ..access.policy import Forbidden
from ..answers import EXECS, RULES, answer, nothing, version_of, work_of
from ..execs import Exec
from ..requests import query
from ..streaming import streams
from .containers import containers_of

if TYPE_CHECKING:
    from ...engine.containers.exec import Execution
    from ..answers import Route
    from ..work import Work

_KINDS_SINCE = (1, 42)


async def create(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/exec."""
    body = await query.body(request)
    words = query.strings(body, "Cmd")
    if not words:
        raise InvalidInput("No exec command specified")
    rules = request.get(RULES)
    if body.get("Privileged") and rules is not None and not any(rule.privileged for rule in rules):
        raise Forbidden("the rules of this server do not allow privileged programs")
    size = body.get("ConsoleSize")
    options = ExecOptions(
        command=words,
        environment=query.strings(body, "Env"),
        working_directory=query.string(body, "WorkingDir"),
        user=query.string(body, "User"),
        terminal=bool(body.get("Tty")),
        interactive=bool(body.get("AttachStdin")),
        privileged=bool(body.get("Privileged")),
    )
    if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and 0 <= n < 65536 for n in size):
        options = options.changed(size=(size[0], size[1]))
    work, containers = work_of(request), containers_of(request)
    found = await work.do(containers.get, request.match_info["name"])
    status = (await work.do(containers.state, found.id)).status
    if status == "paused":
        raise Conflict(f"container {found.name} is paused, unpause the container before exec")
    if status != "running":
        raise Conflict(f"container {found.id} is not running")
    made = Exec(found.id, options, *(bool(body.get(f"Attach{word}")) for word in ("Stdin", "Stdout", "Stderr")))
    asked = query.string(body, "DetachKeys")
    made.keys = attachment.detach_keys(asked) if asked else attachment.DEFAULT_KEYS if options.terminal else b""
    request.app[EXECS].add(made)
    return answer({"Id": made.id}, 201)


async def start(request: web.Request) -> web.StreamResponse:
    """POST /exec/{id}/start."""
    made, work = request.app[EXECS].get(request.match_info["id"]), work_of(request)
    body = query.object_of(await streams.body_of(request), "request body")
    if made.started:
        raise Conflict(f"exec command {made.id} is already running")
    size = body.get("ConsoleSize")
    if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and 0 <= n < 65536 for n in size):
        made.options = made.options.changed(size=(size[0], size[1]))
    made.started = True
    terminal = made.options.terminal
    if body.get("Detach"):
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
        made.execution = await work.do(work.engine.containers.exec_attached, made.container, options, attachment)
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
    size = query.number(request, "h"), query.number(request, "w")
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
