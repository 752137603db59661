"""A look at the bases that the images of a scan stand on: asks their registries what their names stand for now."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ...errors import UnderlayError
from ...oci import reference as references
from ..advisories import Advisories, cvss, exposure, vulnerabilities
from ..scan import work
from ..scan.database import ScanFile, SeenBase
from .news import Advised, Moved, Watched, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ...store.store import Store
    from ..scan.database import OnBase
    from .news import News

    Key = tuple[str, str]

_AT_ONCE = 8  # repositories that are asked at once


class _Now(NamedTuple):
    """What the name of a base stands for now: a digest, and that of the configuration for a platform; or a `problem`."""

    root: str = ""
    config: str = ""
    problem: str = ""


def watch(
    store: Store, path: str, names: Collection[str] = (), tell: Callable[[Watched], None] = lambda watched: None
) -> Watched:
    """Look at the bases of a scan, or at the ones of these `names` alone; return what is new since the last look.

    `tell` is called when there is news, before the file remembers it: what it raises leaves the news for the next look.
    Raises NotFound, InvalidInput (no scan), Corrupt.
    """
    with ScanFile(path, writing=True, make=False) as scan:
        on: dict[Key, list[OnBase]] = {}
        base_of = {}
        for each in scan.on_bases():
            base_of[each.name] = each.base
            if not names or each.base in names:
                on.setdefault((each.base, each.platform), []).append(each)
        seen = scan.bases()
        now = _asked(store, seen, on)
        problems = {base: state.problem for (base, _), state in now.items() if state.problem}
        news: list[News] = []
        remembered = []
        with Advisories(exposure.directory(store)) as advisories:
            for key, state in sorted(now.items()):
                if state.problem:
                    continue
                before = seen.get(key)
                behind = _behind(on[key], state.config, before)
                if behind or (before is not None and before.config != state.config):
                    order = steps(behind, base_of)
                    news.append(Moved(*key, before.config if before else "", state.config, behind, order))
                ids: Iterable[str] = before.advisories if before else ()
                if advisories.heads():
                    advised = _advised(key, on[key], scan, advisories)
                    if before is not None:
                        news += [each for each in advised if each.id not in before.advisories]
                    ids = {each.id for each in advised}
                remembered.append(SeenBase(*key, state.root, state.config, int(time.time()), tuple(sorted(ids))))
        watched = Watched(len({base for base, _ in on}), tuple(news), dict(sorted(problems.items())))
        if news:
            tell(watched)
        scan.begin()
        scan.remember_bases(remembered)
        scan.commit()
    return watched


def names(path: str) -> list[str]:
    """Return the bases that are looked at: those that images of a scan stand on. Raises NotFound, InvalidInput, Corrupt."""
    with ScanFile(path) as scan:
        return sorted({each.base for each in scan.on_bases()})


def _behind(on: Iterable[OnBase], config: str, before: SeenBase | None) -> tuple[str, ...]:
    """Return the images that stand on another build than what is there now, if that is new."""
    if before is not None and before.config == config:
        return ()
    # No build is known of what is only like a base; it has not been rebuilt since the last look, as far as is known.
    assumed = before.config if before is not None else config
    return tuple(sorted(each.name for each in on if (each.build or assumed) != config))


def _asked(store: Store, seen: dict[Key, SeenBase], wanted: Iterable[Key]) -> dict[Key, _Now]:
    """Ask the registries of bases what they stand for now, once a name, and more only of those that have changed."""
    found: dict[Key, _Now] = {}
    by_repository: dict[str, dict[str, list[Key]]] = {}
    for key in wanted:
        try:
            reference = references.parse(key[0])
        except UnderlayError as error:
            found[key] = _Now(problem=error.message)
            continue
        tags = by_repository.setdefault(reference.familiar_repository, {})
        tags.setdefault(reference.digest or reference.tag, []).append(key)
    place = work.Place(store.paths.root, store.paths.state)

    def look(repository: str) -> dict[Key, _Now]:
        tags = by_repository[repository]
        answers = {}
        for looked in work.look(work.Looking(place, repository, tuple(tags), (), 0)):
            for key in tags[_tag(looked.name, repository)]:
                answers[key] = _now(place, repository, looked, seen.get(key), key[1])
        return answers

    with ThreadPoolExecutor(_AT_ONCE) as executor:
        for answers in executor.map(look, by_repository):
            found.update(answers)
    return found


def _tag(name: str, repository: str) -> str:
    """Return the tag or digest of a name in a repository."""
    return name[len(repository) + 1 :]


def _now(place: work.Place, repository: str, looked: work.Looked, before: SeenBase | None, platform: str) -> _Now:
    if looked.problem:
        return _Now(problem=looked.problem)
    if before is not None and looked.root == before.root:
        return _Now(before.root, before.config)
    fetched = work.fetch(work.Fetching(place, repository, platform, (looked,), {}))[0]
    if fetched.image is None:
        return _Now(problem=fetched.problem)
    return _Now(fetched.root, fetched.image.config)


def _advised(key: Key, on: list[OnBase], scan: ScanFile, advisories: Advisories) -> list[Advised]:
    """Return the advisories that apply to the builds of a base that images stand on, the worst first."""
    found: dict[str, Advised] = {}
    for inventory in sorted({each.below for each in on if each.below}):
        for finding in vulnerabilities.match(scan.inventory(inventory), advisories).findings:
            packages = {f"{package.name} {package.version}" for package in finding.packages}
            known = found.get(finding.id)
            packages.update(known.packages if known is not None else ())
            found[finding.id] = Advised(
                *key, finding.id, finding.label, tuple(sorted(packages)), finding.fixed, len(on)
            )
    return sorted(found.values(), key=lambda each: (-cvss.LABELS.index(each.severity), each.id))
