"""The verdict on a file: everything that speaks for and against annotating it with a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shared.domain.errors import (
    BadValuesError,
    DuplicateCellsError,
    EmptyMatrixError,
    InputError,
    NoMatrixError,
)
from shared.domain.verdict import Finding, MatrixState, Verdict
from shared.h5ad.cautions import WarningCode
from shared.h5ad.facts import Candidate, Evidence, FileFacts, GeneTable
from shared.h5ad.findings import refusal as _refusal
from shared.h5ad.findings import warning as _warning
from shared.h5ad.gene_findings import on_genes, on_model, only_others, overlap_of
from shared.h5ad.genes import Found, find_gene_space
from shared.h5ad.inspection import inspect
from shared.h5ad.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.matrices import Selection, choose, in_words, log_base_two, same_sum, wanted_path
from shared.h5ad.needs import ModelNeeds
from shared.h5ad.source import RangeSource

__all__ = ["ModelNeeds", "judge", "validate"]

FEW_GENES = 200


def validate(
    source: RangeSource,
    model: ModelNeeds | None = None,
    *,
    matrix: str | None = None,
    limits: InspectionLimits = DEFAULT_LIMITS,
) -> Verdict:
    """Inspect a file and judge it; whatever is wrong with the file is in the verdict.

    Args:
        matrix: The option of that name: ``X``, ``raw`` or ``layers/NAME``.

    Raises:
        CelldropError: Only what is not the file's fault, such as UnavailableError.
    """
    try:
        return judge(inspect(source, limits=limits), model, matrix=matrix)
    except InputError as error:
        return Verdict(size_bytes=source.size_bytes, findings=(_refusal(error),))


def judge(facts: FileFacts, model: ModelNeeds | None = None, *, matrix: str | None = None) -> Verdict:
    """Gather every warning and refusal that the facts give cause for."""
    selection = choose(facts.candidates, matrix)
    verdict = Verdict(
        n_cells=facts.n_cells,
        n_genes=facts.n_genes,
        size_bytes=facts.size_bytes,
        layout=facts.layout,
        considered=selection.considered,
    )
    findings = [*_on_layout(facts), *_on_cells(facts)]
    if selection.chosen is None:
        findings.append(_refusal(_no_matrix(facts, selection, matrix)))
        return replace(verdict, findings=tuple(findings))
    chosen = selection.chosen
    verdict = replace(verdict, n_genes=chosen.n_genes, matrix=selection.choice)
    findings += _on_matrix(chosen, selection)
    table = facts.genes_of(chosen.genes_path)
    if table is not None and table.n_other and not table.n_genes:
        return replace(verdict, findings=(*findings, _refusal(only_others(table))))
    found = _gene_space(table, model) if table else None
    if table is None or found is None:
        return replace(verdict, findings=tuple(findings))
    overlap = overlap_of(found, model) if model else None
    findings += on_genes(found, table, chosen.path)
    if model is not None and overlap is not None:
        findings += on_model(found, overlap, model, table)
    return replace(verdict, genes=found.space, overlap=overlap, findings=tuple(findings))


def _gene_space(table: GeneTable, model: ModelNeeds | None) -> Found | None:
    if model is None:
        return find_gene_space(table.columns, None)
    return find_gene_space(table.columns, model.features, model.species)


# --- The file -----------------------------------------------------------------------------------------------------


def _on_layout(facts: FileFacts) -> Iterator[Finding]:
    if facts.old_layout:
        yield _warning(
            WarningCode.OLD_LAYOUT,
            f"the layout is {facts.layout}",
            "Nothing to do. A current copy is made with anndata.read_h5ad(FILE).write_h5ad(NEW).",
        )
    if facts.tenx:
        hint = "Join annotations.csv.gz by barcode; for an annotated.h5ad, convert with scanpy.read_10x_h5(FILE)."
        yield _warning(WarningCode.TENX_LAYOUT, f"the layout is {facts.layout}, which has no obs", hint)
    for path, reason in facts.unusable:
        hint = "Nothing to do if it is not the matrix you mean."
        yield _warning(WarningCode.MATRIX_SKIPPED, f"{path} is left out: {reason}", hint, {"path": path})


def _on_cells(facts: FileFacts) -> Iterator[Finding]:
    cells = facts.cells
    if not cells.n_cells or not (facts.n_genes or any(table.n_other for table in facts.genes)):
        yield _refusal(
            EmptyMatrixError(
                f"{cells.n_cells} cells and {facts.n_genes} genes",
                expected="at least one of each",
                hint="Check the file.",
            )
        )
    if cells.n_duplicates:
        error = DuplicateCellsError(
            f"{cells.n_duplicates:,} cell ids occur more than once, such as {', '.join(cells.duplicates)}",
            expected="unique ids, so that results can be joined back",
            where="obs index",
            hint="adata.obs_names_make_unique(), then write and send the file again.",
        )
        yield _refusal(error, {"n_duplicates": cells.n_duplicates, "examples": list(cells.duplicates)})
    elif cells.ids_checked < cells.n_cells:
        words = f"{cells.ids_checked:,} of {cells.n_cells:,} cell ids were compared, and are unique"
        yield _warning(WarningCode.CELLS_NOT_ALL_CHECKED, words, "Nothing to do; the run compares all of them.")


# --- The matrix ---------------------------------------------------------------------------------------------------


def _no_matrix(facts: FileFacts, selection: Selection, matrix: str | None) -> NoMatrixError:
    seen = "; ".join(f"{path}: {in_words(state)}" for path, state in selection.considered)
    seen = seen or "; ".join(f"{path}: {reason}" for path, reason in facts.unusable) or "the file holds no matrix"
    paths = [path for path, _ in selection.considered]
    if matrix is not None and wanted_path(matrix, paths) is None:
        choices = ", ".join(paths) or "none"
        hint = "Name one of those, or leave the option out."
        return NoMatrixError(f"there is no usable matrix {matrix}", expected=f"one of: {choices}", hint=hint)
    return NoMatrixError(
        f"the {matrix} asked for cannot be used: {seen}" if matrix else f"no matrix can be used: {seen}",
        expected="counts or log-normalised values",
        hint='Keep the counts: adata.layers["counts"] = adata.X.copy() before you normalise.',
    )


def _on_matrix(chosen: Candidate, selection: Selection) -> Iterator[Finding]:
    evidence = chosen.evidence
    assert selection.choice is not None
    bad = evidence.n_nan + evidence.n_infinite
    if bad:
        error = BadValuesError(
            f"{evidence.n_nan:,} NaN and {evidence.n_infinite:,} infinite of {evidence.n_values:,} sampled values",
            expected="finite numbers",
            where=chosen.path,
            hint="Find where they come from (often a division by an empty cell's total), and write the file again.",
        )
        yield _refusal(error, {"n_nan": evidence.n_nan, "n_infinite": evidence.n_infinite})
    yield from _on_state(chosen.path, evidence, selection.choice.state)
    if _cut_down(evidence, selection.choice.state):
        words = f"{chosen.path} lacks genes that {evidence.totals_column or 'the normalisation'} counted"
        hint = "Send the file with all genes if you have it: totals and overlap are better."
        yield _warning(WarningCode.SUBSET_OF_GENES, words, hint)
    if 0 < chosen.n_genes < FEW_GENES:
        words = f"{chosen.path} has {chosen.n_genes} genes"
        yield _warning(WarningCode.FEW_GENES, words, "Models are made for whole transcriptomes: judge with care.")


def _on_state(path: str, evidence: Evidence, state: MatrixState) -> Iterator[Finding]:
    keep = 'Keep counts in adata.layers["counts"] to have them used.'
    if state in {MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED}:
        yield _warning(WarningCode.LOG_NORMALISED_INPUT, f"{path} is already log-normalised and used as it is", keep)
    if state is MatrixState.LOG_NORMALISED:
        yield from _on_scale(path, evidence)
    if state is MatrixState.NORMALISED and evidence.whole_fraction >= 0.95:
        share = f"{1 - evidence.whole_fraction:.4%} of the sampled values in {path} are not whole numbers"
        hint = "Look where they come from; they are used as they are, as counts."
        yield _warning(WarningCode.NOT_WHOLE_COUNTS, share, hint)
    elif state is MatrixState.NORMALISED:
        words = f"{path} holds numbers with fractions that are not logarithmised; they are normalised and logarithmised"
        yield _warning(WarningCode.NORMALISED_INPUT, words, keep)


def _on_scale(path: str, evidence: Evidence) -> Iterator[Finding]:
    target = same_sum(evidence.expm1_row_sums)
    if log_base_two(evidence):
        hint = "Send counts, or multiply the values by log(2) to have natural logarithms."
        yield _warning(WarningCode.OTHER_LOG_BASE, f"{path} holds logarithms of base 2", hint)
    words = f"{path} was scaled to a total of {target:,.6g}" if target else f"the total {path} was scaled to is unknown"
    hint = "Scores may shift, since models expect 10,000: send counts if you have them."
    yield _warning(WarningCode.UNKNOWN_TARGET_SUM, words, hint, {"target_sum": target} if target else {})


def _cut_down(evidence: Evidence, state: MatrixState) -> bool:
    if state is MatrixState.COUNTS:
        return evidence.totals_ratio is not None and evidence.totals_ratio < 0.99
    sums = sorted(evidence.expm1_row_sums)
    middle = sums[len(sums) // 2] if sums else 0.0
    return state is MatrixState.LOG1P_CP10K and bool(sums) and middle < 9_900
