"""The report's code for the next steps."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.manifest import FileFacts
from jobs.inference.report.data import LabelRow, Snippet
from jobs.inference.report.wording import shortened
from shared.domain.outputs import PSEUDOBULK

_RELIABLE = (
    '(adata.obs["celldrop_reliable_label"].astype(str) == adata.obs["celldrop_label"].astype(str))\n'
    '    & ~adata.obs["celldrop_abstained"]\n'
)


def snippets(rows: Sequence[LabelRow], tally: Tally, files: Sequence[FileFacts]) -> tuple[Snippet, ...]:
    """Code for the next steps."""
    label = next((row.name for row in rows if row.colour != "none"), "B cell")
    there = {file.name for file in files}
    opened = (
        'import scanpy as sc\n\nadata = sc.read_h5ad("annotated.h5ad")\nadata.obs["celldrop_label"].value_counts()'
        if "annotated.h5ad" in there
        else 'import pandas as pd\n\nlabels = pd.read_parquet("annotations.parquet").set_index("cell_id")\n'
        'adata.obs = adata.obs.join(labels[["label", "score"]].add_prefix("celldrop_"))'
    )
    confident = 'adata.obs["celldrop_score"] >= 0.8'
    title = "Keep the confident ones"
    if tally.reliable_counts:
        title, confident = "Keep the cells whose label is reliable", f"\n    {_RELIABLE}"
    elif tally.n_looked:
        confident = f'({confident}) & ~adata.obs["celldrop_unfamiliar"]'
    return (
        Snippet("Open the cells with their labels", opened),
        Snippet(title, f"confident = adata[{confident}].copy()"),
        Snippet(
            "Check a label by its marker genes",
            "# Leave the next two lines out if X is log-normalised already.\n"
            "sc.pp.normalize_total(adata, target_sum=1e4)\nsc.pp.log1p(adata)\n"
            f'sc.tl.rank_genes_groups(adata, "celldrop_label", groups=[{_quoted(label)}])\n'
            "sc.pl.rank_genes_groups(adata, n_genes=15)",
        ),
        Snippet(
            "Run it again with another model or threshold",
            "celldrop models list\ncelldrop run FILE.h5ad --model ANOTHER\ncelldrop run FILE.h5ad --set min_score=0.5",
        ),
        *([_sums_snippet(label)] if PSEUDOBULK.name in there else []),
    )


def _sums_snippet(label: str) -> Snippet:
    return Snippet(
        "Take the sums of the counts for a test between samples",
        f'sums = sc.read_h5ad("{PSEUDOBULK.name}")\nsums = sums[sums.obs["psbulk_cells"] >= 10]\n'
        f'counts = sums[sums.obs["label"] == {_quoted(label)}].to_df()',
    )


def _quoted(text: str) -> str:
    return repr(shortened(text, 60))
