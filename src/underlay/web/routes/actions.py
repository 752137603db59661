"""Forms on the pages of an image: add and remove tags, remove the image, rebase it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...api.answers import work_of
from ...errors import Conflict, InvalidInput, NotFound, Unsafe
from .image import IMAGE, shown
from .parts import see

if TYPE_CHECKING:
    from typing import Any

    from aiohttp import web

    from ...base.rebase.move import Moved
    from ...engine.engine import Engine
    from ...engine.images.handle import Image
    from .parts import Route


def _image_id(request: web.Request) -> str:
    return f"sha256:{request.match_info['id']}"


async def _field(request: web.Request, name: str) -> str:
    """Return a text field of the submitted form, "" if it is missing."""
    value = (await request.post()).get(name, "")
    return value.strip() if isinstance(value, str) else ""


async def tag(request: web.Request) -> web.StreamResponse:
    """POST /image/ID/tag: add the tag in the form field `name` to the image."""
    name = await _field(request, "name")
    if not name:
        raise InvalidInput("no name was given", "type one, such as shop/web:2.4")
    await work_of(request).do(work_of(request).engine.images.tag, _image_id(request), name)
    return see(f"/image/{request.match_info['id']}/tags")


async def remove(request: web.Request) -> web.StreamResponse:
    """POST /image/ID/remove: remove the tag in the form field `name`, or without that field the image and all its tags."""
    name = await _field(request, "name")

    def work(engine: Engine) -> bool:
        found = engine.images.get(_image_id(request))
        if name and name not in {*found.tags, *found.digests}:
            raise NotFound(f"the image has no name {name}")
        if not name and engine.system.image_usage()[found.id].containers:
            raise Conflict("containers use this image", "remove them first")  # before its other names are gone
        for each in [name] if name else found.tags or [found.id]:
            engine.images.remove(each)
        try:
            engine.images.get(found.id)
        except NotFound:
            return False
        return True

    is_there = await work_of(request).do(work, work_of(request).engine)
    return see(f"/image/{request.match_info['id']}/tags" if is_there else "/")


async def move(request: web.Request) -> web.StreamResponse:
    """POST /image/ID/move: rebase the image with `do=move`, else show a dry run of that.

    The form field `onto` names the new base (default: the image that the base's tag refers to now), `name` the new image;
    `force` rebases in spite of hazards.
    """
    fields = {name: await _field(request, name) for name in ("onto", "name", "do", "force")}

    def facts_of(engine: Engine, found: Image) -> dict[str, Any]:
        # By its tag, if it has one: the new image gets that tag unless another one is given.
        subject, names = found.tags[0] if found.tags else found.id, [fields["name"]] if fields["name"] else []

        def rebase(dry_run: bool) -> Moved:
            return engine.bases.rebase(
                subject, fields["onto"], names, dry_run=dry_run, force=bool(fields["force"]) and not dry_run
            )

        try:
            return {"wanted": fields, "unsafe": False, "moved": rebase(dry_run=fields["do"] != "move")}
        except Unsafe:
            return {"wanted": fields, "unsafe": True, "moved": rebase(dry_run=True)}  # shows the hazards

    return await shown(request, "overview", "move.html", facts_of)


ROUTES: tuple[Route, ...] = (
    ("POST", f"{IMAGE}/tag", tag),
    ("POST", f"{IMAGE}/remove", remove),
    ("POST", f"{IMAGE}/move", move),
)
