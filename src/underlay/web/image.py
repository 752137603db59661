"""What each tab on the page of an image shows, for images in the store, in registries and in archives."""

from __future__ import annotations

import itertools
import os
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ..base.identify.answers import BETWEEN
from ..base.identify.identify import LIKELY
from ..errors import NotFound
from ..store.layers import read_toc
from . import comparison as compare
from . import treemap
from .changes import changes_of
from .comparison import FileComparison
from .files import way_to
from .paging import Page
from .registries.remote import RemoteImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..base.identify.image_source import Subject
    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from .changes import LayerChanges
    from .files import MergedRoots

    Facts = dict[str, Any]

FILES = 500  # of a layer on one page


def _asked(image: Image | RemoteImage) -> str | Subject:
    """Return the argument with which functions of `engine.bases` are called for an image."""
    return image.subject if isinstance(image, RemoteImage) else image.id


def overview(engine: Engine, image: Image | RemoteImage) -> Facts:
    """Return the base of an image with the evidence, the chain of bases, and whether this host can run the image."""
    identified = engine.bases.identify(_asked(image))
    return {
        "identified": identified,
        "first": identified.candidates[0],
        "certainty": identified.certainty,
        "between": identified.standing == BETWEEN,
        "likely": identified.certainty >= LIKELY,
        "others": [candidate for candidate in identified.candidates[1:6] if candidate.confidence >= 0.01],
        "current": engine.bases.outdated(_asked(image), offline=True),
        "fit": engine.bases.fit(_asked(image), read=not isinstance(image, RemoteImage)),
    }


def tags(engine: Engine, image: Image) -> Facts:
    """Return the names of an image, and the other images of the same repositories."""
    from .listing import Listing

    repositories = {name.rpartition(":")[0] for name in image.tags}
    others = [
        (name, row)
        for row in Listing(engine).rows()
        for name in row.names
        if name.rpartition(":")[0] in repositories and "@" not in name
    ]
    return {"tags": image.tags, "digests": image.digests, "others": sorted(others, key=lambda pair: pair[0])}


def dockerfile(engine: Engine, image: Image | RemoteImage) -> Facts:
    """Return the reconstructed Dockerfile of an image; for each line its instruction, the rest, and the number of the
    layer that it made (0 for none)."""
    made = engine.bases.dockerfile(_asked(image))
    numbers = {diff_id: number for number, diff_id in enumerate(image.diff_ids, 1)}
    return {
        "reconstruction": made,
        "lines": [(line, *_split(line.text), numbers.get(line.layer, 0)) for line in made.lines],
    }


def _split(text: str) -> tuple[str, str]:
    """Return the keyword of a line ("" for a comment), and the rest of the line."""
    word, space, rest = text.partition(" ")
    return (word, space + rest) if word.isupper() else ("", text)


def layers(engine: Engine, image: Image | RemoteImage) -> Facts:
    """Return the layers of an image, the lowest first, each with its step, whether it is the base's, and its changes (None
    for those of an image that is not here)."""
    identified = engine.bases.identify(_asked(image))
    of_base = identified.candidates[0].layers if identified.base is not None else 0
    steps = [step for step in reversed(image.history()) if not step.empty]
    changed: list[LayerChanges] = [] if isinstance(image, RemoteImage) else changes(engine, image)
    rows = [
        {"number": number, "diff_id": diff_id, "step": step, "is_base": number <= of_base, "changes": changes}
        for number, (diff_id, step, changes) in enumerate(
            zip(image.diff_ids, steps, changed or repeat(None), strict=False), 1
        )
    ]
    sizes = [step.size for step in steps]
    return {
        "layers": rows,
        "largest": max(sizes, default=0),
        "size": sum(sizes),
        "hidden_bytes": sum(changes.hidden_bytes for changes in changed),
    }


def changes(engine: Engine, image: Image) -> list[LayerChanges]:
    """Return the changes of each layer, the lowest first. Raises NotFound, Corrupt."""
    return changes_of(read_toc(engine._store.paths, diff_id) for diff_id in image.diff_ids)


