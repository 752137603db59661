"""A scan: looks at names, reads layers that have not been read, and tells what images stand on; each thing once.

Workers do that, on a `concurrent.futures.Executor`; this process alone writes the file. What has been written stays when
a scan is cut off, and the next goes on from there.
"""

from __future__ import annotations

import os
from concurrent.futures import CancelledError, Executor, wait
from contextlib import nullcontext
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from ...errors import InvalidInput, UnderlayError
from ...events import Event
from ...oci import manifest as manifests
from ...oci import platform as platforms
from ...registry.registries import Registries
from . import judging, targets, work, workers
from .database import ScanFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from typing import TypeVar

    from ...oci.descriptor import Descriptor
    from ...store.store import Store

    Item = TypeVar("Item")
    Task = TypeVar("Task")
    Result = TypeVar("Result")

_NAMES, _DOCUMENTS, _LAYERS, _IMAGES = 200, 20, 8, 25  # of a task
_AT_ONCE = 256  # tasks that workers are given at once
_PAUSE = 5  # seconds between looks whether a cluster is still there
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
    ("" is this host's), by so many `workers` (0: as this host has processors) and those of a `cluster`; of all the
    repositories only those of the part `shard` of `shards`, which several scans share."""

    tags: tuple[str, ...] = ()
    newest: int = 0
    platform: str = ""
    workers: int = 0
    shard: int = 1
    shards: int = 1
    cluster: str = ""


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
    count = options.workers or min(8, 2 * (os.cpu_count() or 1))
    if count < 1:
        raise InvalidInput(f"invalid number of workers: {count}", "a number from 1 on")
    with (
        workers.cluster(options.cluster, store.paths) if options.cluster else nullcontext(None) as cluster,
        ScanFile(path, writing=True) as file,
    ):
        going = _Scan(store, file, count, cluster)
        going.fetch(going.look(wanted, options), str(platforms.parse(options.platform)) if options.platform else "")
        going.read()
        going.settle()
        return going.done()


class _Scan:
    """One scan on its way. Registries are asked by the workers of a `cluster`, if there is one, else by processes of this
    machine; these alone tell what images stand on, since it is this machine's indexes that are asked."""

    def __init__(self, store: Store, file: ScanFile, count: int, cluster: workers.Cluster | None) -> None:
        self._store = store
        self._file = file
        self._cluster = cluster
        self._here = work.Place(store.paths.root, store.paths.state)
        # A worker of another machine has its user's own installation.
        self._place = work.Place("", "") if cluster is not None else self._here
        self._count = count
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

    def look(self, wanted: Sequence[targets.Wanted], options: Options) -> dict[str, list[tuple[str, work.Looked]]]:
        """Look at names; returns those whose documents are wanted, with their repositories, by what they stand for."""
        tasks = []
        for repository, tags in wanted:
            parts = [None] if tags is None else list(_batches(tags, _NAMES))
            tasks += [work.Looking(self._place, repository, part, options.tags, options.newest) for part in parts]
        platform = str(platforms.parse(options.platform)) if options.platform else ""
        unknown: dict[str, list[tuple[str, work.Looked]]] = {}
        for task, looked in self._each(work.look, tasks, "look at", _of_looking, self._cluster):
            before = self._file.roots(task.repository, platform)
            self._file.begin()
            for each in looked:
                self._names.add(each.name)
                if each.problem:
                    self._fail(each.name, each.problem)
                elif each.root and before.get(each.name) == each.root:
                    self._unchanged += 1
                    self._file.keep_name(each.name)
                elif each.root and (image := self._file.image_of(each.root, platform)):
                    self._file.set_name(each.name, each.root, image)
                else:
                    unknown.setdefault(each.root or each.name, []).append((task.repository, each))
            if task.tags is None and not any(each.name == task.repository for each in looked):
                self._file.forget_others(task.repository, (each.name for each in looked))
            self._file.commit()
        return unknown

    def _fail(self, name: str, problem: str) -> None:
        self._problems[name] = problem
        self._file.fail_name(name, problem)

    def fetch(self, unknown: dict[str, list[tuple[str, work.Looked]]], platform: str) -> None:
        """Fetch the documents of names, once of those that stand for the same, from the repository of the first."""
        by_repository: dict[str, list[work.Looked]] = {}
        names: dict[str, list[str]] = {}
        for same in unknown.values():
            repository, first = same[0]
            by_repository.setdefault(repository, []).append(first)
            names[first.name] = [each.name for _, each in same]
        tasks = [
            work.Fetching(self._place, repository, platform, part, self._file.documents_of(each.name for each in part))
            for repository, wanted in by_repository.items()
            for part in _batches(wanted, _DOCUMENTS)
        ]
        for _, fetched in self._each(work.fetch, tasks, "fetch", _of_fetching, self._cluster):
            self._file.begin()
            for each in fetched:
                if each.image is None:
                    for name in names[each.name]:
                        self._fail(name, each.problem)
                    continue
                self._file.add_documents(each.documents)
                number = self._file.add_image(each.image)
                for name in names[each.name]:
                    self._file.set_name(name, each.root, number)
            self._file.commit()

    def read(self) -> None:
        """Read the layers of which there are no facts, each in one of the repositories that have it."""
        known = self._file.layers()
        places: dict[str, dict[str, tuple[str, Descriptor]]] = {}
        taken: set[str] = set()
        for name, manifest, layers in self._file.images():
            unread = [diff_id for diff_id in layers if not known[diff_id][0] and diff_id not in taken]
            if not unread:
                continue
            try:
                descriptors = dict(zip(layers, self._layers_of(manifest), strict=True))
            except UnderlayError as error:
                self._problems[name] = error.message
                continue
            taken.update(unread)
            wanted = places.setdefault(_repository(name), {})
            wanted.update((diff_id, (diff_id, descriptors[diff_id])) for diff_id in unread)
        tasks = [
            work.Reading(self._place, repository, part)
            for repository, layers in places.items()
            for part in _batches(layers.values(), _LAYERS)
        ]
        for _, done in self._each(work.read, tasks, "read", _of_reading, self._cluster):
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

    def _layers_of(self, manifest: str) -> list[Descriptor]:
        data = self._file.document(manifest)
        if data is None:
            raise InvalidInput(f"the file of the scan lacks the manifest {manifest}")
        view: manifests.Manifest = manifests.read_manifest(data, f"manifest {manifest}").view
        return view.layers or []

    def settle(self) -> None:
        """Tell what images stand on that are new, whose layers could not be read before, or that other indexes judged."""
        known = self._file.layers()
        judge = judging.judge(self._store)
        images = []
        for number, name, manifest, config, layers in self._file.unsettled(judge):
            if all(known[diff_id][0] for diff_id in layers):
                of_it = tuple((diff_id, known[diff_id][1]) for diff_id in layers)
                images.append((number, name, manifest, config, of_it))
        # Those on the same layers by the same worker, which reads their facts once.
        images.sort(key=lambda image: image[4])
        path = os.path.abspath(self._file.path)
        tasks = [judging.Settling(self._here, path, part) for part in _batches(images, _IMAGES)]
        for _, (done, inventories) in self._each(judging.settle, tasks, "judge", _of_settling, None):
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
                inventory, below = numbers[each.inventory], numbers[each.below]
                self._file.settle(each.image, each.base, each.chain, each.standing, inventory, below, judge)
            self._file.commit()

    def _each(
        self,
        function: Callable[[Task], Result],
        tasks: list[Task],
        what: str,
        named: Callable[[Task], str],
        cluster: workers.Cluster | None,
    ) -> Iterator[tuple[Task, Result]]:
        """Yield tasks with what workers make of them: those of a cluster, or processes of this machine. When a worker dies,
        others begin again what was not done; a task with which that happens again and again is a problem."""
        left = tasks
        for _ in range(_ATTEMPTS):
            if not left:
                return
            again: list[Task] = []
            here = workers.processes(self._count, len(left)) if cluster is None else nullcontext(cluster)
            with here as executor:
                if executor is None:
                    for number, task in enumerate(left, 1):
                        yield task, function(task)
                        self._tell(what, number, len(left))
                    return
                for number, (task, result) in enumerate(_done(executor, function, left, again), 1):
                    yield task, result
                    self._tell(what, number, len(left))
            left = again
        whom = (
            "scheduler of the cluster has"
            if cluster is not None and cluster.ended
            else "workers that were to do it have"
        )
        for task in left:
            self._problems[named(task)] = f"the {whom} died"

    def _tell(self, what: str, count: int, total: int) -> None:
        self._store.emit(Event("scan.progress", what, current=count, total=total))


def _done(
    executor: Executor, function: Callable[[Task], Result], tasks: Iterable[Task], again: list[Task]
) -> Iterator[tuple[Task, Result]]:
    """Yield tasks with their results as they come; those whose workers have died are added to `again`."""
    left = iter(tasks)
    waiting: dict[Future[Result], Task] = {}
    while True:
        for task in islice(left, _AT_ONCE - len(waiting)):
            try:
                waiting[executor.submit(function, task)] = task
            except Exception as error:
                if not workers.lost(error):
                    raise
                again.append(task)
        if not waiting:
            return
        done, _ = wait(waiting, timeout=_PAUSE, return_when="FIRST_COMPLETED")
        if not done and isinstance(executor, workers.Cluster) and executor.ended:
            again += [*waiting.values(), *left]
            return
        for future in done:
            task = waiting.pop(future)
            try:
                result = future.result()
            except (Exception, CancelledError) as error:
                if not workers.lost(error):
                    raise
                again.append(task)
                continue
            yield task, result


def _part(repository: str, parts: int) -> int:
    """Return which part a repository belongs to, from 1 on: the same in every scan."""
    return int.from_bytes(sha256(repository.encode()).digest()[:8]) % parts + 1


def _of_looking(task: work.Looking) -> str:
    return task.repository


def _of_fetching(task: work.Fetching) -> str:
    return f"documents of {task.repository}"


def _of_reading(task: work.Reading) -> str:
    return f"layers of {task.repository}"


def _of_settling(task: judging.Settling) -> str:
    return f"images such as {task.images[0][1]}"


def _batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Yield the items in tuples of at most `size`."""
    left = iter(items)
    while part := tuple(islice(left, size)):
        yield part


def _repository(name: str) -> str:
    """Return the repository of a name that this module has made: REPOSITORY:TAG or REPOSITORY@DIGEST."""
    repository, at, _ = name.partition("@")
    return repository if at else name.rpartition(":")[0]
