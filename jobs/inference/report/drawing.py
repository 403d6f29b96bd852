"""The report's code that draws the cells by the embedding in annotated.h5ad."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.inference.merge.clusters import Clusters
from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.manifest import FileFacts
from jobs.inference.report.data import Snippet
from shared.domain.outputs import ANNOTATED_H5AD
from shared.domain.verdict import Verdict
from shared.h5ad.judge.cautions import WarningCode


def drawing_snippet(
    files: Sequence[FileFacts], clusters: Clusters | None, verdict: Verdict, tally: Tally
) -> tuple[Snippet, ...]:
    """The code, if ``annotated.h5ad`` has ``obsm["X_celldrop"]``: clusters were found, and the layout has an obsm."""
    there = ANNOTATED_H5AD.name in {file.name for file in files}
    if not there or verdict.warns_of(WarningCode.OLD_LAYOUT) or clusters is None or clusters.column is not None:
        return ()
    label = "reliable_label" if tally.reliable_counts else "label"
    name = "unfamiliarity" if tally.mostly_unfamiliar else label
    return (
        Snippet(
            "Draw the cells by their expression",
            f'colours = ["celldrop_{name}", "celldrop_cluster_label"]\n'
            'sc.pl.embedding(adata, "X_celldrop", color=colours)  # the first two components\n'
            "# A UMAP of all 20:\n"
            'sc.pp.neighbors(adata, use_rep="X_celldrop")\nsc.tl.umap(adata)\nsc.pl.umap(adata, color=colours)',
        ),
    )
