"""A corpus of small Dockerfiles that covers the language, to build with us and with others; each one's base is `box`."""

from __future__ import annotations

from . import copying, language, metadata, real, running
from .cases import Case

CASES: tuple[Case, ...] = (
    *language.CASES,
    *metadata.CASES,
    *copying.CASES,
    *running.CASES,
    *(kind.case for kind in real.KINDS),
)
