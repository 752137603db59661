"""Networks of CNI: configuration lists in files, and the plugins that attach containers to them (CNI specification 1.0).

Plugins are programs of the host. Nothing here is imported unless a container asks for such a network.
"""

from __future__ import annotations

import os
import stat

from .. import files
from ..errors import Conflict, InvalidInput, NotFound, UnderlayError, Unsupported
from ..lean.jsontext import dumps, loads
from ..lean.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypedDict

    Document = dict[str, Any]

    class Attachment(TypedDict):
        """One interface of a container that plugins have made, or begun to make: what undoing it takes.

        `runtime` are values of capabilities by their names; `result` is that of ADD, None until it has ended.
        """

        configuration: Document
        interface: str
        runtime: Document
        result: Document | None

    class Record(TypedDict):
        """What a container has of networks of CNI. `path` are the directories of plugins, separated by colons."""

        container: str
        namespace: str
        path: str
        attachments: list[Attachment]


_DIRECTORY = "/etc/cni/net.d"
_PATH = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni"
_ENDINGS = (".conflist", ".conf", ".json")  # of libcni
_FILE_LIMIT = 1 << 20  # bytes of a configuration, and of what a plugin says
_PATIENCE = 120  # seconds for a plugin
_OLD = ("0.1.0", "0.2.0")  # versions whose results are of another form
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Configuration(Value):
    """A network: its name, the file that it is in, and the list of plugins there as the document that it is."""

    name: str
    file: str
    document: dict[str, Any] = {}

    @property
    def plugins(self) -> Sequence[Document]:
        """The plugins, in the order in which they attach a container."""
        plugins: Sequence[Document] = self.document["plugins"]
        return plugins

    def offers(self, capability: str) -> bool:
        """Return whether a plugin takes values of a capability, such as portMappings."""
        return any((plugin.get("capabilities") or {}).get(capability) for plugin in self.plugins)


def directory() -> str:
    """Return the directory of configurations: /etc/cni/net.d, or NETCONFPATH."""
    return os.environ.get("NETCONFPATH") or _DIRECTORY


def search_path() -> str:
    """Return the directories of plugins, separated by colons: CNI_PATH, or the usual ones."""
    return os.environ.get("CNI_PATH") or _PATH


def configurations() -> tuple[list[Configuration], list[str]]:
    """Return the networks that files configure, by name, and a line for each file that cannot be used.

    Of several with one name the first counts, in the order of the files' names.
    """
    found: dict[str, Configuration] = {}
    problems = []
    try:
        names = sorted(os.listdir(directory()))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    for name in names:
        if name.endswith(_ENDINGS):
            try:
                made = _read(f"{directory()}/{name}")
            except UnderlayError as error:
                problems.append(error.message)
            except OSError as error:
                problems.append(f"{directory()}/{name}: {os.strerror(error.errno or 5).lower()}")
            else:
                found.setdefault(made.name, made)
    return [found[name] for name in sorted(found)], problems


def find(name: str) -> Configuration:
    """Return the network of a name. Raises NotFound."""
    found, problems = configurations()
    for configuration in found:
        if configuration.name == name:
            return configuration
    hint = "; ".join(problems) or f"`underlay network ls` lists those that files in {directory()} configure"
    raise NotFound(f"network cni:{name} not found", hint)


def _read(path: str) -> Configuration:
    try:
        document = loads(files.read_bytes(path, _FILE_LIMIT))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: not a JSON object")
    if not path.endswith(".conflist") and "plugins" not in document:
        # A single plugin, as files had it before version 1.0.
        outer = {key: document[key] for key in ("cniVersion", "name") if key in document}
        document = {**outer, "plugins": [document]}
    name, plugins = document.get("name"), document.get("plugins")
    if not isinstance(name, str) or not name or name[0] not in _LETTERS or not _LETTERS.union("_.-").issuperset(name):
        raise InvalidInput(f"{path}: name: letters, digits, and _ . - after the first are wanted")
    if not isinstance(plugins, list) or not plugins:
        raise InvalidInput(f"{path}: plugins: a list of plugins is wanted")
    for number, plugin in enumerate(plugins):
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not kind or "/" in kind or kind in (".", ".."):
            raise InvalidInput(f"{path}: plugins[{number}].type: the name of a plugin is wanted")
        if not isinstance(plugin.get("capabilities") or {}, dict):
            raise InvalidInput(f"{path}: plugins[{number}].capabilities: an object is wanted")
    version = document.get("cniVersion")
    if not isinstance(version, str) or version in _OLD:
        raise Unsupported(f"{path}: cniVersion {version!r} is not supported", "0.3.0 and newer are")
    return Configuration(name, path, document)


def check(configuration: Configuration) -> None:
    """Raise NotFound if a plugin of a network is not installed."""
    for plugin in configuration.plugins:
        _executable(plugin["type"], search_path())


def _executable(kind: str, path: str) -> str:
    for place in path.split(":"):
        candidate = f"{place}/{kind}"
        try:
            if place and stat.S_ISREG(os.stat(candidate).st_mode) and os.access(candidate, os.X_OK):
                return candidate
        except OSError:
            continue
    raise NotFound(
        f"the CNI plugin {kind} is not installed: there is none in {path}", "install containernetworking-plugins"
    )


# Attaching and detaching


