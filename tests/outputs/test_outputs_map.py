"""The map and the pictures are extras: whatever goes wrong with them is told in their place, and costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from jobs.inference.merge.sample import MapSample
from jobs.inference.merge.survey import Findings
from jobs.inference.report.data import ReportData
from jobs.inference.report.embedding import LANDMARKS, distinct, embed
from jobs.inference.report.gathering import gather
from jobs.inference.report.layouts import lay_out
from jobs.inference.report.mapping import Layout, NoMap
from jobs.inference.report.rendering import render
from shared.domain.errors import StaleWorkerError, TruncatedFileError
from shared.forkserver.client import SERVER
from shared.h5ad.read.embedding import Coordinates
from tests.outputs.test_outputs_report import clustered, context_of, findings_of

N_CELLS = 60
F32Array = npt.NDArray[np.float32]


def sample_of(decision_nl: F32Array) -> MapSample:
    row_n = np.arange(len(decision_nl))
    ids = [f"cell-{row}" for row in row_n]
    return MapSample(
        row_n, ids, np.zeros(len(row_n), np.int64), np.ones(len(row_n), np.float32), decision_nl, row_n >= 0
    )


def scores(n_cells: int = N_CELLS) -> F32Array:
    return np.random.default_rng(0).normal(size=(n_cells, 6)).astype(np.float32)


def own(xy_n2: npt.ArrayLike) -> Callable[[], Coordinates]:
    return lambda: Coordinates("X_umap", np.asarray(xy_n2, np.float32))


def nothing() -> None:
    """The file has no embedding."""


def unreadable() -> Coordinates:
    raise TruncatedFileError("obsm cannot be read")


def broken() -> Coordinates:
    raise MemoryError


ALIKE = {
    "equal": np.full((N_CELLS, 9), -50.1, np.float32),
    "equal but for rounding": np.full((N_CELLS, 9), 1e6, np.float32)
    + np.random.default_rng(0).uniform(-0.3, 0.3, (N_CELLS, 9)).astype(np.float32),
    "three kinds": np.repeat(np.eye(3, dtype=np.float32), 20, axis=0),
    "no number": np.full((N_CELLS, 9), np.nan, np.float32),
    "infinite": np.full((N_CELLS, 9), np.inf, np.float32),
}


@pytest.mark.parametrize("decision_nl", ALIKE.values(), ids=ALIKE)
def test_cells_that_score_alike_get_no_map_and_no_process(decision_nl: F32Array) -> None:
    told = lay_out(sample_of(decision_nl), nothing, budget_s=0.0)
    assert told == NoMap("All cells are alike, or nearly so: there is nothing to lay out.")


@pytest.mark.parametrize(
    "decision_nl",
    [
        np.vstack([scores(), scores()]),
        scores() * np.float32(1e30),
        scores() * np.float32(1e-5),
        np.column_stack([scores()[:, 0], np.zeros(N_CELLS, np.float32)]),
    ],
    ids=["twice each", "huge", "tiny", "on a line"],
)
def test_scores_of_any_size_are_laid_out(decision_nl: F32Array) -> None:
    placed = embed(decision_nl)
    assert placed is not None
    assert placed.shape == (len(decision_nl), 2)
    assert np.isfinite(placed).all()


def groups_of(n_cells: int, scale: float = 1.0) -> tuple[F32Array, npt.NDArray[np.int64]]:
    """Cells of seven groups, mixed, and the group of each."""
    rng = np.random.default_rng(1)
    group_n = rng.integers(0, 7, n_cells)
    value_nd = rng.normal(size=(7, 12))[group_n] * 4 + rng.normal(size=(n_cells, 12))
    return (value_nd * scale).astype(np.float32), group_n


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e30])
def test_of_many_cells_most_are_placed_beside_those_that_are_like_them(scale: float) -> None:
    value_nd, group_n = groups_of(LANDMARKS + 700, scale)
    placed_n2 = embed(value_nd)
    assert placed_n2 is not None
    nearest_nk = NearestNeighbors(n_neighbors=11).fit(placed_n2).kneighbors(return_distance=False)
    assert (group_n[nearest_nk] == group_n[:, None]).mean() > 0.98
    assert trustworthiness(value_nd / scale, placed_n2, n_neighbors=10) > 0.85


def test_cells_are_not_drawn_on_each_other() -> None:
    value_nd, _ = groups_of(3 * LANDMARKS)
    placed_n2 = embed(value_nd)
    assert placed_n2 is not None
    away_n = NearestNeighbors(n_neighbors=1).fit(placed_n2).kneighbors()[0][:, 0]
    others_n = np.ones(len(value_nd), np.bool_)
    others_n[np.arange(LANDMARKS) * len(value_nd) // LANDMARKS] = False
    assert np.median(away_n[others_n]) > 0.5 * np.median(away_n[~others_n])


def test_a_layout_is_the_same_on_one_thread_or_two() -> None:
    value_nd, _ = groups_of(LANDMARKS + 100)
    np.testing.assert_array_equal(embed(value_nd, 1), embed(value_nd, 2))


def test_equal_cells_lie_in_one_place_and_cells_without_scores_in_none() -> None:
    decision_nl = scores()
    decision_nl[7] = decision_nl[3]
    decision_nl[9, 1] = np.nan
    found, placed = distinct(decision_nl), embed(decision_nl)
    assert found is not None
    assert placed is not None
    assert len(found.row_u) == N_CELLS - 2
    assert list(found.row_u) == [row for row in range(N_CELLS) if row not in {7, 9}]
    assert np.array_equal(placed[7], placed[3])
    assert np.flatnonzero(np.isnan(placed).any(axis=1)).tolist() == [9]


ODD = {
    "the file's own embedding was not used: obsm cannot be read.": unreadable,
    "the file's own embedding was not used: memoryerror": broken,
    "only 0 of 60 cells have finite coordinates": own(np.full((N_CELLS, 2), np.inf)),
    "only 19 of 60 cells": own(np.where(np.arange(N_CELLS)[:, None] < 19, np.arange(2), np.nan)),
    "all cells have the same coordinates": own(np.ones((N_CELLS, 2))),
    "indexerror": own(np.ones((3, 2))),
}


@pytest.mark.parametrize(("words", "read_own"), ODD.items(), ids=ODD)
def test_an_odd_embedding_of_the_file_is_told_and_not_used(words: str, read_own: Callable[[], Coordinates]) -> None:
    told = lay_out(sample_of(ALIKE["equal"]), read_own)
    assert isinstance(told, NoMap)
    assert words in told.reason.lower()


def test_where_the_file_s_embedding_is_odd_the_map_is_computed_and_says_why() -> None:
    laid_out = lay_out(sample_of(scores()), unreadable)
    assert isinstance(laid_out, Layout)
    assert laid_out.own is None
    assert np.isfinite(laid_out.xy_m2).all()
    merge = clustered(N_CELLS, {"a": 1, "b": 1})
    data = gather(findings_of(merge), context_of(merge.vocabulary.labels), laid_out)
    words = "the file's own embedding was not used: obsm cannot be read."
    assert words in render(data).decode().replace("&#39;", "'").lower()


def test_a_map_comes_from_a_process_that_is_slow_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not yet reading when the one who waits first looks up, and there is more to read than a pipe holds."""
    monkeypatch.setattr("jobs.inference.report.layouts._LOOK_S", 0.001)
    decision_nl = np.random.default_rng(0).normal(size=(N_CELLS, 5_000)).astype(np.float32)
    assert isinstance(lay_out(sample_of(decision_nl), nothing), Layout)


