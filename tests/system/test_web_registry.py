"""`underlay web`: registries, images in them and in archives, pulls from a page, and registries that are hostile."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from test_web import Site, running

from engines import needs_root, until
from fakeregistry import FakeRegistry
from faults import body, cut_after, drip, hang_up, stall, stall_after, status
from registries import Certificate, DockerRegistry, need
from remoteimages import Image, image, index, random_tar, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def site(visitor: Visitor) -> Iterator[Site]:
    pytest.importorskip("aiohttp")
    pytest.importorskip("jinja2")
    visitor.settings("[network]\nretries = 1\n")
    with running(visitor) as made:
        made.enter()
        yield made


def look(name: str, **more: str) -> str:
    """The address of the list of a registry or a repository."""
    return f"/registry?{urlencode({'name': name, **more})}"


def at(name: str, tab: str = "", **more: str) -> str:
    """The address of a tab of an image that is not here."""
    return f"/remote{tab and '/'}{tab}?{urlencode({'name': name, **more})}"


def post(
    site: Site, script: bool = True, origin: str | None = "", path: str = "/pull", **form: str
) -> http.client.HTTPResponse:
    """Send the form with which an image is pulled, as a browser does."""
    connection = http.client.HTTPConnection(site.host, timeout=60)
    headers = {"Host": site.host, "Cookie": site.cookie, "Content-Type": "application/x-www-form-urlencoded"}
    headers |= {"HX-Request": "true"} if script else {}
    headers |= {} if origin is None else {"Origin": origin or f"http://{site.host}"}
    connection.request("POST", path, urlencode(form), headers)
    return connection.getresponse()


def progress_of(text: str) -> str:
    """The address that a page asks for the progress of its pull, "" when it asks no more."""
    match = re.search(r'hx-get="(/pull/\d+/progress)" hx-trigger="every 1s"', text)
    return match[1] if match else ""


def ended(site: Site, address: str) -> str:
    """The last answer about a pull."""
    assert until(lambda: not progress_of(site.page(address)))
    return site.page(address)


def test_repositories_and_tags(site: Site, registry: FakeRegistry, made: Image) -> None:
    for repository in ("team/app", "team/tools/lint", "teams/other", "team"):
        registry.add(made, repository, "1.0")
    everything = site.page(look(registry.host))
    assert len(re.findall(rf'href="/registry\?name={quote(registry.host)}/', everything)) == 4
    team = site.page(look(f"{registry.host}/team"))
    link = f"/registry?name={quote(registry.host)}/"
    assert f'"{link}team/app"' in team and f'"{link}team/tools/lint"' in team and "teams/other" not in team
    remote = f"/remote?name={quote(f'{registry.host}/team:1.0')}"
    assert f'<a href="{remote}">1.0</a>' in team  # it is a repository, too
    assert "1 tag<" in team
    app = site.page(look(f"https://{registry.host}/team/app/"))
    assert "lists none below team/app" in app and "1.0</a>" in app
    response = site.ask(look(f"{registry.host}/team/app:1.0"))
    assert response.status == 303
    assert response.headers["Location"] == f"/remote?name={quote(f'{registry.host}/team/app:1.0', safe='')}"
    assert "Registries</a>" in site.page("/") and 'name="name"' in site.page("/registry")


def test_thousands_of_tags(site: Site, registry: FakeRegistry, made: Image) -> None:
    registry.add(made, "library/python", *(f"3.{number:04}" for number in range(2500)))
    name = f"{registry.host}/library/python"
    first = site.page(look(name))
    assert "2500 tags" in first and "Page 1 of 13" in first and ">3.0199<" in first and ">3.0200<" not in first
    asked = len(registry.asked("GET", "/tags/list"))
    assert asked >= 3
    last = site.page(look(name, page="13"))
    assert ">3.2499<" in last and ">3.2399<" not in last
    assert "10 of 2500 tags" in site.page(look(name, tag="3.111")) and "0 of 2500" in site.page(look(name, tag=SCRIPT))
    assert len(registry.asked("GET", "/tags/list")) == asked  # kept for the next page
    for word in ("999999999", "-1", "x"):
        site.page(look(name, page=word))


def test_a_registry_without_a_catalogue(site: Site, registry: FakeRegistry, made: Image) -> None:
    registry.add(made, "team/app", "1.0")
    for code in (401, 404, 405):
        registry.rule("GET", "/_catalog", status(code), times=1)
        page = site.page(look(f"{registry.host}/team/app"))
        assert "does not list its repositories" in page and "1.0</a>" in page
    registry.rule("GET", "/_catalog", status(404))
    assert "does not list its repositories" in site.page(look(registry.host), 501)
    page = site.page(look(f"{registry.host}/nosuch"), 404)
    assert "repository name not known to registry" in page and "Check the name" in page


def test_namespaces_of_docker_hub(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """Docker Hub has no catalogue; its own API lists a namespace, in pages."""
    visitor.settings(f'[registry."docker.io"]\nlocation = "http://{registry.host}"\n[network]\nretries = 1\n')
    registry.add(made, "library/python", "3.13")
    registry.rule("GET", "/_catalog", status(401))
    api = "/v2/repositories"
    rows = [{"name": name, "namespace": "library"} for name in ("python", "alpine", SCRIPT)]
    first = json.dumps({"count": 4, "next": "https://elsewhere.example/", "results": rows}).encode()
    second = json.dumps({"count": 4, "next": None, "results": [{"name": "redis"}, "odd", {}]}).encode()
    registry.rule("GET", rf"{api}/library/$", body(first), times=1)
    registry.rule("GET", rf"{api}/library/$", body(second))
    with running(visitor) as site:
        site.enter()
        page = site.page(look("docker.io"))
        assert re.findall(r'href="/registry\?name=docker.io/([^"]*)"', page) == [
            "library/alpine",
            "library/python",
            "library/redis",
        ]
        assert "these are the official images" in page and "1 entry of its list cannot be the name" in page
        assert "library/redis" in site.page(look("docker.io/library"))
        assert [each.query["page"] for each in registry.asked("GET", f"{api}/library/")] == [
            "1",
            "2",
        ]  # kept for the next page
        assert "3.13</a>" in site.page(look("docker.io/library/python"))
        assert "3.13</a>" in site.page(look("python"))
        assert registry.asked("GET", f"{api}/python/") == []  # a name of an image, not of a namespace
        registry.rule("GET", rf"{api}/endless/", body(first))
        assert "more than 10000" in site.page(look("docker.io/endless"), 501)
        registry.rule("GET", rf"{api}/odd/", body(b'{"results": 5}'))
        assert "not a list of repositories" in site.page(look("docker.io/odd"), 502)
        assert "repository name not known" in site.page(look("docker.io/nosuch"), 404)


def test_each_tab_without_its_layers(site: Site, visitor: Visitor, registry: FakeRegistry) -> None:
    below = image([small_tar({"etc/os-release": b"ID=debian\nVERSION_ID=12\n"})])
    history = [
        {"created": "2024-02-03T04:05:06Z", "created_by": text} for text in ("step 0", "COPY own /own # buildkit")
    ]
    app = image([small_tar({"etc/os-release": b"ID=debian\nVERSION_ID=12\n"}), random_tar(3000, 1)], history=history)
    base = registry.add(below, "team/base", "1")
    visitor("pull", "-q", base)
    name = registry.add(app, "team/app", "1", "2")
    registry.requests.clear()
    overview = site.page(at(name))
    assert f"<strong>{base}</strong>" in overview and "Evidence" in overview and "The chain" in overview
    assert 'action="/pull" method="post"' in overview and "It is here, too" not in overview
    tags = site.page(at(name, "tags"))
    assert f"{registry.host}/team/app@{app.digest}" in tags and "2 tags" in tags
    assert f"/remote?name={quote(f'{registry.host}/team/app:2')}" in tags
    lines = site.page(at(name, "dockerfile"))
    assert f"<b>FROM</b> {base}" in lines and "own" in lines
    response = site.ask(at(name, "Dockerfile"))
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.read().decode() == visitor.out("base", "dockerfile", f"docker://{name}") + "\n"
    layers = site.page(at(name, "layers"))
    assert layers.count("the base&#39;s") == 1 and layers.count("its own") == 1 and "Wasted" not in layers
    assert f'value="{len(app.blobs[app.layers[1]])}"' in layers and "of compressed layers" in layers
    assert "&#34;diff_ids&#34;" in site.page(at(name, "config")) and app.diff_ids[0] in site.page(at(name, "config"))
    assert "COPY own /own" in site.page(at(name, "history"))
    for tab, what in (("files", "its files"), ("packages", "its packages"), ("vulnerabilities", "vulnerabilities")):
        page = site.page(at(name, tab))
        assert what in page and "needs the layers" in page and 'action="/pull"' in page
    site.page(at(name, "nosuch"), 404)
    asked = {request.path.rpartition("/")[2] for request in registry.asked("GET", "/blobs/")}
    assert asked.isdisjoint(app.layers) and app.id in asked


def test_an_image_that_is_here(site: Site, visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, "team/app", "1")
    visitor("pull", "-q", name)
    local = f"/image/{made.id[7:]}"
    page = site.page(at(name))
    assert f'It is here, too: <a href="{local}">' in page and 'action="/pull"' not in page
    assert f'href="{local}/files"' in site.page(at(name, "files"))
    assert f'<a class="also" href="{local}">here</a>' in site.page(look(f"{registry.host}/team/app"))


def test_platforms(site: Site, visitor: Visitor, registry: FakeRegistry) -> None:
    amd = image([small_tar()], cmd=["/amd"])
    arm = image([small_tar()], architecture="arm64", variant="v8", cmd=["/arm"])
    power = image([small_tar()], architecture="ppc64le", cmd=["/power"])
    every = registry.add(index([amd, arm, power], attestations=True), "team/app", "1")
    page = site.page(at(every))
    offered = re.findall(r'<a href="(/remote[^"]+platform=[^"]+)"[^>]*>([^<]+)</a>', page)
    assert [platform for _, platform in offered] == ["linux/amd64", "linux/arm64/v8", "linux/ppc64le"]
    assert offered[1][0] == at(every, platform="linux/arm64/v8").replace("&", "&amp;")
    config = site.page(at(every, "config", platform="linux/arm64/v8"))
    assert "/arm" in config and 'aria-current="page">linux/arm64/v8</a>' in config
    assert 'name="platform" value="linux/arm64/v8"' in config
    # One that this host cannot have: a page that leads to what there is.
    other = registry.add(index([power, image([small_tar()], architecture="s390x")]), "team/other", "1")
    page = site.page(at(other, "layers"), 404)
    link = at(other, "layers", platform="linux/ppc64le").replace("&", "&amp;")
    assert "requested platform" in page and f'<a href="{link}">linux/ppc64le</a>' in page
    assert "step 0" in site.page(at(other, "layers", platform="linux/ppc64le"))
    assert "problem" in site.page(at(other, platform="such/as/no/one"), 400)
    ended(site, progress_of(post(site, name=other, platform="linux/ppc64le").read().decode()))
    assert visitor.out("image", "inspect", "-f", "{{.Architecture}}", other) == "ppc64le"


def test_a_pull_with_its_progress(site: Site, visitor: Visitor, registry: FakeRegistry) -> None:
    app = image([small_tar(), random_tar(600_000, 1)])
    name = registry.add(app, "team/app", "1")
    go_on = threading.Event()

    def half(handler: object, match: object) -> bool:
        """Answer with the first half of the layer, and wait then until the test has seen that."""
        size = len(app.blobs[app.layers[1]]) // 2

        def send(handler: object, view: memoryview) -> None:
            handler.send(view[:size])  # type: ignore[attr-defined]
            go_on.wait(60)
            handler.send(view[size:])  # type: ignore[attr-defined]

        handler.shape = send  # type: ignore[attr-defined]
        return False

    registry.rule("GET", app.layers[1], half)
    begun = post(site, name=f"  docker://{name}", platform="").read().decode()
    address = progress_of(begun)
    assert address and name in begun

    def shown() -> list[int]:
        return [int(value) for value in re.findall(r'<progress max="\d+" value="(\d+)"', site.page(address))]

    assert until(lambda: len(shown()) == 2 and all(value > 0 for value in shown()))
    assert until(lambda: "Pull complete" in site.page(address))
    page = site.page(address)
    assert "Downloading" in page and "its page" not in page
    assert progress_of(post(site, name=name).read().decode()) == address  # the same one, not another
    assert site.page(address.removesuffix("/progress")).count("<progress") == 2
    assert "running" in site.page("/registry")
    go_on.set()
    last = ended(site, address)
    assert f'<a href="/image/{app.id[7:]}">its page</a>' in last
    assert visitor.out("images", "-q", "--no-trunc") == app.id
    site.page(f"/image/{app.id[7:]}/files")
    page = site.page("/registry")
    assert '<span class="fine">done</span>' in page and name in page


def test_a_pull_that_fails_in_its_middle(site: Site, visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, "team/app", "1")
    registry.rule("GET", made.layers[1], cut_after(1000))
    response = post(site, False, name=name)
    assert response.status == 303
    address = response.headers["Location"]
    last = ended(site, f"{address}/progress")
    assert 'role="alert"' in last and "its page" not in last and visitor.out("images", "-q") == ""
    assert 'role="alert"' in site.page(address) and '<span class="problem">failed</span>' in site.page("/registry")
    registry.rules.clear()
    again = post(site, False, name=name).headers["Location"]
    assert again != address
    assert "its page" in ended(site, f"{again}/progress")


def test_who_may_pull(site: Site, visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, "team/app", "1")
    for origin in (None, "null", "http://evil.example", f"https://{site.host}", f"http://{site.host}.evil.example"):
        assert post(site, origin=origin, name=name).status == 403
    cookie, site.cookie = site.cookie, ""
    assert post(site, name=name).status == 401
    site.cookie = cookie
    assert site.ask(f"/pull?name={quote(name)}").status == 405
    assert registry.requests == [] and visitor.out("images", "-q") == ""


def test_pulls_that_cannot_begin(site: Site, registry: FakeRegistry, made: Image) -> None:
    for name in ("", "UPPER", SCRIPT, "a" * 5000):
        page = post(site, False, name=name)
        text = page.read().decode()
        assert page.status == 400 and "invalid reference format" in text and "<script>" not in text
    text = post(site, name=SCRIPT).read().decode()
    assert text.startswith('<div role="alert">') and "&lt;script&gt;" in text
    registry.rule("GET", "/blobs/", stall())
    names = [registry.add(made, f"team/app{number}", "1") for number in range(5)]
    first = [progress_of(post(site, name=name).read().decode()) for name in names[:4]]
    assert all(first) and len(set(first)) == 4
    assert "4 other pulls are running" in post(site, name=names[4]).read().decode()
    assert post(site, False, name=names[4]).status == 409
    registry.close()
    for address in first:
        ended(site, address)
    site.page("/pull/99", 404)
    page = site.page("/pull/99/progress")
    assert "not remembered" in page and "hx-get" not in page


def test_a_pull_that_is_stopped(site: Site, visitor: Visitor, registry: FakeRegistry) -> None:
    """It ends with its next event, and leaves nothing of the image; the same can be pulled again."""
    big = image([random_tar(12 << 20, 1)])
    name = registry.add(big, "team/app", "1")
    slow = registry.rule("GET", f"/blobs/{big.layers[0]}", drip(40, 400))
    address = progress_of(post(site, name=name).read().decode())
    assert until(lambda: "of 12" in site.page(address))
    number = address.split("/")[2]
    connection = http.client.HTTPConnection(site.host, timeout=60)
    headers = {"Host": site.host, "Cookie": site.cookie, "Content-Length": "0"}
    connection.request("POST", f"/pull/{number}/stop", headers=headers)
    assert connection.getresponse().status == 403  # not from a page of the site
    text = post(site, name="", path=f"/pull/{number}/stop").read().decode()
    assert "was stopped" in text and not progress_of(text)
    slow.times = 0
    assert "was stopped" in site.page(f"/pull/{number}") and "stopped</span>" in site.page("/registry")
    assert name not in visitor.out("images", "--format", "{{.Repository}}:{{.Tag}}")
    again = progress_of(post(site, name=name).read().decode())
    assert again != address and "its page" in ended(site, again)


def test_errors_of_registries(site: Site, visitor: Visitor, made: Image, tmp_path: Path) -> None:
    """What, why, and what to do: on one page, which the form is on."""
    with FakeRegistry(users={"bob": "hidden-w0rd"}) as locked, FakeRegistry(Certificate(tmp_path / "tls")) as strange:
        locked.add(made, "team/app", "1")
        Certificate(tmp_path / "other").directory(visitor.certificates / strange.host)
        with FakeRegistry() as gone:
            nobody = gone.host
        with FakeRegistry() as wrong:
            wrong.rule("GET", "", body(b"<html>no registry</html>", "text/html"))
            cases = (
                ("registry.invalid/team/app", "no such host", "check the name", 502),
                (f"{nobody}/team/app", "connection refused", "check the name, the port", 502),
                (f"{locked.host}/team/app", "access denied", "underlay login", 403),
                (f"{strange.host}/team/app", "certificate is not trusted", "", 502),
                (f"{wrong.host}/team/app", "not a list", "Check the name", 502),
                ("UPPER/Case", "lowercase", "Check the name", 400),
            )
            for name, why, what, code in cases:
                page = site.page(look(name), code)
                assert 'role="alert"' in page and why in page and what in page and 'id="registry"' in page, (name, page)
                page = site.page(at(f"{name}:1"), 400 if wrong.host in name else code)
                assert why in page or "JSON" in page, (name, page)
        visitor.credentials({locked.host: ("bob", "hidden-w0rd")})
        page = site.page(look(f"{locked.host}/team/app")) + site.page(at(f"{locked.host}/team/app:1"))
        assert "1 tag" in page
        visitor.look(page.encode())
    assert site.ask(look("x" * 5000)).status == 400


def test_a_registry_that_hangs_keeps_nobody(site: Site, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, "team/app", "1")
    registry.rule("GET", "", stall())
    statuses: list[int] = []

    def ask(address: str) -> None:
        statuses.append(site.ask(address).status)

    addresses = [look(f"{registry.host}/team/app"), at(name), at(name, "tags")] * 7
    waiting = [threading.Thread(target=ask, args=(address,)) for address in addresses]
    for thread in waiting:
        thread.start()
    try:
        assert until(lambda: len(registry.requests) >= len(waiting))
        assert "Images" in site.page("/") and "No container runs" in site.page("/containers")
        assert statuses == []  # they wait yet
    finally:
        registry.close()
        for thread in waiting:
            thread.join(60)
    assert statuses == [502] * len(waiting)


def test_a_registry_of_scripts(site: Site, registry: FakeRegistry) -> None:
    """Names, errors and configurations of a registry are text, and what can be no name leads nowhere."""
    turned = "\u202egnp.exe\x1b[31m"
    steps = [{"created_by": SCRIPT + turned, "comment": SCRIPT}, {"created_by": "a", "empty_layer": True}]
    evil = image(
        [small_tar()],
        history=steps,
        author=SCRIPT,
        config={"Cmd": [SCRIPT], "Labels": {"evil": SCRIPT + turned, "org.opencontainers.image.base.name": SCRIPT}},
        annotations={"org.opencontainers.image.base.name": SCRIPT},
    )
    name = registry.add(evil, "team/app", "1")
    tabs = ("", "tags", "dockerfile", "layers", "config", "history", "files")
    shown = [site.page(at(name, tab)) for tab in tabs]
    assert sum("&lt;script&gt;" in text for text in shown) >= 4
    names = [SCRIPT, "../../etc", "team/app", "UPPER", "a" * 400, "x?y#z", "team/app:1", turned]
    registry.rule("GET", "/_catalog", body(json.dumps({"repositories": names}).encode()))
    registry.rule("GET", "/tags/list", body(json.dumps({"tags": [SCRIPT, "1", "a b", "../x", turned]}).encode()))
    page = site.page(look(registry.host))
    assert page.count("<li><a") == 1 and "6 entries of its list" in page
    tags = site.page(look(f"{registry.host}/team/app"))
    assert "1 tag<" in tags and tags.count("/remote?name=") == 1
    message = {"errors": [{"code": SCRIPT, "message": SCRIPT + turned}]}
    registry.rules.clear()
    registry.rule("GET", "", status(404, {"Content-Type": "application/json"}, json.dumps(message).encode()))
    wrong = [site.page(look(f"{registry.host}/team/wrong"), 404), site.page(at(f"{registry.host}/team/wrong:1"), 404)]
    assert all("&lt;script&gt;" in text for text in wrong)
    for text in (*shown, page, tags, *wrong, site.page(look(SCRIPT), 400), site.page(at(SCRIPT), 400)):
        assert "\u202e" not in text and "\x1b" not in text


def test_lists_that_do_not_end(site: Site, registry: FakeRegistry, made: Image) -> None:
    registry.add(made, "team/app", "1")
    registry.rule(
        "GET", "/tags/list", body(b'{"tags": ["1"]}', headers={"Link": '</v2/team/app/tags/list>; rel="next"'})
    )
    assert "does not end" in site.page(look(f"{registry.host}/team/app"), 413)
    registry.rules.clear()
    registry.rule("GET", "/_catalog", body(b'{"repositories": ["' + b"a" * (5 << 20) + b'"]}'))
    assert "bytes" in site.page(look(registry.host), 413)
    registry.rules.clear()
    registry.rule("GET", "/manifests/", hang_up())
    assert "connection reset" in site.page(at(f"{registry.host}/team/app:1"), 502)


def test_archives(site: Site, visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    name = registry.add(made, "team/app", "1")
    for place in (f"oci:{tmp_path}/layout", f"docker-archive:{tmp_path}/docker.tar"):
        visitor("copy", "-q", f"docker://{name}", place)
        assert site.ask(look(place)).headers["Location"] == f"/remote?name={quote(place, safe='')}"
        page = site.page(at(place))
        assert "It is in an archive" in page and ">Load it<" in page and "The chain" in page
        assert "step 1" in site.page(at(place, "layers")) and "needs the layers" in site.page(at(place, "files"))
        for tab in ("tags", "dockerfile", "config", "history", "Dockerfile"):
            site.page(at(place, tab))
        assert "its page" in ended(site, progress_of(post(site, name=place).read().decode()))
        assert visitor.out("images", "-q", "--no-trunc", "-a").split()[:1] == [made.id]
        visitor("rmi", "-f", made.id)
    assert "no such file" in site.page(at(f"oci:{tmp_path}/nosuch"), 404)


def test_the_site_ends_in_the_middle_of_a_pull(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("jinja2")
    name = registry.add(made, "team/app", "1")
    registry.rule("GET", made.layers[1], stall_after(1000))
    with running(visitor) as site:
        site.enter()
        post(site, name=name)
        assert until(lambda: bool(registry.asked("GET", made.layers[1])))
    assert visitor.out("images", "-q") == ""


def test_debians_registry(site: Site, visitor: Visitor, made: Image, tmp_path: Path) -> None:
    need("docker-registry")
    with DockerRegistry(tmp_path / "registry") as registry:
        name = registry.add(made, "team/app", *(f"1.{number}" for number in range(3)))
        registry.add(made, "team/tools/lint", "1")
        page = site.page(look(f"{registry.host}/team"))
        assert "team/app</a>" in page and "team/tools/lint</a>" in page
        assert "3 tags" in site.page(look(f"{registry.host}/team/app"))
        assert "step 1" in site.page(at(name, "layers")) and "The chain" in site.page(at(name))
        assert "its page" in ended(site, progress_of(post(site, name=name).read().decode()))
    assert visitor.out("images", "-q", "--no-trunc") == made.id
