"""Labelled cells come from the matrix that the pipeline would choose, and from it alone."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from jobs.modeling.file_genes import read_file_genes
from jobs.modeling.labelled import read_labelled
from shared.domain.errors import InputError, InputNotFoundError, NotHdf5Error, TrainingDataError
from shared.domain.verdict import MatrixState
from tests.modeling.synthetic import IDS, SMALL, Population


def saved(adata: anndata.AnnData, folder: Path) -> Path:
    path = folder / "cells.h5ad"
    adata.write_h5ad(path)
    return path


def logged(adata: anndata.AnnData) -> sp.csr_matrix:
    counts = adata.X.toarray()
    return sp.csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))


def test_counts_labels_and_ids_are_read(tmp_path: Path) -> None:
    cells = read_labelled(SMALL.write(tmp_path / "a.h5ad"), "label", ids_from="id", lineages={"B": "lymphoid"})
    assert cells.state is MatrixState.COUNTS
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts())
    assert [(label.name, label.ontology_id, label.lineage) for label in cells.labels] == [
        ("B", IDS["B"], "lymphoid"),
        ("NK", IDS["NK"], None),
        ("T", IDS["T"], None),
    ]
    assert [cells.labels[position].name for position in cells.class_n] == SMALL.label_n.tolist()
    assert cells.source == "a.h5ad"
    assert cells.sha256 is not None


@pytest.mark.parametrize("place", ["layer", "raw"])
def test_counts_are_found_beside_a_normalised_x(place: str, tmp_path: Path) -> None:
    adata = SMALL.adata()
    if place == "layer":
        adata.layers["counts"] = adata.X.copy()
    else:
        adata.raw = adata
    adata.X = logged(adata)
    cells = read_labelled(saved(adata, tmp_path), "label")
    assert cells.state is MatrixState.COUNTS
    assert cells.matrix == {"layer": "layers/counts", "raw": "raw/X"}[place]
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts())


def test_a_wanted_matrix_is_taken(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.layers["counts"] = adata.X.copy()
    adata.X = logged(adata)
    assert read_labelled(saved(adata, tmp_path), "label", matrix="X").state is MatrixState.LOG1P_CP10K


@pytest.mark.parametrize("missing", [None, "", "  ", np.nan])
def test_cells_without_a_label_are_left_out(missing: object, tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.obs["label"] = pd.Series([missing, *SMALL.label_n[1:]], index=adata.obs_names, dtype=object)
    if missing is None or not isinstance(missing, str):
        adata.obs["label"] = adata.obs["label"].astype("category")
    cells = read_labelled(saved(adata, tmp_path), "label")
    assert (cells.n_cells, cells.n_unlabelled) == (179, 1)
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts()[1:])


def test_numbers_serve_as_labels(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.obs["cluster"] = np.arange(180) % 2
    assert [label.name for label in read_labelled(saved(adata, tmp_path), "cluster").labels] == ["0", "1"]


def test_a_missing_column_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"no column 'celltype'.*'label'"):
        read_labelled(SMALL.write(tmp_path / "a.h5ad"), "celltype")


def test_a_label_with_two_ids_is_refused(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.obs["id"] = ["CL:0000001", *adata.obs["id"].iloc[1:]]
    with pytest.raises(TrainingDataError, match="label 'B' has the ids"):
        read_labelled(saved(adata, tmp_path), "label", ids_from="id")


def test_something_that_is_no_ontology_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="label 'B' has the id 'B'"):
        read_labelled(SMALL.write(tmp_path / "a.h5ad"), "label", ids_from="label")


def test_features_that_are_no_genes_are_left_out(tmp_path: Path) -> None:
    adata = SMALL.adata()
    adata.var["feature_types"] = ["Gene Expression"] * 50 + ["Antibody Capture"] * 10
    cells = read_labelled(saved(adata, tmp_path), "label")
    assert cells.genes.symbol == tuple(SMALL.genes[:50])
    np.testing.assert_array_equal(cells.value_ng.toarray(), SMALL.counts()[:, :50])


def test_symbols_and_ensembl_ids_are_both_kept(tmp_path: Path) -> None:
    adata = Population({"B": 30, "T": 30}, n_genes=20).adata()
    adata.var["gene_ids"] = [f"ENSG{number:011d}.3" for number in range(20)]
    genes = read_file_genes(saved(adata, tmp_path))
    assert genes.symbol[0] == "GENE0"
    assert genes.ensembl[0] == "ENSG00000000000"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="cannot open"):
        read_labelled(tmp_path / "nowhere.h5ad", "label")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5ad").write_text("no HDF5 at all")
    with pytest.raises(NotHdf5Error):
        read_labelled(tmp_path / "a.h5ad", "label")


def test_scaled_values_are_refused(tmp_path: Path) -> None:
    adata = SMALL.adata()
    dense = adata.X.toarray()
    adata.X = dense - dense.mean(axis=0)
    with pytest.raises(InputError):
        read_labelled(saved(adata, tmp_path), "label")
