"""A scan: looks at names, reads layers that have not been read, and tells what images stand on; each thing once.

Workers do that, on a `concurrent.futures.Executor`; this process alone writes the file. What has been written stays when
a scan is cut off, and the next goes on from there.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from ...errors import InvalidInput
from ...events import Event
from ...linux import process
from ...registry.registries import Registries
from . import targets, work
from .database import ScanFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from ...store.store import Store

    Item = TypeVar("Item")
    Task = TypeVar("Task")
    Result = TypeVar("Result")

_LAYERS, _IMAGES = 8, 25  # of a task
_NAMES = 200
_TASKS = 4  # for which another worker is worth it
_ATTEMPTS = 3  # to begin again when a worker has died


class Scanned(NamedTuple):
    """What a scan has done: `names` that were looked at, of them `unchanged` ones; `layers` that were read and the
    `fetched` bytes of them, compressed; `images` whose standing was told; `problems` by what they are about."""

    names: int
    unchanged: int
    layers: int
    fetched: int
    images: int
    problems: dict[str, str]


class Options(NamedTuple):
    """How to scan: patterns of `tags` (none for all), only the `newest` ones of a repository (0: all), for a `platform`
    ("" is this host's), by so many `workers` (0: as this host has processors); of all repositories only those of the part
    `shard` of `shards`, which several scans share."""

    tags: tuple[str, ...] = ()
    newest: int = 0
    platform: str = ""
    workers: int = 0
    shard: int = 1
    shards: int = 1


def scan(store: Store, path: str, texts: Sequence[str], options: Options) -> Scanned:
    """Scan targets (see `targets.expand`) into the file at `path`, which is made or continued.

    What cannot be looked at or read is among the problems. Raises InvalidInput, Unsupported (a registry that lists nothing)
    and what registries raise when they are asked for their lists.
    """
    with Registries(store.emit, credentials=store.credentials) as registries:
        wanted = targets.expand(texts, registries)
    if not 1 <= options.shard <= options.shards:
        raise InvalidInput(f"there is no part {options.shard} of {options.shards}", "the first is 1")
    wanted = [each for each in wanted if _part(each.repository, options.shards) == options.shard]
    workers = options.workers or min(8, 2 * (os.cpu_count() or 1))
    if workers < 1:
        raise InvalidInput(f"invalid number of workers: {workers}", "a number from 1 on")
    place = work.Place(store.paths.root, store.paths.state, os.path.abspath(path))
    with ScanFile(path, writing=True) as file:
        going = _Scan(store, file, place, workers)
        going.look(wanted, options)
        going.read()
        going.settle()
        return going.done()


class _Scan:
    """One scan on its way."""

    def __init__(self, store: Store, file: ScanFile, place: work.Place, workers: int) -> None:
        self._store = store
        self._file = file
        self._place = place
        self._workers = workers
        self._names: set[str] = set()
        self._unchanged = self._layers = self._fetched = self._images = 0
        self._problems: dict[str, str] = {}

    def done(self) -> Scanned:
        return Scanned(
            len(self._names),
            self._unchanged,
            self._layers,
            self._fetched,
            self._images,
            dict(sorted(self._problems.items())),
        )

    def look(self, wanted: Sequence[targets.Wanted], options: Options) -> None:
        """Look at names."""
        tasks = []
        for repository, tags in wanted:
            roots = self._file.roots(repository)
            parts = [None] if tags is None else list(_batches(tags, _NAMES))
            tasks += [
                work.Looking(self._place, repository, part, options.tags, options.newest, options.platform, roots)
                for part in parts
            ]
        for task, looked in self._each(work.look, tasks, "look at", _of_looking):
            self._file.begin()
            for each in looked:
                self._names.add(each.name)
                if each.problem:
                    self._problems[each.name] = each.problem
                    self._file.fail_name(each.name, each.problem)
                elif each.image is None:
                    self._unchanged += 1
                    self._file.keep_name(each.name)
                else:
                    self._file.add_documents(each.documents)
                    self._file.set_name(each.name, each.root, each.image)
            if task.tags is None and not any(each.name == task.repository for each in looked):
                self._file.forget_others(task.repository, (each.name for each in looked))
            self._file.commit()

    def read(self) -> None:
        """Read the layers of which there are no facts, each in one of the repositories that have it."""
        known = self._file.layers()
        places: dict[str, dict[str, tuple[str, str, int]]] = {}
        taken: set[str] = set()
        for name, manifest, layers in self._file.images():
            repository = _repository(name)
            for position, diff_id in enumerate(layers):
                if not known[diff_id][0] and diff_id not in taken:
                    taken.add(diff_id)
                    places.setdefault(repository, {})[diff_id] = (diff_id, manifest, position)
        tasks = [
            work.Reading(self._place, repository, part)
            for repository, wanted in places.items()
            for part in _batches(wanted.values(), _LAYERS)
        ]
        for _, done in self._each(work.read, tasks, "read", _of_reading):
            self._file.begin()
            for each in done:
                if each.problem:
                    self._problems[f"layer {each.diff_id}"] = each.problem
                    self._file.fail_layer(each.diff_id, each.problem)
                else:
                    self._layers += 1
                    self._fetched += each.fetched
                    self._file.add_facts(each.diff_id, each.facts, each.tells)
            self._file.commit()

    def settle(self) -> None:
        """Tell what images stand on that are new, or whose layers could not be read before."""
        known = self._file.layers()
        images = []
        for number, name, manifest, config, layers in self._file.unsettled():
            if all(known[diff_id][0] for diff_id in layers):
                of_it = tuple((diff_id, known[diff_id][1]) for diff_id in layers)
                images.append((number, name, manifest, config, of_it))
        # Those on the same layers by the same worker, which reads their facts once.
        images.sort(key=lambda image: image[4])
        tasks = [work.Settling(self._place, part) for part in _batches(images, _IMAGES)]
        for _, (done, inventories) in self._each(work.settle, tasks, "judge", _of_settling):
            self._file.begin()
            numbers = {"": 0}
            for key in {key for each in done for key in (each.inventory, each.below)} - {""}:
                found = self._file.inventory_id(key)
                numbers[key] = found or self._file.add_inventory(key, inventories[key])
            for each in done:
                if each.problem:
                    self._problems[f"image {each.image}"] = each.problem
                    continue
                self._images += 1
                self._file.settle(each.image, each.base, each.standing, numbers[each.inventory], numbers[each.below])
            self._file.commit()

    def _each(
        self,
        function: Callable[[Task], Result],
        tasks: list[Task],
        what: str,
        named: Callable[[Task], str],
    ) -> Iterator[tuple[Task, Result]]:
        """Yield tasks with what workers make of them. When a worker dies, others begin again what was not done; a task with
        which that happens again and again is a problem."""
        left = tasks
        for _ in range(_ATTEMPTS):
            if not left:
                return
            again: list[Task] = []
            with _executor(self._workers, len(left)) as executor:
                if executor is None:
                    for number, task in enumerate(left, 1):
                        yield task, function(task)
                        self._tell(what, number, len(left))
                    return
                waiting = {executor.submit(function, task): task for task in left}
                count = 0
                while waiting:
                    done, _ = wait(waiting, return_when="FIRST_COMPLETED")
                    for future in done:
                        task = waiting.pop(future)
                        try:
                            result = future.result()
                        except BrokenExecutor:
                            again.append(task)
                            continue
                        yield task, result
                        count += 1
                        self._tell(what, count, len(left))
            left = again
        for task in left:
            self._problems[named(task)] = "the workers that were to look at it have died"

    def _tell(self, what: str, count: int, total: int) -> None:
        self._store.emit(Event("scan.progress", what, current=count, total=total))


def _part(repository: str, parts: int) -> int:
    """Return which part a repository belongs to, from 1 on: the same in every scan."""
    return int.from_bytes(sha256(repository.encode()).digest()[:8]) % parts + 1


def _of_looking(task: work.Looking) -> str:
    return task.repository


def _of_reading(task: work.Reading) -> str:
    return f"layers of {task.repository}"


def _of_settling(task: work.Settling) -> str:
    return f"images such as {task.images[0][1]}"


@contextmanager
def _executor(workers: int, tasks: int) -> Iterator[Executor | None]:
    """Give workers as processes of this machine; none where one is enough."""
    # A process takes longer to start than a few tasks to be done.
    count = min(workers, -(-tasks // _TASKS))
    if count <= 1:
        yield None
        return
    import multiprocessing

    # Forked ones would share the connection to the database.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with, initargs=(os.getpid(),))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """Have a worker end when its parent does, and with an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Yield the items in tuples of at most `size`."""
    left = iter(items)
    while part := tuple(islice(left, size)):
        yield part


def _repository(name: str) -> str:
    """Return the repository of a name that this module has made: REPOSITORY:TAG or REPOSITORY@DIGEST."""
    repository, at, _ = name.partition("@")
    return repository if at else name.rpartition(":")[0]
