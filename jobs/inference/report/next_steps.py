"""The report's code for the next steps."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.inference.merge.tally import Tally
from jobs.inference.outputs.manifest import FileFacts
from jobs.inference.report.data import LabelRow, Snippet
from shared.domain.outputs import ANNOTATED_H5AD, CONSENSUS, PSEUDOBULK
from shared.domain.verdict import MatrixState, Verdict
from shared.domain.words import shortened

_NAME_LIMIT = 60
_LOGARITHMS = {MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED}
_NORMALISE = "sc.pp.normalize_total(adata, target_sum=1e4)\nsc.pp.log1p(adata)\n"
_JOINED = '["label", "score", "abstained", "unfamiliar", "reliable_label"]'
_RELIABLE = (
    '(adata.obs["celldrop_reliable_label"].astype(str) == adata.obs["celldrop_label"].astype(str))\n'
    '    & ~adata.obs["celldrop_abstained"]\n'
)


def snippets(
    rows: Sequence[LabelRow], tally: Tally, files: Sequence[FileFacts], verdict: Verdict
) -> tuple[Snippet, ...]:
    """Code for the next steps. Where most cells are unfamiliar, another model comes first, and no label is checked."""
    label = _to_check(rows)
    there = {file.name for file in files}
    opened = (
        'import scanpy as sc\n\nadata = sc.read_h5ad("annotated.h5ad")\n'
        f'adata.obs["celldrop_{"reliable_label" if tally.reliable_counts else "label"}"].value_counts()'
        if "annotated.h5ad" in there
        else 'import pandas as pd\n\nlabels = pd.read_parquet("annotations.parquet").set_index("cell_id")\n'
        f'adata.obs = adata.obs.join(labels[{_JOINED}].add_prefix("celldrop_"))'
    )
    again = Snippet(
        "Run it again with another model or threshold",
        "celldrop models list\ncelldrop run FILE.h5ad --model ANOTHER\ncelldrop run FILE.h5ad --set min_score=0.5",
    )
    first = Snippet("Open the cells with their labels", opened)
    if tally.mostly_unfamiliar:
        return _OTHER_MODELS, first, _like_the_reference()
    return (
        first,
        _kept(tally),
        Snippet(
            f"Check a label by its marker genes: {shortened(label, _NAME_LIMIT)}",
            f"{_normalised(verdict)}"
            f'sc.tl.rank_genes_groups(adata, "celldrop_label", groups=[{_quoted(label)}])\n'
            "sc.pl.rank_genes_groups(adata, n_genes=15)",
        ),
        again,
        *([_sums_snippet(label)] if PSEUDOBULK.name in there else []),
    )


_OTHER_MODELS = Snippet(
    "Run it again with a model of this tissue",
    "# Those that are there:\ncelldrop models list\n"
    "# A CellTypist model, or one of your own labelled cells:\n"
    "celldrop models import MODEL.pkl --name NAME --version 1\n"
    "celldrop models train LABELLED.h5ad --labels COLUMN --name NAME --version 1\n"
    "celldrop run FILE.h5ad --model NAME",
)


def _to_check(rows: Sequence[LabelRow]) -> str:
    """The most frequent label that is in doubt and may have markers, or else the most frequent one."""
    named = [row for row in rows if row.colour != "none"]
    marked = [row for row in named if not row.weak]
    doubtful = [row for row in marked if row.reliable is not None and row.reliable < 0.5]
    return next((row.name for row in [*doubtful, *marked, *named]), "B cell")


def _kept(tally: Tally) -> Snippet:
    confident = 'adata.obs["celldrop_score"] >= 0.8'
    title = "Keep the confident ones"
    if tally.reliable_counts:
        title, confident = "Keep the cells whose label is reliable", f"\n    {_RELIABLE}"
    elif tally.n_looked:
        confident = f'({confident}) & ~adata.obs["celldrop_unfamiliar"]'
    return Snippet(title, f"confident = adata[{confident}].copy()")


def _like_the_reference() -> Snippet:
    return Snippet(
        "Look at the cells that are like the model's, and at the others",
        'adata.obs["celldrop_unfamiliar"].value_counts()\n'
        'adata.obs.groupby("celldrop_unfamiliar")[["celldrop_score", "celldrop_unfamiliarity"]].median()',
    )


def _normalised(verdict: Verdict) -> str:
    """Code that makes X log-normalised, if it is not known to be; what is unknown is left to the reader."""
    if verdict.matrix is not None and verdict.matrix.path.startswith("raw"):
        known = verdict.matrix.state in _LOGARITHMS
        return f"adata = adata.raw.to_adata()\n{'' if known else _NORMALISE}"
    state = _state_of_x(verdict)
    if state is MatrixState.COUNTS:
        return _NORMALISE
    if state in _LOGARITHMS:
        return ""
    return f"# Leave the next two lines out if X is log-normalised already.\n{_NORMALISE}"


def _state_of_x(verdict: Verdict) -> MatrixState | None:
    if verdict.matrix is not None and verdict.matrix.path == "X":
        return verdict.matrix.state
    return next((state for path, state in verdict.considered if path == "X"), None)


def consensus_snippet(files: Sequence[FileFacts]) -> tuple[Snippet, ...]:
    """Code for what several models agree on, if there are several."""
    there = {file.name for file in files}
    if CONSENSUS.name not in there:
        return ()
    if ANNOTATED_H5AD.name in there:
        table, name = "adata.obs", "celldrop_consensus_{}"
        code = ""
    else:
        table, name = "consensus", "consensus_{}"
        code = f'import pandas as pd\n\nconsensus = pd.read_csv("{CONSENSUS.name}", index_col="cell_id")\n'
    label, relation = (f'{table}["{name.format(what)}"]' for what in ("label", "relation"))
    code += f'{label}.value_counts()\n{label}[{relation} == "different"].value_counts()'
    return (Snippet("Take what most of the models agree on, and see what they disagree on", code),)


def _sums_snippet(label: str) -> Snippet:
    return Snippet(
        "Take the sums of the counts for a test between samples",
        f'sums = sc.read_h5ad("{PSEUDOBULK.name}")\nsums = sums[sums.obs["psbulk_cells"] >= 10]\n'
        f'counts = sums[sums.obs["label"] == {_quoted(label)}].to_df()',
    )


def _quoted(text: str) -> str:
    return repr(shortened(text, 60))
