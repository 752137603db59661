"""The addresses of the site: a module for each kind of page, with its table of methods, paths and handlers."""

from __future__ import annotations

from . import containers, image, images, pulls, registry, remote

ROUTES = (*images.ROUTES, *image.ROUTES, *containers.ROUTES, *registry.ROUTES, *remote.ROUTES, *pulls.ROUTES)
