"""`system check`: everything that is stored against its digest, and rows against files both ways; repair of
what can be.

What can be derived is made anew (tables of contents from tars, indexes from tables of contents, a layer's tar
from compressed bytes that were kept, image rows from their documents). What cannot is reported as lost, once,
and with `repair` taken out, so that loading the image again makes it whole.
"""

from __future__ import annotations

import os

from ..errors import Conflict, Corrupt, DigestMismatch, NotFound, UnderlayError
from ..events import Event
from ..oci import config as configs
from ..oci import digest as digests
from ..oci import document, mediatype, reference
from ..oci import manifest as manifests
from . import blobs, gc, layers, leases, rootfs, volumes
from .layers import intake
from .rows import containers, images, meta
from .rows import layers as layer_rows
from .rows import volumes as volume_rows
from .rows.images import NewImage
from .rows.layers import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..events import Emit
    from ..paths import Paths
    from .rows.meta import Meta


class Problem:
    """A problem found by a check: `kind` (`database`, `blob`, `layer`, `index`, `image`, `container`, `volume`,
    `kernel`, `leftover`), `subject` (a digest or a name), `text` (what is wrong), `lost` (cannot be recreated) and
    `repaired`."""

    __slots__ = ("kind", "lost", "repaired", "subject", "text")

    def __init__(self, kind: str, subject: str, text: str, lost: bool = False) -> None:
        self.kind = kind
        self.subject = subject
        self.text = text
        self.lost = lost
        self.repaired = False

    def __repr__(self) -> str:
        state = f"lost={self.lost}, repaired={self.repaired}"
        return f"Problem({self.kind!r}, {self.subject!r}, {self.text!r}, {state})"


class CheckReport:
    """The result of a check: `problems`, and how many `blobs`, `layers`, `indexes`, `images` and `kernels` were checked."""

    __slots__ = ("blobs", "images", "indexes", "kernels", "layers", "problems")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.blobs = 0
        self.layers = 0
        self.indexes = 0
        self.images = 0
        self.kernels = 0


def check(paths: Paths, database: Meta, form: str, emit: Emit, repair: bool = False) -> CheckReport:
    """Verify the whole store; with `repair` mend it as far as possible. Other processes may use
    the store meanwhile.

    Raises OSError, and Conflict when a repair needs the store for itself and another process uses it.
    """
    report = CheckReport()
    with leases.working(paths):
        for text in meta.integrity(database):
            report.problems.append(Problem("database", database.path, text))
        _check_blobs(paths, database, report, emit, repair)
        _check_layers(paths, database, report, emit, repair)
        _check_images(paths, database, report, repair)
        _check_indexes(paths, database, form, report, emit, repair)
        _check_containers(paths, database, report, repair)
    unused = gc.unused_bytes(paths, database)
    if unused:
        problem = Problem("leftover", paths.root, f"{unused} bytes that no image needs")
        report.problems.append(problem)
        if repair:
            problem.repaired = not gc.sweep(paths, database).deferred
    return report


def repair_database(paths: Paths) -> CheckReport:
    """Make a new database out of a damaged one and the documents in the store, and check the result."""
    report = CheckReport()
    lock = leases.sweeping(paths)
    if not lock.acquire(wait=False):
        raise Conflict("another underlay process uses the store", "try again when it has ended")
    try:
        aside = meta.salvage(paths.database)
        database = meta.Meta(paths.database)
        try:
            image_count = _rebuild_images(paths, database)
        finally:
            database.close()
    finally:
        lock.release()
    problem = Problem(
        "database",
        paths.database,
        f"damaged; readable rows kept, {image_count} images recovered, old file: {aside}",
    )
    problem.repaired = True
    report.problems.append(problem)
    return report


def rebuild_if_empty(paths: Paths, database: Meta) -> Problem | None:
    """Record the images that the stored documents describe if the database has none at all: it must have been lost.

    Without this the sweep of a repair would treat every layer as unused.
    """
    if not images.is_empty(database):
        return None
    with leases.working(paths):
        image_count = _rebuild_images(paths, database)
    if not image_count:
        return None
    problem = Problem("database", paths.database, f"contained no image; {image_count} recovered, without their names")
    problem.repaired = True
    return problem


