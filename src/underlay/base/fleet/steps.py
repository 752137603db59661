"""What to do first about the bases of a fleet: steps, ranked by how many images each of them mends."""

from __future__ import annotations

import msgspec

from .policy import NEAR, NOTHING, PAST, Standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNKNOWN = "unknown"  # the base of images of which none is known
_WEIGHTS = {"critical": 20.0, "high": 5.0, "medium": 1.0, "low": 0.2}


class Step(msgspec.Struct, frozen=True):
    """Something to do: `text`, about `images`, of which `mends` are better for it; among those that mend as many, the one
    of the higher `weight` (of the fixes that it brings, by severity) comes first."""

    text: str
    images: tuple[str, ...]
    mends: int
    weight: float


def steps(images: Sequence[Standing]) -> list[Step]:
    """Return what to do about images, what mends most first.

    A base that is among the images is rebuilt or moved once for all that stand on it, so these have no step of their own
    for what its rebuild brings them.
    """
    found: list[Step] = []
    covered: set[str] = set()
    for base, above in _own_bases(images):
        step = _for_own_base(base, above, covered)
        if step is not None:
            found.append(step)
            covered.update(step.images)
    groups: dict[str, list[Standing]] = {}
    for image in images:
        if image.image not in covered:
            groups.setdefault(image.base or UNKNOWN, []).append(image)
    for name, group in groups.items():
        found += _for_nothing(group) if name == NOTHING else _for_group(name, group)
    return sorted(found, key=lambda step: (-step.mends, -step.weight, step.text))


def _own_bases(images: Sequence[Standing]) -> list[tuple[Standing, list[Standing]]]:
    """Return the images that others stand on, each with these; a base comes before what stands on it."""
    named = {image.image: image for image in images}
    above: dict[str, list[Standing]] = {}
    for image in images:
        for link in dict.fromkeys((image.base, *image.chain)):
            if link in named and link != image.image:
                above.setdefault(link, []).append(image)
    ordered = sorted((named[name] for name in above), key=_depth)
    return [(base, sorted(above[base.image], key=_depth)) for base in ordered]


def _depth(image: Standing) -> tuple[int, str]:
    """Return what sorts images so that a base comes before what stands on it."""
    return len(image.chain), image.image


def _for_own_base(base: Standing, above: Sequence[Standing], covered: set[str]) -> Step | None:
    """Return what to do about a base of the fleet's own, if anything that comes before is not enough."""
    under = base.base or UNKNOWN
    if under == UNKNOWN or base.image in covered:
        return None
    if base.life == PAST and under == NOTHING:
        text = _replace(base)
    elif base.life == PAST:
        text = f"move {base.image} off {under}, for which no more fixes come since {base.ends}"
    elif base.outdated:
        text = f"rebuild or rebase {base.image} on today's {under}"
    elif under == NOTHING and base.vulnerabilities and any(base.vulnerabilities.fixable.values()):
        text = f"rebuild {base.image} with updated packages: fixes are out that it does not have"
    elif under != NOTHING and _weight([base]):
        text = f"rebuild {base.image} with updated packages, or on a newer {under}: fixes are out that it does not have"
    else:
        return None
    names = tuple(dict.fromkeys((base.image, *(image.image for image in above if image.image not in covered))))
    return Step(f"{text}; then rebuild what stands on it", names, len(names), _weight([base, *above]))


def _for_nothing(group: Iterable[Standing]) -> list[Step]:
    return [Step(_replace(each), (each.image,), 1, 0) for each in group if each.life == PAST]


def _replace(image: Standing) -> str:
    return f"replace {image.image}: {image.distribution} is past its end of life since {image.ends}"


def _for_group(name: str, group: Sequence[Standing]) -> list[Step]:
    """Return what to do about the images on one base."""
    images = tuple(image.image for image in group)
    if name == UNKNOWN:
        return [Step("find out what these stand on, and write it down", images, 0, float(len(images)))]
    found = []
    if group[0].life == PAST:
        text = f"leave {name}: no more fixes come for it since {group[0].ends}"
        return [Step(text, images, len(images), _weight(group))]
    if group[0].life == NEAR:
        found.append(Step(f"plan to leave {name}: its support ends on {group[0].ends}", images, 0, len(images) + 0.5))
    old = [image for image in group if image.outdated]
    if old:
        fixes = _weight(old)
        text = f"rebuild or rebase on today's {name}" + (" (it brings fixes)" if fixes else "")
        found.append(Step(text, tuple(image.image for image in old), len(old), fixes))
    hit = [image for image in group if not image.outdated and _weight([image])]
    if hit:
        text = f"ask for a newer {name}, or update its packages: fixes are out that it does not have"
        found.append(Step(text, tuple(image.image for image in hit), len(hit), _weight(hit)))
    return found


def _weight(group: Iterable[Standing]) -> float:
    """Return how much the fixes weigh that are out for what comes with the bases of images."""
    return sum(
        _WEIGHTS.get(severity, 0.0) * count
        for image in group
        if image.vulnerabilities
        for severity, count in image.vulnerabilities.fixable_from_base.items()
    )
