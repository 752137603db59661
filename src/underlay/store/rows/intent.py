"""What is recorded of a container, for the type checker: an object that JSON can hold, read by its keys."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    from ...linux.specification import Beyond, Spec

    Options = dict[str, Any]  # those of `engine.options.ContainerOptions` that were given, by their names

    class UsedImage(TypedDict):
        """The image that a container is made of: `name` as it was given, `chain` of its layers."""

        id: str
        name: str
        diff_ids: list[str]
        chain: str

    class Restart(TypedDict):
        """A restart policy: its name, and how often at most (0 for any number)."""

        name: str
        maximum: int

    class Log(TypedDict):
        """How the output is kept: `limit` of a file in bytes (0 for none), `keep` how many."""

        driver: str
        limit: int
        keep: int
        options: NotRequired[dict[str, str]]  # the others, by docker's names

    class HealthCheck(TypedDict):
        """A health check: docker's `test`, the command that it means, times in seconds, failures until it is unhealthy."""

        test: list[str]
        command: list[str]
        interval: float
        timeout: float
        start_period: float
        start_interval: float
        retries: int

    class MountPoint(TypedDict, total=False):
        """A mount as docker's inspect shows it."""

        Type: str
        Name: str
        Source: str
        Destination: str
        Driver: str
        Mode: str
        RW: bool
        Propagation: str

    class Disk(TypedDict):
        """The limit of the writable layer: bytes, and how it is kept (`engine.containers.specification.disk_limit`)."""

        size: int
        way: str
        project: NotRequired[int]

    class MachineOptions(TypedDict):
        """The machine of a container: the release of its kernel, and its architecture in the words of images."""

        kernel: str
        architecture: str

    class Publication(TypedDict):
        """A port that is to be published: fields of `network.ports.Published`."""

        port: int
        protocol: str
        address: str
        first: int
        last: int

    class Secret(TypedDict):
        """A secret: where its value is found at each start (`file` or `variable`), and the file that shows it."""

        id: str
        file: str
        variable: str
        target: str
        mode: int
        uid: int
        gid: int

    class Link(TypedDict):
        """A name for another container that only this one knows; `name` is what that was called then."""

        container: str
        name: str
        alias: str

    class OfPlugins(TypedDict):
        """A network of CNI: its name, and the addresses and the MAC ("" for any) that are asked for."""

        name: str
        addresses: list[str]
        mac: str

    class Intent(TypedDict):
        """All that was asked for. `joins` are the owners of namespaces that it is in, by kind; times are seconds."""

        name: NotRequired[str]  # as it was when the container was made
        options: Options
        spec: Spec
        extras: Beyond
        seccomp: str  # default, unconfined or custom
        image: UsedImage
        labels: dict[str, str]
        stop_signal: str
        stop_timeout: int
        restart: Restart
        remove: bool
        log: Log
        health: NotRequired[HealthCheck]
        mounts: list[MountPoint]
        image_mounts: NotRequired[dict[str, UsedImage]]  # other images that are mounted in it, by destination
        rootless: bool
        joins: dict[str, str]
        disk: Disk | None
        network: NotRequired[list[str]]  # ids
        addresses: NotRequired[
            dict[str, tuple[str, str]]
        ]  # asked for in networks, by their ids: IPv4, IPv6, "" for any
        cni: NotRequired[list[OfPlugins]]  # then `network` is empty
        ports: NotRequired[list[Publication]]
        links: NotRequired[list[Link]]
        secrets: NotRequired[list[Secret]]
        runtime: NotRequired[str]  # path of the OCI runtime that runs it instead of our driver
        machine: NotRequired[MachineOptions]  # on whose kernel it runs, instead of on this one
        runner: NotRequired[tuple[int, int]]  # pid and start time of the process that makes it and starts it at once
        joined: NotRequired[list[tuple[int, int]]]  # pid, start time: found when it starts, and not recorded
