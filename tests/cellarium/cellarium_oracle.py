"""Checkpoints of cellarium-ml, and the library's own answers; run by the python of .venv-cellarium, never by ours.

Usage: cellarium_oracle.py make H5AD QUERY FOLDER trains small models on real cells, and writes their checkpoints with
answers for some cells of another file, as tests/cellarium/models. cellarium_oracle.py answer CHECKPOINT H5AD CELLS
OUT.npz asks a checkpoint for its answers for the first so many cells of a file.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

GENES, PANEL, CELLS, ANSWERED = 120, 90, 1_000, 40


def _no_network(*_: object, **__: object) -> None:
    msg = "the oracle reaches no host"
    raise OSError(msg)


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _read(path: str) -> Any:
    """Cells with Ensembl ids as gene names, their total counts, and a type for each."""
    cells = _library("anndata").read_h5ad(path)
    cells.obs["total_mrna_umis"] = np.asarray(cells.X.sum(axis=1)).ravel().astype(np.float32)
    ids = cells.var["ensembl_gencode44"].astype(str)
    cells = cells[:, ids.str.startswith("ENSG").to_numpy() & ~ids.duplicated().to_numpy()].copy()
    cells.var_names = cells.var["ensembl_gencode44"].astype(str)
    return cells


def _reference(path: str, query: str) -> tuple[Any, list[str]]:
    """Labelled cells, and the genes of both files that vary most among them."""
    cells, others = _read(path), _read(query)
    place = np.random.default_rng(0).permutation(cells.n_obs)[:CELLS]
    cells = cells[np.sort(place)].copy()
    cells.obs["cell_type"] = cells.obs["sorted_population"].astype(str).astype("category")
    common = cells[:, cells.var_names.isin(others.var_names)]
    dense = np.log1p(common.X.toarray() / common.obs["total_mrna_umis"].to_numpy()[:, None] * 1e4)
    best = np.argsort(-dense.var(axis=0), kind="stable")[:GENES]
    return cells, [str(name) for name in common.var_names[np.sort(best)]]


def _module(model: Any, transforms: list[Any], **how: Any) -> Any:
    return _library("cellarium.ml").CellariumModule(transforms=transforms, model=model, **how)


def _fitted(module: Any, cells: Any, folder: str, *, labels: bool, totals: bool, epochs: int = 1) -> Path:
    """Fit a module, and return the checkpoint that Lightning wrote."""
    data = _library("cellarium.ml.utilities.data")
    core, lightning = _library("cellarium.ml.core"), _library("lightning.pytorch")
    field = data.AnnDataField
    keys = {
        "x_ng": field(attr="X", convert_fn=data.densify),
        "var_names_g": field(attr="var_names"),
    }
    if totals:
        keys["total_mrna_umis_n"] = field(attr="obs", key="total_mrna_umis")
    if labels:
        keys["y_n"] = field(attr="obs", key="cell_type", convert_fn=data.categories_to_codes)
        keys["y_categories"] = field(attr="obs", key="cell_type", convert_fn=data.get_categories)
    module_of_data = core.CellariumAnnDataDataModule(cells, batch_keys=keys, batch_size=250, shuffle=True)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    trainer.fit(module, module_of_data)
    return max(Path(folder).rglob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)


def _statistics(cells: Any, genes: list[str], folder: str) -> tuple[Any, Path]:
    """The means and standard deviations of log1p expression, as OnePassMeanVarStd gives them."""
    models, transforms = _library("cellarium.ml.models"), _library("cellarium.ml.transforms")
    model = models.OnePassMeanVarStd(var_names_g=np.array(genes))
    chain = [transforms.Filter(genes), transforms.NormalizeTotal(), transforms.Log1p()]
    path = _fitted(_module(model, chain), cells, f"{folder}/statistics", labels=False, totals=True)
    return _library("cellarium.ml").CellariumModule.load_from_checkpoint(path).model, path


def _logistic(genes: list[str], cells: Any) -> Any:
    return _library("cellarium.ml.models").LogisticRegression(
        n_obs=cells.n_obs,
        var_names_g=np.array(genes),
        y_categories=np.asarray(cells.obs["cell_type"].cat.categories),
        W_prior_scale=0.1,
        W_init_scale=0.01,
        log_metrics=False,
    )


def make(h5ad: str, query: str, folder: str) -> None:
    """Train one model of each form, save them, and save the answers beside them."""
    lightning, torch = _library("lightning.pytorch"), _library("torch")
    models, transforms = _library("cellarium.ml.models"), _library("cellarium.ml.transforms")
    lightning.seed_everything(0)
    adam = {"optim_fn": torch.optim.Adam, "optim_kwargs": {"lr": 0.05}}
    cells, genes = _reference(h5ad, query)
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[str, Path] = {}
        seen, made["statistics"] = _statistics(cells, genes, scratch)
        scaled = transforms.ZScore(seen.mean_g, seen.std_g, np.array(genes))
        chain = [transforms.Filter(genes), transforms.NormalizeTotal(), transforms.Log1p(), scaled]
        usual = _module(_logistic(genes, cells), chain, **adam)
        made["logistic"] = _fitted(usual, cells, f"{scratch}/logistic", labels=True, totals=True, epochs=15)

        panel = cells[:, genes[:PANEL]].copy()
        divided = transforms.DivideByScale(seen.std_g[:PANEL].clone(), np.array(genes[:PANEL]))
        steps = [transforms.NormalizeTotal(1_000), transforms.Log1p(), divided]
        pca = _module(models.IncrementalPCA(np.array(genes[:PANEL]), n_components=12), steps)
        made["pca"] = _fitted(pca, panel, f"{scratch}/pca", labels=False, totals=False)
        loaded = _library("cellarium.ml").CellariumModule.load_from_checkpoint(made["pca"])
        names = [f"PC{place + 1}" for place in range(12)]
        reduced = _module(_logistic(names, cells), [loaded], **adam)
        made["pca_logistic"] = _fitted(reduced, panel, f"{scratch}/both", labels=True, totals=False, epochs=15)
        for name, path in made.items():
            shutil.copy(path, f"{folder}/{name}.ckpt")
    for name in ("logistic", "pca_logistic"):
        answer(f"{folder}/{name}.ckpt", query, str(ANSWERED), f"{folder}/{name}.npz", counts=True)


def answer(checkpoint: str, h5ad: str, cells: str, out: str, *, counts: bool = False) -> None:
    """Ask a checkpoint about new cells. With ``counts``, these are kept."""
    torch = _library("torch")
    module = _library("cellarium.ml").CellariumModule.load_from_checkpoint(checkpoint, map_location="cpu")
    query = _read(h5ad)[: int(cells)]
    genes = _genes(module)
    query = query[:, genes].copy()
    filtered = any(type(one).__name__ == "Filter" for one in module.pipeline)
    batch = {
        "x_ng": torch.from_numpy(query.X.toarray().astype(np.float32)),
        "var_names_g": np.array(query.var_names, dtype=str),
    }
    totals = query.obs["total_mrna_umis"].to_numpy(np.float32)
    if filtered:
        batch["total_mrna_umis_n"] = torch.from_numpy(totals)
    with torch.inference_mode():
        logits = module(batch)["x_ng"].double().numpy()
    classes = np.array(module.model.y_categories, dtype=str)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    kept = {"counts": query.X.toarray().astype(np.uint16)} if counts else {}
    with Path(out).open("wb") as file:
        np.savez_compressed(
            file,
            labels=classes[logits.argmax(axis=1)],
            classes=classes,
            decision=logits,
            probability=shifted / shifted.sum(axis=1, keepdims=True),
            genes=np.array(genes, dtype=str),
            totals=totals if filtered else np.asarray(query.X.sum(axis=1)).ravel(),
            **kept,
        )


def _genes(module: Any) -> list[str]:
    """The genes that a pipeline takes: those that its first step with names has."""
    for one in module.pipeline:
        if type(one).__name__ == "CellariumModule":
            return _genes(one)
        names = getattr(one, "filter_list", getattr(one, "var_names_g", None))
        if names is not None:
            return [str(name) for name in names]
    msg = "a pipeline without genes"
    raise ValueError(msg)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ |= {"MPLCONFIGDIR": temporary, "NUMBA_CACHE_DIR": temporary}
        given = [one if one.isdigit() else str(Path(one).resolve()) for one in sys.argv[2:]]
        os.chdir(temporary)  # The library leaves files where it runs.
        (make if sys.argv[1] == "make" else answer)(*given)
