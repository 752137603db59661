"""The engine: where things are, who is told, and the nouns it can work on."""

from __future__ import annotations

import os
from _thread import allocate_lock

from .. import events
from ..paths import Paths, default_paths
from ..store.rows.meta import Meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..events import Emit
    from ..runtime.monitor.prefork import Standby
    from .bases import Bases
    from .builds import Builds
    from .containers import Containers
    from .images import Images
    from .networks import Networks
    from .registries import Registries
    from .system import System
    from .volumes import Volumes


class Engine:
    """An open installation of underlay; use it as a context manager.

    >>> from underlay import Engine
    >>> with Engine() as engine:
    ...     for image in engine.images.list():
    ...         print(image.id)

    `root` and `state` name the directories (see `underlay.paths`), `on_event` receives an `events.Event` for each
    step of longer work and each change of a container, `form` chooses how layers are kept: `auto`, `erofs`, `tree`.
    Several threads may work with one engine at once; `on_event` is then called from each of them.
    """

    __slots__ = ("_form", "_meta", "_opening", "emit", "form_setting", "leaving", "network_setting", "paths", "standby")

    def __init__(self, root: str = "", state: str = "", on_event: Emit | None = None, form: str = "") -> None:
        self.paths: Paths = default_paths(root, state)
        self.emit: Emit = on_event or events.ignore
        self.form_setting = form or os.environ.get("UNDERLAY_FORM", "auto")
        # The network of containers for which none is named; "" for what this host and user can have.
        self.network_setting = os.environ.get("UNDERLAY_NETWORK", "")
        # Set by the command line: the process ends with its command, so monitors need not be given away.
        self.leaving = False
        # A monitor that waits for the first container to be started, if the command line has forked one.
        self.standby: Standby | None = None
        self._meta: Meta | None = None
        self._opening = allocate_lock()
        self._form = ""

    @property
    def meta(self) -> Meta:
        """The database, opened at first use."""
        if self._meta is None:
            with self._opening:
                if self._meta is None:
                    self._meta = self._opened()
        return self._meta

    def _opened(self) -> Meta:
        paths = self.paths
        # Set-id files of images and volumes must be out of reach of the host's users (attacks IM-07).
        os.makedirs(paths.root, mode=0o700, exist_ok=True)
        os.makedirs(paths.state, mode=0o700, exist_ok=True)
        # Each by itself: the mode holds for the last part of a path only, and the caller's umask may be 0.
        for directory in (paths.temporary, paths.layers, paths.indexes, paths.blobs, paths.blobs + "/sha256"):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        for directory in (paths.root + "/containers", paths.root + "/volumes", paths.state + "/containers"):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        os.makedirs(paths.locks, mode=0o700, exist_ok=True)
        try:
            # The environments of containers are in it. SQLite gives its other files the mode of this one.
            os.close(os.open(paths.database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass
        return Meta(paths.database)

    @property
    def form(self) -> str:
        """How layers are kept here: `erofs` or `tree`."""
        if not self._form:
            from ..store import rootfs

            self._form, _ = rootfs.form_for(self.paths, self.form_setting)
        return self._form

    @property
    def default_network(self) -> str:
        """The network of containers for which none is named: a bridge, or none where that takes privilege."""
        return self.network_setting or ("bridge" if os.geteuid() == 0 else "none")

    @property
    def images(self) -> Images:
        """Images: pull, push, load, save, import, list, tag, remove."""
        from .images import Images

        return Images(self)

    @property
    def containers(self) -> Containers:
        """Containers: create, run, list, stop, remove."""
        from .containers import Containers

        return Containers(self)

    @property
    def builds(self) -> Builds:
        """Builds: images from Dockerfiles, and the cache of their steps."""
        from .builds import Builds

        return Builds(self)

    @property
    def bases(self) -> Bases:
        """Bases: what images stand on, whether they fit this host, whether they are current."""
        from .bases import Bases

        return Bases(self)

    @property
    def registries(self) -> Registries:
        """Registries: log in and out, search, copy, look at images there, make manifest lists."""
        from .registries import Registries

        return Registries(self)

    @property
    def networks(self) -> Networks:
        """Networks: create, list, inspect, remove, connect, disconnect; the firewall."""
        from .networks import Networks

        return Networks(self)

    @property
    def volumes(self) -> Volumes:
        """Volumes: create, list, inspect, remove, prune."""
        from .volumes import Volumes

        return Volumes(self)

    @property
    def system(self) -> System:
        """The installation itself: information, disk usage, check and repair."""
        from .system import System

        return System(self)

    def close(self) -> None:
        """Close the database; the engine opens it again when it is needed."""
        if self._meta is not None:
            self._meta.close()
            self._meta = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process that ends anyway leaves the database as a crash would, which costs nothing and loses nothing.
        if not self.leaving:
            self.close()
