"""Rebasing an image, in the store or straight in a registry, after looking for what speaks against it."""

from __future__ import annotations

import msgspec

from ...errors import InvalidInput, LimitExceeded, UnderlayError, Unsafe, Unsupported
from ...oci import document, mediatype
from ...oci import reference as references
from ...oci.annotations import BASE_DIGEST, BASE_NAME
from .. import rebase
from ..identify import image_source
from ..identify.image_source import ARCHIVE, REGISTRY, STORE, Subject
from . import Hazard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...oci.config import Step
    from ...oci.descriptor import Descriptor
    from ...store.store import Store
    from . import Configured


class Moved(msgspec.Struct, frozen=True):
    """The result of a rebase, or of its dry run: the `id` and manifest `digest` of the new image (also when it was not
    written), the names of the bases, the numbers of replaced and new layers, `hazards` and harmless `changes`; `done`
    says whether the image was written, `current` that it stands on the new base already and nothing was to be done."""

    image: str
    old_base: str
    new_base: str
    old_layers: int
    new_layers: int
    kept_layers: int
    id: str
    digest: str
    hazards: tuple[Hazard, ...]
    changes: tuple[str, ...]
    names: tuple[str, ...] = ()
    done: bool = False
    current: bool = False


class Ground(msgspec.Struct, frozen=True):
    """The base that an image stands on: its name, how many layers and history steps it has, its `config` member if it
    is known, and what is in `doubt` of it, if anything is."""

    name: str
    layers: int
    steps: int
    config: dict[str, Any] | None = None
    doubt: str = ""


def ground(store: Store, subject: Subject, base: str = "", likely: bool = False) -> Ground:
    """Return what an image stands on: `base` where it is named, else the known build that is found; with `likely` also
    what is no known build, if it is more likely than not. Raises InvalidInput, NotFound."""
    diff_ids, steps = subject.view.diff_ids, subject.view.history or []
    if base == "scratch":
        return Ground("scratch", 0, 0, {})
    if base:
        named = image_source.find(store, base, str(subject.platform))
        below = named.view.diff_ids
        if diff_ids[: len(below)] != below:
            raise InvalidInput(
                f"{base} is not the base of {subject.name}: its layers are not the lowest layers of that image"
            )
        history = named.view.history or []
        step_texts = [step.created_by for step in history]
        alike = bool(step_texts) and [step.created_by for step in steps[: len(step_texts)]] == step_texts
        count = len(step_texts) if alike else steps_of(steps, len(below))
        return Ground(base, len(below), count, named.value.get("config") or {})
    from ..identify import claim_evidence, identify

    identified = identify.identify(store, subject, 1)
    candidate = identified.base
    # A name may be a stranger's words.
    if candidate is None or not claim_evidence.familiar(candidate.name):
        return Ground("scratch", 0, 0, {})
    if candidate.config_digest is None:
        if not likely or identified.certainty < identify.LIKELY or not 0 < candidate.history < len(steps):
            return Ground("scratch", 0, 0, {})
        layers = sum(not step.empty_layer for step in steps[: candidate.history])
        doubt = f"that base is not a known build: it is the right one with a probability of {identified.certainty:.0%}"
        return Ground(candidate.name, min(layers, len(diff_ids)), candidate.history, None, doubt)
    from ...store.rows import images

    row = images.get(store.meta, candidate.config_digest)
    config = {**(images.config(store.paths, row.id).get("config") or {})} if row is not None else None
    return Ground(candidate.name, candidate.layers, candidate.history or steps_of(steps, candidate.layers), config)


def steps_of(steps: Sequence[Step], layers: int) -> int:
    """Return how many steps made the lowest layers, where nothing else tells which are the base's: history and layers must
    go on to fit each other when the base's are exchanged."""
    filled = [number for number, step in enumerate(steps, 1) if not step.empty_layer]
    return filled[layers - 1] if 0 < layers <= len(filled) else 0


