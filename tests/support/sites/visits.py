"""One who visits a site without a browser: asks for pages, sends forms."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest

from engines import Installation
from sites import serving_site


class Site:
    """A site, and the cookie of the browser that was let in."""

    def __init__(self, address: str) -> None:
        self.address = urlsplit(address)
        self.host = self.address.netloc
        self.cookie = ""

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        given = {
            "Host": self.host,
            "Cookie": self.cookie,
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        connection.request(method, path, headers=given)
        return connection.getresponse()

    def send(self, path: str, **fields: str) -> http.client.HTTPResponse:
        """Send a form, as a page of the site does."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        headers = {"Cookie": self.cookie, "Origin": f"http://{self.host}"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", path, urlencode(fields), headers)
        return connection.getresponse()

    def enter(self) -> None:
        response = self.ask(f"/?{self.address.query}")
        assert response.status == 303 and response.headers["Location"] == "/"
        cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        self.cookie = cookie.partition(";")[0]

    def page(self, path: str, status: int = 200) -> str:
        response = self.ask(path)
        text = response.read().decode()
        assert response.status == status, (path, response.status, text)
        # Nothing of an image is ever a part of a page's own language.
        assert "<script>" not in text and " style=" not in text and " onclick" not in text
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        return text


@contextmanager
def running(ul: Installation, *options: str) -> Iterator[Site]:
    """Run the site of an installation."""
    with serving_site(ul, *options) as address:
        yield Site(address)


@pytest.fixture
def site(ul: Installation) -> Iterator[Site]:
    """A site that has let the visitor in."""
    with running(ul) as made:
        made.enter()
        yield made


def identity(ul: Installation, name: str) -> str:
    """Return the id of an image, as addresses have it."""
    return ul.out("inspect", "-f", "{{.Id}}", name).removeprefix("sha256:")
