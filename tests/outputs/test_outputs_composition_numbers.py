"""What a composition tells, to the digit: shares by name, the least share, factors, the cells that were used."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.inference.merge.composition import MOST_BYTES, PRIOR_CELLS, Composition, estimate

CERTAIN = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)


def all_of(*pieces: np.ndarray[tuple[int, int], np.dtype[np.float32]], n_cells: int = 0) -> Composition:
    used = [(piece, np.ones(len(piece), np.bool_)) for piece in pieces]
    return estimate(used, (0.25, 0.75), n_cells or sum(map(len, pieces)))


def test_labels_of_one_name_are_added_up_and_the_largest_share_comes_first() -> None:
    found = Composition((0.2, 0.3, 0.1, 0.4), (1.0,) * 4, 10).by_name(["b", "a", "b", "c"])
    assert list(found.items()) == [("c", 0.4), ("a", 0.3), ("b", 0.3)]


def test_cells_that_are_certain_are_counted_beside_those_of_the_prior() -> None:
    found = all_of(CERTAIN)
    share = [(PRIOR_CELLS * 0.25 + 2) / (PRIOR_CELLS + 3), (PRIOR_CELLS * 0.75 + 1) / (PRIOR_CELLS + 3)]
    assert found.share_l == pytest.approx(share, abs=1e-6)
    assert found.factor_l == pytest.approx([found.share_l[0] / 0.25, found.share_l[1] / 0.75])
    assert found.n_cells == 3


def test_no_share_is_less_than_a_millionth() -> None:
    found = estimate([(CERTAIN[:2], np.ones(2, np.bool_))], (1 - 1e-9, 1e-9), 2)
    assert found.share_l[1] == 1e-6


def test_of_many_cells_every_nth_of_the_file_is_used_wherever_a_piece_begins() -> None:
    rows = np.tile(CERTAIN, (4, 1))[:10]
    n_cells = 3 * MOST_BYTES // 8  # Two labels of four bytes: three times what is kept.
    whole = all_of(rows, n_cells=n_cells)
    assert (whole.n_cells, MOST_BYTES) == (4, 16 * 2**20)
    assert all_of(rows[:4], rows[4:5], rows[5:], n_cells=n_cells) == whole
    assert all_of(rows, n_cells=n_cells + 1).n_cells == 3  # One of four.


def test_it_ends_as_soon_as_no_share_changes() -> None:
    beats = []
    estimate([(CERTAIN, np.ones(3, np.bool_))], (0.25, 0.75), 3, lambda: beats.append(1))
    assert len(beats) < 10
