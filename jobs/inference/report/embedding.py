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
_ITERATIONS = 400
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

    The same values give the same layout on one or two threads. 3,000 cells take 3 s on one thread, and 1 s more to load
    scikit-learn.

    Args:
        threads: One or two. With more, the order of sums, and so the last digits, would vary. Two threads need half
            the time on two idle cores, but two to four times as long if a core is busy.

    Returns:
        Coordinates, cells x 2, NaN for cells with values that are not finite; None if ``distinct`` returns None.
    """
    found = distinct(value_nd)
    if found is None:
        return None
    placed_u2 = _tsne(value_nd[found.row_u].astype(np.float64), threads)
    placed_n2: F64Array = np.where(found.place_n[:, None] < 0, np.nan, placed_u2[found.place_n])
    return placed_n2


def _tsne(score_ul: F64Array, threads: int) -> F64Array:
    from sklearn.decomposition import PCA  # noqa: PLC0415  # takes 1 s, and files with an embedding do not need it
    from sklearn.manifold import TSNE  # noqa: PLC0415  # likewise
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415  # has no types

    assert threads in {1, 2}
    n_cells, n_labels = score_ul.shape
    centred_ul = score_ul - score_ul.mean(axis=0)
    with threadpool_limits({"openmp": threads, "blas": 1}):
        components = min(_COMPONENTS, n_labels, n_cells)
        reduced = PCA(components, svd_solver="full").fit_transform(centred_ul)
        reduced = reduced / max(1.0, float(np.abs(reduced).max()) / _LARGEST)
        perplexity = min(_PERPLEXITY, (n_cells - 1) / 3)
        model = TSNE(2, perplexity=perplexity, init="pca", max_iter=_ITERATIONS, angle=_ANGLE, random_state=0)
        placed: F64Array = model.fit_transform(reduced).astype(np.float64)
    return placed


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
