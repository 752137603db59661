"""Copy and sync between registries, layouts, archives, directories and the store, as the engine's callers ask for them."""

from __future__ import annotations

from ...errors import InvalidInput, UnderlayError
from ...oci import platform as platforms
from ...store import blobs, gc, leases
from ...store.rows import images
from ...transfer.copy import locations, opening, walk
from ...transfer.copy import synced as lists
from ...transfer.copy.store import into_store
from ...transfer.registry import push as pushing
from ...transfer.registry.arriving import bring
from ...transfer.registry.outgoing import Pushed
from ..space import Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...registry.registries import Registries
    from ...store.store import Store
    from ...transfer.copy.locations import Location
    from ...transfer.copy.walk import Request


def copy(store: Store, source: str, destination: str, request: Request) -> Pushed:
    """See `Registries.copy`."""
    origin, target = locations.parse(source), locations.parse(destination)
    from ...registry.registries import Registries

    with Registries(store.emit, credentials=store.credentials) as registries:
        return _copied(store, registries, origin, target, request)


def _copied(store: Store, registries: Registries, source: Location, target: Location, request: Request) -> Pushed:
    if locations.STORE not in (source.transport, target.transport):
        return _between(store, registries, source, target, request)
    paths, meta = store.paths, store.meta  # the database first: its directories are made then
    try:
        with leases.working(paths):
            done = _with_store(store, registries, source, target, request)
    except BaseException:
        gc.sweep(paths, meta)
        raise
    gc.sweep_if_asked(paths, meta)
    return done


def _between(store: Store, registries: Registries, source: Location, target: Location, request: Request) -> Pushed:
    if source.reference is not None and target.reference is not None:
        return opening.between_registries(registries, source.reference, target.reference, request, store.emit)
    origin = opening.origin(source, registries)
    try:
        with opening.destination(target, registries, store.emit) as end:
            return walk.copy(origin, end, request, store.emit, registries.cancel)
    finally:
        origin.close()


def _with_store(store: Store, registries: Registries, source: Location, target: Location, request: Request) -> Pushed:
    paths, meta = store.paths, store.meta
    if target.transport != locations.STORE:
        assert source.reference is not None
        if target.reference is not None and not request.format and not request.all:
            goal = request.platform
            return pushing.push(paths, meta, registries, source.reference, store.emit, goal, target.reference)
        origin = opening.store_origin(paths, meta, source.reference, request.platform)
        with opening.destination(target, registries, store.emit) as end:
            return walk.copy(origin, end, request, store.emit, registries.cancel)
    if request.format:
        raise InvalidInput(
            "--format cannot be used when copying into the store: images are stored unchanged", "drop --format"
        )
    assert target.reference is not None
    if target.reference.digest:
        raise InvalidInput("the destination of a copy cannot have a digest", "name it with a tag, or without")
    if source.transport == locations.STORE:
        image = images.resolve(meta, str(source.reference), request.platform)
        digest = image.manifest if request.platform else images.target_of(meta, image, str(source.reference))
        images.tag(meta, image, digest, target.reference)
        return Pushed(digest, len(blobs.read(paths, digest)))
    if source.reference is not None:
        wanted = [platforms.ALL] if request.all else [request.platform] if request.platform else []
        name, given = source.reference, target.reference
        with Writing(store, f"copy {name.familiar}"):
            _, digest, _ = bring(paths, meta, registries, name, store.emit, store.form, wanted, False, given)
        return Pushed(digest, len(blobs.read(paths, digest)))
    opened = opening.origin(source, registries)
    try:
        with Writing(store, f"copy {source}"):
            return into_store(paths, meta, opened, target.reference, request, store.emit, store.form)
    finally:
        opened.close()


class Synced:
    """The result of a sync for one name: `source` and `destination` references, the `digest` now at the destination,
    whether it was `new` there; or the `error` that prevented the copy."""

    __slots__ = ("destination", "digest", "error", "new", "source")

    def __init__(
        self, source: str, destination: str, digest: str = "", new: bool = False, error: UnderlayError | None = None
    ) -> None:
        self.source = source
        self.destination = destination
        self.digest = digest
        self.new = new
        self.error = error


def sync(
    store: Store, sources: Sequence[str], destination: str, request: Request, scoped: bool, dry_run: bool
) -> Iterator[Synced]:
    """See `Registries.sync`."""
    into = lists.Into.parse(destination, scoped)
    from ...registry.registries import Registries

    with Registries(store.emit, credentials=store.credentials) as registries:
        for text in sources:
            try:
                names = lists.names(registries, text)
            except UnderlayError as error:
                yield Synced(text, destination, error=error)
                continue
            for name in names:
                target = into.location(name)
                try:
                    digest = lists.already(registries, name, target, request)
                    if digest or dry_run:
                        yield Synced(str(name), str(target), digest, new=not digest)
                        continue
                    done = _copied(store, registries, locations.Location(locations.REGISTRY, name), target, request)
                    yield Synced(str(name), str(target), done.digest, new=True)
                except UnderlayError as error:
                    yield Synced(str(name), str(target), error=error)


def parse_request(platform: str = "", all: bool = False, format: str = "", remove_signatures: bool = False) -> Request:
    """Return how images are copied, from what a caller has written. Raises InvalidInput."""
    goal = platforms.parse(platform) if platform else None
    return walk.Request(goal, all, format, not remove_signatures)
