"""The version of underlay: a literal, so that nothing is looked up for it."""

from __future__ import annotations

__version__ = "0.1.0"
