"""Hooks of the OCI specification: programs run at fixed moments, with the container's state on their standard input."""

from __future__ import annotations

import os

from ...errors import InvalidInput, UnderlayError
from ...lean.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Hook, Hooks, State

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_SHOWN = 2000  # bytes of a failed hook's words that are passed on


def run(kind: str, hooks: list[Hook], state: State) -> None:
    """Run hooks in order (config, "POSIX-platform Hooks"); raises UnderlayError at the first that fails or takes too long.

    `state` is what each reads from its standard input. They get the environment that they ask for, and no more.
    """
    import subprocess

    text = dumps(state).encode()
    for position, hook in enumerate(hooks):
        where = f"hooks.{kind}[{position}]"
        path, seconds = str(hook["path"]), hook.get("timeout")
        environment = dict(pair.partition("=")[::2] for pair in hook.get("env") or [])
        try:
            done = subprocess.run(
                hook.get("args") or [path],
                executable=path,
                env=environment,
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except OSError as error:
            raise UnderlayError(f"{where}: cannot execute {path}: {os.strerror(error.errno or 5).lower()}") from None
        except subprocess.TimeoutExpired:
            raise UnderlayError(f"{where}: {path} took longer than its timeout of {seconds} s and was killed") from None
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
