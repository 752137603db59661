"""The noun `engine.registries`: log in and out, search, copy, sync, inspect and delete images there, manifest lists."""

from __future__ import annotations

from ..errors import InvalidInput, NotFound, RegistryError
from ..oci import document
from ..oci import platform as platforms
from ..oci import reference as references
from ..registry import credentials, hosts
from ..registry import registries as registry
from ..registry.credentials import Credential
from ..transfer.registry import lists, remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..oci import config as configs
    from ..oci.manifest import Manifest
    from ..registry.repository import FetchedManifest
    from ..store.store import Store
    from ..transfer.registry.deletion import Deleted
    from ..transfer.registry.outgoing import Pushed
    from .images.copy import Synced

_SEARCH_LIMIT = 100


class FoundRepository:
    """A repository that a search found: `name`, and if the registry provides them `description`, `stars`, `official`."""

    __slots__ = ("description", "name", "official", "stars")

    def __init__(self, name: str, description: str = "", stars: int = 0, official: bool = False) -> None:
        self.name = name
        self.description = description
        self.stars = stars
        self.official = official


class Registries:
    """Operations on registries, beyond `Images.pull` and `Images.push`."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    # Credentials

    def login(self, server: str, username: str, secret: str) -> str:
        """Check a credential and store it; return the path of the file that holds it in plain text, "" with a helper.

        `server` is a registry's name or address, "" for Docker Hub. Raises AccessDenied, RegistryError, InvalidInput.
        """
        from ..registry.login import verify

        host = _host(server)
        kept = verify(host, Credential(username=username, secret=secret))
        return credentials.Store().put(host, kept)

    def credential(self, server: str) -> Credential | None:
        """Return the stored credential of a registry, None without one."""
        return credentials.Store().get(_host(server))

    def verify(self, server: str, credential: Credential) -> None:
        """Check a credential without storing it; raises AccessDenied, RegistryError."""
        from ..registry.login import verify

        verify(_host(server), credential)

    def logout(self, server: str) -> bool:
        """Delete the stored credential of a registry; return whether there was one."""
        return credentials.Store().erase(_host(server))

    def kept_elsewhere(self, server: str) -> str:
        """Return the path of podman's credential file if it has a login for a registry (it is also read), else ""."""
        return credentials.Store().elsewhere(_host(server))

    # Finding

    def search(self, term: str, limit: int = 25) -> list[FoundRepository]:
        """Search repositories for `term`: on Docker Hub, or for `REGISTRY/TERM` in the catalogue of that registry.

        Raises Unsupported when the registry does not list its repositories, InvalidInput, RegistryError.
        """
        if not 0 <= limit <= _SEARCH_LIMIT:
            raise InvalidInput(f"limit {limit} is outside the range of [1, {_SEARCH_LIMIT}]")
        first, slash, rest = term.partition("/")
        named = bool(slash) and (first == "localhost" or "." in first or ":" in first)
        with registry.Registries(self._store.emit, credentials=self._store.credentials) as session:
            if named and first not in (references.DEFAULT_DOMAIN, "index.docker.io"):
                from ..registry.repository import catalog

                names = [name for name in catalog(session, first) if rest in name]
                return [FoundRepository(f"{first}/{name}") for name in names[: limit or 25]]
            return _hub(session, rest if named else term, limit or 25)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, as its registry orders them. Raises NotFound, AccessDenied, RegistryError."""
        with registry.Registries(self._store.emit, credentials=self._store.credentials) as session:
            return session.repository(references.parse_exact(repository)).tags()

    def inspect(self, name: str, platform: str = "") -> dict[str, Any]:
        """Return a registry's information on an image, without pulling layers, in the format of `docker image inspect`.

        `Layers` has digest, size (bytes) and media type of each, `Manifests` the platforms that are available.
        """
        reference = references.parse(name)
        wanted = [platforms.parse(platform)] if platform else []
        with registry.Registries(self._store.emit, credentials=self._store.credentials) as session:
            _, root, candidates = remote.look(session, reference, wanted)
        chosen = candidates[0]
        manifest: Manifest = chosen.manifest.view
        config: configs.Config = chosen.config.view
        value = chosen.config.value
        history = value.get("history") or []
        layers = manifest.layers or []
        offered = [
            {"Digest": descriptor.digest, "Size": descriptor.size, "Platform": str(descriptor.platform.normalised())}
            for index in chosen.above
            for descriptor in index.view.manifests or []
            if descriptor.platform is not None and not descriptor.is_attestation
        ]
        return {
            "Id": chosen.config.digest,
            "RepoTags": [] if reference.digest else [reference.familiar],
            "RepoDigests": [f"{reference.familiar_repository}@{root.digest}"],
            "Comment": (history[-1].get("comment") or "") if history else "",
            "Created": config.created or "",
            "Author": config.author or "",
            "Config": value.get("config") or {},
            "Architecture": config.stated_architecture or chosen.platform.architecture,
            "Variant": config.variant or "",
            "Os": config.stated_os or chosen.platform.os,
            "Size": sum(layer.size for layer in layers),
            "RootFS": {"Type": "layers", "Layers": config.diff_ids},
            "Descriptor": {
                "mediaType": manifest.media_type or root.media_type or "",
                "digest": chosen.manifest.digest,
                "size": len(chosen.manifest.data),
            },
            "Layers": [
                {"MediaType": layer.media_type or "", "Digest": layer.digest, "Size": layer.size} for layer in layers
            ],
            "Manifests": offered,
        }

    # Moving

    def copy(
        self,
        source: str,
        destination: str,
        platform: str = "",
        all: bool = False,
        format: str = "",
        remove_signatures: bool = False,
    ) -> Pushed:
        """Copy an image from one place to another; digests are kept wherever the destination supports the image's format.

        A place is a name in a registry (`docker://NAME` or `NAME`), `store:NAME`, `oci:PATH[:NAME]`, `dir:PATH`,
        `oci-archive:PATH[:NAME]` or `docker-archive:PATH[:NAME]`. All platforms are copied where the destination can
        store them, into the store only with `all`; or one `platform`. `format`, `oci` or `docker`, converts manifests.
        Signatures and attestations of the image are copied unless `remove_signatures`. Raises NotFound, InvalidInput,
        Conflict (signatures would become invalid), AccessDenied, DigestMismatch, Corrupt, RegistryError.
        """
        from .images import copy as copying

        request = copying.parse_request(platform, all, format, remove_signatures)
        return copying.copy(self._store, source, destination, request)

    def sync(
        self,
        sources: str | Sequence[str],
        destination: str,
        platform: str = "",
        format: str = "",
        remove_signatures: bool = False,
        scoped: bool = False,
        dry_run: bool = False,
    ) -> Iterator[Synced]:
        """Copy repositories: yield the result for each name when it is finished, failures too.

        A source is `REPOSITORY` (all tags), `REPOSITORY:TAG` (the tag may be a pattern such as `1.*`) or
        `REPOSITORY@DIGEST`. `destination` is `REGISTRY[/PREFIX]`, `dir:PATH` or `oci:PATH`; `scoped` puts the name of the
        source's registry before each repository. Images that exist there are not copied again; `dry_run` copies nothing.
        """
        from .images import copy as copying

        request = copying.parse_request(platform, False, format, remove_signatures)
        named = [sources] if isinstance(sources, str) else sources
        return copying.sync(self._store, named, destination, request, scoped, dry_run)

    def delete(self, name: str, force: bool = False) -> Deleted:
        """Remove a tag from its registry, or with a digest a manifest and all its tags.

        Where a registry cannot remove a tag alone, the manifest is removed if no other tag refers to it, or with `force`.
        Raises NotFound, Conflict, Unsupported, AccessDenied, RegistryError.
        """
        from ..transfer.registry.deletion import delete

        with registry.Registries(self._store.emit, credentials=self._store.credentials) as session:
            return delete(session, references.parse(name), force)

    # Manifest lists

    def manifest(self, name: str, insecure: bool = False) -> FetchedManifest:
        """Return a manifest or list as bytes, from the local draft of this name or else from the registry."""
        from ..oci import digest
        from ..registry.repository import FetchedManifest

        reference = references.parse(name)
        if lists.exists(self._store.meta, reference):
            data = lists.index(self._store.meta, reference)
            return FetchedManifest(data, digest.of(data), document.decode(data, "manifest list")["mediaType"])
        with self._registries(insecure, reference.domain) as session:
            return session.repository(reference).manifest(reference.digest or reference.tag)

    def manifest_create(self, name: str, members: Sequence[str], amend: bool = False, insecure: bool = False) -> str:
        """Create a draft of a manifest list of manifests in registries, or with `amend` add to it; return its full name."""
        reference = references.parse(name)
        chosen = [references.parse(member) for member in members]
        with self._registries(insecure, *(member.domain for member in chosen)) as session:
            lists.create(self._store.meta, session, reference, chosen, amend)
        return str(reference)

    def manifest_annotate(self, name: str, member: str, changes: dict[str, Any]) -> None:
        """Change the platform of one entry of a draft: `architecture`, `os`, `os.features`, `os.version`, `variant`."""
        lists.annotate(self._store.meta, references.parse(name), references.parse(member), changes)

    def manifest_push(self, name: str, purge: bool = False, insecure: bool = False) -> str:
        """Push a draft; return the digest of the list. Raises NotFound, AccessDenied, RegistryError."""
        reference = references.parse(name)
        with self._registries(insecure, reference.domain) as session:
            return lists.push(self._store.meta, session, reference, self._store.emit, purge)

    def combine(self, name: str, members: Sequence[str], annotations: Mapping[str, str] | None = None) -> str:
        """Push an index of what registries have under the names of `members`; return its digest.

        Of a member that is an index itself, its manifests are taken. Raises NotFound, AccessDenied, RegistryError.
        """
        reference = references.parse(name)
        named = [references.parse(member) for member in members]
        with self._registries(False) as session:
            return lists.combine(session, reference, named, self._store.emit, annotations)

    def combined(self, members: Sequence[str], annotations: Mapping[str, str] | None = None) -> bytes:
        """Return the index that `combine` would push, as it would be sent; nothing is pushed. Raises as that does."""
        with self._registries(False) as session:
            return lists.combined(session, [references.parse(member) for member in members], annotations)

    def manifest_remove(self, names: Sequence[str]) -> list[str]:
        """Remove drafts; return those removed. Raises NotFound when one is not there."""
        references_ = [references.parse(name) for name in names]
        gone = lists.remove(self._store.meta, references_)
        missing = [reference for reference in references_ if reference not in gone]
        if missing:
            raise NotFound(f"No such manifest: {missing[0].familiar}")
        return [reference.familiar for reference in gone]

    def _registries(self, insecure: bool, *domains: str) -> registry.Registries:
        settings = hosts.Settings.load()
        if insecure:
            for domain in domains:
                settings.allow_insecure(domain)
        return registry.Registries(self._store.emit, settings, self._store.credentials)


def _host(server: str) -> str:
    """Return the registry that `login` means: a name, or an address as docker takes it; Docker Hub for none."""
    plain = server.partition("://")[2] or server
    return hosts.registry_name(plain.partition("/")[0] or references.DEFAULT_DOMAIN)


def _hub(session: registry.Registries, term: str, limit: int) -> list[FoundRepository]:
    """Ask Docker Hub's index, whose search is of the first version of the protocol."""
    from urllib.parse import quote

    from ..registry import problems

    endpoint = session.settings.hub_endpoint("index.docker.io")
    server = session.server(references.DEFAULT_DOMAIN, endpoint)
    answer = server.ask("GET", f"/v1/search?q={quote(term)}&n={limit}", ())
    if answer.status != 200:
        raise problems.of(answer, f"search for {term!r}")
    with answer:
        value = document.decode(answer.document(document.MANIFEST_LIMIT, "search"), "search")
    rows = value.get("results") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise RegistryError("search: the registry's answer is not a list of repositories")
    names = []
    for row in rows[:limit]:
        if isinstance(row, dict) and isinstance(row.get("name"), str):
            stars = row.get("star_count")
            description = row.get("description")
            names.append(
                FoundRepository(
                    row["name"],
                    description if isinstance(description, str) else "",
                    stars if isinstance(stars, int) else 0,
                    row.get("is_official") is True,
                )
            )
    return names
