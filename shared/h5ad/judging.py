"""The verdict on a file: everything that speaks for and against annotating it with a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shared.domain.added import ADDED, added_name
from shared.domain.errors import (
    DuplicateCellsError,
    EmptyMatrixError,
    InputError,
    NoGeneOverlapError,
    NoMatrixError,
    WrongSpeciesError,
)
from shared.domain.verdict import Finding, GeneIds, Overlap, Species, Verdict
from shared.domain.words import cut, listed
from shared.h5ad.cautions import WarningCode, refusal, warning
from shared.h5ad.facts import TRANSPOSED, Candidate, FileFacts, GeneTable
from shared.h5ad.foreign.kinds import WRITE
from shared.h5ad.genes import FeatureTable, Found, find_gene_space, mixed_species
from shared.h5ad.inspection import inspect
from shared.h5ad.judging_values import on_values
from shared.h5ad.limits import DEFAULT_LIMITS, InspectionLimits
from shared.h5ad.matrices import Selection, Weighed, choose, described, wanted_path
from shared.h5ad.source import RangeSource

LOW_OVERLAP = 0.5
MOST_TOLD = 5
"""Matrices that are told one by one where they cannot be used; the others are counted."""
_VALUES = "counts or log-normalised values"
_EMPTY = "Send the file that the counts are in: this one is metadata alone, or a filter took everything out."
_UNIQUE = f"Make them unique: adata.obs_names_make_unique(), then {WRITE}."
_UNIQUE_TENX = f"Convert it: adata = scanpy.read_10x_h5(FILE), adata.obs_names_make_unique(), then {WRITE}."


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
    name: str = "",
) -> Verdict:
    """Inspect a file and judge it; whatever is wrong with the file is in the verdict.

    Args:
        matrix: The option of that name: ``X``, ``raw`` or ``layers/NAME``.
        name: What the file is called.

    Raises:
        CelldropError: Only what is not the file's fault, such as UnavailableError.
    """
    try:
        return judge(inspect(source, limits=limits, name=name), model, matrix=matrix)
    except InputError as error:
        return Verdict(size_bytes=source.size_bytes, findings=(refusal(error),))


def judge(facts: FileFacts, model: ModelNeeds | None = None, *, matrix: str | None = None) -> Verdict:
    """Gather every warning and refusal that the facts give cause for."""
    selection = choose(facts.candidates, matrix, _unfit(facts, model))
    verdict = Verdict(
        n_cells=facts.n_cells,
        n_genes=facts.n_genes,
        size_bytes=facts.size_bytes,
        layout=facts.layout,
        considered=tuple((one.candidate.path, one.found.state) for one in selection.considered),
    )
    findings = [*_on_layout(facts), *_on_cells(facts)]
    if selection.chosen is None:
        if facts.n_cells and facts.n_genes:
            findings.append(refusal(_no_matrix(facts, selection, matrix)))
        return replace(verdict, findings=tuple(findings))
    chosen = selection.chosen.candidate
    verdict = replace(verdict, n_genes=chosen.n_genes, matrix=selection.choice)
    findings += on_values(selection.chosen)
    table = facts.genes_of(chosen.genes_path)
    found = find_gene_space(table.columns, model.features if model else None) if table else None
    if table is None or found is None:
        return replace(verdict, findings=tuple(findings))
    overlap = _overlap(found, model) if model else None
    findings += [*_on_genes(found, table, chosen), *_on_model(found, overlap, model, table)]
    return replace(verdict, genes=found.space, overlap=overlap, findings=tuple(findings))


def _unfit(facts: FileFacts, model: ModelNeeds | None) -> frozenset[str]:
    """Gene tables that have too few of the model's genes, where another has enough."""
    if model is None or len(facts.genes) < 2:
        return frozenset()
    matched = {table.path: find_gene_space(table.columns, model.features) for table in facts.genes}
    least = max(1.0, model.min_overlap * model.n_features)
    unfit = frozenset(path for path, found in matched.items() if found is None or len(found.matched) < least)
    return unfit if len(unfit) < len(facts.genes) else frozenset()


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
    hint = "Nothing to do if it is not the matrix you mean."
    for path, reason in facts.unusable[:MOST_TOLD]:
        yield warning(WarningCode.MATRIX_SKIPPED, f"{path} is left out: {reason}", hint, {"path": path})
    more = len(facts.unusable) - MOST_TOLD
    if more > 0:
        yield warning(WarningCode.MATRIX_SKIPPED, f"{more:,} more matrices are left out", hint, {"n_more": more})


def _on_cells(facts: FileFacts) -> Iterator[Finding]:
    cells = facts.cells
    if not cells.n_cells or not facts.n_genes:
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
    if evidence.n_values == evidence.n_nan + evidence.n_infinite:
        return f"{candidate.path}: no value is a finite number"
    return f"{candidate.path}: {described(one)}"


def _no_matrix_hint(facts: FileFacts) -> str:
    if any(TRANSPOSED in reason for _, reason in facts.unusable):
        return "Write it anew with the matrix transposed, so that cells are rows; programs in R keep them as columns."
    if not facts.candidates:
        return f"Write the file anew, with the counts in adata.X as an array or a CSR matrix: {WRITE}."
    if not any(candidate.evidence.n_values for candidate in facts.candidates):
        return "Send the file that the counts are in: a filter or an export emptied this one."
    return 'Keep the counts: adata.layers["counts"] = adata.X.copy() before you normalise.'


# --- The genes ----------------------------------------------------------------------------------------------------


def _on_genes(found: Found, table: GeneTable, chosen: Candidate) -> Iterator[Finding]:
    space = found.space
    if space.n_duplicates:
        words = f"{space.n_duplicates:,} genes repeat an identifier of {table.path}/{space.column}"
        hint = "The first of each is used. To decide yourself: adata.var_names_make_unique(), or sum them up."
        yield warning(WarningCode.DUPLICATE_GENES, words, hint, {"n_duplicates": space.n_duplicates})
    if table.n_other:
        kinds = listed(table.other_types, most=5)
        words = f"{table.n_other:,} features of {chosen.path} that are not genes ({kinds}) are left out"
        yield warning(WarningCode.OTHER_FEATURES, words, "Nothing to do.", {"n_other": table.n_other})
    if space.kind is GeneIds.UNKNOWN:
        examples = [cut(identifier, 60) for identifier in table.columns[0].ids[:3] if identifier]
        words = f"the genes are named {', '.join(examples) or 'not at all'}"
        hint = "Put Ensembl ids or gene symbols into adata.var_names."
        yield warning(WarningCode.GENE_IDS_UNKNOWN, words, hint, {"examples": examples})
    if mixed_species(table.columns):
        hint = "Cells of the other species get labels that mean nothing: take them out first."
        yield warning(WarningCode.MIXED_SPECIES, "the genes are of more than one species", hint)
    elif space.species is Species.UNKNOWN:
        words = f"the identifiers in {table.path}/{space.column} do not tell the species"
        yield warning(WarningCode.SPECIES_UNKNOWN, words, "Check that the model is for your species.")


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
        yield refusal(error, details)
    elif overlap.fraction < LOW_OVERLAP:
        hint = "Labels rest on fewer genes than the model was made with: judge low scores with care."
        yield warning(WarningCode.LOW_OVERLAP, words, hint, details)


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
    yield refusal(error, {"species": str(theirs), "model_species": str(model.species)})
