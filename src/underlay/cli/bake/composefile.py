"""Compose files as bake files: each service with a `build` is a target (docker's Bake reference, "Compose file")."""

from __future__ import annotations

import os
import re

from ...errors import InvalidInput, Unsupported
from .definition import Definition, Literal, local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_VARIABLE = re.compile(r"\$(?:(\$)|\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|([A-Za-z_]\w*))")
_PARTS = re.compile(r"([A-Za-z_]\w*)(?:(:?[-?+])(.*))?", re.S)
# Keys of `build`, and the keys of a target that they become (Compose Build Specification).
_TEXTS = {
    "context": "context",
    "dockerfile": "dockerfile",
    "dockerfile_inline": "dockerfile-inline",
    "network": "network",
    "shm_size": "shm-size",
    "target": "target",
}
_LISTS = {
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "entitlements": "entitlements",
    "platforms": "platforms",
    "tags": "tags",
}
_MAPS = {"additional_contexts": "contexts", "args": "args", "extra_hosts": "extra-hosts", "labels": "labels"}
_FLAGS = {"no_cache": "no-cache", "pull": "pull"}
_APART = ("isolation", "privileged", "provenance", "sbom", "secrets", "ssh", "ulimits", "x-bake")


def is_one(text: str) -> bool:
    """Return whether a text looks like a compose file: `services:` at the beginning of a line."""
    return bool(re.search(r"^services\s*:", text, re.M))


def add(definition: Definition, path: str, text: str) -> None:
    """Add a target for each service that is built, and the group `default` of all. Raises InvalidInput, Unsupported."""
    whole = _filled(path, _parsed(path, text), _environment(path))
    services = _object(path, "services", whole.get("services"))
    names = []
    for service, content in services.items():
        content = _object(path, f"service {service}", content)
        if content.get("build") is None:
            continue
        name = str(service).replace(".", "_")  # a target's name has no dot
        target = _target(path, name, content, _object(path, "secrets", whole.get("secrets")))
        definition.targets.setdefault(name, []).append({key: Literal(value) for key, value in target.items()})
        names.append(name)
    definition.groups.setdefault("default", []).append({"targets": Literal(names)})


def _parsed(path: str, text: str) -> dict[str, Any]:
    import msgspec

    try:
        return _object(path, "the file", msgspec.yaml.decode(text))
    except ImportError:
        raise Unsupported(f"{path}: reading compose files needs PyYAML", "pip install 'underlay[bake]'") from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{path}: this is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InvalidInput(f"{path}: nested too deep") from None


