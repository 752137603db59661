"""A build request, and a step's request to the execution driver."""

from __future__ import annotations

from ..lean.values import Record, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ..cancellation import Cancellation
    from ..oci.platform import Platform
    from ..runtime.monitor.records import StepRecord

    class Steps(Protocol):
        """What the engine does for steps."""

        @property
        def network(self) -> str:
            """What network steps have that ask for the default one: none, host, or a network's name."""

        def compose(self, step: StepRequest) -> StepRecord:
            """Return the launch record of a step, without its root (see `runtime.process.run_once`)."""

        def done(self, step: StepRequest) -> None:
            """Release what `compose` reserved for a step."""

        def close(self) -> None:
            """Take down what was made for steps."""


class Output(Value):
    """An output of a build: `kind` is image, docker, oci, tar, local or cacheonly; `destination` a path, "-" for standard
    output, "" where none is needed; `push` also pushes to the registries in its names."""

    kind: str
    destination: str = ""
    push: bool = False
    name: str = ""
    tar: bool = True


class Secret(Value):
    """A secret of the build: from the file `source`, or from the environment variable `variable`."""

    source: str = ""
    variable: str = ""


class CacheStore(Value):
    """An external build cache: `kind` is local, registry or inline (in the image itself); `location` is a directory or a
    reference. Any other kind is passed over, with a warning.

    `everything` also caches steps that do not end up in the image (mode=max). `tag` and `digest` choose among several
    caches in a directory. With `image_manifest` what is written is a manifest, else an index, as BuildKit's caches once
    were. With `ignore_error` a build does not fail because its cache cannot be written.
    """

    kind: str
    location: str = ""
    everything: bool = False
    tag: str = "latest"
    digest: str = ""
    image_manifest: bool = True
    ignore_error: bool = False


ISOLATIONS = ("", "default", "process", "machine")
ENTITLEMENTS = ("network.host", "security.insecure", "device")


class BuildRequest(Record):
    """Options of a build. Names follow `docker build`; sizes are bytes.

    `context` is a directory, "-" for standard input (a Dockerfile, or an archive of the context), or the address of a Git
    repository or of an archive. `dockerfile` is a path relative to the current directory for a local context, inside the
    context otherwise; "-" reads it from standard input.
    """

    context: str = "."
    dockerfile: str = ""
    tags: list[str] = []
    target: str = ""
    arguments: dict[str, str] = {}
    labels: dict[str, str] = {}
    annotations: list[str] = []  # "[index|manifest:]key=value"
    platforms: str | list[str] = []  # one, or several
    contexts: dict[str, str] = {}
    pull: bool = False
    no_cache: bool = False
    no_cache_filter: list[str] = []
    cache_from: list[CacheStore] = []
    cache_to: list[CacheStore] = []
    outputs: list[Output] = []
    squash: bool = False
    secrets: dict[str, Secret] = {}
    ssh: dict[str, str] = {}  # id → path of an agent's socket
    network: str = ""  # none, host, a network's name; "" is the default: a bridge for root, for others the host's
    isolation: str = ""  # of steps: process (on this kernel), machine (each on one of its own); "" is process
    kernel: str = ""  # of machines, see `machine kernel ls`; "" is the newest
    allow: list[str] = []  # of ENTITLEMENTS; "device=NAME" is for one device
    security: list[str] = []  # for all steps, as run's --security-opt
    devices: list[str] = []  # for all steps: names of CDI
    extra_hosts: list[str] = []
    shm_size: int = 0
    ulimits: list[str] = []
    limits: dict[str, Any] = {}  # memory, cpus, …: options of a container
    provenance: str = ""  # "", min or max
    sbom: str = ""  # "", spdx or cyclonedx
    epoch: int | None = None  # SOURCE_DATE_EPOCH: seconds
    cancellation: Cancellation | None = None  # by which another thread can end the build


class StepRequest(Value):
    """One program of a RUN: what it is and which mounts it wants, at `destinations` in the order in which they are made."""

    id: str
    directory: str  # for resolv.conf and hosts
    arguments: list[str]
    environment: list[str]
    working_directory: str
    platform: Platform  # whose programs it runs
    user: str
    network: str
    insecure: bool
    destinations: list[str]
    tmpfs: list[tuple[str, int]]  # path, size in bytes or 0
    devices: list[tuple[str, bool]]  # names of CDI, and whether they are required
    hostname: str = "buildkitsandbox"
