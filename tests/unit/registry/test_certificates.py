"""Certificates of registries: where they are looked for, what belongs together, and the contexts made of them."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from underlay.errors import InvalidInput, KernelError
from underlay.registry import hosts
from underlay.registry.hosts import Certificates, Endpoint, Settings

Load = Callable[[str], Settings]

# A certificate by itself for localhost and 127.0.0.1, from 2020 to 2120, its key, and the same key with a password.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUKNdEb0TbZ7kkuyZYGLn5fXlHy7swCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASrw0qIWH61Ssa6tuv/xG40zN3n4ATDLsaXrRfZJ3qUD78B3lmYl0rt
6373FX5vv6IUiKIPNYGGTRY3p8tZHFmjo28wbTAdBgNVHQ4EFgQU6FjEwBxascSX
p+wy7CGKite9NVcwHwYDVR0jBBgwFoAU6FjEwBxascSXp+wy7CGKite9NVcwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAJGT9eS5C/IB/ZUaMhw2u/C/K2vOj1CT3iW0q4FZ2ITUAiEA
wRqM9zWRDMve67AAWytpoFGJ+b0+lyEV3UfULHTU/lk=
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEM1fzfRB1z7Nrg7E
gkZSgqirl9P0bH+fPB4GjjMTgxahRANCAASrw0qIWH61Ssa6tuv/xG40zN3n4ATD
LsaXrRfZJ3qUD78B3lmYl0rt6373FX5vv6IUiKIPNYGGTRY3p8tZHFmj
-----END PRIVATE KEY-----
"""
LOCKED_KEY = """\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,7E81DF55B31682D19A48D07EB44E170D

7BPBlRsJR2WUfPlGj76QyBJNXh/ud1+fhz03/mXNbgIrqRIen5QB1t8xgo0K2wwc
XeKyZ1BEXrKcSpR7ZOqPdZ09huQydOHDrXCClki7YnVOtYrdtkylnfdl3kXCRcH/
sddfJDaLEwUS+vyS6nri6MJMv9y7mmxpUsvPYMKRIPY=
-----END EC PRIVATE KEY-----
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no settings but those that a test makes."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "certs.d"))
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/dev/null")
    return home


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A function that writes a file of settings and loads it."""

    def write(text: str) -> Settings:
        path = tmp_path / "registries.toml"
        path.write_text(text)
        monkeypatch.setenv("UNDERLAY_REGISTRIES", str(path))
        return Settings.load()

    return write


