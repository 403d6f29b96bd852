"""What a verdict says of the chosen matrix: what its values are, and what is done about them."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from shared.domain.errors import BadValuesError, CountsNeededError
from shared.domain.verdict import Finding, MatrixState, Transform
from shared.h5ad.facts import MANY_GENES, SMALL_MOST, Evidence, RowKind
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.judge.findings import refusal, warning
from shared.h5ad.judge.matrices import Selection, Weighed, described
from shared.h5ad.judge.needs import ModelNeeds
from shared.h5ad.matrix_names import wanted_word
from shared.h5ad.values.states import (
    LOGARITHMS,
    NAMES,
    NEARLY_ALL,
    TARGET,
    WHOLE_TRANSCRIPTOME,
    Recognition,
    integer_limit,
    nearly_one_total,
    told_totals,
)

FEW_GENES = 200
_MANY_ROWS, _MANY_ALIKE, _MANY_HOLLOW, _SOME_RANKS, _OFTEN_NEAR = 10, 0.5, 0.2, 0.05, 0.1
_KEEP = 'Keep counts in adata.layers["counts"] to have them used.'
_MANY_VALUES = 100
_HOLLOW = "These may be rounded logarithms, or marks of what is expressed; then labels mean little: send counts."
_CUT_OFF = "Labels may change where abundant genes were cut: send the counts as they were."
_ALL_GENES = "Send the file with all genes if you have it: totals and overlap are better."
_KINDS = {
    RowKind.WHOLE: "whole numbers",
    RowKind.LARGE: "fractions too large for logarithms",
    RowKind.SMALL: "fractions in the range of logarithms",
}
_TRANSFORMS = {
    Transform.LOG2: "logarithms of base 2",
    Transform.LOG10: "logarithms of base 10",
    Transform.SQRT: "square roots",
    Transform.ARCSINH: "inverse hyperbolic sines (arcsinh)",
    Transform.LOG1P_TWICE: "logarithms of logarithms (log1p was applied twice)",
    Transform.SCALED_LOG1P: "logarithms that were scaled to a total afterwards",
    Transform.PREPROCESSED_TWICE: "values that were scaled and logarithmised twice",
}


def on_values(selection: Selection, chosen: Weighed, model: ModelNeeds | None = None) -> Iterator[Finding]:
    """Every warning and refusal that the values of the chosen matrix give cause for."""
    path, evidence = chosen.candidate.path, chosen.candidate.evidence
    if evidence.n_bad:
        error = BadValuesError(
            f"{evidence.n_nan:,} NaN and {evidence.n_infinite:,} infinite of {evidence.n_values:,} sampled values",
            expected="finite numbers",
            where=path,
            hint="Find where they come from, and write the file again: joining files of other genes "
            "(anndata.concat with join='outer') leaves NaN unless fill_value=0, and so does dividing by a total of 0. "
            "Or name another matrix of the file with --set matrix=NAME.",
        )
        yield refusal(error, {"n_nan": evidence.n_nan, "n_infinite": evidence.n_infinite})
    counts = _how_to_have_counts(selection, chosen)
    if model is not None and model.counts and chosen.found.state is not MatrixState.COUNTS:
        yield refusal(_counts_needed(chosen, model, counts))
        return
    scaled = model is None or not model.counts
    yield from _on_state(path, evidence, chosen.found, counts, scaled=scaled)
    yield from _on_mixture(path, evidence, chosen.found)
    yield from _on_parts(selection, chosen)
    if scaled:  # Another model takes the counts of its own genes, whatever the others are.
        yield from _on_selection(chosen)


def _counts_needed(chosen: Weighed, model: ModelNeeds, counts: str) -> CountsNeededError:
    return CountsNeededError(
        f"{chosen.candidate.path} holds {described(chosen)}",
        expected=f"counts, which {model.reference} computes from",
        hint=f"{counts} Or use a model that takes normalised values, too: `celldrop models list` shows those here.",
    )


def _on_state(path: str, evidence: Evidence, found: Recognition, counts: str, *, scaled: bool) -> Iterator[Finding]:
    match found.state:
        case MatrixState.COUNTS if evidence.whole_fraction < 1:
            share = f"{1 - evidence.whole_fraction:.4%} of the sampled values in {path} are not whole numbers"
            words = f"{share}; they are used as estimated counts"
            words += ": each cell is scaled by its own total" if scaled else ""
            yield warning(WarningCode.NOT_WHOLE_COUNTS, words, "Nothing to do if the counts were estimated.")
        case MatrixState.NORMALISED if evidence.main is RowKind.WHOLE:
            words = f"{path} holds whole numbers that were scaled, or made logarithms, before they were rounded"
            words = f"{words}; each cell is {_scaled(found)} and logarithmised, and labels may change"
            yield warning(WarningCode.NORMALISED_INPUT, words, counts)
        case MatrixState.NORMALISED:
            words = f"{path} holds fractions that are not logarithms; each cell is {_scaled(found)} and logarithmised"
            yield warning(WarningCode.NORMALISED_INPUT, words, counts)
        case MatrixState.LOG1P_CP10K:
            words = f"{path} is already log-normalised and used as it is"
            yield warning(WarningCode.LOG_NORMALISED_INPUT, words, counts)
        case MatrixState.LOG_NORMALISED:
            yield from _on_logarithms(path, found, counts)
        case _:
            pass
    yield from _on_doubts(path, evidence, found)
    if not found.proven:
        words = f"what {path} was scaled to cannot be proved ({found.proof})"
        hint = (
            "Send counts if you have them. Labels can be far from theirs: of blood cells in sixteen such forms, "
            "between 0 and 78 % were labelled otherwise."
        )
        yield warning(WarningCode.UNKNOWN_TARGET_SUM, words, hint)


def _how_to_have_counts(selection: Selection, chosen: Weighed) -> str:
    """What to do to have counts used, in a file that may hold some already."""
    order = [one.candidate.path for one in selection.considered]
    held = next((one for one in selection.considered if _may_be_asked_for(one)), None)
    if held is None:
        return _KEEP
    path = held.candidate.path
    option = f"--set matrix={wanted_word(path)}"
    if order.index(path) < order.index(chosen.candidate.path):
        return f"{option} uses the file's counts."
    if held.candidate.genes_path != chosen.candidate.genes_path:
        return _KEEP
    return f"{path} holds counts, but less of each cell; {option} would use them all the same."


def _may_be_asked_for(one: Weighed) -> bool:
    """Whether these are sound counts, and of the same cells."""
    unsound = one.candidate.evidence.n_bad or one.other_cells or one.other_genes or one.lacks_cells
    return one.found.state is MatrixState.COUNTS and not unsound


def _on_doubts(path: str, evidence: Evidence, found: Recognition) -> Iterator[Finding]:
    """What does not look as counts do, or as what is made of them."""
    if evidence.n_rows < _MANY_ROWS:
        return
    if found.state is MatrixState.COUNTS:
        doubt = _doubt(path, evidence)
        if doubt is not None:
            yield warning(WarningCode.UNLIKELY_COUNTS, *doubt)
    elif found.proven and evidence.of(found.transform).multiples < NEARLY_ALL:
        words = f"the values of a cell in {path} are not multiples of one count; they are used in proportion"
        hint = (
            "Corrected counts are so, too. If gene lengths were taken out (TPM, FPKM), or the values were logarithms "
            "before they were scaled (preprocessing done twice), labels change in many cells: send counts."
        )
        yield warning(WarningCode.NO_SINGLE_COUNT, words, hint)


def _doubt(path: str, evidence: Evidence) -> tuple[str, str] | None:
    """What speaks against counts, though they are used, and what to do."""
    if evidence.hollow >= _MANY_HOLLOW:
        words = f"{evidence.hollow:.0%} of the sampled cells of {path} have hundreds of genes and no value above"
        words = f"{words} {SMALL_MOST}, where counts go to 20 and beyond; they are used as counts"
        return words, _HOLLOW
    if evidence.tied >= _SOME_RANKS:
        words = f"the values of {evidence.tied:.0%} of the cells of {path} that tell are ranks; they are used as counts"
        return words, "Labels of cells with ranks mean little: send the counts of all cells."
    if evidence.near_limit >= _OFTEN_NEAR:
        limit = integer_limit(evidence.maximum)
        words = f"no value of {path} is above {limit:,.0f}, the largest number of an integer type, and many come near"
        return f"{words}; larger counts were cut off, or began again from 0", _CUT_OFF
    genes_a_cell = evidence.n_values / evidence.n_rows
    if evidence.same_most >= _MANY_ALIKE and genes_a_cell >= MANY_GENES:
        words = f"the largest value of {path} is {evidence.usual_most:.0f} in {evidence.same_most:.0%} of the sampled"
        return f"{words} cells: larger ones were cut off there", _CUT_OFF
    total = nearly_one_total(evidence)
    if total is not None and genes_a_cell >= _MANY_VALUES:
        words = f"the cells of {path} have nearly {total:,.0f} counts each, as cells that were sampled down or pooled"
        return words, "If they were scaled to a total and rounded instead, labels change: send the counts."
    return None


def _on_logarithms(path: str, found: Recognition, counts: str) -> Iterator[Finding]:
    undone = f"({NAMES[found.transform]}), and each cell is {_scaled(found)}"
    words = f"{path} is already log-normalised; that is undone {undone}"
    yield warning(WarningCode.LOG_NORMALISED_INPUT, words, counts)
    if found.transform in {Transform.LOG2, Transform.LOG10}:
        words = f"{path} holds {_TRANSFORMS[found.transform]}; they are converted exactly"
        yield warning(WarningCode.OTHER_LOG_BASE, words, "Nothing to do.")
    elif found.transform is not Transform.LOG1P:
        words = f"{path} holds {_TRANSFORMS[found.transform]}; they are converted exactly"
        yield warning(WarningCode.OTHER_TRANSFORM, words, "Nothing to do.")
    total = found.was_scaled_to or found.target_sum
    if found.proven and not (total and abs(total - TARGET) <= 0.01 * TARGET):
        words = f"{path} was scaled to a total of {total:,.6g}" if total else f"{path} has a scale of its own a cell"
        words = f"{words}; each cell is scaled to what the model expects instead"
        yield warning(WarningCode.OTHER_TARGET_SUM, words, "Nothing to do.", {"target_sum": total} if total else {})


def _scaled(found: Recognition) -> str:
    if found.target_sum is not None:
        return f"scaled from the total of {found.target_sum:,.6g} that it had before genes were left out"
    return "scaled by its own total"


def _on_mixture(path: str, evidence: Evidence, found: Recognition) -> Iterator[Finding]:
    """Logarithms among counts, or the reverse; counts and other numbers in proportion to them are read alike."""
    n_rows, n_small = sum(evidence.kinds.values()), evidence.kinds.get(RowKind.SMALL, 0)
    if found.state is MatrixState.COUNTS:
        n_other = n_small
    else:
        n_other = n_rows - n_small if found.transform in LOGARITHMS and evidence.main is RowKind.SMALL else 0
    if not n_other:
        return
    seen = ", ".join(f"{number:,} with {_KINDS[kind]}" for kind, number in evidence.kinds.items())
    words = f"{path} holds cells of different kinds: of {n_rows:,} looked at, {seen}"
    hint = "Each cell is converted by its own values where that is provable; the results mark the cells."
    yield warning(WarningCode.MIXED_VALUES, words, hint, {"n_looked_at": n_rows, "n_other": n_other})


def _on_parts(selection: Selection, chosen: Weighed) -> Iterator[Finding]:
    if not chosen.is_part:
        return
    path, share = chosen.candidate.path, chosen.share_of_counts
    amount = f" ({share:.0%} of the counts that the file proves)" if share is not None and share < 1 else ""
    words = f"{path} holds a part of each cell's molecules only{amount}"
    if chosen.lacks_cells:
        words = f"{path} has no value for some cells of which another matrix has some"
    elif chosen.other_genes:
        words = (
            f"the cells of {path} lack genes that they have in another matrix, as if its columns were in another order"
        )
    elif chosen.other_cells:
        words = f"the counts of {path} are not those of the same cells in the other matrices, by their totals"
    hint = 'Labels may change. If you can, put all counts into adata.layers["counts"].'
    first = selection.considered[0].candidate.path
    better = "no other matrix is better" if first == path else f"{first} would be used if none were asked for"
    yield warning(WarningCode.PART_OF_COUNTS, f"{words}; {better}", hint)


def _on_selection(chosen: Weighed) -> Iterator[Finding]:
    candidate = chosen.candidate
    if not candidate.n_other and _cut_down(candidate.evidence, chosen.found):
        words = f"{candidate.path} lacks genes that {candidate.evidence.totals_column or 'the normalisation'} counted"
        yield warning(WarningCode.SUBSET_OF_GENES, words, _ALL_GENES)
    elif FEW_GENES <= candidate.n_genes < WHOLE_TRANSCRIPTOME and chosen.found.target_sum is None:
        words = f"{candidate.path} has {candidate.n_genes:,} genes, fewer than a whole transcriptome"
        words = f"{words}; a cell's total is taken over these, and labels may change where others were left out"
        yield warning(WarningCode.SUBSET_OF_GENES, words, _ALL_GENES)
    if 0 < candidate.n_genes < FEW_GENES:
        words = f"{candidate.path} has {candidate.n_genes} genes"
        yield warning(
            WarningCode.FEW_GENES, words, "Models are made for whole transcriptomes: interpret the labels with caution."
        )


def _cut_down(evidence: Evidence, found: Recognition) -> bool:
    """Whether genes were left out after totals were taken: by the totals in obs, or by what one count became."""
    if found.state is MatrixState.COUNTS:
        sums = evidence.of(Transform.NONE).sums
        pairs = [(mine, told) for mine, told in zip(sums, told_totals(evidence), strict=False) if told > 0]
        return bool(pairs) and median(mine / told for mine, told in pairs) < 0.99
    if found.target_sum is None:
        return False
    sums = evidence.of(found.transform).sums
    return bool(sums) and median(sums) < 0.99 * found.target_sum
