"""The store of kernels for virtual machines: what is known of each, how one is found, and its removal.

Below the root, each kernel has a directory `kernels/RELEASE`: `vmlinuz` is its image as it was given, `config` its
configuration if that is known, `modules/NAME.ko` are the decompressed modules that a machine needs, and `kernel.json` holds
what `Kernel` says. A directory comes and goes as a whole, by rename(2).
"""

from __future__ import annotations

import os
import re

import msgspec

from ...errors import Corrupt, InvalidInput, NotFound
from ...files import Lock, sync_directory
from ...oci import platform as platforms
from ...store.scratch import Scratch, ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...base.fit import Host
    from ...paths import Paths

FORMAT = 1
DEFAULT = "default"
ARCHITECTURES = ("amd64", "arm64")
_RELEASE = re.compile(r"[0-9]+\.[0-9]+[0-9A-Za-z.+~_-]{0,200}")
_FILE = re.compile(r"config|modules/[0-9A-Za-z_-]+\.ko")
_RECORD_LIMIT = 1 << 20
_DIGITS = 6  # of a digest, at least: a few could be meant as a version
HOW = "get one with `underlay machine kernel fetch` or `underlay machine kernel import FILE`"
_FOREIGN = "get one with `underlay machine kernel fetch --platform linux/{}`"

