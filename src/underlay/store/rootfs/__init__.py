"""Root file systems of images: one interface over both forms of a layer, EROFS index and directory tree.

This module is on the way to every container start: what builds an index or a tree is imported when one is
missing.
"""

from __future__ import annotations

import os

from ...errors import InvalidInput, Unsupported
from ...files import Lock, write_atomic
from ...linux.files.sharedmount import SharedMount, unmount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...paths import Paths
    from .tree import Owner

EROFS = "erofs"
TREE = "tree"

# The chain of no layers: the digest of nothing, since OCI defines none.
EMPTY_CHAIN = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_HEX = frozenset("0123456789abcdef")


def _digits(digest: str) -> str:
    """Return the hexadecimal digits of a sha256 digest, strictly checked: they become part of a path."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or not _HEX.issuperset(digits):
        raise InvalidInput(f"{digest!r:.80} is not a sha256 digest")
    return digits


def _ensure(directory: str) -> None:
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o700, exist_ok=True)


def chain_of(diff_ids: Sequence[str]) -> str:
    """Return the chain id of layers, base first; `EMPTY_CHAIN` for none. It hashes: keep the answer."""
    from ...oci.chain import chain_id

    return chain_id(diff_ids) or EMPTY_CHAIN


# Which form


def form_for(paths: Paths, setting: str = "auto") -> tuple[str, str]:
    """Return the form that this host can use, `erofs` or `tree`, and in one line why.

    `setting` is `auto` or one of the forms; asking for `erofs` where it does not work raises Unsupported with
    the reason. What was found is kept in `paths.state` until the next boot, since finding out takes mounts.
    """
    if setting not in ("auto", EROFS, TREE):
        raise InvalidInput(f"unknown layer form '{setting}'", "use auto, erofs or tree")
    if setting == TREE:
        return TREE, "asked for"
    reason = _verdict(paths)
    if not reason:
        return EROFS, "the kernel mounts EROFS from a file, and overlays it"
    if setting == EROFS:
        raise Unsupported(f"EROFS indexes cannot be used here: {reason}", "use the layer form auto or tree")
    return TREE, reason


def _verdict(paths: Paths) -> str:
    """Return why EROFS cannot be used, "" when it can; from the note of this boot if there is one."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        key = f"{file.read().strip()} {os.geteuid()} {paths.root}"
    note = f"{paths.state}/erofs-probe"
    try:
        with open(note, encoding="utf-8") as file:
            known, _, reason = file.read().partition("\n")
        if known == key:
            return reason
    except FileNotFoundError:
        pass
    from .probe import why_not_erofs

    reason = why_not_erofs(paths)
    _ensure(paths.state)
    write_atomic(note, f"{key}\n{reason}".encode(), durable=False)
    return reason


# Making what is missing


def prepare(paths: Paths, form: str, diff_ids: Sequence[str], *, owner: Owner | None = None) -> str:
    """Create the index or the trees of an image's layers, base first, if missing; return the chain id.

    The layers must be in the store. `owner` is for the tree form: see `tree.write_tree`; None means that of
    the image for root and nothing for others. Raises NotFound for a missing layer, Corrupt or LimitExceeded
    for layers that cannot be merged, OSError. A crash leaves nothing incomplete.
    """
    chain = chain_of(diff_ids)
    digits = _digits(chain)
    if form == EROFS:
        index_path = f"{paths.indexes}/{digits}.erofs"
        if not os.path.exists(index_path):
            from . import make

            _ensure(paths.locks)
            make.index(paths, diff_ids, index_path, f"{paths.locks}/chain-{digits}")
    elif not _tree_roots(paths, digits):
        from . import make

        _ensure(paths.locks)
        make.trees(paths, diff_ids, owner)
    return chain


def _tree_roots(paths: Paths, digits: str) -> list[str]:
    """Return the trees of a chain, topmost first; none unless all are there."""
    try:
        # Written with the tree: the chains of all prefixes, topmost first, so that nothing is hashed on this
        # path.
        with open(f"{paths.trees}/{digits}/chain", encoding="ascii") as file:
            roots = [f"{paths.trees}/{line}/root" for line in file.read().split()]
    except FileNotFoundError:
        return []
    return roots if all(map(os.path.isdir, roots)) else []


