"""Cell ids in every encoding, and their uniqueness."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest

from shared.domain.errors import TruncatedFileError
from shared.domain.geometry import Rows
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.judging import validate
from shared.h5ad.read.rows import open_cell_ids, read_embedding, read_genes
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import REAL_FILES, Recipe, random_counts, real_file, write_file

NAMES = ["AAA-1", "CCC-1", "Zoë", "GGG-1"]
SOUND = write_file(random_counts(4, 5), Recipe(cells=NAMES))


def with_index(put: Callable[[h5py.Group], object]) -> BytesSource:
    buffer = io.BytesIO(SOUND)
    with h5py.File(buffer, "r+") as file:
        del file["obs/_index"]
        put(file["obs"])
    return BytesSource(buffer.getvalue())


def categorical(obs: h5py.Group) -> None:
    group = obs.create_group("_index")
    group.attrs["encoding-type"] = "categorical"
    group["codes"] = np.array([1, 0, 3, 2], np.int8)
    group.create_dataset("categories", data=np.array(["b", "a", "d", "c"], object), dtype=h5py.string_dtype())


def nullable(obs: h5py.Group) -> None:
    group = obs.create_group("_index")
    group.attrs["encoding-type"] = "nullable-string-array"
    group.create_dataset("values", data=np.array(["a", "b", "c", ""], object), dtype=h5py.string_dtype())
    group["mask"] = np.array([False, False, False, True])


def whole_numbers(obs: h5py.Group) -> None:
    obs["_index"] = np.array([10, 11, 12, 13])


def fixed(obs: h5py.Group) -> None:
    obs["_index"] = np.array([b"a", b"bb", b"ccc", b"d"])


def elsewhere(obs: h5py.Group) -> None:
    obs.attrs["_index"] = "barcode"
    obs["barcode"] = np.array([b"w", b"x", b"y", b"z"])


@pytest.mark.parametrize(
    ("put", "names"),
    [
        (categorical, ["a", "b", "c", "d"]),
        (nullable, ["a", "b", "c", ""]),
        (whole_numbers, ["10", "11", "12", "13"]),
        (fixed, ["a", "bb", "ccc", "d"]),
        (elsewhere, ["w", "x", "y", "z"]),
    ],
)
def test_ids_are_read_in_every_encoding(put: Callable[[h5py.Group], object], names: list[str]) -> None:
    source = with_index(put)
    assert inspect(source).n_cells == 4
    with open_cell_ids(source) as cells:
        assert cells.ids(Rows(0, 4)) == names
        assert cells.ids(Rows(1, 3)) == names[1:3]
        assert cells.n_cells == 4


def test_names_beyond_ascii_are_kept() -> None:
    with open_cell_ids(BytesSource(SOUND)) as cells:
        assert cells.ids(Rows(0, 4)) == NAMES


def test_a_current_file_with_string_arrays_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    obs = pd.DataFrame(index=pd.Index([f"c{i}" for i in range(6)], dtype="string"))
    path = tmp_path_factory.mktemp("current") / "a.h5ad"
    with anndata.settings.override(allow_write_nullable_strings=True):
        anndata.AnnData(X=np.eye(6, dtype=np.float32), obs=obs).write_h5ad(path)
    with open_cell_ids(BytesSource(path.read_bytes())) as cells:
        assert cells.ids(Rows(0, 6)) == list(obs.index)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [path.name for path in REAL_FILES if path.suffix == ".h5ad"])
def test_ids_of_real_files_are_anndatas(name: str) -> None:
    path = next(path for path in REAL_FILES if path.name == name)
    with open_cell_ids(BytesSource(path.read_bytes())) as cells:
        assert cells.ids(Rows(0, cells.n_cells)) == list(anndata.read_h5ad(path).obs_names)


def test_barcodes_of_cell_ranger_are_ids() -> None:
    source = real_file("awkward/10x_v3_filtered_feature_bc_matrix.h5")
    with open_cell_ids(source) as cells:
        assert cells.ids(Rows(0, 1))[0].endswith("-1")
        assert cells.n_cells == 1107


def test_a_file_compressed_with_zstd_throughout_is_read(tmp_path: Path) -> None:
    cells = pd.DataFrame(index=[f"c{i}" for i in range(60)])
    adata = anndata.AnnData(X=random_counts(60, 40), obs=cells)
    adata.var_names = [f"ENSG{i:011d}" for i in range(40)]
    adata.obsm["X_umap"] = np.arange(120, dtype=np.float32).reshape(60, 2)
    adata.write_h5ad(tmp_path / "a.h5ad", compression=hdf5plugin.Zstd()["compression"])
    source = BytesSource((tmp_path / "a.h5ad").read_bytes())
    verdict = validate(source)
    assert verdict.accepted
    with open_cell_ids(source) as ids:
        assert ids.ids(Rows(58, 60)) == ["c58", "c59"]
    assert read_genes(source, verdict) == list(adata.var_names)
    found = read_embedding(source, Rows(3, 5))
    assert found is not None
    assert found.xy_n2.tolist() == [[6, 7], [8, 9]]


def test_a_category_that_does_not_exist_is_damage() -> None:
    def beyond(obs: h5py.Group) -> None:
        categorical(obs)
        obs["_index/codes"][2] = 9

    with pytest.raises(TruncatedFileError, match="category 9 of 4"):
        inspect(with_index(beyond))
