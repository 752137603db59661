"""Images of OCI layouts as bases of builds: `oci-layout://DIRECTORY[:NAME][@DIGEST]`."""

from __future__ import annotations

import os

from ...errors import DigestMismatch, NotFound
from ...oci import platform as platforms
from ...oci import reference as references
from ...store import leases
from ...store.rows import images
from ...transfer.copy import archives, walk
from ...transfer.copy.store import into_store
from ...transfer.trust.trust import Trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.rows.images import ImageRow
    from ...store.store import Store

SCHEME = "oci-layout://"


def find_layout(store: Store, address: str, platform: str) -> ImageRow:
    """Return the image of a layout, brought into the store, where it has no name.

    Raises NotFound, DigestMismatch when it is not the one of DIGEST, Untrusted where the trust policy rejects it, and what
    a load raises.
    """
    rest, _, digest = address.removeprefix(SCHEME).partition("@")
    path, _, name = rest.partition(":")
    if not os.path.isdir(path):
        raise NotFound(f"{address}: {path or 'the path'} is not a directory")
    Trust.read().check_path("oci", path)
    # A name that nobody asks for, for as long as it takes.
    passing = references.parse(f"localhost/oci-layout:{os.urandom(8).hex()}")
    with leases.working(store.paths):
        origin = archives.open_layout(path, name)
        try:
            wanted = walk.Request(platforms.parse(platform), signatures=False)
            done = into_store(store.paths, store.meta, origin, passing, wanted, store.emit, store.form)
        finally:
            origin.close()
        try:
            image = images.resolve(store.meta, str(passing), platforms.parse(platform))
        finally:
            images.untag(store.meta, passing)
    if digest not in ("", done.digest, image.manifest):
        raise DigestMismatch(f"the image of {SCHEME}{rest}", digest, done.digest)
    return image
