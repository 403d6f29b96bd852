"""Which matrix of a file to use: all candidates are weighed together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from shared.domain.verdict import MatrixChoice, MatrixState, Transform
from shared.h5ad.facts import Candidate, RowKind
from shared.h5ad.matrix_names import wanted_path
from shared.h5ad.values.states import NEARLY_ALL, Recognition, recognise

USABLE = (MatrixState.COUNTS, MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED, MatrixState.NORMALISED)
"""States from which expression can be had."""

_COUNT_LAYERS = ("counts", "raw_counts", "count", "counts_raw", "raw", "umi", "umis", "umi_counts", "raw_count")
_PART = re.compile(
    r"(matrix_)?((un)?spliced|ambiguous|spanning|mature|nascent|ex(on|onic)s?|intr(on|onic)s?)(_counts?)?",
    re.IGNORECASE,
)
"""Layers that hold some of a cell's molecules, as velocity tools write them."""
_WIDE = 0.75
"""A matrix with less than this share of the widest one's genes is a selection, and stands back."""
_WHOLE_CELL = 0.9
"""Share of a cell's counts from which a matrix passes for all of them: filters of genes take a few percent."""
_BARE = 0.5
"""Share of the cells, beyond that of another matrix, without the genes that every cell has."""
_OTHER_NUMBERS = 3.0
"""Whole numbers that sum to more than this many times the cell's counts are no counts."""

_WORDS = {
    MatrixState.COUNTS: "whole, non-negative numbers: counts",
    MatrixState.LOG1P_CP10K: "log1p of counts scaled to 10,000 a cell",
    MatrixState.LOG_NORMALISED: "a logarithm or root of counts, which is undone",
    MatrixState.NORMALISED: "non-negative fractions in proportion to counts, which are scaled by each cell's total",
    MatrixState.RANKED: "ranks, bins or yes and no, which do not tell how much was expressed",
    MatrixState.SCALED: "negative values: centred or z-scored, so that the zeros are gone",
    MatrixState.UNKNOWN: "values that are neither counts nor recognisably normalised",
}


@dataclass(frozen=True, slots=True)
class Weighed:
    """A candidate with what its numbers are.

    Attributes:
        share_of_counts: How many of a cell's counts it has, as a share of those that the other matrices or obs prove;
            None where nothing else tells.
        lacks_cells: Whether it is empty for cells of which another matrix has values.
        other_cells: Whether its counts are not those of the same cells, by what the other matrices prove.
        other_genes: Whether its cells hardly have the genes that every cell has, which they do have by another matrix:
            the columns are in another order, or those genes were emptied.
    """

    candidate: Candidate
    found: Recognition
    share_of_counts: float | None = None
    lacks_cells: bool = False
    other_cells: bool = False
    other_genes: bool = False

    @property
    def usable(self) -> bool:
        """Whether expression can be had from it."""
        return self.found.state in USABLE

    @property
    def part_by_name(self) -> bool:
        """Whether its name says that it holds some of a cell's molecules."""
        return _PART.fullmatch(self.candidate.path.removeprefix("layers/")) is not None

    @property
    def is_part(self) -> bool:
        """Whether it lacks counts of every cell, or holds other numbers altogether."""
        if self.lacks_cells or self.other_cells or self.other_genes:
            return True
        if self.found.target_sum is not None or self.found.state is MatrixState.LOG1P_CP10K:
            return False  # It keeps the scale of the whole cell.
        share = self.share_of_counts
        return self.part_by_name or (share is not None and not _WHOLE_CELL <= share <= _OTHER_NUMBERS)


@dataclass(frozen=True, slots=True)
class Selection:
    """Every matrix in order of preference, and the one to use.

    Attributes:
        chosen: None when none can be used, or the wanted one is not there.
    """

    considered: tuple[Weighed, ...]
    choice: MatrixChoice | None
    chosen: Weighed | None


