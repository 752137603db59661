"""What somebody may have meant who mistyped a word of the command line."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def hint(word: str, known: Iterable[str], begin: str, otherwise: str) -> str:
    """Return "did you mean …?" with the known word that is most like `word`, after `begin`; `otherwise` if none is."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f"did you mean `{begin}{near[0]}`?" if near else otherwise
