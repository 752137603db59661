"""`underlay base identify`."""

from __future__ import annotations

import sys

from ....human import share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....base.identify.identify import Identified
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Identify the base image of an image, with evidence"
SYNOPSIS = "base identify [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Show all candidates"),
    (
        "deep",
        "",
        "bool",
        "",
        "Read the layers of an image in a registry or archive (default: of an archive, when its documents do not suffice)",
    ),
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
    ("verify", "", "string", "string", "Whose signatures count: a public key (its file), policy, or identity=…"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the chain of bases, what speaks for it, and what else it may be."""
    deep: bool | None = options["deep"]
    identified = engine.bases.identify(
        arguments[0], options["platform"], options["verify"], deep if "deep" in options else None
    )
    from ...output import plain, render

    if options["format"]:
        import msgspec

        value = {**msgspec.to_builtins(identified), "certainty": identified.certainty}
        sys.stdout.write(render(options["format"], value) + "\n")
        return 0
    sys.stdout.write("\n".join(map(plain, _lines(identified, options["all"]))) + "\n")
    return 0


def _lines(identified: Identified, everything: bool) -> list[str]:
    from ....base.identify.answers import BETWEEN
    from ....base.identify.claim_evidence import familiar
    from ....base.identify.identify import LIKELY

    first = identified.candidates[0]
    base = identified.base
    if base is None and identified.certainty < LIKELY:
        head = f"{identified.image} stands on something unknown: made from nothing"
    elif base is None:
        head = f"{identified.image} is made from nothing"
    elif base.config_digest or identified.certainty >= LIKELY:
        head = f"{identified.image} stands on {base.name}"
    elif identified.standing == BETWEEN:
        head = f"{identified.image} stands on something unknown above {base.name}"
    else:
        head = f"{identified.image} stands on something unknown, most like {base.name}"
    lines = [f"{head} ({share(identified.certainty)})"]
    if base is not None and identified.standing == BETWEEN and base.config_digest:
        lines.append("  something unknown lies between it and the image's own steps")
    lines += [f"  {text}" for text in first.evidence]
    if base is not None and not base.config_digest and base.confidence < base.family:
        lines.append(f"  that is the share of its repository; of its names one is right with {share(base.confidence)}")
    if base is not None and len(base.names) > 1:
        others = base.names[1:] if everything else base.names[1:_NAMES]
        more = len(base.names) - 1 - len(others)
        left = f" and {more} more (--all)" if more else ""
        build = "that build" if base.config_digest else "it"
        lines.append(
            f"  {build} is also called {', '.join(others)}{left}"
            + ("" if base.family else f"; {base.name} was meant with {share(base.confidence)}")
        )
    if identified.signed_by:
        lines.append(f"  signed by {', '.join(identified.signed_by)}")
    elif identified.unsigned:
        lines.append(f"  not signed: {identified.unsigned}")
    if identified.outdated:
        lines.append(f"  {base.name if base else 'its base'} is another build by now")
    if not first.config_digest and (notice := _age(identified)):
        lines.append(notice)
    for claim in identified.claims:
        if claim.verdict != "refuted" and base is not None and familiar(claim.name) in first.names:
            continue  # it is among the evidence
        claimed = " ".join(filter(None, (claim.name, claim.digest)))
        loud = "!! " if claim.verdict == "refuted" else ""
        source = claim.source + (f", signed by {claim.signed}," if claim.signed else "")
        lines.append(f"  {loud}its {source} says {claimed}: {claim.verdict}, {claim.because}")
    for link in identified.chain if base is not None else ():
        brings = [f"{link.layers} layer{_s(link.layers)}, {link.history} step{_s(link.history)}"] if link.layers else []
        brings += [link.config_digest[7:19]] if link.config_digest else []
        lines.append(f"  on {link.name}" + (f": {', '.join(brings)}" if brings else ""))
    lines += [
        f"  or {candidate.name} ({share(candidate.confidence)})"
        for candidate in (identified.candidates[1:] if everything else ())
    ]
    return lines


def _age(identified: Identified) -> str:
    """Return that the index may be too old to know the base, "" where it is not."""
    import time

    if time.strftime("%Y-%m-%d", time.gmtime(time.time() - _FRESH)) <= identified.as_of:
        return ""
    base = identified.base
    repository = base.name.rpartition(":")[0] if base is not None else "REPOSITORY"
    return f"  known bases as of {identified.as_of}: `underlay base index update {repository}` reads newer ones"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


_NAMES = 8
_FRESH = 30 * 86_400  # seconds: an index of that age knows most of what is in use
