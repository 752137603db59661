"""Random names for containers that are given none: a stone and a landscape, since all that runs stands on something."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "ancient basaltic bright calm chalky clear cloudy coastal crystal deep dusty early flinty folded foggy frosty "
    "gentle glacial golden grainy granitic green high hollow humble icy iron jagged layered lofty lone lucid marbled "
    "mossy muddy northern old pale patient pebbly polar porous quiet rising rocky rugged rusty sandy silent silty "
    "slaty sloping smooth solid southern steady steep stony stratified sturdy sunken sunlit terraced tidal upland "
    "veined warm weathered western wide wild windy young"
).split()
_NOUNS = (
    "alcove andesite arch atoll badland basalt basin bay beach bedrock bluff boulder butte canyon cape cavern chalk "
    "cliff cobble coast copse cove crag crater creek delta dolomite dune escarp esker field fjord flint ford fossil "
    "gabbro garnet geode geyser glacier glen gneiss gorge granite gravel grotto gully gypsum harbor heath hill inlet "
    "island isthmus knoll lagoon lake ledge limestone loam loess marble marsh meadow mesa moor moraine obsidian pass "
    "peak pebble plateau pond prairie pumice quarry quartz ravine reef ridge river sandstone scree shale shelf shoal "
    "slate spring steppe strand summit terrace tor tundra valley"
).split()


def random_name() -> str:
    """Return a name such as `mossy_granite`; some 7,000 differ, so the caller must handle a name that is taken."""
    number = int.from_bytes(os.urandom(4), "little")
    adjective, noun = number % len(_ADJECTIVES), number // len(_ADJECTIVES) % len(_NOUNS)
    return f"{_ADJECTIVES[adjective]}_{_NOUNS[noun]}"
