"""Proxies from the environment: which variable counts, for whom not, and what is refused."""

from __future__ import annotations

import pytest

from underlay.errors import InvalidInput, Unsupported
from underlay.registry import hosts, proxies


def proxy(url: str, **environ: str) -> str:
    return proxies.proxy_for(hosts.endpoint_of(url), environ)


def test_proxies() -> None:
    both = {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:2"}
    assert proxy("http://h", **both) == "http://p:1"
    assert proxy("https://h", **both) == "http://p:2"
    assert proxy("https://h", HTTP_PROXY="http://p:1") == ""
    assert proxy("https://h", https_proxy="p:3") == "http://p:3"
    assert proxy("https://h", https_proxy="p:3", HTTPS_PROXY="q:4") == "http://q:4"
    assert proxy("https://h", https_proxy="p:3", HTTPS_PROXY="") == "http://p:3"
    assert proxy("https://h", HTTPS_PROXY=" HTTPS://u:p@[::1]:1080/ ") == "HTTPS://u:p@[::1]:1080/"
    assert proxy("https://h") == ""
    cgi = {**both, "REQUEST_METHOD": "GET"}
    assert proxy("http://h", **cgi) == "" and proxy("https://h", **cgi) == "http://p:2"
    assert proxy("http://h", http_proxy="p:3", **cgi) == "http://p:3"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_host_is_never_asked_by_a_proxy(host: str) -> None:
    assert proxy(f"https://{host}:5000", HTTPS_PROXY="p:1") == ""


@pytest.mark.parametrize("value", ["http://", "http://u:s3cr3t@", "http://p:s3cr3t", "\n", "p q"])
def test_what_is_no_proxy(value: str) -> None:
    with pytest.raises(InvalidInput, match="HTTPS_PROXY is not the URL of a proxy") as caught:
        proxy("https://h", HTTPS_PROXY=value)
    assert "s3cr3t" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "value", ["socks5://p:1080", "SOCKS5H://u:s3cr3t@p", "socks4a://p", "ftp://p", "u:s3cr3t://x@p", "://p"]
)
def test_other_proxies_than_those_of_http_are_refused(value: str) -> None:
    """urllib3 would need PySocks, and say so late."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        with pytest.raises(Unsupported, match=f"{name} names a proxy that does not speak HTTP") as caught:
            proxy("https://h", **{name: value})
        assert "s3cr3t" not in caught.value.message + caught.value.hint
    assert proxy("https://h", HTTPS_PROXY=value, NO_PROXY="h") == ""
    assert proxy("http://h", HTTPS_PROXY=value) == ""


@pytest.mark.parametrize(
    ("entry", "matching", "other"),
    [
        ("*", ["a.b", "10.0.0.1"], []),
        ("b.com", ["b.com", "a.b.com", "x.a.b.com:8", "B.com"], ["ab.com", "b.com.x", "com"]),
        (".b.com", ["a.b.com"], ["b.com", "ab.com"]),
        ("*.b.com", ["a.b.com"], ["b.com"]),
        ("b.com:8", ["b.com:8", "a.b.com:8"], ["b.com", "b.com:9"]),
        ("b.com:443", ["b.com"], ["b.com:8"]),
        ("B.COM", ["b.com"], []),
        (" x , b.com,y", ["b.com", "x", "y"], ["z"]),
        ("x b.com", ["b.com", "x"], []),
        ("10.0.0.1", ["10.0.0.1", "10.0.0.1:8", "[::ffff:10.0.0.1]"], ["10.0.0.2", "10.0.0.11"]),
        ("10.0.0.1:8", ["10.0.0.1:8"], ["10.0.0.1"]),
        ("10.0.0.0/8", ["10.1.2.3", "10.1.2.3:8"], ["11.0.0.1", "b.com", "[fd00::1]"]),
        ("10.0.0.0/0", ["11.0.0.1"], ["b.com"]),
        ("10.0.0.0/33,10.0.0.0/x,/8,x/8,10.0.0.0/", [], ["10.0.0.0"]),
        ("fd00::/8", ["[fd12::1]"], ["[fe00::1]", "10.0.0.1"]),
        ("fd00::1", ["[fd00::1]", "[fd00:0::1]:8"], ["[fd00::2]"]),
        ("[fd00::1]:8", ["[fd00::1]:8"], ["[fd00::1]"]),
        (":8,,.,*.", [], ["b.com:8", "b.com"]),
        ("", [], ["b.com"]),
    ],
)
def test_exceptions_from_proxies(entry: str, matching: list[str], other: list[str]) -> None:
    for host in matching:
        assert proxy(f"https://{host}", HTTPS_PROXY="p:1", NO_PROXY=entry) == "", host
        assert proxy(f"https://{host}", HTTPS_PROXY="p:1", no_proxy=entry) == "", host
    for host in other:
        assert proxy(f"https://{host}", HTTPS_PROXY="p:1", NO_PROXY=entry) == "http://p:1", host
