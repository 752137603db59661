"""What the pages of an image change when they are asked to: its names, the base that it stands on, or that it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...api.answers import work_of
from ...errors import Conflict, InvalidInput, NotFound, Unsafe
from .image import IMAGE, shown
from .parts import see

if TYPE_CHECKING:
    from typing import Any

    from aiohttp import web

    from ...engine.engine import Engine
    from ...engine.images.handle import Image
    from .parts import Route


def _image_id(request: web.Request) -> str:
    return f"sha256:{request.match_info['id']}"


async def _field(request: web.Request, name: str) -> str:
    """Return a text field of the form that was sent, "" if it is not there."""
    value = (await request.post()).get(name, "")
    return value.strip() if isinstance(value, str) else ""


async def tag(request: web.Request) -> web.StreamResponse:
    """POST /image/ID/tag: give it the name of the field `name`."""
    name = await _field(request, "name")
    if not name:
        raise InvalidInput("no name was given", "type one, such as shop/web:2.4")
    await work_of(request).do(work_of(request).engine.images.tag, _image_id(request), name)
    return see(f"/image/{request.match_info['id']}/tags")


async def remove(request: web.Request) -> web.StreamResponse:
    """POST /image/ID/remove: remove the name of the field `name`, or without one the image with all its names."""
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
    """POST /image/ID/move: show what would change if the image stood on another base, or with `do=move` make that image.

    The field `onto` names the base, by default what its base's name stands for now; `name` is the name of the new image;
    `force` overrides what speaks against it.
    """
    fields = {name: await _field(request, name) for name in ("onto", "name", "do", "force")}

    def facts_of(engine: Engine, found: Image) -> dict[str, Any]:
        names = [fields["name"]] if fields["name"] else []
        facts: dict[str, Any] = {"wanted": fields, "unsafe": False}
        try:
            # By its name, since the new image gets it.
            subject = found.tags[0] if found.tags else found.id
            moved = engine.bases.rebase(
                subject, fields["onto"], names, dry_run=fields["do"] != "move", force=bool(fields["force"])
            )
        except Unsafe:
            # It is shown again, with what speaks against it.
            return facts_of_dry_run(engine, found, names, facts)
        return {**facts, "moved": moved}

    def facts_of_dry_run(engine: Engine, found: Image, names: list[str], facts: dict[str, Any]) -> dict[str, Any]:
        subject = found.tags[0] if found.tags else found.id
        return {**facts, "unsafe": True, "moved": engine.bases.rebase(subject, fields["onto"], names, dry_run=True)}

    return await shown(request, "overview", "move.html", facts_of)


ROUTES: tuple[Route, ...] = (
    ("POST", f"{IMAGE}/tag", tag),
    ("POST", f"{IMAGE}/remove", remove),
    ("POST", f"{IMAGE}/move", move),
)
