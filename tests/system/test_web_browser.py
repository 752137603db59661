"""The site in a real browser: each page without errors, barriers, sideways scrolling and scripts of images; what a user
does by mouse and by keyboard; dark colours.

The pages are those of `sitepages`. The browser is Debian's Chromium, driven by selenium.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from archives import Layout
from axe import axe_source, barriers
from chromium import HEIGHT, PHONE, WIDTH, Browser, browser
from engines import Installation, needs_root, until
from fakeregistry import FakeRegistry
from remoteimages import image, index
from siteimages import HOST, SCRIPTS, SHOP, advise, files, furnish, hostile
from sitepages import PAGES, PARTS, SitePage
from sites import serving_site
from visitors import Visitor

pytestmark = pytest.mark.root

DEBIAN = f"{HOST}/base/debian:13"
# Elements that no page has, whatever an image says: scripts but those of the package, handlers, links that are scripts.
INTRUDERS = """
return [...document.querySelectorAll('*')].filter(element =>
    element.localName === 'script' && !element.src.startsWith(location.origin + '/static/')
    || [...element.attributes].some(attribute => /^on/.test(attribute.name) || attribute.name === 'srcdoc')
    || /^\\s*(javascript|data):/i.test(element.getAttribute('href') || element.getAttribute('src') || '')
    || ['iframe', 'object', 'embed', 'base'].includes(element.localName)
    || element.localName === 'img'
).map(element => element.outerHTML.slice(0, 200))
"""
CONTRAST = """
const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = colour => {
    const [r, g, b] = channels(colour).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
};
const ground = light(getComputedStyle(document.body).backgroundColor);
const text = light(getComputedStyle(document.querySelector(arguments[0])).color);
return (Math.max(ground, text) + .05) / (Math.min(ground, text) + .05);
"""
NAMES = "return [...document.querySelectorAll('#rows tbody th a')].map(link => link.textContent)"


class Shop(NamedTuple):
    """A site with images and containers; `ids` are what names in braces stand for in the paths of pages."""

    browser: Browser
    ids: dict[str, str]

    def path(self, page: SitePage | str) -> str:
        return (page if isinstance(page, str) else page.path).format(**self.ids)

    def open(self, page: SitePage | str) -> None:
        """Open a page, and wait for what comes later."""
        self.browser.open(self.path(page))
        if isinstance(page, SitePage):
            self.browser.wait(page.ready)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the images; when the module is done nothing may be left of it."""
    needs_root()
    place = tmp_path_factory.mktemp("shop")
    made = Visitor(place)
    furnish(made)
    advise(made, place)
    layers, changes = hostile()
    layout = Layout()
    layout.image(layers, "evil:1", **changes)
    made("load", input=layout.tar())
    yield made
    made.clean()


@pytest.fixture(scope="module")
def registry() -> Iterator[FakeRegistry]:
    """A registry with a hostile image, and one for two platforms."""
    layers, changes = hostile()
    with FakeRegistry() as made:
        made.add(image(layers, **changes), "team/evil", "1", "2")
        made.add(index([image(), image(architecture="arm64")]), "team/app", "1.0", "latest")
        yield made


