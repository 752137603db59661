"""Leases: they protect content that no row refers to yet from being swept away.

A process that adds content to the store holds the store's lock shared; the sweep (`store.gc`) takes it alone,
and does nothing when it cannot. The kernel frees the lock of a holder that died, so no lease outlives its work,
and the last one to leave sweeps for all.
"""

from __future__ import annotations

from ..files import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..paths import Paths


def working(paths: Paths) -> Lock:
    """Return the lock to hold (`with working(paths):`) while content is brought in or relied on without a
    row."""
    return Lock(paths.root + "/lock", shared=True)


def sweeping(paths: Paths) -> Lock:
    """Return the lock of the sweep; use `acquire(wait=False)`."""
    return Lock(paths.root + "/lock")


def of_content(paths: Paths, digits: str) -> Lock:
    """Return the lock of one layer's arrival, by the hexadecimal digits of the digest by which it is known.

    Two processes that load the same image take turns here: the second finds the layer done. To be held inside
    `working`. A lock file stays until the next sweep.
    """
    from ..oci import digest

    digest.check("sha256:" + digits if len(digits) == 64 else "sha512:" + digits)
    return Lock(f"{paths.locks}/content-{digits}")
