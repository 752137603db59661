"""What `-p` means: ports of a container, and where on the host they are to be reached (docker run, "--publish")."""

from __future__ import annotations

from ..errors import InvalidInput
from ..human import whole
from ..lean.values import Value

PROTOCOLS = ("tcp", "udp", "sctp")


class Published(Value):
    """One port of a container. `address` is the host's, "" for all; its port is one from `first` to `last`, 0 for any."""

    port: int
    protocol: str = "tcp"
    address: str = ""
    first: int = 0
    last: int = 0


def parse(text: str) -> list[Published]:
    """Return what `[[address:]port[-port]:]port[-port][/protocol]`, or `target=…,published=…`, publishes.

    Raises InvalidInput in docker's words.
    """
    if "=" in text:
        text = _shortened(text)
    rest, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"invalid proto: {protocol}", f"use one of {', '.join(PROTOCOLS)}")
    address, host, container = _split(rest, text)
    if not container:
        raise InvalidInput(f"no port specified: {text}", "write [address:][host port:]container port")
    first, last = _range(container, "containerPort")
    ports = range(first, last + 1)
    if host in ("", "0"):
        return [Published(port, protocol, address) for port in ports]
    low, high = _range(host, "hostPort")
    if len(ports) == 1:
        return [Published(first, protocol, address, low, high)]
    if high - low != last - first:
        raise InvalidInput(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [Published(port, protocol, address, low + at, low + at) for at, port in enumerate(ports)]


def _shortened(text: str) -> str:
    """Return the short form of `target=80,published=8080,protocol=tcp` (docker service create, "--publish")."""
    values = {"target": "", "published": "", "protocol": "tcp", "mode": "host"}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key not in values or not value:
            raise InvalidInput(f"invalid field in -p: {field}", f"known: {', '.join(values)}")
        values[key] = value
    if values["mode"] not in ("host", "ingress"):
        raise InvalidInput(f"invalid publish mode {values['mode']}", "use host")
    if not values["target"]:
        raise InvalidInput(f"no target port specified: {text}", "target=PORT is needed")
    return f"{values['published']}:{values['target']}/{values['protocol']}"


def parse_exposed(text: str) -> list[Published]:
    """Return the ports of an --expose value or of an image's ExposedPorts, `port[-port][/protocol]`; InvalidInput."""
    if ":" in text:
        raise InvalidInput(f"invalid port format for --expose: {text}", "write port[-port][/protocol]")
    number, _, protocol = text.partition("/")
    return parse(f"{number}/{protocol or 'tcp'}")


def _split(rest: str, text: str) -> tuple[str, str, str]:
    """Return address, host ports and container ports as they are written."""
    address = ""
    if rest.startswith("["):
        address, bracket, rest = rest[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise InvalidInput(
                f"invalid hostPort: {text}: an address in brackets stands before host and container port"
            )
        rest = rest[1:]
        host, colon, container = rest.rpartition(":")
        if not colon:
            raise InvalidInput(
                f"invalid hostPort: {text}: an address in brackets stands before host and container port"
            )
    else:
        head, _, container = rest.rpartition(":")
        address, colon, host = head.rpartition(":")
        if ":" in address:
            raise InvalidInput(f"invalid hostPort: {text}", "write an IPv6 address in brackets: [::1]:8080:80")
        if not colon and "." in host:
            raise InvalidInput(f"invalid hostPort: {host}", f"for any free port write {host}::{container}")
    if address and not is_address(address):
        raise InvalidInput(f"invalid IP address: {address}")
    return address, host, container


def _range(text: str, what: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    numbers = []
    for word in (low, high if dash else low):
        if not 1 <= whole(word) <= 65535:
            raise InvalidInput(f"invalid {what}: {text}", "a port is a number from 1 to 65535")
        numbers.append(whole(word))
    if numbers[0] > numbers[1]:
        raise InvalidInput(f"invalid {what}: {text}: the range ends before it begins")
    return numbers[0], numbers[1]


def is_address(text: str) -> bool:
    """Return whether `text` is an IP address."""
    return address_bytes(text) is not None


def address_bytes(text: str) -> bytes | None:
    """Return an IP address as on the wire, None for what is none."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_pton(family, text)
        except (OSError, ValueError):
            pass
    return None
