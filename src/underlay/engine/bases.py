"""The noun `engine.bases`: which base an image stands on, whether it fits a host, whether it is current, and rebasing."""

from __future__ import annotations

from ..base.identify import image_source
from ..errors import InvalidInput, LimitExceeded, NotFound, Unsupported
from ..oci import reference as references
from .space import Writing
from .system import System

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..base.advisories import Imported
    from ..base.advisories.exposure import Exposure
    from ..base.advisories.feeds import Updated
    from ..base.dockerfile.reconstruct import Reconstruction
    from ..base.fit import Fit
    from ..base.fit.needs import Needs
    from ..base.fleet.outdated import Outdated
    from ..base.fleet.policy import BrokenRule, Policy, Standing
    from ..base.fleet.report import FleetReport
    from ..base.identify.identify import Identified
    from ..base.identify.image_source import Subject
    from ..base.index.learn import Learned
    from ..base.index.update import Plan
    from ..base.rebase.move import Moved
    from ..store.rootfs.imagefiles import ImageFiles
    from ..store.store import Store


class KnownName:
    """A name in the index of known bases: the image that it names, the `day` it was added (ISO 8601), how many builds it
    has named so far; its `source`: "own" if it was added on this host, "shipped" if it came with the code."""

    __slots__ = ("builds", "day", "image_id", "name", "source")

    def __init__(self, name: str, image_id: str, day: str, builds: int, source: str = "own") -> None:
        self.source = source
        self.name = name
        self.image_id = image_id
        self.day = day
        self.builds = builds


