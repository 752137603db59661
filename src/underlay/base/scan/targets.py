"""The targets of a scan: images, registries, namespaces, lists of names, and the pods of a cluster."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import InvalidInput
from ...oci import reference as references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...registry.registries import Registries

LINE_LIMIT = 4096  # characters of a line of a list
PODS_LIMIT = 512 << 20  # bytes of a list of pods
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


class Wanted(NamedTuple):
    """A repository of which names are wanted: its `tags` (names or digests), None for all that it has."""

    repository: str
    tags: tuple[str, ...] | None


def expand(texts: Iterable[str], registries: Registries) -> list[Wanted]:
    """Return the repositories that targets mean: `HOST/` is a registry, `HOST/NAMESPACE/` those whose names begin so,
    `docker.io/NAMESPACE/` a namespace of Docker Hub; anything else is the name of an image, with a tag or a digest, or of
    a repository with `:*`.

    Raises InvalidInput, Unsupported for a registry that does not list its repositories, and what registries raise.
    """
    tags: dict[str, set[str] | None] = {}
    for text in dict.fromkeys(texts):
        if text.endswith("/"):
            for repository in _listed(text, registries):
                tags[repository] = None
        elif text.endswith(":*"):
            tags[references.parse_exact(text[:-2]).familiar_repository] = None
        else:
            reference = references.parse(text)
            known = tags.setdefault(reference.familiar_repository, set())
            if known is not None:
                known.add(reference.digest or reference.tag)
    return [Wanted(name, None if found is None else tuple(sorted(found))) for name, found in tags.items()]


def _listed(text: str, registries: Registries) -> list[str]:
    """Return the repositories of a registry, or of a namespace."""
    from ...registry.repository import catalog, hub_repositories

    domain, _, prefix = text.partition("/")
    if domain in (references.DEFAULT_DOMAIN, "index.docker.io"):
        namespace = prefix.rstrip("/")
        if not namespace or "/" in namespace:
            raise InvalidInput(
                f"{text}: Docker Hub has no list of all repositories", "name a namespace: docker.io/library/"
            )
        return [
            references.parse(f"{references.DEFAULT_DOMAIN}/{path}").familiar_repository
            for path in hub_repositories(registries, namespace)
        ]
    if domain != "localhost" and "." not in domain and ":" not in domain:
        raise InvalidInput(
            f"{text} is not the address of a registry", "as in registry.example.com/ or registry.example.com/team/"
        )
    return [f"{domain}/{name}" for name in catalog(registries, domain) if name.startswith(prefix)]


def lines(text: str) -> list[str]:
    """Return the names of a list: one a line, without empty lines and those that begin with #."""
    names = [line.strip() for line in text.splitlines()]
    for number, name in enumerate(names, 1):
        if len(name) > LINE_LIMIT:
            raise InvalidInput(f"line {number} of the list has more than {LINE_LIMIT} characters")
    return [name for name in names if name and not name.startswith("#")]


def pods(data: bytes, what: str) -> list[str]:
    """Return the images that pods run, of the output of `kubectl get pods -o json` (Kubernetes API, PodList): by the digest
    that a node says it has, where it says one, else as they are named. Raises InvalidInput."""
    import msgspec

    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidInput(f"{what}: {error}", "as `kubectl get pods -A -o json` prints it") from None
    items = value.get("items", [value]) if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise InvalidInput(f"{what} is not a list of pods", "as `kubectl get pods -A -o json` prints it")
    found: dict[str, None] = {}
    for item in items:
        if not isinstance(item, dict) or item.get("kind", "Pod") != "Pod":
            raise InvalidInput(f"{what} has something else than pods", "as `kubectl get pods -A -o json` prints it")
        ids = _ids(item.get("status"))
        spec = item.get("spec")
        for kind in _CONTAINERS:
            rows = spec.get(kind) if isinstance(spec, dict) else None
            for row in rows if isinstance(rows, list) else ():
                image = row.get("image") if isinstance(row, dict) else None
                if isinstance(image, str):
                    found[_pinned(image, ids.get(str(row.get("name")), ""))] = None
    return list(found)


def _ids(status: Any) -> dict[str, str]:
    """Return what a node says of the images of containers, by the names of these."""
    found: dict[str, str] = {}
    for kind in _CONTAINERS:
        rows = status.get(kind.removesuffix("s") + "Statuses") if isinstance(status, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get("imageID"), str):
                found[str(row.get("name"))] = row["imageID"]
    return found


def _pinned(image: str, image_id: str) -> str:
    """Return an image by the digest of its manifest, if the node tells that (`REPOSITORY@DIGEST`, also after `docker-pullable://`)."""
    name = image_id.removeprefix("docker-pullable://")
    repository, at, digest = name.rpartition("@")
    return f"{repository}@{digest}" if at and repository and "://" not in repository else image
