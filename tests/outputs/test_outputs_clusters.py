"""Clusters of cells and their votes, against plain loops and pandas."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import homogeneity_score

from jobs.inference.annotated.h5ad import absent_of, categories_of
from jobs.inference.merge import clusters as module
from jobs.inference.merge.clusters import (
    LEAST_CELLS,
    NEIGHBOURS,
    SAMPLE_CELLS,
    Clusters,
    centres_of,
    nearest,
    sample_stride,
)
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.merge.voting import clusters_by_expression, vote
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.clusters import cluster_table
from jobs.inference.report.gathering import gather
from jobs.inference.report.mapping import NoMap
from jobs.inference.report.rendering import render
from shared.bundles.card import UNASSIGNED
from shared.domain.verdict import Finding, Severity
from shared.h5ad.judge.cautions import WarningCode
from tests.outputs.stand_ins import Draws, merge_of
from tests.outputs.test_outputs_doubt import LABELS, findings, merged
from tests.outputs.test_outputs_report import context_of

D = 4


def blobs(
    n_cells: int, n_blobs: int, spread: float = 20, seed: int = 0
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Cells around distant points, and the point of each."""
    generator = np.random.default_rng(seed)
    centre_bd = generator.permutation(3**D)[:n_blobs, None] // 3 ** np.arange(D) % 3 * 2000 - 2000
    blob_n = generator.integers(n_blobs, size=n_cells)
    return (centre_bd[blob_n] + generator.normal(0, spread, (n_cells, D))).astype(np.int16), blob_n


def drawn(n_cells: int = 700, **changes: object) -> Draws:
    place_nd, _ = blobs(n_cells, 6)
    layout = PartLayout(n_cells, n_labels=4, top_k=2, dimensions=D)
    return Draws(layout, places=tuple(map(tuple, place_nd.tolist())), **changes)  # type: ignore[arg-type]


@settings(max_examples=15)
@given(n_blobs=st.integers(1, 8), seed=st.integers(0, 1000))
def test_no_cluster_has_cells_of_two_distant_groups(n_blobs: int, seed: int) -> None:
    place_nd, blob_n = blobs(400, n_blobs, seed=seed)
    centre_cd = centres_of(place_nd)
    assert centre_cd is not None
    assert homogeneity_score(blob_n, nearest(place_nd, centre_cd)) == pytest.approx(1)


def test_clusters_are_finer_than_groups_but_not_single_cells() -> None:
    place_nd, _ = blobs(2000, 5)
    centre_cd = centres_of(place_nd)
    assert centre_cd is not None
    assert 5 < len(centre_cd) < 100


def test_centres_lie_in_the_middle_of_their_cells_and_not_below() -> None:
    place_nd, _ = blobs(2000, 5)
    centre_cd = centres_of(place_nd)
    assert centre_cd is not None
    assert (centre_cd == np.rint(centre_cd)).all()
    assert abs((centre_cd[nearest(place_nd, centre_cd)] - place_nd).mean()) < 0.1  # Cut off, they lie 0.5 below.


def test_of_too_few_cells_there_are_no_clusters() -> None:
    assert centres_of(blobs(LEAST_CELLS - 1, 2)[0]) is None
    assert centres_of(blobs(LEAST_CELLS, 2)[0]) is not None
    assert clusters_by_expression(merge_of(drawn(LEAST_CELLS - 1), 1)) is None


@pytest.mark.parametrize("n_cells", [5_000, 20_000, 40_000, 100_000, 200_000])
def test_the_clusters_of_a_large_file_are_finer_by_steps(n_cells: int) -> None:
    place_nd = np.random.default_rng(0).integers(-50, 50, (600, 2)).astype(np.int16)

    def n_found(n_cells: int) -> int:
        centre_cd = centres_of(place_nd, n_cells)
        assert centre_cd is not None
        return len(centre_cd)

    assert n_found(n_cells - 1) == n_found(n_cells // 2) < n_found(n_cells)


def test_equal_cells_are_clustered_too() -> None:
    centre_cd = centres_of(np.ones((200, D), np.int16))
    assert centre_cd is not None
    assert (centre_cd == 1).all()


@settings(max_examples=30)
@given(
    place=st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=40),
    centre=st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=1, max_size=6),
)
def test_a_cell_joins_the_first_of_the_nearest_centres(
    place: list[tuple[int, int]], centre: list[tuple[int, int]]
) -> None:
    found = nearest(np.array(place, np.int16), np.array(centre, np.float64))
    distance_nc = [[sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) for other in centre] for one in place]
    assert found.tolist() == [row.index(min(row)) for row in distance_nc]


