"""The flags that stand before a command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Flag

GLOBAL_FLAGS: tuple[Flag, ...] = (
    ("root", "", "string", "string", "Directory for images, containers and volumes"),
    ("state", "", "string", "string", "Directory for runtime state, cleared at reboot"),
    ("form", "", "string", "string", "Storage format of layers: auto, erofs or tree"),
    ("debug", "D", "bool", "", "Print a traceback when an error occurs"),
    ("version", "v", "bool", "", "Print version information and quit"),
)
