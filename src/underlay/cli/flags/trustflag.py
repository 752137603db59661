"""--disable-content-trust, docker's switch for Notary: scripts give it, and nothing else than its default can be had."""

from __future__ import annotations

from ...errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Flag, Options

FLAG: Flag = ("disable-content-trust", "", "bool", "", "Skip image verification by Notary (always so)")


def check(options: Options) -> None:
    """Refuse `--disable-content-trust=false`; raises Unsupported."""
    if "disable-content-trust" in options and not options["disable-content-trust"]:
        raise Unsupported(
            "--disable-content-trust=false: there is no Notary", "`pull --verify` and the trust policy check signatures"
        )
