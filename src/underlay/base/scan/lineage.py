"""Which images of a scan stand on others of it, by their layers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def nearest(images: Mapping[int, Sequence[str]]) -> dict[int, list[int]]:
    """Return what images stand on: each image's number leads to those whose layers are the longest proper beginning of its
    own, several if these have the same layers. `images` are diff ids by number, lowest first."""
    holding: dict[tuple[str, ...], list[int]] = {}
    for number, layers in images.items():
        holding.setdefault(tuple(layers), []).append(number)
    found = {}
    for layers, numbers in holding.items():
        below = next(
            (holding[layers[:count]] for count in range(len(layers) - 1, 0, -1) if layers[:count] in holding), None
        )
        if below is not None:
            found.update(dict.fromkeys(numbers, below))
    return found
