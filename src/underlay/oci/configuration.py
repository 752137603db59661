"""An image configuration as it is written, for the type checker: an object that is read by its keys (config.md).

Any member may be missing or null, as docker writes them; `oci.config` has the checked view of one that comes in.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Health(TypedDict, total=False):
        """Docker's HEALTHCHECK; times in nanoseconds."""

        Test: list[str]
        Interval: int
        Timeout: int
        StartPeriod: int
        StartInterval: int
        Retries: int

    class Execution(TypedDict, total=False):
        """What to run and how: the member `config`."""

        User: str | None
        ExposedPorts: dict[str, dict[str, object]] | None
        Env: list[str] | None
        Entrypoint: list[str] | None
        Cmd: list[str] | None
        Volumes: dict[str, dict[str, object]] | None
        WorkingDir: str | None
        Labels: dict[str, str] | None
        StopSignal: str | None
        StopTimeout: int | None
        Healthcheck: Health | None
        OnBuild: list[str] | None
        Shell: list[str] | None
        ArgsEscaped: bool | None

    class Step(TypedDict, total=False):
        """An entry of `history`."""

        created: str | None
        created_by: str | None
        author: str | None
        comment: str | None
        empty_layer: bool | None

    class RootFS(TypedDict):
        """The layers by diff id, lowest first."""

        type: str
        diff_ids: list[str]

    # A whole configuration: two of its members are no words of the language.
    Configuration = TypedDict(
        "Configuration",
        {
            "architecture": str,
            "variant": str,
            "moby.buildkit.cache.v0": str,
            "os": str,
            "os.version": str,
            "os.features": list[str],
            "author": str | None,
            "created": str | None,
            "comment": str | None,
            "config": Execution | None,
            "rootfs": RootFS,
            "history": list[Step] | None,
        },
        total=False,
    )
