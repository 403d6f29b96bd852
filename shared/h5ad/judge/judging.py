"""The verdict on a file: everything that speaks for and against annotating it with a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shared.domain.added import ADDED, added_name, replaced_names
from shared.domain.errors import (
    DuplicateCellsError,
    EmptyMatrixError,
    InputError,
    InvalidOptionError,
    NoMatrixError,
)
from shared.domain.verdict import Finding, OtherModel, Verdict
from shared.domain.words import cut, listed
from shared.h5ad.facts import TRANSPOSED, FileFacts, GeneTable
from shared.h5ad.foreign.kinds import WRITE
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.findings import refusal, warning
from shared.h5ad.judge.genes import on_genes, on_model, only_others, overlap_of
from shared.h5ad.judge.matrices import Selection, Weighed, choose, described
from shared.h5ad.judge.needs import ModelNeeds
from shared.h5ad.judge.values import on_values
from shared.h5ad.matrix_names import wanted_path
from shared.h5ad.names.genes import Found, find_gene_space
from shared.h5ad.read.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.source import RangeSource

__all__ = ["ModelNeeds", "judge", "validate"]

_NO_COLUMNS: Mapping[str, str] = {}
MOST_NAMED = 20
"""Columns of obs that a message names."""
MOST_TOLD = 5
"""Matrices that are told one by one where they cannot be used; the others are counted."""
_VALUES = "counts or log-normalised values"
_EMPTY = "Send the file that the counts are in: this one is metadata alone, or a filter took everything out."
_UNIQUE = f"Make them unique: adata.obs_names_make_unique(), then {WRITE}."
_UNIQUE_TENX = f"Convert it: adata = scanpy.read_10x_h5(FILE), adata.obs_names_make_unique(), then {WRITE}."


def validate(
    source: RangeSource,
    model: ModelNeeds | None = None,
    *,
    matrix: str | None = None,
    columns: Mapping[str, str] = _NO_COLUMNS,
    limits: InspectionLimits = DEFAULT_LIMITS,
    name: str = "",
) -> Verdict:
    """Inspect a file and judge it; whatever is wrong with the file is in the verdict.

    Args:
        matrix: The option of that name: ``X``, ``raw`` or ``layers/NAME``.
        columns: Obs columns that must group the cells, by the option that names them.
        name: What the file is called.

    Raises:
        CelldropError: Only what is not the file's fault, such as UnavailableError.
    """
    try:
        facts = inspect(source, plan=Plan(columns=tuple(columns.values())), limits=limits, name=name)
        verdict = judge(facts, model, matrix=matrix, columns=columns)
        return _with_others(verdict, facts, model.others) if model else verdict
    except InputError as error:
        return Verdict(size_bytes=source.size_bytes, findings=(refusal(error),))


def judge(
    facts: FileFacts,
    model: ModelNeeds | None = None,
    *,
    matrix: str | None = None,
    columns: Mapping[str, str] = _NO_COLUMNS,
) -> Verdict:
    """Gather every warning and refusal that the facts give cause for."""
    spaces = {table.path: _gene_space(table, model) for table in facts.genes}
    unfit = _unfit(facts, model, spaces)
    selection = choose(facts.candidates, matrix, unfit, counts=model is not None and model.counts)
    verdict = Verdict(
        n_cells=facts.n_cells,
        n_genes=facts.n_genes,
        size_bytes=facts.size_bytes,
        layout=facts.layout,
        considered=tuple((one.candidate.path, one.found.state) for one in selection.considered),
    )
    findings = [*_on_layout(facts), *_on_cells(facts), *_on_earlier_results(facts), *_on_columns(facts, columns)]
    if selection.chosen is None:
        if facts.n_cells and facts.n_genes:
            findings.append(refusal(_no_matrix(facts, selection, matrix)))
        else:
            findings += [refusal(only_others(table)) for table in facts.genes[:1] if table.n_other]
        return replace(verdict, findings=tuple(findings))
    chosen = selection.chosen.candidate
    verdict = replace(verdict, n_genes=chosen.n_genes, matrix=selection.choice)
    findings += on_values(selection, selection.chosen, model)
    table = facts.genes_of(chosen.genes_path)
    if table is not None and table.n_other and not table.n_genes:
        return replace(verdict, findings=(*findings, refusal(only_others(table))))
    found = spaces.get(chosen.genes_path)
    if table is None or found is None:
        return replace(verdict, findings=tuple(findings))
    overlap = overlap_of(found, model) if model else None
    findings += on_genes(found, table, chosen)
    if model is not None and overlap is not None:
        findings += on_model(found, overlap, model, table, facts.cells)
    return replace(verdict, genes=found.space, overlap=overlap, findings=tuple(findings))


def _with_others(verdict: Verdict, facts: FileFacts, others: Sequence[ModelNeeds]) -> Verdict:
    """Judge the chosen matrix for further models, too. What one of them refuses is refused altogether."""
    matrix = verdict.matrix
    if matrix is None or not verdict.accepted:
        return verdict
    found = []
    for other in others:
        own = judge(facts, other, matrix=matrix.path)
        refused = tuple(replace(one, message=f"{other.reference}: {one.message}") for one in own.refusals)
        verdict = replace(verdict, findings=(*verdict.findings, *refused))
        found.append(OtherModel(other.reference, own.genes, own.overlap, own.warnings))
    return replace(verdict, others=tuple(found)) if verdict.accepted else verdict


def _unfit(facts: FileFacts, model: ModelNeeds | None, spaces: Mapping[str, Found | None]) -> frozenset[str]:
    """Gene tables that have no genes, or too few of the model's, where another has enough."""
    unfit = frozenset(table.path for table in facts.genes if not _fits(table, model, spaces[table.path]))
    return unfit if len(unfit) < len(facts.genes) else frozenset()


