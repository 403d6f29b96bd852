"""What the numbers of a matrix are, and which matrix of a file to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.verdict import MatrixChoice, MatrixState
from shared.h5ad.facts import Candidate, Evidence

TARGET = 10_000.0
USABLE = (MatrixState.COUNTS, MatrixState.LOG1P_CP10K, MatrixState.LOG_NORMALISED, MatrixState.NORMALISED)
"""In order of preference."""

_LARGEST_LOG = 20.0
"""exp(20) is half a billion: no cell has as many counts of one gene, so that larger values are no logarithms."""
_SMALLEST_LOG = 1.0
"""A logarithm of scaled counts exceeds this somewhere; values that never do are shares, scores or imputed."""
_COUNT_LAYERS = ("counts", "raw_counts", "count", "counts_raw", "raw", "umi", "umis", "umi_counts", "raw_count")
_PART_LAYERS = ("spliced", "unspliced", "ambiguous", "matrix_spliced", "mature", "nascent")
_WIDE = 0.75
"""A matrix with less than this share of the widest one's genes is a selection, and stands back."""

_NEARLY_ALL = 0.95

_WORDS = {
    MatrixState.COUNTS: "whole, non-negative numbers: counts",
    MatrixState.LOG1P_CP10K: "log1p of counts scaled to 10,000 a cell",
    MatrixState.LOG_NORMALISED: "a logarithm of normalised counts whose scale is not 10,000 a cell",
    MatrixState.NORMALISED: "non-negative numbers with fractions, not logarithmised",
    MatrixState.SCALED: "negative values: centred or z-scored, so that the zeros are gone",
    MatrixState.UNKNOWN: "values that are neither counts nor recognisably normalised",
}


@dataclass(frozen=True, slots=True)
class Recognition:
    """A state with what proves it."""

    state: MatrixState
    proof: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Every matrix in order of preference, and the one to use.

    Attributes:
        chosen: None when none can be used, or the wanted one is not there.
    """

    considered: tuple[tuple[str, MatrixState], ...]
    choice: MatrixChoice | None
    chosen: Candidate | None


def recognise(evidence: Evidence) -> MatrixState:
    """Judge a matrix by its numbers alone; its name says nothing."""
    return explain(evidence).state


def explain(evidence: Evidence) -> Recognition:
    """The state, with the evidence for it in words."""
    if evidence.n_values == evidence.n_nan + evidence.n_infinite:
        return Recognition(MatrixState.UNKNOWN, "no values were found in the sample")
    if evidence.n_negative:
        return Recognition(MatrixState.SCALED, f"{evidence.n_negative:,} of {evidence.n_values:,} values are negative")
    if evidence.whole_fraction == 1.0:
        return Recognition(MatrixState.COUNTS, f"all of {evidence.n_values:,} sampled values are whole numbers")
    if evidence.maximum > _LARGEST_LOG:
        return Recognition(MatrixState.NORMALISED, f"fractions, and values up to {evidence.maximum:,.4g}")
    return _explain_small(evidence)


def _explain_small(evidence: Evidence) -> Recognition:
    """Fractions no larger than a logarithm could be: the first rule that fits."""
    return next(found for rule in (_ten_thousand, _linear, _logarithm, _by_range) if (found := rule(evidence)))


def _ten_thousand(evidence: Evidence) -> Recognition | None:
    if _mostly(evidence.expm1_row_sums, TARGET):
        return Recognition(MatrixState.LOG1P_CP10K, f"exp(x)-1 sums to 10,000 in {evidence.n_rows} sampled cells")
    if (evidence.totals_whole_fraction or 0.0) >= _NEARLY_ALL:
        words = f"(exp(x)-1) x {evidence.totals_column} / 10,000 gives whole numbers, though some genes were cut away"
        return Recognition(MatrixState.LOG1P_CP10K, words)
    return None


def _linear(evidence: Evidence) -> Recognition | None:
    if same_sum(evidence.row_sums) is not None:
        return Recognition(MatrixState.NORMALISED, "every sampled cell has the same total")
    if evidence.linear_multiples >= _NEARLY_ALL:
        return Recognition(MatrixState.NORMALISED, "the values of a cell are whole multiples of its smallest")
    return None


def _logarithm(evidence: Evidence) -> Recognition | None:
    target = same_sum(evidence.expm1_row_sums)
    if target is not None:
        return Recognition(MatrixState.LOG_NORMALISED, f"exp(x)-1 sums to {target:,.6g} in every sampled cell")
    if evidence.log_multiples >= _NEARLY_ALL:
        return Recognition(MatrixState.LOG_NORMALISED, "exp(x)-1 gives whole multiples of each cell's smallest value")
    if evidence.log2_multiples >= _NEARLY_ALL:
        return Recognition(MatrixState.LOG_NORMALISED, "2^x-1 gives whole multiples of each cell's smallest value")
    return None


def _by_range(evidence: Evidence) -> Recognition:
    words = f"fractions from {evidence.minimum:.3g} to {evidence.maximum:.3g}"
    if evidence.maximum > _SMALLEST_LOG:
        return Recognition(MatrixState.LOG_NORMALISED, f"{words}, the range of logarithms")
    return Recognition(MatrixState.UNKNOWN, words)


def _mostly(sums: Sequence[float], target: float) -> bool:
    """Whether nineteen in twenty cells have this total, to 1 %: rounding and float16 shift it by less."""
    if len(sums) < 1:
        return False
    return sum(abs(value - target) <= 0.01 * target for value in sums) >= _NEARLY_ALL * len(sums)


def same_sum(sums: Sequence[float]) -> float | None:
    """The total that nineteen in twenty cells share to 1 %; None where there is none, or fewer than 5 cells."""
    if len(sums) < 5:
        return None
    middle = sorted(sums)[len(sums) // 2]
    return middle if middle > 0 and _mostly(sums, middle) else None


def log_base_two(evidence: Evidence) -> bool:
    """Whether the logarithm is provably of base 2."""
    return evidence.log2_multiples >= _NEARLY_ALL > evidence.log_multiples and same_sum(evidence.expm1_row_sums) is None


def wanted_path(wanted: str, paths: Sequence[str]) -> str | None:
    """The path that an option's ``X``, ``raw`` or ``layers/NAME`` means; None where there is none of the kind."""
    names = {"X": ("X", "matrix"), "raw": ("raw/X", "raw.X"), "raw/X": ("raw/X", "raw.X")}.get(wanted, (wanted,))
    found = next((name for name in names if name in paths), None)
    if found is None and wanted == "X" and len(paths) == 1 and "/" not in paths[0] and paths[0] != "raw.X":
        return paths[0]
    return found


