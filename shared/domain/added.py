"""The columns that annotated.h5ad has in obs beside the file's own: their names."""

from __future__ import annotations

ADDED = (
    "celldrop_label",
    "celldrop_score",
    "celldrop_label_id",
    "celldrop_second_label",
    "celldrop_second_score",
    "celldrop_abstained",
    "celldrop_value_note",
)
"""As the writer of annotated.h5ad has them."""


def added_name(name: str, index: str) -> str:
    """What a column is called beside an index of that name: pandas and anndata take no two of one name."""
    return f"{name}_2" if name == index else name
