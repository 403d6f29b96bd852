"""What a composition tells, to the digit: shares by name, the least share, factors, the cells that were used."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.engine import composition
from jobs.engine.composition import MOST_BYTES, PRIOR_CELLS, Composition, estimate
from shared.h5ad.read.groupings import Grouping

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


@pytest.mark.parametrize("cuts", [(), (1,), (7, 8, 31), tuple(range(1, 60))])
def test_of_each_large_sample_every_third_of_its_own_cells_is_used_wherever_a_piece_begins(
    cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "MOST_SAMPLE_BYTES", 3 * 7 * 2 * 4)  # Of 21, 20 and 19 cells: 7 each.
    code_n = np.array([2, 0, 1, *np.random.default_rng(0).permutation([0] * 20 + [1] * 19 + [2] * 18)], np.int32)
    place_n = np.array([(code_n[:row] == code).sum() for row, code in enumerate(code_n)])
    probability_nl = np.where((place_n % 3 == 0)[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    pieces = [(piece, np.ones(len(piece), np.bool_)) for piece in np.split(probability_nl, cuts)]
    found = estimate(pieces, (0.5, 0.5), 60, samples=Grouping("donor", code_n, ("a", "b", "c")))
    assert found.cells_by_sample == {"a": 7, "b": 7, "c": 7}
    assert found.samples is not None
    of_the_first = (PRIOR_CELLS * 0.5 + 7) / (PRIOR_CELLS + 7)  # No other cell is seen.
    assert found.samples.share_sl[:, 0] == pytest.approx([of_the_first] * 3, abs=1e-6)


def test_a_cell_is_corrected_by_its_own_sample_wherever_a_piece_begins() -> None:
    rows = np.tile(np.array([[0.6, 0.4], [0.3, 0.7]], np.float32), (20, 1))
    samples = Grouping("donor", np.resize(np.array([0, 1, -1], np.int32), 40), ("a", "b"))
    pure = np.where((samples.code_n == 0)[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    found = estimate([(pure, np.ones(40, np.bool_))], (0.5, 0.5), 40, samples=samples)
    whole = found.corrected(rows)
    assert len({tuple(row) for row in whole.tolist()}) == 6  # Two kinds of cells in three kinds of samples.
    for start in range(40):
        for stop in range(start + 1, 41):
            assert (found.corrected(rows[start:stop], slice(start, stop)) == whole[start:stop]).all()


def test_it_ends_as_soon_as_no_share_changes() -> None:
    beats = []
    estimate([(CERTAIN, np.ones(3, np.bool_))], (0.25, 0.75), 3, lambda: beats.append(1))
    assert len(beats) < 10


def test_how_much_scores_say_is_their_relative_entropy_by_that_of_certain_labels() -> None:
    probability_nl = np.array([[0.6, 0.4], [0.2, 0.8], [0.99, 0.01]], np.float32)
    used_n = np.array([True, True, False])
    found = estimate([(probability_nl[:1], used_n[:1]), (probability_nl[1:], used_n[1:])], (0.25, 0.75), 3)
    said = [0.6 * np.log(0.6 / 0.25) + 0.4 * np.log(0.4 / 0.75), 0.2 * np.log(0.2 / 0.25) + 0.8 * np.log(0.8 / 0.75)]
    certain = -found.share_l[0] * np.log(0.25) - found.share_l[1] * np.log(0.75)
    assert found.information == pytest.approx(np.mean(said) / certain, abs=1e-6)
    assert estimate([], (0.5, 0.5), 0).information is None


@pytest.mark.parametrize("assumed", [(0.5, 0.5), (0.9, 0.1), (0.01, 0.99)])
def test_scores_that_are_the_assumed_shares_say_nothing_and_certain_ones_all(assumed: tuple[float, float]) -> None:
    n_cells = 5_000  # So many that the prior's 50 cells weigh little.
    nothing = np.tile(np.array(assumed, np.float32), (n_cells, 1))
    used_n = np.ones(n_cells, np.bool_)
    assert estimate([(nothing, used_n)], assumed, n_cells).information == pytest.approx(0, abs=1e-4)
    for label in range(2):
        certain = np.zeros((n_cells, 2), np.float32)
        certain[:, label] = 1
        assert estimate([(certain, used_n)], assumed, n_cells).information == pytest.approx(1, abs=0.06)


def test_a_sure_model_on_cells_of_its_rarest_type_says_much() -> None:
    """The best score before the correction is as low as that of a model that knows nothing; the information is not."""
    rare = np.tile(np.array([0.15, 0.85], np.float32), (1_000, 1))
    assert (estimate([(rare, np.ones(1_000, np.bool_))], (0.9, 0.1), 1_000).information or 0) > 0.6
