"""How an index of very many known builds does: made, opened, looked up in.

    python bench/base_index.py CORPUS BUILDS

The builds of a corpus (a folder with bases.jsonl and official-dev.jsonl) are taken several times, each time under other
repositories with other digests and steps of other words, until there are BUILDS. Then images of the corpus are looked up.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_cases
from bench.base_cases import Record
from underlay.base.identify import image, lineage, matches
from underlay.base.index import index_builder, known

_ASKED = 400


def others(record: Record, copy: int) -> Record:
    """Return a build that has nothing in common with `record` but its form."""
    if not copy:
        return record

    def digest(text: str | None) -> str | None:
        return text and "sha256:" + hashlib.sha256(f"{text} {copy}".encode()).hexdigest()

    def name(text: str) -> str:
        repository, _, tag = text.rpartition(":")
        return f"{repository}-{copy}:{tag}"

    changed: Record = {key: digest(record.get(key)) for key in ("config_digest", "manifest_digest", "parent")}
    changed["layers"] = [[digest(layer), size] for layer, size in record["layers"]]
    changed["history"] = [f"{step} # {_letters(copy)}" for step in record["history"]]
    changed["history_hash"] = None
    changed["tags"] = [name(each) for each in record["tags"]]
    return {**record, **changed, "index_digest": None, "ref": name(record["ref"])}


def _letters(number: int) -> str:
    """Return a number as a word: digits are masked in the shapes of steps."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def builds(corpus: str, count: int) -> Iterator[Record]:
    """Yield so many builds."""
    bases = base_cases.read(f"{corpus}/bases.jsonl")
    for number in range(count):
        copy, place = divmod(number, len(bases))
        yield others(bases[place], copy)


def main() -> None:
    """Print what it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("builds", type=int)
    options = parser.parse_args()
    started = time.perf_counter()
    data = index_builder.make(builds(options.corpus, options.builds))
    print(f"made in {time.perf_counter() - started:.1f} s, {len(data) / 1e6:,.1f} MB")
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:,.1f} GB of memory")
    records = base_cases.read(f"{options.corpus}/official-dev.jsonl")[:_ASKED]
    asked = [image.from_record(base_cases.asked(record, "nothing")) for record in records]
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "known.bases")
        Path(path).write_bytes(data)
        del data
        started = time.perf_counter()
        index = known.open_index(path)
        print(f"{len(index):,} builds; opened in {1000 * (time.perf_counter() - started):.2f} ms")
        for what in ("cold", "warm"):
            started = time.perf_counter()
            for each in asked:
                index.by_layers.beginnings(
                    known.chain(index_builder.digest_item(x.digest) for x in each.layers if not x.empty)
                )
            print(f"look-up of layers, {what}: {1000 * (time.perf_counter() - started) / len(asked):.4f} ms each")
        started = time.perf_counter()
        for each in asked:
            matches.Asked(each, index)
        print(f"look-up of layers, steps and shapes: {1000 * (time.perf_counter() - started) / len(asked):.3f} ms each")
        started = time.perf_counter()
        for each in asked:
            lineage.identify(each, index)
        print(f"identified: {1000 * (time.perf_counter() - started) / len(asked):.2f} ms each")


if __name__ == "__main__":
    main()
