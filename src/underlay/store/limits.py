"""Bounds on what a layer may ask of the host: one frozen value, shared by the readers of untrusted bytes."""

from __future__ import annotations

from ..lean.values import Value


class Limits(Value, kw_only=True):
    """Upper bounds for one layer (or, where said, one image). All sizes are bytes.

    The defaults are far above what real images need and far below what would hurt a host: the largest layers
    seen in public registries have some hundred thousand members.
    """

    total: int = 128 << 30
    """Length of the uncompressed tar."""
    members: int = 2_000_000
    """Members of one tar."""
    metadata: int = 512 << 20
    """Names, link targets and attributes of one tar together, as they are held in memory."""
    pax: int = 1 << 20
    """One pax extended header."""
    long_name: int = 64 << 10
    """One GNU long name or long link."""
    extensions: int = 16
    """Extension headers in a row before a member."""
    path: int = 4096
    """One member's path (PATH_MAX)."""
    component: int = 255
    """One component of a path (NAME_MAX)."""
    link: int = 4095
    """Target of a symbolic link (PATH_MAX without its NUL)."""
    xattr_value: int = 65535
    """Value of one extended attribute."""
    xattrs: int = 128
    """Extended attributes of one member."""
    sparse_pieces: int = 1_000_000
    """Pieces of all sparse members of one tar together."""
    sparse_size: int = 1 << 40
    """Logical size of all sparse members of one tar together."""
    trailing: int = 64 << 20
    """Bytes after the end-of-archive marker."""
    window_log: int = 27
    """Logarithm of the largest zstd window: 128 MiB, what the zstd program itself accepts."""
    xz_memory: int = 128 << 20
    """Memory of the xz decoder; `xz -9` needs 65 MiB."""
    nodes: int = 4_000_000
    """Files and directories of a merged image."""
    depth: int = 4096
    """Directories above a file in a merged image."""
    steps: int = 64_000_000
    """Path components walked while merging an image: stops link mazes."""
    hops: int = 255
    """Symbolic links followed for one path."""


DEFAULT = Limits()
