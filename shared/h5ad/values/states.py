"""What the numbers of a matrix are: counts, what was made of counts and can be undone, or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from shared.domain.verdict import MatrixState, Transform
from shared.h5ad.facts import Evidence, RowKind, Undone

TARGET = 10_000.0
STANDARD_SUMS = (1e3, 1e4, 1e5, 1e6)
"""Totals that cells are scaled to by convention."""
SHARES = 1.0
"""The total of shares. Where this gives whole numbers, so does any other: cells divided by their largest count."""
NEARLY_ALL = 0.95
_MOST_CELLS = 0.9
_NEARLY_ONE_TOTAL = 0.25
"""Nine in ten cells of shared files lie within 52 % of the median total and more, never within less."""
_SOME_UNEVEN, _FEW_UNEVEN = 0.04, 0.02
"""Share of uneven cells: of counts, at most one in two hundred is, by chance (all shared files)."""
_MANY = 0.5
"""Of logarithms that were scaled afterwards, 5 to 30 % of the values are multiples of another form's, by chance."""
LOGARITHMS = (Transform.LOG1P, Transform.LOG2, Transform.LOG10)
FIRST_TRANSFORMS = (Transform.NONE, Transform.LOG1P, Transform.LOG2, Transform.LOG10)
"""What is more likely stands first, where several could be."""

_SMALLEST_LOG = 1.0
"""A logarithm of scaled counts exceeds this somewhere; values that never do are shares, scores or imputed."""
_FEW_VALUES = 200
_MANY_ONES = 0.3
_MANY_VALUES = 10_000
INTEGER_LIMITS = (127.0, 255.0, 32_767.0, 65_535.0)
"""Largest numbers of the integer types that save space. Counts that were cut off there are alike, and still counts."""
WHOLE_TRANSCRIPTOME = 5_000
"""Genes of a file that was not cut to a selection; whole files have 8,000 and more, selections up to 4,000."""

