"""Lays out cells by expression or scores (PCA and t-SNE), and the program that runs this in a process of its own."""

from __future__ import annotations

import gc
import io
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

from shared.h5ad.inspect.capacity import address_space_bytes

LEAST_CELLS = 20
MEMORY_BYTES = 2 * 2**30
"""Address space that the program may use beyond that of its libraries."""
_COMPONENTS = 20
_PERPLEXITY = 20
_ITERATIONS = 300
LANDMARKS = 1_000
"""The most cells that t-SNE places; the others are placed beside those most like them, in a fifth of the time."""
_BESIDE = 5
"""The landmarks that place another cell."""
_SHARPNESS = 4.0
"""How fast a landmark's weight falls with its squared distance, in units of that of the nearest."""
_SPREAD = 0.4
"""How far from there a cell is drawn at random, in units of the distance between landmarks."""
_ANGLE = 0.8
_ALIKE = 1e-6
_LARGEST = 1e6
"""Limit on coordinates, as t-SNE squares distances in float32."""
F32Array = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
I64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct cells: cells with equal scores are laid out once.

    Attributes:
        row_u: The first cell with each distinct set of scores, in the order of the cells.
        place_n: The position of each cell in ``row_u``; -1 if a score is not finite.
    """

    row_u: I64Array
    place_n: I64Array


def distinct(decision_nl: F32Array) -> Distinct | None:
    """Find the distinct cells; None if there are fewer than ``LEAST_CELLS``, or if all are nearly equal."""
    finite_m = np.flatnonzero(np.isfinite(decision_nl).all(axis=1))
    if len(finite_m) < LEAST_CELLS:
        return None
    finite_ml = decision_nl[finite_m].astype(np.float64)
    if float(np.ptp(finite_ml, axis=0).max()) < _ALIKE * max(1.0, float(np.abs(finite_ml).max())):
        return None
    _, first_u, inverse_m = np.unique(finite_ml, axis=0, return_index=True, return_inverse=True)
    if len(first_u) < LEAST_CELLS:
        return None
    order_u = np.argsort(first_u)
    place_n = np.full(len(decision_nl), -1, np.int64)
    place_n[finite_m] = np.argsort(order_u)[inverse_m.reshape(-1)]
    return Distinct(finite_m[first_u[order_u]], place_n)


def embed(value_nd: F32Array, threads: int = 1) -> F64Array | None:
    """Lay out cells by some values of each: PCA, then t-SNE. Cells with similar values are close.

    Of more than ``LANDMARKS`` cells, so many, evenly spaced, are placed by t-SNE, and each of the others among the
    landmarks most like it. The same values give the same layout on one or two threads.

    Args:
        threads: One or two. With more, the order of sums, and so the last digits, would vary. Two threads need half
            the time on two idle cores, but two to four times as long if a core is busy.

    Returns:
        Coordinates, cells x 2, NaN for cells with values that are not finite; None if ``distinct`` returns None.
    """
    found = distinct(value_nd)
    if found is None:
        return None
    placed_u2 = _placed(value_nd[found.row_u].astype(np.float64), threads)
    placed_n2: F64Array = np.where(found.place_n[:, None] < 0, np.nan, placed_u2[found.place_n])
    return placed_n2


def _placed(value_ud: F64Array, threads: int) -> F64Array:
    from sklearn.decomposition import PCA  # noqa: PLC0415  # takes 1 s, and files with an embedding do not need it
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415  # has no types

    assert threads in {1, 2}
    n_cells, n_values = value_ud.shape
    centred_ud = value_ud - value_ud.mean(axis=0)
    with threadpool_limits({"openmp": threads, "blas": 1}):
        components = min(_COMPONENTS, n_values, n_cells)
        reduced_uc = PCA(components, svd_solver="full").fit_transform(centred_ud)
        reduced_uc = reduced_uc / max(1.0, float(np.abs(reduced_uc).max()) / _LARGEST)
        if n_cells <= LANDMARKS:
            return _tsne(reduced_uc)
        landmark_k = np.arange(LANDMARKS) * n_cells // LANDMARKS
        placed_k2 = _tsne(reduced_uc[landmark_k])
        placed_u2 = _among(reduced_uc, reduced_uc[landmark_k], placed_k2)
        placed_u2[landmark_k] = placed_k2
    return placed_u2


def _tsne(reduced_kc: F64Array) -> F64Array:
    from sklearn.manifold import TSNE  # noqa: PLC0415  # as above

    perplexity = min(_PERPLEXITY, (len(reduced_kc) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, init="pca", max_iter=_ITERATIONS, angle=_ANGLE, random_state=0)
    placed_k2: F64Array = model.fit_transform(reduced_kc).astype(np.float64)
    return placed_k2


def _among(reduced_uc: F64Array, reduced_kc: F64Array, placed_k2: F64Array) -> F64Array:
    """Place each cell at the weighted mean of the landmarks nearest to it, and a little beside it, as landmarks lie."""
    squared_uk = _squared_distances(reduced_uc, reduced_kc)
    nearest_ub = np.argpartition(squared_uk, _BESIDE, axis=1)[:, :_BESIDE]
    order_ub = np.argsort(np.take_along_axis(squared_uk, nearest_ub, axis=1), axis=1)
    nearest_ub = np.take_along_axis(nearest_ub, order_ub, axis=1)
    squared_ub = np.take_along_axis(squared_uk, nearest_ub, axis=1)
    least_u1 = np.maximum(squared_ub[:, :1], _ALIKE * squared_ub[:, -1:]) + np.finfo(np.float64).tiny
    weight_ub = np.exp(-_SHARPNESS * (squared_ub / least_u1 - squared_ub[:, :1] / least_u1))
    mean_u2 = (weight_ub[:, :, None] * placed_k2[nearest_ub]).sum(axis=1) / weight_ub.sum(axis=1)[:, None]
    apart_k = np.sqrt(np.sort(_squared_distances(placed_k2, placed_k2), axis=1)[:, 1:_BESIDE]).mean(axis=1)
    beside_u2 = np.random.default_rng(0).normal(size=mean_u2.shape) * _SPREAD
    placed_u2: F64Array = mean_u2 + beside_u2 * apart_k[nearest_ub[:, 0]][:, None]
    return placed_u2


def _squared_distances(one_nc: F64Array, other_kc: F64Array) -> F64Array:
    products_nk = one_nc @ other_kc.T
    squared_nk: F64Array = (one_nc**2).sum(axis=1)[:, None] + (other_kc**2).sum(axis=1) - 2 * products_nk
    return np.maximum(squared_nk, 0.0)


def preload(_: Mapping[str, str]) -> None:
    """Load what the program needs into the fork server."""
    # On a busy machine, two threads that spin while they wait for each other take four times as long as one.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for name in ("sklearn.decomposition", "sklearn.manifold", "threadpoolctl"):
        import_module(name)


def serve() -> None:
    """The program: reads scores as .npy from stdin, and writes coordinates as .npy to stdout, with no rows if None.

    Its arguments are the number of threads and the CPU time limit in seconds.
    """
    threads, cpu_s = map(int, sys.argv[1:])
    gc.disable()
    bounds = {
        resource.RLIMIT_AS: address_space_bytes() + MEMORY_BYTES,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound, bound))
    placed = embed(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False), threads)
    answer = io.BytesIO()
    np.save(answer, np.zeros((0, 2)) if placed is None else placed)
    sys.stdout.buffer.write(answer.getvalue())
