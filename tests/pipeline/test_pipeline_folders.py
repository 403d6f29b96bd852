"""What is given in place of a file, a folder above all, is called what it is by every command that takes a file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.foreign.foreign_files import MTX
from tests.h5ad.h5ad_files import random_counts, write_file
from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells


def folder_of(*names: str) -> Callable[[Path], Path]:
    """Makes a folder that holds these files, empty ones."""

    def make(place: Path) -> Path:
        folder = place / "given"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        folder.mkdir(exist_ok=True)
        return folder

    return make


def link_to_nowhere(place: Path) -> Path:
    """A link as git-annex leaves it where the file was not fetched."""
    link = place / "given"
    link.symlink_to(".git/annex/objects/x")
    return link


GIVEN = {
    "zarr v3": (folder_of("zarr.json", "X/zarr.json"), "NOT_HDF5", "zarr store", 'anndata.read_zarr("given")'),
    "zarr v2": (folder_of(".zgroup", ".zattrs", "X/.zarray"), "NOT_HDF5", "zarr store", 'anndata.read_zarr("given")'),
    "MuData zarr": (folder_of("zarr.json", "mod/zarr.json"), "NOT_HDF5", "MuData zarr", '.mod["rna"]'),
    "SpatialData zarr": (
        folder_of("zarr.json", "tables/zarr.json", "images/zarr.json"),
        "NOT_HDF5",
        "SpatialData",
        "spatialdata.read_zarr",
    ),
    "10x": (
        folder_of("matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz"),
        "NOT_HDF5",
        "folder of 10x .mtx files",
        'scanpy.read_10x_mtx("given")',
    ),
    "10x of GEO": (
        folder_of("GSM1_S1_matrix.mtx.gz", "GSM1_S1_barcodes.tsv.gz"),
        "NOT_HDF5",
        "named GSM1_S1_",
        'scanpy.read_10x_mtx("given", prefix="GSM1_S1_")',
    ),
    "Cell Ranger's outs": (
        folder_of(
            "filtered_feature_bc_matrix/matrix.mtx.gz", "raw_feature_bc_matrix/matrix.mtx.gz", "web_summary.html"
        ),
        "NOT_HDF5",
        "in filtered_feature_bc_matrix",
        'scanpy.read_10x_mtx("given/filtered_feature_bc_matrix")',
    ),
    "a run of Cell Ranger": (
        folder_of("outs/raw_feature_bc_matrix.h5", "outs/filtered_feature_bc_matrix.h5"),
        "NOT_HDF5",
        "outs/filtered_feature_bc_matrix.h5",
        "given/outs/filtered_feature_bc_matrix.h5",
    ),
    "several h5ad": (folder_of("b.h5ad", "a.h5ad"), "NOT_HDF5", "a.h5ad, b.h5ad", "given/a.h5ad"),
    "a bundle": (folder_of("model.json", "weights.safetensors"), "NOT_HDF5", "celldrop model", "--model"),
    "scVI": (folder_of("model.pt"), "NOT_HDF5", "scvi-tools model", "AnnData"),
    "others": (folder_of("notes.txt"), "NOT_HDF5", "folder with notes.txt", "adata.write_h5ad"),
    "empty": (folder_of(), "NOT_HDF5", "empty folder", "adata.write_h5ad"),
    "a dead link": (link_to_nowhere, "INPUT_NOT_FOUND", "link to .git/annex", "git annex get"),
}


@pytest.mark.parametrize(("make", "code", "called", "advice"), GIVEN.values(), ids=GIVEN.keys())
def test_a_folder_is_called_what_it_is(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    make: Callable[[Path], Path],
    code: str,
    called: str,
    advice: str,
) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["validate", "given", "--json"], env=environment)
    said = json.loads(done.stdout)
    assert (done.exit_code, said["code"]) == (3, code)
    assert called in said["message"]
    assert advice in said["hint"]


@pytest.mark.parametrize("command", ["run", "validate", "submit"])
def test_every_command_that_takes_a_file_says_so(celldrop: Celldrop, tmp_path: Path, command: str) -> None:
    folder_of("matrix.mtx.gz")(tmp_path)
    done = celldrop(command, "given", "--json")
    assert (done.status, done.json["code"]) == (3, "NOT_HDF5")
    assert "10x .mtx" in done.json["message"]


def test_a_file_of_another_kind_is_rejected_with_its_name(celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "sample.h5ad").write_bytes(gzip.compress(MTX))
    done = celldrop("run", "sample.h5ad", "--json")
    assert (done.status, done.json["code"]) == (3, "NOT_HDF5")
    assert "gzip-compressed Matrix Market file" in done.json["message"]
    assert done.json["hint"]


def test_a_misspelt_name_is_told_with_what_lies_beside_it(celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "sample.h5ad").touch()
    done = celldrop("run", "smaple.h5ad", "--json")
    assert (done.status, done.json["code"]) == (3, "INPUT_NOT_FOUND")
    assert "sample.h5ad" in done.json["hint"]


def test_an_address_is_not_looked_for_as_a_file(celldrop: Celldrop) -> None:
    done = celldrop("run", "gs://bucket/sample.h5ad", "--json")
    assert (done.status, done.json["code"]) == (3, "INPUT_NOT_FOUND")
    assert "a URL" in done.json["message"]


def test_a_foreign_model_given_as_a_file_is_told_how_it_is_imported(celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "immune.pkl").touch()
    done = celldrop("run", "sample.h5ad", "--model", "./immune.pkl", "--json")
    assert (done.status, done.json["code"]) == (2, "MODEL_NOT_FOUND")
    assert "celldrop models import" in done.json["hint"]


@pytest.mark.parametrize(
    "name", ["x" * 240 + ".h5ad", "Дані ü 细胞 'q\" & $x %20#? [bold] é.h5ad"], ids=["long", "odd"]
)
def test_a_file_of_an_odd_name_is_judged_like_any_other(celldrop: Celldrop, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(write_file(random_counts(20, 300)))
    done = celldrop("validate", tmp_path / name, "--json")
    assert (done.status, done.json["code"]) == (3, "GENES_DO_NOT_MATCH")  # They are called gene0, gene1 …
    assert done.json["file"].endswith(name)


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        ("models show nobody", "models show FOLDER"),
        ("models index nobody cells.h5ad --labels a --version 9", "models index FOLDER FILE --labels COLUMN "),
        ("models evaluate nobody cells.h5ad --labels a", "models evaluate FOLDER FILE --labels COLUMN"),
        ("validate cells.h5ad --model nobody", "validate FILE --model FOLDER"),
        ("run cells.h5ad --model nobody", "run FILE --model FOLDER"),
    ],
)
def test_a_name_that_is_not_found_is_answered_by_what_the_command_takes(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path, command: str, takes: str
) -> None:
    few_cells(data_dir, 5).write_h5ad(tmp_path / "cells.h5ad")
    words = [str(tmp_path / word) if word == "cells.h5ad" else word for word in command.split()]
    done = celldrop(*words, "--json")
    assert (done.status, done.json["code"]) == (2, "MODEL_NOT_FOUND")
    assert f"is given as its folder: `celldrop {takes}" in done.json["hint"]
