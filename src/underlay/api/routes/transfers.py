"""Images on their way: pull and import, push, load, and saved ones as a stream."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ...engine.images import archives, wording
from ...engine.images.transfer import pull, push
from ...errors import Corrupt, InvalidInput, NotFound
from ...oci import reference as references
from ..answers import work_of
from ..requests import changes, logins, pulls, query
from ..streaming import bodies
from ..streaming.progress import Transfers, streamed
from ..streaming.spooling import spooled

if TYPE_CHECKING:
    from typing import BinaryIO

    from aiohttp import web

    from ...engine.engine import Engine
    from ..answers import Route
    from ..streaming.progress import Say

_LOADING = {"layer.progress": "Loading layer", "layer.done": "Loaded layer"}
_IMPORTING = {"layer.progress": "Importing", "layer.done": ""}


async def create(request: web.Request) -> web.StreamResponse:
    """POST /images/create: pull an image, or import one."""
    asked = request.query
    if asked.get("fromImage"):
        return await _pull(request, *pulls.wanted(asked))
    if asked.get("fromSrc"):
        return await _import(request, asked["fromSrc"])
    raise InvalidInput("neither fromImage nor fromSrc is given")


async def _pull(request: web.Request, name: str, every: bool) -> web.StreamResponse:
    """Pull the image `name`, or with `every` the images of all tags of the repository `name`."""
    platform = request.query.get("platform", "")

    def call(engine: Engine, say: Say) -> None:
        done = pull(engine._store, name, platform, every)
        new = any(pulled.new for _, pulled in done)
        say({"status": wording.pulled(references.parse_exact(name) if every else done[0][0], new)})

    return await streamed(request, call, Transfers(), logins.of_image(request, name))


async def _import(request: web.Request, source: str) -> web.StreamResponse:
    asked = request.query
    repository, tag = asked.get("repo", ""), asked.get("tag", "")
    name = pulls.named(repository, tag) if repository else ""
    texts, message, platform = changes.of_query(request), asked.get("message", ""), asked.get("platform", "")
    file: BinaryIO | None = None
    if source == "-":
        file = await spooled(request)
    elif not source.startswith(("http://", "https://")):
        raise InvalidInput(f"fromSrc: neither - nor an address: {source[:200]!r}", "http and https are known")

    def call(engine: Engine, say: Say) -> None:
        with file or contextlib.nullcontext():
            image = engine.images.import_(file.fileno() if file else source, name, texts, message, platform)
        say({"status": image.id})

    return await streamed(request, call, Transfers(_IMPORTING))


async def push_(request: web.Request) -> web.StreamResponse:
    """POST /images/{name}/push: one tag, or without one all tags of the repository."""
    name, tag = request.match_info["name"], request.query.get("tag", "")
    every = not tag and not references.parse_exact(name).tag
    goal = name if every else pulls.named(name, tag)
    platform = _platform(request)

    def call(engine: Engine, say: Say) -> None:
        if not every:
            # Known before anything is sent, so that it is an error of the request.
            try:
                engine.images.get(goal)
            except NotFound:
                repository = references.parse(goal).familiar_repository
                raise NotFound(f"An image does not exist locally with the tag: {repository}") from None
        for reference, pushed in push(engine._store, goal, every, platform):
            say({"status": f"{reference.tag}: digest: {pushed.digest} size: {pushed.size}"})
            facts = {"Tag": reference.tag, "Digest": pushed.digest, "Size": pushed.size}
            say({"progressDetail": {}, "aux": facts})

    return await streamed(request, call, Transfers(), logins.of_image(request, goal))


def _platform(request: web.Request) -> str:
    """Return the platform of a push, which is a JSON object there. Raises InvalidInput."""
    text = request.query.get("platform", "")
    if not text.startswith("{"):
        return text
    value: Any = query.parsed(text.encode(), "platform")
    return "/".join(str(value[key]) for key in ("os", "architecture", "variant") if value.get(key))


async def load(request: web.Request) -> web.StreamResponse:
    """POST /images/load."""
    quiet, platform = query.flag(request, "quiet"), request.query.getall("platform", [])
    file: BinaryIO = await spooled(request)

    def call(engine: Engine, say: Say) -> None:
        try:
            with file:
                loaded = archives.load(engine._store, file.fileno(), platform)
        except Corrupt as error:  # what the client has sent, nothing of ours
            raise InvalidInput(error.message, error.hint) from None
        for image in loaded:
            for name, lost in image.moved:
                words = f"The image {name} already exists, renaming the old one with ID {lost} to empty string\n"
                say({"stream": words})
            for name in image.names:
                say({"stream": f"Loaded image: {name}\n"})
            if not image.names:
                say({"stream": f"Loaded image ID: {image.id}\n"})

    translate = Transfers(_LOADING)
    return await streamed(request, call, (lambda event: ()) if quiet else translate)


async def get(request: web.Request) -> web.StreamResponse:
    """GET /images/get and /images/{name}/get."""
    name = request.match_info.get("name")
    names = [name] if name else request.query.getall("names", [])
    if not names:
        raise InvalidInput("no image is named", "give names as the parameter names")
    work = work_of(request)
    engine = work.engine
    await work.do(lambda: [engine.images.get(each) for each in names])
    headers = {"Content-Type": "application/x-tar"}
    return await bodies.sent(request, work, lambda target: engine.images.save(names, target), headers)


ROUTES: tuple[Route, ...] = (
    ("POST", "/images/create", create),
    ("POST", "/images/load", load),
    ("GET", "/images/get", get),
    ("GET", "/images/{name:.+}/get", get),
    ("POST", "/images/{name:.+}/push", push_),
)
