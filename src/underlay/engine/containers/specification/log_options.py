"""--log-driver and --log-opt: docker's drivers and options, checked when a container is made, and what each run logs."""

from __future__ import annotations

import os

from ....errors import InvalidInput, Unsupported
from ....human import whole
from ....runtime.monitor import logs
from ....runtime.monitor.logdrivers import journald

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ....runtime.monitor.records import LogFile
    from ....store.rows.intent import Intent, Log

_COPY = (20 << 20, 5)  # what is kept of a log that is sent elsewhere, for `logs`
DEFAULTS = {"local": (20 << 20, 5), "json-file": (0, 1), "journald": _COPY, "syslog": _COPY, "none": (0, 1)}
_FILE = ("max-size", "max-file", "compress")
_MODE = ("mode", "max-buffer-size")
_SAID = ("labels", "labels-regex", "env", "env-regex", "tag")
_COPIED = ("cache-disabled", "cache-max-size", "cache-max-file", "cache-compress")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "local": (*_FILE, *_MODE),
    "json-file": (*_FILE, *_MODE, *_SAID),
    "journald": (*_MODE, *_SAID, *_COPIED),
    "syslog": (*_MODE, *_SAID, *_COPIED, "syslog-address", "syslog-facility", "syslog-format"),
    "none": (),
}
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "solaris-cron", *(f"local{number}" for number in range(8))),
)
_TAGS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")
_BUFFER = 1 << 20  # bytes, docker's default of max-buffer-size
_LONGEST = 1 << 12  # characters of what each message says of the container


