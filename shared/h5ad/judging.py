"""The verdict on a file: everything that speaks for and against annotating it with a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.domain.added import ADDED, added_name
from shared.domain.errors import (
    BadValuesError,
    CelldropError,
    DuplicateCellsError,
    EmptyMatrixError,
    InputError,
    NoGeneOverlapError,
    NoMatrixError,
    WrongSpeciesError,
)
from shared.domain.verdict import Finding, GeneIds, MatrixState, Overlap, Severity, Species, Verdict
from shared.h5ad.cautions import WarningCode
from shared.h5ad.facts import Candidate, Evidence, FileFacts, GeneTable
from shared.h5ad.genes import FeatureTable, Found, find_gene_space, mixed_species
from shared.h5ad.inspection import inspect
from shared.h5ad.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.matrices import Selection, choose, in_words, log_base_two, same_sum, wanted_path
from shared.h5ad.source import RangeSource

LOW_OVERLAP = 0.5
FEW_GENES = 200
Details = Mapping[str, str | int | float | bool | list[str]]


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a model asks of a file.

    Attributes:
        min_overlap: Share of the features below which a file is refused.
        weight_per_feature: Absolute weight that each feature carries over all labels, where known.
        reference: ``NAME@VERSION``, for messages.
    """

    features: FeatureTable
    species: Species
    min_overlap: float
    weight_per_feature: Sequence[float] | None = None
    reference: str = "the model"

    @property
    def n_features(self) -> int:
        """Features of the model."""
        return len(self.features.symbol) or len(self.features.ensembl)


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
    found = find_gene_space(table.columns, model.features if model else None) if table else None
    if table is None or found is None:
        return replace(verdict, findings=tuple(findings))
    overlap = _overlap(found, model) if model else None
    findings += [*_on_genes(found, table, chosen), *_on_model(found, overlap, model, table)]
    return replace(verdict, genes=found.space, overlap=overlap, findings=tuple(findings))


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
    if not cells.n_cells or not facts.n_genes:
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
    if cells.index in ADDED:
        words = f"the index of obs is called {cells.index}, and keeps its name"
        hint = f"In annotated.h5ad the column is called {added_name(cells.index, cells.index)}."
        yield _warning(WarningCode.COLUMN_RENAMED, words, hint)


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


# --- The genes ----------------------------------------------------------------------------------------------------


def _on_genes(found: Found, table: GeneTable, chosen: Candidate) -> Iterator[Finding]:
    space = found.space
    if space.n_duplicates:
        words = f"{space.n_duplicates:,} genes repeat an identifier of {table.path}/{space.column}"
        hint = "The first of each is used. To decide yourself: adata.var_names_make_unique(), or sum them up."
        yield _warning(WarningCode.DUPLICATE_GENES, words, hint, {"n_duplicates": space.n_duplicates})
    if table.n_other:
        kinds = ", ".join(table.other_types)
        words = f"{table.n_other:,} features of {chosen.path} that are not genes ({kinds}) are left out"
        yield _warning(WarningCode.OTHER_FEATURES, words, "Nothing to do.", {"n_other": table.n_other})
    if space.kind is GeneIds.UNKNOWN:
        examples = [identifier for identifier in table.columns[0].ids[:3] if identifier]
        words = f"the genes are named {', '.join(examples) or 'not at all'}"
        hint = "Put Ensembl ids or gene symbols into adata.var_names."
        yield _warning(WarningCode.GENE_IDS_UNKNOWN, words, hint, {"examples": examples})
    if mixed_species(table.columns):
        hint = "Cells of the other species get labels that mean nothing: take them out first."
        yield _warning(WarningCode.MIXED_SPECIES, "the genes are of more than one species", hint)
    elif space.species is Species.UNKNOWN:
        words = f"the identifiers in {table.path}/{space.column} do not tell the species"
        yield _warning(WarningCode.SPECIES_UNKNOWN, words, "Check that the model is for your species.")


def _overlap(found: Found, model: ModelNeeds) -> Overlap:
    weights = model.weight_per_feature
    total = sum(weights) if weights is not None else 0.0
    share = sum(weights[place] for place in found.matched) / total if weights is not None and total else None
    return Overlap(model.n_features, len(found.matched), share)


def _on_model(found: Found, overlap: Overlap | None, model: ModelNeeds | None, table: GeneTable) -> Iterator[Finding]:
    if model is None or overlap is None:
        return
    yield from _on_species(found, model)
    details = {"n_model": overlap.n_model, "n_matched": overlap.n_matched}
    words = f"{overlap.n_matched:,} of the {overlap.n_model:,} genes of {model.reference} are in the file"
    if overlap.fraction < model.min_overlap or not overlap.n_matched:
        error = NoGeneOverlapError(
            words,
            expected=f"at least {max(1, round(model.min_overlap * overlap.n_model)):,}",
            where=f"{table.path}/{found.space.column}",
            hint=_overlap_hint(found),
        )
        yield _refusal(error, details)
    elif overlap.fraction < LOW_OVERLAP:
        hint = "Labels rest on fewer genes than the model was made with: judge low scores with care."
        yield _warning(WarningCode.LOW_OVERLAP, words, hint, details)


def _overlap_hint(found: Found) -> str:
    if found.space.kind is GeneIds.UNKNOWN:
        return "Put Ensembl ids or gene symbols into adata.var_names, and all genes, not a selection."
    return "Choose a model of this species and kind of identifiers, and send all genes, not a selection."


def _on_species(found: Found, model: ModelNeeds) -> Iterator[Finding]:
    theirs = found.space.species
    if Species.UNKNOWN in {theirs, model.species} or theirs is model.species:
        return
    error = WrongSpeciesError(
        f"the genes are of {theirs}, by {found.space.column}",
        expected=f"{model.species}, the species of {model.reference}",
        hint="Choose a model of your species, or map the genes to their orthologues first.",
    )
    yield _refusal(error, {"species": str(theirs), "model_species": str(model.species)})


def _warning(code: WarningCode, message: str, hint: str, details: Details | None = None) -> Finding:
    return Finding(str(code), Severity.WARNING, f"{message}.", hint, details or {})


def _refusal(error: CelldropError, details: Details | None = None) -> Finding:
    return Finding(error.code, Severity.REFUSAL, error.message, error.hint, details or {})