def place(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = KEY if name.endswith(".key") else CERTIFICATE
        (directory / name).write_text(text)
    return directory


def test_certificates(tmp_path: Path) -> None:
    there = place(
        tmp_path / "certs.d/h:5000", "b.crt", "a.crt", "x.cert", "x.key", "w.cert", "w.key", "README", "c.pem"
    )
    found = hosts.certificates("H:5000")
    assert found.ca == [f"{there}/a.crt", f"{there}/b.crt"]
    assert found.client == [(f"{there}/w.cert", f"{there}/w.key"), (f"{there}/x.cert", f"{there}/x.key")]
    for other in ("h", "h:5001", "x.h:5000"):
        assert hosts.certificates(other).ca == []


def test_names_of_directories(tmp_path: Path) -> None:
    certs = tmp_path / "certs.d"
    for name in ("h", "h:443", "h:80", "[::1]:5000", "docker.io", "registry-1.docker.io"):
        place(certs / name, "ca.crt")
    assert (
        hosts.certificates("h").ca == hosts.certificates("h:443").ca == [f"{certs}/h/ca.crt", f"{certs}/h:443/ca.crt"]
    )
    assert hosts.certificates("h:80").ca == [f"{certs}/h:80/ca.crt"]
    assert hosts.certificates("[::1]:5000").ca == [f"{certs}/[::1]:5000/ca.crt"]
    hub = [f"{certs}/docker.io/ca.crt", f"{certs}/registry-1.docker.io/ca.crt"]
    assert hosts.certificates("registry-1.docker.io").ca == hub
    assert hosts.certificates("docker.io").ca == hub[:1]


def test_directories_of_certificates(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERLAY_CERTS_D")
    mine = str(home / "xdg")
    assert hosts.certificate_directories() == [
        "/etc/underlay/certs.d",
        "/etc/docker/certs.d",
        mine + "/underlay/certs.d",
        mine + "/docker/certs.d",
    ]
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert hosts.certificate_directories()[2] == str(home / ".config/underlay/certs.d")
    place(home / ".config/docker/certs.d/only-here.invalid", "ca.crt")
    place(home / ".config/underlay/certs.d/only-here.invalid", "ca.crt")
    assert hosts.certificates("only-here.invalid").ca == [
        str(home / ".config/underlay/certs.d/only-here.invalid/ca.crt"),
        str(home / ".config/docker/certs.d/only-here.invalid/ca.crt"),
    ]


@pytest.mark.parametrize("host", ["..", "../x", "a/../b", "/etc", "", ".", "a/b", "h:5000/..", "[::1/../x]", "a\0b"])
def test_a_name_leads_nowhere_else(tmp_path: Path, host: str) -> None:
    place(tmp_path, "ca.crt")
    with pytest.raises(InvalidInput):
        hosts.certificates(host)


def test_half_a_pair(tmp_path: Path) -> None:
    there = place(tmp_path / "certs.d/h", "x.cert")
    with pytest.raises(InvalidInput, match=r"/h/x.cert: its key x.key is missing"):
        hosts.certificates("h")
    (there / "x.cert").unlink()
    place(there, "y.key")
    with pytest.raises(InvalidInput, match=r"/h/y.key: its certificate y.cert is missing"):
        hosts.certificates("h")


def test_a_directory_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refused)
    assert hosts.certificates("h").ca == []


def test_contexts(tmp_path: Path) -> None:
    there = place(tmp_path / "certs.d/h", "ca.crt", "x.cert", "x.key")
    context = hosts.ssl_context(Endpoint("https", "h"), hosts.certificates("h"))
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert any(
        each["serialNumber"] for each in context.get_ca_certs() if ("commonName", "localhost") in each["subject"][0]
    )
    # An authority that is configured counts for what is insecure too, and so for this host.
    for name in ("h", "127.0.0.1"):
        checked = hosts.ssl_context(Endpoint("https", name, insecure=True), hosts.certificates("h"))
        assert checked.verify_mode == ssl.CERT_REQUIRED and checked.check_hostname
    loose = hosts.ssl_context(Endpoint("https", "h", insecure=True), Certificates([], hosts.certificates("h").client))
    assert loose.verify_mode == ssl.CERT_NONE and not loose.check_hostname
    assert loose.minimum_version == ssl.TLSVersion.TLSv1_2
    (there / "x.key").write_text(LOCKED_KEY)
    with pytest.raises(InvalidInput, match=r"x.cert: no pair"):
        hosts.ssl_context(Endpoint("https", "h"), hosts.certificates("h"))
    (there / "x.key").write_text("nonsense")
    with pytest.raises(InvalidInput, match=r"x.cert: no pair"):
        hosts.ssl_context(Endpoint("https", "h"), hosts.certificates("h"))
    (there / "ca.crt").write_text("nonsense")
    with pytest.raises(InvalidInput, match=r"ca.crt: holds no certificate"):
        hosts.ssl_context(Endpoint("https", "h"), hosts.certificates("h"))
    with pytest.raises(KernelError, match=r"/gone.crt"):
        hosts.ssl_context(Endpoint("https", "h"), Certificates(["/gone.crt"], []))


class Listener:
    """A TLS server on 127.0.0.1 that tells of each visitor whether it brought a certificate."""

    def __init__(self, directory: Path) -> None:
        place(directory, "server.crt", "server.key")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self.context.load_verify_locations(directory / "server.crt")
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(b"known" if secure.getpeercert() else b"stranger")
            except OSError:
                pass


def visit(port: int, context: ssl.SSLContext, name: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            return secure.recv(100)


def test_hands_are_shaken(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "server")
    try:
        trusted = place(tmp_path / "trusted", "ca.crt", "me.cert", "me.key")
        with_pair = Certificates([f"{trusted}/ca.crt"], [(f"{trusted}/me.cert", f"{trusted}/me.key")])
        verified, loose = Endpoint("https", "localhost"), Endpoint("https", "localhost", insecure=True)
        none, only_pair = Certificates([], []), Certificates([], with_pair.client)
        assert visit(listener.port, hosts.ssl_context(verified, with_pair), "localhost") == b"known"
        only_ca = Certificates(with_pair.ca, [])
        assert visit(listener.port, hosts.ssl_context(verified, only_ca), "127.0.0.1") == b"stranger"
        assert visit(listener.port, hosts.ssl_context(loose, none), "anything") == b"stranger"
        assert visit(listener.port, hosts.ssl_context(loose, only_pair), "anything") == b"known"
        with pytest.raises(ssl.SSLCertVerificationError):
            visit(listener.port, hosts.ssl_context(loose, with_pair), "anything")
        with pytest.raises(ssl.SSLCertVerificationError):
            visit(listener.port, hosts.ssl_context(verified, none), "localhost")
        with pytest.raises(ssl.SSLCertVerificationError):
            visit(listener.port, hosts.ssl_context(verified, only_ca), "example.com")
    finally:
        listener.socket.close()
