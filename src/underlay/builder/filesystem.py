"""File systems of stages while a build goes on: layers, some still on their way, and the directories that show them.

A step begins as soon as the one below it has ended: it stands on the directory that step has written, while a worker
turns that into a layer beside it. Layers of the store are shown by an index of the whole chain or, where one was just
made, by an index of itself above that (store.single).
"""

from __future__ import annotations

import os
import threading

from ..store import kinds, layers, rootfs
from ..store.rows import layers as layer_rows
from .workers.workers import MOUNT, Abandoned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..paths import Paths
    from ..store.layers.toc import Entry
    from ..store.rows.layers import Layer
    from .cache.buildkit.keys import Key
    from .workers.messages import Status
    from .workers.workers import Foreman

_DEEPEST = (
    48  # directories that one overlay is stacked of before they are merged: the kernel takes 500, one option 256 B
)


class Made:
    """One layer: here, or on its way. `upper` is the directory that shows it while the build lives, "" for none."""

    __slots__ = ("_error", "_layer", "_ready", "upper")

    def __init__(self, layer: Layer | None = None, upper: str = "") -> None:
        self.upper = upper
        self._layer = layer
        self._error: BaseException | None = None
        self._ready = threading.Event() if layer is None else None

    def come(self, layer: Layer) -> None:
        """The layer is in the store."""
        self._layer = layer
        if self._ready is not None:
            self._ready.set()

    def fail(self, error: BaseException) -> None:
        """It could not be made."""
        self._error = error
        if self._ready is not None:
            self._ready.set()

    @property
    def here(self) -> bool:
        """Whether `layer` returns at once."""
        return self._layer is not None

    def layer(self) -> Layer:
        """Wait for the layer; raises what its making has raised."""
        if self._layer is None:
            assert self._ready is not None
            self._ready.wait()
            if self._error is not None:
                raise self._error
            assert self._layer is not None
        return self._layer


class Filesystem:
    """The files of a stage at one point: `layers`, lowest first, and `key`, which stands for all that is in them.

    `buildkit` is BuildKit's key for the same, None where that is not known or not needed.
    """

    __slots__ = ("buildkit", "key", "layers")

    def __init__(self, key: str, made: tuple[Made, ...] = (), buildkit: Key | None = None) -> None:
        self.key = key
        self.layers = made
        self.buildkit = buildkit

    def above(self, key: str, made: Made, buildkit: Key | None = None) -> Filesystem:
        """Return this file system with one more layer."""
        return Filesystem(key, (*self.layers, made), buildkit)