def choose(
    candidates: Sequence[Candidate],
    wanted: str | None = None,
    unfit: frozenset[str] = frozenset(),
    *,
    counts: bool = False,
) -> Selection:
    """Choose the best matrix, or the wanted one if its numbers can be used.

    Behind everything else stand matrices whose genes are unfit, then those cut down to a selection of genes, then
    those that lack counts of every cell, which totals in obs or another matrix prove. Counts come first, then log1p of
    10,000 a cell, then what is provably made of counts, then the rest. Among equals: a layer named for counts, raw, X,
    other layers, and last what is named for a part of the counts (spliced, unspliced).

    Args:
        unfit: Paths of gene tables in which a model finds too few of its genes.
        counts: Whether counts come before all else, if they are all counts of the cells: for a model that takes
            nothing else.
    """
    known = _with_shares([Weighed(one, recognise(one.evidence, one.n_genes, one.n_other)) for one in candidates], unfit)
    fit = [one for one in known if one.candidate.genes_path not in unfit]
    widest = max((one.candidate.n_genes for one in fit if one.found.state in USABLE[:2]), default=0)
    ordered = sorted(known, key=lambda one: _rank(one, widest, unfit))
    if counts:
        ordered.sort(key=lambda one: not _are_all_counts(one, unfit))
    considered = tuple(ordered)
    if wanted is not None:
        path = wanted_path(wanted, [candidate.path for candidate in candidates])
        ordered = [one for one in ordered if one.candidate.path == path]
    best = next((one for one in ordered if one.usable), None)
    if best is None:
        return Selection(considered, None, None)
    return Selection(considered, _choice(best, asked_for=wanted is not None), best)


def _rank(one: Weighed, widest: int, unfit: frozenset[str]) -> tuple[bool, bool, bool, bool, float, int, int, str]:
    candidate = one.candidate
    narrow = one.found.state in USABLE[:2] and candidate.n_genes < _WIDE * widest
    share = (one.share_of_counts or 0.0) if one.is_part else 0.0
    bad = candidate.evidence.n_bad > 0
    unusable, last = candidate.genes_path in unfit or bad, (_place(one), candidate.path)
    return unusable, not one.usable, narrow, one.is_part, -share, _tier(one), *last


def _are_all_counts(one: Weighed, unfit: frozenset[str]) -> bool:
    is_bad = one.is_part or one.candidate.evidence.n_bad > 0 or one.candidate.genes_path in unfit
    return one.found.state is MatrixState.COUNTS and not is_bad


def _tier(one: Weighed) -> int:
    match one.found.state:
        case MatrixState.COUNTS:
            return 0
        case MatrixState.LOG1P_CP10K:
            return 1
        case _:
            return 2 if one.found.proven else 3


def _place(one: Weighed) -> int:
    path = one.candidate.path
    if not path.startswith("layers/"):
        return 1 if path.startswith("raw") else 2
    if path.removeprefix("layers/").lower() in _COUNT_LAYERS:
        return 0
    return 4 if one.part_by_name else 3


# --- The counts of a cell -----------------------------------------------------------------------------------------


def _with_shares(known: Sequence[Weighed], unfit: frozenset[str]) -> list[Weighed]:
    """Each with the share of a cell's counts that it has, beside the best proof there is of how many those are.

    That is, in this order: what a logarithm's scale proves (one count became target / total), the sum of the parts
    that velocity tools write, and the largest of the counts.
    """
    fit = [one for one in known if one.usable and one.candidate.genes_path not in unfit]
    proofs = [_proven_totals(one) for one in fit]
    proven = max((proof for proof in proofs if proof), key=_typical, default=None)
    if proven is None:
        counted = [counts for one in fit if (counts := _counts(one))]
        proven = _sum_of_parts(fit) or max(counted, key=_typical, default={})
    most = max((_share_of_cells(one) for one in fit), default=0.0)
    least_bare = min((bare for one in fit if (bare := _share_bare(one)) is not None), default=1.0)
    return [
        Weighed(
            one.candidate,
            one.found,
            _share(one, proven),
            lacks_cells=_share_of_cells(one) < most - 0.01,
            other_cells=_other_cells(one, proven),
            other_genes=(_share_bare(one) or 0.0) > least_bare + _BARE,
        )
        for one in known
    ]


