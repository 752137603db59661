"""Which mounts a container gets: the user's, those of other containers, the image's volumes; with their sources."""

from __future__ import annotations

import os

from ....errors import InvalidInput, Unsupported
from ....store import rootfs
from ....store.rows import containers
from . import mount_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....oci.configuration import Execution
    from ....store.rows.containers import WantedVolume
    from ....store.rows.intent import Intent, MountPoint, UsedImage
    from ....store.store import Store
    from .request import Request


class MountPoints:
    """What mounts need to be recorded: `volumes`, and `images` by the path at which they are mounted."""

    __slots__ = ("images", "volumes")

    def __init__(self) -> None:
        self.volumes: list[WantedVolume] = []
        self.images: dict[str, UsedImage] = {}

    def recorded(self, mounts: Sequence[mount_flags.Mount]) -> list[MountPoint]:
        """Return the mounts as docker's inspect shows them."""
        return [self._recorded(mount) for mount in mounts]

    def _recorded(self, mount: mount_flags.Mount) -> MountPoint:
        propagation = [o for o in mount.options if o in ("shared", "rshared", "slave", "rslave", "private")]
        named: MountPoint = {"Type": mount.kind}
        if mount.kind == "volume":
            named["Name"] = mount.source.rsplit("/", 2)[-2]
        elif mount.kind == "image":
            named["Name"] = self.images[mount.target]["name"]
        return {
            **named,
            "Source": mount.source,
            "Destination": mount.target,
            "Mode": ",".join(mount.options),
            "RW": "ro" not in mount.options,
            "Propagation": propagation[0] if propagation else ("rprivate" if mount.kind == "bind" else ""),
        }


def choose(store: Store, request: Request, config: Execution, pull: str) -> MountPoints:
    """Complete `request.mounts` by those of other containers and of the image, and find the sources of all on this host.

    Raises InvalidInput, NotFound, Unsupported.
    """
    made = MountPoints()
    mounts = request.mounts
    taken: set[str] = set()
    for mount in mounts:
        if mount.target in taken:
            raise InvalidInput(f"Duplicate mount point: {mount.target}")
        taken.add(mount.target)
    inherited: dict[str, mount_flags.Mount] = {}
    for other in request.mounts_of:
        for mount in _inherited(containers.find(store.meta, other.name).intent, other.read_only):
            # Of several containers the last wins, as with docker; what the user names himself wins over all.
            if mount.target not in taken:
                inherited[mount.target] = mount
    mounts += inherited.values()
    taken.update(inherited)
    for path in config.get("Volumes") or {}:
        target = mount_flags.clean(path)
        if target not in taken:
            taken.add(target)
            mount = mount_flags.Mount("volume", "", target)
            mount.copy_up = True
            mounts.append(mount)
    for mount in mounts:
        if mount.kind == "bind" and not os.path.exists(mount.source) and not mount.make_source:
            raise InvalidInput(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
        if mount.kind == "volume":
            _volume(store, made, mount)
        elif mount.kind == "image":
            _image(store, made, mount, pull)
    return made


def _inherited(intent: Intent, read_only: bool) -> list[mount_flags.Mount]:
    """Return the mounts of another container that go with --volumes-from."""
    found = []
    for point in intent["mounts"]:
        if point["Type"] == "tmpfs":
            continue
        target = point["Destination"]
        source = point["Source"]
        if point["Type"] == "volume":
            source = point["Name"]
        elif point["Type"] == "image":
            source = intent["image_mounts"][target]["id"]
        mount = mount_flags.Mount(point["Type"], source, target)
        mount.inherited = True
        mount.subpath = intent["extras"].get("subpaths", {}).get(target, "")
        mount.options = [word for word in point["Mode"].split(",") if word and word != "rw"]
        if read_only and "ro" not in mount.options:
            mount.options.append("ro")
        found.append(mount)
    return found


def _volume(store: Store, made: MountPoints, mount: mount_flags.Mount) -> None:
    from ....store import volumeoptions

    volumeoptions.check(mount.driver_options)
    name = mount.source or os.urandom(32).hex()
    # Another container's anonymous volume stays one.
    anonymous = not mount.source or mount.inherited
    made.volumes.append(containers.WantedVolume(name, anonymous, mount.labels, mount.driver_options))
    mount.source = f"{store.paths.root}/volumes/{name}/_data"


def _image(store: Store, made: MountPoints, mount: mount_flags.Mount, pull: str) -> None:
    """Find the image that is to be mounted, and make its layers ready."""
    from ...images import find

    name = mount.source
    image = find.find_image(store, name, "", pull)
    diff_ids = list(image.diff_ids)
    chain = rootfs.prepare(store.paths, store.form, diff_ids)
    made.images[mount.target] = {"id": image.id, "name": name, "diff_ids": diff_ids, "chain": chain}
    directories = rootfs.lower_names(store.paths, store.form, chain)
    mount.source = directories[0]
    if len(directories) > 1:
        if mount.subpath:
            raise Unsupported(
                "image-subpath needs layers in the form erofs, or an image of one layer",
                "mount the whole image, or see `underlay info` for why this host has the form tree",
            )
        mount.layers = directories
