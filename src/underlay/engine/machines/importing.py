"""Adding a kernel to the store, from a Debian package or from its image and a directory of modules."""

from __future__ import annotations

import os
from hashlib import sha256

import msgspec

from ...base.fit import kernels as reading
from ...errors import Conflict, Corrupt, InvalidInput
from ...files import sync_directory
from ...human import escaped
from ...store.scratch import Scratch, ensure
from . import kernels, modules, sources
from .kernels import Kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths

_FILES = ("vmlinuz", "config", "kernel.json")  # of a kernel, beside its modules
_COMPRESSED = (b"\x1f\x8b", b"MZ\0\0zimg")  # gzip, and the kernel's own (arm64: drivers/firmware/efi/libstub/zboot)


def import_file(paths: Paths, path: str, modules_at: str = "", replace: bool = False) -> Kernel:
    """Add the kernel of a file to the store and return it: see `Machines.import_kernel`.

    Raises InvalidInput, Corrupt, LimitExceeded, Conflict, and OSError for what cannot be written.
    """
    paths.make()
    with Scratch(paths, "import") as scratch:
        files = _files(path, modules_at, scratch.path)
        kernels.check_release(files.release)
        made = scratch.path + "/kernel"
        os.mkdir(made, 0o700)
        _write(files, made)
        with kernels.lock(paths):
            return _place(paths, files.release, made, scratch.path, replace)


def _files(path: str, modules_at: str, scratch: str) -> sources.Files:
    """Return the files of a kernel and its modules."""
    try:
        is_package = reading.is_package(path)
        packed = bool(modules_at) and os.path.isfile(modules_at) and reading.is_package(modules_at)
    except OSError as error:
        raise InvalidInput(f"{error.filename}: {error.strerror}") from None
    if not is_package:
        files = sources.image(path, "" if packed else modules_at)
    else:
        files = sources.package(path, scratch + "/tar")
        if modules_at and not packed:
            files.below |= sources.directory_below(files.release, modules_at)
    if packed:
        # Ubuntu has modules and configuration in a package of their own.
        more = sources.package(modules_at, scratch + "/modules.tar")
        if more.release != files.release:
            raise InvalidInput(f"{modules_at} has modules of the kernel {more.release}, not of {files.release}")
        files.below |= more.below
        files.config = files.config or more.config
    return files


def _write(files: sources.Files, made: str) -> None:
    """Write a kernel's files into its directory in the store, so that they outlast a power cut."""
    release, source = files.release, files.source
    if files.image is None:
        raise InvalidInput(f"{source}: a package without the image of a kernel", "give the package linux-image-VERSION")
    data = files.image.read(reading.IMAGE_LIMIT, f"{source}: the image")
    _put(made + "/vmlinuz", data)
    options: dict[str, str] | None = None
    architecture = ""
    if files.config is not None:
        text = files.config.read(reading.CONFIG_LIMIT, f"{source}: the configuration")
        known = reading.configured(text, f"{source}: config-{release}")
        options, architecture = known.options or {}, known.architecture
        _put(made + "/config", text)
    architecture = _judged(data, made + "/vmlinuz", f"{source}: the image", release, architecture)
    chosen = modules.choose(files.below, options, release, architecture, source)
    modules.write(chosen, made + "/modules")
    record = kernels.Record(
        format=kernels.FORMAT,
        release=release,
        architecture=architecture,
        digest="sha256:" + sha256(data).hexdigest(),
        modules=tuple(chosen.contents),
        built_in=tuple(chosen.built_in),
        source=escaped(os.path.basename(source)),
        options=None if options is None else {key: options[key] for key in kernels.KEPT_OPTIONS if key in options},
        files={name: f"sha256:{digest}" for name, digest in _digests(made).items() if name != "vmlinuz"},
    )
    _put(made + "/kernel.json", msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    sync_directory(made + "/modules")
    sync_directory(made)


def _judged(data: bytes, path: str, shown: str, release: str, architecture: str) -> str:
    """Return the architecture of an image; `architecture` is what the configuration says, "" without one.

    Raises InvalidInput if it is not the image of this release, or for a processor that machines do not have.
    """
    try:
        said = reading.read(path, shown)
    except InvalidInput:
        # A compressed one does not say which it is; QEMU decompresses it.
        if architecture != "arm64" or not data.startswith(_COMPRESSED):
            raise
        return architecture
    if said.options is not None:
        raise InvalidInput(f"{shown} is none")
    if said.release != release:
        raise InvalidInput(f"{shown} is that of the kernel {said.release}, not of {release}")
    if architecture and said.architecture != architecture:
        raise InvalidInput(f"{shown} is for {said.architecture}, its configuration for {architecture}")
    if said.architecture not in kernels.ARCHITECTURES:
        raise InvalidInput(
            f"{shown} is for {said.architecture}", f"machines have processors of {' or '.join(kernels.ARCHITECTURES)}"
        )
    return said.architecture


def _put(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _place(paths: Paths, release: str, made: str, scratch: str, replace: bool) -> Kernel:
    """Give a kernel its place in the store, unless the same is there. Raises Conflict."""
    above = ensure(kernels.directory_of(paths))
    directory = f"{above}/{release}"
    if os.path.lexists(directory):
        if not _same(directory, made):
            if not replace:
                raise Conflict(f"the kernel {release} is in the store with other content", "--force replaces it")
            os.rename(directory, scratch + "/replaced")
            os.rename(made, directory)
    else:
        os.rename(made, directory)
    sync_directory(above)
    kernel = kernels.read(paths, release)
    if kernel is None:
        raise Corrupt(f"the kernel {release} in the store is damaged: it has no record", "import it with --force")
    return kernel


def _same(one: str, other: str) -> bool:
    return _digests(one) == _digests(other)


def _digests(directory: str) -> dict[str, str]:
    """Return the digests of the files of a kernel, without what is made of them when it is used; but for the source, its
    record says nothing else."""
    found = {}
    names = [name for name in _FILES if os.path.exists(f"{directory}/{name}")]
    if os.path.isdir(directory + "/modules"):
        names += [f"modules/{name}" for name in os.listdir(directory + "/modules")]
    for name in names:
        with open(f"{directory}/{name}", "rb") as file:
            data = file.read()
        if name == "kernel.json":
            try:
                record = msgspec.json.decode(data, type=kernels.Record)
                data = msgspec.json.encode(msgspec.structs.replace(record, source="", files={}))
            except msgspec.DecodeError:
                pass
        found[name] = sha256(data).hexdigest()
    return found
