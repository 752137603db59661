"""The health check of a container: the image's HEALTHCHECK, and the options that change it."""

from __future__ import annotations

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....oci.configuration import Execution, Health
    from ....store.rows.intent import HealthCheck
    from ...options import ContainerOptions

_SHORTEST = 0.001  # seconds
# What docker takes where neither the image nor an option says it; times in seconds.
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30.0, 30.0, 5.0, 3
_SHELL = ["/bin/sh", "-c"]


def choose(options: ContainerOptions, config: Execution) -> HealthCheck | None:
    """Return the check of a container, None for none. Raises InvalidInput for options that make no sense."""
    times = {
        "Interval": options.health_interval,
        "Timeout": options.health_timeout,
        "StartPeriod": options.health_start_period,
        "StartInterval": options.health_start_interval,
    }
    given = bool(options.health_cmd or options.health_test or options.health_retries or any(times.values()))
    if options.no_healthcheck:
        if given:
            raise InvalidInput("--no-healthcheck conflicts with --health-* options")
        return None
    for name, seconds in times.items():
        if seconds < 0:
            raise InvalidInput(f"{name} of the health check cannot be negative")
        if 0 < seconds < _SHORTEST:
            raise InvalidInput(f"{name} of the health check cannot be less than 1ms")
    if options.health_retries < 0:
        raise InvalidInput("the retries of the health check cannot be negative")
    image: Health = config.get("Healthcheck") or {}
    test = ["CMD-SHELL", options.health_cmd] if options.health_cmd else list(image.get("Test") or [])
    test = ["CMD", *options.health_test] if options.health_test else test
    kind, *words = test or [""]
    if kind not in ("CMD", "CMD-SHELL") or not words:
        return None
    command = words if kind == "CMD" else [*(config.get("Shell") or _SHELL), *words]
    inherited = {
        "Interval": (image.get("Interval") or 0) / 1e9,
        "Timeout": (image.get("Timeout") or 0) / 1e9,
        "StartPeriod": (image.get("StartPeriod") or 0) / 1e9,
        "StartInterval": (image.get("StartInterval") or 0) / 1e9,
    }
    chosen = {name: seconds or inherited[name] for name, seconds in times.items()}
    return {
        "test": test,
        "command": command,
        "interval": chosen["Interval"] or _INTERVAL,
        "timeout": chosen["Timeout"] or _TIMEOUT,
        "start_period": chosen["StartPeriod"],
        "start_interval": chosen["StartInterval"] or _START_INTERVAL,
        "retries": options.health_retries or image.get("Retries") or _RETRIES,
    }
