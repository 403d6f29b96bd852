"""Models of SCimilarity, and the library's own answers; run by the python of .venv-scimilarity, never by ours.

Usage: scimilarity_oracle.py make H5AD QUERY FOLDER [REFERENCE_CELLS] trains a small encoder of the library's class on
real cells, builds the index of hnswlib that it searches, and writes both with answers for some cells of another file,
as tests/scimilarity/models/blood. scimilarity_oracle.py answer MODEL H5AD CELLS OUT.npz asks a model for its answers
for the first so many cells of a file.
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

GENES, ANSWERED = 160, 40
LAYERS, LATENT = [24, 24], 16
STEPS, K = 150, 50


def _no_network(*_: object, **__: object) -> None:
    msg = "the oracle reaches no host"
    raise OSError(msg)


def _library(name: str) -> Any:
    return importlib.import_module(name)


def _cells(path: str) -> Any:
    """Cells with their counts where SCimilarity wants them."""
    cells = _library("anndata").read_h5ad(path)
    cells.var_names_make_unique()
    cells.layers["counts"] = cells.X.copy()
    return cells


def _aligned(cells: Any, genes: list[str]) -> Any:
    """As the tutorial of SCimilarity prepares cells: with the genes of a model, then scaled by their own total."""
    utils = _library("scimilarity.utils")
    return utils.lognorm_counts(utils.align_dataset(cells, genes, gene_overlap_threshold=1))


def _reference(path: str, query: str, n_reference: int) -> tuple[Any, list[str]]:
    cells, others = _cells(path), _cells(query)
    place = np.random.default_rng(0).permutation(cells.n_obs)[:n_reference]
    cells = cells[np.sort(place)].copy()
    common = cells[:, cells.var_names.isin(others.var_names)]
    dense = np.log1p(common.X.toarray() / common.X.sum(axis=1).A1[:, None] * 1e4)
    best = np.argsort(-dense.var(axis=0), kind="stable")[:GENES]
    return cells, [str(name) for name in common.var_names[np.sort(best)]]


def _trained(expression: Any, codes: Any) -> Any:
    """An encoder of the library's class, briefly trained so that cells of a label come near each other."""
    torch = _library("torch")
    torch.manual_seed(0)
    encoder = _library("scimilarity.nn_models").Encoder(GENES, LATENT, LAYERS, dropout=0.1, input_dropout=0.1)
    head = torch.nn.Linear(LATENT, int(codes.max()) + 1)
    adam = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    encoder.train()
    for _ in range(STEPS):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(8 * head(encoder(expression)), codes).backward()
        adam.step()
    return encoder.eval()


def make(h5ad: str, query: str, folder: str, n_reference: str = "600") -> None:
    """Make a model, and save the answers beside it."""
    torch, hnswlib, pandas = _library("torch"), _library("hnswlib"), _library("pandas")
    cells, genes = _reference(h5ad, query, int(n_reference))
    labels = cells.obs["sorted_population"].astype(str).to_numpy()
    names, codes = np.unique(labels, return_inverse=True)
    expression = torch.from_numpy(_aligned(cells, genes).X.toarray().astype(np.float32))
    encoder = _trained(expression, torch.from_numpy(codes))
    annotation = Path(folder) / "annotation"
    annotation.mkdir(parents=True, exist_ok=True)
    encoder.save_state(f"{folder}/encoder.ckpt")
    sizes = {name: list(tensor.shape) for name, tensor in encoder.state_dict().items()}
    Path(folder, "layer_sizes.json").write_text(json.dumps(sizes))
    Path(folder, "gene_order.tsv").write_text("\n".join(genes))
    pandas.Series(dict(enumerate(names))).to_csv(f"{folder}/label_ints.csv")
    with torch.inference_mode():
        embedded = encoder(expression).numpy()
    index = hnswlib.Index(space="cosine", dim=LATENT)
    index.init_index(max_elements=len(embedded), ef_construction=200, M=8, random_seed=0)
    index.add_items(embedded, np.arange(len(embedded)), num_threads=1)
    index.save_index(str(annotation / "labelled_kNN.bin"))
    studies = [f"{label}\tzheng" for label in labels]
    (annotation / "reference_labels.tsv").write_text("\n".join(studies) + "\n")
    answer(folder, query, str(ANSWERED), f"{folder}/answers.npz", counts=True)


def answer(model: str, h5ad: str, cells: str, out: str, *, counts: bool = False) -> None:
    """Ask a model about new cells, by its own index and by the exact neighbours. With ``counts``, these are kept."""
    asked = _library("scimilarity").CellAnnotation(model_path=model)
    query = _cells(h5ad)[: int(cells)].copy()
    prepared = _aligned(query.copy(), asked.gene_order)
    embedded = asked.get_embeddings(prepared.X)
    by_index, *_ = asked.get_predictions_knn(embedded, k=K, disable_progress=True)
    asked.get_nearest_neighbors = lambda embeddings, **_: _exact(asked.knn, embeddings)
    exact, _, _, stats = asked.get_predictions_knn(embedded, k=K, disable_progress=True)
    kept = {}
    if counts:
        own = query[:, asked.gene_order].layers["counts"].toarray()
        kept = {"counts": own.astype(np.uint16), "genes": np.array(asked.gene_order, dtype=str)}
    with Path(out).open("wb") as file:
        np.savez_compressed(
            file,
            labels=np.array(exact, dtype=str),
            by_index=np.array(by_index, dtype=str),
            share=stats["vsAll"].to_numpy(np.float64),
            embedding=embedded.astype(np.float64),
            **kept,
        )


def _exact(index: Any, embeddings: Any) -> tuple[Any, Any]:
    """The nearest cells of all in the index, by its own distance: 1 less the cosine."""
    ids = np.array(index.get_ids_list())
    vectors = np.asarray(index.get_items(ids), np.float64)
    away = 1 - np.asarray(embeddings, np.float64) @ vectors.T
    order = np.argsort(away, axis=1, kind="stable")[:, :K]
    return ids[order], np.take_along_axis(away, order, axis=1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ |= {"MPLCONFIGDIR": temporary, "NUMBA_CACHE_DIR": temporary}
        given = [one if one.isdigit() else str(Path(one).resolve()) for one in sys.argv[2:]]
        os.chdir(temporary)
        (make if sys.argv[1] == "make" else answer)(*given)
