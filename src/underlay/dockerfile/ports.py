"""Ports of EXPOSE: `80`, `80/udp`, `8000-8010`, and the host's part before a colon, which is checked and dropped."""

from __future__ import annotations

from ..human import whole
from ..lean.values import Value
from .problems import DockerfileError

_PROTOCOLS = ("tcp", "udp", "sctp")


class Port(Value):
    """A word of EXPOSE; `protocol` is as written and may be ""."""

    first: int
    last: int
    protocol: str
    host: str

    @property
    def names(self) -> list[str]:
        """As configurations name them: `80/tcp`."""
        protocol = self.protocol.lower() or "tcp"
        return [f"{number}/{protocol}" for number in range(self.first, self.last + 1)]


def read_ports(text: str) -> Port:
    """Return what a word of EXPOSE means; raises DockerfileError without a place."""
    host, _, container = text.rpartition(":")
    ports, _, protocol = container.partition("/")
    if not ports:
        raise DockerfileError(f"no port specified: {text}<empty>")
    if (protocol.lower() or "tcp") not in _PROTOCOLS:
        raise DockerfileError(f"invalid proto: {protocol.lower()}", "tcp, udp or sctp")
    container_range = _range(ports)
    if container_range is None or not container_range[0]:
        raise DockerfileError(f"invalid containerPort: {ports}")
    _check_host(host, ports, container_range)
    return Port(container_range[0], container_range[1], protocol, host)


def _check_host(text: str, ports: str, container: tuple[int, int]) -> None:
    address, _, published = text.rpartition(":")
    if address and not _is_address(address):
        raise DockerfileError(f"invalid IP address: {address}")
    if not published:
        return
    host_range = _range(published)
    if host_range is None:
        raise DockerfileError(f"invalid hostPort: {published}")
    if host_range[1] - host_range[0] != container[1] - container[0] != 0:
        raise DockerfileError(f"invalid ranges specified for container and host Ports: {ports} and {published}")


def _range(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    numbers = [_number(first), _number(last if dash else first)]
    start, end = numbers
    return (start, end) if start is not None and end is not None and start <= end else None


def _number(text: str) -> int | None:
    if whole(text) < 0:
        return None
    return whole(text) if whole(text) < 65536 else None


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return False
    return True
