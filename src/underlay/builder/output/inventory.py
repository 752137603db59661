"""The bill of materials of a build's result: what is installed in the image, read from its layers."""

from __future__ import annotations

from ...packages import installed, sbom
from ...store.rootfs.imagefiles import ImageFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...packages.installed import Inventory
    from ...paths import Paths
    from ...store.rows.images import NewImage


def packages(paths: Paths, diff_ids: list[str]) -> Inventory:
    """Return what is installed in the image that these layers make, base first."""
    return installed.installed(ImageFiles(paths, diff_ids))


def bill(paths: Paths, image: NewImage, names: list[str], form: str, epoch: int | None) -> dict[str, Any]:
    """Return the bill of materials of an image as SPDX or CycloneDX (`sbom.FORMS`); the same image gives the same
    document."""
    package_list = packages(paths, [layer.diff_id for layer in image.layers])
    return sbom.bill(package_list, names[0] if names else image.id, image.id, form, epoch)
