"""What is asked of a group: the OCI object read with its JSON paths, and its values set all together or not at all.

A version turns `linux.resources` into settings: values for control files. The kernel refuses some for the moment only (a
limit of memory above that of memory and swap, a period that makes the quota too much): those are tried again after the
rest, so nothing here knows of orders. What is refused for good puts everything back.
"""

from __future__ import annotations

from ...errors import InvalidInput, KernelError, Unsupported
from . import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..specification import Resources

    DirectoryOf = Callable[[str, str], str]  # (controller, JSON path) → directory; raises Unsupported
    Undo = list[tuple[str, str]]  # (file, value) in the order of writing

_EINVAL = 22
_PAGE = 4096
# All of `linux.resources` (runtime specification 1.2, config-linux, "Control groups"); "*" takes any name.
_FIELDS = {
    "memory": "limit reservation swap kernel kernelTCP swappiness disableOOMKiller useHierarchy checkBeforeUpdate",
    "cpu": "shares quota burst period realtimeRuntime realtimePeriod cpus mems idle",
    "pids": "limit",
    "blockIO": "weight leafWeight weightDevice throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice "
    "throttleWriteIOPSDevice",
    "hugepageLimits": "",
    "network": "classID priorities",
    "rdma": "*",
    "unified": "*",
    "devices": "",
}


class Section:
    """An object of the resources: `where` is its JSON path. Values that are missing or null are None, or empty."""

    __slots__ = ("_values", "where")

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise InvalidInput(f"{where} is not an object")
        self._values = values
        self.where = where

    def path(self, name: str) -> str:
        """Return the JSON path of a field."""
        return f"{self.where}.{name}"

    def names(self) -> list[str]:
        """Return the names of all fields that hold something."""
        return [name for name, value in self._values.items() if value not in (None, {}, [])]

    def section(self, name: str) -> Section:
        """Return an object below; an empty one when there is none."""
        return Section(self._values.get(name) or {}, self.path(name))

    def items(self, name: str) -> list[Section]:
        """Return the objects of a list."""
        values = self._values.get(name) or []
        if not isinstance(values, list):
            raise InvalidInput(f"{self.path(name)} is not a list")
        return [Section(value, f"{self.path(name)}[{number}]") for number, value in enumerate(values)]

    def number(self, name: str, low: int = -1, high: int = (1 << 64) - 1) -> int | None:
        """Return a whole number from `low` to `high`; raises InvalidInput for anything else."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidInput(f"{self.path(name)} is not a whole number")
        if not low <= value <= high:
            raise InvalidInput(f"{self.path(name)}: {value} is not in the range from {low} to {high}")
        return value

    def required(self, name: str) -> int:
        """Return a number from 0 on that has to be there."""
        value = self.number(name, 0)
        if value is None:
            raise InvalidInput(f"{self.path(name)} is missing")
        return value

    def text(self, name: str) -> str:
        """Return a text of one line or more, "" when it is missing."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"{self.path(name)} is not a string")
        return value or ""

    def flag(self, name: str) -> bool | None:
        """Return a truth value."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidInput(f"{self.path(name)} is neither true nor false")
        return value


class Setting:
    """A value for a control file: `where` it was asked for, and `undo`, which makes of the file's text what puts it back.

    `verify`: kernels are known that take this value and do nothing with it.
    """

    __slots__ = ("path", "undo", "value", "verify", "where")

    def __init__(
        self,
        path: str,
        value: object,
        where: str,
        undo: Callable[[str], str] = str.strip,
        verify: bool = False,
    ) -> None:
        self.path = path
        self.value = str(value)
        self.where = where
        self.undo = undo
        self.verify = verify


def read(resources: Resources) -> Section:
    """Return the resources to read from; raises Unsupported with the JSON path of a field that no specification has."""
    root = Section(resources, "linux.resources")
    for kind in root.names():
        if kind not in _FIELDS:
            raise Unsupported(f"{root.path(kind)} is not known")
        fields = _FIELDS[kind].split()
        if fields and fields != ["*"]:
            section = root.section(kind)
            for name in section.names():
                if name not in fields:
                    raise Unsupported(f"{section.path(name)} is not known")
    return root


def limits_something(value: object) -> bool:
    """Return whether a part of the resources asks for anything: 0, -1, false and emptiness ask for nothing."""
    if isinstance(value, dict):
        return any(limits_something(item) for item in value.values())
    return value not in (None, False, 0, -1, "", [], ())


def line_of(key: str, reset: str) -> Callable[[str], str]:
    """Return the undo of a line in a file of lines by key: the key's line as it is, or `reset`, which takes it away."""

    def undo(text: str) -> str:
        for line in text.splitlines():
            if line.split(maxsplit=1)[:1] == [key]:
                return line
        return reset

    return undo


