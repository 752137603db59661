"""What is answered: a module for each kind of object, with its table of methods, paths and handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import builds, containers, execs, files, following, images, networks, system, volumes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..answers import Route

TABLES: tuple[Iterable[Route], ...] = (
    system.ROUTES,
    containers.ROUTES,
    execs.ROUTES,
    files.ROUTES,
    following.ROUTES,
    images.ROUTES,
    builds.ROUTES,
    networks.ROUTES,
    volumes.ROUTES,
)
