"""The images that an image's steps show beneath it, by marks alone: where each ends, what it is called, how sure that is.

Every image above the root is a stage. A stage ends where one Dockerfile seems to end and the next to begin: behind a
command that another step follows, at a long pause, before a maintainer, before steps that fill a folder for an
application. What a stage is called is told by the variable whose stem agrees best with its commands, its downloads
and its users: `ENV REDIS_VERSION=8.10.1` before a step that fetches redis and `CMD ["redis-server"]`.
"""

from __future__ import annotations

import re
from itertools import islice

import msgspec

from .. import history
from . import families, variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .sources import Found

_FILLING = frozenset(("RUN", "COPY", "ADD"))
_DAY = 86_400.0
_HOUR = 3600.0
_MINUTE = 60.0
_STEPS = 400
_DEEPEST = 8  # stages
_VARIABLES = 200  # of one stage
_TEXT = 4_000  # characters of a step that words are looked for in

_APPLICATION = re.compile(
    r"(?:WORKDIR /(?:usr/src/)?(?:app|src|srv|work|workspace|code|build|opt/app|home)\b"
    r"|(?:COPY|ADD) (?:--\S+ )*(?:\. |\./? |package\S*\.json|requirements\S*\.txt|go\.mod|Gemfile|pom\.xml|Cargo\.toml))"
)
_USER = re.compile(r"(?:groupadd|useradd|addgroup|adduser)\b[^;&|]*")
_WORD = re.compile(r"[a-z0-9]+")
# What makes one of the stages of buildpack-deps, in order; each on the one before.
_BUILDPACK = (
    ("-curl", re.compile(r"install[^;&]*\bca-certificates\b[^;&]*\bcurl\b[^;&]*\bwget\b")),
    ("-scm", re.compile(r"install[^;&]*\bgit\b[^;&]*\bmercurial\b[^;&]*\bopenssh-client\b[^;&]*\bsubversion\b")),
    ("", re.compile(r"install[^;&]*\bautoconf\b[^;&]*\bautomake\b[^;&]*\bbzip2\b")),
)

_MOST = 0.9  # of confidence: marks are sure of a repository, and less of its tag
_ENOUGH, _SURE = 2.5, 5.0  # a mark with less is none; one with more needs no known repository
_WORKDIR = re.compile(r"WORKDIR /(?:usr/(?:src|local|share)|opt|var/lib)/([a-z][a-z.-]+)()/?$")
_PROGRAM = re.compile(r"""(?:CMD|ENTRYPOINT) \[?"?(?:/\S*/|/)?([A-Za-z][A-Za-z_.-]*?)-?(\d[\d.]*)?["\s\]]""")
# Programs, and words of labels, that are repositories and say nothing.
_SHELLS = frozenset(
    "bash busybox docker registry python node java php perl6 alpine debian ubuntu fedora composer".split()
)
_JAVAS = frozenset("amazoncorretto sapmachine azul-zulu ibmjava eclipse-temurin openjdk ibm-semeru-runtimes".split())


class Stage(msgspec.Struct, frozen=True):
    """An image beneath the image, by its marks: its repository, the version its variable says ("": none), the number of
    steps up to its end, a score from 0 to 1 by which it is weighed against others, words on why; `start`: where its own
    steps begin; `agreement`: how well its marks agree, from which its confidence is told (`calibration`)."""

    repository: str
    version: str
    start: int
    end: int
    score: float
    evidence: str
    suffix: str = ""  # what the tag has behind the distribution's code name, where there is no version
    names: tuple[str, ...] = ()  # those that its Dockerfile is known under
    agreement: float = 0.0


class _Mark(msgspec.Struct):
    """A variable that may name a stage: its step, its stem, the repository it stands for, its version, how well it fits."""

    spot: int
    name: str
    stem: str
    repository: str
    version: str
    score: float


