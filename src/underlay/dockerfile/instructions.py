"""The instructions of a Dockerfile as values, and which of their fields variables are replaced in."""

from __future__ import annotations

from ..lean.values import Value
from .heredocs import Heredoc
from .mounts import Device, Mount, read_device, read_mount
from .problems import DockerfileError, Source
from .words import has_special, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, TypeVar

    from .words import Get

    AnyInstruction = TypeVar("AnyInstruction", bound="Instruction")

_LONGEST = 128 << 10  # bytes of one argument or variable of a program (execve(2), MAX_ARG_STRLEN)
Pairs = tuple[tuple[str, str], ...]


class Command(Value):
    """What is to be executed: `words` as they are, or for the shell form one text to be given to the shell."""

    shell: bool
    words: tuple[str, ...] = ()

    def arguments(self, shell: list[str] | tuple[str, ...]) -> list[str]:
        """Return the whole command line; `shell` is what SHELL says."""
        return [*shell, " ".join(self.words)] if self.shell else list(self.words)


class Instruction(Value, kw_only=True):
    """What all instructions have: where they stand, their `keyword` (lower case), and `text` for people, one line."""

    source: Source
    line: int
    last_line: int
    keyword: str
    written: str
    text: str
    comments: tuple[str, ...] = ()

    def problem(self, problem: str, hint: str = "", token: str = "") -> DockerfileError:
        """Return the error that says `problem` of this instruction, pointing at `token` if its lines hold it."""
        line, column = self.source.find(token, self.line, self.last_line)
        return DockerfileError(problem, hint, self.source, line, column, self.last_line)

    def _expanded(self, expander: _Expander) -> Self:
        return self


class _Expander:
    """Replaces variables in the fields of an instruction; errors come with the instruction's place."""

    def __init__(self, instruction: Instruction, get: Get, escape: str, unset: set[str]) -> None:
        self._instruction = instruction
        self._get = get
        self._escape = escape
        self._unset = unset

    def word(self, text: str) -> str:
        return self._process(text)[0] if has_special(text, self._escape) else text

    def words(self, text: str) -> list[str]:
        return self._process(text)[1]

    def texts(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.word(text) for text in texts)

    def pairs(self, pairs: Pairs) -> Pairs:
        return tuple((self.word(name), self.word(value)) for name, value in pairs)

    def heredocs(self, heredocs: tuple[Heredoc, ...]) -> tuple[Heredoc, ...]:
        """Content, without the tabs that `<<-` takes off; the escape is always the backslash there."""
        expanded = []
        for heredoc in heredocs:
            data = heredoc.data
            if heredoc.expand:
                data = self._process(data, escape="\\", quotes=False)[0]
            expanded.append(Heredoc(heredoc.name, data, heredoc.expand, False, heredoc.fd))
        return tuple(expanded)

    def _process(self, text: str, escape: str = "", quotes: bool = True) -> tuple[str, list[str]]:
        try:
            expansion = process(text, self._get, escape or self._escape, quotes=quotes)
        except DockerfileError as error:
            shown = text if len(text) <= 100 else text[:97] + "..."
            raise self._instruction.problem(f'failed to process "{shown}": {error.problem}', error.hint, text) from None
        if quotes and len(expansion.text) > _LONGEST:
            raise self._instruction.problem(
                f"expands to {len(expansion.text)} characters, more than a program can be given"
            )
        self._unset |= expansion.unset
        return expansion.text, expansion.words


def expand(instruction: AnyInstruction, get: Get, escape: str = "\\", unset: set[str] | None = None) -> AnyInstruction:
    """Return the instruction with variables replaced in the fields that allow it.

    `get` returns the value of a name or None; names without a value are added to `unset`. Raises DockerfileError.
    """
    return instruction._expanded(_Expander(instruction, get, escape, set() if unset is None else unset))


class From(Instruction, kw_only=True):
    """FROM: `name` is in lower case, "" when there is none; `as_` and `name_written` are as in the file."""

    base: str
    name: str = ""
    platform: str = ""
    as_: str = ""
    name_written: str = ""


