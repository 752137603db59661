"""What commands print: tables in docker's form, `--format` templates and JSON; on a terminal without control characters."""

from __future__ import annotations

import sys

from ..errors import InvalidInput, UnderlayError
from . import problems
from .templates.gotemplate import Template, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_MINIMUM = 10  # columns and padding as docker's tab writer has them
_PADDING = 3
_NO_TEMPLATE = 64  # what docker's `inspect` ends with when it cannot read its template


def render(template: str, value: object) -> str:
    """Return `value` through `--format`: `json`, or a Go template. Raises InvalidInput for a template that is
    none."""
    if template == "json":
        return _json(value)
    return _parsed(_unescaped(template)).render(value)


def _parsed(template: str) -> Template:
    """Return a template whose values, on a terminal, cannot steer that: they come from images and registries, too."""
    return Template(template, shown=harmless if _on_terminal() else None)


def _json(value: object) -> str:
    text = to_json(value)
    return harmless(text) if _on_terminal() else text


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def harmless(text: str) -> str:
    """Return a text with its control characters, but line breaks and tabs, as JSON escapes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def quoted(text: str) -> str:
    """Return a text in double quotes, as Go quotes it: quotes, backslashes and control characters escaped."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + harmless(inner).replace("\n", "\\n").replace("\t", "\\t") + '"'


def listing(
    rows: Sequence[dict[str, Any]],
    headers: dict[str, str],
    default: str,
    template: str = "",
    quiet: str = "",
    whole: bool = False,
) -> str:
    """Return rows as `--format` asks: `table` (the default), `table TEMPLATE`, `json`, or TEMPLATE a row.

    `headers` gives the column title of each key, `default` the template of the table that is shown without
    `--format`; with `quiet` only that template is used, without titles. On a terminal the table is made to fit its width,
    unless it is to be `whole`. The text ends with a newline unless empty.
    """
    if quiet:
        return "".join(_parsed(quiet).render(row) + "\n" for row in rows)
    if template == "json":
        plain_rows = ({name: value for name, value in sorted(row.items()) if not callable(value)} for row in rows)
        return "".join(_json(row) + "\n" for row in plain_rows)
    if template in ("", "table"):
        template = "table " + default
    if template.startswith("table ") or template.startswith("table\t"):
        body = _unescaped(template[6:].strip(" "))
        # In the line of titles functions leave the words as they are.
        same = dict.fromkeys(("json", "lower", "upper", "title", "split", "join", "truncate", "pad"), _first)
        titles = Template(body, same).render(headers)
        parsed = Template(body)
        lines = [line.split("\t") for line in (titles, *(parsed.render(row) for row in rows))]
        return table(lines if whole or not _on_terminal() else fitting(lines, _columns()))
    parsed = _parsed(_unescaped(template))
    return "".join(parsed.render(row) + "\n" for row in rows)


def _columns() -> int:
    import os

    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def fitting(lines: Sequence[Sequence[str]], columns: int) -> list[list[str]]:
    """Return the cells of a table shortened, the longest columns first, so that a line has no more than `columns`.

    Titles stay, and ten characters of each cell; 0 columns are any number of them.
    """
    cells = [[plain(cell) for cell in line] for line in lines]
    widths = [max(len(line[number]) for line in cells) for number in range(len(cells[0]))]
    least = [max(_MINIMUM, len(title)) for title in cells[0]]
    room = columns - _PADDING * (len(widths) - 1)
    while columns and sum(map(max, widths[:-1], [_MINIMUM - _PADDING] * len(widths[:-1]))) + widths[-1] > room:
        widest = max(range(len(widths)), key=lambda number: widths[number] - least[number])
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
    return [
        [cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(line, widths, strict=True)]
        for line in cells
    ]


def table(lines: Sequence[Sequence[str]], minimum: int = _MINIMUM) -> str:
    """Return lines of cells as aligned text, columns of at least `minimum`; the last cell of a line is not padded."""
    lines = [[plain(cell) for cell in line] for line in lines]
    widths: list[int] = []
    for line in lines:
        for number, cell in enumerate(line[:-1]):
            width = max(minimum, len(cell) + _PADDING)
            if number == len(widths):
                widths.append(width)
            elif width > widths[number]:
                widths[number] = width
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )


def plain(cell: str) -> str:
    """Return a cell or line without control characters: an image's author must not steer the terminal."""
    return cell if cell.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cell)


def _first(value: Any, *rest: Any) -> Any:
    return value


def _unescaped(template: str) -> str:
    return template.replace("\\t", "\t").replace("\\n", "\n")


def inspected(names: Sequence[str], find: Callable[[str], dict[str, Any]], template: str) -> int:
    """Print what `find` returns for each name, as a JSON list or a line each through `template`; return the
    exit code.

    Errors about missing objects are printed on standard error after the rest, as docker does.
    """
    objects: list[dict[str, Any]] = []
    failed: list[UnderlayError] = []
    for name in names:
        try:
            objects.append(find(name))
        except UnderlayError as error:
            failed.append(error)
    if template and template != "json":
        try:
            parsed = _parsed(_unescaped(template))
        except InvalidInput as error:
            error.exit_code = _NO_TEMPLATE
            raise
        text = "".join(parsed.render(item) + "\n" for item in objects)
    elif template:
        text = "".join(_json(item) + "\n" for item in objects)
    else:
        text = pretty(objects) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()
    for problem in failed:
        sys.stderr.write(problems.lines(problem))
    return int(bool(failed))


def pretty(value: Any) -> str:
    """Return JSON over several lines, indented by four spaces as docker prints it."""
    text = _indented(value, "")
    return harmless(text) if _on_terminal() else text


def _indented(value: Any, indent: str) -> str:
    inner = indent + "    "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{to_json(str(key))}: {_indented(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(inner + _indented(item, inner) for item in value) + f"\n{indent}]"
    return to_json(value)
