"""Who has signed an image, and which statements are signed with it: asked of the registry that it is in, or is from."""

from __future__ import annotations

import contextlib

from ...errors import RegistryError, Untrusted
from ...lean.values import Value
from ...oci import reference as references
from ...store.rows import images
from .image_source import REGISTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...oci.reference import Reference
    from ...store.store import Store
    from .image_source import Subject


class Endorsement(Value, kw_only=True):
    """What signatures say of an image: who has signed it (`signers`); the signed `indexes` that lead to it, and the
    signed `statements`, each with who has signed it; and the `problem`, "" for none."""

    signers: tuple[str, ...] = ()
    indexes: Mapping[str, str] = {}
    statements: tuple[tuple[str, dict[str, Any]], ...] = ()
    problem: str = ""


def look(store: Store, subject: Subject, demanded: str = "") -> Endorsement | None:
    """Return what signatures say of an image; None where neither the caller (`demanded`, see `trust.Trust.read`) nor the
    trust policy names whose they should be: then nothing is asked.

    Raises what `trust.Trust.read` raises, and with `demanded` what registries raise.
    """
    from ...registry.registries import Registries
    from ...transfer.trust import verify
    from ...transfer.trust.requirements import Keyless, Signed
    from ...transfer.trust.trust import Trust

    trust = Trust.read(demanded)
    signers: list[str] = []
    statements: list[tuple[str, dict[str, Any]]] = []
    indexes: dict[str, str] = {}
    asked = False
    problem = ""
    with Registries(store.emit) as registries:
        for reference, digest, is_index in _places(store, subject):
            requirements = [one for one in trust.of_registry(reference) if isinstance(one, Signed | Keyless)]
            if not requirements:
                continue
            asked = True
            repository = registries.repository(reference)
            try:
                try:
                    by = verify.verify(repository, reference, digest, requirements).signers
                    signers += by
                    if is_index:
                        indexes[digest] = by[0]
                except Untrusted as error:
                    problem = problem or error.message
                with contextlib.suppress(Untrusted):
                    attested = verify.verify(repository, reference, digest, requirements, attestations=True)
                    statements += attested.statements
            except RegistryError as error:
                if demanded:
                    raise
                problem = problem or error.message
                break
    if not asked:
        return (
            Endorsement(problem=f"{subject.name} is in no registry that could have a signature") if demanded else None
        )
    return Endorsement(
        signers=tuple(dict.fromkeys(signers)),
        indexes=indexes,
        statements=tuple(statements),
        problem="" if signers or statements else problem,
    )


def _places(store: Store, subject: Subject) -> list[tuple[Reference, str, bool]]:
    """Return where signatures may be: a name, the digest of the image or of an index above it, and whether it is that."""
    if subject.image is not None:
        places = []
        for repository, digest, _ in images.repository_digests(store.meta, subject.image.id):
            reference = references.parse(f"{repository}@{digest}")
            manifest = subject.image.manifest
            places += [(reference, one, one != manifest) for one in dict.fromkeys((digest, manifest))]
        return places
    if subject.where != REGISTRY or subject.manifest is None:
        return []
    reference = references.parse(subject.name)
    return [(reference, digest, digest in subject.above) for digest in (*subject.above, subject.manifest.digest)]