class Arg(Instruction, kw_only=True):
    """ARG: names, each with its default or None."""

    arguments: tuple[tuple[str, str | None], ...]

    def _expanded(self, expander: _Expander) -> Self:
        arguments = tuple(
            (expander.word(name), None if value is None else expander.word(value)) for name, value in self.arguments
        )
        return self.changed(arguments=arguments)


class Env(Instruction, kw_only=True):
    """ENV: `legacy` is the form without `=`."""

    variables: Pairs
    legacy: bool = False

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(variables=expander.pairs(self.variables))


class Label(Instruction, kw_only=True):
    """LABEL: `legacy` is the form without `=`."""

    labels: Pairs
    legacy: bool = False

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(labels=expander.pairs(self.labels))


class Maintainer(Instruction, kw_only=True):
    """MAINTAINER."""

    author: str


class Run(Instruction, kw_only=True):
    """RUN.

    `mounts` and `devices` are complete after expansion; before it mounts have only their `from_`. A `script` is a
    heredoc with `#!`: its `data` has to be executable, read-only, at /dev/pipes/NAME, which is then the command.
    """

    command: Command
    mount_texts: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    device_texts: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    script: Heredoc | None = None

    def _expanded(self, expander: _Expander) -> Self:
        mounts, devices = [], []
        text = ""
        try:
            for text in self.mount_texts:
                mounts.append(read_mount(text, expander.word))
            for text in self.device_texts:
                devices.append(read_device(text, expander.word))
        except DockerfileError as error:
            raise error if error.line else self.problem(error.problem, error.hint, text) from None
        return self.changed(mounts=tuple(mounts), devices=tuple(devices))


class Cmd(Instruction, kw_only=True):
    """CMD."""

    command: Command


class Entrypoint(Instruction, kw_only=True):
    """ENTRYPOINT."""

    command: Command


class Shell(Instruction, kw_only=True):
    """SHELL."""

    words: tuple[str, ...]


class Transfer(Instruction, kw_only=True):
    """What COPY and ADD share. A heredoc is a source: a file of its name with its `data`."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(
            chown=expander.word(self.chown),
            chmod=expander.word(self.chmod),
            sources=expander.texts(self.sources),
            destination=expander.word(self.destination),
            exclude=expander.texts(self.exclude),
            heredocs=expander.heredocs(self.heredocs),
        )


class Copy(Transfer, kw_only=True):
    """COPY: `from_` is a stage's name or number, a named context or an image; "" is the build context."""

    from_: str = ""
    parents: bool = False


class Add(Transfer, kw_only=True):
    """ADD: `keep_git_dir` and `unpack` are None when they are not given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None

    def _expanded(self, expander: _Expander) -> Self:
        expanded = super()._expanded(expander)
        return expanded.changed(checksum=expander.word(self.checksum))


class Expose(Instruction, kw_only=True):
    """EXPOSE: ports, ranges and protocols as written, sorted."""

    ports: tuple[str, ...]

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(ports=tuple(word for port in self.ports for word in expander.words(port)))


class Volume(Instruction, kw_only=True):
    """VOLUME."""

    paths: tuple[str, ...]

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(paths=expander.texts(self.paths))


class User(Instruction, kw_only=True):
    """USER."""

    user: str

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(user=expander.word(self.user))


class Workdir(Instruction, kw_only=True):
    """WORKDIR."""

    path: str

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(path=expander.word(self.path))


class StopSignal(Instruction, kw_only=True):
    """STOPSIGNAL."""

    signal: str

    def _expanded(self, expander: _Expander) -> Self:
        return self.changed(signal=expander.word(self.signal))


class Onbuild(Instruction, kw_only=True):
    """ONBUILD: `trigger` is the instruction behind it with its heredocs, as the image's configuration keeps it."""

    trigger: str


class Healthcheck(Instruction, kw_only=True):
    """HEALTHCHECK: `test` as configurations have it (`NONE`, `CMD`, `CMD-SHELL` first); times in nanoseconds."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0
