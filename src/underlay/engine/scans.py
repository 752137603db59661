"""The noun `engine.scans`: what many images stand on and consist of, kept in one file: scanning, answers, watching."""

from __future__ import annotations

from ..errors import UnderlayError, Unsupported
from .space import Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ..base.fleet.policy import BrokenRule, Policy
    from ..base.fleet.report import FleetReport
    from ..base.index.learn import Learned
    from ..base.scan.answers import Holder
    from ..base.scan.comparing import Difference
    from ..base.scan.learning import OwnBase
    from ..base.scan.scanning import Scanned
    from ..base.watch.news import Watched
    from ..store.store import Store


class Scans:
    """Scans of fleets. A scan is an SQLite file, given by its path; only `scan`, `merge` and `watch` write to it."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def scan(
        self,
        path: str,
        targets: Sequence[str],
        tags: Sequence[str] = (),
        newest: int = 0,
        platform: str = "",
        workers: int = 0,
        shard: tuple[int, int] = (1, 1),
        cluster: str = "",
    ) -> Scanned:
        """Look at many images in registries, and keep what they stand on and consist of in the file at `path`, which is
        made or continued: only what has changed is asked again, and a layer is read once.

        `targets` are names of images, `NAME:*` for all tags of a repository, `HOST/` or `HOST/NAMESPACE/` for the
        repositories of a registry, `docker.io/NAMESPACE/`. Of repositories `tags` are patterns (`v*`) and `newest` how many
        by their numbers, 0 for all. `workers` are processes of this machine, by default twice as many as it has processors,
        8 at most; where a Dask `cluster` is named, by the address of its scheduler (`tcp://scheduler:8786`; `local:4`
        starts one here), its workers ask the registries. Several scans share the repositories with `shard`: which part, and
        how many there are; `merge` puts their files together. What cannot be looked at is among the result's
        problems. Raises InvalidInput, Unsupported for a registry that lists nothing, RegistryError; Unreachable for a
        cluster.
        """
        from ..base.scan import scanning

        options = scanning.Options(tuple(tags), newest, platform, workers, *shard, cluster)
        with Writing(self._store, f"scan into {path}"):
            return scanning.scan(self._store, path, targets, options)

    def merge(self, path: str, others: Sequence[str]) -> None:
        """Add the files of other scans to the one at `path`, which is made if it is not there: of a name the later look
        counts. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.scan import database

        with Writing(self._store, f"merge scans into {path}"), database.ScanFile(path, writing=True) as scan:
            for other in others:
                scan.merge(other)

    def report(self, path: str, policy: Policy | None = None) -> FleetReport:
        """Return a report on the images of a scan; no registry is asked. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.fleet import fleet
        from ..base.scan import answers, database

        with database.ScanFile(path) as scan:
            return fleet.report_on(answers.standings(self._store, scan), policy)

    def check(self, path: str, policy: Policy) -> list[BrokenRule]:
        """Return the rules of a policy that images of a scan violate. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.fleet import fleet
        from ..base.scan import answers, database

        with database.ScanFile(path) as scan:
            return fleet.check_on(answers.standings(self._store, scan), policy)

    def metrics(self, path: str) -> str:
        """Return figures of a scan in the text format of Prometheus. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.scan import answers, database, metrics

        with database.ScanFile(path) as scan:
            return metrics.text(answers.standings(self._store, scan), scan.seen())

    def compare(self, before: str, after: str) -> list[Difference]:
        """Return in what names differ between two scans. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.scan import answers, comparing, database

        with database.ScanFile(before) as one, database.ScanFile(after) as other:
            return comparing.compare(answers.standings(self._store, one), answers.standings(self._store, other))

    def who(self, path: str, what: str) -> list[Holder]:
        """Return which images of a scan have a package (NAME or NAME@VERSION, or the name of its source), or stand on a
        base (NAME:TAG). Raises NotFound, InvalidInput, Corrupt, and Unsupported for an advisory."""
        from ..base.scan import answers, database

        with database.ScanFile(path) as scan:
            return answers.who(scan, what)

    def watch(self, path: str, notify: str = "", names: Collection[str] = ()) -> Watched:
        """Ask what the bases of a scan, or those of `names` alone, stand for now; returns what is new since the last time:
        those that have moved, with the order in which images are rebuilt, and advisories. `notify` is the URL of a webhook
        that gets the news as JSON; where that fails, they are told again by the next look. What cannot be asked is among
        the problems. Raises NotFound, InvalidInput, Corrupt, and what the webhook raises."""
        from ..base.watch import watching, webhooks

        if notify:
            webhooks.check(notify)

        def tell(watched: Watched) -> None:
            if notify:
                webhooks.post(notify, path, watched)

        with Writing(self._store, f"write {path}"):
            return watching.watch(self._store, path, names, tell)

    def watch_pushes(
        self,
        path: str,
        address: str,
        tell: Callable[[Watched], None],
        ready: Callable[[str], None],
        token: str = "",
        notify: str = "",
    ) -> None:
        """Listen at ADDRESS:PORT for the notifications of registries (the distribution's) until SIGINT or SIGTERM, and
        watch the bases of a scan that are pushed; `tell` gets what each look found, `ready` the address. Clients send the
        `token`. Raises InvalidInput, NotFound, Unsupported (aiohttp is not installed), UnderlayError."""
        try:
            from ..base.watch import listening, watching
        except ImportError as error:
            raise Unsupported(f"to listen needs aiohttp: {error}", "pip install 'underlay[api]'") from None
        from ..base.watch import news

        def look(names: list[str]) -> None:
            try:
                found = self.watch(path, notify, names)
            except UnderlayError as error:
                found = news.Watched(len(names), (), {path: error.message})
            tell(found)

        watching.names(path)
        listening.listen(address, token, lambda: watching.names(path), look, ready)

    def learn(self, path: str) -> tuple[Learned, list[OwnBase]]:
        """Add the images of a scan that others of it stand on to the index of known bases; returns them, too. The next scan
        judges with them. Raises NotFound, InvalidInput, Corrupt."""
        from ..base.scan import database, learning

        with database.ScanFile(path) as scan:
            return learning.learn(self._store, scan)
