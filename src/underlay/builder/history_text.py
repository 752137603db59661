"""The text of instructions in an image's history, in BuildKit's words, since other tools read them."""

from __future__ import annotations

from ..dockerfile import instructions as it

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..oci.configuration import Health
    from .image import State

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """Return `text` as Go's %q has it."""
    letters = []
    for letter in text:
        if letter in _ESCAPES:
            letters.append(_ESCAPES[letter])
        elif letter.isprintable():
            letters.append(letter)
        elif ord(letter) < 0x80:
            letters.append(f"\\x{ord(letter):02x}")
        elif 0xDC80 <= ord(letter) <= 0xDCFF:
            letters.append(f"\\x{ord(letter) - 0xDC00:02x}")
        else:
            letters.append(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}")
    return '"' + "".join(letters) + '"'


def _list(words: list[str] | tuple[str, ...]) -> str:
    return "[" + " ".join(quoted(word) for word in words) + "]"


def metadata(instruction: it.Instruction, state: State) -> str:
    """Return the entry of an instruction that has just been applied to `state` and changes no file; "" for none."""
    execution = state.execution
    if isinstance(instruction, it.Env):
        return "ENV " + " ".join(f"{name}={value}" for name, value in instruction.variables)
    if isinstance(instruction, it.Label):
        return "LABEL " + " ".join(f"{name}={value}" for name, value in instruction.labels)
    if isinstance(instruction, it.Maintainer):
        return f"MAINTAINER {instruction.author}"
    if isinstance(instruction, it.Cmd):
        return f"CMD {_list(execution.get('Cmd') or [])}"
    if isinstance(instruction, it.Entrypoint):
        return f"ENTRYPOINT {_list(execution.get('Entrypoint') or [])}"
    if isinstance(instruction, it.Shell):
        return f"SHELL [{' '.join(instruction.words)}]"
    if isinstance(instruction, it.Expose):
        return f"EXPOSE map[{' '.join(f'{port}:{{}}' for port in exposed(instruction))}]"
    if isinstance(instruction, it.Volume):
        return f"VOLUME [{' '.join(instruction.paths)}]"
    if isinstance(instruction, it.User):
        return f"USER {instruction.user}"
    if isinstance(instruction, it.StopSignal):
        return f"STOPSIGNAL {instruction.signal}"
    if isinstance(instruction, it.Healthcheck):
        return f"HEALTHCHECK {_health(execution['Healthcheck'])}"
    return ""


def exposed(instruction: it.Expose) -> list[str]:
    """Return the ports of an EXPOSE as configurations name them, sorted."""
    from ..dockerfile.metadata import apply

    return sorted(apply(instruction, {}).get("ExposedPorts") or {})


def _health(check: Health) -> str:
    given = (check.get("Interval"), check.get("Timeout"), check.get("StartPeriod"), check.get("StartInterval"))
    times = " ".join(quoted(_go_duration(duration or 0)) for duration in given)
    return f"&{{{_list(check.get('Test') or [])} {times} '\\x{check.get('Retries', 0):02x}'}}"


def _go_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: 1m30s, 5s, 100ms."""
    if not nanoseconds:
        return "0s"
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.9g}{unit}"
    seconds = nanoseconds / 1e9
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9g}s"
    if hours or minutes:
        text = f"{int(minutes)}m{text}"
    return f"{int(hours)}h{text}" if hours else text


def run(arguments: list[str], state: State) -> str:
    """Return the entry of a RUN, with the build arguments that it used and their values (set by ENV or ARG)."""
    values = [f"{name}={state.variables.get(name, '')}" for name in state.arguments]
    words = [f"|{len(values)}", *values] if values else []
    return f"RUN {' '.join((*words, *arguments))} # buildkit"


def transfer(instruction: it.Transfer) -> str:
    """Return the entry of a COPY or ADD."""
    words = [instruction.keyword.upper()]
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    if isinstance(instruction, it.Copy) and instruction.parents:
        words.append("--parents")
    words += instruction.sources
    words += [f"<<{heredoc.name}" for heredoc in instruction.heredocs]
    return f"{' '.join((*words, instruction.destination))} # buildkit"
