"""Prepares values for training: normalisation, as in inference, and thinning."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from jobs.engine.preprocessing import Preprocessing

TARGET_SUM = 1e4


def log_normalise(value_ng: sp.csr_matrix, *, as_it_is: bool = False) -> sp.csr_matrix:
    """log1p of counts per 10,000, cells x genes, float32. A cell without counts stays empty.

    Args:
        value_ng: Values in proportion to counts within each cell.
        as_it_is: Whether they are already log1p of counts per 10,000.
    """
    total_n = np.asarray(value_ng.sum(axis=1, dtype=np.float64)).ravel().astype(np.float32)
    value_z, totals_n, indptr = map(torch.from_numpy, (value_ng.data, total_n, value_ng.indptr))
    totals = None if as_it_is else totals_n
    expression_z = Preprocessing(TARGET_SUM, as_it_is).expression(value_z, totals, indptr)
    return sp.csr_matrix((expression_z.numpy(), value_ng.indices, value_ng.indptr), shape=value_ng.shape)


def thin(count_ng: sp.csr_matrix, lowest: float, generator: np.random.Generator) -> sp.csr_matrix:
    """Simulate shallower sequencing: keep a random share of the molecules of each cell.

    A cell's share is uniform between ``lowest`` and 1; the number kept of each count is binomial.
    """
    share_n = generator.uniform(lowest, 1.0, count_ng.shape[0])
    share_z = np.repeat(share_n, np.diff(count_ng.indptr))
    kept_z: npt.NDArray[np.int64] = generator.binomial(count_ng.data.astype(np.int64), share_z)
    thinned = sp.csr_matrix(
        (kept_z.astype(np.float32), count_ng.indices.copy(), count_ng.indptr.copy()), shape=count_ng.shape
    )
    thinned.eliminate_zeros()
    return thinned
