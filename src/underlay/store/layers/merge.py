"""Merging the layers of an image into one tree, with whiteouts applied, and what a layer changes in it.

The result is what unpacking layer after layer into one root makes (OCI image specification, "Applying
Changesets"), but computed: no path of an image is ever opened. Nodes refer to table of contents entries.
"""

from __future__ import annotations

import msgspec

from ...errors import Corrupt, LimitExceeded
from ..kinds import LEFTOVER_LINKS, OPAQUE, WHITEOUT
from ..limits import DEFAULT
from .toc import CHARACTER, DIRECTORY, HARDLINK, REGULAR, SYMLINK, Entry, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..limits import Limits


# A directory that members need but no layer has: what umoci and docker make of it, with a fixed time.
_IMPLIED = Entry(b"", DIRECTORY, 0o755, 0, 0, 0, 0, 0)


class Node:
    """One inode of a merged tree.

    `entry` gives its attributes and content, `layer` is the number of the layer that entry is from.
    `children` maps names to nodes in a directory, None elsewhere. A node with several names is in several
    `children`. `nlink` is valid after `Tree.count_links`. `born` is the layer in which a directory came to
    be, or was made opaque.
    """

    __slots__ = ("born", "children", "depth", "entry", "layer", "nlink", "parent")

    def __init__(self, entry: Entry, layer: int, parent: Node | None = None) -> None:
        self.entry = entry
        self.layer = layer
        self.nlink = 0
        self.born = layer
        # Directories have exactly one name, so they know their parent; the root is its own.
        self.parent: Node = parent or self
        self.children: dict[bytes, Node] | None = None
        self.depth = 0
        if entry.kind == DIRECTORY:
            self.children = {}
            self.depth = parent.depth + 1 if parent else 0

    @property
    def xattrs(self) -> list[tuple[bytes, bytes]]:
        """The extended attributes that a file of this node has: see `_allowed`."""
        attributes = self.entry.xattrs
        return [pair for pair in attributes if _allowed(pair[0], self.entry.kind)] if attributes else []


def _allowed(name: bytes, kind: int) -> bool:
    """Return whether a layer may set extended attribute `name` on a file of this kind.

    Never what directs overlayfs (`trusted.*`, `user.overlay.*`) or a security module (`security.*` but file
    capabilities); nothing that is not in xattr(7); nothing that Linux would not accept on that kind of
    file.
    """
    if name.startswith(b"user."):
        return kind in (REGULAR, DIRECTORY) and len(name) > 5 and not name.startswith(b"user.overlay.")
    if name == b"system.posix_acl_access":
        return kind != SYMLINK
    if name == b"system.posix_acl_default":
        return kind == DIRECTORY
    return name == b"security.capability" and kind == REGULAR