def _fits(table: GeneTable, model: ModelNeeds | None, found: Found | None) -> bool:
    if not table.n_genes or found is None or model is None:
        return bool(table.n_genes)
    return len(found.matched) >= max(1.0, model.min_overlap * model.n_features)


def _gene_space(table: GeneTable, model: ModelNeeds | None) -> Found | None:
    if model is None:
        return find_gene_space(table.columns, None)
    return find_gene_space(
        table.columns, model.features, model.species, orthologues=model.orthologues, imported=model.is_imported
    )


# --- The file -----------------------------------------------------------------------------------------------------


def _on_layout(facts: FileFacts) -> Iterator[Finding]:
    if facts.old_layout:
        yield warning(
            WarningCode.OLD_LAYOUT,
            f"the layout is {facts.layout}",
            "Nothing to do. A current copy is made with anndata.read_h5ad(FILE).write_h5ad(NEW).",
        )
    if facts.tenx:
        hint = "Join annotations.csv.gz by barcode; for an annotated.h5ad, convert with scanpy.read_10x_h5(FILE)."
        yield warning(WarningCode.TENX_LAYOUT, f"the layout is {facts.layout}, which has no obs", hint)
    hint = "Ignore this unless you want that matrix."
    for path, reason in facts.unusable[:MOST_TOLD]:
        yield warning(WarningCode.MATRIX_SKIPPED, f"{path} is left out: {reason}", hint, {"path": path})
    more = len(facts.unusable) - MOST_TOLD
    if more > 0:
        yield warning(WarningCode.MATRIX_SKIPPED, f"{more:,} more matrices are left out", hint, {"n_more": more})


def _on_cells(facts: FileFacts) -> Iterator[Finding]:
    cells = facts.cells
    if not cells.n_cells or not (facts.n_genes or any(table.n_other for table in facts.genes)):
        found = f"{cells.n_cells:,} cells and {facts.n_genes:,} genes"
        yield refusal(EmptyMatrixError(found, expected="at least one of each", hint=_EMPTY))
    if cells.n_duplicates:
        ids = "id occurs" if cells.n_duplicates == 1 else "ids occur"
        error = DuplicateCellsError(
            f"{cells.n_duplicates:,} cell {ids} more than once, such as {listed(cells.duplicates, 5)}",
            expected="unique ids, so that results can be joined back",
            where="the barcodes" if facts.tenx else "the index of obs",
            hint=_UNIQUE_TENX if facts.tenx else _UNIQUE,
        )
        yield refusal(error, {"n_duplicates": cells.n_duplicates, "examples": list(cells.duplicates)})
    elif cells.ids_checked < cells.n_cells:
        words = f"{cells.ids_checked:,} of {cells.n_cells:,} cell ids were compared, and are unique"
        yield warning(WarningCode.CELLS_NOT_ALL_CHECKED, words, "Nothing to do; the run compares all of them.")
    if cells.index in ADDED:
        words = f"the index of obs is called {cells.index}, and keeps its name"
        hint = f"In annotated.h5ad the column is called {added_name(cells.index, cells.index)}."
        yield warning(WarningCode.COLUMN_RENAMED, words, hint)