@pytest.mark.parametrize("most", [0, 3, 32_767])
@pytest.mark.parametrize("n_cells", [LEAST_CELLS, 700])
def test_neighbours_are_the_nearest_and_of_equally_near_ones_the_first(n_cells: int, most: int) -> None:
    place_nd = np.random.default_rng(0).integers(-most, most + 1, (n_cells, 3)).astype(np.float64)
    found = module._neighbours(place_nd)
    distance_nn = ((place_nd[:, None] - place_nd[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance_nn, np.inf)
    wanted = np.argsort(distance_nn, axis=1, kind="stable")[:, :NEIGHBOURS]
    assert (found == np.sort(wanted, axis=1)).all()


def test_the_graph_is_symmetric_and_weighs_by_neighbours_in_common() -> None:
    neighbour_nk = module._neighbours(blobs(301, 3)[0].astype(np.float64))
    indptr, indices, weights = module._graph(neighbour_nk)
    sets = [{cell, *near} for cell, near in enumerate(neighbour_nk.tolist())]
    found = {
        (cell, int(indices[at])): weights[at] for cell in range(301) for at in range(indptr[cell], indptr[cell + 1])
    }
    edges = {
        (a, b)
        for cell, near in enumerate(neighbour_nk.tolist())
        for other in near
        for a, b in ((cell, other), (other, cell))
    }
    assert found.keys() == edges
    for (a, b), weight in found.items():
        assert weight == pytest.approx(len(sets[a] & sets[b]) / len(sets[a] | sets[b]))


@given(st.integers(1, 10**8))
def test_at_most_so_many_cells_are_sampled(n_cells: int) -> None:
    stride = sample_stride(n_cells)
    assert -(-n_cells // stride) <= SAMPLE_CELLS
    assert stride == 1 or -(-n_cells // (stride - 1)) > SAMPLE_CELLS


def frame_of(merge: Merge) -> pd.DataFrame:
    frame: pd.DataFrame = pd.concat([table.to_pandas() for table in merge.tables()], ignore_index=True)
    return frame


def clustered(merge: Merge, clusters: Clusters | None) -> Merge:
    return replace(merge, rules=replace(merge.rules, clusters=clusters))


def test_one_part_or_seven_make_the_same_clusters() -> None:
    one, seven = (clusters_by_expression(merge_of(drawn(3000), n_parts)) for n_parts in (1, 7))
    assert one is not None
    assert seven is not None
    assert one.names == seven.names
    assert (one.code_n == seven.code_n).all()
    assert (one.votes_cl == seven.votes_cl).all()


def test_the_columns_are_those_of_a_vote_by_pandas() -> None:
    merge = merge_of(drawn(), 1, min_score=0.3)
    frame = frame_of(clustered(merge, clusters_by_expression(merge)))
    assert frame["cluster"].notna().all()
    for name, cells in frame.groupby("cluster", observed=True):
        votes = cells["label"].value_counts()
        (label,) = set(cells["cluster_label"])
        assert votes[label] == votes.max(), name
        assert set(cells["cluster_share"]) == {np.float32(votes[label] / len(cells))}


def test_the_largest_cluster_is_called_1() -> None:
    found = clusters_by_expression(merge_of(drawn(), 1))
    assert found is not None
    assert found.names == tuple(str(place + 1) for place in range(len(found.names)))
    assert (np.diff(found.cells_c) <= 0).all()
    assert found.cells_c.min() > 0


def test_a_cell_without_a_model_gene_has_no_cluster() -> None:
    silent = tuple(row % 5 == 0 for row in range(700))
    merge = merge_of(drawn(silent=silent), 1)
    frame = frame_of(clustered(merge, clusters_by_expression(merge)))
    assert frame["cluster"].isna().tolist() == list(silent)
    assert frame["cluster_label"].isna().tolist() == list(silent)
    assert frame["cluster_share"].isna().tolist() == list(silent)


@settings(max_examples=20)
@given(st.lists(st.integers(-1, 3), min_size=300, max_size=300))
def test_any_groups_can_vote(codes: list[int]) -> None:
    merge = merge_of(Draws(PartLayout(300, n_labels=4, top_k=2)), 1)
    voted = vote(merge, ("a", "b", "c", "none"), np.array(codes, np.int32), "mine")
    labels = frame_of(merge)["label"].astype(str)
    for code, name in enumerate(voted.names):
        own = labels[np.array(codes) == code].value_counts()
        assert voted.cells_c[code] == own.sum(), name
        assert voted.agreeing_c[code] == own.max() if len(own) else voted.agreeing_c[code] == 0


def test_the_model_s_first_label_wins_a_tie() -> None:
    merge = merge_of(Draws(PartLayout(300, n_labels=4, top_k=2)), 1)
    labels = frame_of(merge)["label"].astype(str).tolist()
    names = merge.vocabulary.names
    code_n = np.full(300, -1, np.int32)
    code_n[[labels.index(names[2]), labels.index(names[1])]] = 0
    assert vote(merge, ("a",), code_n).label_c.tolist() == [1]


def test_cells_left_unassigned_agree_with_a_vote_that_is_unassigned_for_unfamiliar_ones() -> None:
    merge = merged(np.arange(300) < 160, min_score=0.6)
    voted, labels = vote(merge, ("a",), np.zeros(300, np.int32)), frame_of(merge)["label"].astype(str)
    doubted = (labels == UNASSIGNED) | (np.arange(300) < 160)
    assert 160 < doubted.sum() < 300
    assert voted.agreeing_c.tolist() == [doubted.sum()]


@pytest.mark.parametrize(("unfamiliar", "wanted"), [(149, False), (150, True)])
def test_a_cluster_of_which_half_is_unfamiliar_is_unassigned(unfamiliar: int, wanted: bool) -> None:
    merge = merged(np.arange(300) < unfamiliar)
    voted = vote(merge, ("a",), np.zeros(300, np.int32))
    assert voted.unfamiliar_c.tolist() == [unfamiliar]
    own = frame_of(merge)["label"].value_counts().max()
    assert voted.agreeing_c.tolist() == [unfamiliar if wanted else own]
    assert set(frame_of(clustered(merge, voted))["cluster_share"]) == {voted.share_c[0]}
    assert (merge.vocabulary.names[voted.label_c[0]] == UNASSIGNED) == wanted


def test_the_report_shows_what_most_cells_of_an_unfamiliar_cluster_are_and_says_so() -> None:
    merge = merged(np.arange(300) < 150)
    cluster_n = np.arange(300) // 150
    voted = vote(merge, ("strange", "known"), cluster_n.astype(np.int32))
    table = cluster_table(voted, merge.vocabulary, can_tell=True)
    assert table is not None
    rows = {row.name: row for row in table.rows}
    labels = frame_of(merge)["label"].astype(str)
    for place, name in enumerate(("strange", "known")):
        own = labels[cluster_n == place].value_counts()
        assert rows[name].share == own.max() / 150
        assert own[rows[name].label] == own.max()
    assert rows["strange"].mostly_unfamiliar
    assert not rows["known"].mostly_unfamiliar
    page = render(gather(findings(merge), replace(context_of(LABELS), clusters=voted), NoMap("none"))).decode()
    marked = re.findall(r'<th scope="row">(\w+)</th><td class="n">150</td><td>([^<]+) <span [^>]*>\(unfamiliar\)', page)
    assert marked == [("strange", rows["strange"].label)]
    assert "In 1 cluster (50% of the cells), half of the cells or more" in page
    all_strange = cluster_table(
        vote(merged(np.arange(300) >= 0), ("a",), np.zeros(300, np.int32)), merge.vocabulary, can_tell=True
    )
    assert all_strange is not None
    assert "In each of them, half of the cells or more are unlike" in " ".join(all_strange.sentences)
    assert "agree" not in " ".join(all_strange.sentences)


def test_the_code_to_draw_the_cells_is_there_if_the_annotated_file_has_their_embedding() -> None:
    merge = merge_of(drawn(), 1)
    clusters, context = clusters_by_expression(merge), context_of(LABELS)
    assert clusters is not None
    old = Finding(WarningCode.OLD_LAYOUT, Severity.WARNING, "the layout is anndata <0.7", "")
    tried = {
        True: replace(context, clusters=clusters),
        False: replace(context, clusters=replace(clusters, column="louvain")),
    }
    without = [replace(context, clusters=clusters, files=()), context]
    without.append(replace(tried[True], verdict=replace(context.verdict, findings=(old,))))
    for there, one in [*tried.items(), *((False, one) for one in without)]:
        data = gather(findings(merge), one, NoMap("none"))
        assert any('"X_celldrop"' in snippet.code for snippet in data.snippets) == there


def test_the_annotated_file_has_clusters_by_size_and_leaves_them_out_where_there_are_none() -> None:
    merge = merge_of(drawn(), 1)
    clusters = clusters_by_expression(merge)
    assert clusters is not None
    survey = Survey(clustered(merge, clusters))
    list(survey.tables())
    tally = survey.findings().tally
    assert categories_of(tally, clusters)["cluster"] == list(clusters.names)
    assert not {"cluster", "cluster_label", "cluster_share"} & absent_of(tally, clusters)
    assert {"cluster", "cluster_label", "cluster_share"} <= absent_of(tally)
