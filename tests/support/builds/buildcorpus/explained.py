"""What differs between our images and those of others, and why that is right: each rule fits one such thing narrowly."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from trees import Difference, Facts

from .cases import Case


@dataclass(frozen=True)
class Layer:
    """Where a difference shows first: what made the layer, the tree below it, the trees with it. Paths begin with /."""

    case: Case
    instruction: str
    before: Facts
    ours: Facts
    theirs: Facts

    @property
    def copies(self) -> bool:
        return self.instruction.startswith(("COPY ", "ADD ", "WORKDIR "))


def _directory_time(difference: Difference, layer: Layer) -> bool:
    path = difference.place[1:]
    there = layer.ours.get(path, {}).get("kind") == layer.theirs.get(path, {}).get("kind") == "dir"
    return there and difference.what == "mtime"


def _unchanged(difference: Difference, layer: Layer) -> bool:
    was = layer.before.get(difference.place[1:])
    return was is not None and was["mtime"] == difference.ours


def written_into(difference: Difference, layer: Layer) -> bool:
    """A directory that was there gets new members: with docker the kernel gives it the time of that.

    Our COPY, ADD and WORKDIR leave its time alone: a layer then depends on what is copied and not on when.
    """
    moved = _directory_time(difference, layer) and layer.copies and difference.theirs == "now"
    return moved and _unchanged(difference, layer)


def stubs(difference: Difference, layer: Layer) -> bool:
    """Places for mounts that are not in the image (/etc/hosts, /etc/resolv.conf, targets of --mount) are made, and removed
    afterwards: the directory around them has the time of that with docker; we give it back its own."""
    ran = _directory_time(difference, layer) and layer.instruction.startswith("RUN ")
    known = difference.place in ("/etc", *layer.case.stubs)
    return ran and known and difference.theirs == "now" and _unchanged(difference, layer)


def stubs_alone(layer: Layer, members: set[str]) -> set[str]:
    """Return the directories that docker's layer holds for the reason of `stubs` alone; `members` are ours."""
    if not layer.instruction.startswith("RUN "):
        return set()
    return {place[1:] for place in ("/etc", *layer.case.stubs)} - members


def capabilities_of_contexts(difference: Difference, layer: Layer) -> bool:
    """BuildKit takes over the attributes of a context's files, but then changes their owner, by which the kernel takes
    security.capability away. We keep it, as we keep that of files of stages."""
    if difference.what != "xattrs" or not layer.instruction.startswith("COPY f "):
        return False
    return bool(difference.theirs == tuple(pair for pair in difference.ours if pair[0] != "security.capability"))


def owners_of_unpacked(difference: Difference, layer: Layer) -> bool:
    """ADD --chown of an archive: BuildKit has taken the owners from the archive nevertheless until 2026; since then, as
    with us, what is unpacked belongs to who is named."""
    chown = re.match(r"ADD --chown=", layer.instruction) is not None
    return chown and difference.what == "owner" and difference.ours == (1000, 2000)


def modes_of_made_directories(difference: Difference, layer: Layer) -> bool:
    """COPY --chmod: until BuildKit 0.21 the directories made for what is copied were 755; since then they have the mode."""
    mode = re.match(r"(?:COPY|ADD) (?:--chown=\S+ )?--chmod=0?(\d+) ", layer.instruction)
    new = difference.what == "mode" and difference.place[1:] not in layer.before
    return new and mode is not None and (difference.ours, difference.theirs) == (f"0o{mode[1]}", "0o755")


IN_DOCKERS_TREES: tuple[Callable[[Difference, Layer], bool], ...] = (
    written_into,
    stubs,
    capabilities_of_contexts,
    owners_of_unpacked,
    modes_of_made_directories,
)


# Configurations
# ---------------------------------------------------------------------------------------------------------


def clean_working_directory(difference: Difference) -> bool:
    """BuildKit before 0.14 keeps the slashes of WORKDIR as they are written; later ones clean paths, as we do."""
    if difference.what not in ("WorkingDir", "created_by") or not isinstance(difference.theirs, str):
        return False
    path = difference.theirs.removeprefix("WORKDIR ")
    clean = difference.theirs.removesuffix(path) + (re.sub("/+", "/", path).rstrip("/") or "/")
    return path.startswith("/") and path != "/" and clean == difference.ours


def worth_of_arguments(difference: Difference) -> bool:
    """BuildKit before 0.14 tells an ARG in the history as it is written; later ones as it is worth, as we do."""
    ours, theirs = str(difference.ours).split("="), str(difference.theirs).split("=")
    return difference.what == "created_by" and ours[0].startswith("ARG ") and ours[0] == theirs[0]


def arguments_of_stages(difference: Difference) -> bool:
    """BuildKit before 0.14 tells a RUN without the arguments that the stage below has declared; later ones with them."""
    ours, theirs = str(difference.ours), str(difference.theirs)
    if difference.what != "created_by" or not re.match(r"RUN \|\d+ ", ours) or re.match(r"RUN \|\d+ ", theirs):
        return False
    return ours.endswith(theirs.removeprefix("RUN"))


IN_DOCKERS_CONFIGURATIONS: tuple[Callable[[Difference], bool], ...] = (
    clean_working_directory,
    worth_of_arguments,
    arguments_of_stages,
)


# Buildah
# ---------------------------------------------------------------------------------------------------------


def no_setuid_from_contexts(difference: Difference, layer: Layer) -> bool:
    """Buildah takes set-user-ID bits away from what is copied from a context; docker and we keep them."""
    if difference.what != "mode" or layer.ours.get(difference.place[1:], {}).get("kind") != "file":
        return False
    return int(difference.ours, 8) & ~0o6000 == int(difference.theirs, 8)


def times_of_directories(difference: Difference, layer: Layer) -> bool:
    """Buildah gives no directory a time that it writes into or copies; ours have their own or that of the original."""
    kept = difference.ours in (0, layer.case.past)
    return _directory_time(difference, layer) and difference.theirs == "now" and kept


def places_of_mounts(difference: Difference, layer: Layer) -> bool:
    """Buildah leaves in the image what it has made for RUN to mount on."""
    left = difference.place in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run")
    return left and difference.ours is None and difference.theirs["size"] == 0


IN_BUILDAHS_TREES: tuple[Callable[[Difference, Layer], bool], ...] = (
    no_setuid_from_contexts,
    times_of_directories,
    places_of_mounts,
)


def arguments_escaped(difference: Difference) -> bool:
    """Buildah does not say ArgsEscaped, which BuildKit and we say with every CMD; it means nothing on Linux."""
    return difference.what == "ArgsEscaped" and difference.ours is True


IN_BUILDAHS_CONFIGURATIONS: tuple[Callable[[Difference], bool], ...] = (arguments_escaped,)