def _check_blobs(paths: Paths, database: Meta, report: CheckReport, emit: Emit, repair: bool) -> None:
    kept = layer_rows.kept_blobs(database)
    for digest, _ in list(blobs.every(paths)):
        report.blobs += 1
        emit(Event("check.blob", digest))
        wrong = blobs.check(paths, digest)
        if not wrong:
            kept.discard(digest)
            continue
        problem = Problem("blob", digest, f"its bytes have changed: {wrong}", lost=digest not in kept)
        report.problems.append(problem)
        if repair:
            blobs.remove(paths, digest)
            problem.repaired = not problem.lost
    for digest in kept:
        if not blobs.exists(paths, digest):
            problem = Problem("blob", digest, "the compressed form of a layer, which should be kept, is missing")
            report.problems.append(problem)
            if repair:
                layer_rows.no_longer_kept(database, digest)
                problem.repaired = True


def _check_layers(paths: Paths, database: Meta, report: CheckReport, emit: Emit, repair: bool) -> None:
    here = layers.list_all(paths)
    rows = layer_rows.on_record(database)
    for diff_id in here:
        report.layers += 1
        emit(Event("check.layer", diff_id))
        try:
            layers.check(paths, diff_id, full=True)
        except (Corrupt, NotFound) as error:
            problem = Problem("layer", diff_id, error.message, lost=True)
            report.problems.append(problem)
            if repair:
                _mend_layer(paths, database, diff_id, problem)
            else:
                problem.lost = isinstance(error, DigestMismatch) and not _kept_form(paths, database, diff_id)
    for diff_id in sorted(rows - set(here)):
        problem = Problem("layer", diff_id, "its files are missing", lost=True)
        report.problems.append(problem)
        if repair:
            _mend_layer(paths, database, diff_id, problem)


def _kept_form(paths: Paths, database: Meta, diff_id: str) -> str:
    """Return the digest of stored compressed bytes from which the layer can be recreated, "" without."""
    for digest, _, _, kept in layer_rows.layer_blobs(database, diff_id):
        if kept and not blobs.check(paths, digest):
            return digest
    return ""


def _mend_layer(paths: Paths, database: Meta, diff_id: str, problem: Problem) -> None:
    """Recreate a layer from its own tar, or from stored compressed bytes; otherwise remove it as lost."""
    layer_directory = layers.directory(paths, diff_id)
    sources = [layer_directory + "/tar"]
    form = _kept_form(paths, database, diff_id)
    if form:
        sources.append(blobs.path(paths, form))
    # Opened first: the layer has to be out of the way while it is taken in again.
    files = []
    for source in sources:
        try:
            files.append(open(source, "rb"))
        except FileNotFoundError:
            continue
    layers.remove(paths, diff_id)
    try:
        for file in files:
            try:
                intake.ingest(paths, file, expected_diff_id=diff_id)
            except UnderlayError:
                continue
            problem.lost = False
            problem.repaired = True
            return
    finally:
        for file in files:
            file.close()


def _check_images(paths: Paths, database: Meta, report: CheckReport, repair: bool) -> None:
    """Report images that lack a document or a layer; with `repair` forget them, names and all."""
    for image in images.every(database):
        report.images += 1
        missing = [
            digest
            for digest in {image.id, image.manifest, *images.documents(database, image.id)}
            if not blobs.exists(paths, digest)
        ]
        essential = image.id in missing or image.manifest in missing
        missing += [diff_id for diff_id in image.diff_ids if not layers.exists(paths, diff_id)]
        if not missing:
            continue
        names = ", ".join(reference.familiar(name) for name, _, _ in images.names(database, image.id)) or image.id
        lost = essential or any(not blobs.exists(paths, d) and d in image.diff_ids for d in missing)
        problem = Problem("image", names, f"lacks {', '.join(missing)}; load or pull it again", lost=lost)
        report.problems.append(problem)
        if repair and lost:
            images.forget(database, image.id)
        elif repair:
            # An index above it: the image is whole without.
            images.forget_documents(database, image.id, missing)
            problem.repaired = True


