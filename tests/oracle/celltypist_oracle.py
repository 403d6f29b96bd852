"""CellTypist's own answers for files and models; run by the python of .venv-oracle, never by ours.

Usage: celltypist_oracle.py QUESTION …, each of them a JSON list of H5AD, PKL, OUT.npz, MATRIX and COLUMN, where MATRIX
is ``X``, ``X:lognorm`` or ``layers/NAME``, and the groups of the obs column COLUMN vote, unless it is empty.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def _no_network(*_: object, **__: object) -> None:
    msg = "the oracle reaches no host"
    raise OSError(msg)


def _as_users_do(path: str, matrix: str) -> Any:
    scanpy = importlib.import_module("scanpy")
    cells = importlib.import_module("anndata").read_h5ad(path)
    where, _, state = matrix.partition(":")
    if where.startswith("layers/"):
        cells.X = cells.layers[where.removeprefix("layers/")]
    if state != "lognorm":
        scanpy.pp.normalize_total(cells, target_sum=1e4)
        scanpy.pp.log1p(cells)
    return cells


def answer_one(h5ad: str, pkl: str, out: str, matrix: str, column: str) -> None:
    cells = _as_users_do(h5ad, matrix)
    if column:  # CellTypist fails on cells without a group.
        cells = cells[cells.obs[column].notna()].copy()
    voting = {"majority_voting": True, "over_clustering": column} if column else {"majority_voting": False}
    answer = importlib.import_module("celltypist").annotate(cells, model=pkl, mode="best match", **voting)
    labels = answer.predicted_labels
    with Path(out).open("wb") as file:
        np.savez_compressed(
            file,
            labels=labels["predicted_labels"].to_numpy().astype(str),
            majority=(labels["majority_voting"] if column else labels["predicted_labels"].head(0))
            .to_numpy()
            .astype(str),
            classes=np.array(answer.probability_matrix.columns, dtype=str),
            probability=answer.probability_matrix.to_numpy(np.float64),
            decision=answer.decision_matrix.to_numpy(np.float64),
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CELLTYPIST_FOLDER": folder, "MPLCONFIGDIR": folder, "NUMBA_CACHE_DIR": folder}
        socket.socket.connect = _no_network  # type: ignore[method-assign]
        for question in sys.argv[1:]:
            answer_one(*json.loads(question))
