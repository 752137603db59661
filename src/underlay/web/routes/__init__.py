"""The addresses of the site: a module for each kind of page, with its table of methods, paths and handlers."""

from __future__ import annotations

from . import actions, containers, image, images, live

ROUTES = (*images.ROUTES, *image.ROUTES, *actions.ROUTES, *containers.ROUTES, *live.ROUTES)