def choose(candidates: Sequence[Candidate], wanted: str | None = None) -> Selection:
    """Choose the best matrix, or the wanted one if its numbers can be used.

    Counts come first, then log1p of 10,000 a cell, then other logarithms, then unlogged values; a matrix cut down to a
    selection of genes stands behind one with all of them, since totals and overlap suffer. Among equals: a layer named
    for counts, raw, X, other layers, and last what holds only a part of the counts (spliced, unspliced).
    """
    known = [(candidate, explain(candidate.evidence)) for candidate in candidates]
    widest = max((c.n_genes for c, r in known if r.state in USABLE[:2]), default=0)
    ordered = sorted(known, key=lambda pair: _rank(pair[0], pair[1].state, widest))
    considered = tuple((candidate.path, recognition.state) for candidate, recognition in ordered)
    if wanted is not None:
        path = wanted_path(wanted, [candidate.path for candidate in candidates])
        ordered = [pair for pair in ordered if pair[0].path == path]
    best = next(((c, r) for c, r in ordered if r.state in USABLE), None)
    if best is None:
        return Selection(considered, None, None)
    return Selection(considered, _choice(*best, asked_for=wanted is not None), best[0])


def _rank(candidate: Candidate, state: MatrixState, widest: int) -> tuple[int, int, int, str]:
    usable = USABLE.index(state) if state in USABLE else len(USABLE)
    narrow = int(candidate.n_genes < _WIDE * widest) if usable < 2 else usable
    return narrow, usable, _place(candidate.path), candidate.path


def _place(path: str) -> int:
    name = path.removeprefix("layers/").lower()
    if not path.startswith("layers/"):
        return 1 if path.startswith("raw") else 2
    if name in _COUNT_LAYERS:
        return 0
    return 4 if name in _PART_LAYERS else 3


def _choice(candidate: Candidate, recognition: Recognition, *, asked_for: bool) -> MatrixChoice:
    start = "Asked for; it holds" if asked_for else "It holds"
    return MatrixChoice(
        path=candidate.path,
        state=recognition.state,
        why=f"{start} {_WORDS[recognition.state]} ({recognition.proof}).",
        encoding=candidate.encoding,
        dtype=candidate.dtype,
        n_cells=candidate.n_cells,
        n_genes=candidate.n_genes,
        nnz=candidate.nnz,
        genes_path=candidate.genes_path,
    )


def in_words(state: MatrixState) -> str:
    """What a state means."""
    return _WORDS[state]