NAMES = {
    Transform.NONE: "x",
    Transform.LOG1P: "exp(x)-1",
    Transform.LOG2: "2^x-1",
    Transform.LOG10: "10^x-1",
    Transform.SQRT: "x squared",
    Transform.ARCSINH: "sinh(x)",
    Transform.LOG1P_TWICE: "exp(exp(x)-1)-1",
    Transform.SCALED_LOG1P: "exp(x/s)-1 with s by each cell's two smallest values",
    Transform.PREPROCESSED_TWICE: "exp((exp(x)-1)/s)-1 with s by each cell's two smallest values",
}
_SCALED_AFTERWARDS = {Transform.SCALED_LOG1P: Transform.NONE, Transform.PREPROCESSED_TWICE: Transform.LOG1P}
"""With what is left when the last logarithm is undone: it has the total that it was scaled to."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """A state with what proves it.

    Attributes:
        proof: In words.
        transform: What has to be undone.
        target_sum: As in ``MatrixChoice``: only where a cell's own values no longer have it.
        was_scaled_to: The total that every sampled cell has, for the reader; None where they differ.
        proven: Whether the numbers leave no other explanation.
    """

    state: MatrixState
    proof: str
    transform: Transform = Transform.NONE
    target_sum: float | None = None
    was_scaled_to: float | None = None
    proven: bool = True


def recognise(evidence: Evidence, n_genes: int = WHOLE_TRANSCRIPTOME, n_other: int = 0) -> Recognition:
    """Judge a matrix by its numbers alone; its name says nothing.

    Args:
        n_genes: Columns of the matrix, which decide where the numbers cannot whether genes were left out.
        n_other: Columns beside them that are no genes: totals may have counted them, too.
    """
    found = _recognise(evidence, n_genes)
    if n_other and n_genes >= WHOLE_TRANSCRIPTOME and found.target_sum is not None:
        words = (
            f"{NAMES[found.transform]} gives whole multiples of each cell's smallest value; its total, which counted"
        )
        return Recognition(_fractions(found.transform), f"{words} more than genes, is taken anew", found.transform)
    return found


def _recognise(evidence: Evidence, n_genes: int) -> Recognition:
    if evidence.n_values == evidence.n_bad:
        words = "no finite values were found in the sample" if evidence.n_values else "all values are 0"
        return Recognition(MatrixState.UNKNOWN, words)
    if evidence.n_negative:
        return Recognition(MatrixState.SCALED, f"{evidence.n_negative:,} of {evidence.n_values:,} values are negative")
    if evidence.ranked >= NEARLY_ALL:
        words = "the values of each cell are ranks, or multiples of them: the order of its genes, not their counts"
        return Recognition(MatrixState.RANKED, words)
    if evidence.main is RowKind.WHOLE:
        return _whole(evidence, n_genes)
    rules = (_scaled_afterwards, _one_total, _whole_multiples, _near_counts, _by_range)
    return next(found for rule in rules if (found := rule(evidence, n_genes)))


# --- Whole numbers ------------------------------------------------------------------------------------------------


def _whole(evidence: Evidence, n_genes: int) -> Recognition:
    full = evidence.n_rows > 0 and evidence.n_values >= 0.99 * evidence.n_rows * n_genes and n_genes >= 1_000
    if full and evidence.ones >= _MANY_ONES:  # 1 was added to all; of genes that all pooled cells have, few are 1.
        return Recognition(MatrixState.UNKNOWN, f"whole numbers, but none of {n_genes:,} genes is 0 in any cell")
    no_counts = _not_counts(evidence)
    if no_counts:
        return Recognition(MatrixState.RANKED, no_counts)
    if evidence.all_whole < 0.5:  # The root of 1 is 1, and so is the base 2 logarithm of 1 + 1.
        for transform in (Transform.LOG2, Transform.SQRT):
            if evidence.of(transform).whole_fraction >= 0.99:
                words = f"{NAMES[transform]} gives whole numbers: counts"
                return Recognition(MatrixState.LOG_NORMALISED, words, transform)
    return (None if full else _scaled_then_rounded(evidence)) or _counts(evidence)


def _not_counts(evidence: Evidence) -> str:
    """Why these whole numbers are no counts; empty where nothing speaks against it."""
    largest = evidence.usual_most
    if evidence.maximum == 1 and evidence.n_values >= _FEW_VALUES:
        return "every value is 0 or 1: expressed or not, but not how much"
    if not evidence.n_rows and evidence.n_values >= _MANY_VALUES and evidence.ones < 0.01:
        return "of values from all over the matrix hardly one is 1: ranks or bins, not counts"
    alike = evidence.same_most >= NEARLY_ALL and 3 < largest <= 1_000 and largest not in INTEGER_LIMITS
    if alike and evidence.ones < _MANY_ONES and evidence.n_rows >= 10 and evidence.n_values >= 20 * evidence.n_rows:
        return f"the largest value is {largest:.0f} in every sampled cell: bins, not counts"
    return ""


def _scaled_then_rounded(evidence: Evidence) -> Recognition | None:
    """Of 100 genes that a cell expresses some has a single count; of scaled and rounded values none is 1.

    Or some cells lack numbers that lie between two frequent ones. Where cells have nearly one total, few such cells are
    enough; the total alone proves nothing, as pooled cells and those that were sampled down have one, too.
    """
    plain = evidence.of(Transform.NONE)
    total = nearly_one_total(evidence)
    many_values = evidence.n_rows >= 10 and evidence.n_values >= 100 * evidence.n_rows
    if many_values and median(plain.units) >= 2:
        words = f"whole numbers, of which the smallest in a cell is {median(plain.units):,.0f}"
    elif evidence.uneven >= (_FEW_UNEVEN if total else _SOME_UNEVEN):
        words = "whole numbers, of which some small ones are missing or rarer than larger ones"
        words = f"{words} in {evidence.uneven:.0%} of the sampled cells with many genes"
    else:
        return None
    return Recognition(MatrixState.NORMALISED, f"{words}: scaled, then rounded", was_scaled_to=total)


def integer_limit(maximum: float) -> float:
    """The largest number of the smallest integer type that holds all values; infinite if none of those does."""
    return next((limit for limit in INTEGER_LIMITS if maximum <= limit), math.inf)


def nearly_one_total(evidence: Evidence) -> float | None:
    """The total that cells have nearly, though not exactly; None where they differ as cells do."""
    sums = evidence.of(Transform.NONE).sums
    return median(sums) if len(sums) >= 10 and 0 < spread(sums) <= _NEARLY_ONE_TOTAL else None


def _counts(evidence: Evidence) -> Recognition:
    if evidence.whole_fraction == 1.0:
        return Recognition(MatrixState.COUNTS, f"all of {evidence.n_values:,} sampled values are whole numbers")
    words = f"all but {1 - evidence.whole_fraction:.2g} of the sampled values are whole numbers"
    return Recognition(MatrixState.COUNTS, words, proven=evidence.whole_fraction >= NEARLY_ALL)


# --- Fractions ----------------------------------------------------------------------------------------------------


def _scaled_afterwards(evidence: Evidence, n_genes: int) -> Recognition | None:
    """Values of one total that are no multiples of one count as they are, but all are where they were logarithms."""
    del n_genes
    if any(found.multiples >= _MANY for found in evidence.undone if found.transform not in _SCALED_AFTERWARDS):
        return None
    for transform, outer in _SCALED_AFTERWARDS.items():
        if evidence.of(transform).multiples >= NEARLY_ALL and _agree(evidence.of(outer).sums):
            proof = f"{NAMES[transform]} gives whole numbers: logarithms that were scaled afterwards"
            return Recognition(MatrixState.LOG_NORMALISED, proof, transform)
    return None


def _one_total(evidence: Evidence, n_genes: int) -> Recognition | None:
    """Every cell has the same total, with some transformation undone.

    Of several that fit to 1 % the closest is meant: the total of sinh(x) is constant to 2 % in a logarithm, too.
    """
    del n_genes
    counted = evidence.of(Transform.NONE).multiples >= NEARLY_ALL  # Then nothing was done but scaling.
    fits = [
        (spread(found.sums), place)
        for place, found in enumerate(evidence.undone)
        if _agree(found.sums) and (found.transform is Transform.NONE or not (counted or _is_norm(found)))
    ]
    alike = sum(spread(found.sums) <= 1e-4 for found in evidence.undone if found.sums)
    if not fits or alike > 2:  # Values that add up alike whatever is undone were made alike: by quantiles.
        return None
    undone = evidence.undone[min(fits)[1]]
    total = median(undone.sums)
    told = _told_target(evidence, undone) if undone.multiples >= NEARLY_ALL else None
    if told is not None and told > 1.01 * total:
        return _kept_scale(evidence, undone)
    proof = f"{NAMES[undone.transform]} sums to {total:,.6g} in {len(undone.sums)} sampled cells"
    if undone.transform is Transform.NONE:
        return Recognition(MatrixState.NORMALISED, proof, was_scaled_to=total)
    if undone.transform is Transform.LOG1P and abs(total - TARGET) <= 0.01 * TARGET:
        return Recognition(MatrixState.LOG1P_CP10K, proof, Transform.LOG1P, was_scaled_to=TARGET)
    return Recognition(MatrixState.LOG_NORMALISED, proof, undone.transform, was_scaled_to=total)


def _is_norm(undone: Undone) -> bool:
    """Whether a constant sum of squares is a norm that the values were divided by, not a total of roots."""
    return undone.transform is Transform.SQRT and undone.multiples < NEARLY_ALL


def _whole_multiples(evidence: Evidence, n_genes: int) -> Recognition | None:
    """The values of each cell are whole multiples of its smallest, as only counts are, however they were scaled."""
    ordered = sorted(
        evidence.undone,
        key=lambda found: (
            found.transform in _SCALED_AFTERWARDS,  # They fit whatever the others fit.
            -round(found.multiples, 2),
            _likely(found.transform),
        ),
    )
    undone = next((found for found in ordered if found.multiples >= NEARLY_ALL), None)
    if undone is None:
        return None
    transform = undone.transform
    proof = f"{NAMES[transform]} gives whole multiples of each cell's smallest value"
    if undone.whole_fraction >= 0.99 and transform is not Transform.NONE:
        return Recognition(MatrixState.LOG_NORMALISED, f"{NAMES[transform]} gives whole numbers: counts", transform)
    del n_genes
    return _kept_scale(evidence, undone) or Recognition(_fractions(transform), proof, transform)


def _kept_scale(evidence: Evidence, undone: Undone) -> Recognition | None:
    """Values that kept the scale of whole cells when genes were left out; None where that cannot be proved."""
    transform = undone.transform
    target, by = _target(evidence, undone)
    if target is None or _has_all(undone.sums, target):
        return None
    words = f"{NAMES[transform]} gives whole multiples of each cell's smallest value; one count became "
    words = f"{words}{target:,.6g} / {by}, though genes were left out later"
    ten_thousand = transform is Transform.LOG1P and abs(target - TARGET) <= 0.01 * TARGET
    state = MatrixState.LOG1P_CP10K if ten_thousand else _fractions(transform)
    return Recognition(state, words, transform, target_sum=TARGET if ten_thousand else target)


def _near_counts(evidence: Evidence, n_genes: int) -> Recognition | None:
    """Fractions that crowd below or around whole numbers, as corrected counts do; or the totals that obs tells."""
    del n_genes
    undone = evidence.of(Transform.NONE)
    pairs = [(found, told) for found, told in zip(undone.sums, told_totals(evidence), strict=False) if told > 0]
    if len(pairs) >= 10 and sum(abs(found - told) <= 0.02 * told for found, told in pairs) >= NEARLY_ALL * len(pairs):
        return Recognition(MatrixState.NORMALISED, f"a cell's values sum to its {evidence.totals_column}")
    if evidence.main is RowKind.LARGE:
        words = f"fractions, and values up to {evidence.maximum:,.4g}"
        return Recognition(MatrixState.NORMALISED, words, proven=False)
    if evidence.near_whole >= 0.55:
        return Recognition(MatrixState.NORMALISED, "most values lie close to whole numbers: corrected counts")
    return None


def _by_range(evidence: Evidence, n_genes: int) -> Recognition:
    words = f"fractions from {evidence.minimum:.3g} to {evidence.maximum:.3g}"
    if evidence.maximum <= _SMALLEST_LOG:
        return Recognition(MatrixState.UNKNOWN, words)
    words = f"{words}, the range of logarithms"
    sums = evidence.of(Transform.LOG1P).sums
    if n_genes < WHOLE_TRANSCRIPTOME and (not sums or max(sums) <= 1.05 * TARGET):
        state = MatrixState.LOG_NORMALISED
        return Recognition(state, words, Transform.LOG1P, target_sum=TARGET, proven=False)
    return Recognition(MatrixState.LOG_NORMALISED, words, Transform.LOG1P, proven=False)


def _fractions(transform: Transform) -> MatrixState:
    return MatrixState.NORMALISED if transform is Transform.NONE else MatrixState.LOG_NORMALISED


def _likely(transform: Transform) -> int:
    return FIRST_TRANSFORMS.index(transform) if transform in FIRST_TRANSFORMS else len(FIRST_TRANSFORMS)


def _target(evidence: Evidence, undone: Undone) -> tuple[float | None, str]:
    """The total that cells were scaled to before genes were left out, and by what it is known.

    With u = what one count became, target / u is the cell's total count: the one that obs tells, or at least a whole
    number, which it is in every cell for the true target alone.
    """
    told = _told_target(evidence, undone)
    if told is not None:
        return told, str(evidence.totals_column)
    units = undone.units
    if len(units) < 10 or spread(units) <= 0.01:  # Cells differ in their totals: what is alike in all is no total.
        return None, ""
    for target in (SHARES, *STANDARD_SUMS):
        totals = [target / unit for unit in units]
        whole = sum(abs(total - round(total)) <= min(0.05, 1e-4 * total) for total in totals)
        if whole >= NEARLY_ALL * len(units):  # Of ten times as much, too: only the smallest proves anything.
            inside = sum(total <= 1.01 * target for total in undone.sums) >= NEARLY_ALL * len(undone.sums)
            return (target, "a whole number, the cell's total") if inside else (None, "")
    return None, ""


def _told_target(evidence: Evidence, undone: Undone) -> float | None:
    """By the totals that obs tells; None where there are none, or they do not fit the values."""
    pairs = zip(undone.units, told_totals(evidence), strict=False)
    targets = [unit * told for unit, told in pairs if told > 0]
    return median(targets) if len(targets) >= 5 and spread(targets) <= 0.01 else None


def told_totals(evidence: Evidence) -> tuple[float, ...]:
    """What obs says of the cells' totals; nothing where it says the same of each, as after they were scaled."""
    told = [total for total in evidence.totals if total > 0]
    return evidence.totals if len(told) < 2 or spread(told) > 0.001 else ()


def _agree(sums: Sequence[float]) -> bool:
    """Whether the cells have one total; of fewer than five cells only a customary one says so."""
    if not sums or spread(sums) > 0.01:
        return False
    middle = median(sums)
    return len(sums) >= 5 or any(abs(middle - total) <= 0.01 * total for total in STANDARD_SUMS)


def _has_all(sums: Sequence[float], target: float) -> bool:
    return len(sums) > 0 and abs(median(sums) - target) <= 0.01 * target


def spread(sums: Sequence[float]) -> float:
    """How far nine in ten of the sums lie from their median, as a share of it: some cells may be of another batch."""
    middle = median(sums) if sums else 0.0
    if middle <= 0:
        return math.inf
    off = sorted(abs(value - middle) / middle for value in sums)
    return off[math.ceil(_MOST_CELLS * len(off)) - 1]
