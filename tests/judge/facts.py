"""Facts of made-up matrices: what an inspection of a file would have found, without a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shared.domain.verdict import Finding, MatrixEncoding, Transform
from shared.h5ad.facts import Candidate, Evidence, Household, RowKind, Undone
from shared.h5ad.judge.matrices import Selection, choose
from shared.h5ad.judge.values import on_values

N_CELLS = 12
"""Sampled cells, where a test does not say otherwise: enough for every rule to speak."""
TOTAL = 1000.0
"""Counts of each cell of a whole matrix."""


def counts(of_cells: Sequence[float] = (TOTAL,) * N_CELLS, **changes: Any) -> Evidence:
    """Counts, by the total of each sampled cell."""
    found = Undone(Transform.NONE, tuple(of_cells), (1.0,) * len(of_cells), multiples=1.0, whole_fraction=1.0)
    made = Evidence(
        n_values=20 * len(of_cells),
        n_rows=len(of_cells),
        minimum=1.0,
        maximum=90.0,
        kinds={RowKind.WHOLE: len(of_cells)},
        whole_fraction=1.0,
        all_whole=1.0,
        rows=tuple(range(len(of_cells))),
        undone=(found,),
        ones=0.7,
    )
    return replace(made, **changes)


def logarithms(
    of_cells: Sequence[float] = (TOTAL,) * N_CELLS,
    target: float = 10_000.0,
    multiples: float = 1.0,
    transform: Transform = Transform.LOG1P,
    **changes: Any,
) -> Evidence:
    """Logarithms of cells with these counts, scaled to ``target`` before."""
    units = tuple(target / total for total in of_cells)
    found = Undone(transform, (target,) * len(of_cells), units, multiples)
    made = replace(counts(of_cells), minimum=0.2, maximum=6.0, kinds={RowKind.SMALL: len(of_cells)}, whole_fraction=0.0)
    return replace(made, **{"undone": (found,), **changes})


def unproven(of_cells: Sequence[float] = (TOTAL,) * N_CELLS, **changes: Any) -> Evidence:
    """Fractions in the range of logarithms, of which nothing more can be proved."""
    return replace(logarithms(of_cells), **{"undone": (), **changes})


def fractions(of_cells: Sequence[float] = (TOTAL,) * N_CELLS, multiples: float = 1.0, **changes: Any) -> Evidence:
    """Fractions in proportion to counts, of the total 10,000."""
    made = logarithms(of_cells, multiples=multiples, transform=Transform.NONE)
    return replace(made, **{"maximum": 500.0, "kinds": {RowKind.LARGE: len(of_cells)}, **changes})


SCALED = replace(unproven(), minimum=-2.0, n_negative=5)
"""z-scores."""


def matrix(
    path: str, evidence: Evidence, n_genes: int = 20_000, bare: float | None = None, **changes: Any
) -> Candidate:
    """A matrix of 100 cells.

    Args:
        bare: Share of the cells that hardly have the genes that every cell has; None where that is not known.
    """
    made = Candidate(
        path=path,
        encoding=MatrixEncoding.CSR,
        dtype="float32",
        n_cells=100,
        n_genes=n_genes,
        nnz=5000,
        genes_path="raw/var" if path.startswith("raw") else "var",
        evidence=evidence,
        household=None if bare is None else Household((), bare),
    )
    return replace(made, **changes)


def order(*matrices: Candidate, wanted: str | None = None, unfit: Sequence[str] = ()) -> list[str]:
    """The paths, the best first."""
    return [one.candidate.path for one in choose(matrices, wanted, frozenset(unfit)).considered]


def selected(*matrices: Candidate, wanted: str | None = None, unfit: Sequence[str] = ()) -> Selection:
    """A selection in which some matrix can be used."""
    selection = choose(matrices, wanted, frozenset(unfit))
    assert selection.chosen is not None
    return selection


def told(*matrices: Candidate, wanted: str | None = None) -> dict[str, Finding]:
    """What is said of the values of the matrix that is chosen, by code."""
    selection = selected(*matrices, wanted=wanted)
    assert selection.chosen is not None
    findings = list(on_values(selection, selection.chosen))
    assert len({finding.code for finding in findings}) == len(findings)
    return {finding.code: finding for finding in findings}