class Tree:
    """The merged tree of some layers: `apply` adds one more on top."""

    __slots__ = ("_apart", "_layer", "_limits", "_nodes", "_steps", "layers", "root")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.root = Node(_IMPLIED, -1)
        self.layers = 0
        self._apart: dict[bytes, Node] = {}  # what the layer keeps in LEFTOVER_LINKS
        self._limits = limits
        self._layer = 0
        self._nodes = 1
        self._steps = 0

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply a layer's table of contents.

        Raises Corrupt for a layer that means nothing: a hard link to nothing or to a directory, a member
        below a file of the same layer, a loop of links, a root that is no directory, a whiteout without a name.
        Raises LimitExceeded for trees beyond the limits. The tree is of no use after that.
        """
        self._layer = self.layers
        self.layers += 1
        self._apart = {}
        # Whiteouts hide lower layers only, wherever they stand in the layer: so they go first.
        whiteouts = []
        rest = []
        for entry in entries:
            parts = _parts(entry.name)
            if WHITEOUT in entry.name and any(part.startswith(WHITEOUT) for part in parts):
                if parts[0] == LEFTOVER_LINKS and len(parts) == 2 and entry.kind != DIRECTORY:
                    rest.append((entry, parts))
                # Other files below such a name are not shown.
                elif not any(part.startswith(WHITEOUT) for part in parts[:-1]):
                    whiteouts.append((entry, parts))
            else:
                rest.append((entry, parts))
        if whiteouts:
            links = {b"/".join(parts) for entry, parts in rest if entry.kind == SYMLINK}
            for entry, parts in whiteouts:
                self._whiteout(entry, parts, links)
        for entry, parts in rest:
            if parts and parts[0] == LEFTOVER_LINKS:
                target = self._target(entry) if entry.kind == HARDLINK else None
                self._apart[parts[1]] = target or self._new(entry, self.root)
            else:
                self._add(entry, parts)

    def clone(self) -> Tree:
        """Return an independent copy that shares the entries."""
        other = Tree(self._limits)
        other.layers = self.layers
        other._nodes = self._nodes
        other.root = _copy(self.root, None)
        copies: dict[int, Node] = {}
        stack = [(self.root, other.root)]
        while stack:
            old, new = stack.pop()
            assert old.children is not None and new.children is not None
            target = new.children
            for name, child in old.children.items():
                if child.children is not None:
                    copy = _copy(child, new)
                    stack.append((child, copy))
                elif (known := copies.get(id(child))) is not None:
                    copy = known
                else:
                    copy = copies[id(child)] = _copy(child, new)
                target[name] = copy
        return other

    def count_links(self) -> int:
        """Set `nlink` of every node and return the number of inodes."""
        for _, directory in self.directories():
            directory.nlink = 2
            for child in _children(directory).values():
                child.nlink = 0
        count = 0
        for _, directory in self.directories():
            count += 1
            for child in _children(directory).values():
                if child.children is not None:
                    directory.nlink += 1
                else:
                    count += not child.nlink
                    child.nlink += 1
        return count

    def directories(self) -> Iterator[tuple[bytes, Node]]:
        """Yield (name, node) of every directory, parents first, in a fixed order."""
        stack = [(b"", self.root)]
        while stack:
            name, node = stack.pop()
            yield name, node
            children = _children(node)
            stack += [(n, children[n]) for n in sorted(children, reverse=True) if children[n].children is not None]

    # Applying

    def _whiteout(self, entry: Entry, parts: list[bytes], links: set[bytes]) -> None:
        """Apply a whiteout or an opaque mark; `links` are the paths of the symbolic links in the same layer."""
        base = parts[-1]
        hidden = base[len(WHITEOUT) :]
        if base != OPAQUE and hidden in (b"", b".", b".."):
            raise Corrupt(f"whiteout {shown(entry.name)} names no file")
        node = self.root
        for index, part in enumerate(parts[:-1]):
            self._count(1)
            child = _children(node).get(part)
            missing: list[bytes] = []
            if child is not None and child.children is None:
                if child.entry.kind == SYMLINK and b"/".join(parts[: index + 1]) in links:
                    # The layer has the link too: what is below it lies where it leads.
                    child, missing = self._walk_links(node, [part], entry)
                else:
                    child = self._implied(node, part)
            if child is None or missing or child.children is None:
                return
            node = child
        assert node.children is not None
        if base == OPAQUE:
            node.children = {}
            node.born = self._layer
        elif not hidden.startswith(WHITEOUT):
            # No file can be called .wh.*, so such a whiteout (aufs left some, .wh..wh.plnk) hides nothing.
            node.children.pop(hidden, None)

    def _add(self, entry: Entry, parts: list[bytes]) -> None:
        if not parts:
            if entry.kind != DIRECTORY:
                raise Corrupt(f"member {shown(entry.name)} would replace the root, but is not a directory")
            self.root.entry = entry
            self.root.layer = self._layer
            return
        target = self._target(entry) if entry.kind == HARDLINK else None
        parent = self._make(parts[:-1], entry)
        children = _children(parent)
        name = parts[-1]
        old = children.get(name)
        if entry.kind == CHARACTER and not entry.major and not entry.minor:
            # Device 0:0 is overlayfs's own whiteout: it would be listed, but not there. So it hides, as
            # there.
            children.pop(name, None)
        elif target is not None:
            children[name] = target
        elif entry.kind == DIRECTORY and old is not None and old.children is not None:
            old.entry = entry
            old.layer = self._layer
        else:
            children[name] = self._new(entry, parent)

    def _target(self, entry: Entry) -> Node:
        """Return the node that a hard link means, changed by the link's header; the last component is not followed."""
        parts = _parts(entry.link)
        node: Node | None = None
        if parts and parts[0] == LEFTOVER_LINKS:
            node = self._apart.get(b"/".join(parts[1:]))
        elif parts:
            parent, missing = self._walk(parts[:-1], entry)
            if not missing and parent.children is not None:
                node = parent.children.get(parts[-1])
        if node is None and parts:
            raise Corrupt(f"hard link {shown(entry.name)} to {shown(entry.link)}, which does not exist")
        if node is None or node.children is not None:
            raise Corrupt(f"hard link {shown(entry.name)} to {shown(entry.link)}, which is a directory")
        node.entry = _relinked(node.entry, entry)
        if len(node.entry.xattrs) > self._limits.xattrs:
            raise LimitExceeded(f"{shown(entry.name)} has more than {self._limits.xattrs} extended attributes")
        return node

    def _new(self, entry: Entry, parent: Node) -> Node:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise LimitExceeded(f"the image has more than {self._limits.nodes} files")
        if parent.depth >= self._limits.depth:
            raise LimitExceeded(f"{shown(entry.name)} is more than {self._limits.depth} directories deep")
        return Node(entry, self._layer, parent)

    def _make(self, parts: list[bytes], entry: Entry) -> Node:
        """Return the directory that `parts` lead to, made where it is missing.

        A link or a file of a lower layer in the way gives place to a directory: tools that unpack each layer by
        itself, as docker and podman do, see neither. A link of the same layer is followed.
        """
        node = self.root
        self._count(len(parts) + 1)
        for part in parts:
            child = _children(node).get(part)
            if child is None or (child.children is None and child.layer != self._layer):
                child = self._implied(node, part)
            elif child.entry.kind == SYMLINK:
                child, missing = self._walk_links(node, [part], entry)
                for name in missing if child.children is not None else ():
                    child = self._implied(child, name)
            if child.children is None:
                raise Corrupt(f"member {shown(entry.name)} is below a file that is not a directory")
            node = child
        return node

    def _implied(self, parent: Node, name: bytes) -> Node:
        child = _children(parent)[name] = self._new(_IMPLIED, parent)
        return child

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > self._limits.steps:
            raise LimitExceeded("resolving the image's paths takes too many steps")

    def _walk(self, parts: list[bytes], entry: Entry) -> tuple[Node, list[bytes]]:
        """Follow `parts` and all links from the root; return where that ends and what is missing there.

        As chroot(2) would: an absolute target starts at the root, `..` stops there. Where a component is
        missing, `..` after it takes it back. A node that is no directory ends the walk, whatever is left of
        `parts`.
        """
        self._count(len(parts) + 1)
        node = self.root
        for index, part in enumerate(parts):
            child = _children(node).get(part)
            if child is None:
                return node, parts[index:]
            if child.children is None:
                if child.entry.kind != SYMLINK:
                    return child, []
                return self._walk_links(node, parts[index:], entry)
            node = child
        return node, []

    def _walk_links(self, node: Node, parts: list[bytes], entry: Entry) -> tuple[Node, list[bytes]]:
        missing: list[bytes] = []
        todo = parts[::-1]
        hops = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if missing:
                    missing.pop()
                else:
                    node = node.parent
                continue
            child = None if missing else _children(node).get(part)
            if child is None:
                # Names out of a link's target were not checked as those of members are.
                if len(part) > self._limits.component:
                    raise LimitExceeded(
                        f"{shown(entry.name)} is below a link whose target contains a name of {len(part)} bytes"
                    )
                if part.startswith(WHITEOUT):
                    raise Corrupt(f"{shown(entry.name)} is below a link whose target contains the name of a whiteout")
                missing.append(part)
            elif child.children is not None:
                node = child
            elif child.entry.kind == SYMLINK:
                hops += 1
                if hops > self._limits.hops:
                    raise Corrupt(f"member {shown(entry.name)} leads through a loop of symbolic links")
                target = child.entry.link.split(b"/")
                self._count(len(target))
                if not target[0]:
                    node = self.root
                todo += target[::-1]
            else:
                return child, []
        return node, missing