@pytest.fixture(scope="module")
def whole_shop(
    installation: Installation, registry: FakeRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The site with a running container that writes scripts, one that has ended, an image that was pulled, and a browser
    that was let in."""
    words = "; ".join(f"echo {shlex.quote(script)}" for script in SCRIPTS)
    labels = [word for script in SCRIPTS for word in ("--label", f"{script}={script}")]
    ids = {
        "running": installation.start(
            "--name", "shown", *labels, "-v", "/data", DEBIAN, "sh", "-c", f"{words}; exec sleep 600"
        ),
        "ended": installation.start("--name", "ended", DEBIAN, "false"),
        "created": installation.out("create", "--name", "created", "--network", "none", "evil:1"),
        "untagged": installation.out("import", "-", input=files({"file": "text"})),
    }
    for name, reference in (("shop", SHOP), ("evil", "evil:1"), ("debian", DEBIAN)):
        ids[name] = installation.out("inspect", "-f", "{{.Id}}", reference)
    ids = {name: identity.removeprefix("sha256:") for name, identity in ids.items()}
    assert until(lambda: "link" in installation.out("logs", "shown"))
    with serving_site(installation) as address, browser(tmp_path_factory.mktemp("browser")) as made:
        made.enter(address)
        body = "new URLSearchParams({name: arguments[0]})"
        pull = f"return fetch('/pull', {{method: 'POST', body: {body}}}).then(answer => answer.url)"
        assert made.run(pull, f"{registry.host}/team/app:1.0") == f"{made.origin}/pull/1"
        made.wait("return fetch('/pull/1').then(answer => answer.text()).then(text => text.includes(' is here: '))")
        yield Shop(made, ids | {"registry": registry.host})


@pytest.fixture
def shop(whole_shop: Shop) -> Iterator[Shop]:
    """The site and its browser; the next test finds no telephone, and no dark colours."""
    yield whole_shop
    whole_shop.browser.usual()


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_source()


def every(pages: tuple[SitePage, ...] = PAGES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@every()
def test_page(shop: Shop, page: SitePage) -> None:
    """No errors, no violations of the policy, no script of an image; a telephone's screen is wide enough."""
    shop.open(page)
    assert shop.browser.run(INTRUDERS) == []
    assert shop.browser.run("return document.querySelectorAll('h1').length") == 1
    shop.browser.size(PHONE, 844, mobile=True)
    assert shop.browser.run("return document.documentElement.scrollWidth") == PHONE
    assert shop.browser.complaints(page.status) == []


@every()
def test_page_has_no_barriers(shop: Shop, page: SitePage, axe: str) -> None:
    """Neither in light nor in dark colours."""
    shop.open(page)
    for is_dark in (False, True):
        shop.browser.dark(is_dark)
        assert barriers(shop.browser, axe) == []


def test_what_is_looked_for_can_be_found(shop: Shop, axe: str) -> None:
    """The policy stops a script that is in a page, and the browser says so; without the policy it would run. What is wide
    is too wide for a telephone, and axe finds a picture without words."""
    insert = "document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0])"
    shop.open("/forest")
    shop.browser.run(insert, SCRIPTS[1] + "<p style='width: 500px'>wide</p>")
    assert until(lambda: "script-src-attr inline" in " ".join(shop.browser.complaints()))
    assert "alert" not in " ".join(shop.browser.run("return notes.dialogs"))
    assert len(shop.browser.run(INTRUDERS)) == 1
    assert "image-alt" in " ".join(barriers(shop.browser, axe))
    shop.browser.devtools("Page.setBypassCSP", enabled=True)
    try:
        shop.open("/forest")
        shop.browser.run(insert, SCRIPTS[1] + "<p style='width: 500px'>wide</p>")
        assert until(lambda: "alert image" in shop.browser.complaints())
        shop.browser.size(PHONE, 844, mobile=True)
        assert shop.browser.run("return document.documentElement.scrollWidth") > PHONE
    finally:
        shop.browser.devtools("Page.setBypassCSP", enabled=False)


def test_scripts_are_shown_as_text(shop: Shop) -> None:
    """Even without the policy none runs, on any page of the hostile image; what it says is there to read."""
    shop.browser.devtools("Page.setBypassCSP", enabled=True)
    shown = set()
    try:
        for page in PAGES:
            if page.name.startswith(("evil", "remote", "container", "images")):
                shop.open(page)
                text = shop.browser.text()
                shown |= {(page.name, script) for script in SCRIPTS if script in text}
                assert shop.browser.run("return [notes.dialogs, notes.errors]") == [[], []], page.name
    finally:
        shop.browser.devtools("Page.setBypassCSP", enabled=False)
    where = ("evil-dockerfile", "evil-compared", "evil-packages", "evil-history", "remote-dockerfile", "remote-history")
    where += ("container-running",)
    wanted = {(name, script) for name in where for script in SCRIPTS}
    wanted |= {("evil-files", script) for script in SCRIPTS if "/" not in script}
    assert wanted - shown == set()


def test_the_pages_here_are_all_that_the_site_has() -> None:
    """Each route belongs to a page of the table, or to what is no page."""
    pytest.importorskip("aiohttp")
    from aiohttp import web

    from underlay.web.routes import ROUTES

    router = web.Application().router
    for method, path, handler in ROUTES:
        if method == "GET":
            router.add_route(method, path, handler)
    patterns = [
        (resource.canonical, re.compile(info.get("pattern") or re.escape(info["path"])))
        for resource in router.resources()
        if (info := resource.get_info())
    ]
    ids = dict.fromkeys(("shop", "evil", "running", "ended", "created", "untagged", "debian", "registry"), "0" * 64)
    paths = [path.format(**ids).partition("?")[0] for path in (*PARTS, *(page.path for page in PAGES))]
    met = [next((name for name, pattern in patterns if pattern.fullmatch(path)), path) for path in paths]
    assert set(met) == {name for name, _ in patterns}


def test_sign_in(shop: Shop) -> None:
    """The token is gone from the address, scripts cannot read the cookie, and without it nothing is shown."""
    driver = shop.browser.driver
    shop.open("/")
    assert driver.current_url == f"{shop.browser.origin}/"
    assert shop.browser.run("return document.cookie") == ""
    [cookie] = driver.get_cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    driver.delete_all_cookies()
    try:
        shop.open("/")
        assert "not logged in" in shop.browser.text() and "shop" not in shop.browser.text()
    finally:
        driver.add_cookie(cookie)
    shop.open("/")
    assert "shop/web:2.4" in shop.browser.text()


def test_tabs_by_mouse(shop: Shop) -> None:
    """From the list to an image, and through each of its tabs."""
    from underlay.web.image import TABS

    shop.open(PAGES[0])
    click(shop, f"main a[href='{shop.path('/image/{shop}')}']")
    headings = []
    for title in TABS.values():
        shop.browser.run(
            "[...document.querySelectorAll('.tabs a')].find(link => link.innerText === arguments[0]).dataset.wanted = '1'",
            title,
        )
        click(shop, ".tabs a[data-wanted]")
        assert shop.browser.text(".tabs [aria-current=page]") == title
        headings.append(shop.browser.text("h2, main > p.problem"))
    assert len(set(headings)) == len(TABS) and shop.browser.text("h1") == SHOP


def click(shop: Shop, selector: str) -> None:
    """Click on an element, and wait for the page that this opens."""
    shop.browser.run("window.isLeft = true")
    shop.browser.driver.find_element("css selector", selector).click()
    shop.browser.wait("return document.readyState === 'complete' && !window.isLeft")


def press(shop: Shop, *keys: str) -> None:
    """Press keys one after the other; what follows on control is pressed with it."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        chain = ActionChains(shop.browser.driver)
        if key.startswith(Keys.CONTROL):
            chain.key_down(Keys.CONTROL).send_keys(key[1:]).key_up(Keys.CONTROL)
        else:
            chain.send_keys(key)
        chain.perform()


def test_search_while_typing(shop: Shop) -> None:
    """The list follows what is typed, with the bases of what is left; enter makes it a page of its own."""
    from selenium.webdriver.common.keys import Keys

    shop.open(PAGES[0])
    everything = shop.browser.run(NAMES)
    assert SHOP in everything and "evil:1" in everything
    field = shop.browser.driver.find_element("css selector", "#q")
    field.send_keys("SHOP/W")
    shop.browser.wait("return document.querySelectorAll('#rows tbody tr').length === 3")
    assert shop.browser.run(NAMES) == [SHOP, f"{HOST}/shop/worker:1.9", f"{HOST}/shop/web:2.3"]
    shop.browser.wait(PAGES[0].ready)
    assert DEBIAN in shop.browser.text("#rows td.base")
    assert shop.browser.run("return location.pathname + location.search") == "/"
    field.send_keys("<script>")
    shop.browser.wait("return !document.querySelector('#rows table')")
    assert "No image has “SHOP/W<script>”" in shop.browser.text("#rows")
    press(shop, Keys.CONTROL + "a", Keys.BACKSPACE)
    shop.browser.wait("return document.querySelectorAll('#rows tbody tr').length === arguments[0]", len(everything))
    field.send_keys("mail\n")
    shop.browser.wait("return location.search === '?q=mail' && document.readyState === 'complete'")
    assert shop.browser.run(NAMES) == [f"{HOST}/shop/mail:3.1"]
    assert shop.browser.complaints() == []


def test_by_name(shop: Shop) -> None:
    shop.open("/containers")
    shop.browser.driver.find_element("css selector", "#name").send_keys(f"{SHOP}\n")
    shop.browser.wait("return location.pathname === arguments[0]", shop.path("/image/{shop}"))
    assert shop.browser.text("h1") == SHOP


def test_by_keyboard(shop: Shop) -> None:
    """The first key shows a link that leads past the head of the page; what has the focus is seen to have it."""
    from selenium.webdriver.common.keys import Keys

    shop.open(PAGES[0])
    skip = "const box = document.querySelector('.skip').getBoundingClientRect(); return box.left >= 0 && box.top >= 0"
    shop.browser.run("document.activeElement.blur()")
    assert not shop.browser.run(skip)
    press(shop, Keys.TAB)
    assert shop.browser.run("return document.activeElement.className") == "skip" and shop.browser.run(skip)
    press(shop, Keys.ENTER)
    shop.browser.wait("return location.hash === '#main'")
    press(shop, Keys.TAB)
    assert shop.browser.run("return document.activeElement.id") == "q"
    press(shop, Keys.TAB)
    first = shop.browser.run(NAMES)[0]
    assert shop.browser.run("return document.activeElement.textContent") == first
    assert shop.browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(shop, Keys.ENTER)
    shop.browser.wait("return location.pathname.startsWith('/image/') && document.querySelector('h1') !== null")
    assert shop.browser.text("h1") == first


def test_dark_colours(shop: Shop) -> None:
    """They follow the user's wish without a reload, and text can be read in both."""
    shop.open(PAGES[0])
    grounds = []
    for is_dark in (False, True):
        shop.browser.dark(is_dark)
        grounds.append(shop.browser.run("return getComputedStyle(document.body).backgroundColor"))
        for selector in ("body", "main a", ".also", ".count", ".share"):
            assert shop.browser.run(CONTRAST, selector) >= 4.5, (selector, is_dark)
    assert grounds == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]