def test_a_map_past_its_time_is_left_out_at_once() -> None:
    began_s = time.monotonic()
    told = lay_out(sample_of(scores(3000)), nothing, budget_s=0.01)
    assert isinstance(told, NoMap)
    assert told.fault
    assert "took longer than the limit of 0.01 s" in told.reason
    assert time.monotonic() - began_s < 30


def test_a_map_whose_process_dies_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.inference.report.layouts._PROGRAM", "os:_exit")
    told = lay_out(sample_of(scores()), nothing)
    assert isinstance(told, NoMap)
    assert told.fault
    assert "exit status 1" in told.reason


def test_a_map_whose_process_cannot_start_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    SERVER.stop()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    told = lay_out(sample_of(scores()), nothing)
    assert isinstance(told, NoMap)
    assert "could not be started" in told.reason


def test_who_is_told_to_stop_while_waiting_for_the_map_stops() -> None:
    def show() -> None:
        raise StaleWorkerError("another finalizes")

    with pytest.raises(StaleWorkerError):
        lay_out(sample_of(scores(3000)), nothing, show=show)


def drawn_badly(findings: Findings, layout: Layout | NoMap) -> ReportData:
    labels = findings.tally.vocabulary.labels
    return gather(findings, context_of(labels), layout)


def test_a_map_that_cannot_be_drawn_is_told_in_its_place() -> None:
    data = drawn_badly(findings_of(clustered(N_CELLS, {"a": 1, "b": 1})), Layout(scores()[:30, :2].astype(np.float64)))
    assert data.cell_map is None
    assert "The map could not be drawn (" in render(data).decode()


def test_a_chart_that_cannot_be_drawn_is_told_in_its_place() -> None:
    findings = findings_of(clustered(N_CELLS, {"a": 1, "b": 1}))
    findings.tally.score_cb = findings.tally.score_cb[:, :199]
    data = gather(findings, context_of(findings.tally.vocabulary.labels), NoMap("None."))
    page = render(data).decode()
    assert "This chart could not be drawn (ValueError" in page
    assert data.genes.path
