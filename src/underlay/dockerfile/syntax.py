"""From the bytes of a Dockerfile to its nodes: directives, comments, continued lines, flags, heredocs."""

from __future__ import annotations

import re

from ..lean.values import Value
from .arguments import Arguments, read_arguments, split_line
from .heredocs import Heredoc, heredocs_of
from .problems import DockerfileError, Source
from .words import SPACE

FILE_LIMIT = 8 << 20  # bytes
LINE_LIMIT = 65535  # bytes; BuildKit's
HEREDOC_KEYWORDS = frozenset(("add", "copy", "run"))

_DIRECTIVE = re.compile(r"#[ \t\r\f\v]*([a-zA-Z][a-zA-Z0-9]*)[ \t\r\f\v]*=[ \t\r\f\v]*(.+?)[ \t\r\f\v]*")
_DIRECTIVES = frozenset(("syntax", "escape", "check"))


class Node(Value):
    """An instruction as it is written.

    `keyword` is in lower case, `written` as in the file; `text` is the instruction as one line, without comments,
    continuations and what heredocs hold. `child` is the instruction behind ONBUILD; `empty_continuation` is the line
    on which an instruction ends that has empty lines inside, else 0.
    """

    keyword: str
    written: str
    flags: tuple[tuple[str, str | None], ...]
    arguments: Arguments
    rest: str
    text: str
    source: Source
    line: int
    last_line: int
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    empty_continuation: int = 0
    child: Node | None = None

    def problem(self, problem: str, hint: str = "", token: str = "") -> DockerfileError:
        """Return the error that says `problem` of this node, pointing at `token` if it is found in the node's lines."""
        line, column = self.source.find(token, self.line, self.last_line)
        return DockerfileError(problem, hint, self.source, line, column, self.last_line)


class Document(Value):
    """A Dockerfile: `directives` by their names in lower case, and its `nodes` in order."""

    source: Source
    directives: dict[str, str]
    escape: str
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """The name under which it was read."""
        return self.source.name

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines as they are in the file."""
        return tuple(self.source.lines)


def parse(data: bytes, name: str = "Dockerfile") -> Document:
    """Return the nodes of a Dockerfile; raises DockerfileError, as BuildKit's parser would."""
    return _Parser(data, name).parse()


class _Parser:
    def __init__(self, data: bytes, name: str) -> None:
        if len(data) > FILE_LIMIT:
            raise DockerfileError(f"{name}: longer than {FILE_LIMIT} bytes")
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        self.lines = lines
        self.source = Source(name, lines)
        self.index = 0
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.directives_done = False

    def parse(self) -> Document:
        self._check()
        nodes: list[Node] = []
        comments: list[str] = []
        while self.index < len(self.lines):
            line = self._next().lstrip(SPACE)
            if line.startswith("#"):
                comment = line[1:].strip(SPACE)
                if self._directive(line):
                    continue
                if comment:
                    comments.append(comment)
                else:
                    comments = []
                continue
            self.directives_done = True
            if not line:
                comments = []
                continue
            nodes.append(self._node(line, tuple(comments)))
            comments = []
        if not nodes:
            raise DockerfileError("file with no instructions", "", self.source, max(1, len(self.lines)), 1)
        return Document(self.source, self.directives, self.escape, tuple(nodes))

    def _check(self) -> None:
        for number, line in enumerate(self.lines, 1):
            column = line.find("\0")
            if column >= 0:
                raise DockerfileError("NUL byte", "is this a Dockerfile?", self.source, number, column + 1)
            if len(line) > LINE_LIMIT // 4 and len(line.encode("utf-8", "surrogateescape")) > LINE_LIMIT:
                raise DockerfileError(
                    f"dockerfile line greater than max allowed size of {LINE_LIMIT}", "", self.source, number, 1
                )

    def _next(self) -> str:
        line = self.lines[self.index]
        self.index += 1
        return line.rstrip("\r")

    def _directive(self, line: str) -> bool:
        """Tell whether the comment `line` is a directive, and keep it when it is."""
        if self.directives_done:
            return False
        match = _DIRECTIVE.fullmatch(line)
        name = match[1].lower() if match else ""
        if not match or name not in _DIRECTIVES:
            # A `#!` line before the directives hides `escape` from BuildKit, but not the others.
            self.directives_done = self.index > 1 or not line.startswith("#!")
            return False
        if name in self.directives:
            raise self._error(f"only one {name} parser directive can be used")
        value = match[2]
        if name == "escape":
            if value not in ("\\", "`"):
                raise self._error(f"invalid escape token '{value}' does not match ` or \\")
            if self.lines[0].startswith("#!"):
                return True
            self.escape = value
        self.directives[name] = value
        return True

    def _error(self, problem: str) -> DockerfileError:
        line, column = self.source.find("", self.index, self.index)
        return DockerfileError(problem, "", self.source, line, column)

    def _continued(self, line: str) -> tuple[str, bool]:
        """Return a line without the escape at its end, and whether there is one."""
        stripped = line.rstrip(" \t")
        if stripped.endswith(self.escape) and not stripped.endswith(self.escape * 2):
            return stripped[:-1], True
        return line, False

    def _node(self, line: str, comments: tuple[str, ...]) -> Node:
        first = self.index
        line, more = self._continued(line)
        parts = [line]
        empty = False
        while more and self.index < len(self.lines):
            line = self._next()
            start = line.lstrip(SPACE)
            if start.startswith("#"):
                continue
            if not start:
                empty = True
                continue
            line, more = self._continued(line)
            parts.append(line)
        node = self._node_of("".join(parts), first, comments, self.index if empty else 0)
        inner = node.child if node.keyword == "onbuild" and node.child else node
        if inner.keyword not in HEREDOC_KEYWORDS or inner.arguments.json or "<<" not in node.text:
            return node
        try:
            heredocs = tuple(self._content(heredoc, node) for heredoc in heredocs_of(node.text))
        except DockerfileError as error:
            raise error if error.line else node.problem(error.problem, token="<<") from None
        return node.changed(heredocs=heredocs, last_line=self.index)

    def _node_of(self, text: str, line: int, comments: tuple[str, ...], empty: int) -> Node:
        written, flags, rest = split_line(text)
        keyword = written.lower()
        child = None
        if keyword == "onbuild" and rest:
            if rest.split(None, 1)[0].lower() == "onbuild":
                child = Node("onbuild", rest[:7], (), Arguments(), "", rest, self.source, line, self.index)
            else:
                child = self._node_of(rest, line, (), 0)
        node = Node(
            keyword, written, flags, Arguments(), rest, text, self.source, line, self.index, (), comments, empty
        )
        try:
            arguments = read_arguments(keyword, rest, self.escape)
        except DockerfileError as error:
            raise node.problem(error.problem, error.hint, rest) from None
        return node.changed(arguments=arguments, child=child)

    def _content(self, heredoc: Heredoc, node: Node) -> Heredoc:
        """Return a heredoc with the lines up to its end."""
        first = self.index
        while self.index < len(self.lines):
            line = self._next()
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                content = "".join(f"{line}\n" for line in self.lines[first : self.index - 1])
                return heredoc.changed(content=content)
        raise node.problem("unterminated heredoc", f"no line holds only {heredoc.name}", "<<")