def merge(layers: Iterable[Sequence[Entry]], limits: Limits = DEFAULT) -> Tree:
    """Return the tree that tables of contents, base first, make together; raises as `Tree.apply`."""
    tree = Tree(limits)
    for entries in layers:
        tree.apply(entries)
    return tree


def _relinked(target: Entry, link: Entry) -> Entry:
    """Return an inode's entry after a hard link to it: docker and podman apply the link's header to the inode.

    Changing the owner takes capabilities away (chown(2)) unless the link has them again; other attributes are added to
    those that are there. A symbolic link has neither a mode nor, in their hands, a new time.
    """
    plain = target.kind != SYMLINK
    mode, mtime, nsec, xattrs = target.mode, target.mtime, target.nsec, target.xattrs
    if plain:
        mode, mtime, nsec = link.mode, link.mtime, link.nsec
        if xattrs != link.xattrs:
            kept = {name: value for name, value in xattrs if name != b"security.capability"}
            xattrs = tuple(sorted({**kept, **dict(link.xattrs)}.items()))
    if (target.mode, target.uid, target.gid, target.mtime, target.nsec, target.xattrs) == (
        mode, link.uid, link.gid, mtime, nsec, xattrs,
    ):  # fmt: skip
        return target
    return msgspec.structs.replace(target, mode=mode, uid=link.uid, gid=link.gid, mtime=mtime, nsec=nsec, xattrs=xattrs)