def _object(path: str, what: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: {what} is no object")
    return value


def _environment(path: str) -> Mapping[str, str]:
    """Return the environment, and what `.env` beside the file says where the environment says nothing."""
    place = os.path.join(os.path.dirname(path) if path != "-" else "", ".env")
    found: dict[str, str] = {}
    try:
        with open(place, encoding="utf-8", errors="replace") as file:
            for line in file.read(1 << 20).splitlines():
                name, equals, value = line.strip().removeprefix("export ").partition("=")
                if equals and not name.startswith("#"):
                    quoted = re.fullmatch(r"""(['"])(.*)\1""", value.strip())
                    found[name.strip()] = quoted[2] if quoted else value.partition(" #")[0].strip()
    except OSError:
        pass  # there is none
    return {**found, **os.environ}


def _filled(path: str, value: Any, variables: Mapping[str, str]) -> Any:
    """Return a value with its variables replaced (Compose Specification, "Interpolation")."""
    if isinstance(value, dict):
        return {key: _filled(path, one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(path, one, variables) for one in value]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replaced(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        parts = _PARTS.fullmatch(match[3] or match[2])
        if parts is None:
            raise InvalidInput(f"{path}: invalid variable {match[0]!r:.100}")
        name, operator, other = parts[1], parts[2] or "", parts[3] or ""
        given = variables.get(name)
        has = bool(given) if operator.startswith(":") else given is not None
        if operator.endswith("+"):
            return str(_filled(path, other, variables)) if has else ""
        if operator.endswith("?") and not has:
            raise InvalidInput(f"{path}: variable {name!r} is not set: {other or 'it is needed'}")
        if operator and not has:
            return str(_filled(path, other, variables))
        return given or ""

    return _VARIABLE.sub(replaced, value)


def _target(path: str, name: str, service: dict[str, Any], secrets: dict[str, Any]) -> dict[str, Any]:
    build = service["build"]
    build = {"context": build} if isinstance(build, str) else dict(_object(path, f"build of {name}", build))
    known = {*_TEXTS, *_LISTS, *_MAPS, *_FLAGS, *_APART}
    unknown = sorted(key for key in build if key not in known and not str(key).startswith("x-"))
    if unknown:
        raise Unsupported(f"{path}: service {name}: build.{unknown[0]} is not supported")
    for key in ("isolation", "privileged"):
        if build.get(key) not in (None, False, "", "default"):
            raise Unsupported(f"{path}: service {name}: build.{key} is not supported")
    target: dict[str, Any] = {}
    for key, ours in _TEXTS.items():
        if build.get(key) is not None:
            target[ours] = build[key]
    target["context"] = local(str(target.get("context", ".")))
    for key, ours in _LISTS.items():
        if build.get(key):
            target[ours] = [str(one) for one in build[key]]
    for key, ours in _MAPS.items():
        if build.get(key):
            target[ours] = _pairs(path, name, key, build[key])
    for key, ours in _FLAGS.items():
        if build.get(key) is not None:
            target[ours] = build[key]
    if build.get("secrets"):
        target["secret"] = [_secret(path, name, one, secrets) for one in build["secrets"]]
    if build.get("ssh"):
        target["ssh"] = _agents(build["ssh"])
    if build.get("ulimits"):
        target["ulimits"] = [_limit(kind, value) for kind, value in build["ulimits"].items()]
    attests = [
        f"type={kind}"
        + ("" if build[kind] is True else ",disabled=true" if build[kind] is False else f",{build[kind]}")
        for kind in ("provenance", "sbom")
        if kind in build
    ]
    if attests:
        target["attest"] = attests
    target = _extended(target, _object(path, f"x-bake of {name}", build.get("x-bake")))
    if not target.get("tags") and service.get("image"):
        target["tags"] = [str(service["image"])]
    return target


def _extended(target: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a target with what `x-bake` says: lists of tags, caches, secrets and agents grow, others are replaced."""
    grows = ("tags", "cache-from", "cache-to", "secret", "ssh", "no-cache-filter")
    for key, value in more.items():
        value = [value] if isinstance(value, str) and key in (*_LISTS.values(), *grows, "output") else value
        target[key] = [*target.get(key, []), *value] if key in grows else value
    return target


def _pairs(path: str, name: str, key: str, value: Any) -> dict[str, str]:
    """Return an object that may be written as a list of `name=value`; what has no value is taken from the environment."""
    if isinstance(value, dict):
        pairs = {str(one): None if given is None else _shown(given) for one, given in value.items()}
    elif isinstance(value, list):
        pairs = {}
        for one in value:
            left, sign, right = str(one).partition("=")
            if key == "extra_hosts" and not sign:
                left, sign, right = str(one).partition(":")
            pairs[left] = right if sign else None
    else:
        raise InvalidInput(f"{path}: service {name}: build.{key} is neither a list nor an object")
    if key == "args":
        return {one: os.environ[one] if given is None else given for one, given in pairs.items() if _has(one, given)}
    return {one: given or "" for one, given in pairs.items()}


def _has(name: str, given: str | None) -> bool:
    return given is not None or name in os.environ


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _secret(path: str, name: str, one: Any, secrets: dict[str, Any]) -> str:
    """Return a secret of a build, which names one of the file's, as a target has it."""
    source = str(one.get("source") if isinstance(one, dict) else one)
    if source not in secrets:
        raise InvalidInput(f"{path}: service {name}: there is no secret {source!r}", "declare it below `secrets:`")
    identity = str(one.get("target") or source) if isinstance(one, dict) else source
    declared = _object(path, f"secret {source}", secrets[source])
    if declared.get("file"):
        return f"id={identity},src={os.path.normpath(str(declared['file']))}"
    if declared.get("environment"):
        return f"id={identity},env={declared['environment']}"
    raise Unsupported(f"{path}: secret {source!r} is neither a file nor of the environment")


def _agents(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}={path}" if path else str(name) for name, path in value.items()]
    return [str(one) for one in value]


def _limit(kind: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{kind}={value.get('soft', value.get('hard'))}:{value.get('hard', value.get('soft'))}"
    return f"{kind}={value}"
