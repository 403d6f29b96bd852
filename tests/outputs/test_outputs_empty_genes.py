"""Genes that are in a file by name only, found in the sampled cells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest

from jobs.engine.empty_genes import Typical
from jobs.inference.merge.calls import Rules
from jobs.inference.merge.coverage import Coverage, EmptyGenes
from jobs.inference.merge.empty_genes import find_empty_genes
from jobs.inference.parts.part import PartLayout
from shared.bundles.card import Familiarity, Features
from shared.domain.geometry import Rows
from tests.outputs.stand_ins import Draws, merge_of

N_CELLS, N_LABELS, N_GENES = 2_000, 4, 32
GENES = tuple(f"gene {number}" for number in range(N_GENES))
WEIGHTS = np.tile(np.eye(N_LABELS), (1, N_GENES // N_LABELS))
FIVE, TEN = tuple(range(2, 7)), tuple(range(10))
LAYOUT = PartLayout(N_CELLS, n_labels=N_LABELS, top_k=2, n_features=N_GENES)
FAMILIARITY = Familiarity(genes=Features(symbol=("G",)), typical_total=1000, spread=0.1, threshold=3, false_alarm=0.01)


@dataclass(frozen=True)
class Emptied(Draws):
    """Draws in which some genes have no value in some rows."""

    empty: tuple[int, ...] = ()
    rows: Rows = field(default_factory=lambda: Rows(0, N_CELLS))

    def expression(self, row_n: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        value_nf = super().expression(row_n)
        there_n = (row_n >= self.rows.start) & (row_n < self.rows.stop)
        value_nf[np.ix_(there_n, np.array(self.empty, np.int64))] = 0
        return value_nf


@dataclass(frozen=True)
class Rare(Emptied):
    """Draws in which some genes have no value in many cells."""

    without: tuple[int, ...] = ()
    of: tuple[int, ...] = tuple(range(N_GENES))

    def expression(self, row_n: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        value_nf = super().expression(row_n)
        value_nf[np.ix_(np.isin(row_n, self.without), np.array(self.of, np.int64))] = 0
        return value_nf


def found(draws: Draws, n_tasks: int = 1, rules: Rules | None = None) -> EmptyGenes | None:
    typical = Typical.of(WEIGHTS, np.full(N_GENES, 1.0))
    assert typical is not None
    merge = merge_of(draws, n_tasks)
    merge = merge if rules is None else replace(merge, rules=rules)
    return find_empty_genes(merge.groups(), typical, N_CELLS)


DRAWS = Emptied(LAYOUT, genes=GENES)


def test_where_all_genes_have_values_none_is_found() -> None:
    assert found(DRAWS) is None


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_genes_without_any_value_are_found_whatever_the_number_of_tasks(n_tasks: int) -> None:
    one = found(replace(DRAWS, empty=FIVE), n_tasks)
    assert one == EmptyGenes(tuple(GENES[f] for f in FIVE), 0.1562)
    assert one.words == "no cell has a value of gene 2, gene 3, gene 4, gene 5, gene 6"


@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("rows", [Rows(0, 600), Rows(1_400, 2_000), Rows(800, 1_200)])
def test_genes_without_values_in_a_stretch_of_rows_are_found_there(rows: Rows, n_tasks: int) -> None:
    one = found(replace(DRAWS, empty=TEN, rows=rows), n_tasks)
    assert one == EmptyGenes(GENES[:10], 0.3125, rows)
    assert f"in about rows {rows.start + 1:,} to {rows.stop:,}" in one.words


def test_few_genes_are_no_sign_of_a_fault() -> None:
    """A lab gates cells by some genes, and joins samples of cells with and without them."""
    weight_lf = WEIGHTS * np.array([3.0] * 4 + [1.0] * (N_GENES - 4))
    typical = Typical.of(weight_lf, np.full(N_GENES, 1.0))
    assert typical is not None
    assert typical.importance_f[:4].sum() > 0.5
    groups = list(merge_of(replace(DRAWS, empty=(0, 1, 2, 3)), 1).groups())
    assert find_empty_genes(groups, typical, N_CELLS) is None
    assert found(replace(DRAWS, empty=FIVE[:4])) is None
    assert found(replace(DRAWS, empty=TEN[:9], rows=Rows(0, 600))) is None


def test_in_a_stretch_at_least_ten_cells_must_be_expected() -> None:
    few = replace(DRAWS, empty=TEN, rows=Rows(0, 200))
    rare = [row for row in range(N_CELLS) if row % 200]  # So that one cell in 200 has a value.
    assert found(few) is not None
    assert found(Rare(LAYOUT, genes=GENES, empty=TEN, rows=Rows(0, 200), without=tuple(rare))) is None


def test_every_label_says_what_its_cells_have() -> None:
    # One label's cells have some genes alone; they are few, and lack them in one stretch.
    decision_nl = np.zeros((N_CELLS, N_LABELS), np.float32)
    decision_nl[:, 0] = 1
    decision_nl[::4] = (0, 2, 0, 0)
    others = tuple(row for row in range(N_CELLS) if row % 4)
    draws = Rare(LAYOUT, genes=GENES, decisions=decision_nl, empty=TEN, rows=Rows(0, 1_000), without=others, of=TEN)
    one = found(draws)
    assert one is not None
    assert one.names == GENES[:10]
    assert one.rows == Rows(0, 1_000)


def test_a_gene_that_the_file_does_not_name_is_not_found_again() -> None:
    named = (*[None] * 8, *GENES[8:])
    assert found(replace(DRAWS, genes=named)) is None


def test_genes_that_make_up_little_are_no_sign_of_a_fault() -> None:
    typical = Typical.of(WEIGHTS * np.array([1.0] * 22 + [0.5] * 10), np.full(N_GENES, 1.0))
    assert typical is not None
    empty = tuple(range(22, 32))
    assert find_empty_genes(merge_of(replace(DRAWS, empty=empty), 1).groups(), typical, N_CELLS) is None


def test_cells_unlike_the_training_cells_do_not_count() -> None:
    unlike = tuple(row >= 100 for row in range(N_CELLS))
    draws = replace(DRAWS, empty=FIVE, unfamiliar=unlike)
    assert found(draws, rules=Rules(familiarity=FAMILIARITY)) is None
    assert found(draws) is not None


def test_without_counts_the_number_of_genes_says_how_deep_a_cell_is() -> None:
    assert found(replace(DRAWS, empty=FIVE, counted=False)) == found(replace(DRAWS, empty=FIVE))


def test_values_are_not_expected_of_the_genes_of_labels_that_no_cell_has() -> None:
    decision_nl = np.zeros((N_CELLS, N_LABELS), np.float32)
    decision_nl[:, 0] = 1
    draws = replace(DRAWS, empty=tuple(f for f in range(N_GENES) if f % 4), decisions=decision_nl)
    assert found(draws) is None
    of_the_first = tuple(f"gene {f}" for f in range(0, 20, 4))
    assert found(replace(draws, empty=tuple(range(20)))) == EmptyGenes(of_the_first, 0.1562)


def test_what_is_empty_is_missing() -> None:
    assert Coverage(None, None).share is None
    assert Coverage(0.97).share == 0.97
    lost = Coverage(0.97, EmptyGenes(("LYZ",), 0.3))
    assert lost.share == pytest.approx(0.67)
    assert lost.is_below(0.9)
    assert lost.words == "no cell has a value of LYZ, and 33% of what tells the labels apart is missing"
    assert Coverage(0.2, EmptyGenes(("LYZ",), 0.3)).share == 0
    six = tuple(f"G{number}" for number in range(6))
    assert EmptyGenes(six, 0.3).words.endswith("G4 and 1 more gene")
    names = tuple(f"G{number}" for number in range(9))
    assert EmptyGenes(names, 0.3).words == "no cell has a value of G0, G1, G2, G3, G4 and 4 more genes"
