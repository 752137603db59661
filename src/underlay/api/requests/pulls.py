"""Which image a request means by a name and a tag: the rules and the pull itself must read it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InvalidInput
from ...oci import digest as digests
from ...oci import reference as references

if TYPE_CHECKING:
    from collections.abc import Mapping


def named(name: str, tag: str) -> str:
    """Return the image that a name and a tag or digest mean together; the tag counts before one in the name.

    Raises InvalidInput.
    """
    reference = references.parse_exact(name)
    if tag:
        is_digest = digests.is_digest(tag)
        reference.tag, reference.digest = ("", tag) if is_digest else (tag, "")
        if not is_digest and not references.is_tag(tag):
            raise InvalidInput(f"invalid tag format: {tag[:200]!r}")
    return str(references.parse(str(reference)))


def wanted(asked: Mapping[str, str]) -> tuple[str, bool]:
    """Return the image that the query of a pull means, and whether it is a repository of which all tags are meant.

    That is so where neither the name nor `tag` says which (Engine API, "ImageCreate"). Raises InvalidInput.
    """
    image, tag = asked["fromImage"].removesuffix(":"), asked.get("tag", "")  # `docker pull -a` writes the colon
    exact = references.parse_exact(image)
    every = not (tag or exact.tag or exact.digest)
    return (str(exact) if every else named(image, tag)), every
