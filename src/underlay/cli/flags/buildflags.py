"""The flags of `build`, and the request that they make."""

from __future__ import annotations

import os

from ...errors import UsageError
from ...human import parse_size
from . import limitflags, trustflag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...builder.request import BuildRequest, CacheStore, Output, Secret
    from . import Flag, Options

FLAGS: tuple[Flag, ...] = (
    trustflag.FLAG,
    ("add-host", "", "list", "list", "Add a custom host-to-IP mapping (format: host:ip)"),
    (
        "allow",
        "",
        "list",
        "list",
        "Allow extra privileged entitlement (network.host, security.insecure, device[=NAME])",
    ),
    ("annotation", "", "list", "list", "Add annotation to the image"),
    ("attest", "", "list", "list", "Attestation parameters (format: type=sbom or type=provenance,mode=max)"),
    ("build-arg", "", "list", "list", "Set build-time variables"),
    ("build-context", "", "list", "list", "Additional build contexts (e.g., name=path)"),
    ("builder", "", "string", "string", "The builder to use: there is one, default"),
    ("cache-from", "", "list", "list", "External cache sources (e.g., user/app:cache, type=local,src=path/to/dir)"),
    (
        "cache-to",
        "",
        "list",
        "list",
        "Cache export destinations (e.g., user/app:cache, type=local,dest=DIR, type=inline)",
    ),
    (
        "call",
        "",
        "string",
        "string",
        "What to do: build, check, outline or targets; the last three with ,format=json for programs (default build)",
    ),
    ("cgroup-parent", "", "string", "string", "Set the parent cgroup for the RUN instructions during build"),
    ("check", "", "bool", "", "Check the Dockerfile against docker's build checks, without building"),
    ("compress", "", "bool", "", "Compress the build context (nothing is sent: there is no daemon)"),
    ("cpu-period", "", "int", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-shares", "c", "int", "int", "CPU shares (relative weight)"),
    ("cpuset-cpus", "", "string", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("debug", "D", "bool", "", "Print a traceback when an error occurs"),
    ("device", "", "list", "list", "Give a device to the RUN instructions, by its name in CDI (vendor.com/class=name)"),
    ("file", "f", "string", "string", "Name of the Dockerfile (default: PATH/Dockerfile)"),
    ("force-rm", "", "bool", "", "Always remove intermediate containers (none are created)"),
    ("iidfile", "", "string", "string", "Write the image ID to a file"),
    ("isolation", "", "string", "string", "Isolation of RUN instructions: process or machine (a kernel of their own)"),
    ("kernel", "", "string", "string", "Kernel of --isolation machine, see `machine kernel ls`"),
    ("label", "", "list", "list", "Set metadata for an image"),
    ("load", "", "bool", "", "Shorthand for --output=type=docker (the same as type=image)"),
    ("memory", "m", "string", "bytes", "Memory limit for build container"),
    ("memory-swap", "", "string", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    ("metadata-file", "", "string", "string", "Write build result metadata to a file"),
    (
        "network",
        "",
        "string",
        "string",
        "Networking for the RUN instructions during build: none, host or a network's name (default: the same as for run)",
    ),
    ("no-cache", "", "bool", "", "Do not use cache when building the image"),
    ("no-cache-filter", "", "list", "list", "Do not cache specified stages"),
    ("output", "o", "list", "list", "Output destination (format: type=local,dest=path)"),
    ("platform", "", "list", "list", "Set target platform for build"),
    ("progress", "", "string", "string", "Progress output: auto, plain, tty, json or quiet (default auto)"),
    ("provenance", "", "optional", "string", "Shorthand for --attest=type=provenance"),
    ("pull", "", "bool", "", "Always attempt to pull all referenced images"),
    ("push", "", "bool", "", "Shorthand for --output=type=registry"),
    ("quiet", "q", "bool", "", "Suppress the build output and print image ID on success"),
    ("rm", "", "bool", "", "Remove intermediate containers after a successful build (none are created)"),
    ("sbom", "", "optional", "string", "Shorthand for --attest=type=sbom"),
    ("secret", "", "list", "list", "Secret to expose to the build (format: id=mysecret[,src=/local/secret])"),
    ("security-opt", "", "list", "list", "Security options of the RUN instructions, as those of run"),
    ("shm-size", "", "string", "bytes", "Shared memory size for build containers"),
    ("squash", "", "bool", "", "Squash newly built layers into a single new layer"),
    ("ssh", "", "list", "list", "SSH agent socket to expose to the build (format: default|<id>[=<socket>])"),
    ("tag", "t", "list", "list", "Name and optionally a tag (format: name:tag)"),
    ("target", "", "string", "string", "Set the target build stage to build"),
    ("ulimit", "", "list", "ulimit", "Ulimit options"),
)
BUILDER = "default"
# What clients take for: what is built is in the store without being loaded into it.
DRIVER = "docker"
_LIMITS = {
    "cgroup-parent": "cgroup_parent",
    "cpu-period": "cpu_period",
    "cpu-quota": "cpu_quota",
    "cpu-shares": "cpu_shares",
    "cpuset-cpus": "cpuset_cpus",
    "cpuset-mems": "cpuset_mems",
}
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


BUILDER_FLAG: Flag = ("builder", "", "string", "string", "Override the configured builder instance")


def check_builder(options: Options) -> None:
    """Raise UsageError when the options name another builder than the one that there is."""
    named_builder(options["builder"])


def named_builder(name: str) -> None:
    """Raise UsageError for the name of another builder than the one that there is; "" is no name."""
    if name not in ("", BUILDER):
        raise UsageError(f'no builder "{name}" found', f"there is one, {BUILDER}")


def request_of(options: Options, arguments: list[str]) -> BuildRequest:
    """Return the request of a command line; raises UsageError, InvalidInput."""
    from ...builder.request import ISOLATIONS, BuildRequest

    check_builder(options)
    if options["isolation"] not in ISOLATIONS:
        raise UsageError(f"isolation {options['isolation']!r} is not supported", "process or machine, or leave it out")
    trustflag.check(options)
    request = BuildRequest(
        context=arguments[0],
        dockerfile=options["file"],
        tags=options["tag"],
        target=options["target"],
        arguments=_arguments(options["build-arg"]),
        labels=dict(_pair(text, "--label") for text in options["label"]),
        annotations=options["annotation"],
        platforms=options["platform"],
        contexts=dict(_pair(text, "--build-context", True) for text in options["build-context"]),
        pull=options["pull"],
        no_cache=options["no-cache"],
        no_cache_filter=[stage for text in options["no-cache-filter"] for stage in text.split(",")],
        cache_from=[_cache(text, "--cache-from") for text in options["cache-from"]],
        cache_to=[_cache(text, "--cache-to") for text in options["cache-to"]],
        outputs=[_output(text) for text in options["output"]],
        squash=options["squash"],
        secrets=dict(_secret(text) for text in options["secret"]),
        ssh=dict(_agent(text) for text in options["ssh"]),
        network=options["network"],
        isolation=options["isolation"],
        kernel=options["kernel"],
        allow=[entitlement for text in options["allow"] for entitlement in text.split(",")],
        security=options["security-opt"],
        devices=options["device"],
        extra_hosts=options["add-host"],
        shm_size=_size(options["shm-size"], "--shm-size"),
        ulimits=options["ulimit"],
        limits=limitflags.options_of(options, _LIMITS, {"memory": "memory", "memory-swap": "memory_swap"}),
    )
    if options["push"]:
        request.outputs.append(_output("type=registry"))
    if request.arguments.get("BUILDKIT_INLINE_CACHE") in _TRUE:
        request.cache_to.append(_cache("type=inline", "--cache-to"))
    _attestations(request, options)
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch and "SOURCE_DATE_EPOCH" not in request.arguments:
        request.arguments["SOURCE_DATE_EPOCH"] = epoch
    return request


def _arguments(texts: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f'invalid argument "{text}" for "--build-arg" flag: it has no name')
        if equals:
            values[name] = value
        elif name in os.environ:
            values[name] = os.environ[name]
    return values


def _pair(text: str, flag: str, needed: bool = False) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or (needed and not (equals and value)):
        raise UsageError(f'invalid argument "{text}" for "{flag}" flag: expected name=value')
    return name, value


def _size(text: str, flag: str) -> int:
    try:
        return parse_size(text) if text else 0
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "{flag}" flag: {error}') from None


def _fields(text: str, flag: str, known: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of `key=value,key=value` (CSV); raises UsageError for an unknown one."""
    import csv

    try:
        (words,) = csv.reader([text], strict=True)
    except (ValueError, csv.Error):
        raise UsageError(f'invalid argument "{text}" for "{flag}" flag') from None
    fields = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key.lower() not in known:
            raise UsageError(
                f'invalid argument "{text}" for "{flag}" flag: unexpected {word!r}', f"known: {', '.join(known)}"
            )
        fields[key.lower()] = value
    return fields


def _output(text: str) -> Output:
    from ...builder.request import Output

    if "=" not in text:
        # A bare word is a directory, or "-" for an archive on standard output (docker build, "--output").
        return Output("tar" if text == "-" else "local", text)
    fields = _fields(text, "--output", ("type", "dest", "name", "push", "tar"))
    kind, destination = fields.get("type", ""), fields.get("dest", "")
    if kind not in ("image", "registry", "docker", "oci", "tar", "local", "cacheonly"):
        raise UsageError(f'invalid argument "{text}" for "--output" flag: unknown type {kind!r}')
    if kind == "local" and not destination:
        raise UsageError("--output type=local needs dest=DIRECTORY")
    if kind in ("tar", "oci") and not destination:
        destination = "-"
    push = kind == "registry" or fields.get("push", "") in _TRUE
    if fields.get("push", "false") not in (*_TRUE, *_FALSE):
        raise UsageError(f"--output: invalid value for push: {fields['push']}")
    return Output(
        "image" if kind == "registry" else kind,
        destination,
        push,
        fields.get("name", ""),
        fields.get("tar", "true") not in _FALSE,
    )


def _secret(text: str) -> tuple[str, Secret]:
    from ...builder.request import Secret

    fields = _fields(text, "--secret", ("id", "src", "source", "env", "type"))
    name = fields.get("id", "")
    source, variable = fields.get("src", fields.get("source", "")), fields.get("env", "")
    if not name:
        raise UsageError(f"--secret {text}: it has no id")
    kind = fields.get("type", "")
    if kind not in ("", "file", "env"):
        raise UsageError(f"--secret {text}: unsupported secret type {kind!r}", "file or env")
    if kind == "env" and not variable:
        source, variable = "", source or name
    if not source and not variable:
        if name in os.environ:
            variable = name
        else:
            source = name
    return name, Secret(source, variable)


def _agent(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if path and os.path.isfile(path):
        raise UsageError(
            f"--ssh {text}: keys in files are not read",
            "load it into an agent with ssh-add, and give the agent's socket",
        )
    return name or "default", path


_CACHES = {
    "--cache-from": ("type", "ref", "src", "tag", "digest"),
    "--cache-to": ("type", "ref", "dest", "tag", "mode", "image-manifest", "ignore-error", "compression"),
}


def _cache(text: str, flag: str) -> CacheStore:
    from ...builder.request import CacheStore

    if "=" not in text:
        return CacheStore("registry", text)
    kind = next((word[5:] for word in text.lower().split(",") if word.startswith("type=")), "registry")
    if kind not in ("local", "registry", "inline"):
        return CacheStore(kind, text)  # one that others have: the build goes on without it
    fields = _fields(text, flag, _CACHES[flag])
    path_field = "src" if flag == "--cache-from" else "dest"
    where = fields.get(path_field if kind == "local" else "ref", "")
    if not where and kind != "inline":
        raise UsageError(f"{flag} {text}: {path_field if kind == 'local' else 'ref'} is missing")
    if fields.get("mode", "min") not in ("min", "max"):
        raise UsageError(f"{flag} {text}: unknown mode {fields['mode']!r}", "min or max")
    if fields.get("compression", "gzip") != "gzip":
        raise UsageError(f"{flag} {text}: compression {fields['compression']!r} is not supported", "gzip")
    return CacheStore(
        kind,
        where,
        fields.get("mode") == "max",
        fields.get("tag", "latest"),
        fields.get("digest", ""),
        _truth(fields, "image-manifest", True, flag),
        _truth(fields, "ignore-error", False, flag),
    )


def _truth(fields: dict[str, str], name: str, default: bool, flag: str) -> bool:
    value = fields.get(name)
    if value is not None and value not in (*_TRUE, *_FALSE):
        raise UsageError(f"{flag}: invalid value for {name}: {value}", "true or false")
    return default if value is None else value in _TRUE


def _attestations(request: BuildRequest, options: Options) -> None:
    attestations: list[dict[str, str]] = []
    for text in options["attest"]:
        attestations.append(_fields(text, "--attest", ("type", "mode", "generator", "format", "disabled")))
    for name in ("provenance", "sbom"):
        if name in options:
            text = options[name]
            if text in ("", *_TRUE):
                attestations.append({"type": name})
            elif text in _FALSE:
                attestations.append({"type": name, "disabled": "true"})
            elif text in ("min", "max", "spdx", "cyclonedx"):
                attestations.append({"type": name, "format" if name == "sbom" else "mode": text})
            else:
                known = ("mode", "generator", "format", "disabled")
                attestations.append({"type": name, **_fields(text, f"--{name}", known)})
    for attestation in attestations:
        disabled = attestation.get("disabled", "false") in _TRUE
        if attestation.get("type") == "provenance":
            mode = attestation.get("mode", "min")
            if mode not in ("min", "max"):
                raise UsageError(f"invalid mode {mode!r} for provenance", "min or max")
            request.provenance = "" if disabled else mode
        elif attestation.get("type") == "sbom":
            if attestation.get("generator"):
                raise UsageError("--sbom generator=IMAGE is not supported", "underlay reads the packages itself")
            form = attestation.get("format", "spdx")
            if form not in ("spdx", "cyclonedx"):
                raise UsageError(f"unknown format {form!r} for sbom", "spdx or cyclonedx")
            request.sbom = "" if disabled else form
        else:
            raise UsageError(f"unknown attestation type {attestation.get('type', '')!r}", "provenance or sbom")
