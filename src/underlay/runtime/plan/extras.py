"""What is asked for beyond the OCI specification."""

from __future__ import annotations


class Extras:
    """What an engine, or the command line of a runtime, asks for beyond the OCI specification.

    `user` is a name to look up in the root, or None to take `process.user` as numbers; `groups` names of more groups;
    `init` keeps process 1 ours; `soft_sysctls` are set where the kernel has them; `copy_up` are mount destinations whose
    new, empty volume is filled from the image, `subpaths` by mount destination what of the source is bound. `secrets` are
    (target, mode, uid, gid) of files whose contents the monitor has. `waits` lets the process wait to be started, alone,
    without a monitor; `hooks` names the kinds of hooks there are; `pivot` and `keyring` may be turned off; `base` is the
    bundle; `landlock` are rules as `linux.landlock.parse` returns them.
    """

    __slots__ = (
        "base",
        "copy_up",
        "groups",
        "hooks",
        "init",
        "keyring",
        "landlock",
        "pivot",
        "secrets",
        "soft_sysctls",
        "subpaths",
        "user",
        "waits",
    )

    def __init__(
        self,
        user: str | None = None,
        groups: list[str] | None = None,
        init: bool = False,
        soft_sysctls: dict[str, str] | None = None,
        copy_up: list[str] | None = None,
        subpaths: dict[str, str] | None = None,
        waits: bool = False,
        hooks: list[str] | None = None,
        pivot: bool = True,
        keyring: bool = True,
        base: str = "",
        landlock: list[list[str]] | None = None,
        secrets: list[tuple[str, int, int, int]] | None = None,
    ) -> None:
        self.user = user
        self.groups = groups or []
        self.init = init
        self.soft_sysctls = soft_sysctls or {}
        self.copy_up = copy_up or []
        self.secrets = secrets or []
        self.subpaths = subpaths or {}
        self.waits = waits
        self.hooks = hooks or []
        self.pivot = pivot
        self.keyring = keyring
        self.base = base
        self.landlock = landlock or []
