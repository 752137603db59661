"""Names of images as docker reads and shows them: `alpine` is `docker.io/library/alpine:latest`.

The grammar and the order of its rules are those of the distribution project's reference specification,
written as plain scanning because importing `re` would be felt on every `run`.
"""

from __future__ import annotations

from ..errors import InvalidInput
from . import digest as digests

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_NAME_LIMIT = 255
_TAG_LIMIT = 128
_SHORT_ID = 12  # hex digits, as lists show them
_ALGORITHMS = ("sha256", "sha384", "sha512")

_DIGITS = frozenset("0123456789")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_WORD = _ALNUM | {"_"}
_TAG = _WORD | {".", "-"}
_HEX = frozenset("0123456789abcdef")


class Reference:
    """A normalised name: `domain` (with port), `path`, and `tag` and `digest`, each possibly ""."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def repository(self) -> str:
        """Domain and path: `docker.io/library/alpine`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """The repository as docker shows it: `alpine`, `example.com/app`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        rest = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in rest else rest

    @property
    def familiar(self) -> str:
        """The whole name as docker shows it."""
        return self.familiar_repository + self._suffix()

    @property
    def name(self) -> str:
        """Repository and tag, the key under which a name is kept; without a tag only the repository."""
        return self.repository + (f":{self.tag}" if self.tag else "")

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.repository + self._suffix()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Reference:
    """Return the reference that `text` means, with the tag `latest` when it has neither tag nor digest.

    Raises InvalidInput in docker's words.
    """
    reference = parse_exact(text)
    if not reference.tag and not reference.digest:
        reference.tag = DEFAULT_TAG
    return reference


def parse_exact(text: str) -> Reference:
    """Like `parse`, but leaves the tag empty when `text` has none."""
    if len(text) == 64 and _HEX.issuperset(text):
        raise InvalidInput(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings",
            "write sha256: before it to name an image by its id",
        )
    domain, rest = _split_domain(text)
    remainder, at, digest = rest.partition("@")
    path, colon, tag = remainder.partition(":")
    if path != path.lower() and path.isprintable() and len(path) <= _NAME_LIMIT:
        raise InvalidInput(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _is_domain(domain) or not _is_path(path):
        raise InvalidInput(f"invalid reference format: {_shown(text)}")
    if colon and not is_tag(tag):
        raise InvalidInput(f"invalid reference format: {_shown(text)}")
    if at and not digests.is_digest(digest):
        raise InvalidInput(f"invalid reference format: {_shown(text)}")
    if len(path) > _NAME_LIMIT:
        raise InvalidInput(f"invalid reference format: repository name must not be more than {_NAME_LIMIT} characters")
    return Reference(domain, path, tag, digest)


def check_new(reference: Reference) -> Reference:
    """Return a reference that is about to become a name of an image.

    Raises InvalidInput, in docker's words, if commands would read that name as a digest.
    """
    if reference.digest:
        raise InvalidInput("refusing to create a tag with a digest reference")
    if reference.familiar_repository in _ALGORITHMS:
        raise InvalidInput("refusing to create an ambiguous tag using digest algorithm as name")
    return reference


def reads_as_id(reference: Reference) -> bool:
    """Return whether a name is what a short id looks like, so that it would stand before the image with that id."""
    word = reference.familiar_repository
    return reference.tag == DEFAULT_TAG and len(word) >= _SHORT_ID and _HEX.issuperset(word)


def familiar(name: str) -> str:
    """Return a stored (normalised) name as docker shows it."""
    return parse_exact(name).familiar


def is_tag(text: str) -> bool:
    """Tell whether `text` is a tag: a word character, then up to 127 of word characters, dots and dashes."""
    return 0 < len(text) <= _TAG_LIMIT and text[0] in _WORD and _TAG.issuperset(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        domain = DEFAULT_DOMAIN if first == _LEGACY_DOMAIN else first
    else:
        domain, rest = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return domain, rest


def _is_domain(text: str) -> bool:
    if text[:1] == "[":
        # An IPv6 address between brackets.
        host, closed, port = text[1:].partition("]")
        if not closed or not host or not frozenset("0123456789abcdefABCDEF:").issuperset(host):
            return False
        return not port or (port[0] == ":" and len(port) > 1 and _DIGITS.issuperset(port[1:]))
    host, colon, port = text.partition(":")
    if colon and (not port or not _DIGITS.issuperset(port)):
        return False
    return all(
        part and part[0] in _ALNUM and part[-1] in _ALNUM and _ALNUM.issuperset(part.replace("-", ""))
        for part in host.split(".")
    )


def _is_path(text: str) -> bool:
    return all(_is_component(part) for part in text.split("/"))


def _is_component(text: str) -> bool:
    """Runs of lower case letters and digits between single dots, one or two underscores, or any dashes."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for letter in text:
        if letter in _LOWER:
            if separator and separator not in (".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        elif letter in "._-":
            separator += letter
        else:
            return False
    return True
