"""Git repositories as contexts and as sources of ADD, fetched by the host's `git` without the caller's settings."""

from __future__ import annotations

import os
import stat

from ...errors import DigestMismatch, InvalidInput, KernelError, NotFound, Unsupported
from ...linux.files import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PROTOCOLS = "git:http:https:ssh"


class GitAddress:
    """A repository's address, the `reference` (branch, tag, commit or "") and the `directory` inside it."""

    __slots__ = ("directory", "reference", "url")

    def __init__(self, url: str, reference: str, directory: str) -> None:
        self.url = url
        self.reference = reference
        self.directory = directory


def is_git(text: str) -> bool:
    """Tell whether docker takes an address for a Git repository's."""
    plain = text.partition("#")[0].partition("?")[0]
    if text.startswith(("git://", "ssh://", "github.com/")):
        return True
    if text.startswith(("http://", "https://")):
        return plain.endswith(".git")
    user, at, rest = plain.partition("@")
    return (
        bool(at)
        and user.replace("-", "").replace("_", "").isalnum()
        and ":" in rest
        and "/" not in rest.partition(":")[0]
    )


def parse_git(text: str) -> GitAddress:
    """Return the parts of a Git address: `url#reference:directory`, or with ?ref=, ?branch=, ?tag=, ?commit=, ?subdir=."""
    from urllib.parse import parse_qsl

    url, _, fragment = text.partition("#")
    reference, _, directory = fragment.partition(":")
    url, question, query = url.partition("?")
    for key, value in parse_qsl(query) if question else []:
        if key in ("ref", "branch", "tag", "commit", "checksum"):
            reference = {"branch": "refs/heads/", "tag": "refs/tags/"}.get(key, "") + value
        elif key == "subdir":
            directory = value
        else:
            raise InvalidInput(f"unexpected query {key!r} in Git address {text!r}")
    if url.startswith("github.com/"):
        url = f"https://{url}"
    if reference.startswith("-") or url.startswith("-") or "\0" in text or "\n" in text:
        raise InvalidInput(f"not the address of a Git repository: {text!r:.200}")
    return GitAddress(url, reference, directory)


def checkout(
    text: str,
    directory: str,
    keep_git: bool = False,
    socket: str = "",
    checksum: str = "",
    authorize: Callable[[str], str] = lambda host: "",
) -> tuple[str, str]:
    """Check a Git repository out below `directory`; return the directory and the commit.

    `authorize` returns the Authorization header for a host, "" for none; no other host gets it.

    Nothing of the caller's Git settings, of hooks or of other protocols takes part; submodules come along by the same
    protocols. Raises Unsupported without `git`, NotFound, InvalidInput for a directory that leaves the checkout.
    """
    import shutil

    address = parse_git(text)
    git = shutil.which("git")
    if git is None:
        raise Unsupported("building from a Git repository needs the program git", "install the package git")
    tree = f"{directory}/tree"
    os.mkdir(tree, 0o755)
    run = _Git(git, directory, socket)
    run.authorize(address.url, authorize)
    run("init", "-q", tree)
    wanted = address.reference or "HEAD"
    try:
        _fetch(run, tree, address.url, wanted)
    except NotFound:
        # Few servers give a commit by its id alone; a whole fetch has it.
        if not _is_commit(wanted):
            raise
        run("-C", tree, "fetch", "-q", "--no-tags", address.url, "+refs/heads/*:refs/remotes/origin/*")
        run("-C", tree, "rev-parse", "-q", "--verify", f"{wanted}^{{commit}}")
    commit = run(
        "-C", tree, "rev-parse", "FETCH_HEAD^{commit}" if not _is_commit(wanted) else f"{wanted}^{{commit}}"
    ).strip()
    if checksum and not commit.startswith(checksum.lower()):
        raise DigestMismatch(f"commit of {text}", checksum, commit)
    run("-C", tree, "checkout", "-q", "-f", "--detach", commit)
    if os.path.lexists(f"{tree}/.gitmodules"):
        run("-C", tree, "submodule", "-q", "update", "--init", "--recursive", "--depth", "1")
    if not keep_git:
        _without_git(tree)
    return _inside(tree, address.directory, text), commit


def _fetch(run: _Git, tree: str, url: str, wanted: str) -> None:
    """Fetch one commit; all of its history where a server only gives files ("dumb" HTTP)."""
    try:
        run("-C", tree, "fetch", "-q", "--depth", "1", "--no-tags", url, wanted)
    except NotFound as error:
        if "shallow" not in error.message:
            raise
        run("-C", tree, "fetch", "-q", "--no-tags", url, wanted)


def _is_commit(text: str) -> bool:
    return 7 <= len(text) <= 40 and not text.strip("0123456789abcdef")


class _Git:
    """Runs git so that neither its settings nor what a repository holds can make it do more than fetch."""

    def __init__(self, program: str, home: str, socket: str) -> None:
        self._program = program
        self._environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": home,
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        }
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
            if name in os.environ:
                self._environment[name] = os.environ[name]
        agent = socket or os.environ.get("SSH_AUTH_SOCK", "")
        if agent:
            self._environment["SSH_AUTH_SOCK"] = agent

    def authorize(self, url: str, authorize: Callable[[str], str]) -> None:
        """Give the server of an address a header; by the environment, where other users cannot read it."""
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        header = authorize(parts.netloc.rpartition("@")[2]) if parts.scheme in ("http", "https") else ""
        if header:
            origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
            self._environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{origin}.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: {header}",
            }

    def __call__(self, *words: str) -> str:
        import subprocess

        settings = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "fetch.fsckObjects=true", "core.autocrlf=false")
        command = [self._program, *(part for setting in settings for part in ("-c", setting)), *words]
        # A mask of our own: all users may read the files of a checkout, whatever the caller's umask is.
        done = subprocess.run(
            command, env=self._environment, capture_output=True, check=False, umask=0o022, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            message = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "git failed")
            raise NotFound(f"failed to fetch the Git repository: {message.removeprefix('fatal: ')}")
        return done.stdout.decode(errors="replace")


def _without_git(tree: str) -> None:
    """Remove what git keeps for itself from a checkout and from its submodules."""
    from ...files import remove_tree
    from ...store.layers import walking

    root = os.open(tree, walking.OPEN_DIRECTORY)
    try:
        for parent, _, name, _ in walking.walk(root, lambda path: path.rpartition(b"/")[2] != b".git"):
            if name == b".git":
                remove_tree(f"/proc/self/fd/{parent}/.git")
    finally:
        os.close(root)


def _inside(tree: str, directory: str, text: str) -> str:
    """Return the directory of the checkout that is asked for; neither links nor `..` lead anywhere."""
    parts = [part for part in directory.split("/") if part not in ("", ".")]
    if not parts:
        return tree
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ".." in parts:
            raise InvalidInput(f"the directory {directory!r} of {text} lies outside of the repository")
        try:
            fd = beneath.open_in_root(root, "/".join(parts), os.O_PATH, resolve=beneath.RESOLVE_NO_SYMLINKS)
        except KernelError:
            raise NotFound(f"no directory {directory!r} in {text} (symbolic links are not followed)") from None
        mode = os.fstat(fd).st_mode
        os.close(fd)
        if not stat.S_ISDIR(mode):
            raise NotFound(f"{directory!r} of {text} is not a directory")
    finally:
        os.close(root)
    return "/".join((tree, *parts))
