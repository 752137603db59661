"""Hooks of the OCI specification: programs run at fixed moments, with the container's state on their standard input."""

from __future__ import annotations

import os

from ...errors import InvalidInput, UnderlayError
from ...lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...linux.specification import Hook, Hooks, State

    # Becomes the program of a hook, in the child that was forked for it; writes to a descriptor why if that cannot be.
    Become = Callable[[Hook, int], None]

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_SHOWN = 2000  # bytes of a failed hook's words that are passed on


def run(kind: str, hooks: list[Hook], state: State, become: Become | None = None) -> None:
    """Run hooks in order (config, "POSIX-platform Hooks"); raises UnderlayError at the first that fails or takes too long.

    `state` is what each reads from its standard input. They get the environment that they ask for, and no more. `become`
    is how the child turns into a hook that must not have the rights of this process.
    """
    for position, hook in enumerate(hooks):
        where = f"hooks.{kind}[{position}]"
        try:
            _run_one(hook, where, dumps(state).encode(), become)
        except OSError as error:
            reason = os.strerror(error.errno or 5).lower()
            raise UnderlayError(f"{where}: cannot execute {hook['path']}: {reason}") from None


def _run_one(hook: Hook, where: str, text: bytes, become: Become | None) -> None:
    import subprocess

    path, seconds = str(hook["path"]), hook.get("timeout")
    ours, theirs = os.pipe()
    try:
        done = subprocess.run(
            hook.get("args") or [path],
            executable=path,
            env=dict(pair.partition("=")[::2] for pair in hook.get("env") or []),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            # This process has one thread: what it holds, no other thread can have locked.
            preexec_fn=None if become is None else lambda: become(hook, theirs),
        )
        os.write(theirs, b"\n")  # something to read in any case
        refused = os.read(ours, 64 << 10).strip()
    except subprocess.TimeoutExpired:
        raise UnderlayError(f"{where}: {path} took longer than its timeout of {seconds} s and was killed") from None
    finally:
        os.close(ours)
        os.close(theirs)
    if refused:
        from . import laststep

        raise UnderlayError(f"{where}: {laststep.failure(known(refused[1:])).message}")
    if done.returncode:
        output = done.stdout[-_SHOWN:].decode(errors="replace").strip()
        how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise UnderlayError(f"{where}: {path} failed: {how}" + (f": {output}" if output else ""))


def check(hooks: Hooks) -> None:
    """Raise InvalidInput with the JSON path of a hook that can never be run."""
    for kind, items in hooks.items():
        for position, hook in enumerate(items or []):
            where = f"hooks.{kind}[{position}]"
            if not str(hook.get("path") or "").startswith("/"):
                raise InvalidInput(f"{where}.path: an absolute path is needed")
            if hook.get("timeout") is not None and int(hook["timeout"]) <= 0:
                raise InvalidInput(f"{where}.timeout: it must be greater than zero")