def move(
    store: Store,
    image: Subject,
    ground: Ground,
    onto: Subject,
    names: Sequence[str],
    dry_run: bool = False,
    force: bool = False,
) -> Moved:
    """Move an image from the base `ground` onto another; both lie in the store, or both in registries.

    `names` are given to what comes out, by default the image's own. Raises Unsafe when there are hazards, unless `force`;
    Untrusted when a base of a registry is not signed as the trust policy demands, InvalidInput, Unsupported, and what
    reading layers of a registry and writing raise.
    """
    if ARCHIVE in (image.where, onto.where):
        raise InvalidInput("images in archives cannot be moved onto another base", "`underlay load` them first")
    if image.where != onto.where:
        raise InvalidInput(
            f"{image.name} is in the {image.where}, and {onto.name} in the {onto.where}",
            f"pull {(image if image.where == REGISTRY else onto).name} first, or name both with docker://",
        )
    if not names and _stands_on(image, ground, onto):
        count = len(onto.view.diff_ids)
        digest = image.manifest.digest if image.manifest is not None else ""
        above = len(image.view.diff_ids) - count
        return Moved(image.name, ground.name, onto.name, count, count, above, image.id, digest, (), (), current=True)
    if onto.where == REGISTRY:
        _verify(store, onto)
    configured, hazards, changes = _looked(store, image, ground, onto)
    layers = _layers(onto) + _layers(image)[ground.layers :]
    config = document.encode(configured.value)
    manifest = _manifest(image, onto, config, layers)
    from ...oci import digest as digests

    targets = [references.check_new(references.parse(name)) for name in names or _own_names(store, image)]
    moved = Moved(
        image.name,
        ground.name,
        onto.name,
        ground.layers,
        len(onto.view.diff_ids),
        len(image.view.diff_ids) - ground.layers,
        digests.of(config),
        digests.of(manifest),
        tuple(hazards),
        tuple(changes),
        tuple(target.familiar for target in targets),
    )
    if dry_run:
        return moved
    if hazards and not force:
        raise Unsafe(
            f"{image.name} is not moved from {ground.name} onto {onto.name}: "
            + "; ".join(hazard.text for hazard in hazards),
            "; ".join(dict.fromkeys(hazard.remedy for hazard in hazards if hazard.remedy)) + "; or --force",
            hazards,
        )
    for target in targets:
        if target.digest:
            raise InvalidInput(f"{target.familiar}: a new name cannot hold a digest")
    from ...transfer import recording

    if image.where == STORE:
        diff_ids = configured.value["rootfs"]["diff_ids"]
        created = str(configured.value.get("created") or "")
        recording.record_stacked(
            store.paths, store.meta, store.form, config, manifest, diff_ids, image.platform, created, targets
        )
    else:
        _push(store, image, onto, ground, config, manifest, targets)
    return msgspec.structs.replace(moved, done=True)


def _stands_on(image: Subject, ground: Ground, onto: Subject) -> bool:
    """Tell whether an image already stands on the new base: its layers match, and its configuration where known."""
    layers = image.view.diff_ids[: ground.layers] == onto.view.diff_ids
    return layers and (ground.config is None or ground.config == (onto.value.get("config") or {}))


def _own_names(store: Store, image: Subject) -> Sequence[str]:
    """Return the name that an image was asked for by; all that it has when that is its id. Raises InvalidInput for none."""
    if image.image is None:
        return [image.name]
    from ...store.rows import images

    names = [name for name, _, _ in images.names(store.meta, image.id)]
    try:
        asked = references.parse(image.name).name
    except InvalidInput:
        asked = ""  # an id
    if not names:
        raise InvalidInput(f"{image.name} has no name for the result to take", "name it with --tag")
    return [asked] if asked in names else names


