"""Make a fresh index of known bases and publish it to a registry as an OCI artefact.

    python tools/publish_index.py TARGET [--root DIRECTORY] [--platform PLATFORM …] [--tag TAG …] [REPOSITORY …]

TARGET is a repository, such as registry.example.com/underlay/bases; `underlay base index update --from TARGET:latest` takes
it. What is known is kept in DIRECTORY (default: ./index), so that the next run asks for changes only: a job should keep
that folder between its runs. By default all repositories of the official library are read, for linux/amd64 and linux/arm64.
When a registry's limit ends a run before all is read, nothing is published and the exit status is 3: run it again later.
The tags are the day and `latest`, or those given. Prints the digest that a signature is to be made for.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src")]

from underlay import Engine
from underlay.human import duration

UNFINISHED = 3


def main() -> int:
    """Update, and publish when all was read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("repositories", nargs="*", metavar="REPOSITORY")
    parser.add_argument("--root", default="index")
    parser.add_argument("--platform", action="append")
    parser.add_argument("--tag", action="append")
    options = parser.parse_args()
    place = Path(options.root).absolute()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Engine(str(place / "root"), str(place / "state"), form="tree") as engine:
        for platform in options.platform or ["linux/amd64", "linux/arm64"]:
            plan = engine.bases.plan_index_update(options.repositories, platform)
            print(f"{platform}: {plan.repositories} repositories, about {duration(plan.seconds)}", file=sys.stderr)
            done = engine.bases.update_index(options.repositories, platform)
            print("\n".join((*done.problems, f"{done.new} new builds of {done.builds}")), file=sys.stderr)
            if engine.bases.plan_index_update(options.repositories, platform).goes_on:
                return UNFINISHED
        digests = {
            engine.bases.push_index(f"{options.target}:{tag}")
            for tag in options.tag or [time.strftime("%Y-%m-%d", time.gmtime()), "latest"]
        }
    print(*digests, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
