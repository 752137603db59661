"""Build arguments: those that need no ARG, those that tell the platforms, and what an ARG is worth."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..dockerfile.instructions import Arg
    from ..oci.platform import Platform

# Given without an ARG these reach every RUN, and neither history nor keys (Dockerfile reference, "Predefined ARGs").
PROXIES = tuple(
    name
    for each in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (each.upper(), each)
)
# What BuildKit takes without an ARG ("BuildKit built-in build args"): those that mean something here.
KNOWN = ("SOURCE_DATE_EPOCH", "BUILDKIT_SANDBOX_HOSTNAME", "BUILDKIT_CONTEXT_KEEP_GIT_DIR", "BUILDKIT_DOCKERFILE_CHECK")


def platform_arguments(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """Return the arguments that tell the platforms and the target (Dockerfile reference, "Automatic platform ARGs")."""
    found = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found


def global_arguments(
    arguments: list[Arg], given: dict[str, str | None], automatic: dict[str, str]
) -> dict[str, str | None]:
    """Return the values of ARGs before the first FROM, in order, each worth what was given or its expanded default."""
    from ..dockerfile.instructions import expand

    values: dict[str, str | None] = {}

    def get(name: str) -> str | None:
        return values[name] if name in values else automatic.get(name)

    for each in arguments:
        for number, (name, _) in enumerate(each.arguments):
            default = expand(each, get).arguments[number][1]
            told = given.get(name)
            values[name] = told if told is not None else default if default is not None else automatic.get(name)
    return values


def proxies(given: dict[str, str | None]) -> dict[str, str]:
    """Return the proxies among the arguments given."""
    return {name: value for name in PROXIES if (value := given.get(name)) is not None}
