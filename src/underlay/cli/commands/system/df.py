"""`underlay system df`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ....engine.system import Usage
    from ...flags import Flag, Options

SUMMARY = "Show disk usage"
SYNOPSIS = "system df [OPTIONS]"
ARGUMENTS = (0, 0)
FLAGS: tuple[Flag, ...] = (
    ("format", "", "string", "string", "Format output: 'table', 'table TEMPLATE', 'json', or a Go template"),
    ("verbose", "v", "bool", "", "Show detailed information on space usage of images"),
)
_HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the space taken by images, containers, volumes, the build cache and kernels."""
    from ...output import listing

    if options["verbose"]:
        sys.stdout.write(_verbose(engine))
        return 0
    default = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
    sys.stdout.write(
        listing([_row(usage) for usage in engine.system.disk_usage()], _HEADERS, default, options["format"])
    )
    return 0


def _row(usage: Usage) -> dict[str, str]:
    from ....human import size

    share = f" ({usage.reclaimable * 100 // usage.size}%)" if usage.size else ""
    return {
        "Active": str(usage.active),
        "Reclaimable": size(usage.reclaimable) + share,
        "Size": size(usage.size),
        "TotalCount": str(usage.total),
        "Type": usage.kind,
    }


def _verbose(engine: Engine) -> str:
    from ....engine.images.listing import listed
    from ....human import size
    from ...output import listing
    from ..image.images import row_of

    usages = engine.system.image_usage()
    rows = []
    for row in listed(engine._store):
        usage = usages.get(row.id)
        if usage is None:
            continue  # it has come since
        rows.append(
            row_of(row)
            | {
                "SharedSize": size(usage.shared),
                "UniqueSize": size(usage.unique),
                "Containers": str(usage.containers),
            }
        )
    headers = {
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "ID": "IMAGE ID",
        "CreatedSince": "CREATED",
        "Size": "SIZE",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
        "Containers": "CONTAINERS",
    }
    text = "Images space usage:\n\n"
    text += listing(rows, headers, "\t".join(f"{{{{.{name}}}}}" for name in headers))
    others = [_row(kind_usage) for kind_usage in engine.system.disk_usage()[1:]]
    text += "\n" + listing(others, _HEADERS, "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}")
    return text