class Bases:
    """The bases of images. An image is given as a name or id (one that is not in the store is looked up in its registry),
    as `docker://NAME` (always looked up in the registry), or as the path of an archive; see `image_source.find`. What that
    has returned can be given to several questions, so that its registry is asked once."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def identify(
        self, image: str | Subject, platform: str = "", verify: str = "", deep: bool | None = None
    ) -> Identified:
        """Return the base of an image, with evidence.

        Signatures are looked for in its registry where `verify` or the trust policy says whose they should be (`verify` as
        with `Images.pull`): provenance counts for more when it is signed.

        `deep`: whether layers that are not in the store are read where they lie; by default those of an archive are, when
        documents alone do not tell the base. Raises NotFound, RegistryError and its kind, DigestMismatch and Corrupt for
        layers that are not what the image says, with `deep` LimitExceeded for layers that are too large, too.
        """
        from ..base.identify import identify as identifying
        from ..base.identify import signatures

        subject = image_source.find(self._store, image, platform)
        if deep is not None:
            subject.deep = deep
        if deep and subject.files() is None:
            subject.look()
        subject.endorsement = signatures.look(self._store, subject, verify)
        return identifying.identify(self._store, subject)

    def dockerfile(
        self, image: str | Subject, platform: str = "", base: str = "", extract: str = "", frozen: bool = False
    ) -> Reconstruction:
        """Return the Dockerfile that would build an image, on its identified base or on `base`.

        `extract` is a directory to create: the Dockerfile is written there, with the files that COPY and ADD added as
        archives. The results of RUN steps that may not be reproducible are written too, with `frozen` those of all RUN
        steps: then only the base is needed to build the image again. Raises NotFound, InvalidInput (the image is not
        built on `base`; `frozen` without `extract`), Conflict (the directory exists and is not empty), Unsupported (the
        image's files are not in the store).
        """
        from ..base.dockerfile import recover
        from ..base.rebase import move

        subject = image_source.find(self._store, image, platform)
        # What is written out to be built again stands on nothing that might be something else.
        ground = move.ground(self._store, subject, base, likely=not extract)
        return recover.dockerfile(self._store, subject, ground, extract, frozen)

    def fit(
        self,
        image: str | Subject,
        platform: str = "",
        host: Mapping[str, Any] | None = None,
        command: Sequence[str] = (),
        entrypoint: Sequence[str] | None = None,
        read: bool = True,
        kernel: str = "",
    ) -> Fit:
        """Return whether a host can run an image, and why not.

        `host` is the result of `System.info` on that host; the default is this host. `command` and `entrypoint` replace
        those of the image. Layers that are not in the store are read where they are, and not kept; where they cannot be,
        or shall not (`read`), only the configuration is judged. `kernel` is the path of one that the host would run: its
        image, configuration, or Debian package. Without either, `Fit.machine` names a kernel in the store with which the
        image runs in a virtual machine, if it does not run on this host. Raises NotFound, InvalidInput for an invalid
        `host` or `kernel`, and what reading raises.
        """
        judged = self._fit(image, platform, host, command, entrypoint, read, kernel)
        return judged if kernel or host is not None else self._in_a_machine(judged)

    def machine_for(
        self,
        image: str | Subject,
        platform: str = "",
        command: Sequence[str] = (),
        entrypoint: Sequence[str] | None = None,
    ) -> str:
        """Return the release of the kernel in the store that an image needs, in a virtual machine, to run on this host.

        "" if it runs without, or with none of them; where the store has no kernel, the image is not looked at. Raises
        as `fit` does.
        """
        from .machines import kernels

        if not kernels.releases(self._store.paths):
            return ""
        return self.fit(image, platform, None, command, entrypoint).machine

    def _in_a_machine(self, judged: Fit) -> Fit:
        """Name the newest kernel in the store with which an image runs that does not run on this host."""
        from ..base import fit

        if judged.verdict != fit.WILL_NOT_RUN:
            return judged
        import msgspec

        from .machines import kernels, userlands

        host = judged.host.architecture
        # One for another processor has to be emulated.
        for kernel in sorted(kernels.listing(self._store.paths), key=lambda each: each.architecture != host):
            if kernel.architecture == host or userlands.version_of(self._store.paths, kernel.architecture):
                there = fit.judge(judged.needs, kernel.machine(judged.host))
                if there.verdict != fit.WILL_NOT_RUN:
                    return msgspec.structs.replace(
                        judged, machine=kernel.release, machine_architecture=kernel.architecture
                    )
        return judged

    def _fit(
        self,
        image: str | Subject,
        platform: str,
        host: Mapping[str, Any] | None,
        command: Sequence[str],
        entrypoint: Sequence[str] | None,
        read: bool,
        kernel: str,
    ) -> Fit:
        from ..base import fit
        from ..base.fit import kernels, needs

        there = fit.host_of(host if host is not None else System(self._store).info())
        if kernel:
            there = kernels.read(kernel).on(there, kernel.rpartition("/")[2])
        source = image_source.find(self._store, image, platform)

        def needed(files: ImageFiles | None) -> Needs:
            return needs.of(source.view, source.platform, files, command, entrypoint)

        if source.platform.os != "linux" or not read:  # of another system its platform says enough
            return fit.judge(needed(source.files()), there)
        try:
            with Writing(self._store, f"read the layers of {source.name}"), source.reading() as files:
                return fit.judge(needed(files), there)
        except (LimitExceeded, Unsupported):
            return fit.judge(needed(None), there)

    def outdated(self, image: str | Subject, platform: str = "", offline: bool = False) -> Outdated:
        """Return whether an image's base is outdated, what is newer, and when its support ends.

        Unless `offline`, registries are asked which image the base's name refers to now, and for an image that is not in
        the store. Raises NotFound.
        """
        from ..base.fleet import outdated as aging

        return aging.outdated(self._store, image_source.find(self._store, image, platform, offline), offline)

    def rebase(
        self,
        image: str,
        onto: str = "",
        names: Sequence[str] = (),
        base: str = "",
        platform: str = "",
        dry_run: bool = False,
        force: bool = False,
    ) -> Moved:
        """Move an image onto another base, by default the one its base's name refers to now, as `outdated` tells it.

        Nothing is recompressed. An image that stands on that already is left alone, unless it shall have other names.

        `names` are the names of the new image, by default those of the old one. `base` is the present base, instead of
        the identified one. The layers of images of registries are read to look for what speaks against it, and not kept; of
        those with a table of contents only what is looked at. A base of a registry must be signed as the trust policy
        demands. Raises Unsafe (with its hazards) unless `force`, NotFound, InvalidInput, Untrusted.
        """
        from ..base.fleet import current
        from ..base.rebase import move

        subject = image_source.find(self._store, image, platform)
        ground = move.ground(self._store, subject, base)
        if not ground.layers:
            hint = "" if base == "scratch" else "name its base with --base"
            raise InvalidInput(f"{image} has no known base image that could be replaced", hint)
        new = (onto or ground.name).removeprefix("docker://")
        if subject.where == image_source.REGISTRY:
            target = image_source.find(self._store, f"docker://{new}", str(subject.platform))
        elif onto:
            target = current.in_store(self._store, new, subject.platform) or image_source.find(self._store, new)
        else:
            target = self._current(new, subject)
        with Writing(self._store, f"rebase {image}"):
            return move.move(self._store, subject, ground, target, names, dry_run, force)

    def _current(self, name: str, subject: Subject) -> Subject:
        """Return what the name of a base stands for now, where `outdated` sees it; with its files where the image's own are
        here. It is pulled by its digest, so that no name of the store moves. Raises NotFound, and what pulling raises."""
        from ..base.fleet import current
        from ..store.rows import images
        from .images import transfer

        now, where, problem = current.look(self._store, name, subject.platform)
        if now is None:
            raise NotFound(f"{name}: {problem or 'no such image'}", "pull it, or name another base with --onto")
        if where == current.STORE or subject.where != image_source.STORE or now.manifest is None:
            return now
        row = images.get(self._store.meta, now.id)
        if row is None:
            repository = references.parse(name)
            wanted = f"{repository.repository}@{now.manifest.digest}"
            transfer.pull(self._store, wanted, str(subject.platform), False, None)
            row = images.get(self._store.meta, now.id)
        return image_source.of_image(self._store, row, name) if row is not None else now

    def vulnerabilities(
        self, image: str, platform: str = "", ignore_file: str = "", vex: Sequence[str] = ()
    ) -> Exposure:
        """Return the known vulnerabilities of the packages of an image, each marked as from its base or its own layers.

        What `ignore_file` accepts, and what the OpenVEX documents `vex` clear, is among `ignored`. The layers of an image
        of an archive or a registry are read, and not kept. Raises NotFound, InvalidInput (those files), Unsupported (no
        advisories are in the store), and what archives and registries raise.
        """
        from ..base.advisories import exposure

        with Writing(self._store, f"read the layers of {image}"):
            return exposure.look(self._store, image_source.find(self._store, image, platform), ignore_file, vex)

    def update_advisories(self, families: Sequence[str] = (), source: str = "", whole: bool = False) -> list[Updated]:
        """Download advisories (OSV exports) of families of ecosystems.

        The default is the families whose advisories are stored already, and those of stored images."""
        from ..base.advisories import exposure

        return exposure.update(self._store, families, source, whole)

    def import_advisories(self, path: str) -> Imported:
        """Import advisories (OSV records) from a directory, a .zip, a .jsonl or a .json file; or a list in place of the one
        before: known exploited vulnerabilities (KEV: .json, .csv), exploit predictions (EPSS: .csv, .csv.gz)."""
        from ..base.advisories import exposure

        return exposure.take(self._store, path)

    def bill(self, image: str, form: str = "cyclonedx", platform: str = "") -> dict[str, Any]:
        """Return the software bill of materials (SBOM) of an image: `form` is cyclonedx (1.6) or spdx (2.3)."""
        from ..packages import installed, sbom

        if form not in sbom.FORMS:
            raise InvalidInput(f"unknown form {form!r}", f"one of {', '.join(sbom.FORMS)}")
        subject = image_source.find(self._store, image, platform)
        with Writing(self._store, f"read the layers of {image}"), subject.reading(tables=False) as files:
            return sbom.bill(installed.installed(files), subject.name, subject.id, form)

    def standing(self, image: str, platform: str = "") -> Standing:
        """Return the facts about an image and its base that policies and reports use; unknown ones are left out."""
        from ..base.fleet import fleet

        return fleet.standing(self._store, image, platform)

    def read_policy(self, path: str) -> Policy:
        """Read a policy for bases from a TOML file (format: docs/guides/bases.md). Raises InvalidInput, OSError."""
        from ..base.fleet import policy

        with open(path, "rb") as file:
            return policy.read(file.read(), path)

    def check(self, images: Sequence[str], policy: Policy) -> list[BrokenRule]:
        """Return the rules of a policy that images violate."""
        from ..base.fleet import fleet

        return fleet.check(self._store, images, policy)

    def report(self, images: Sequence[str] = (), policy: Policy | None = None) -> FleetReport:
        """Return a report on images, by default on all that are in the store and have a name."""
        from ..base.fleet import fleet

        return fleet.report(self._store, images, policy)

    # The index of known bases

    def learn(self, names: Sequence[str]) -> Learned:
        """Add repositories or tags to the index of known bases, from their registries' metadata; layers are never read."""
        from ..base.index import learn as learning

        return learning.add(self._store, names)

    def plan_index_update(self, names: Sequence[str] = (), platform: str = "") -> Plan:
        """Return what `update_index` will ask registries, as far as that is known beforehand."""
        from ..base.index import update

        return update.plan(self._store, names, platform)

    def update_index(self, names: Sequence[str] = (), platform: str = "") -> Learned:
        """Read what registries say of repositories or tags, by default of all in the index and of the official library; for
        one platform or all.

        Only what has changed is read. An update that was interrupted, or that a registry's limit has ended, goes on where
        it was; see `underlay.base.index.update`."""
        from ..base.index import update

        return update.update(self._store, names, platform)

    def learn_dockerfiles(self, place: str, repository: str = "") -> tuple[int, list[str]]:
        """Add the Dockerfiles of a directory or a Git repository to what is known of bases, as images of `repository`.

        Their images are known by steps then, before any registry is asked. Returns the number of Dockerfiles, and the
        problems of those that could not be read. Raises InvalidInput, NotFound, Unsupported (there is no git).
        """
        from ..base.index import dockerfiles
        from ..builder.context import git

        if not git.is_git(place):
            return dockerfiles.add(self._store, place, repository)
        import tempfile

        address = git.parse_git(place)
        name = repository or address.url.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
        with tempfile.TemporaryDirectory(prefix="underlay-git-") as directory:
            tree, _ = git.checkout(place, directory)
            return dockerfiles.add(self._store, tree, name)

    def names(self, shipped: bool = False) -> list[KnownName]:
        """Return the names that were added to the index on this host; with `shipped` those that came with the code, too."""
        from ..base.index import learn as learning

        own = [KnownName(*words) for words in learning.names(self._store)]
        if not shipped:
            return own
        return own + [KnownName(*words, "shipped") for words in learning.shipped_names()]

    def export_index(self, path: str) -> int:
        """Write the index to one file; returns the number of builds in it. Raises NotFound, Conflict."""
        from ..base.index import learn as learning

        return learning.write_out(self._store, path)

    def import_index(self, path: str) -> Learned:
        """Add the builds of a file written by `export_index`. Raises NotFound, Corrupt, LimitExceeded."""
        from ..base.index import learn as learning

        return learning.read_in(self._store, path)

    def push_index(self, name: str) -> str:
        """Push the index to a registry as an OCI artefact; returns its digest."""
        from ..base.index import learn as learning

        return learning.push(self._store, name)

    def pull_index(self, name: str, verify: str = "") -> Learned:
        """Add the builds of an artefact pushed by `push_index`, verified by its digests; see `Learned.digest`.

        It must be signed as the trust policy and `verify` demand (as with `Images.pull`). Raises Untrusted, and what
        registries raise."""
        from ..base.index import learn as learning

        return learning.pull(self._store, name, verify)
