"""Pools of addresses out of which networks get their subnets: docker's, and more, or those that networks.toml names.

The key is that of docker's daemon.json, "default-address-pools": a list of tables with `base` and `size`.
"""

from __future__ import annotations

import errno
import os

from .. import settings
from ..errors import InvalidInput, KernelError, LimitExceeded
from ..files import read_bytes
from . import subnets
from .subnets import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    # A range of addresses, and the bits of the prefix of the subnets that are cut out of it.
    AddressPool = tuple[Subnet, int]

KEY = "default-address-pools"
_FILE_LIMIT = 1 << 20
# dockerd takes the first 31, one /16 or /20 each; the rest is cut into /24, as most networks have few containers. It lies
# where few use 10.0.0.0/8, whose beginning clouds and offices like.
_DEFAULTS = (
    *((Subnet((172 << 24) | (second << 16), 16), 16) for second in range(17, 32)),
    (Subnet((192 << 24) | (168 << 16), 16), 20),
    (Subnet((10 << 24) | (208 << 16), 12), 24),
)


def files() -> list[str]:
    """Return the paths of the settings, whether they exist or not: only UNDERLAY_NETWORKS when that is set."""
    only = settings.value("networks")
    if only:
        return [only]
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return ["/etc/underlay/networks.toml", home + "/underlay/networks.toml"]


def load() -> tuple[AddressPool, ...]:
    """Return the pools, in the order in which they are used up: those of the last file that names any, else the defaults.

    Raises InvalidInput naming file and entry, LimitExceeded (a file above 1 MiB), KernelError.
    """
    pools: tuple[AddressPool, ...] = _DEFAULTS
    for path in files():
        pools = _read(path) or pools
    return pools


def hint() -> str:
    """Return how to add pools."""
    return (
        f'give the network a --subnet, or name pools in {files()[0]}: {KEY} = [{{ base = "10.96.0.0/12", size = 24 }}]'
    )


def _read(path: str) -> tuple[AddressPool, ...]:
    try:
        data = read_bytes(path, _FILE_LIMIT)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise LimitExceeded(f"{path}: longer than {_FILE_LIMIT} bytes") from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and path != settings.value("networks"):
            return ()
        raise KernelError("open", path, error.errno or 0) from None
    if not data:
        return ()
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not TOML: {error}") from None
    for key in document:
        if key != KEY:
            raise InvalidInput(f"{path}: {key!r:.100}: unknown key", f"known is {KEY}")
    entries = document.get(KEY, [])
    if not isinstance(entries, list):
        raise InvalidInput(f"{path}: {KEY}: expected a list of tables", hint())
    return tuple(_pool(f"{path}: {KEY}, entry {number}", entry) for number, entry in enumerate(entries, 1))


def _pool(where: str, entry: object) -> AddressPool:
    example = 'write { base = "10.96.0.0/12", size = 24 }'
    if not isinstance(entry, dict) or set(entry) != {"base", "size"}:
        raise InvalidInput(f"{where}: expected a table with base and size", example)
    base, size = entry["base"], entry["size"]
    if not isinstance(base, str):
        raise InvalidInput(f"{where}: base is not a subnet in quotes", example)
    try:
        space = subnets.parse(base, "base")
        subnets.check(space)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}", error.hint or example) from None
    if space.bits != 32:
        raise InvalidInput(f"{where}: {base} is no range of IPv4", "subnets of IPv6 are chosen out of fd00::/8")
    if isinstance(size, bool) or not isinstance(size, int) or not space.prefix <= size <= 30:
        raise InvalidInput(f"{where}: size is not a whole number from {space.prefix} (that of base) to 30", example)
    return space, size