def _share_of_cells(one: Weighed) -> float:
    evidence = one.candidate.evidence
    n_looked_at = evidence.n_rows + evidence.n_empty
    return evidence.n_rows / n_looked_at if n_looked_at else 1.0


def _share_bare(one: Weighed) -> float | None:
    """Share of the cells that hardly have the genes that every cell has; None if names or sample do not tell."""
    household = one.candidate.household
    return household.bare if household else None


def _other_cells(one: Weighed, proven: Mapping[int, float]) -> bool:
    """Whether the counts of most cells differ from what is proven by more than a share that is alike in all."""
    ratios = _ratios(one, proven)
    if len(ratios) < 10 or one.part_by_name:
        return False
    middle = median(ratios)
    return sum(abs(ratio - middle) <= 0.25 * middle for ratio in ratios) < 0.5 * len(ratios)


def _proven_totals(one: Weighed) -> Mapping[int, float] | None:
    """Counts of the sampled cells, of a matrix whose values are provably multiples of one count; None of any other."""
    found, evidence = one.found, one.candidate.evidence
    undone = evidence.of(found.transform)
    if evidence.main is RowKind.WHOLE or undone.multiples < NEARLY_ALL or one.part_by_name:
        return None
    known = found.target_sum or found.was_scaled_to
    sums = undone.sums if known is None else (known,) * len(undone.units)
    units = undone.units
    return {row: total / unit for row, total, unit in zip(evidence.rows, sums, units, strict=False) if unit > 0}


def _counts(one: Weighed) -> Mapping[int, float]:
    if one.found.state is not MatrixState.COUNTS:
        return {}
    evidence = one.candidate.evidence
    return dict(zip(evidence.rows, evidence.of(Transform.NONE).sums, strict=False))


def _sum_of_parts(fit: Sequence[Weighed]) -> Mapping[int, float] | None:
    parts = [_counts(one) for one in fit if one.part_by_name]
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return None
    rows = set.intersection(*(set(part) for part in parts))
    return {row: sum(part[row] for part in parts) for row in rows}


def _share(one: Weighed, proven: Mapping[int, float]) -> float | None:
    ratios = _ratios(one, proven)
    return median(ratios) if len(ratios) >= 3 else None


def _ratios(one: Weighed, proven: Mapping[int, float]) -> list[float]:
    mine = _counts(one)
    return [mine[row] / total for row, total in proven.items() if row in mine and total > 0]


def _typical(totals: Mapping[int, float]) -> float:
    return median(totals.values())


# --- In words -----------------------------------------------------------------------------------------------------


def _choice(one: Weighed, *, asked_for: bool) -> MatrixChoice:
    candidate, found = one.candidate, one.found
    start = "Asked for; it holds" if asked_for else "It holds"
    return MatrixChoice(
        path=candidate.path,
        state=found.state,
        why=f"{start} {_WORDS[found.state]} ({found.proof}).",
        encoding=candidate.encoding,
        dtype=candidate.dtype,
        n_cells=candidate.n_cells,
        n_genes=candidate.n_genes,
        nnz=candidate.nnz,
        genes_path=candidate.genes_path,
        transform=found.transform,
        target_sum=found.target_sum,
        counted=candidate.evidence.of(found.transform).multiples >= NEARLY_ALL,
    )


def in_words(state: MatrixState) -> str:
    """What a state means."""
    return _WORDS[state]


def described(one: Weighed) -> str:
    """What a matrix holds, and what proves it."""
    return f"{_WORDS[one.found.state]} ({one.found.proof})"