def _check_indexes(paths: Paths, database: Meta, form: str, report: CheckReport, emit: Emit, repair: bool) -> None:
    """Make every index again and compare it with the one that is there: the same layers give the same bytes.

    In both forms; one that is not there is made when the image is run.
    """
    for image in images.every(database):
        if not all(layers.exists(paths, diff_id) for diff_id in image.diff_ids):
            continue
        for kind in (rootfs.EROFS, rootfs.TREE):
            if not os.path.exists(_index_path(paths, kind, image)):
                continue
            report.indexes += 1
            emit(Event("check.index", image.chain))
            try:
                text = _index_problem(paths, kind, image)
            except UnderlayError as error:
                text = error.message
            if text:
                problem = Problem("index", image.chain, text)
                report.problems.append(problem)
                if repair:
                    _mend_index(paths, form, image, problem)


def _check_containers(paths: Paths, database: Meta, report: CheckReport, repair: bool) -> None:
    """Report containers and volumes without their directory; with `repair` forget those containers, and give those volumes
    an empty one."""
    for row in containers.every(database):
        if not os.path.isdir(paths.container(row.id)):
            problem = Problem("container", row.name, "its files are missing", lost=True)
            report.problems.append(problem)
            if repair:
                containers.delete(database, row.id, with_volumes=False)
    for volume in volume_rows.every(database):
        directory = f"{paths.root}/volumes/{volume.name}"
        if not os.path.isdir(directory + "/_data"):
            problem = Problem("volume", volume.name, "its directory is missing", lost=True)
            report.problems.append(problem)
            if repair:
                volumes.make_directory(directory)


def _mend_index(paths: Paths, form: str, image: images.ImageRow, problem: Problem) -> None:
    """Remove both forms of a chain, and make the one in use again; the other is made when it is asked for."""
    if not rootfs.remove(paths, image.chain):
        problem.text += "; it is not replaced while a container uses it"
        return
    rootfs.prepare(paths, form, image.diff_ids)
    problem.repaired = True


def _index_path(paths: Paths, form: str, image: images.ImageRow) -> str:
    digits = digests.digits(image.chain)
    return f"{paths.trees}/{digits}" if form == rootfs.TREE else f"{paths.indexes}/{digits}.erofs"


def _index_problem(paths: Paths, form: str, image: images.ImageRow) -> str:
    if form == rootfs.TREE:
        try:
            rootfs.lower_names(paths, form, image.chain)
        except NotFound:
            return "the tree, or one below it, is missing"
        return ""
    from .rootfs import make

    if make.is_index(paths, image.diff_ids, _index_path(paths, form, image)):
        return ""
    return "the index is damaged"


def _rebuild_images(paths: Paths, database: Meta) -> int:
    """Record each image whose manifest, configuration and layers are in the store but whose row is missing."""
    count = 0
    documents = []
    indexes: list[tuple[str, set[str]]] = []
    for digest, size in blobs.every(paths):
        if size > blobs.DOCUMENT_LIMIT or blobs.check(paths, digest):
            continue
        try:
            data = blobs.read(paths, digest)
            kind = manifests.kind(document.decode(data, digest, blobs.DOCUMENT_LIMIT))
            if kind == "manifest":
                documents.append((digest, manifests.read_manifest(data, digest)))
            elif kind == "index":
                view: manifests.Index = manifests.read_index(data, digest).view
                indexes.append((digest, {descriptor.digest for descriptor in view.manifests or []}))
        except UnderlayError:
            continue
    for digest, manifest_document in documents:
        manifest: manifests.Manifest = manifest_document.view
        config_digest = manifest.config.digest
        if images.get(database, config_digest) is not None or not blobs.exists(paths, config_digest):
            continue
        if (manifest.config.media_type or mediatype.OCI_CONFIG) not in mediatype.CONFIGS:
            continue
        try:
            config: configs.Config = configs.read(blobs.read(paths, config_digest), config_digest).view
            if not all(layers.exists(paths, diff_id) for diff_id in config.diff_ids):
                continue
            parts = [Layer(diff_id, *layers.measure(paths, diff_id)) for diff_id in config.diff_ids]
        except UnderlayError:
            continue
        above = [index for index, below in indexes if digest in below]
        new = NewImage(
            config_digest,
            digest,
            config.platform(),
            config.created or "",
            parts,
            [config_digest, digest, *above],
            rootfs.chain_of(config.diff_ids),
        )
        images.record(database, [new])
        count += 1
    return count
