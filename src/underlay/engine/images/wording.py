"""What happens to images on their way, in docker's words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.reference import Reference

# What happened to a layer, by the kind of the event.
LAYER = {
    "layer.wait": "Pulling fs layer",
    "layer.await": "Waiting",
    "layer.progress": "Downloading",
    "layer.done": "Pull complete",
    "layer.exists": "Already exists",
    "blob.wait": "Preparing",
    "blob.progress": "Pushing",
    "blob.done": "Pushed",
    "blob.exists": "Layer already exists",
    "blob.mounted": "Mounted from",
}


def pulled(reference: Reference, new: bool) -> str:
    """Return the line that says what a pull did; a digest leaves nothing to a tag."""
    rest = f"@{reference.digest}" if reference.digest else f":{reference.tag}" if reference.tag else ""
    words = "Downloaded newer image" if new else "Image is up to date"
    return f"Status: {words} for {reference.familiar_repository}{rest}"
