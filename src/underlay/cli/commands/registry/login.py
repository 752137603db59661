"""`underlay login`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, UnderlayError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Authenticate to a registry; Docker Hub if no server is given"
SYNOPSIS = "login [OPTIONS] [SERVER]"
ARGUMENTS = (0, 1)
FLAGS: tuple[Flag, ...] = (
    ("password", "p", "string", "string", "Password or access token, or `-` to read it from stdin"),
    ("password-stdin", "", "bool", "", "Take the password or access token from stdin"),
    ("username", "u", "string", "string", "Username"),
)
_PASSWORD_LIMIT = 64 << 10


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Verify a credential and keep it."""
    server = arguments[0] if arguments else ""
    username, password = options["username"], options["password"]
    if options["password-stdin"] or password == "-":
        if options["password-stdin"] and password:
            raise UsageError("conflicting options: cannot specify both --password and --password-stdin")
        if not username:
            raise UsageError("the --password-stdin option requires --username to be set")
        password = sys.stdin.read(_PASSWORD_LIMIT).rstrip("\r\n")
        if not password:
            raise InvalidInput("password is empty")
    elif password:
        sys.stderr.write(
            "WARNING! Using --password via the CLI is insecure: others see it in the list of processes. "
            "Use --password-stdin.\n"
        )
    if not username and not password and _existing(engine, server):
        return 0
    if not username or not password:
        username, password = _asked(username, password, server)
    path = engine.registries.login(server, username, password)
    if path:
        sys.stderr.write(
            f"\nWARNING! Your credentials are stored unencrypted in '{path}'.\n"
            "Configure a credential helper to remove this warning: set credsStore there.\n\n"
        )
    sys.stdout.write("Login Succeeded\n")
    return 0


def _existing(engine: Engine, server: str) -> bool:
    """Try the credential that is kept; returns whether it is good."""
    credential = engine.registries.credential(server)
    if credential is None:
        return False
    sys.stdout.write("Authenticating with existing credentials...\n")
    sys.stdout.flush()
    try:
        engine.registries.verify(server, credential)
    except UnderlayError as error:
        if not sys.stdin.isatty():
            raise
        sys.stderr.write(f"{error.message}\n")
        return False
    sys.stdout.write("Login Succeeded\n")
    return True


def _asked(username: str, password: str, server: str) -> tuple[str, str]:
    """Return name and password, asking for what is missing on the terminal; raises InvalidInput without one."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "Cannot perform an interactive login from a non TTY device", "use --username and --password-stdin"
        )
    from getpass import getpass

    if not username:
        sys.stdout.write(f"Username for {server or 'Docker Hub'}: ")
        sys.stdout.flush()
        username = sys.stdin.readline().strip()
    password = password or getpass("Password: ")
    if not username or not password:
        raise InvalidInput("username and password must not be empty")
    return username, password