def put(settings: list[Setting], new: bool = False) -> Undo:
    """Write all settings; returns what `put_back` takes. Raises KernelError, Unsupported when one is refused.

    In a `new` group nothing is read first: there is nothing to be put back, it goes as a whole.
    """
    undo: Undo = []
    waiting = settings
    try:
        while waiting:
            left: list[Setting] = []
            problem: KernelError | None = None
            for setting in waiting:
                before = "" if new else setting.undo(common.read(setting.path))
                try:
                    common.write(setting.path, setting.value)
                except KernelError as error:
                    error.hint = f"asked for by {setting.where}"
                    if error.errno != _EINVAL:
                        raise
                    problem = problem or error
                    left.append(setting)
                    continue
                if not new:
                    undo.append((setting.path, before))
                if setting.verify and common.integer(setting.path) // _PAGE != int(setting.value) // _PAGE:
                    raise Unsupported(f"{setting.where} is not supported: this kernel takes the value and ignores it")
            if problem is not None and len(left) == len(waiting):
                raise problem
            waiting = left
    except BaseException:
        put_back(undo)
        raise
    return undo


def put_back(undo: Undo) -> None:
    """Take back what `put` has written, the last first; what the kernel does not take back stays."""
    for path, value in reversed(undo):
        try:
            common.write(path, value or "\n")  # an empty list (cpuset) is a line without anything
        except KernelError:
            pass


def file(directory: str, name: str, where: str) -> str:
    """Return the path of a control file; raises Unsupported when this kernel does not have it."""
    path = f"{directory}/{name}"
    if not common.exists(path):
        raise Unsupported(f"{where} is not supported: this kernel has no {name}")
    return path


def check_usage(memory: Section, usage_file: str) -> None:
    """With `checkBeforeUpdate`, raise Conflict when a limit is not above what is used (as runc does, on any version)."""
    from ...errors import Conflict

    if not memory.flag("checkBeforeUpdate"):
        return
    usage = common.integer(usage_file)
    for name in ("limit", "swap"):
        limit = memory.number(name) or 0
        if 0 < limit <= usage:
            raise Conflict(f"{memory.path(name)}: {limit} bytes are not more than the {usage} bytes in use")


def devices_of(block: Section, name: str) -> list[tuple[str, Section]]:
    """Return (major:minor, entry) of a list of block devices; raises InvalidInput."""
    return [(f"{entry.required('major')}:{entry.required('minor')}", entry) for entry in block.items(name)]


def rdma_settings(root: Section, directory_of: DirectoryOf) -> list[Setting]:
    """Return the settings of `rdma`, which is the same file in both versions (kernel: admin-guide, "rdma")."""
    settings = []
    rdma = root.section("rdma")
    for name in rdma.names():
        device = rdma.section(name)
        words = []
        for field, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            count = device.number(field, 0, (1 << 32) - 1)
            if count is not None:
                words.append(f"{key}={count}")
        if not words:
            raise InvalidInput(f"{device.where} has neither hcaHandles nor hcaObjects")
        if set(device.names()) - {"hcaHandles", "hcaObjects"}:
            raise Unsupported(f"{device.where} has fields that are not known")
        path = file(directory_of("rdma", device.where), "rdma.max", device.where)
        value = f"{name} {' '.join(words)}"
        settings.append(Setting(path, value, device.where, line_of(name, f"{name} hca_handle=max hca_object=max")))
    return settings


def pids_settings(pids: Section, directory_of: DirectoryOf) -> list[Setting]:
    """Return the setting of `pids.limit`, the same file in both versions."""
    limit = pids.number("limit")
    if limit is None:
        return []
    # 0 is "no limit" in the specification until 1.2, and what podman means by it (runc issue 4014); -1 always was.
    value = limit if limit > 0 else "max"
    return [Setting(directory_of("pids", pids.path("limit")) + "/pids.max", value, pids.path("limit"))]


def hugepage_settings(root: Section, directory_of: DirectoryOf, suffix: str, reserved: str) -> list[Setting]:
    """Return the settings of `hugepageLimits`: usage (`suffix`), and reservations (`reserved`) where they are counted."""
    settings = []
    for entry in root.items("hugepageLimits"):
        size, limit = entry.text("pageSize"), entry.required("limit")
        where = entry.path("pageSize")
        if not size or not size.isalnum():
            raise InvalidInput(f"{where} is not a page size")
        directory = directory_of("hugetlb", where)
        settings.append(Setting(file(directory, f"hugetlb.{size}.{suffix}", where), limit, entry.path("limit")))
        if common.exists(f"{directory}/hugetlb.{size}.{reserved}"):
            settings.append(Setting(f"{directory}/hugetlb.{size}.{reserved}", limit, entry.path("limit")))
    return settings