def parse(driver: str, options: Mapping[str, str]) -> Log:
    """Return what is recorded of the log options; raises InvalidInput, Unsupported."""
    driver = driver or "local"
    if driver not in DEFAULTS:
        raise Unsupported(f"logging driver '{driver}' is not supported", f"use one of {', '.join(logs.DRIVERS)}")
    limit, keep = DEFAULTS[driver]
    for key, value in options.items():
        if key.startswith("syslog-tls") and driver == "syslog":
            raise Unsupported(
                f"log opt '{key}' is not supported", "send to a syslog service of this host that uses TLS"
            )
        if key not in _OPTIONS[driver]:
            raise InvalidInput(f"unknown log opt '{key}' for {driver} log driver")
        try:
            if key in ("max-size", "cache-max-size", "max-buffer-size"):
                size = _size(value)
                limit = limit if key == "max-buffer-size" else size
            elif key in ("max-file", "cache-max-file"):
                keep = whole(value)
                if keep < 1:
                    raise ValueError
            elif key in ("compress", "cache-compress", "cache-disabled"):
                if value not in ("true", "false", "1", "0"):
                    raise ValueError
            elif key == "mode" and value not in ("blocking", "non-blocking"):
                raise InvalidInput(f"logger: logging mode not supported: {value}", "blocking or non-blocking")
            elif key in ("labels-regex", "env-regex"):
                _expression(value)
            elif key == "tag":
                _tag(value, dict.fromkeys(_TAGS, ""))
        except ValueError:
            raise InvalidInput(f"invalid value for log opt '{key}': {value}") from None
    if "max-buffer-size" in options and options.get("mode") != "non-blocking":
        raise InvalidInput("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
    if _yes(options.get("compress", "false")) and keep == 1:
        raise InvalidInput("compress cannot be true when max-file is less than 2 or max-size is not set")
    if driver == "journald" and not os.path.exists(journald.SOCKET):
        raise Unsupported("journald is not enabled on this host", f"there is no {journald.SOCKET}")
    if driver == "syslog":
        address(options.get("syslog-address", ""))
        facility(options.get("syslog-facility", ""))
        if options.get("syslog-format", "") not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
            raise InvalidInput("Invalid syslog format", "rfc3164, rfc5424 or rfc5424micro")
    if _yes(options.get("cache-disabled", "false")):
        keep = 0
    recorded: Log = {"driver": driver, "limit": limit, "keep": keep}
    others = {key: value for key, value in options.items() if key not in ("max-size", "max-file")}
    if others:
        recorded["options"] = others
    return recorded


def _size(text: str) -> int:
    from ....human import parse_size

    return parse_size(text)


def _yes(text: str) -> bool:
    return text in ("true", "1")


def _expression(text: str) -> object:
    import re

    try:
        return re.compile(text)
    except re.error:
        raise ValueError from None


def _tag(text: str, values: Mapping[str, str]) -> str:
    """Return a tag with its fields filled in: {{.Name}} and its kin, of Go's templates nothing else. Raises ValueError."""
    if "{{" not in text:
        return text
    import re

    def filled(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError
        return values[found[1]]

    made = re.sub(r"\{\{-?\s*\.(\w+)\s*-?\}\}", filled, text)
    if "{{" in made:
        raise ValueError
    return made


def address(text: str) -> str:
    """Return a syslog-address with its port; raises InvalidInput, Unsupported."""
    if not text:
        return ""
    scheme, separator, place = text.partition("://")
    if scheme == "tcp+tls":
        raise Unsupported(
            "syslog-address tcp+tls:// is not supported", "send to a syslog service of this host that uses TLS"
        )
    if not separator or scheme not in ("tcp", "udp", "unix", "unixgram"):
        raise InvalidInput(f"unsupported scheme: '{scheme if separator else text}'", "tcp, udp, unix or unixgram://…")
    if scheme in ("unix", "unixgram"):
        if not os.path.exists(place):
            raise InvalidInput(f"syslog-address {text}: there is no socket {place}")
        return text
    host, colon, port = place.rpartition(":")
    if not colon or (place.startswith("[") and place.endswith("]")):
        host, port = place, "514"
    if not host or not 0 < whole(port) < 65536:
        raise InvalidInput(f"syslog-address {text}: HOST:PORT is needed")
    return f"{scheme}://{host}:{port}"


def facility(text: str) -> int:
    """Return the number of a syslog-facility, a name or a number; raises InvalidInput."""
    if not text:
        return _FACILITIES.index("daemon")
    if text in _FACILITIES and text not in ("ntp", "security", "console", "solaris-cron"):
        return _FACILITIES.index(text)
    if 0 <= whole(text) <= 23:
        return whole(text)
    raise InvalidInput(
        "invalid syslog facility", f"a number up to 23, or a name: {', '.join(_FACILITIES[:12])}, local0, …"
    )


def of_run(container_id: str, name: str, intent: Intent, path: str) -> LogFile:
    """Return what the monitor logs with: the options with what they name of the container filled in."""
    log = intent["log"]
    settings: LogFile = {"driver": log["driver"], "limit": log["limit"], "keep": log["keep"], "path": path}
    options = log.get("options") or {}
    if not options and log["driver"] not in ("journald", "syslog"):
        return settings
    if _yes(options.get("compress") or options.get("cache-compress") or ""):
        settings["compress"] = True
    if options.get("mode") == "non-blocking":
        settings["buffer"] = _size(options["max-buffer-size"]) if "max-buffer-size" in options else _BUFFER
    image = intent["image"]
    image_id = image["id"].partition(":")[2]
    values = {
        "ID": container_id[:12],
        "FullID": container_id,
        "Name": name,
        "ImageID": image_id[:12],
        "ImageFullID": image["id"],
        "ImageName": image["name"],
        "DaemonName": "underlay",
    }
    tag = _tag(options.get("tag") or "{{.ID}}", values)[:_LONGEST]
    said = _said(options, intent)
    if log["driver"] == "json-file":
        if "tag" in options:
            said["tag"] = tag
        settings["attributes"] = said
    elif log["driver"] == "journald":
        settings["fields"] = {
            "CONTAINER_ID": container_id[:12],
            "CONTAINER_ID_FULL": container_id,
            "CONTAINER_NAME": name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": image["name"],
            "SYSLOG_IDENTIFIER": tag,
            **{_field(key): value for key, value in said.items() if _field(key)},
        }
    else:
        settings["tag"] = tag
        settings["address"] = address(options.get("syslog-address", ""))
        settings["facility"] = facility(options.get("syslog-facility", ""))
        settings["format"] = options.get("syslog-format", "")
    return settings


def _said(options: Mapping[str, str], intent: Intent) -> dict[str, str]:
    """Return the labels and variables that the options name, by their names."""
    found: dict[str, str] = {}
    variables = dict(text.partition("=")[::2] for text in intent["spec"]["process"]["env"])
    for key, values in (("labels", intent["labels"]), ("env", variables)):
        names = [name for name in options.get(key, "").split(",") if name in values]
        if f"{key}-regex" in options:
            import re

            names += [name for name in values if re.search(options[f"{key}-regex"], name)]
        for name in names:
            found[name] = values[name][:_LONGEST]
    return found


def _field(name: str) -> str:
    """Return a name as the journal takes it: capitals, digits and underscores, with a letter first; "" for none left."""
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper())
    return text.lstrip("_0123456789")[:64]
