"""The pages of the site that tests open in a browser: a page that is added to the site has its row here."""

from __future__ import annotations

from typing import NamedTuple

from underlay.web.image import TABS


class SitePage(NamedTuple):
    """A page: its name in tests, its path with names of things in braces, the HTTP status it has, and a script that
    returns whether what comes later is there."""

    name: str
    path: str
    status: int = 200
    ready: str = "return true"


# The bases in the list of images come after the page.
BASES_ARE_THERE = "return ![...document.querySelectorAll('td.base')].some(cell => cell.textContent === '…')"
_TABS = [
    SitePage(f"{image}-{word}", f"/image/{{{image}}}" + (f"/{word}" if word != "overview" else ""))
    for image in ("shop", "evil")
    for word in TABS
]
_REMOTE_TABS = [
    SitePage(f"remote-{word}", f"/remote{f'/{word}' if word != 'overview' else ''}?name={{registry}}/team/evil:1")
    for word in TABS
]
PAGES = (
    SitePage("images", "/", ready=BASES_ARE_THERE),
    SitePage("images-found", "/?q=shop", ready=BASES_ARE_THERE),
    SitePage("images-none", "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"),
    SitePage("forest", "/forest"),
    *_TABS,
    SitePage("untagged", "/image/{untagged}/tags"),
    SitePage("shop-layer", "/image/{shop}/layer/3"),
    SitePage("shop-layer-directory", "/image/{shop}/layer/4?path=srv"),
    SitePage("evil-layer", "/image/{evil}/layer/1"),
    SitePage("evil-layer-directory", "/image/{evil}/layer/1?path=directory"),
    SitePage("shop-compared", "/image/{shop}/compare?with={debian}"),
    SitePage("evil-compared", "/image/{shop}/compare?with={evil}"),
    SitePage("shop-directory", "/image/{shop}/files?path=srv/www"),
    SitePage("shop-file", "/image/{shop}/files?path=etc/os-release"),
    SitePage("shop-binary", "/image/{shop}/files?path=usr/sbin/nginx"),
    SitePage("evil-file", "/image/{evil}/files?path=etc/os-release"),
    SitePage("containers", "/containers"),
    SitePage("containers-all", "/containers?all=1"),
    SitePage("container-running", "/container/{running}"),
    SitePage("container-ended", "/container/{ended}"),
    SitePage("container-created", "/container/{created}"),
    SitePage("networks", "/networks"),
    SitePage("volumes", "/volumes"),
    SitePage("registries", "/registry"),
    SitePage("registry", "/registry?name={registry}"),
    SitePage("repository", "/registry?name={registry}/team/app"),
    SitePage("repository-none", "/registry?name={registry}/team/nosuch", 404),
    SitePage("registry-invalid", "/registry?name=%3Cscript%3Ealert(1)%3C/script%3E", 400),
    *_REMOTE_TABS,
    SitePage("remote-platforms", "/remote?name={registry}/team/app:1.0"),
    SitePage("remote-none", "/remote?name={registry}/team/app:nosuch", 404),
    SitePage("pull", "/pull/1"),
    SitePage("no-such-image", "/image?name=nosuch", 404),
    SitePage("no-valid-name", "/image?name=%3Cscript%3Ealert(1)%3C/script%3E", 400),
    SitePage("no-such-page", "/image/{shop}/nosuch", 404),
    SitePage("no-such-layer", "/image/{shop}/layer/99", 404),
)
# Addresses of the site that are no pages: parts of pages, files to save, redirections, websockets.
PARTS = (
    "/images/rows",
    "/images/bases",
    "/image/{shop}/Dockerfile",
    "/image/{shop}/file",
    "/remote/Dockerfile",
    "/pull/1/progress",
    "/containers/rows",
    "/container/{running}/processes",
    "/container/{running}/live",
    "/container/{running}/terminal",
)