# Options of a configuration that are kept in the record: what may decide how a machine is started.
KEPT_OPTIONS = (
    *("CONFIG_COMPAT", "CONFIG_IA32_EMULATION", "CONFIG_X86_VSYSCALL_EMULATION", "CONFIG_LEGACY_VSYSCALL_NONE"),
    *("CONFIG_BLK_DEV_INITRD", "CONFIG_DEVTMPFS", "CONFIG_PVH", "CONFIG_KVM_GUEST", "CONFIG_VIRTIO_MMIO"),
    *("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES", "CONFIG_VIRTIO_VSOCKETS", "CONFIG_NET_9P_VIRTIO", "CONFIG_FUSE_DAX"),
    *(
        "CONFIG_CGROUPS",
        "CONFIG_MEMCG",
        "CONFIG_CGROUP_BPF",
        "CONFIG_SECCOMP_FILTER",
        "CONFIG_USER_NS",
        "CONFIG_NF_TABLES",
    ),
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What `kernel.json` holds: see `Kernel`; and the digests of its `files` but for the image, by their paths in its
    directory."""

    format: int
    release: str
    architecture: str
    digest: str
    modules: tuple[str, ...]
    built_in: tuple[str, ...]
    source: str
    options: dict[str, str] | None = None
    files: dict[str, str] = {}


class Kernel(msgspec.Struct, frozen=True):
    """A kernel in the store: its `release` as uname has it, its `architecture` in the words of images, the `digest` of its
    image, its `directory`.

    `modules` are the names of those that a machine loads, in this order; `built_in` are wanted ones that the kernel has in
    itself. `source` names the file that it came from; `options` are some of its configuration, None if that is not known.
    """

    release: str
    architecture: str
    digest: str
    directory: str
    modules: tuple[str, ...] = ()
    built_in: tuple[str, ...] = ()
    source: str = ""
    options: dict[str, str] | None = None

    @property
    def image(self) -> str:
        """The path of its image."""
        return self.directory + "/vmlinuz"

    @property
    def config(self) -> str:
        """The path of its configuration, "" if that is not known."""
        return self.directory + "/config" if self.options is not None else ""

    @property
    def module_paths(self) -> tuple[str, ...]:
        """The paths of its modules, in the order in which they have to be loaded."""
        return tuple(f"{self.directory}/modules/{name}.ko" for name in self.modules)

    @property
    def size(self) -> int:
        """The bytes of its image and modules."""
        return sum(os.stat(path).st_size for path in (self.image, *self.module_paths))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Words of its command line that let it run old programs, which many kernels do not unless they are told to.

        (Kernel documentation, admin-guide/kernel-parameters: vsyscall, ia32_emulation.)
        """
        options = self.options or {}
        words = {"vsyscall=xonly": "CONFIG_X86_VSYSCALL_EMULATION", "ia32_emulation=1": "CONFIG_IA32_EMULATION"}
        return tuple(word for word, option in words.items() if option in options)

    def has(self, module: str) -> bool:
        """Return whether it has one of the wanted modules, in itself or as a file."""
        return module in self.modules or module in self.built_in

    def machine(self, host: Host) -> Host:
        """Return the facts about a host that base.fit judges, as they are in a machine that runs this kernel there."""
        from ...base.fit import kernels as reading

        if not self.config:
            facts = reading.Kernel(self.release, self.architecture)
            return msgspec.structs.replace(facts.on(host, "a machine"), emulated=())
        with open(self.config, "rb") as file:
            known = reading.configured(file.read(reading.CONFIG_LIMIT), self.config)
        there = msgspec.structs.replace(known, release=self.release).on(host, "a machine")
        changes: dict[str, bool | tuple[str, ...]] = {
            "emulated": (),  # interpreters of binfmt_misc are the host's
            "nf_tables": (known.options or {}).get("CONFIG_NF_TABLES") == "y" or "nf_tables" in self.modules,
        }
        if "vsyscall=xonly" in self.parameters:
            changes["vsyscall"] = True
        if "ia32_emulation=1" in self.parameters:
            changes["compat32"] = True
        return msgspec.structs.replace(there, **changes)


def directory_of(paths: Paths) -> str:
    """Return the directory that has the directories of kernels."""
    return paths.root + "/kernels"


def lock(paths: Paths) -> Lock:
    """Return the lock that is held while a kernel comes or goes."""
    paths.make()
    return Lock(ensure(paths.locks) + "/kernels")


def check_release(release: str) -> None:
    """Raise InvalidInput for what is not the release of a kernel: it becomes the name of a directory."""
    if not _RELEASE.fullmatch(release):
        raise InvalidInput(f"not the release of a kernel: {release!r:.100}", "as `uname -r` prints it: 6.12.1-amd64")


def read(paths: Paths, release: str) -> Kernel | None:
    """Return the kernel of exactly this release, None if it is not in the store. Raises Corrupt."""
    known = record(paths, release)
    if known is None:
        return None
    return Kernel(
        release,
        known.architecture,
        known.digest,
        f"{directory_of(paths)}/{release}",
        known.modules,
        known.built_in,
        known.source,
        known.options,
    )


def record(paths: Paths, release: str) -> Record | None:
    """Return what is recorded of the kernel of exactly this release, None if it is not in the store. Raises Corrupt."""
    try:
        with open(f"{directory_of(paths)}/{release}/kernel.json", "rb") as file:
            data = file.read(_RECORD_LIMIT)
    except FileNotFoundError:
        return None
    try:
        known = msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError as error:
        raise _damaged(release, str(error)) from None
    names = (*known.modules, *known.built_in)
    if known.format != FORMAT:
        raise _damaged(release, f"its format is {known.format}, not {FORMAT}")
    if known.release != release or any("/" in name for name in names) or not all(map(_FILE.fullmatch, known.files)):
        raise _damaged(release, "its record is that of another kernel")
    return known


def _damaged(release: str, why: str) -> Corrupt:
    return Corrupt(
        f"the kernel {release} in the store is damaged: {why}", f"remove it: `underlay machine kernel rm {release}`"
    )


def releases(paths: Paths) -> list[str]:
    """Return the releases of the kernels in the store, the newest first; cheap where there are none."""
    try:
        names = os.listdir(directory_of(paths))
    except FileNotFoundError:
        return []
    return sorted(filter(_RELEASE.fullmatch, names), key=age, reverse=True)


def age(release: str) -> list[tuple[int, int, str]]:
    """Return what orders releases by age: numbers as numbers, candidates of a release before it."""
    # After the last part, so that 6.12~rc1 comes before 6.12, and that before 6.12.1.
    end = (1, 0, "")
    parts = re.findall(r"[0-9]+|[^0-9]+", release.replace("-rc", "~rc"))
    return [
        *((3, int(part), "") if part[0].isdigit() else (0 if part[0] == "~" else 2, 0, part) for part in parts),
        end,
    ]


def listing(paths: Paths) -> list[Kernel]:
    """Return the kernels in the store, the newest first. Raises Corrupt for one whose record is damaged."""
    return [kernel for release in releases(paths) if (kernel := read(paths, release)) is not None]


def find(paths: Paths, name: str = DEFAULT, architecture: str = "") -> Kernel:
    """Return the kernel that a name stands for: `default` or "" the newest; a release, or the beginning of one or of a
    digest.

    With `architecture` only kernels of that count. Raises NotFound, Corrupt, and InvalidInput if several begin like that.
    """
    of_it = f" for {architecture}" if architecture else ""
    if name not in ("", DEFAULT) and _RELEASE.fullmatch(name) and (exact := read(paths, name)) is not None:
        if architecture and exact.architecture != architecture:
            raise InvalidInput(f"the kernel {name} is for {exact.architecture}, not {architecture}")
        return exact
    fitting = [kernel for kernel in listing(paths) if architecture in ("", kernel.architecture)]
    if name in ("", DEFAULT):
        if not fitting:
            foreign = architecture not in ("", platforms.host().architecture)
            raise NotFound(f"there is no kernel{of_it} in the store", _FOREIGN.format(architecture) if foreign else HOW)
        return fitting[0]
    chosen = [
        kernel
        for kernel in fitting
        if kernel.release.startswith(name)
        or (len(name) >= _DIGITS and kernel.digest.startswith((name, f"sha256:{name}")))
    ]
    if not chosen:
        error = NotFound(f"no such kernel{of_it}: {name}", HOW)
        error.name, error.names = name, [kernel.release for kernel in fitting]
        raise error
    if len(chosen) > 1:
        names = ", ".join(kernel.release for kernel in chosen)
        raise InvalidInput(f"several kernels begin with {name}", f"one of {names}")
    return chosen[0]


def remove(paths: Paths, release: str, check: Callable[[str], None] | None = None) -> None:
    """Remove a kernel from the store, given as for `find` but for `default`. Raises NotFound, InvalidInput.

    `check` is called with the release before, and raises an error if the kernel is to stay.
    """
    directory = directory_of(paths)
    with lock(paths), Scratch(paths, "gone") as scratch:
        # A damaged one can be removed by its whole name.
        if release not in releases(paths):
            if release in ("", DEFAULT):
                raise NotFound(f"no such kernel: {release!r}", "`underlay machine kernel ls` lists them")
            release = find(paths, release).release
        if check is not None:
            check(release)
        os.rename(f"{directory}/{release}", f"{scratch.path}/{release}")
        sync_directory(directory)
