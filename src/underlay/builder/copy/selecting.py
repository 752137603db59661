"""Selecting: which files of a context, stage or image a COPY source names, and walking them; nothing else is looked at."""

from __future__ import annotations

import os
import stat

from ...errors import InvalidInput, KernelError, NotFound
from ...linux.files import beneath
from ...store import kinds
from ...store.layers import walking
from .names import clean, is_pattern, unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...store.layers.walking import Xattrs
    from ..context.patterns import Matcher

_HOPS = 255  # links followed for one path, as docker's FollowSymlinkInScope does
_GONE = (2, 20)  # ENOENT, ENOTDIR
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class SelectedFile:
    """One file of a selection.

    `path` is where it goes, relative to the destination; `source_path` is its path in the root, for messages. `facts`,
    `xattrs` and `link` say what it is; `facts` is None for a regular file: that is `name` in the directory `parent`, a
    descriptor which is valid until the next step. `above` says that it is only a directory on the way to what was named.
    """

    __slots__ = ("above", "facts", "kind", "link", "name", "parent", "path", "source_path", "xattrs")

    def __init__(self, path: bytes, source_path: bytes, kind: int, parent: int = -1, name: bytes = b"") -> None:
        self.path = path
        self.source_path = source_path
        self.kind = kind
        self.parent = parent
        self.name = name
        self.facts: os.stat_result | None = None
        self.xattrs: Xattrs = ()
        self.link = b""
        self.above = False


class Item:
    """One thing that a source names: a file or directory, called `name` there. The `components` of its path are no links.

    Of a directory the contents are meant; with `inside`, its path below the pivot of --parents, it goes there itself.
    """

    __slots__ = ("components", "inside", "is_dir", "name")

    def __init__(self, name: str, components: list[str], is_dir: bool, inside: list[str] | None = None) -> None:
        self.name = name
        self.components = components
        self.is_dir = is_dir
        self.inside = inside


class Selected:
    """What one source names: `items`, in the order in which they are copied; none for a pattern that nothing matches."""

    __slots__ = ("_exclude", "_view", "items")

    def __init__(self, view: View, items: list[Item], exclude: Matcher | None) -> None:
        self.items = items
        self._view = view
        self._exclude = exclude

    @property
    def root(self) -> int:
        """The descriptor of the root that it was selected from."""
        return self._view.root

    def top(self, item: Item) -> SelectedFile:
        """Return the directory that an item is. Raises KernelError."""
        return self._view.directory(item.components, "")

    def walk(self, item: Item) -> Iterator[SelectedFile]:
        """Yield the files of an item, sorted, directories before what is in them. Raises KernelError, Conflict.

        Sockets are among them, which no layer can hold.
        """
        return self._view.walk(item, self._exclude)


def select(
    root: int,
    source: str,
    *,
    ignore: Matcher | None = None,
    exclude: Sequence[str] = (),
    parents: bool = False,
    instruction: str = "COPY",
) -> Selected:
    """Find what `source` names below the directory `root` (a descriptor); links lead nowhere else.

    `ignore` hides files of a context altogether; `exclude` are the patterns of --exclude. With `parents` the part of
    `source` behind `/./` keeps its directories, and `**` stands for any number of them. Raises NotFound in the words of
    docker, InvalidInput for a bad pattern.
    """
    view = View(root, ignore)
    excluded = None
    if exclude:
        from ..context.patterns import Matcher

        excluded = Matcher(exclude)
    if parents:
        items = _with_parents(view, source, excluded)
        pattern = is_pattern(source)
    else:
        items, pattern = _plain(view, source)
        items = [item for item in items if not _left_out(item, excluded, pattern)]
        if not items and not pattern and view.resolve(_components(source)) is not None:
            pattern = True  # it is there, and excluded: nothing to copy
    items = [item for item in items if view.holds(item)]
    if not items and not pattern:
        name = "/" + "/".join(_components(source))
        hint = ""
        if ignore is not None and View(root, None).resolve(_components(source)) is not None:
            hint = "the ignore file of the context (.dockerignore) excludes it"
        raise NotFound(f'{instruction} failed: "{name}": not found', hint)
    return Selected(view, items, excluded)


def _components(path: str) -> list[str]:
    """Return the components of a source without wildcards: `..` stops at the root, slashes at the end mean nothing."""
    return [unescape(part) for part in clean("/" + path).split("/") if part]


def _plain(view: View, source: str) -> tuple[list[Item], bool]:
    parts = [part for part in clean("/" + source).split("/") if part]
    first = next((number for number, part in enumerate(parts) if is_pattern(part)), len(parts))
    if first == len(parts):
        names = _components(source)
        resolved = view.resolve(names)
        if resolved is None:
            return [], False
        return [Item(names[-1] if names else "", resolved[0], resolved[1] == kinds.DIRECTORY)], False
    base = view.resolve([unescape(part) for part in parts[:first]])
    items: list[Item] = []
    if base is None or base[1] != kinds.DIRECTORY:
        return items, False
    for components in view.expand(base[0], parts[first:], double=False):
        # What a pattern has matched is followed, if it is a link; a link to nothing is left out.
        resolved = view.resolve(components)
        if resolved is not None:
            items.append(Item(components[-1], resolved[0], resolved[1] == kinds.DIRECTORY))
    return items, True


