"""underlay: a container engine for Linux that knows what every image stands on."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .engine.engine import Engine


def __getattr__(name: str) -> object:
    """Offer the public classes without importing them for those who only want the version."""
    if name == "Engine":
        from .engine.engine import Engine

        return Engine
    raise AttributeError(f"module 'underlay' has no attribute {name!r}")
