"""Real cells in every form that users store values in."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anndata
import h5py
import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata

Matrix = sp.csr_matrix[Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to store values.

    Attributes:
        what: For the table in the docs.
        make: From counts of all genes.
        same: Whether the labels must be those of the counts; else the file must be refused.
        least: Share of the labels that must be the same; of values that are not those of the counts, fewer.
    """

    what: str
    make: Callable[[Matrix], Matrix]
    same: bool = True
    least: float = 0.995


def totals(counts: Matrix) -> np.ndarray[Any, Any]:
    return np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)


def scaled(counts: Matrix, total: float | np.ndarray[Any, Any] = 1e4) -> Matrix:
    return sp.csr_matrix(sp.diags(total / totals(counts)) @ counts.astype(np.float64))


def each(matrix: Matrix, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Matrix:
    made = matrix.copy()
    made.data = change(made.data.astype(np.float64))
    return made


def _median(counts: Matrix) -> Matrix:
    return scaled(counts, float(np.median(totals(counts))))


def _by_cell(counts: Matrix) -> Matrix:
    factor_n = np.random.default_rng(0).uniform(0.6, 1.6, counts.shape[0])
    return sp.csr_matrix(sp.diags(factor_n) @ counts)


def _one_fraction(counts: Matrix) -> Matrix:
    made = counts.astype(np.float64)
    made.data[0] += 0.5
    return made


def _estimated(counts: Matrix) -> Matrix:
    rng = np.random.default_rng(0)
    chosen = rng.random(counts.nnz) < 0.03
    made = counts.astype(np.float64)
    made.data[chosen] += rng.choice([0.25, 1 / 3, 0.5], int(chosen.sum()))
    return made


def _recovered(counts: Matrix) -> Matrix:
    stored = each(scaled(counts), np.log1p).astype(np.float32)
    return sp.csr_matrix(sp.diags(totals(counts) / 1e4) @ each(stored, np.expm1)).astype(np.float32)


def _by_largest(counts: Matrix) -> Matrix:
    return sp.csr_matrix(sp.diags(1 / counts.max(axis=1).toarray().ravel()) @ counts)


def _preprocessed(counts: Matrix) -> Matrix:
    return each(scaled(counts), np.log1p)


def _half(counts: Matrix) -> Matrix:
    middle = counts.shape[0] // 2
    return sp.vstack([counts[:middle], each(scaled(counts), np.log1p)[middle:]]).tocsr()


def _some_counts(counts: Matrix) -> Matrix:
    made = each(scaled(counts), np.log1p)
    return sp.vstack([made[:300], counts[300:360], made[360:]]).tocsr()


def _two_scales(counts: Matrix) -> Matrix:
    middle = counts.shape[0] // 2
    return sp.vstack([each(scaled(counts), np.log1p)[:middle], each(_median(counts), np.log1p)[middle:]]).tocsr()


def _ranks(counts: Matrix) -> Matrix:
    made = counts.astype(np.float64)
    for row in range(made.shape[0]):
        place = slice(made.indptr[row], made.indptr[row + 1])
        made.data[place] = np.argsort(np.argsort(-made.data[place], kind="stable"), kind="stable") + 1
    return made


def _ranks_with_ties(counts: Matrix) -> Matrix:
    made = counts.astype(np.float64)
    for row in range(made.shape[0]):
        place = slice(made.indptr[row], made.indptr[row + 1])
        made.data[place] = rankdata(made.data[place], "min")
    return made


def _bins(counts: Matrix) -> Matrix:
    made = counts.astype(np.float64)
    for row in range(made.shape[0]):
        place = slice(made.indptr[row], made.indptr[row + 1])
        edges = np.quantile(made.data[place], np.linspace(0, 1, 51))
        made.data[place] = np.clip(np.digitize(made.data[place], edges), 1, 50)
    return made


def _z_scored(counts: Matrix) -> Matrix:
    return sp.csr_matrix(each(scaled(counts), np.log1p).toarray() - 0.1)


FORMS: Mapping[str, Form] = {
    "counts": Form("counts", lambda x: x),
    "one fraction": Form("counts, one of them with a fraction", _one_fraction),
    "estimated": Form("counts of which 3 % have fractions (alevin, kallisto)", _estimated, least=0.98),
    "recovered": Form("counts recovered from logarithms (1.9999999)", _recovered),
    "by cell": Form("each cell's counts times a factor of its own (bin2cell, size factors)", _by_cell),
    "cp10k": Form("counts per 10,000", scaled),
    "cpm": Form("counts per million", lambda x: scaled(x, 1e6)),
    "median": Form("counts scaled to the median total", _median),
    "by largest": Form("each cell's counts divided by the largest of them", _by_largest),
    "shares": Form("shares of a cell, adding up to 1 (scVI)", lambda x: scaled(x, 1.0)),
    "log1p cp10k": Form("log1p of counts per 10,000", lambda x: each(scaled(x), np.log1p)),
    "log1p cpm": Form("log1p of counts per million", lambda x: each(scaled(x, 1e6), np.log1p)),
    "log1p median": Form("log1p of counts scaled to the median (scanpy)", lambda x: each(_median(x), np.log1p)),
    "log1p by cell": Form("log1p of size-factor scaled counts (scran)", lambda x: each(_by_cell(x), np.log1p)),
    "log1p counts": Form("log1p of counts", lambda x: each(x, np.log1p)),
    "log2 cp10k": Form("log2(x + 1) of counts per 10,000", lambda x: each(scaled(x), lambda v: np.log2(v + 1))),
    "log2 cpm": Form("log2(x + 1) of counts per million", lambda x: each(scaled(x, 1e6), lambda v: np.log2(v + 1))),
    "log2 counts": Form("log2(x + 1) of counts", lambda x: each(x, lambda v: np.log2(v + 1))),
    "log10 cp10k": Form("log10(x + 1) of counts per 10,000", lambda x: each(scaled(x), lambda v: np.log10(v + 1))),
    "sqrt cp10k": Form("square roots of counts per 10,000", lambda x: each(scaled(x), np.sqrt)),
    "sqrt counts": Form("square roots of counts", lambda x: each(x, np.sqrt)),
    "arcsinh cp10k": Form("arcsinh of counts per 10,000", lambda x: each(scaled(x), np.arcsinh)),
    "log1p twice": Form("log1p of log1p of counts per 10,000", lambda x: each(each(scaled(x), np.log1p), np.log1p)),
    "log1p, then scaled": Form("log1p of counts, then scaled to 10,000", lambda x: scaled(each(x, np.log1p))),
    "scaled again": Form("log1p of counts per 10,000, scaled to 10,000 again", lambda x: scaled(_preprocessed(x))),
    "preprocessed twice": Form("preprocessing run twice", lambda x: _preprocessed(_preprocessed(x))),
    "half and half": Form("half counts, half log1p of counts per 10,000", _half),
    "two scales": Form("half log1p of counts per 10,000, half of the median", _two_scales),
    "some counts": Form("log1p of counts per 10,000, and 60 cells of counts", _some_counts),
    "binary": Form("0 and 1", lambda x: each(x, np.sign), same=False),
    "ranks": Form("ranks of genes (Geneformer)", _ranks, same=False),
    "ranks with ties": Form("ranks of genes, ties given the lowest", _ranks_with_ties, same=False),
    "bins": Form("bins 1 to 50 (scGPT)", _bins, same=False),
    "z-scored": Form("centred or z-scored", _z_scored, same=False),
}


def placed(cells: anndata.AnnData, values: Matrix, place: str) -> anndata.AnnData:
    """A file with the values in X, in raw or in a layer; in the latter two X is z-scored, as analysed files are."""
    values = values.astype(np.float32)
    if place == "X":
        return anndata.AnnData(values, obs=cells.obs[[]], var=cells.var[[]])
    made = anndata.AnnData(np.asarray(values[:, :50].toarray() - 0.5), obs=cells.obs[[]], var=cells.var[[]].iloc[:50])
    if place == "raw":
        made.raw = anndata.AnnData(values, obs=cells.obs[[]], var=cells.var[[]])
        return made
    whole = anndata.AnnData(sp.csr_matrix(np.zeros(values.shape, np.float32)), obs=cells.obs[[]], var=cells.var[[]])
    whole.layers["values"] = values
    return whole


def as_bytes(cells: anndata.AnnData) -> bytes:
    """The file that anndata writes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        anndata.io.write_elem(file, "/", cells)
    return buffer.getvalue()
