"""The engine: an open installation, with one property for each kind of object."""

from __future__ import annotations

import os

from .. import events, settings
from ..paths import default_paths
from ..store.store import Store
from .journaling import Journaled
from .launcher import Launcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..events import Emit
    from .bases import Bases
    from .builds import Builds
    from .containers import Containers
    from .images import Images
    from .machines import Machines
    from .networks import Networks
    from .registries import Registries
    from .scans import Scans
    from .system import System
    from .volumes import Volumes


class Engine:
    """An open installation of underlay; use it as a context manager.

    >>> from underlay import Engine
    >>> with Engine() as engine:
    ...     for image in engine.images.list():
    ...         print(image.id)

    `root` and `state` name the directories (see `underlay.paths`), `on_event` receives an `events.Event` for each
    step of longer work and each change of a container, `form` is the storage format of layers: `auto`, `erofs`, `tree`.
    Several threads may work with one engine at once; `on_event` is then called from each of them.
    """

    __slots__ = ("_launcher", "_store", "network_setting")

    def __init__(self, root: str = "", state: str = "", on_event: Emit | None = None, form: str = "") -> None:
        form = form or settings.value("form")
        journaled = Journaled(on_event or events.ignore)
        self._store = journaled.store = Store(default_paths(root, state), journaled, form)
        self._launcher = Launcher()
        # The network of containers for which none is named; "" for what this host and user can have.
        self.network_setting = settings.value("network")

    @property
    def default_network(self) -> str:
        """The network of containers for which none is given: a bridge, or none without the privilege to make one."""
        return self.network_setting or ("bridge" if os.geteuid() == 0 else "none")

    @property
    def images(self) -> Images:
        """Images: pull, push, load, save, import, list, tag, remove."""
        from .images import Images

        return Images(self._store)

    @property
    def containers(self) -> Containers:
        """Containers: create, run, list, stop, remove."""
        from .containers import Containers

        return Containers(self._store, self._launcher, self.default_network)

    @property
    def builds(self) -> Builds:
        """Builds: images from Dockerfiles, and the cache of their steps."""
        from .builds import Builds

        return Builds(self._store, self.network_setting, self._launcher.leaving)

    @property
    def bases(self) -> Bases:
        """Bases: the base images of images, whether an image runs on this host, whether its base is current."""
        from .bases import Bases

        return Bases(self._store)

    @property
    def scans(self) -> Scans:
        """Scans: what a whole fleet stands on and consists of, and its answers from one file."""
        from .scans import Scans

        return Scans(self._store)

    @property
    def registries(self) -> Registries:
        """Registries: log in and out, search, copy, inspect remote images, make manifest lists."""
        from .registries import Registries

        return Registries(self._store)

    @property
    def networks(self) -> Networks:
        """Networks: create, list, inspect, remove, connect, disconnect; the firewall."""
        from .networks import Networks

        return Networks(self._store)

    @property
    def volumes(self) -> Volumes:
        """Volumes: create, list, inspect, remove, prune."""
        from .volumes import Volumes

        return Volumes(self._store)

    @property
    def machines(self) -> Machines:
        """Machines: the kernels of containers that run in a virtual machine of their own."""
        from .machines import Machines

        return Machines(self._store)

    @property
    def system(self) -> System:
        """The installation: information, disk usage, check and repair."""
        from .system import System

        return System(self._store)

    def close(self) -> None:
        """Close the database; the engine opens it again when it is needed."""
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process that ends anyway leaves the database as a crash would, which costs nothing and loses nothing.
        if not self._launcher.leaving:
            self.close()