def layer(engine: Engine, image: Image, number: int, path: bytes, page: int) -> Facts:
    """Return what a layer adds, changes and removes below the directory `path`: a page of names, the largest first, and the
    areas of a drawing. Raises NotFound, Corrupt."""
    if not 1 <= number <= len(image.diff_ids):
        raise NotFound(f"the image has no layer {number}", f"it has {len(image.diff_ids)}")
    return layer_facts(changes(engine, image)[number - 1], number, path.strip(b"/"), page)


def layer_facts(changes: LayerChanges, number: int, path: bytes, page: int) -> Facts:
    """Return what `layer` returns, from the changes of the layer. Raises NotFound for a directory without changes."""
    names = treemap.below(changes.files, path)
    if path and not names:
        raise NotFound(f"layer {number} changes nothing in /{os.fsdecode(path)}")
    return {
        "number": number,
        "changes": changes,
        "path": path,
        "directories": way_to(path),
        "names": Page(names, page, FILES),
        "areas": treemap.areas(names),
        "width": treemap.WIDTH,
        "height": treemap.HEIGHT,
    }


def comparison(engine: Engine, image: Image, other: Image, roots: MergedRoots, page: int) -> Facts:
    """Return the differences between `image` and `other`: configuration, packages, and one page of the files.

    Raises NotFound, Corrupt.
    """
    compared = FileComparison(roots.of(image), image.diff_ids, roots.of(other), other.diff_ids)
    files = list(compared.differences())
    pairs = zip(image.diff_ids, other.diff_ids, strict=False)
    return {
        "other": other,
        "common": sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)),
        "files": Page(files, page, FILES),
        "is_whole": compared.is_whole,
        "packages": compare.packages(engine, image, other),
        "configuration": compare.configuration(image.config, other.config),
    }


def packages(engine: Engine, image: Image) -> Facts:
    """Return the packages of an image, as its bill of materials (CycloneDX) has them, sorted by name."""
    bill = engine.bases.bill(image.id)
    rows = [each for each in bill.get("components") or [] if each.get("type") == "library"]
    return {"packages": sorted(rows, key=lambda each: (each["name"], each.get("version", "")))}


def vulnerabilities(engine: Engine, image: Image) -> Facts:
    """Return the vulnerabilities of an image, the most severe first. Raises NotFound without advisories."""
    return {"exposure": engine.bases.vulnerabilities(image.id)}


def config(engine: Engine, image: Image | RemoteImage) -> Facts:
    """Return the configuration of an image (OCI image configuration)."""
    return {"config": image.config}


def history(engine: Engine, image: Image | RemoteImage) -> Facts:
    """Return the history of an image, the newest step first."""
    return {"steps": image.history()}


# The tabs in their order: what stands in the address, and the title.
TABS = {
    **{"overview": "Overview", "tags": "Tags", "dockerfile": "Dockerfile", "layers": "Layers", "files": "Files"},
    **{"packages": "Packages", "vulnerabilities": "Vulnerabilities", "config": "Config", "history": "History"},
    "compare": "Compare",
}
# The functions that make the content of a tab, also for images that are not in the store.
ANYWHERE: dict[str, Callable[[Engine, Image | RemoteImage], Facts]] = {
    **{"overview": overview, "dockerfile": dockerfile, "layers": layers, "config": config, "history": history},
}
# The same with the tabs for images in the store. Files and Compare are missing: they need more than the image.
FACTS: dict[str, Callable[[Engine, Image], Facts]] = {
    **ANYWHERE,
    **{"tags": tags, "packages": packages, "vulnerabilities": vulnerabilities},
}


def addresses(image_id: str) -> dict[str, str]:
    """Return the addresses of the tabs of an image that is here, and of its Dockerfile as a file ("download")."""
    page = f"/image/{image_id.partition(':')[2]}"
    tabs = {word: page if word == "overview" else f"{page}/{word}" for word in TABS}
    return {**tabs, "download": f"{page}/Dockerfile"}