def _left_out(item: Item, excluded: Matcher | None, pattern: bool) -> bool:
    """Tell whether --exclude means the item itself: a file, or a directory that only a pattern has found."""
    if excluded is None or not item.name or (item.is_dir and not pattern):
        return False
    return excluded.ignored(item.name, item.is_dir)


def _with_parents(view: View, source: str, excluded: Matcher | None) -> list[Item]:
    before, pivot, after = source.partition("/./")
    if not pivot:
        before, after = "", source
    parts = [part for part in clean("/" + after).split("/") if part]
    items = []
    for base in _bases(view, before):
        for components in view.expand(base, parts, double=True):
            inside = components[len(base) :]
            kind = view.kind(components)
            if kind is None or (excluded is not None and inside and excluded.ignored("/".join(inside))):
                continue
            items.append(Item(inside[-1] if inside else "", components, kind == kinds.DIRECTORY, inside))
    return items


def _bases(view: View, before: str) -> list[list[str]]:
    """Return the directories that the part of a source in front of its pivot names, which may be a pattern."""
    parts = [part for part in clean("/" + before).split("/") if part]
    if not any(map(is_pattern, parts)):
        found = [_components(before)]
    else:
        found = list(view.expand([], parts, double=False))
    bases = [view.resolve(components) for components in found]
    return [base[0] for base in bases if base is not None and base[1] == kinds.DIRECTORY]


