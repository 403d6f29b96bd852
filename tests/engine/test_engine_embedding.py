"""The embedding of expression against scikit-learn's principal components, cell by cell and on real cells."""

from __future__ import annotations

import anndata as ad
import numpy as np
import numpy.typing as npt
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from jobs.engine.embedding import SAMPLE_CELLS, learn, sampled_ranges
from jobs.engine.facts import STEPS
from jobs.engine.sampling import SampledCells, pick
from shared.domain.geometry import BLOCK_ROWS
from tests.h5ad.h5ad_files import DATA

N_FEATURES = 40


def sampled(value_nf: npt.ArrayLike, n_features: int | None = None) -> SampledCells:
    """Cells of which the first ``n_features`` genes are features; None: all."""
    stored = sp.csr_matrix(np.asarray(value_nf, np.float32))
    n_cells, n_genes = stored.shape
    picked = pick(np.arange(n_cells), stored.indptr, stored.indices, n_genes if n_features is None else n_features)
    return SampledCells(picked.place_m, picked.indptr_m, stored.indices[picked.place_z], stored.data[picked.place_z])


def tensors(value_nf: npt.ArrayLike) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The arguments of a projection."""
    stored = sp.csr_matrix(np.asarray(value_nf, np.float32))
    indices, indptr = stored.indices.astype(np.int32), stored.indptr.astype(np.int32)
    return torch.from_numpy(stored.data), torch.from_numpy(indices), torch.from_numpy(indptr)


def places(value_nf: npt.ArrayLike, n_features: int, dimensions: int) -> npt.NDArray[np.float64]:
    """The coordinates of cells by their own components; genes beyond the features are none."""
    projection = learn([sampled(value_nf, n_features)], n_features, dimensions)
    placed_nd = projection(*tensors(value_nf))
    assert placed_nd.dtype == torch.int16
    return np.asarray(placed_nd.double().numpy() / STEPS)


def structured(n_cells: int = 300, seed: int = 0) -> npt.NDArray[np.float32]:
    """Sparse values with three strong directions."""
    generator = np.random.default_rng(seed)
    strength_n3 = generator.gamma(2, 1, (n_cells, 3))
    direction_3f = generator.random((3, N_FEATURES)) * (generator.random((3, N_FEATURES)) < 0.3)
    noise_nf = generator.random((n_cells, N_FEATURES)) * (generator.random((n_cells, N_FEATURES)) < 0.2) * 0.2
    return (strength_n3 @ direction_3f + noise_nf).astype(np.float32)


def test_coordinates_are_the_principal_components_of_scikit_learn() -> None:
    value_nf = structured()
    placed_nd = places(value_nf, N_FEATURES, 3)
    wanted_nd = PCA(3, svd_solver="full").fit_transform(value_nf.astype(np.float64))
    signs_d = np.sign((placed_nd * wanted_nd).sum(axis=0))
    assert np.abs(placed_nd - wanted_nd * signs_d).max() < 1 / STEPS


def test_the_largest_weight_of_each_component_is_positive() -> None:
    axes_fd = learn([sampled(structured())], N_FEATURES, 3).axes_fd
    largest_d = axes_fd.gather(0, axes_fd.abs().argmax(0, keepdim=True))
    assert (largest_d > 0).all()


def test_blocks_of_the_sample_do_not_matter() -> None:
    value_nf = structured()
    pieces = [sampled(value_nf[:100]), sampled(value_nf[100:101]), sampled(value_nf[101:])]
    one, many = (learn(cells, N_FEATURES, 5) for cells in ([sampled(value_nf)], pieces))
    assert torch.equal(one.axes_fd, many.axes_fd)
    assert torch.equal(one.base_d, many.base_d)


def test_a_gene_that_is_no_feature_has_no_effect() -> None:
    value_nf = structured()
    beside_nf = np.hstack([value_nf, np.full((len(value_nf), 1), 7.0, np.float32)])
    plain = places(value_nf, N_FEATURES, 3)
    beside = places(beside_nf, N_FEATURES, 3)
    assert (plain == beside).all()


@given(st.integers(0, 8), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_few_cells_or_features_or_no_differences_give_coordinates_too(
    n_cells: int, n_features: int, dimensions: int, alike: bool
) -> None:
    value_nf = np.ones((n_cells, n_features)) if alike else np.random.default_rng(1).random((n_cells, n_features))
    placed_nd = places(value_nf, n_features, dimensions)
    assert placed_nd.shape == (n_cells, dimensions)
    assert np.isfinite(placed_nd).all()
    if alike:
        assert not placed_nd.any()


@given(st.integers(0, 300_000))
def test_the_sample_is_of_whole_file_and_of_bounded_size(n_cells: int) -> None:
    ranges = sampled_ranges(n_cells)
    assert sum(map(len, ranges)) <= SAMPLE_CELLS
    assert all(rows.start % BLOCK_ROWS == 0 and rows.stop <= n_cells for rows in ranges)
    assert all(rows.start // BLOCK_ROWS == (rows.stop - 1) // BLOCK_ROWS for rows in ranges)
    if n_cells > SAMPLE_CELLS:
        assert sum(map(len, ranges)) > SAMPLE_CELLS - 16
        assert ranges[0].start == 0
        assert ranges[-1].stop > n_cells - 2 * BLOCK_ROWS


@pytest.mark.skipif(not DATA.exists(), reason="the folder ../shared/data is not here")
def test_real_cells_keep_their_neighbours() -> None:
    """Of the 15 nearest cells, as many are of the same type as with scanpy's PCA of the same genes."""
    cells = ad.read_h5ad(DATA / "h5ad/pbmc3k_raw_labelled.h5ad")
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=2000)
    cells = cells[:, cells.var["highly_variable"]].copy()
    sc.pp.pca(cells, n_comps=20)
    value_nf = cells.X.toarray()
    placed_nd = places(value_nf, 2000, 20)
    types = cells.obs["cell_type_seurat"].astype(str).to_numpy()
    ours, theirs = (purity(place_nd, types) for place_nd in (placed_nd, cells.obsm["X_pca"]))
    assert ours > theirs - 0.005
    assert ours > 0.8


def purity(place_nd: npt.NDArray[np.floating], types: npt.NDArray[np.str_]) -> float:
    square_n = (place_nd**2).sum(axis=1)
    distance_nn = square_n[None, :] - 2 * place_nd @ place_nd.T
    np.fill_diagonal(distance_nn, np.inf)
    near_nk = np.argpartition(distance_nn, 15, axis=1)[:, :15]
    return float((types[near_nk] == types[:, None]).mean())


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_matter(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = learn([sampled(structured())], N_FEATURES, 5)
    finally:
        torch.set_num_threads(before)
    torch.set_num_threads(1)
    try:
        wanted = learn([sampled(structured())], N_FEATURES, 5)
    finally:
        torch.set_num_threads(before)
    arguments = tensors(structured())
    assert torch.equal(found(*arguments), wanted(*arguments))