def attach(
    record_file: str, container_id: str, namespace: str, wanted: Sequence[tuple[Configuration, str, Document]]
) -> list[Document]:
    """Attach a container to networks: configuration, name of the interface, values of capabilities of each.

    `namespace` is the file of its network namespace. Returns the plugins' results. What is done, or begun, stands in the
    file `record_file`, so that `detach` can undo it whatever becomes of this process. Raises NotFound, Conflict.
    """
    record: Record = {"container": container_id, "namespace": namespace, "path": search_path(), "attachments": []}
    results: list[Document] = []
    for configuration, interface, runtime in wanted:
        attachment: Attachment = {
            "configuration": configuration.document,
            "interface": interface,
            "runtime": runtime,
            "result": None,
        }
        record["attachments"].append(attachment)
        files.write_atomic(record_file, dumps(record).encode())
        result: Document | None = None
        for plugin in configuration.plugins:
            result = _invoke("ADD", record, attachment, plugin, result) or result
        attachment["result"] = result = result or {}
        results.append(result)
    files.write_atomic(record_file, dumps(record).encode())
    return results


def detach(record_file: str) -> list[str]:
    """Detach a container from what `record_file` says, and remove that file; harmless without one.

    Returns a line for each plugin that failed: then the file stays, and it can be tried again.
    """
    record = read_record(record_file)
    if record is None:
        return []
    problems = []
    for attachment in reversed(record["attachments"]):
        for plugin in reversed(attachment["configuration"]["plugins"]):
            try:
                _invoke("DEL", record, attachment, plugin, attachment["result"])
            except UnderlayError as error:
                problems.append(error.message)
    if not problems:
        os.unlink(record_file)
    return problems


def read_record(record_file: str) -> Record | None:
    """Return what a container has of networks of CNI; None for nothing."""
    try:
        record: Record = loads(files.read_bytes(record_file, 16 * _FILE_LIMIT))  # type: ignore[assignment]
    except FileNotFoundError:
        return None
    return record


def _invoke(
    command: str, record: Record, attachment: Attachment, plugin: Document, previous: Document | None
) -> Document | None:
    """Run one plugin; returns its result, None without one. Raises NotFound, Conflict with what it says."""
    import subprocess

    configuration = attachment["configuration"]
    name, kind = configuration["name"], plugin["type"]
    given = {key: value for key, value in plugin.items() if key != "capabilities"}
    offered = plugin.get("capabilities") or {}
    runtime = {key: value for key, value in attachment["runtime"].items() if offered.get(key)}
    given |= {"cniVersion": configuration["cniVersion"], "name": name}
    if runtime:
        given["runtimeConfig"] = runtime
    if previous is not None:
        given["prevResult"] = previous
    namespace = record["namespace"]
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": record["container"],
        # One that is gone, after a reboot, is not named: then plugins give back what they hold besides.
        "CNI_NETNS": namespace if command == "ADD" or os.path.exists(namespace) else "",
        "CNI_IFNAME": attachment["interface"],
        "CNI_PATH": record["path"],
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    what = f"network cni:{name}: plugin {kind}: {command}"
    try:
        done = subprocess.run(
            [_executable(kind, record["path"])],
            env=environment,
            input=dumps(given).encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Conflict(f"{what}: it took longer than {_PATIENCE} s and was killed") from None
    except OSError as error:
        raise Conflict(f"{what}: cannot execute it: {os.strerror(error.errno or 5).lower()}") from None
    answer: object = None
    try:
        answer = loads(done.stdout[:_FILE_LIMIT]) if done.stdout.strip() else None
    except (ValueError, RecursionError):
        pass
    if done.returncode:
        said = ""
        if isinstance(answer, dict):
            said = ": ".join(str(answer[key]) for key in ("msg", "details") if answer.get(key))
        raise Conflict(f"{what}: {said or done.stderr[-2000:].decode(errors='replace').strip() or 'failed'}")
    return answer if isinstance(answer, dict) else None


# Results


class Result(Value):
    """What plugins say of a container's interface: addresses (with prefix and gateway), MAC, and lines of resolv.conf."""

    addresses: Sequence[tuple[str, int, str]] = ()
    mac: str = ""
    resolver: Sequence[str] = ()


def understood(result: Document, interface: str) -> Result:
    """Return what a result says of the interface of a container (CNI specification, "ADD Success")."""
    interfaces = [item for item in result.get("interfaces") or [] if isinstance(item, dict)]
    macs = [item.get("mac") for item in interfaces if item.get("name") == interface and item.get("sandbox")]
    addresses = []
    for item in result.get("ips") or []:
        index = item.get("interface")
        if isinstance(index, int) and 0 <= index < len(interfaces) and interfaces[index].get("name") != interface:
            continue
        address, _, prefix = str(item.get("address", "")).partition("/")
        addresses.append((address, int(prefix) if prefix.isdecimal() else 0, str(item.get("gateway") or "")))
    dns = result.get("dns") or {}
    lines = [f"nameserver {server}" for server in dns.get("nameservers") or []]
    search = [*(dns.get("search") or []), *([dns["domain"]] if dns.get("domain") and not dns.get("search") else [])]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(dns['options'])}"] if dns.get("options") else []
    return Result(addresses, str(macs[0] or "") if macs else "", lines)
