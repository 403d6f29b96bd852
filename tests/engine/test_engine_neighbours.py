"""The nearest reference cells, against all distances computed one by one in float64."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine import native
from jobs.engine.neighbours import Nearest, NearestSearch, Sizes

Floats = npt.NDArray[np.float64]
SMALL = Sizes(queries=5, chunk=12, group=3, groups=20, coordinates=40)
"""So small that a few cells go through every loop."""
COMPILED = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "torch"])
"""How shortlists are made."""


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


@contextmanager
def threads_of_torch(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    for compiled in (True, False):
        found = found_by(NearestSearch(reference_rd, k, SMALL, compiled=compiled), query_nd)
        np.testing.assert_array_equal(found.place_nk.numpy(), place_nk)
        np.testing.assert_array_equal(found.distance_nk.numpy(), distance_nk)


@pytest.mark.skipif(not native.available(), reason="no compiled loops for this CPU")
@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**16),
    st.integers(1, 400),
    st.integers(1, 12),
    st.integers(1, 9),
    st.tuples(
        st.sampled_from([1e-38, 1e-20, 1e-3, 1.0, 1e4, 1e15]),
        st.sampled_from([0.0, 1.0, 1e3, 1e6]),
        st.sampled_from([1.0, 30.0, 1e3, 1e6]),
        st.sampled_from([0.0, 1.0, 1.7, 5.0, 1e4]),
    ),
    st.data(),
)
def test_compiled_loops_change_no_byte(
    seed: int,
    n_reference: int,
    n_queries: int,
    d: int,
    how: tuple[float, float, float, float],
    data: st.DataObject,
) -> None:
    """Tiny and huge numbers, far from 0, with a reference cell and queries far from the others, and copies of cells."""
    scale, shift, outlying, away = how
    k, copies = data.draw(st.integers(1, n_reference)), data.draw(st.integers(0, n_reference))
    reference_rd, query_nd = normal(seed, n_reference, n_queries, d)
    reference_rd[-1] *= outlying
    reference_rd[:copies] = reference_rd[0].clone()
    query_nd[0] += away * outlying
    query_nd[-1] = reference_rd[n_reference // 2]
    reference_rd, query_nd = (reference_rd + shift) * scale, (query_nd + shift) * scale
    compiled, plain = (
        found_by(NearestSearch(reference_rd, k, compiled=compiled), query_nd) for compiled in (True, False)
    )
    assert torch.equal(compiled.distance_nk, plain.distance_nk)
    assert torch.equal(compiled.place_nk, plain.place_nk)


@pytest.mark.skipif(not native.available(), reason="no compiled loops for this CPU")
@pytest.mark.parametrize(("n_reference", "d", "k"), [(4_096, 7, 20), (4_113, 50, 64), (9_000, 33, 300), (70_000, 3, 1)])
def test_compiled_loops_change_no_byte_in_several_chunks(n_reference: int, d: int, k: int) -> None:
    reference_rd, query_nd = normal(6, n_reference, 530, d)
    compiled, plain = (
        found_by(NearestSearch(reference_rd, k, compiled=compiled), query_nd) for compiled in (True, False)
    )
    assert torch.equal(compiled.distance_nk, plain.distance_nk)
    assert torch.equal(compiled.place_nk, plain.place_nk)


@pytest.mark.parametrize(
    ("n_reference", "shared_by"), [(10, 1), (11, 2), (20, 2), (21, 4), (40, 4), (41, 8), (80, 8), (500, 8)]
)
def test_as_few_cells_share_a_value_as_the_number_of_values_allows(n_reference: int, shared_by: int) -> None:
    reference_rd, query_nd = normal(4, n_reference, 7, 3)
    found = found_by(search := NearestSearch(reference_rd, 3, Sizes(5, 24, 8, 10, 40), compiled=False), query_nd)
    assert search.shortlisted == min((3 + 16) * shared_by, n_reference)
    np.testing.assert_array_equal(found.place_nk.numpy(), by_brute_force(reference_rd, query_nd, 3)[1])


@COMPILED
@pytest.mark.parametrize(
    ("n_reference", "d", "k", "scale", "shift"),
    [
        (3_000, 7, 60, 1.0, 0.0),
        (40_000, 50, 30, 1.0, 0.0),
        (3_000, 7, 60, 1e-3, 100.0),
        (40_000, 5, 30, 1e-2, 300.0),
        (500, 3, 500, 1e12, 0.0),
        (3_000, 7, 60, 1e20, 0.0),
        (3_000, 7, 60, 1e-22, 0.0),
    ],
    ids=[
        "small",
        "grouped",
        "far off",
        "grouped, far off",
        "all of it, large numbers",
        "squares overflow",
        "and underflow",
    ],
)
def test_neighbours_are_those_of_all_distances_in_float64(
    n_reference: int, d: int, k: int, scale: float, shift: float, *, compiled: bool
) -> None:
    """Where the reference is far from 0, products in float32 alone would find others."""
    reference_rd, query_nd = normal(1, n_reference, 40, d)
    reference_rd, query_nd = reference_rd * scale + shift, query_nd * scale + shift
    distance_nk, place_nk = by_brute_force(reference_rd, query_nd, k)
    found = found_by(NearestSearch(reference_rd, k, compiled=compiled), query_nd)
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


@COMPILED
@pytest.mark.parametrize("n_reference", [2_000, 35_000])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_cell_has_the_same_neighbours_alone_and_with_any_number_of_threads(
    n_reference: int, threads: int, *, compiled: bool
) -> None:
    reference_rd, query_nd = normal(2, n_reference, 300, 20)
    reference_rd[100:160] = reference_rd[100]  # A shortlist of one cell that is longer than the others'.
    query_nd[7] = reference_rd[100].double()
    search, before = NearestSearch(reference_rd, 25, compiled=compiled), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = found_by(search, query_nd)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for n in (0, 7, 255, 256, 299):
        alone = found_by(search, query_nd[n : n + 1])
        assert alone.distance_nk.numpy().tobytes() == together.distance_nk[n].numpy().tobytes()
        assert alone.place_nk.numpy().tobytes() == together.place_nk[n].numpy().tobytes()


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_coarser_product_makes_a_longer_shortlist_and_the_same_result(precision: str) -> None:
    reference_rd, query_nd = normal(3, 2_000, 30, 10)
    search, before = NearestSearch(reference_rd, 20, compiled=False), torch.get_float32_matmul_precision()
    exact = found_by(search, query_nd)
    try:
        torch.set_float32_matmul_precision(precision)
        coarse = found_by(search, query_nd)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(coarse.place_nk, exact.place_nk)
    assert torch.equal(coarse.distance_nk, exact.distance_nk)


@COMPILED
def test_the_sizes_change_no_byte(*, compiled: bool) -> None:
    reference_rd, query_nd = normal(4, 700, 50, 6)
    usual = NearestSearch(reference_rd, 33, compiled=compiled)
    small = NearestSearch(reference_rd, 33, SMALL, compiled=compiled)
    assert torch.equal(found_by(usual, query_nd).place_nk, found_by(small, query_nd).place_nk)
    assert torch.equal(found_by(usual, query_nd).distance_nk, found_by(small, query_nd).distance_nk)


@COMPILED
def test_without_cells_there_are_no_neighbours(*, compiled: bool) -> None:
    reference_rd, query_nd = normal(5, 50, 0, 3)
    assert found_by(NearestSearch(reference_rd, 4, compiled=compiled), query_nd).place_nk.shape == (0, 4)


@pytest.mark.parametrize("k", [1, 30])
def test_a_search_gives_a_sign_of_life_for_each_chunk_and_each_part_of_a_shortlist(k: int) -> None:
    reference_rd, query_nd = normal(1, 240, 11, 3)
    search, signs = NearestSearch(reference_rd, k, SMALL, compiled=False), []
    search.alive = lambda: signs.append(1)
    with threads_of_torch(1):
        found_by(search, query_nd)
    n_tiles, n_chunks = 3, 20
    assert len(signs) > n_tiles * n_chunks


@COMPILED
@pytest.mark.parametrize("threads", [1, 3])
def test_signs_of_life_are_given_by_the_thread_that_searches(threads: int, *, compiled: bool) -> None:
    reference_rd, query_nd = normal(1, 9_000, 600, 3)
    search, signs = NearestSearch(reference_rd, 4, compiled=compiled), []
    search.alive = lambda: signs.append(threading.get_ident())
    with threads_of_torch(threads):
        found_by(search, query_nd)
    assert set(signs) == {threading.get_ident()}
    assert len(signs) >= 3


@pytest.mark.skipif(not native.available(), reason="no compiled loops for this CPU")
@pytest.mark.parametrize(
    ("change", "used"),
    [
        ("", True),
        ("native.VERSION += 1", False),
        ("native.LIBRARY = native.LIBRARY.with_name('none.so')", False),
    ],
    ids=["as built", "of another version", "not there"],
)
def test_a_library_of_another_version_is_not_used(change: str, used: bool) -> None:
    """As after an update without ``tools/build-native``; in a process of its own, as the library is loaded once."""
    code = f"from jobs.engine import native\n{change}\nprint(native.available())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(used)


def test_the_compiled_loops_are_there_in_ci() -> None:
    if not os.environ.get("CI") or platform.machine() != "x86_64":
        pytest.skip("a machine without a compiler or AVX2 may search with torch")
    assert native.available()