class Marks:
    """The steps of an image, read for marks. `known` returns the repositories that exist (the official ones)."""

    def __init__(self, texts: Sequence[str], times: Sequence[float], known: Callable[[], frozenset[str]]) -> None:
        self.texts = [text[:_TEXT] for text in texts[:_STEPS]]
        self.times = times
        self.known = known
        self.words = [history.instruction(text) for text in self.texts]
        self._rated: dict[int, float] = {}

    def pause(self, spot: int) -> float:
        """Return the seconds between the step before `spot` and the one at it; 0 when that is not known."""
        if 0 < spot < min(len(self.times), len(self.texts)):
            return max(self.times[spot] - self.times[spot - 1], 0.0)
        return 0.0

    def stages(self, ground: int, followed: Sequence[Found] = ()) -> list[Stage]:
        """Return the stages above the first `ground` steps, the lowest first, each with steps above it; `followed` are the
        Dockerfiles whose steps are among the image's."""
        marked = self._by_marks(ground)
        stages = [self._of_source(found, marked) for found in followed]
        taken = {spot for stage in stages for spot in range(stage.start, stage.end)}
        stages += [stage for stage in marked if stage.end - 1 not in taken and not taken & {stage.start}]
        return sorted((stage for stage in stages if stage.end < len(self.texts)), key=lambda stage: stage.end)

    def _of_source(self, found: Found, marked: Sequence[Stage]) -> Stage:
        """Return the stage that follows a known Dockerfile; with its version, where its marks say one."""
        repository = found.source.names[0].rpartition(":")[0]
        same = [s for s in marked if s.repository == repository and s.start < found.end and found.start < s.end]
        best = max(self._marks(found.start, found.end), key=lambda mark: mark.score, default=None)
        version = best.version if best is not None and best.repository == repository else ""
        score = max([found.score, *(stage.score for stage in same)])
        count = f"{found.all_matched} of {len(found.source.steps)} steps are those of its Dockerfile"
        names = found.source.names
        return Stage(
            repository, version, found.start, found.end, score, count, "", names, found.score + 0.1 * bool(same)
        )

    def _by_marks(self, ground: int) -> list[Stage]:
        """Return the stages that marks alone show."""
        found = self._buildpack(ground)
        start = found[-1].end if found else ground
        end = len(self.texts)
        seams = self._seams(start)
        previous = start
        for spot in seams:
            stage = self._stage(previous, spot)
            if stage is not None and stage.end < end:
                found.append(stage)
                previous = stage.end
            elif found and found[-1].start >= start and self._goes_on(found[-1], spot):
                found[-1] = msgspec.structs.replace(found[-1], end=spot)
                previous = spot
            if len(found) >= _DEEPEST:
                break
        return [stage for stage in found if stage.end < end]

    def ends_between(self, start: int) -> bool:
        """Tell whether a command above the first `start` steps ends another Dockerfile than the image's own."""
        return any(
            self.words[spot - 1] in ("CMD", "ENTRYPOINT") and self._seam(spot) >= 3.0
            for spot in range(start + 1, len(self.texts))
        )

    def commanded(self, stage: Stage) -> bool:
        """Tell whether one of the stage's own steps is CMD or ENTRYPOINT."""
        return any(word in ("CMD", "ENTRYPOINT") for word in self.words[stage.start : stage.end])

    def rests_between(self, start: int) -> bool:
        """Tell whether a day or more passed behind a step above the first `start` steps that fills a layer."""
        filled = False
        for spot in range(start, len(self.texts)):
            if filled and self.pause(spot) >= _DAY:
                return True
            filled = filled or self.words[spot] in _FILLING
        return False

    def _buildpack(self, ground: int) -> list[Stage]:
        """Return the stages of buildpack-deps, which have no variables but install the same packages everywhere."""
        found: list[Stage] = []
        spot = ground
        for suffix, pattern in _BUILDPACK:
            # A step that makes up for a missing gpg lay between the first two for years.
            here = next((step for step in range(spot, spot + 2) if ground and pattern.search(self._text(step))), None)
            if here is None or (here > spot and "gpg" not in self._text(spot)):
                break
            spot = here + 1
            found.append(
                Stage("buildpack-deps", "", ground, spot, 0.85, "its steps install what that does", suffix, (), 0.85)
            )
        # Without the second stage the first one is a list of packages like many others.
        return found if len(found) > 1 else []

    def _text(self, spot: int) -> str:
        return self.texts[spot] if spot < len(self.texts) else ""

    def _goes_on(self, stage: Stage, spot: int) -> bool:
        """Tell whether the steps between a stage and `spot` speak of what the stage is: the same, with more installed."""
        word = stage.repository.rpartition("/")[2]
        spoken = f"${{{word.upper()}_"
        return any(spoken in text or f"${word.upper()}_" in text for text in self.texts[stage.end : spot])

    def _seams(self, start: int) -> list[int]:
        """Return after how many steps, more than `start`, a Dockerfile may have ended; the lowest first."""
        total = len(self.texts)
        return [spot for spot in range(start + 1, total) if self._seam(spot) >= 2.0]

    def _seam(self, spot: int) -> float:
        """Return how much the steps on both sides of `spot` look like those of two Dockerfiles."""
        if spot in self._rated:
            return self._rated[spot]
        before, after = self.words[spot - 1], self.words[spot]
        pause = self.pause(spot)
        score = 3.0 if pause >= _HOUR else 1.0 if pause >= _MINUTE else 0.0
        if before == "CMD" and after != "ENTRYPOINT":
            # A command that only its own image's port or volume follows is one more step of the same Dockerfile.
            rest = self.words[spot:]
            score += 3.0 if any(word in _FILLING or word == "WORKDIR" for word in rest) or "CMD" in rest else 1.5
        elif before == "ENTRYPOINT" and after != "CMD":
            score += 1.0 if "CMD" in self.words[spot:-1] else 1.5
        if after == "MAINTAINER" or self.texts[spot][:16].lower() == "label maintainer":
            score += 2.0
        if _APPLICATION.match(self.texts[spot]):
            score += 2.0
        self._rated[spot] = score
        return score

    def _stage(self, start: int, end: int) -> Stage | None:
        """Return what the steps from `start` to `end` make, None when no mark names it."""
        marks = self._marks(start, end)
        if not marks:
            return None
        best = max(marks, key=lambda mark: (mark.score, -mark.spot))
        if best.score < _ENOUGH or not any(word in _FILLING for word in self.words[start:end]):
            return None
        seam = self._seam(end)
        if "CMD" not in self.words[start:end]:
            # Without a command of its own the Dockerfile goes on for as long as its steps speak of the same thing.
            if self._spoken(best.stem, best.repository, end):
                return None
            if best.repository not in families.WITHOUT_COMMAND and "ENTRYPOINT" not in self.words[start:end]:
                seam -= 2.0
        if seam < 1.0:
            return None
        # Without a command the next Dockerfile may end further up, unnoticed; a repository that is not known may have
        # another name.
        agreement = 0.45 + 0.05 * min(best.score, 10.0) + 0.06 * min(seam, 8.0)
        agreement -= 0.0 if "CMD" in self.words[start:end] else 0.15
        score = min(_MOST, 0.45 + 0.05 * min(best.score, 6.0) + 0.06 * min(seam, 6.0))
        score -= 0.0 if "CMD" in self.words[start:end] else 0.15
        score = score if best.repository in self.known() or best.score >= _SURE else min(score, 0.78)
        why = f"step {best.spot + 1} is {best.name}" if " " in best.name else f"step {best.spot + 1} sets {best.name}"
        return Stage(best.repository, best.version, start, end, score, why, agreement=round(agreement, 4))

    def _spoken(self, stem: str, repository: str, spot: int) -> bool:
        """Tell whether steps behind `spot` use or set variables of a stem, or are commands of what the repository is."""
        word = repository.rpartition("/")[2]
        own = {stem, word.upper().replace("-", "_")}
        for text in self.texts[spot:]:
            if any(f"${each}_" in text or f"${{{each}_" in text for each in own):
                return True
            if text.startswith("ENV ") and any(f" {each}_" in text for each in own):
                return True
            if text.startswith(("CMD", "ENTRYPOINT")) and (word in text or stem.lower() in text):
                return True
        return False

    def _marks(self, start: int, end: int) -> list[_Mark]:
        """Return the variables, set by the steps from `start` to `end`, whose names or values may name the image."""
        texts = self.texts[start:end]
        pairs = ((spot, *pair) for spot, text in enumerate(texts, start) for pair in variables.assigned(text))
        names = list(islice(pairs, _VARIABLES))
        stems = [variables.stem(name) for _, name, _ in names]
        commands = " ".join(text for text in texts if text.startswith(("CMD", "ENTRYPOINT"))).lower()
        users = " ".join(match[0] for text in texts for match in _USER.finditer(text)).lower()
        everything = "\n".join(texts)
        marks = []
        for (spot, name, value), (stem, kind) in zip(names, stems, strict=True):
            repository = self._repository(name, stem, kind, value, everything)
            if kind not in variables.VERSIONS and repository not in self.known() and name not in families.REPOSITORIES:
                repository = repository if name == "JAVA_HOME" else ""
            if not repository or stem in families.HELPERS or stem in families.EMPTY:
                continue
            own = repository.rpartition("/")[2]
            words = {own, stem.lower().strip("_"), own.replace("-", "")}
            score = 2.0 if name in families.REPOSITORIES or stem in families.REPOSITORIES else 0.0
            score += 2.0 if repository in self.known() or name == "JAVA_HOME" else 0.0
            score += 1.0 if kind in variables.VERSIONS else 0.0
            score += 2.0 if any(word in commands for word in words if len(word) > 2) else 0.0
            score += 1.0 if any(word in users for word in words if len(word) > 2) else 0.0
            later = texts[spot - start + 1 :]
            score += 1.0 if self._fetched(name, words, later) else 0.0
            score += min(sum(other.startswith(stem + "_") for _, other, _ in names) - 1, 2) / 2 if kind else 0.0
            version = variables.version(value) if kind in variables.VERSIONS else ""
            marks.append(_Mark(spot, name, stem, repository, version, score))
        marks += self._commands(start, texts, everything)
        marks += self._labels(start, texts)
        for mark in marks:
            # The full version, where another variable of the same image says it: PG_MAJOR and PG_VERSION, JAVA_HOME.
            same = [other.version for other in marks if other.repository == mark.repository and other.version]
            if mark.repository in _JAVAS:
                same += [variables.version(value) for _, name, value in names if name == "JAVA_VERSION"]
            mark.version = max(same, key=len, default="") if len(mark.version) < 6 else mark.version
        return marks

    def _repository(self, name: str, stem: str, kind: str, value: str, steps: str) -> str:
        """Return the repository whose images set a variable, "" when that cannot be told."""
        if name == "JAVA_HOME":
            return families.of_java(value, steps)
        if name in families.REPOSITORIES:
            return families.REPOSITORIES[name]
        if not kind or stem in ("JAVA", "JDK") or (kind in variables.VERSIONS and not variables.version(value)):
            return ""
        return families.REPOSITORIES.get(stem) or stem.lower().strip("_").replace("_", "-")

    def _commands(self, start: int, texts: Sequence[str], everything: str) -> list[_Mark]:
        """Return the commands whose program is called as a known repository, and folders: `CMD ["perl5.42.0" "-de0"]`."""
        marks = []
        for spot, text in enumerate(texts, start):
            found = _PROGRAM.match(text) or _WORKDIR.match(text)
            if not found:
                continue
            name = found[1].lower().removesuffix("d") if found[1].lower() not in self.known() else found[1].lower()
            if name not in self.known() or name in _SHELLS:
                continue
            made = re.findall(rf"{re.escape(name)}[-_/v ]+(\d+(?:\.\d+){{1,3}})", everything, re.IGNORECASE)
            version = variables.version(found[2] or "") or (made[0] if made else "")
            mentioned = any(name in other.lower() for other in texts if other[:3] in ("RUN", "ADD", "COP"))
            marks.append(
                _Mark(
                    spot,
                    f"the {'folder' if text.startswith('WORKDIR') else 'command'} {found[1]}",
                    name.upper(),
                    name,
                    version,
                    3.0 + mentioned,
                )
            )
        return marks

    def _labels(self, start: int, texts: Sequence[str]) -> list[_Mark]:
        """Return the labels that name a known repository: `org.opencontainers.image.title=Caddy`."""
        marks = []
        for spot, text in enumerate(texts, start):
            said = variables.labels(text)
            words = _WORD.findall(" ".join((said.get("title", ""), said.get("source", ""))).lower())
            name = next((word for word in words if word in self.known() and word not in _SHELLS), "")
            if name:
                version = variables.version(said.get("version", ""))
                marks.append(_Mark(spot, f"a label of {name}", name.upper(), name, version, 3.0))
        return marks

    def _fetched(self, name: str, words: set[str], later: Sequence[str]) -> bool:
        """Tell whether a step soon after a variable was set fetches or builds what it names."""
        filling = [text for text in later if history.instruction(text) in _FILLING][:3]
        for text in filling:
            if f"${name}" in text or f"${{{name}" in text:
                return True
            lower = text.lower()
            if any(len(word) > 2 and word in lower for word in words):
                return True
        return False
