"""A seccomp profile from a file, as --security-opt seccomp=FILE names it."""

from __future__ import annotations

import os

from ....errors import InvalidInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Seccomp


def read(path: str, machine: str = "") -> Seccomp:
    """Read a seccomp profile in OCI or docker form, from a file or as a text that begins with {; raises InvalidInput.

    It is for the processor `machine` in the words of uname(2), by default the host's.
    """
    machine = machine or os.uname().machine
    from ....lean.jsontext import known

    try:
        if path.startswith("{"):
            text, path = path, "given as a text"
            value: Seccomp = known(text)
        else:
            with open(path, "rb") as file:
                value = known(file.read(4 << 20))
    except OSError as error:
        why = (error.strerror or "it cannot be read").lower()
        raise InvalidInput(f"opening seccomp profile ({path}) failed: {why}") from None
    except ValueError as error:
        raise InvalidInput(f"decoding seccomp profile ({path}) failed: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"seccomp profile {path} is not a JSON object")
    if value.get("archMap"):
        from ....linux.security.seccomp import NATIVE

        value["architectures"] = list(NATIVE.get(machine, ()))
    rules = value.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise InvalidInput(f"seccomp profile {path}: syscalls is not a list of objects")
    for rule in rules:
        if rule.get("includes") or rule.get("excludes"):
            raise Unsupported(f"seccomp profile {path}: `includes` and `excludes` are not supported yet")
        if "name" in rule:
            # The oldest form has one name a rule.
            rule["names"] = [*(rule.get("names") or []), rule.pop("name")]
    from ....linux.security.seccomp import compile_filter, flags_of
    from ....runtime.apply import seccomp_notify

    try:
        compile_filter(value, machine)  # so that errors show now, not at each start
        flags_of(value)
        seccomp_notify.wanted(value)
    except (TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"seccomp profile {path}: {error}") from None
    return value
