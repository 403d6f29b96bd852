"""The nearest reference cells, against all distances computed one by one in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.neighbours import Nearest, NearestSearch, Sizes

Floats = npt.NDArray[np.float64]
SMALL = Sizes(queries=5, chunk=12, group=3, groups=20, coordinates=40)
"""So small that a few cells go through every loop."""


def by_brute_force(reference_rd: torch.Tensor, query_nd: torch.Tensor, k: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """All distances, ordered by distance and then by position."""
    exact_rd = reference_rd.double().numpy()
    distance_nr = np.stack([np.sqrt(np.square(query_d - exact_rd).sum(axis=1)) for query_d in query_nd.numpy()])
    place_nk = np.argsort(distance_nr, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance_nr, place_nk, axis=1), place_nk


def found_by(search: NearestSearch, query_nd: torch.Tensor) -> Nearest:
    with torch.inference_mode():
        found: Nearest = search(query_nd)
    return found


def normal(seed: int, n_reference: int, n_queries: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    reference_rd = torch.randn(n_reference, d, generator=draw)
    return reference_rd, torch.randn(n_queries, d, generator=draw, dtype=torch.float64)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 90), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.data())
def test_of_equal_distances_the_first_in_the_reference_is_taken(
    seed: int, n_reference: int, n_queries: int, d: int, span: int, data: st.DataObject
) -> None:
    """Whole numbers of a small span: most distances are ties, and all are exact."""
    k = data.draw(st.integers(1, n_reference))
    draw = np.random.default_rng(seed)
    reference_rd = torch.from_numpy(draw.integers(0, span, (n_reference, d)).astype(np.float32))
    query_nd = torch.from_numpy(draw.integers(0, span, (n_queries, d)).astype(np.float64))
    distance_nk, place_nk = by_brute_force(reference_rd, query_nd, k)
    found = found_by(NearestSearch(reference_rd, k, SMALL), query_nd)
    np.testing.assert_array_equal(found.place_nk.numpy(), place_nk)
    np.testing.assert_array_equal(found.distance_nk.numpy(), distance_nk)


@pytest.mark.parametrize(
    ("n_reference", "shared_by"), [(10, 1), (11, 2), (20, 2), (21, 4), (40, 4), (41, 8), (80, 8), (500, 8)]
)
def test_as_few_cells_share_a_value_as_the_number_of_values_allows(n_reference: int, shared_by: int) -> None:
    reference_rd, query_nd = normal(4, n_reference, 7, 3)
    found = found_by(search := NearestSearch(reference_rd, 3, Sizes(5, 24, 8, 10, 40)), query_nd)
    assert search.shortlisted == min((3 + 16) * shared_by, n_reference)
    np.testing.assert_array_equal(found.place_nk.numpy(), by_brute_force(reference_rd, query_nd, 3)[1])


@pytest.mark.parametrize(
    ("n_reference", "d", "k", "scale", "shift"),
    [
        (3_000, 7, 60, 1.0, 0.0),
        (40_000, 50, 30, 1.0, 0.0),
        (3_000, 7, 60, 1e-3, 100.0),
        (40_000, 5, 30, 1e-2, 300.0),
        (500, 3, 500, 1e12, 0.0),
    ],
    ids=["small", "grouped", "far off", "grouped, far off", "all of it, large numbers"],
)
def test_neighbours_are_those_of_all_distances_in_float64(
    n_reference: int, d: int, k: int, scale: float, shift: float
) -> None:
    """Where the reference is far from 0, products in float32 alone would find others."""
    reference_rd, query_nd = normal(1, n_reference, 40, d)
    reference_rd, query_nd = reference_rd * scale + shift, query_nd * scale + shift
    distance_nk, place_nk = by_brute_force(reference_rd, query_nd, k)
    found = found_by(NearestSearch(reference_rd, k), query_nd)
    # Two ways to add up the squares in float64 may swap two cells whose distances differ by their rounding.
    assert (found.place_nk.numpy() == place_nk).mean() >= 0.999
    np.testing.assert_allclose(found.distance_nk.numpy(), distance_nk, rtol=1e-12)
    assert (np.diff(found.distance_nk.numpy(), axis=1) >= 0).all()


def test_products_alone_would_not_do() -> None:
    reference_rd, query_nd = normal(1, 3_000, 40, 7)
    reference_rd, query_nd = reference_rd * 1e-3 + 100, query_nd * 1e-3 + 100
    rough_nr = reference_rd.square().sum(dim=1) - 2 * query_nd.float() @ reference_rd.T
    _, place_nk = by_brute_force(reference_rd, query_nd, 60)
    assert (rough_nr.argsort(dim=1)[:, :60].numpy() == place_nk).mean() < 0.5


@pytest.mark.parametrize("n_reference", [2_000, 35_000])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_cell_has_the_same_neighbours_alone_and_with_any_number_of_threads(n_reference: int, threads: int) -> None:
    reference_rd, query_nd = normal(2, n_reference, 300, 20)
    reference_rd[100:160] = reference_rd[100]  # A shortlist of one cell that is longer than the others'.
    query_nd[7] = reference_rd[100].double()
    search, before = NearestSearch(reference_rd, 25), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = found_by(search, query_nd)
    finally:
        torch.set_num_threads(before)
    for n in (0, 7, 255, 256, 299):
        alone = found_by(search, query_nd[n : n + 1])
        assert alone.distance_nk.numpy().tobytes() == together.distance_nk[n].numpy().tobytes()
        assert alone.place_nk.numpy().tobytes() == together.place_nk[n].numpy().tobytes()


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_coarser_product_makes_a_longer_shortlist_and_the_same_result(precision: str) -> None:
    reference_rd, query_nd = normal(3, 2_000, 30, 10)
    search, before = NearestSearch(reference_rd, 20), torch.get_float32_matmul_precision()
    exact = found_by(search, query_nd)
    try:
        torch.set_float32_matmul_precision(precision)
        coarse = found_by(search, query_nd)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(coarse.place_nk, exact.place_nk)
    assert torch.equal(coarse.distance_nk, exact.distance_nk)


def test_the_sizes_change_no_byte() -> None:
    reference_rd, query_nd = normal(4, 700, 50, 6)
    usual, small = NearestSearch(reference_rd, 33), NearestSearch(reference_rd, 33, SMALL)
    assert torch.equal(found_by(usual, query_nd).place_nk, found_by(small, query_nd).place_nk)
    assert torch.equal(found_by(usual, query_nd).distance_nk, found_by(small, query_nd).distance_nk)


def test_without_cells_there_are_no_neighbours() -> None:
    reference_rd, query_nd = normal(5, 50, 0, 3)
    assert found_by(NearestSearch(reference_rd, 4), query_nd).place_nk.shape == (0, 4)


@pytest.mark.parametrize("k", [1, 30])
def test_a_search_gives_a_sign_of_life_for_each_chunk_and_each_part_of_a_shortlist(k: int) -> None:
    reference_rd, query_nd = normal(1, 240, 11, 3)
    search, signs = NearestSearch(reference_rd, k, SMALL), []
    search.alive = lambda: signs.append(1)
    found_by(search, query_nd)
    n_tiles, n_chunks = 3, 20
    assert len(signs) > n_tiles * n_chunks
