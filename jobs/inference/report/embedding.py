"""Cells laid out by their scores: the mathematics, and the program that does it in a process of its own."""

from __future__ import annotations

import gc
import io
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.lifeline import end_with_parent

LEAST_CELLS = 20
MEMORY_BYTES = 3 * 2**30
"""Address space of the program; 3,000 cells and 1,000 labels take a third of it, most of that libraries."""
_COMPONENTS = 20
_PERPLEXITY = 20
_ITERATIONS = 400
_ANGLE = 0.8
_ALIKE = 1e-6
_LARGEST = 1e6
"""t-SNE squares distances in float32."""
F32Array = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
I64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Distinct:
    """Cells whose scores differ: equal ones are laid out once.

    Attributes:
        row_u: For each distinct set of scores, the first cell that has it, in the cells' order.
        place_n: For each cell its place in ``row_u``; -1 where a score is not finite.
    """

    row_u: I64Array
    place_n: I64Array


def distinct(decision_nl: F32Array) -> Distinct | None:
    """Which cells can be laid out; None where there are too few, or all are alike."""
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


def embed(decision_nl: F32Array, threads: int = 1) -> F64Array | None:
    """Lay cells out by their decision scores: PCA, then t-SNE.

    Cells close together got similar scores for all labels. The same scores and threads give the same layout; by one
    and by two it was not seen to differ. 3,000 cells take 3 s on one thread, after one that scikit-learn takes to load.

    Args:
        threads: One or two. With more the order of sums would be left to chance, and it decides the last digits; and
            they wait for each other: two on two cores take half the time, but twice to four times if a core is busy.

    Returns:
        Cells x 2, NaN for cells with scores that are not finite; None where ``distinct`` is.
    """
    found = distinct(decision_nl)
    if found is None:
        return None
    placed_u2 = _tsne(decision_nl[found.row_u].astype(np.float64), threads)
    placed_n2: F64Array = np.where(found.place_n[:, None] < 0, np.nan, placed_u2[found.place_n])
    return placed_n2


def _tsne(score_ul: F64Array, threads: int) -> F64Array:
    from sklearn.decomposition import PCA  # noqa: PLC0415  # a second, which whoever brings an embedding is spared
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


def serve(threads: int, cpu_s: int) -> None:
    """The program: scores come as .npy over standard input, and places leave likewise; none if there are none."""
    end_with_parent()
    gc.disable()
    bounds = {resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_CORE: 0}
    for kind, bound in bounds.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound, bound))
    placed = embed(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False), threads)
    answer = io.BytesIO()
    np.save(answer, np.zeros((0, 2)) if placed is None else placed)
    sys.stdout.buffer.write(answer.getvalue())