def test_the_list_does_not_jump(shop: Shop) -> None:
    """When the bases come, later than the list, nothing moves."""
    shop.browser.devtools("Network.enable")
    limits = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    shop.browser.devtools("Network.emulateNetworkConditions", latency=300, **limits)
    try:
        for width, height, mobile in ((WIDTH, HEIGHT, False), (PHONE, 844, True)):
            shop.browser.size(width, height, mobile)
            shop.open(PAGES[0])
            shop.browser.run("return new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
            shift, moved = shop.browser.run("return [notes.shift, notes.shifted]")
            assert shift < 0.1, (width, moved)
    finally:
        shop.browser.devtools("Network.emulateNetworkConditions", latency=0, **limits)


def test_a_log_that_grows(shop: Shop, installation: Installation) -> None:
    """What a container writes while its page is open appears in it, and is no script either."""
    shop.open("/container/{running}")
    installation("exec", "shown", "sh", "-c", f"echo {shlex.quote('later ' + SCRIPTS[1])} > /proc/1/fd/1")
    shop.browser.wait("return document.querySelector('#log').innerText.includes(arguments[0])", f"later {SCRIPTS[1]}")
    shop.browser.wait("return document.querySelector('[data-line=memory]').getAttribute('points')")
    assert shop.browser.run(INTRUDERS) == [] and shop.browser.complaints() == []


def test_terminal(shop: Shop, axe: str) -> None:
    """A shell in the container, under the same policy; the keyboard can leave it."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    shop.open("/container/{running}")
    shop.browser.driver.find_element("css selector", "#shell button").click()
    shop.browser.wait("return document.querySelector('#terminal .xterm') !== null")
    shown = "return [...document.querySelectorAll('#terminal .xterm-accessibility-tree > *')].map(row => row.innerText)"
    shop.browser.wait(f"{shown}.join('').trim() !== ''")
    press(shop, "echo answer $((6 * 7))", Keys.ENTER)
    shop.browser.wait(f"{shown}.some(row => row.trim() === 'answer 42')")
    assert barriers(shop.browser, axe) == []
    ActionChains(shop.browser.driver).key_down(Keys.CONTROL).key_down(Keys.ALT).send_keys("x").key_up(Keys.ALT).key_up(
        Keys.CONTROL
    ).perform()
    assert shop.browser.run("return document.activeElement.id") == "close"
    press(shop, Keys.ENTER)
    shop.browser.wait("return document.querySelector('#ended').innerText !== ''")
    assert shop.browser.complaints() == []


def test_containers_are_told_what_to_do(shop: Shop) -> None:
    """By buttons, without an error on the pages that follow."""
    shop.open("/container/{ended}")
    click(shop, "form[action$='/start'] button")
    shop.browser.wait("return /Exited|Up/.test(document.querySelector('.facts').innerText)")
    shop.open("/container/{running}")
    click(shop, "form[action$='/pause'] button")
    shop.browser.wait("return document.querySelector('.facts').innerText.includes('Paused')")
    click(shop, "form[action$='/unpause'] button")
    shop.browser.wait("return !document.querySelector('.facts').innerText.includes('Paused')")
    assert shop.browser.complaints() == []


def test_pull(shop: Shop, axe: str) -> None:
    """A button fetches an image of a registry; its page says when it is here, and leads to it."""
    shop.open("/remote?name={registry}/team/evil:2")
    shop.browser.driver.find_element("css selector", "form[action='/pull'] button").click()
    shop.browser.wait(
        "return [...document.querySelectorAll('[role=status]')].some(each => / is here: /.test(each.innerText))"
    )
    assert shop.browser.run("return location.pathname") == "/remote" and barriers(shop.browser, axe) == []
    assert shop.browser.complaints() == []
    click(shop, "[role=status] a")
    assert shop.browser.text("h1") == shop.path("{registry}/team/evil:2") and shop.browser.run(INTRUDERS) == []


def test_what_a_move_would_change(shop: Shop, axe: str) -> None:
    shop.open("/image/{shop}")
    shop.browser.driver.find_element("css selector", "#onto").send_keys(f"{HOST}/base/python:3.13")
    click(shop, "form[action$='/move'] button")
    assert "It would go from" in shop.browser.text("main")
    assert barriers(shop.browser, axe) == [] and shop.browser.complaints() == []


def test_exported_files(shop: Shop, installation: Installation, axe: str, tmp_path: Path) -> None:
    """The site as files, opened without a server: nothing is missing, and there is no script at all."""
    installation("web", "export", str(tmp_path / "site"), SHOP, "evil:1")
    shop.browser.driver.get((tmp_path / "site" / "index.html").as_uri())
    for page in ("list", "image"):
        if page == "image":
            click(shop, "tbody th a")
            assert shop.browser.text("h1") in (SHOP, "evil:1")
        assert shop.browser.run("return getComputedStyle(document.querySelector('header')).display") == "flex"
        assert shop.browser.run("return document.scripts.length") == 0 and shop.browser.run(INTRUDERS) == []
        assert shop.browser.complaints() == []
        assert barriers(shop.browser, axe) == []
        shop.browser.complaints()  # axe cannot ask for style sheets here as it likes
