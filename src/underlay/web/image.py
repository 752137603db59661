"""One image: the facts of each tab of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.identify.answers import BETWEEN
from ..base.identify.identify import LIKELY
from ..errors import NotFound
from ..store.layers import read_toc
from . import changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.engine import Engine
    from ..engine.images.handle import Image

    Facts = dict[str, Any]


FILES = 500  # of a layer on one page


def overview(engine: Engine, image: Image) -> Facts:
    """What it stands on, with the evidence and the chain down to scratch; whether it fits this host."""
    identified = engine.bases.identify(image.id)
    return {
        "identified": identified,
        "first": identified.candidates[0],
        "certainty": identified.certainty,
        "between": identified.standing == BETWEEN,
        "likely": identified.certainty >= LIKELY,
        "others": [candidate for candidate in identified.candidates[1:6] if candidate.confidence >= 0.01],
        "current": engine.bases.outdated(image.id, offline=True),
        "fit": engine.bases.fit(image.id),
        "inspected": image.inspect(),
    }


def tags(engine: Engine, image: Image) -> Facts:
    """Its names, and what else is there under the names of their repositories."""
    from .listing import Listing

    repositories = {name.rpartition(":")[0] for name in image.tags}
    others = [
        (name, row)
        for row in Listing(engine).rows()
        for name in row.names
        if name.rpartition(":")[0] in repositories and "@" not in name
    ]
    return {"tags": image.tags, "digests": image.digests, "others": sorted(others, key=lambda pair: pair[0])}


def dockerfile(engine: Engine, image: Image) -> Facts:
    """The Dockerfile that would build it, a line for each instruction, and the steps of the base below."""
    made = engine.bases.dockerfile(image.id)
    numbers = {diff_id: number for number, diff_id in enumerate(image.diff_ids, 1)}
    return {
        "reconstruction": made,
        "lines": [(line, *_words(line.text), numbers.get(line.layer, 0)) for line in made.lines],
    }


def _words(text: str) -> tuple[str, str]:
    """Return an instruction and the rest of its line."""
    word, space, rest = text.partition(" ")
    return (word, space + rest) if word.isupper() else ("", text)


def layers(engine: Engine, image: Image) -> Facts:
    """Its layers from below, with their bytes and whose they are."""
    identified = engine.bases.identify(image.id)
    of_base = identified.candidates[0].layers if identified.base is not None else 0
    steps = [step for step in reversed(image.history()) if not step.empty]
    changed = _changes(engine, image)
    rows = [
        {"number": number, "diff_id": diff_id, "step": step, "base": number <= of_base, "changed": changed[number - 1]}
        for number, (diff_id, step) in enumerate(zip(image.diff_ids, steps, strict=False), 1)
    ]
    return {
        "layers": rows,
        "largest": max((step.size for step in steps), default=0),
        "wasted": sum(layer.wasted for layer in changed),
        "whole": sum(step.size for step in steps),
    }


def _changes(engine: Engine, image: Image) -> list[changes.LayerChanges]:
    """Raises NotFound, Corrupt."""
    return changes.of_layers(read_toc(engine._store.paths, diff_id) for diff_id in image.diff_ids)


def layer(engine: Engine, image: Image, number: int, page: int) -> Facts:
    """What one layer adds, changes and removes, the largest files first. Raises NotFound."""
    if not 1 <= number <= len(image.diff_ids):
        raise NotFound(f"the image has no layer {number}", f"it has {len(image.diff_ids)}")
    made = _changes(engine, image)[number - 1]
    ordered = sorted(made.changes, key=lambda change: (-change.size, change.path))
    return {
        "number": number,
        "made": made,
        "shown": ordered[(page - 1) * FILES : page * FILES],
        "page": page,
        "pages": max(1, -(-len(ordered) // FILES)),
    }


def packages(engine: Engine, image: Image) -> Facts:
    """The packages that are installed in it."""
    bill = engine.bases.bill(image.id)
    rows = [each for each in bill.get("components") or [] if each.get("type") == "library"]
    return {"packages": sorted(rows, key=lambda each: (each["name"], each.get("version", "")))}


def vulnerabilities(engine: Engine, image: Image) -> Facts:
    """What is known to be vulnerable in it, the worst first."""
    return {"exposure": engine.bases.vulnerabilities(image.id)}


def config(engine: Engine, image: Image) -> Facts:
    """Its configuration document."""
    return {"config": image.config}


def history(engine: Engine, image: Image) -> Facts:
    """Its steps, the newest first."""
    return {"steps": image.history()}


# The words of addresses, in the order of the tabs. That of files looks at a path, too.
TABS = {
    **{"overview": "Overview", "tags": "Tags", "dockerfile": "Dockerfile", "layers": "Layers", "files": "Files"},
    **{"packages": "Packages", "vulnerabilities": "Vulnerabilities", "config": "Config", "history": "History"},
}
FACTS: dict[str, Callable[[Engine, Image], Facts]] = {
    **{"overview": overview, "tags": tags, "dockerfile": dockerfile, "layers": layers, "packages": packages},
    **{"vulnerabilities": vulnerabilities, "config": config, "history": history},
}
