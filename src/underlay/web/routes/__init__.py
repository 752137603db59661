"""The addresses of the site: a module for each kind of page, with its table of methods, paths and handlers."""

from __future__ import annotations

from . import actions, containers, image, images, live, pulls, registry, remote

_OF_IMAGES = (*images.ROUTES, *image.ROUTES, *actions.ROUTES)
_OF_REGISTRIES = (*registry.ROUTES, *remote.ROUTES, *pulls.ROUTES)
ROUTES = (*_OF_IMAGES, *_OF_REGISTRIES, *containers.ROUTES, *live.ROUTES)
