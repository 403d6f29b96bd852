"""Logarithms undone, where the cells' own totals prove the base."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

_BASES = (math.e, 2.0, 10.0)
_LARGEST = 30.0
"""No logarithm of counts is larger: 2^30 is a thousand million."""
_FEWEST = 5
_NEARLY_ALL = 0.95
_TOLERANCE = 0.01


def unlogged(value_ng: sp.csr_matrix) -> sp.csr_matrix | None:
    """The values x as base^x - 1, of the base that gives nineteen in twenty cells one total, to 1 %; else None.

    So it is where log(1 + counts scaled to some total) was taken and no gene was cut away since. What that total was
    does not matter to whoever scales each cell anew.
    """
    if not value_ng.nnz or value_ng.data.max() > _LARGEST:
        return None
    for base in _BASES:
        linear_z = np.expm1(value_ng.data.astype(np.float64) * math.log(base))
        linear_ng = sp.csr_matrix((linear_z, value_ng.indices, value_ng.indptr), shape=value_ng.shape)
        if _one_total(np.asarray(linear_ng.sum(axis=1), dtype=np.float64).ravel()):
            return sp.csr_matrix(linear_ng.astype(np.float32))
    return None


def _one_total(total_n: npt.NDArray[np.float64]) -> bool:
    filled_n = total_n[total_n > 0]
    if filled_n.size < _FEWEST:
        return False
    middle = float(np.median(filled_n))
    return bool((np.abs(filled_n - middle) <= _TOLERANCE * middle).mean() >= _NEARLY_ALL)