# Using it


def shared_mount(paths: Paths, form: str, diff_ids: Sequence[str], chain_id: str) -> SharedMount:
    """Return how the chain's index is mounted and shared; for the tree form only the lock that keeps the trees."""
    digits = _digits(chain_id)
    change, use = f"{paths.locks}/chain-{digits}", f"{paths.locks}/use-{digits}"
    if form != EROFS:
        return SharedMount(change, use, "", "", ())
    files = [path for _, _, path in devices(paths, diff_ids)]
    return SharedMount(change, use, f"{paths.mounts}/{digits}", f"{paths.indexes}/{digits}.erofs", files)


def hold(paths: Paths, chain_id: str) -> Lock:
    """Return a shared lock, held, that keeps the chain's mount and files in use until it is released.

    Take it before `lower_directories` and keep it while anything is mounted above them; the kernel drops it
    when the process dies.
    """
    _ensure(paths.locks)
    return shared_mount(paths, TREE, (), chain_id).hold()


def lower_directories(paths: Paths, form: str, diff_ids: Sequence[str], chain_id: str = "") -> list[str]:
    """Return the lower directories for an overlay that shows the image, topmost first, with the index mounted.

    `prepare` must have been called at some time, and `hold` before this. With `chain_id` given nothing is hashed.
    Raises KernelError, NotFound.
    """
    chain_id = chain_id or chain_of(diff_ids)
    if form == EROFS:
        _ensure(paths.mounts)
        _ensure(paths.locks)
        shared_mount(paths, form, diff_ids, chain_id).ensure()
    return lower_names(paths, form, chain_id)


def lower_names(paths: Paths, form: str, chain_id: str) -> list[str]:
    """Return the lower directories by name, without mounting anything; raises NotFound for an unprepared chain."""
    digits = _digits(chain_id)
    if form == EROFS:
        if not os.path.exists(f"{paths.indexes}/{digits}.erofs"):
            raise _missing(digits)
        return [f"{paths.mounts}/{digits}"]
    roots = _tree_roots(paths, digits)
    if not roots:
        raise _missing(digits)
    return roots


def _missing(digits: str) -> Exception:
    from ...errors import NotFound

    return NotFound(f"the layers of chain {digits[:12]} are not prepared")


def devices(paths: Paths, diff_ids: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return (layer number, part, path) of the files with the layers' data, as the device table has them."""
    files = []
    for number, diff_id in enumerate(diff_ids):
        directory = f"{paths.layers}/{_digits(diff_id)}"
        files.append((number, 0, directory + "/tar"))
        sparse = directory + "/sparse"
        if os.path.exists(sparse):
            files.append((number, 1, sparse))
    return files


# Giving back


def release_unused(paths: Paths, chain_id: str) -> bool:
    """Unmount the chain's index unless it is in use; return whether nothing is mounted afterwards."""
    _ensure(paths.locks)
    return shared_mount(paths, EROFS, (), chain_id).release()


def release_all_unused(paths: Paths) -> list[str]:
    """Unmount all indexes that no container holds; return the chain ids of those still in use."""
    try:
        names = sorted(os.listdir(paths.mounts))
    except FileNotFoundError:
        return []
    chains = [f"sha256:{name}" for name in names if len(name) == 64 and _HEX.issuperset(name)]
    return [chain for chain in chains if not release_unused(paths, chain)]


def remove(paths: Paths, chain_id: str) -> bool:
    """Remove the chain's index and its topmost tree.

    Returns whether both are gone: False, and nothing removed, while a container holds the chain or,
    in the tree form, another chain that builds on it. Chains that built on it have to be prepared again.
    """
    digits = _digits(chain_id)
    from . import make

    _ensure(paths.locks)
    held = []
    with Lock(f"{paths.locks}/chain-{digits}"):
        try:
            for name in [digits, *make.standing_on(paths, digits)]:
                use = Lock(f"{paths.locks}/use-{name}")
                if not use.acquire(wait=False):
                    return False
                held.append(use)
            if os.path.isdir(f"{paths.mounts}/{digits}") and not unmount(f"{paths.mounts}/{digits}"):
                return False
            make.discard(paths, digits)
        finally:
            for use in held:
                use.release()
    return True
