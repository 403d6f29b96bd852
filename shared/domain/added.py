"""The names of what is added in annotated.h5ad: columns of obs, and the embedding in obsm."""

from __future__ import annotations

from collections.abc import Iterable

from shared.domain.options import MOST_OTHERS

ADDED = (
    "celldrop_label",
    "celldrop_score",
    "celldrop_label_id",
    "celldrop_second_label",
    "celldrop_second_score",
    "celldrop_abstained",
    "celldrop_mito_share",
    "celldrop_value_note",
    "celldrop_lineage",
    "celldrop_lineage_score",
    "celldrop_reliable_label",
    "celldrop_unfamiliar",
    "celldrop_unfamiliarity",
    "celldrop_cluster",
    "celldrop_cluster_label",
    "celldrop_cluster_share",
    "celldrop_consensus_label",
    "celldrop_consensus_id",
    "celldrop_consensus_agreement",
    "celldrop_consensus_relation",
    *(
        f"celldrop_model{number}_{what}"
        for number in range(2, MOST_OTHERS + 2)
        for what in ("label", "score", "reliable_label")
    ),
)
"""In the order in which they are written."""
EMBEDDING = "X_celldrop"
"""In obsm."""


def added_name(name: str, index: str) -> str:
    """The column's name, changed if the index has the same name: pandas and anndata do not allow that."""
    return f"{name}_2" if name == index else name


def replaced_names(columns: Iterable[str], index: str, embeddings: Iterable[str]) -> list[str]:
    """What an earlier run added and the next one replaces: columns of obs, as ordered in ``ADDED``, and the embedding.

    Args:
        index: The name of the index of obs.
        embeddings: The names in obsm.
    """
    there = set(columns)
    found = [name for name in (added_name(one, index) for one in ADDED) if name in there]
    return [*found, *(f'obsm["{name}"]' for name in embeddings if name == EMBEDDING)]
