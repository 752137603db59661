"""Pull and push, as the engine's callers ask for them."""

from __future__ import annotations

from ... import settings
from ...errors import Corrupt, InvalidInput, LimitExceeded, NotFound, UnderlayError
from ...events import Event
from ...oci import platform as platforms
from ...oci import reference as references
from ...store import gc
from ...store.rows import images as image_rows
from ..space import Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...oci.reference import Reference
    from ...registry.registries import Registries
    from ...store.store import Store
    from ...transfer.registry.outgoing import Pushed
    from ...transfer.registry.pull import Pulled


def pull(
    store: Store,
    name: str,
    platform: str | Sequence[str] = (),
    all_tags: bool = False,
    keep_compressed: bool | None = None,
    verify: str = "",
) -> list[tuple[Reference, Pulled]]:
    """Pull what a name means; return name and result of each image. See `Images.pull`."""
    work = _Pull(store, platform, all_tags, keep_compressed, verify)
    from ...registry.registries import Registries

    with Registries(store.emit, credentials=store.credentials) as registries:
        done = work.pull(registries, name)
    gc.sweep_if_asked(store.paths, store.meta)
    return done


def pull_each(
    store: Store,
    names: Sequence[str],
    platform: str | Sequence[str] = (),
    all_tags: bool = False,
    keep_compressed: bool | None = None,
    verify: str = "",
) -> Iterator[tuple[str, list[tuple[Reference, Pulled]] | UnderlayError]]:
    """Pull several images over the same connections; yield each name with what `pull` returns, or its error.

    One that fails does not keep the others. The rest of the arguments are those of `pull`.
    """
    work = _Pull(store, platform, all_tags, keep_compressed, verify)
    from ...registry.registries import Registries

    with Registries(store.emit, credentials=store.credentials) as registries:
        for name in names:
            try:
                yield name, work.pull(registries, name)
            except UnderlayError as error:
                registries.resume()
                yield name, error
    gc.sweep_if_asked(store.paths, store.meta)


class _Pull:
    """How images are to be pulled."""

    def __init__(
        self,
        store: Store,
        platform: str | Sequence[str],
        all_tags: bool,
        keep_compressed: bool | None,
        verify: str,
    ) -> None:
        if keep_compressed is None:
            keep_compressed = settings.value("keep-compressed") not in ("", "0")
        self._store = store
        self._wanted = platforms.several(platform, everything=True)
        self._all_tags = all_tags
        self._keep = keep_compressed
        self._verify = verify

    def pull(self, registries: Registries, name: str) -> list[tuple[Reference, Pulled]]:
        """Pull what a name means; when that fails, nothing is left that should not be."""
        from ...transfer.registry import pull as pulling

        store = self._store
        if self._all_tags:
            names = pulling.all_tags(registries, references.parse_exact(name))
        else:
            names = [references.parse(name)]
        done = []
        try:
            for reference in names:
                with Writing(store, f"pull {reference.familiar}"):
                    pulled = pulling.pull(
                        store.paths,
                        store.meta,
                        registries,
                        reference,
                        store.emit,
                        store.form,
                        self._wanted,
                        self._keep,
                        self._verify,
                    )
                store.emit(Event("image.pull", pulled.id, name=str(reference), digest=pulled.digest, new=pulled.new))
                done.append((reference, pulled))
        except BaseException as error:
            if isinstance(error, Corrupt | LimitExceeded | InvalidInput):
                gc.sweep(store.paths, store.meta)
            else:
                gc.sweep_if_asked(store.paths, store.meta)
            raise
        return done


def push(store: Store, name: str, all_tags: bool = False, platform: str = "") -> list[tuple[Reference, Pushed]]:
    """See `Images.push`."""
    from ...transfer.registry import push as pushing

    meta = store.meta
    exact = references.parse_exact(name)
    if all_tags:
        if exact.tag or exact.digest:
            raise InvalidInput("tag can't be used with --all-tags/-a")
        names = [
            reference
            for text, _, _ in image_rows.names(meta)
            if (reference := references.parse_exact(text)).repository == exact.repository
        ]
        if not names:
            raise NotFound(f"An image does not exist locally with the tag: {exact.familiar_repository}")
    else:
        names = [references.parse(name)]
    goal = platforms.parse(platform) if platform else None
    try:
        from ...registry.registries import Registries

        with Registries(store.emit, credentials=store.credentials) as registries:
            return [
                (reference, pushing.push(store.paths, meta, registries, reference, store.emit, goal))
                for reference in names
            ]
    finally:
        gc.sweep_if_asked(store.paths, meta)
