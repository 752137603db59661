"""Options of network drivers (`network create --opt`): docker's names and values, checked, in the form that is recorded."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...human import plain, whole
from ...lean.values import Record
from ...linux.network import links
from ...network.model import BRIDGE, IPVLAN, MACVLAN
from ...network.ports import address_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DRIVERS = (BRIDGE, MACVLAN, IPVLAN)
LEAST_MTU6 = 1280  # bytes (RFC 8200, section 5): the kernel has no IPv6 on links of less
_OF_BRIDGE = "com.docker.network.bridge."
GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_PREFIX_LIMIT = links.NAME_LIMIT - 4  # letters of the names of a container's interfaces, before their numbers
# What Go's strconv.ParseBool takes, as docker does.
_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Settings(Record):
    """What the options of a new network ask for. `options` are recorded and shown as they are, the rest is part of the
    network; `interface` is "" if none was named. `ipv4` and `ipv6` are None unless an option sets them."""

    driver: str
    interface: str = ""
    mtu: int = 0
    masquerade: bool = True
    ipv4: bool | None = None
    ipv6: bool | None = None
    options: dict[str, str] = {}


def parse(driver: str, given: dict[str, str]) -> Settings:
    """Return what options ask for. Raises InvalidInput for wrong values and for options that the driver has not,
    Unsupported for an unknown driver."""
    if driver not in DRIVERS:
        raise Unsupported(f"network driver {driver!r} is not supported", f"use {', '.join(DRIVERS)}")
    settings = Settings(driver)
    readers = {**_FOR_ALL, **(_FOR_BRIDGES if driver == BRIDGE else _ON_PARENTS[driver])}
    for key, value in given.items():
        if key not in readers:
            raise InvalidInput(f"unknown option {key!r} for driver {driver}", f"known: {', '.join(sorted(readers))}")
        readers[key](settings, key, value)
    _check_interface_name(settings.interface)
    return settings


def check_families(settings: Settings, ipv4: bool, ipv6: bool, internal: bool) -> None:
    """Refuse options that do not go with the kinds of address of a network, or with one that is not internal.

    Raises InvalidInput.
    """
    if ipv6 and settings.mtu and settings.mtu < LEAST_MTU6:
        raise InvalidInput(f"invalid mtu {settings.mtu}: IPv6 needs at least {LEAST_MTU6} bytes")
    for kind, there in (("ipv4", ipv4), ("ipv6", ipv6)):
        mode = settings.options.get(f"{_OF_BRIDGE}gateway_mode_{kind}", "")
        if mode and not there:
            raise InvalidInput(f"{_OF_BRIDGE}gateway_mode_{kind}: the network has no {kind.replace('ip', 'IP')}")
        if mode == "isolated" and not internal:
            raise InvalidInput(
                f"{_OF_BRIDGE}gateway_mode_{kind}=isolated can only be used for an internal network", "add --internal"
            )
    if f"{_OF_BRIDGE}host_binding_ipv6" in settings.options and not ipv6:
        raise InvalidInput(f"{_OF_BRIDGE}host_binding_ipv6: the network has no IPv6", "add --ipv6")


def _check_interface_name(name: str) -> None:
    if len(name) > links.NAME_LIMIT or "/" in name:
        raise InvalidInput(f"invalid interface name {name!r}", "an interface's name has at most 15 letters")


def truth(key: str, value: str) -> bool:
    """Return what a switch is set to. Raises InvalidInput."""
    if value not in _TRUTHS:
        raise InvalidInput(f"invalid value {value!r} for {key}", "true or false")
    return _TRUTHS[value]


# What reads one option: it is called with the settings to change, the option's name and its value.


def _interface(settings: Settings, key: str, value: str) -> None:
    settings.interface = value


def _mtu(settings: Settings, key: str, value: str) -> None:
    if not 68 <= whole(value) <= 65535:
        raise InvalidInput(f"invalid mtu {value!r}", "bytes, from 68 to 65535")
    settings.mtu = int(value)


def _masquerade(settings: Settings, key: str, value: str) -> None:
    settings.masquerade = truth(key, value)


def _family(settings: Settings, key: str, value: str) -> None:
    if key.endswith("4"):
        settings.ipv4 = truth(key, value)
    else:
        settings.ipv6 = truth(key, value)


def _switch(settings: Settings, key: str, value: str) -> None:
    settings.options[key] = "true" if truth(key, value) else "false"


def _prefix(settings: Settings, key: str, value: str) -> None:
    if not value or len(value) > _PREFIX_LIMIT or not plain(value) or set(value) & set("/: %") or value == "lo":
        raise InvalidInput(f"invalid value {value!r} for {key}", f"1 to {_PREFIX_LIMIT} letters, as in eth")
    settings.options[key] = value


def _binding(settings: Settings, key: str, value: str) -> None:
    # Docker takes addresses of both kinds for the option that is called after IPv4.
    data = address_bytes(value)
    if data is None or (key.endswith("6") and len(data) == 4):
        raise InvalidInput(f"invalid value {value!r} for {key}", "an IP address of this host, as in 127.0.0.1")
    settings.options[key] = value


def _isolate(settings: Settings, key: str, value: str) -> None:
    if value != "strict" and not truth(key, value):
        raise Unsupported(f"{key}={value} is not supported", "networks are always isolated from each other")
    settings.options[key] = value


def _one_of(*values: str) -> Callable[[Settings, str, str], None]:
    def read(settings: Settings, key: str, value: str) -> None:
        if value not in values:
            raise InvalidInput(f"invalid {key} {value!r}", f"one of {', '.join(values)}")
        settings.options[key] = value

    return read


_FOR_ALL: dict[str, Callable[[Settings, str, str], None]] = {
    "mtu": _mtu,
    "com.docker.network.driver.mtu": _mtu,
    "com.docker.network.enable_ipv4": _family,
    "com.docker.network.enable_ipv6": _family,
    "com.docker.network.container_iface_prefix": _prefix,
}
_FOR_BRIDGES: dict[str, Callable[[Settings, str, str], None]] = {
    _OF_BRIDGE + "name": _interface,
    _OF_BRIDGE + "enable_ip_masquerade": _masquerade,
    _OF_BRIDGE + "enable_icc": _switch,
    _OF_BRIDGE + "host_binding_ipv4": _binding,
    _OF_BRIDGE + "host_binding_ipv6": _binding,
    _OF_BRIDGE + "gateway_mode_ipv4": _one_of(*GATEWAY_MODES),
    _OF_BRIDGE + "gateway_mode_ipv6": _one_of(*GATEWAY_MODES),
    "isolate": _isolate,  # podman's
}
_ON_PARENTS: dict[str, dict[str, Callable[[Settings, str, str], None]]] = {
    MACVLAN: {"parent": _interface, "macvlan_mode": _one_of(*sorted(links.MACVLAN_MODES))},
    IPVLAN: {
        "parent": _interface,
        "ipvlan_mode": _one_of(*links.IPVLAN_MODES),
        "ipvlan_flag": _one_of(*links.IPVLAN_FLAGS),
    },
}