class View:
    """A root as a build sees it: what an ignore file hides is not there."""

    __slots__ = ("_ignore", "root")

    def __init__(self, root: int, ignore: Matcher | None) -> None:
        self.root = root
        self._ignore = ignore

    def hidden(self, path: str, is_dir: bool) -> bool:
        """Tell whether the ignore file hides a path, and for a directory also all that is below."""
        if self._ignore is None or not path or not self._ignore.ignored(path, is_dir):
            return False
        return not is_dir or not self._ignore.may_hold_exceptions(path)

    def kind(self, components: list[str]) -> int | None:
        """Return the kind of the file at `components`, where no component may be a link but the last; None without one."""
        fd = self._open(components)
        if fd < 0:
            return None
        try:
            return walking.kind_of(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def resolve(self, path: list[str]) -> tuple[list[str], int] | None:
        """Follow `path` and all links, as in a chroot; return the path without links and its kind, None without one."""
        todo = path[::-1]
        here: list[str] = []
        hops = 0
        kind = kinds.DIRECTORY
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del here[-1:]
                kind = kinds.DIRECTORY
                continue
            fd = self._open([*here, part])
            if fd < 0:
                return None
            try:
                mode = os.fstat(fd).st_mode
                if self.hidden("/".join([*here, part]), stat.S_ISDIR(mode)):
                    return None
                if stat.S_ISLNK(mode):
                    hops += 1
                    if hops > _HOPS:
                        raise InvalidInput(f"too many symbolic links in {'/'.join(path)!r:.200}")
                    target = os.readlink("", dir_fd=fd)
                    if target.startswith("/"):
                        here = []
                    todo += target.split("/")[::-1]
                    continue
            finally:
                os.close(fd)
            here.append(part)
            kind = walking.kind_of(mode)
        return here, kind

    def _open(self, components: list[str]) -> int:
        try:
            return beneath.open_in_root(
                self.root, "/".join(components) or ".", os.O_PATH | os.O_NOFOLLOW, resolve=beneath.RESOLVE_NO_SYMLINKS
            )
        except KernelError as error:
            # A link before the last component is none of ours; a name longer than any can be is nothing.
            if error.errno in (*_GONE, 36, 40):
                return -1
            raise

    def expand(self, base: list[str], parts: list[str], *, double: bool) -> Iterator[list[str]]:
        """Yield the paths below the directory `base` that patterns, one a component, match; links are not followed.

        With `double`, `**` matches any number of directories. Nothing below a match is yielded.
        """
        stack: list[tuple[list[str], int]] = [(base, 0)]
        seen: set[tuple[str, ...]] = set()
        while stack:
            components, depth = stack.pop()
            if depth == len(parts):
                if tuple(components) not in seen:
                    seen.add(tuple(components))
                    yield components
                continue
            part = parts[depth]
            if double and part == "**" and depth < len(parts) - 1:
                below = [
                    ([*components, name], depth) for name, kind in self._listed(components) if kind == kinds.DIRECTORY
                ]
                stack += [*below[::-1], (components, depth + 1)]
                continue
            last = depth == len(parts) - 1
            if is_pattern(part):
                from ..context.patterns import compile_name

                match = compile_name("*" if double and part == "**" else part).fullmatch
                entries = [(name, kind) for name, kind in self._listed(components) if match(name)]
            else:
                name = unescape(part)
                kind = self.kind([*components, name])
                entries = [(name, kind)] if kind is not None else []
                entries = [
                    entry
                    for entry in entries
                    if not self.hidden("/".join([*components, name]), kind == kinds.DIRECTORY)
                ]
            stack += [([*components, n], depth + 1) for n, k in reversed(entries) if last or k == kinds.DIRECTORY]

    def _listed(self, components: list[str]) -> list[tuple[str, int]]:
        """Return names and kinds in a directory, sorted, that are not hidden; none when it is no directory."""
        try:
            fd = beneath.open_in_root(
                self.root, "/".join(components) or ".", _DIRECTORY, resolve=beneath.RESOLVE_NO_SYMLINKS
            )
        except KernelError as error:
            if error.errno in (*_GONE, 40):
                return []
            raise
        try:
            names = [(os.fsdecode(name), kind) for name, kind in reversed(walking.listed(fd))]
        finally:
            os.close(fd)
        prefix = "".join(part + "/" for part in components)
        return [(name, kind) for name, kind in names if not self.hidden(prefix + name, kind == kinds.DIRECTORY)]

    def holds(self, item: Item) -> bool:
        """Tell whether there is something to be seen of an item: not so for an ignored directory with nothing let in."""
        path = "/".join(item.components)
        if self._ignore is None or not path or not self._ignore.ignored(path, item.is_dir):
            return True
        return item.is_dir and next(self.walk(item, None), None) is not None

    # Walking

    def walk(self, item: Item, exclude: Matcher | None) -> Iterator[SelectedFile]:
        """Yield the files of an item: see `Selected.walk`."""
        source_path = "/".join(item.components)
        if item.inside:
            for depth in range(1, len(item.inside)):
                above = item.components[: len(item.components) - len(item.inside) + depth]
                parent_directory = self.directory(above, "/".join(item.inside[:depth]))
                parent_directory.above = True
                yield parent_directory
        target = "/".join(item.inside) if item.inside is not None else ""
        if not item.is_dir:
            parent = self._directory(item.components[:-1])
            try:
                yield self._file(parent, item, os.fsencode(target or item.name), os.fsencode(source_path))
            finally:
                os.close(parent)
            return
        if item.inside:
            yield self.directory(item.components, target)
        fd = self._directory(item.components)
        try:
            yield from self._below(fd, os.fsencode(source_path), os.fsencode(target), exclude)
        finally:
            os.close(fd)

    def _directory(self, components: list[str]) -> int:
        return beneath.open_in_root(
            self.root, "/".join(components) or ".", _DIRECTORY, resolve=beneath.RESOLVE_NO_SYMLINKS
        )

    def directory(self, components: list[str], path: str) -> SelectedFile:
        """Return a directory by itself, which goes to `path`."""
        selected = SelectedFile(os.fsencode(path), os.fsencode("/".join(components)), kinds.DIRECTORY)
        fd = self._directory(components)
        try:
            selected.facts = os.fstat(fd)
            selected.xattrs = walking.file_attributes(fd, selected.source_path)
        finally:
            os.close(fd)
        return selected

    def _file(self, parent: int, item: Item, path: bytes, source_path: bytes) -> SelectedFile:
        name = os.fsencode(item.components[-1])
        facts = walking.look(parent, name, source_path)
        return _found(parent, name, path, source_path, walking.kind_of(facts.st_mode))

    def _below(
        self, root: int, source_directory: bytes, target: bytes, exclude: Matcher | None
    ) -> Iterator[SelectedFile]:
        inside = source_directory + b"/" if source_directory else b""
        prefix = target + b"/" if target else b""
        ignore = self._ignore
        # Hidden directories on the way to something that may be let in again: shown when that is found.
        waiting: list[SelectedFile] = []
        closed: set[bytes] = set()
        for fd, path, name, kind in walking.walk(root, lambda path: path not in closed):
            enter = True
            here = inside + path
            aim = prefix + path
            hidden = False
            for matcher, known in ((ignore, here), (exclude, aim if target else path)):
                if matcher is not None and matcher.ignored(text := os.fsdecode(known), kind == kinds.DIRECTORY):
                    hidden = True
                    enter = enter and kind == kinds.DIRECTORY and matcher.may_hold_exceptions(text)
            if waiting:
                while waiting and not aim.startswith(waiting[-1].path + b"/"):
                    waiting.pop()
            if hidden and not enter:
                closed.add(path)
                continue
            selected = _found(fd, name, aim, here, kind)
            if hidden:
                waiting.append(selected)
                continue
            if waiting:
                yield from waiting
                waiting.clear()
            yield selected


def _found(parent: int, name: bytes, path: bytes, source_path: bytes, kind: int) -> SelectedFile:
    """Return a file with what is known of it; regular ones are not looked at."""
    selected = SelectedFile(path, source_path, kind, parent, name)
    if kind == kinds.REGULAR:
        return selected
    facts = walking.look(parent, name, source_path)
    selected.kind = walking.kind_of(facts.st_mode)
    if selected.kind == kinds.REGULAR:
        return selected
    selected.facts = facts
    if selected.kind == kinds.SYMLINK:
        selected.link = walking.read_link(parent, name, source_path)
    else:
        selected.xattrs = walking.attributes(parent, name, source_path)
    return selected
