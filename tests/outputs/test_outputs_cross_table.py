"""The cross table of a file's own labels and the model's, cell by cell, and the part of it that people read."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.engine.facts import CellFacts
from jobs.engine.levels import Lineages
from jobs.inference.merge.calls import Calls, Vocabulary
from jobs.inference.merge.clusters import Clusters, sample_stride
from jobs.inference.merge.cross_table import CrossTable, shown
from jobs.inference.merge.own_labels import OwnLabels
from shared.bundles.aligning import Meaning
from shared.bundles.card import UNASSIGNED, Label
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote

LABELS = (
    Label(name="B cell", lineage="Lymphocyte"),
    Label(name="T cell", lineage="Lymphocyte"),
    Label(name="Monocyte", lineage="Myeloid"),
)
B, T, M = range(3)
MEANINGS = {
    "B": Meaning("B cell", "Lymphocyte"),
    "CD4": Meaning("T cell", "Lymphocyte"),
    "CD8": Meaning("T cell", "Lymphocyte"),
    "lymph": Meaning(None, "Lymphocyte"),
    "?": Meaning(),
}
CELLS = [  # Own label, the model's, its score, whether it is unassigned, whether it has no value of the model's genes.
    ("B", B, 0.9, False, False),
    ("B", B, 0.7, False, False),
    ("B", T, 0.6, False, False),
    ("B", B, 0.3, True, False),
    ("CD4", T, 0.9, False, False),
    ("CD4", B, 0.45, False, False),
    ("CD8", T, 0.8, False, False),
    ("CD8", M, 0.5, False, False),
    ("CD8", T, 0.2, True, True),
    ("lymph", M, 0.9, False, False),
    ("lymph", B, 0.9, False, False),
    ("?", M, 0.9, False, False),
    (None, M, 0.9, False, False),
    (None, B, 0.1, True, False),
]
GROUP = [0, 0, 1]
"""The lineage of each label."""


def own(names: dict[str, Meaning] | None = None) -> OwnLabels:
    names = MEANINGS if names is None else names
    places = list(names)
    code_n = np.array([-1 if name is None else places.index(name) for name, *_ in CELLS], np.int32)
    return OwnLabels("cell_type", asked=False, code_n=code_n, names=tuple(places), meanings=tuple(names.values()))


def calls(start: int, stop: int, *, lineages: bool = True) -> Calls:
    _, label, score, abstained, silent = zip(*CELLS[start:stop], strict=True)
    label_n, n_cells = np.array(label, np.int64), stop - start
    note_n = np.where(silent, CellNote.SILENT, CellNote.NONE).astype(np.uint8)
    return Calls(
        cell_ids=pa.array([str(row) for row in range(n_cells)]),
        top_label_nk=np.stack([label_n, (label_n + 1) % 3], axis=1),
        top_score_nk=np.stack([np.array(score), np.full(n_cells, 0.01)], axis=1).astype(np.float32),
        abstained_n=np.array(abstained),
        unfamiliar_n=np.zeros(n_cells, np.bool_),
        facts=CellFacts(None, np.ones(n_cells, np.int32), note_n),
        lineages=Lineages(np.array(GROUP)[label_n], np.ones(n_cells, np.float32)) if lineages else None,
    )


def crossed(*cuts: int, lineages: bool = True, names: dict[str, Meaning] | None = None) -> CrossTable:
    table = CrossTable(own(names), Vocabulary(LABELS))
    edges = [0, *cuts, len(CELLS)]
    for start, stop in pairwise(edges):
        table.add(Rows(start, stop), calls(start, stop, lineages=lineages))
    return table


@pytest.mark.parametrize("cuts", [(), (1,), (4, 5, 11)])
def test_cells_are_counted_by_own_label_and_by_the_models_wherever_a_piece_begins(cuts: tuple[int, ...]) -> None:
    table = crossed(*cuts)
    assert table.vocabulary.names == ("B cell", "T cell", "Monocyte", UNASSIGNED)
    assert table.cells_tc.tolist() == [
        [2, 1, 0, 1],
        [1, 1, 0, 0],
        [0, 1, 1, 1],
        [1, 0, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 1],  # Without an own label.
    ]
    assert table.labelled_tc.tolist() == table.cells_tc[:-1].tolist()
    assert table.abstained_t.tolist() == [1, 0, 1, 0, 0, 1]
    # A cell without a value of the model's genes has no lineage; one below the threshold has.
    assert table.cells_tg.tolist() == [[4, 0, 0], [2, 0, 0], [1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert table.n_labelled == 12
    assert table.n_scored == 8


def test_cells_whose_own_label_is_a_label_of_the_model_agree_or_do_not() -> None:
    labels = crossed().labels
    assert labels is not None
    # Four cells of B and five of T; a cell without a value has no score to be wrong.
    f1_of_b, f1_of_t = 2 * 2 / (4 + 3), 2 * 2 / (5 + 3)
    off = [1 - 0.9 + (1 - 0.9), 1 - 0.7, 0.6, 1 - 0.3, 0.45, 1 - 0.8, 0.5]  # 0.9 twice, in one bin of fifteen.
    right = (9, 4 / 9, (f1_of_b + f1_of_t) / 2, sum(off) / 8)
    assert astuple(labels) == pytest.approx(right, abs=1e-6)


def test_lineages_agree_in_more_cells_than_labels() -> None:
    lineages = crossed().lineages
    assert lineages is not None
    assert (lineages.n_cells, lineages.accuracy, lineages.calibration_error) == (11, 8 / 11, None)
    assert lineages.macro_f1 == pytest.approx(2 * 8 / (11 + 8))
    assert crossed(lineages=False).lineages is None


def test_names_that_mean_nothing_to_the_model_are_not_called_wrong() -> None:
    table = crossed(names=dict.fromkeys(MEANINGS, Meaning()))
    assert (table.labels, table.lineages, table.n_scored) == (None, None, 0)
    assert table.n_labelled == 12


def test_the_main_label_of_each_group_is_one_that_the_model_gave() -> None:
    # Two of B, one each of CD4, CD8, lymph and ?; unassigned cells are none of it.
    assert crossed().main_share == pytest.approx(6 / 12)
    nobody = CrossTable(replace(own(), code_n=np.full(len(CELLS), -1, np.int32)), Vocabulary(LABELS))
    nobody.add(Rows(0, len(CELLS)), calls(0, len(CELLS)))
    assert nobody.main_share is None
    assert nobody.n_labelled == 0


# --- What people read ---------------------------------------------------------------------------------------------


def test_the_most_frequent_names_are_shown_beside_those_with_the_same_main_label() -> None:
    cells = np.array([[0, 9, 1], [5, 0, 0], [0, 0, 0], [2, 4, 0], [1, 0, 0]])
    part = shown(cells, most_names=3, most_labels=2)
    assert part.labels == (1, 0)  # 13 and 8 cells; the third has one.
    assert part.names == (0, 3, 1)  # Those of label 1 first, each with most cells first; then that of label 0.
    assert part.cells_tc.tolist() == [[9, 0], [4, 2], [0, 5]]
    assert part.rest_t.tolist() == [1, 0, 0]
    assert part.rest_c.tolist() == [0, 1]
    assert (part.n_rest, part.n_hidden) == (0, 1)


def test_twenty_names_and_fifteen_labels_are_shown() -> None:
    part = shown(np.ones((40, 30), np.int64))
    assert (len(part.names), len(part.labels), part.n_hidden) == (20, 15, 20)
    assert (part.names, part.labels) == (tuple(range(20)), tuple(range(15)))
    assert part.n_rest == 20 * 15


@given(
    st.integers(1, 6).flatmap(
        lambda n_labels: st.lists(
            st.lists(st.integers(0, 4), min_size=n_labels, max_size=n_labels), min_size=1, max_size=6
        )
    ),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_every_cell_is_shown_or_counted_among_the_rest(
    table: list[list[int]], most_names: int, most_labels: int
) -> None:
    cells: npt.NDArray[np.int64] = np.array(table, np.int64)
    part = shown(cells, most_names, most_labels)
    others = [place for place in range(len(table)) if place not in part.names]
    rest = [place for place in range(len(table[0])) if place not in part.labels]
    assert part.cells_tc.tolist() == [[table[name][label] for label in part.labels] for name in part.names]
    assert part.rest_t.tolist() == [sum(table[name][label] for label in rest) for name in part.names]
    assert part.rest_c.tolist() == [sum(table[name][label] for name in others) for label in part.labels]
    assert part.n_rest == sum(table[name][label] for name in others for label in rest)
    assert part.n_hidden == sum(any(table[name]) for name in others)
    assert len(part.names) == min(most_names, sum(map(any, table)))
    assert all(sum(table[name]) >= sum(table[other]) for name in part.names for other in others)


# --- Clusters -----------------------------------------------------------------------------------------------------


def test_the_share_of_a_cluster_without_cells_is_zero() -> None:
    votes = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])
    names, label_c, agreeing_c = ("1", "2", "3"), np.array([0, 2, 1]), np.array([3, 2, 0])
    found = Clusters(names, np.zeros(8, np.int32), votes, label_c, np.zeros(3, np.int64), agreeing_c)
    assert found.cells_c.tolist() == [4, 4, 0]
    assert found.share_c.tolist() == [0.75, 0.5, 0.0]


@pytest.mark.parametrize(("n_cells", "stride"), [(0, 1), (1, 1), (6_000, 1), (6_001, 2), (12_000, 2), (12_001, 3)])
def test_so_many_cells_apart_are_the_ones_that_clusters_are_found_in(n_cells: int, stride: int) -> None:
    assert sample_stride(n_cells) == stride
