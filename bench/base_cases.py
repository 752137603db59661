"""Cases for measuring how well bases are found: builds withheld from the index, evidence hidden from the images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Record = dict[str, Any]

WITHHELD = ("nothing", "build", "derived", "newer", "tag", "half")
HIDDEN = ("nothing", "layers", "history")

_DAYS = "2016-12-01 2017-02-01 2017-04-01 2017-06-01 2017-08-01 2017-10-01 2017-12-01 2018-01-01 9999".split()
_PARTS = 4


def read(path: str) -> list[Record]:
    """Return the records of a file with one JSON document a line."""
    with open(path, encoding="utf-8") as file:
        found = [json.loads(line) for line in file if line.strip()]
    return [each if isinstance(each, dict) else {} for each in found]


def part(text: str, parts: int) -> int:
    """Return in which of `parts` parts something is, the same in each run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % parts


def asked(record: Record, hidden: str) -> Record:
    """Return what may be known of an image: no name, no truth, and without the evidence that is `hidden`."""
    kept = "layers history history_created cmd entrypoint media_type docker_version".split()
    if hidden == "layers":
        kept.remove("layers")
    if hidden == "history":
        kept = [member for member in kept if not member.startswith("history")]
    return {member: record[member] for member in kept if member in record}


def _true_config(record: Record) -> str:
    return (record.get("true_base_build") or {}).get("config_digest") or ""


def _names(record: Record) -> set[str]:
    return set(record.get("tags") or [record["ref"]])


def _descendants(bases: list[Record], roots: set[str]) -> set[str]:
    """Return the builds that stand on one of `roots`, over any number of links."""
    children: dict[str, list[str]] = {}
    for record in bases:
        if record.get("parent"):
            children.setdefault(record["parent"], []).append(record["config_digest"])
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def withheld(kind: str, bases: list[Record], records: list[Record]) -> Iterator[tuple[list[Record], list[Record]]]:
    """Yield pairs: what is left in the index, and the records to ask it about."""
    if kind == "nothing":
        yield bases, records
    elif kind == "half":
        for side in range(2):
            yield (
                [each for each in bases if part(each["config_digest"], 2) != side],
                [each for each in records if part(each["config_digest"], 2) == side],
            )
    elif kind in ("build", "derived"):
        for number in range(_PARTS):
            some = [each for each in records if part(each["config_digest"], _PARTS) == number]
            gone = {_true_config(each) for each in some} - {""}
            if kind == "derived":
                gone |= _descendants(bases, gone)
                gone |= {each["config_digest"] for each in some}
            yield [each for each in bases if each["config_digest"] not in gone], some
    elif kind == "tag":
        wanted = sorted({each["true_base"] for each in records if each.get("true_base")})
        for number in range(_PARTS * 2):
            tags = {tag for tag in wanted if part(tag, _PARTS * 2) == number}
            some = [each for each in records if each.get("true_base") in tags]
            if some:
                yield [each for each in bases if not tags & _names(each)], some
    elif kind == "newer":
        for start, end in pairwise(_DAYS):
            some = [each for each in records if start <= each.get("first_seen", "") < end]
            gone = {_true_config(each) for each in some} | {each["config_digest"] for each in some}
            left = [each for each in bases if each["first_seen"] < start and each["config_digest"] not in gone]
            if some and left:
                yield [dict(each, last_seen=min(each["last_seen"], start)) for each in left], some
