"""Blocks that are read once for several models: each sees the bytes that it would see of blocks read for it alone."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.geometry import Rows
from shared.h5ad.read.blocks import RowBlock
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import Projector
from shared.h5ad.read.settling import COUNTS, Stored
from shared.h5ad.read.views import Views

N_CELLS, N_GENES = 9, 24
LOGARITHMS = Stored(as_it_is=True)


def block(seed: int, *, as_it_is: bool) -> RowBlock:
    draw = np.random.default_rng(seed)
    value_ng = draw.poisson(0.6, (N_CELLS, N_GENES)).astype(np.float32)
    value_ng[draw.integers(N_CELLS)] = 0
    if as_it_is:
        value_ng = np.log1p(value_ng / np.maximum(value_ng.sum(axis=1, keepdims=True), 1) * 1e4).astype(np.float32)
    cell_z, gene_z = np.nonzero(value_ng)
    indptr = np.searchsorted(cell_z, np.arange(N_CELLS + 1)).astype(np.int64)
    return RowBlock(Rows(0, N_CELLS), indptr, gene_z.astype(np.int32), value_ng[cell_z, gene_z])


def bytes_of(found: ProjectedBlock) -> dict[str, object]:
    arrays = {field.name: getattr(found, field.name) for field in fields(found) if field.name != "rows"}
    return {"rows": found.rows} | {name: (array.dtype, array.tobytes()) for name, array in arrays.items()}


FEATURES = st.lists(st.integers(-1, 8), min_size=N_GENES, max_size=N_GENES).map(lambda one: np.array(one, np.int32))


@pytest.mark.parametrize("as_it_is", [False, True])
@settings(deadline=None, max_examples=80)
@given(st.lists(FEATURES, min_size=1, max_size=4), st.integers(0, 2**32))
def test_a_view_has_the_bytes_of_a_block_for_one_model(
    as_it_is: bool, features: list[np.ndarray[tuple[int], np.dtype[np.int32]]], seed: int
) -> None:
    stored, cells = LOGARITHMS if as_it_is else COUNTS, block(seed, as_it_is=as_it_is)
    views = Views.of(features, as_it_is=as_it_is)
    known = Projector.of(views.known_of_gene, stored).project(cells)
    for feature_g, view in zip(features, views.views, strict=True):
        assert bytes_of(view.of(known)) == bytes_of(Projector.of(feature_g, stored).project(cells))