def _looked(store: Store, image: Subject, ground: Ground, onto: Subject) -> tuple[Configured, list[Hazard], list[str]]:
    old = _old_configuration(image, ground)
    configured = rebase.configuration(image.value, old, onto.value, ground.steps)
    hazards, changes = list(configured.hazards), list(configured.changes)
    if ground.config is None:
        changes.append(
            "the configuration of the old base is not in the store: the inherited values are read from its steps"
        )
    if all(hazard.id != "platform" for hazard in hazards):
        from ...packages.installed import installed
        from . import rebase_checks

        try:
            with image.reading() as files, onto.reading() as new_files:
                file_hazards, more = rebase_checks.look(image.view, image.platform, files, new_files, ground.layers)
                hazards += file_hazards
                changes += more
                before = installed(files.lower(ground.layers), languages=False).packages
                changes += rebase.packages(before, installed(new_files, languages=False).packages)
        except (LimitExceeded, Unsupported) as error:
            text = f"it cannot be checked whether the layers above fit the new base: {error.message}"
            hazards.append(Hazard("files", text, error.hint))
    return configured, hazards, changes


def _verify(store: Store, onto: Subject) -> None:
    """Verify what the trust policy demands of a base of a registry. Raises Untrusted, and what verifying raises."""
    from ...registry.registries import Registries
    from ...transfer.trust.trust import Trust

    assert onto.manifest is not None
    trust, reference = Trust.read(), references.parse(onto.name)
    if trust.demands(reference):
        with Registries(store.emit) as registries:
            root = onto.above[0] if onto.above else onto.manifest.digest
            trust.check(registries.repository(reference), reference, root, [onto.manifest.digest])


def _old_configuration(image: Subject, ground: Ground) -> dict[str, Any]:
    """Return the old base's configuration; where it is not known, as its steps in the image's history tell it."""
    config = ground.config
    if config is None:
        from ..dockerfile import reconstruct

        config = reconstruct.reached(image.view, ground.steps)
    diff_ids = image.view.diff_ids[: ground.layers]
    return {**image.value, "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}


def _layers(image: Subject) -> list[dict[str, Any]]:
    """Return the descriptors of an image's layers, the lowest first."""
    assert image.manifest is not None
    return list(image.manifest.value.get("layers") or [])


_TO_OCI = {
    mediatype.DOCKER_LAYER: mediatype.OCI_LAYER,
    mediatype.DOCKER_LAYER_GZIP: mediatype.OCI_LAYER_GZIP,
}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items()}


def _manifest(image: Subject, onto: Subject, config: bytes, layers: list[dict[str, Any]]) -> bytes:
    """Return the manifest, of the kind that the image's was; its layers have the media types of that kind."""
    assert image.manifest is not None
    before = image.manifest.value
    docker = before.get("mediaType") == mediatype.DOCKER_MANIFEST
    types = _TO_DOCKER if docker else _TO_OCI
    from ...oci import digest as digests

    annotations = {**(before.get("annotations") or {})}
    if not docker:
        digest = onto.manifest.digest if onto.manifest is not None else ""
        annotations |= {BASE_NAME: _whole(onto.name), BASE_DIGEST: digest}
    return document.encode(
        {
            "schemaVersion": 2,
            "mediaType": before.get("mediaType") or mediatype.OCI_MANIFEST,
            "config": {
                "mediaType": mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG,
                "digest": digests.of(config),
                "size": len(config),
            },
            "layers": [{**layer, "mediaType": types.get(layer["mediaType"], layer["mediaType"])} for layer in layers],
            **({"annotations": annotations} if annotations else {}),
        }
    )


def _whole(name: str) -> str:
    try:
        return references.parse(name).name
    except UnderlayError:
        return name


def _push(
    store: Store,
    image: Subject,
    onto: Subject,
    ground: Ground,
    config: bytes,
    manifest: bytes,
    targets: Sequence[references.Reference],
) -> None:
    from ...registry.registries import Registries
    from ...transfer.registry import restack

    assert image.manifest is not None and onto.manifest is not None
    upper: list[Descriptor] = (image.manifest.view.layers or [])[ground.layers :]
    lower: list[Descriptor] = onto.manifest.view.layers or []
    media_type = str(image.manifest.value.get("mediaType") or mediatype.OCI_MANIFEST)
    with Registries(store.emit) as registries:
        sources = [
            (registries.repository(references.parse(onto.name)), lower),
            (registries.repository(references.parse(image.name)), upper),
        ]
        for target in targets:
            restack.push(registries, target, config, manifest, media_type, sources, store.emit)
