"""Models of scvi-tools, and the library's own answers; run by the python of .venv-scvi, never by ours.

Usage: scvi_oracle.py make H5AD QUERY FOLDER trains small models on real cells, and writes them with answers for some
cells of another file, as tests/scvi/models. scvi_oracle.py answer MODEL H5AD CELLS OUT.npz [BATCH] asks a saved model
for its answers for the first so many cells of a file, said to be of that batch.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

GENES, CELLS, ANSWERED = 160, 1_200, 40
SHALLOW = {"n_hidden": 16, "n_latent": 8}
DEEP = {
    **SHALLOW,
    "n_layers": 2,
    "encode_covariates": True,
    "use_layer_norm": "both",
    "linear_classifier": True,
}


def _no_network(*_: object, **__: object) -> None:
    msg = "the oracle reaches no host"
    raise OSError(msg)


def _scvi() -> Any:
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    scvi = importlib.import_module("scvi")
    scvi.settings.seed = 0
    scvi.settings.verbosity = 40
    return scvi


def _read(path: str) -> Any:
    return importlib.import_module("anndata").read_h5ad(path)


def _reference(path: str) -> Any:
    """Labelled cells of the genes that vary most, in two batches; every tenth is without a label."""
    scanpy = importlib.import_module("scanpy")
    cells = _read(path)
    place = np.random.default_rng(0).permutation(cells.n_obs)[:CELLS]
    cells = cells[np.sort(place)].copy()
    scanpy.pp.highly_variable_genes(cells, n_top_genes=GENES, flavor="seurat_v3")
    cells = cells[:, cells.var["highly_variable"]].copy()
    cells.obs["batch"] = np.where(np.arange(cells.n_obs) % 2, "second", "first")
    labels = cells.obs["sorted_population"].astype(str).to_numpy()
    cells.obs["label"] = np.where(np.arange(cells.n_obs) % 10, labels, "Unknown")
    return cells


def make(h5ad: str, query: str, folder: str) -> None:
    """Train one model of each form, save them, and save the answers beside them."""
    scvi, cells = _scvi(), _reference(h5ad)
    training = {"batch_size": 256, "enable_progress_bar": False, "accelerator": "cpu"}
    scvi.model.SCVI.setup_anndata(cells, batch_key="batch", labels_key="label")
    plain = scvi.model.SCVI(cells, **SHALLOW)
    plain.train(max_epochs=40, **training)
    usual = scvi.model.SCANVI.from_scvi_model(plain, unlabeled_category="Unknown")
    usual.train(max_epochs=60, **training)
    scvi.model.SCANVI.setup_anndata(cells, batch_key="batch", labels_key="label", unlabeled_category="Unknown")
    deep = scvi.model.SCANVI(cells, **DEEP)
    deep.train(max_epochs=60, **training)
    small = cells[:, :40].copy()
    scvi.model.SCVI.setup_anndata(small, batch_key="batch")
    unlabelled = scvi.model.SCVI(small, n_hidden=4, n_latent=2)
    unlabelled.train(max_epochs=1, **training)
    for name, model in (("scvi", unlabelled), ("scanvi", usual), ("scanvi_covariates", deep)):
        model.save(f"{folder}/{name}", overwrite=True)
    for name, batch in (("scanvi", "first"), ("scanvi_covariates", "second")):
        answer(f"{folder}/{name}", query, str(ANSWERED), f"{folder}/{name}/answers.npz", batch, counts=True)


def answer(model: str, h5ad: str, cells: str, out: str, batch: str = "first", *, counts: bool = False) -> None:
    """Ask a saved model about new cells. With ``counts``, these are kept, without every twentieth gene."""
    scvi, query = _scvi(), _read(h5ad)[: int(cells)].copy()
    saved = importlib.import_module("torch").load(f"{model}/model.pt", weights_only=False, map_location="cpu")
    kept = {}
    if counts:
        names = [name for place, name in enumerate(saved["var_names"]) if name in query.var_names and place % 20]
        query = query[:, names].copy()
        kept = {"genes": np.array(names, dtype=str), "counts": query.X.toarray().astype(np.uint16)}
    query.obs["batch"], query.obs["label"] = batch, "Unknown"
    scvi.model.SCANVI.prepare_query_anndata(query, model)
    asked = scvi.model.SCANVI.load(model, adata=query, accelerator="cpu")
    probabilities = asked.predict(soft=True)
    with Path(out).open("wb") as file:
        np.savez_compressed(
            file,
            labels=np.asarray(asked.predict()).astype(str),
            classes=np.array(probabilities.columns, dtype=str),
            probability=probabilities.to_numpy(np.float64),
            latent=np.asarray(asked.get_latent_representation(give_mean=True), np.float64),
            **kept,
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        os.environ |= {"MPLCONFIGDIR": temporary, "NUMBA_CACHE_DIR": temporary}
        (make if sys.argv[1] == "make" else answer)(*sys.argv[2:])
