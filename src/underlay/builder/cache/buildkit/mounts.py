"""The mounts of a RUN as they are in BuildKit's key of it (client/llb/exec.go, dockerfile2llb/convert_runmount.go)."""

from __future__ import annotations

from . import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....dockerfile.mounts import Mount
    from .keys import Copied, Key, Links

    _Entry = dict[str, object]
    # The source of a bind mount: the key of what it is in, None for the context, and what it is; None if that is not known.
    Source = Callable[[Mount], tuple[Key | None, Copied] | None]

_SECRET, _CACHE, _TMPFS = 1, 3, 4
_ROOT: _Entry = {"input": 0, "dest": "/", "output": 0}


class _Input:
    """An input beside the root: its key, None for the context, and what mounts show of it."""

    def __init__(self, key: Key | None) -> None:
        self.key = key
        self.sources: list[Copied] = []

    def links(self) -> Links:
        if self.key is None:
            return (keys.held(self.sources),)
        return ((keys.selector(*(source.path for source in self.sources)), self.key),)


def described(
    mounts: Sequence[tuple[str, Mount]], namespace: str, below: Key, source: Source
) -> tuple[list[list[_Entry]], list[Links]] | None:
    """Return the mounts, each given with its place, in the forms that they may have, and the inputs that the step reads:
    the root `below`, and those of mounts.

    None for those that we do not know BuildKit's form of: agents, secrets in variables, caches that begin with something.
    `namespace` is that of caches.
    """
    root: Links = ((keys.selector("/"), below),)
    if not mounts:
        return [], [root]
    if len({place for place, _ in mounts}) != len(mounts):
        return None
    entries: list[_Entry] = [_ROOT]
    secrets: list[_Entry] = []
    inputs: list[_Input] = []
    # Secrets come last, as they are written; the others by their places.
    for place, mount in sorted(mounts, key=lambda pair: "" if pair[1].kind == "secret" else pair[0]):
        if mount.target != place and (mount.target.startswith("/") or mount.kind == "secret"):
            return None  # BuildKit has it as it is written
        if mount.kind == "bind":
            found = source(mount)
            number = _number(inputs, below, *found) if found is not None else 0
            if not number:
                return None
            entries.append({**_mounted(place, mount.read_only), "input": number})
        elif mount.kind == "cache":
            if mount.from_ or mount.source or (mount.uid, mount.gid, mount.mode) != (None, None, None):
                return None
            entries.append(_cache(place, mount, namespace))
        elif mount.kind == "tmpfs":
            size = {"size": mount.size} if mount.size else {}
            entries.append({**_mounted(place, mount.read_only), "mountType": _TMPFS, "TmpfsOpt": size})
        elif mount.kind == "secret" and mount.env is None:
            secrets.append(_secret(place, mount))
        else:
            return None
    forms = [[*entries, *secrets]]
    if secrets:
        # BuildKit 0.13 takes each secret for something of the root that is read; later ones do not.
        root = (*root, (keys.selector(*["/"] * (len(secrets) + 1)), below))
        forms.append([*entries, *({**secret, "input": -1} for secret in secrets)])
    # Zero is left out since BuildKit 0.17.
    forms += [[{name: value for name, value in entry.items() if value != 0} for entry in form] for form in forms]
    return forms, [root, *(one.links() for one in inputs)]


def _mounted(place: str, read_only: bool) -> _Entry:
    return {"input": -1, "dest": place, "output": -1, **({"readonly": True} if read_only else {})}


def _number(inputs: list[_Input], below: Key, key: Key | None, source: Copied) -> int:
    """Return the number of the input with a key, which now shows this source, too; 0, the root's, where it may be another
    one's as well: the same operation, perhaps above other files."""
    if key is not None and (not key.digests or key.digests == below.digests):
        return 0
    for number, one in enumerate(inputs, 1):
        if one.key is key:
            one.sources.append(source)
            return number
        if key is not None and one.key is not None and one.key.digests == key.digests:
            return 0
    inputs.append(_Input(key))
    inputs[-1].sources.append(source)
    return len(inputs)


def _cache(place: str, mount: Mount, namespace: str) -> _Entry:
    # Of caches only the usual one is named in keys: that of its place, used together.
    name = f"{namespace}/{mount.id}"
    usual = mount.sharing == "shared" and place in (name, name.partition("/")[2])
    return {**_mounted(place, mount.read_only), "mountType": _CACHE, "cacheOpt": {"ID": name} if usual else {}}


def _secret(place: str, mount: Mount) -> _Entry:
    options: dict[str, object] = {"ID": mount.id, "uid": mount.uid, "gid": mount.gid, "mode": mount.mode}
    options = {name: value for name, value in options.items() if value}
    if not mount.required:
        options["optional"] = True
    return {"input": 0, "dest": place, "output": 0, "mountType": _SECRET, "secretOpt": options}
