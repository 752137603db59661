"""Removes a container's interfaces from a network namespace that other containers still use."""

from __future__ import annotations

import os

from ...errors import KernelError
from . import links, netns
from .netlink import Netlink

_KINDS = ("veth", "macvlan", "ipvlan")  # of interfaces that containers get
_ENODEV, _EINVAL = 19, 22


def empty(namespace: int) -> None:
    """Remove the interfaces that containers get from the namespace of a descriptor, unless it is our own.

    Raises KernelError.
    """
    own = os.stat("/proc/thread-self/ns/net")
    if os.path.samestat(os.fstat(namespace), own):
        return
    with netns.inside(namespace, Netlink) as connection:
        for link in links.every(connection):
            if link.kind in _KINDS:
                try:
                    connection.call(links.delete(link.index, link.name))
                except KernelError as error:
                    if error.errno != _ENODEV:
                        raise


def empty_pinned(path: str) -> None:
    """Do this for the namespace that is pinned to a file; harmless when none is. Raises KernelError, OSError."""
    try:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        empty(namespace)
    except KernelError as error:
        if error.errno != _EINVAL:  # a file that nothing is pinned to
            raise
    finally:
        os.close(namespace)
