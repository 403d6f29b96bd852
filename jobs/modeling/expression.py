"""Counts made into what a model is trained on, by the arithmetic of inference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.preprocessing import Preprocessing

TARGET_SUM = 1e4


def log_normalise(count_ng: sp.csr_matrix) -> sp.csr_matrix:
    """log1p of counts per 10,000 of each cell, cells x genes, float32; a cell without counts stays empty."""
    total_n = np.asarray(count_ng.sum(axis=1, dtype=np.float64)).ravel().astype(np.float32)
    count_z, totals_n, indptr = map(torch.from_numpy, (count_ng.data, total_n, count_ng.indptr))
    value_z = Preprocessing(TARGET_SUM).expression(count_z, totals_n, indptr)
    return sp.csr_matrix((value_z.numpy(), count_ng.indices, count_ng.indptr), shape=count_ng.shape)


def thin(count_ng: sp.csr_matrix, lowest: float, generator: np.random.Generator) -> sp.csr_matrix:
    """The cells as if sequenced less deeply: of every molecule a share is kept at random.

    The share of each cell is drawn evenly from ``lowest`` to 1; the number kept of each count is binomial.
    """
    share_n = generator.uniform(lowest, 1.0, count_ng.shape[0])
    share_z = np.repeat(share_n, np.diff(count_ng.indptr))
    kept_z: npt.NDArray[np.int64] = generator.binomial(count_ng.data.astype(np.int64), share_z)
    thinned = sp.csr_matrix(
        (kept_z.astype(np.float32), count_ng.indices.copy(), count_ng.indptr.copy()), shape=count_ng.shape
    )
    thinned.eliminate_zeros()
    return thinned
