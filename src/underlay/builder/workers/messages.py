"""The jobs that a build's workers are given and their answers, for the type checker: values that MessagePack can hold."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NotRequired, TypedDict, final

    from ...runtime.monitor.records import StepRecord

    class MountJob(TypedDict):
        """An EROFS index, the files of its device table, and where it is to be mounted."""

        index: str
        files: list[str]
        point: str

    class PathJob(TypedDict):
        """A path that something is to be done with."""

        path: str

    class Status(TypedDict):
        """Attributes of a directory; seconds since the epoch."""

        mode: int
        uid: int
        gid: int
        mtime: int

    class TreeMount(TypedDict):
        """`path` in the root of `lower` directories, with `writable` above a layer that is thrown away."""

        kind: Literal["tree"]
        destination: str
        lower: list[str]
        path: str
        writable: bool

    class DirectoryMount(TypedDict):
        """The directory `path` of ours, or `inside` it."""

        kind: Literal["directory"]
        destination: str
        path: str
        inside: str
        writable: bool

    class SecretMount(TypedDict):
        """`data` as a file."""

        kind: Literal["secret"]
        destination: str
        data: bytes
        mode: int
        uid: int
        gid: int

    class AgentMount(TypedDict):
        """A `socket` of ours, which the worker makes, that leads to the agent at `path`."""

        kind: Literal["agent"]
        destination: str
        path: str
        mode: int
        uid: int
        gid: int
        socket: NotRequired[str]

    StepMount = TreeMount | DirectoryMount | SecretMount | AgentMount

    class StepJob(TypedDict):
        """A program to run; its root is made of `lower` and `upper`, with `mounts` in it."""

        record: StepRecord
        scratch: str
        lower: list[str]
        upper: str
        work: str
        userxattr: bool
        mounts: list[StepMount]

    class StepEnded(TypedDict):
        """How a program has ended; `memory` for want of it, `changed` whether it has written anything."""

        code: int
        memory: bool
        changed: bool

    class PackJob(TypedDict):
        """A directory to be made a layer; `clamp` is the latest time of its files, in seconds."""

        paths: list[str]
        upper: str
        userxattr: bool
        clamp: int | None

    class LayerMade(TypedDict):
        """A layer that is in the store now."""

        diff_id: str
        size: int
        entries: int
        content: int

    class LayerCopied(LayerMade):
        """A layer of copies; `unknown` are the owners asked for that the image does not know."""

        unknown: list[str]

    class CacheDirectoryJob(TypedDict):
        """A directory for a cache mount, filled from `source` in the root of `seed`."""

        path: str
        seed: list[str]
        source: str
        mode: int
        uid: int
        gid: int
        userxattr: bool

    class Opening(TypedDict, total=False):
        """A root to be opened: that of the layers `lower`, or else a `directory` of the host."""

        lower: list[str]
        directory: str

    class ReadJob(TypedDict):
        """A Dockerfile to be read, of `limit` bytes at most."""

        origin: Opening
        userxattr: bool
        name: str
        limit: int

    class DockerfileRead(TypedDict):
        """A Dockerfile, and the lines of its ignore file; None for what is not there."""

        data: bytes | None
        patterns: list[str] | None

    class CopyOutJob(TypedDict):
        """A root whose files are to be copied to the host directory `target`."""

        lower: list[str]
        userxattr: bool
        target: str

    class Source(TypedDict, total=False):
        """What is copied: `content` under a `name`, or what the expression `source` names in a root."""

        name: str
        content: bytes | None
        origin: Opening
        source: str
        patterns: list[str] | None
        plain: bool
        whole: bool

    class DigestJob(TypedDict):
        """Arguments of the job that computes digests of COPY and ADD sources."""

        paths: list[str]
        sources: list[Source]
        exclude: list[str]
        parents: bool
        instruction: str
        userxattr: bool

    class Digests(TypedDict):
        """The digests of sources, in their order."""

        digests: list[str]

    @final
    class Copying(TypedDict):
        """A COPY or ADD: see `copying.CopyRequest`."""

        destination: str
        workdir: str
        chown: str
        chmod: str
        exclude: list[str]
        instruction: str
        several: bool
        parents: bool
        unpack: bool

    @final
    class NewDirectory(TypedDict):
        """A directory that a WORKDIR makes."""

        directory: str
        chown: str

    class CopyJob(TypedDict):
        """A layer to be made above the root of `lower`; None for an empty one."""

        paths: list[str]
        sources: list[Source]
        lower: list[str] | None
        request: Copying | NewDirectory
        clamp: int | None
        userxattr: bool