class Views:
    """Shows file systems as directories (the lower ones of an overlay) to the workers of one build."""

    def __init__(self, paths: Paths, form: str, foreman: Foreman, scratch: str) -> None:
        self.paths = paths
        self.form = form
        self.scratch = scratch
        # Unprivileged workers live in a user namespace, where overlayfs keeps its marks in user.* (overlayfs.txt).
        self.userxattr = os.geteuid() != 0
        self._foreman = foreman
        self._lock = threading.Lock()
        self._mounted: dict[str, str] = {}
        self._single: dict[str, str] = {}
        self._count = 0

    def make_directory(self, kind: str) -> str:
        """Return a new directory of the build's own."""
        with self._lock:
            self._count += 1
            number = self._count
        path = f"{self.scratch}/{kind}-{number}"
        os.mkdir(path, 0o700)
        return path

    def lower(self, filesystem: Filesystem) -> list[str]:
        """Return the directories that show a file system together, topmost first; at least two, for the kernel's sake."""
        with self._lock:
            stack = filesystem.layers
            shown: list[str] = []
            # Layers that are shown one by one, from the top; below them the index of all the rest.
            rest = len(stack)
            while rest and len(stack) - rest < _DEEPEST and self._by_itself(stack, rest):
                rest -= 1
            while True:
                shown = self._chain([made_layer.layer().diff_id for made_layer in stack[:rest]]) if rest else []
                failed = self._above(stack, rest, shown)
                if not failed:
                    break
                rest = failed  # it can only be shown merged with what is below
        return shown if len(shown) > 1 else [*shown, *self._empty()][:2]

    def _by_itself(self, stack: tuple[Made, ...], count: int) -> bool:
        """Tell whether the topmost of `count` layers is worth showing by itself."""
        top = stack[count - 1]
        if top.upper:
            return True
        return self.form == rootfs.EROFS and top.here and not self._indexed(stack[:count])

    def _above(self, stack: tuple[Made, ...], rest: int, shown: list[str]) -> int:
        """Put those from number `rest` on above `shown`; returns how many must be merged where that fails, else 0."""
        for number in range(rest, len(stack)):
            made = stack[number]
            if made.upper:
                shown.insert(0, made.upper)
            elif made.layer().entries:
                directory = self._alone(made, shown[0] if shown else "")
                if not directory:
                    return number + 1
                shown.insert(0, directory)
        return 0

    def _empty(self) -> list[str]:
        paths = [f"{self.scratch}/empty-{number}" for number in (1, 2)]
        for path in paths:
            os.makedirs(path, 0o755, exist_ok=True)
            os.chmod(path, 0o755)
        return paths

    def _indexed(self, made: Sequence[Made]) -> bool:
        """Tell whether there is an index of these layers, and they are all here."""
        if self.form != rootfs.EROFS or not all(made_layer.here for made_layer in made):
            return False
        digits = rootfs.chain_of([made_layer.layer().diff_id for made_layer in made]).partition(":")[2]
        return os.path.exists(f"{self.paths.indexes}/{digits}.erofs")

    def _chain(self, diff_ids: list[str]) -> list[str]:
        chain = rootfs.prepare(self.paths, self.form, diff_ids)
        if self.form != rootfs.EROFS:
            return rootfs.lower_names(self.paths, self.form, chain)
        index = f"{self.paths.indexes}/{chain.partition(':')[2]}.erofs"
        return [self._mount(chain, index, [path for _, _, path in rootfs.devices(self.paths, diff_ids)])]

    def _alone(self, made: Made, below: str) -> str:
        """Return a directory that shows one layer for stacking above `below`, "" where that cannot be had."""
        from ..store.layers import layer_index

        diff_id = made.layer().diff_id
        key = f"{diff_id} {below}"
        if key not in self._single:
            index = f"{self.scratch}/single-{len(self._single)}.erofs"
            root = self._root_of(below) if below else None
            self._single[key] = index if layer_index.single_index(self.paths, diff_id, index, root) else ""
        index = self._single[key]
        if not index:
            return ""
        return self._mount("one " + key, index, [path for _, _, path in rootfs.devices(self.paths, [diff_id])])

    def _root_of(self, directory: str) -> Entry:
        """Return the attributes of a directory that shows layers: the root above it is to have the same."""
        from ..store.layers.toc import Entry

        status: Status = self._foreman.call("status", {"path": directory})
        return Entry(b"./", kinds.DIRECTORY, status["mode"], status["uid"], status["gid"], 0, status["mtime"], 0)

    def _mount(self, name: str, index: str, files: list[str]) -> str:
        point = self._mounted.get(name)
        if point is None:
            point = f"{self.scratch}/{MOUNT}{len(self._mounted)}"
            self._foreman.call("mount", {"index": index, "files": files, "point": point})
            self._mounted[name] = point
        return point


def known(diff_ids: Sequence[str], paths: Paths) -> tuple[Made, ...]:
    """Return layers of the store, as those of an image that is on record, for building on."""
    return tuple(Made(layer_rows.Layer(diff_id, layers.size(paths, diff_id), 1, 0)) for diff_id in diff_ids)


def in_background(work: Callable[[], Layer], made: Made) -> threading.Thread:
    """Have a thread do `work`, whose layer is then the one of `made`; returns the thread, started."""

    def run() -> None:
        try:
            made.come(work())
        except (Abandoned, Exception) as error:
            made.fail(error)

    thread = threading.Thread(target=run, name="packing", daemon=True)
    thread.start()
    return thread