def _parts(name: bytes) -> list[bytes]:
    """Split a path; `.`, `..` and empty components go by the letter, as with path.Clean("/" + name) in Go."""
    parts = name.split(b"/")
    if b".." in parts:
        kept: list[bytes] = []
        for part in parts:
            if part == b"..":
                if kept:
                    kept.pop()
            elif part and part != b".":
                kept.append(part)
        return kept
    if b"" in parts or b"." in parts:
        return [part for part in parts if part and part != b"."]
    return parts


def _children(node: Node) -> dict[bytes, Node]:
    assert node.children is not None
    return node.children


def _copy(node: Node, parent: Node | None) -> Node:
    copy = Node(node.entry, node.layer, parent)
    copy.born = node.born
    return copy


class Change:
    """What a layer's directory must contain at one path so that overlayfs shows the upper tree.

    `node` is the file or directory to make, None for a whiteout. In a directory, `children` are the changes
    below it and `opaque` says that nothing of the lower layers may show through.
    """

    __slots__ = ("_name", "_parent", "children", "node", "opaque")

    def __init__(self, node: Node | None, parent: Change | None = None, name: bytes = b"") -> None:
        self.node = node
        self.opaque = False
        self.children: dict[bytes, Change] = {}
        self._parent = parent
        self._name = name

    def needed(self) -> None:
        """Hang the change and the directories above it into the tree of changes."""
        change = self
        while (parent := change._parent) is not None and change._name not in parent.children:
            parent.children[change._name] = change
            change = parent


def difference(lower: Tree, upper: Tree, first: int | None = None) -> Change:
    """Return the changes that lead from `lower` (a clone taken before the last `apply`) to `upper`.

    `first` is the number of the layer after which the clone was taken, for one taken earlier.

    All names of an inode are created again when one of them is added or removed, since overlayfs would otherwise show
    two inodes, or a wrong link count.
    """
    first = upper.layers - 1 if first is None else first
    lower.count_links()
    upper.count_links()
    top = Change(upper.root)
    # Names that are the same in both trees, of inodes that have or had several.
    kept: dict[int, list[tuple[Change, Node]]] = {}
    stack: list[tuple[Node | None, Node, Change]] = [(lower.root, upper.root, top)]
    while stack:
        old, new, here = stack.pop()
        before = old.children if old is not None else None
        if old is None:
            here.needed()
        elif before is None or (new.born >= first and new is not upper.root):
            # Made anew or opaque. A directory in place of a file is marked too: something may lie below the
            # file. Overlayfs does not look for the mark on a layer's root: there each name gets a whiteout.
            here.opaque = before is None or bool(before)
            here.needed()
            before = None
        elif not _same(old, new):
            here.needed()
        before = before or {}
        children = _children(new)
        for name, child in children.items():
            past = before.get(name)
            change = Change(child, here, name)
            if child.children is not None:
                stack.append((past, child, change))
            elif past is None or not _same(past, child):
                change.needed()
            elif child.nlink > 1 or past.nlink > 1:
                kept.setdefault(id(child), []).append((change, past))
        for name in before:
            if name not in children:
                Change(None, here, name).needed()
    for names in kept.values():
        change, past = names[0]
        if not len(names) == past.nlink == (change.node or past).nlink:
            for change, _ in names:
                change.needed()
    return top


def _same(old: Node, new: Node) -> bool:
    return old.entry is new.entry and old.layer == new.layer
