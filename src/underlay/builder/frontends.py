"""The `# syntax=` line: docker's own frontends are what is built in; others would be programs to run, and are refused."""

from __future__ import annotations

from ..dockerfile.problems import DockerfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..dockerfile.syntax import Document

# Last parts of the names of docker's own frontends, in whatever registry or mirror they are.
_OURS = ("docker/dockerfile", "docker/dockerfile-upstream", "moby/dockerfile")


def check(document: Document, given: str = "") -> None:
    """Refuse a frontend that is not built in; `given` is the build argument BUILDKIT_SYNTAX. Raises DockerfileError."""
    asked = given or document.directives.get("syntax", "")
    image = asked.split()[0] if asked.split() else ""
    repository, _, tag = image.partition("@")[0].rpartition(":")
    if not repository or "/" in tag:
        repository = image.partition("@")[0]
    if not image or repository in _OURS or repository.endswith(tuple(f"/{name}" for name in _OURS)):
        return
    line, column = (0, 0) if given else document.source.find("syntax", 1, len(document.lines))
    raise DockerfileError(
        f"syntax={image}: the frontend is an image that would have to be run, which is not supported",
        "write docker/dockerfile:1, which is built in, or build the Dockerfile that the frontend makes of this one",
        None if given else document.source,
        line,
        column,
    )
