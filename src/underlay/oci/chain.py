"""Chain ids: one digest for a stack of layers (OCI image specification, config.md, "Layer ChainID")."""

from __future__ import annotations

from . import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the chain id of each prefix of `diff_ids`, lowest first; the last one names the whole stack.

    ChainID(L0) = DiffID(L0); ChainID(L0|…|Ln) = sha256(ChainID(L0|…|Ln-1) + " " + DiffID(Ln)).
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def chain_id(diff_ids: Sequence[str]) -> str:
    """Return the chain id of the whole stack; "" for no layers."""
    chain = chain_ids(diff_ids)
    return chain[-1] if chain else ""