def _on_earlier_results(facts: FileFacts) -> Iterator[Finding]:
    """What an earlier run added to the file."""
    names = replaced_names(facts.cells.columns, facts.cells.index, [one.name for one in facts.embeddings])
    if names:
        yield warning(
            WarningCode.EARLIER_RESULTS,
            f"the file was annotated before: {listed(names, MOST_NAMED)}",
            "In annotated.h5ad, those of this run take their place. To keep the earlier ones, rename them first: "
            f'adata.obs.columns = adata.obs.columns.str.replace("celldrop_", "earlier_"), then {WRITE}.',
            {"names": names},
        )


def _on_columns(facts: FileFacts, columns: Mapping[str, str]) -> Iterator[Finding]:
    """Columns that options name and that do not group the cells."""
    problems = {one.column: one.problem for one in facts.groupings if one.problem}
    for option, column in columns.items():
        if column in problems:
            names = ", ".join(map(repr, facts.cells.columns[:MOST_NAMED])) or "none"
            more = f" and {len(facts.cells.columns) - MOST_NAMED} more" if len(facts.cells.columns) > MOST_NAMED else ""
            error = InvalidOptionError(
                f"option {option}={cut(column, 60)}: {problems[column]}",
                expected="a column of obs with text, categories, whole numbers or booleans",
                hint=f"Name another column, or leave {option} out. Columns of obs: {names}{more}.",
            )
            yield refusal(error, {"option": option, "column": column})


# --- The matrix ---------------------------------------------------------------------------------------------------


def _no_matrix(facts: FileFacts, selection: Selection, matrix: str | None) -> NoMatrixError:
    if not facts.candidates and not facts.unusable:
        hint = f"Put the counts into adata.X, then {WRITE}."
        return NoMatrixError("the file holds no matrix: no X, raw or layers", expected=_VALUES, hint=hint)
    seen = [*(_seen(one) for one in selection.considered), *(f"{path}: {reason}" for path, reason in facts.unusable)]
    paths = [one.candidate.path for one in selection.considered]
    if matrix is not None and wanted_path(matrix, paths) is None:
        choices = ", ".join(paths) or "none"
        hint = "Name one of those, or leave the option out."
        return NoMatrixError(f"there is no usable matrix {matrix}", expected=f"one of: {choices}", hint=hint)
    whose = f"the {cut(matrix, 60)} asked for" if matrix else "no matrix"
    found = f"{whose} can{'not' if matrix else ''} be used: {listed(seen, length=200)}"
    return NoMatrixError(found, expected=_VALUES, hint=_no_matrix_hint(facts))


def _seen(one: Weighed) -> str:
    candidate, evidence = one.candidate, one.candidate.evidence
    if not evidence.n_values:
        return f"{candidate.path}: all {'of it is' if not candidate.nnz else 'sampled values are'} zero"
    if evidence.n_values == evidence.n_bad:
        return f"{candidate.path}: no value is a finite number"
    return f"{candidate.path}: {described(one)}"


def _no_matrix_hint(facts: FileFacts) -> str:
    if any(TRANSPOSED in reason for _, reason in facts.unusable):
        return "Write it anew with the matrix transposed, so that cells are rows; programs in R keep them as columns."
    if not facts.candidates:
        return f"Write the file again, with the counts in adata.X as an array or a CSR matrix: {WRITE}."
    if not any(candidate.evidence.n_values for candidate in facts.candidates):
        return "Send the file that the counts are in: a filter or an export emptied this one."
    return (
        "What was done to these values cannot be undone: send the counts. In scanpy they are in the object as it was "
        "before that step; in Seurat, in the layer (or slot) counts."
    )
