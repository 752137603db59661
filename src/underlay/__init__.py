"""underlay: a container engine for Linux that knows what every image stands on."""

from __future__ import annotations

from .version import __version__

__all__ = ["Attachment", "BuildRequest", "ContainerOptions", "Engine", "ExecOptions", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .builder.request import BuildRequest
    from .engine.containers.exec import ExecOptions
    from .engine.engine import Engine
    from .engine.options import ContainerOptions
    from .runtime.monitor.attachment import Attachment

_HOMES = {
    "Attachment": "runtime.monitor.attachment",
    "BuildRequest": "builder.request",
    "ContainerOptions": "engine.options",
    "Engine": "engine.engine",
    "ExecOptions": "engine.containers.exec",
}


def __getattr__(name: str) -> object:
    """Offer the public classes without importing them for those who only want the version."""
    if name in _HOMES:
        module = __import__(f"underlay.{_HOMES[name]}", fromlist=[name])
        return getattr(module, name)
    raise AttributeError(f"module 'underlay' has no attribute {name!r}")
