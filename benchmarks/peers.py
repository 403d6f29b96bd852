"""What others take for the same cells, one way a process: ``python peers.py WAY FILE.h5ad MODEL.pkl OUT``.

Run by the python of .venv-oracle, never by ours. Labels and the best probability of each cell are written to OUT.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

N_LABELS, N_FEATURES = 98, 6_639
"""Of CellTypist's largest model of immune cells."""
BLOCK_ROWS = 10_000


def make_model(file: str, pkl: str) -> None:
    """A model in CellTypist's format, as large as its model of all immune cells, for the genes of a file.

    Its weights are drawn: what is timed does not depend on them.
    """
    h5py, linear, scaling = map(importlib.import_module, ("h5py", "sklearn.linear_model", "sklearn.preprocessing"))
    with h5py.File(file) as opened:
        names = opened["var/_index"].asstr()[:]
    rng = np.random.default_rng(11)
    classifier, scaler = linear.LogisticRegression(), scaling.StandardScaler()
    classifier.classes_ = np.array([f"cell type {n}" for n in range(N_LABELS)], dtype=object)
    classifier.features = names[np.sort(rng.choice(len(names), N_FEATURES, replace=False))].astype(object)
    classifier.coef_ = rng.normal(0, 0.01, (N_LABELS, N_FEATURES))
    classifier.intercept_ = rng.normal(-3, 1, N_LABELS)
    classifier.n_features_in_ = scaler.n_features_in_ = N_FEATURES
    classifier.n_iter_ = np.array([1])
    scaler.mean_ = 0.09 * rng.uniform(0.5, 2, N_FEATURES)
    scaler.var_ = 0.1 * rng.uniform(0.5, 2, N_FEATURES)
    scaler.scale_, scaler.n_samples_seen_ = np.sqrt(scaler.var_), 100_000
    told = {"date": "2026-11-28", "details": "drawn", "source": "none", "version": "v1", "number_celltypes": N_LABELS}
    Path(pkl).write_bytes(pickle.dumps({"Model": classifier, "Scaler_": scaler, "description": {**told, "url": ""}}))


def celltypist_as_users_do(file: str, pkl: str) -> Iterator[Any]:
    """The whole file in memory, normalised by scanpy, as CellTypist's tutorial has it."""
    yield _annotated(importlib.import_module("anndata").read_h5ad(file), pkl)


def celltypist_with_voting(file: str, pkl: str) -> dict[str, Any]:
    """The same with CellTypist's majority voting: it finds clusters, and their cells vote."""
    cells = importlib.import_module("anndata").read_h5ad(file)
    scanpy = importlib.import_module("scanpy")
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    answer = importlib.import_module("celltypist").annotate(cells, model=pkl, mode="best match", majority_voting=True)
    found = answer.predicted_labels
    columns = {"labels": "majority_voting", "own": "predicted_labels", "clusters": "over_clustering"}
    return {name: np.asarray(found[column], dtype=str) for name, column in columns.items()}


def celltypist_in_blocks(file: str, pkl: str) -> Iterator[Any]:
    """The same on 10,000 cells at a time, out of a backed file."""
    cells = importlib.import_module("anndata").read_h5ad(file, backed="r")
    for start in range(0, cells.n_obs, BLOCK_ROWS):
        yield _annotated(cells[start : start + BLOCK_ROWS].to_memory(), pkl)


def anndata_reading_alone(file: str, _pkl: str) -> Iterator[Any]:
    """The file read into memory, and nothing else."""
    importlib.import_module("anndata").read_h5ad(file)
    yield from ()


def h5py_and_scipy(file: str, pkl: str) -> Iterator[Any]:
    """By hand: blocks by h5py, SciPy's sparse product, the shift by the means folded into the intercept.

    Exact only as long as nothing is clipped: what somebody would write in an afternoon.
    """
    h5py, sparse = importlib.import_module("h5py"), importlib.import_module("scipy.sparse")
    model = pickle.loads(Path(pkl).read_bytes())  # noqa: S301  # our own, made above
    classifier, scaler = model["Model"], model["Scaler_"]
    with h5py.File(file) as opened:
        group, names = opened["X"], opened["var/_index"].asstr()[:]
        place = {name: position for position, name in enumerate(names)}
        genes = np.array([place[name] for name in classifier.features])
        weights = np.zeros((len(names), len(classifier.classes_)), np.float32)
        weights[genes] = (classifier.coef_ / scaler.scale_).T
        shift = classifier.intercept_ - classifier.coef_ @ (scaler.mean_ / scaler.scale_)
        pointers = group["indptr"][:]
        for start in range(0, len(pointers) - 1, BLOCK_ROWS):
            rows = pointers[start : start + BLOCK_ROWS + 1]
            data, indices = (group[name][rows[0] : rows[-1]] for name in ("data", "indices"))
            cells = sparse.csr_matrix((data, indices, rows - rows[0]), shape=(len(rows) - 1, len(names)))
            totals = np.asarray(cells.sum(axis=1)).ravel()
            cells.data = np.log1p(cells.data / np.repeat(totals / 1e4, np.diff(rows)).astype(np.float32))
            probability = 1 / (1 + np.exp(-(cells @ weights + shift)))
            yield classifier.classes_[probability.argmax(axis=1)], probability.max(axis=1)


def _annotated(cells: Any, pkl: str) -> tuple[Any, Any]:
    scanpy = importlib.import_module("scanpy")
    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    answer = importlib.import_module("celltypist").annotate(cells, model=pkl, mode="best match", majority_voting=False)
    return answer.predicted_labels["predicted_labels"].to_numpy(), answer.probability_matrix.to_numpy().max(axis=1)


WAYS: dict[str, Callable[[str, str], Iterator[Any]]] = {
    way.__name__: way for way in (celltypist_as_users_do, celltypist_in_blocks, anndata_reading_alone, h5py_and_scipy)
}


def main(way: str, file: str, pkl: str, out: str) -> None:
    """Annotate, and write labels and scores."""
    if way == make_model.__name__:
        make_model(file, pkl)
        return
    if way == celltypist_with_voting.__name__:
        np.savez(out, **celltypist_with_voting(file, pkl))
        return
    found = list(WAYS[way](file, pkl))
    if found:
        labels, scores = (np.concatenate(part) for part in zip(*found, strict=True))
        np.savez(out, labels=np.asarray(labels, dtype=str), scores=scores)


if __name__ == "__main__":
    main(*sys.argv[1:])
