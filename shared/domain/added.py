"""The names of the columns added to obs in annotated.h5ad."""

from __future__ import annotations

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
)
"""In the order in which they are written."""


def added_name(name: str, index: str) -> str:
    """The column's name, changed if the index has the same name: pandas and anndata do not allow that."""
    return f"{name}_2" if name == index else name
