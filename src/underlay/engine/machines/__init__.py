"""The noun `engine.machines`: kernels for containers that run in a virtual machine of their own."""

from __future__ import annotations

from . import kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store
    from .kernels import Kernel


class Machines:
    """What virtual machines of containers are made of: their kernels, kept in the store."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def kernels(self) -> list[Kernel]:
        """Return the kernels that are in the store, the newest first. Raises Corrupt for a damaged one."""
        return kernels.listing(self._store.paths)

    def import_kernel(self, path: str, modules: str = "", replace: bool = False) -> Kernel:
        """Add a kernel to the store: a Debian package of one, or its image.

        `modules` is where its modules are: a directory such as /lib/modules/VERSION, or a Debian package; by default those
        of the package itself, for an image those that are installed on this host. Raises InvalidInput for a file that is
        no kernel and for a kernel without what a machine needs, Corrupt, LimitExceeded, and Conflict if its release is
        here with other content, unless it shall `replace` that.
        """
        from ..space import Writing
        from . import importing

        with Writing(self._store, f"import the kernel {path}"):
            return importing.import_file(self._store.paths, path, modules, replace)

    def fetch_kernel(self, package: str = "", platform: str = "") -> Kernel:
        """Download a kernel from the distribution's archive, by this host's apt, and add it to the store; by default the
        newest of those for virtual machines.

        `platform` is that of the machines, by default this host's. With a kernel for another processor comes an interpreter
        for it, which machines need.

        Raises Unsupported where there is no apt, NotFound, and what `import_kernel` raises.
        """
        from ..space import Writing
        from . import fetching

        with Writing(self._store, "download a kernel"):
            return fetching.fetch(self._store.paths, package, platform)

    def remove_kernel(self, release: str, force: bool = False) -> None:
        """Remove a kernel, given its release or the beginning of its release or digest.

        Raises Conflict for the kernel of a container, with `force` only if that runs; NotFound, and InvalidInput if several
        kernels begin like that.
        """
        from . import usage, userlands

        kernels.remove(self._store.paths, release, lambda exact: usage.refuse_if_used(self._store, exact, force))
        userlands.remove_unused(self._store.paths)
