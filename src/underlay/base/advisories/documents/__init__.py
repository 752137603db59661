"""Reports of vulnerabilities as other programs read them: SARIF, CycloneDX, OpenVEX and JUnit."""

from __future__ import annotations

from importlib import import_module
from time import time_ns

from ....human import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..exposure import Exposure

FORMS = ("sarif", "cyclonedx", "openvex", "junit")


def write(form: str, exposure: Exposure, epoch: int | None = None) -> str:
    """Return the document in `form` (one of FORMS). `epoch` is the time that it names, in seconds; without it, now."""
    created = rfc3339(time_ns() if epoch is None else epoch * 1_000_000_000)[:19] + "Z"
    text: str = import_module(f".{form}", __name__).write(exposure, created)
    return text
