"""The flags that `run` and `create` share, and how they become options."""

from __future__ import annotations

from ...errors import InvalidInput
from . import limitflags, trustflag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import Flag, Options

COMMON: tuple[Flag, ...] = (
    *limitflags.FLAGS,
    trustflag.FLAG,
    ("add-host", "", "list", "list", "Add a custom host-to-IP mapping (host:ip)"),
    ("annotation", "", "list", "map", "Add an annotation to the container"),
    ("attach", "a", "list", "list", "Attach to STDIN, STDOUT or STDERR"),
    ("cap-add", "", "list", "list", "Add Linux capabilities"),
    ("cap-drop", "", "list", "list", "Drop Linux capabilities"),
    ("cgroupns", "", "string", "string", "Cgroup namespace to use (host|private)"),
    ("cidfile", "", "string", "string", "Write the container ID to the file"),
    (
        "device",
        "",
        "list",
        "list",
        "Add a host device to the container, by its path or its name in CDI (vendor.com/class=name)",
    ),
    ("dns", "", "list", "list", "Set custom DNS servers"),
    ("dns-opt", "", "list", "list", "Same as --dns-option"),
    ("dns-option", "", "list", "list", "Set DNS options"),
    ("dns-search", "", "list", "list", "Set custom DNS search domains"),
    ("domainname", "", "string", "string", "Container NIS domain name"),
    ("entrypoint", "", "string", "string", "Overwrite the default ENTRYPOINT of the image"),
    ("env", "e", "list", "list", "Set environment variables"),
    ("env-file", "", "list", "list", "Read in a file of environment variables"),
    ("gpus", "", "string", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    ("group-add", "", "list", "list", "Add additional groups to join"),
    ("health-cmd", "", "string", "string", "Command to run to check health"),
    ("health-interval", "", "string", "duration", "Time between running the check (ms|s|m|h)"),
    ("health-retries", "", "int", "int", "Consecutive failures needed to report unhealthy"),
    ("health-start-interval", "", "string", "duration", "Time between running the check during the start period"),
    ("health-start-period", "", "string", "duration", "Start period before failures count (ms|s|m|h)"),
    ("health-timeout", "", "string", "duration", "Maximum time to allow one check to run (ms|s|m|h)"),
    ("hostname", "h", "string", "string", "Container host name"),
    ("init", "", "bool", "", "Run an init inside the container that forwards signals and reaps processes"),
    ("interactive", "i", "bool", "", "Keep STDIN open even if not attached"),
    ("ipc", "", "string", "string", "IPC mode to use (private|shareable|host|none|container:NAME)"),
    (
        "isolation",
        "",
        "string",
        "string",
        "Whose kernel it runs on (process: this host's; machine: one of its own; auto)",
    ),
    ("label", "l", "list", "list", "Set meta data on a container"),
    ("label-file", "", "list", "list", "Read in a line delimited file of labels"),
    ("log-driver", "", "string", "string", "Logging driver: local, json-file, journald, syslog or none"),
    ("log-opt", "", "list", "list", "Log driver options (max-size, max-file, compress, mode, tag, labels, env, …)"),
    ("mount", "", "list", "mount", "Attach a filesystem mount to the container"),
    ("name", "", "string", "string", "Assign a name to the container"),
    ("ip", "", "string", "string", "IPv4 address (e.g., 172.30.100.104)"),
    ("ip6", "", "string", "string", "IPv6 address (e.g., 2001:db8::33)"),
    ("link", "", "list", "list", "Add link to another container (NAME[:ALIAS])"),
    ("mac-address", "", "string", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    ("network", "", "list", "network", "Connect a container to a network: none, host, container:NAME or a name"),
    ("net", "", "list", "network", "Connect a container to a network: none, host, container:NAME or a name"),
    ("network-alias", "", "list", "list", "Add network-scoped alias for the container"),
    ("expose", "", "list", "list", "Expose a port or a range of ports"),
    ("publish", "p", "list", "list", "Publish a container's port(s) to the host"),
    ("publish-all", "P", "bool", "", "Publish all exposed ports to random ports"),
    ("no-healthcheck", "", "bool", "", "Disable any container-specified HEALTHCHECK"),
    ("oom-score-adj", "", "int", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    ("pid", "", "string", "string", "PID namespace to use (host|container:NAME)"),
    ("platform", "", "string", "string", "Set platform if the image is multi-platform"),
    ("privileged", "", "bool", "", "Give extended privileges to this container"),
    ("pull", "", "string", "string", 'Pull image before running ("always", "missing", "never")'),
    ("quiet", "q", "bool", "", "Suppress the pull output"),
    ("read-only", "", "bool", "", "Mount the container's root filesystem as read only"),
    ("rm", "", "bool", "", "Automatically remove the container when it exits"),
    ("kernel", "", "string", "string", "Kernel of a container with --isolation machine, see `machine kernel ls`"),
    ("runtime", "", "string", "string", "Runtime to use for this container (underlay's own driver, or an OCI runtime)"),
    ("secret", "", "list", "list", "Secret to show as a file (id=mysecret,src=FILE|env=NAME[,target=…][,mode=…])"),
    ("security-opt", "", "list", "list", "Security options"),
    ("shm-size", "", "string", "bytes", "Size of /dev/shm"),
    ("stop-signal", "", "string", "string", "Signal to stop the container"),
    ("stop-timeout", "", "int", "int", "Timeout (in seconds) to stop a container"),
    ("storage-opt", "", "list", "list", "Storage driver options for the container (size=)"),
    ("sysctl", "", "list", "map", "Sysctl options"),
    ("tmpfs", "", "list", "list", "Mount a tmpfs directory"),
    ("tty", "t", "bool", "", "Allocate a pseudo-TTY"),
    ("ulimit", "", "list", "ulimit", "Ulimit options"),
    ("user", "u", "string", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("userns", "", "string", "string", "User namespace to use (auto|host|keep-id|container:NAME)"),
    ("uts", "", "string", "string", "UTS namespace to use (host|container:NAME)"),
    ("volume", "v", "list", "list", "Bind mount a volume"),
    ("volume-driver", "", "string", "string", "Volume driver for the container (local)"),
    ("volumes-from", "", "list", "list", "Mount volumes from the specified container(s) (NAME[:ro|rw])"),
    ("workdir", "w", "string", "string", "Working directory inside the container"),
)

# Flag → option, where the value is taken as it is.
_PLAIN = {
    **limitflags.PLAIN,
    "add-host": "extra_hosts",
    "cap-add": "cap_add",
    "cap-drop": "cap_drop",
    "cgroupns": "cgroupns",
    "device": "devices",
    "dns": "dns",
    "dns-option": "dns_options",
    "dns-search": "dns_search",
    "domainname": "domainname",
    "expose": "expose",
    "gpus": "gpus",
    "runtime": "runtime",
    "group-add": "groups",
    "health-cmd": "health_cmd",
    "health-retries": "health_retries",
    "hostname": "hostname",
    "init": "init",
    "interactive": "interactive",
    "ip": "ip",
    "ip6": "ip6",
    "ipc": "ipc",
    "isolation": "isolation",
    "kernel": "kernel",
    "link": "links",
    "log-driver": "log_driver",
    "mac-address": "mac_address",
    "mount": "mounts",
    "name": "name",
    "network-alias": "network_aliases",
    "no-healthcheck": "no_healthcheck",
    "oom-score-adj": "oom_score_adj",
    "pid": "pid",
    "platform": "platform",
    "privileged": "privileged",
    "publish": "publish",
    "publish-all": "publish_all",
    "pull": "pull",
    "read-only": "read_only",
    "rm": "remove",
    "secret": "secrets",
    "security-opt": "security",
    "stop-signal": "stop_signal",
    "stop-timeout": "stop_timeout",
    "tmpfs": "tmpfs",
    "tty": "terminal",
    "ulimit": "ulimits",
    "user": "user",
    "userns": "userns",
    "uts": "uts",
    "volume": "volumes",
    "volume-driver": "volume_driver",
    "volumes-from": "volumes_from",
    "workdir": "working_directory",
}
_DURATIONS = ("health-interval", "health-timeout", "health-start-period", "health-start-interval")
_SIZES = {**limitflags.SIZES, "shm-size": "shm_size"}


def container_options_of(options: Options, arguments: list[str]) -> dict[str, Any]:
    """Return the options of a container as keywords for ContainerOptions; raises UsageError, InvalidInput."""
    container_options: dict[str, Any] = {"image": arguments[0]}
    if arguments[1:]:
        container_options["command"] = arguments[1:]
    limitflags.check(options)
    container_options |= limitflags.options_of(options, _PLAIN, _SIZES)
    networks = options["network"] + options["net"]
    if networks:
        container_options["network"] = networks[0]
    if networks[1:]:
        container_options["networks"] = networks[1:]
    if options["dns-opt"]:
        container_options["dns_options"] = options["dns-option"] + options["dns-opt"]
    trustflag.check(options)
    if "entrypoint" in options:
        # A string, not a shell line; the empty one takes the image's entrypoint away.
        container_options["entrypoint"] = [options["entrypoint"]] if options["entrypoint"] else []
    environment = environment_of(options)
    if environment:
        container_options["environment"] = environment
    labels = [line for path in options["label-file"] for line in _environment_file(path)] + options["label"]
    for name, words in (("labels", labels), ("annotations", options["annotation"])):
        if words:
            container_options[name] = pairs(words)
    for flag in _DURATIONS:
        if options[flag]:
            container_options[flag.replace("-", "_")] = _seconds(flag, options[flag])
    if options["storage-opt"]:
        if not all("=" in text for text in options["storage-opt"]):
            raise InvalidInput("invalid storage option")
        container_options["storage_options"] = pairs(options["storage-opt"])
    for name, flag in (("sysctls", "sysctl"), ("log_options", "log-opt")):
        if options[flag]:
            for text in options[flag]:
                if "=" not in text:
                    raise InvalidInput(f'invalid argument "{text}" for "--{flag}" flag: name=value is needed')
            container_options[name] = pairs(options[flag])
    return container_options


def _seconds(flag: str, text: str) -> float:
    from ...human import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError:
        raise InvalidInput(
            f'invalid argument "{text}" for "--{flag}" flag: time: invalid duration "{text}"',
            "a duration is like 30s or 1m30s",
        ) from None
    if seconds < 0:
        raise InvalidInput(f"--{flag} cannot be negative")
    return seconds


def environment_of(options: Options) -> list[str]:
    """Return the words of --env-file and --env, in the order in which later ones win."""
    lines = [line for path in options["env-file"] for line in _environment_file(path)]
    return lines + [_with_host_value(text) for text in options["env"]]


def pairs(words: list[str]) -> dict[str, str]:
    """Return `name=value` words as a dict; a word without `=` has the empty value."""
    values = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name:
            raise InvalidInput(f"invalid name=value pair: {word!r}")
        values[name] = value
    return values


def _with_host_value(text: str) -> str:
    """Return `NAME=value`; a bare NAME takes the value it has here, or stays bare (which unsets the image's)."""
    import os

    if "=" in text:
        return text
    value = os.environ.get(text)
    return text if value is None else f"{text}={value}"


def _environment_file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read(16 << 20).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"open {path}: {getattr(error, 'strerror', None) or error}") from None
    variables = []
    for number, line in enumerate(lines, 1):
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        name = text.partition("=")[0]
        if not name or any(c.isspace() for c in name):
            raise InvalidInput(f"{path}:{number}: variable '{name}' contains whitespaces or is empty")
        filled = _with_host_value(text)
        if "=" in filled:
            variables.append(filled)
    return variables


def detach_keys(text: str, terminal: bool) -> bytes:
    """Return the bytes of a --detach-keys value; the default, ctrl-p ctrl-q, holds for terminals only."""
    from ...runtime.monitor import attachment

    if not text:
        return attachment.DEFAULT_KEYS if terminal else b""
    return attachment.detach_keys(text)
