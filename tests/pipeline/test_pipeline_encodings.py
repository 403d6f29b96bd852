"""Every compression that a file may use, in every way of storing a matrix, from the file to its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from shared.h5ad.read.filters import ALLOWED
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import only_matrix, read_all
from tests.pipeline.conftest import ROOT, Celldrop, command_in, own_environment

pytestmark = pytest.mark.xdist_group("encodings")  # What its tests share is made once.

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
NUMBERS_ONLY = {"fletcher32", "szip", "scale-offset", "blosc", "blosc2"}
"""What HDF5 does not apply to strings, or what cannot write them."""

ENCODINGS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "fletcher32": {"compression": "gzip", "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "szip": {"compression": "szip"},
    "scale-offset": {"scaleoffset": 0},
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "shuffled zstd": {**hdf5plugin.Zstd(), "shuffle": True},
    "bzip2": hdf5plugin.BZip2(),
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle of lz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bitshuffle of zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "blosc": hdf5plugin.Blosc(),
    "blosc2": hdf5plugin.Blosc2(),
}
INNER = {
    f"{make.__name__.lower()} of {codec}": make(cname=codec)
    for make in (hdf5plugin.Blosc, hdf5plugin.Blosc2)
    for codec in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
}
KINDS = ("csr", "csc", "dense")
ALL = [*((name, kind) for name in ENCODINGS for kind in KINDS), *((name, "csr") for name in INNER)]
TURNS = {
    "many": [*ENCODINGS][::2],
    "many others": [*ENCODINGS][1::2],
    "blosc of every codec": [name for name in INNER if name.startswith("blosc of ")],
    "blosc2 of every codec": [name for name in INNER if name.startswith("blosc2 of ")],
}
"""Several encodings in one file: its datasets take them in turn, each the next that it can have."""
ALWAYS = {("zstd", "csr")}
MIXED = {(name, kind) for name in TURNS for kind in KINDS if name.startswith("many") or kind == "csr"}
SHARE = {("many", "dense"), ("many others", "csc"), *((name, "csr") for name in TURNS if name.startswith("blosc"))}
"""What goes from the file to its results in every run, each encoding once; that each is read right is tested of all."""
OPTIONS = ("--json", "--set", "map=off")


@pytest.fixture(scope="module")
def plain(data_dir: Path) -> anndata.AnnData:
    return cells(data_dir)


@pytest.fixture(scope="module")
def wanted(plain: anndata.AnnData, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The labels of the plain file."""
    folder = tmp_path_factory.mktemp("plain")
    plain.write_h5ad(folder / "plain.h5ad")
    done = command_in(own_environment(celltypist_models, folder), folder)("run", folder / "plain.h5ad", *OPTIONS)
    assert done.status == 0, done.stderr
    return labels(done.folder)


def cells(data_dir: Path) -> anndata.AnnData:
    """Few cells with columns of every kind, in the genes that some of them have."""
    found = anndata.read_h5ad(data_dir / PBMC)[:300].copy()
    found = found[:, np.asarray(found.X.sum(axis=0)).ravel() > 0].copy()
    found.obs["batch"] = pd.Categorical(["a", "b", "c"] * 100)
    found.obs["depth"] = np.asarray(found.X.sum(axis=1)).ravel()
    found.obs["note"] = [f"cell {i}" for i in range(found.n_obs)]
    found.obsm["X_umap"] = np.random.default_rng(0).normal(size=(found.n_obs, 2)).astype("f4")
    return found


def stored(adata: anndata.AnnData, path: Path, kind: str, name: str) -> Path:
    """The cells as a file whose datasets all have that encoding, where HDF5 lets them."""
    adata = adata.copy()
    adata.X = adata.X.toarray() if kind == "dense" else adata.X.asformat(kind)
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        found: list[h5py.Dataset] = []
        file.visititems(lambda _, node: found.append(node) if isinstance(node, h5py.Dataset) else None)
        turns = [*TURNS.get(name, [name])]
        for dataset in found:
            if fitting := [one for one in turns if dataset.shape and _fits(dataset, one)]:
                _encode(dataset, {**ENCODINGS, **INNER}[fitting[0]])
                turns.remove(fitting[0])
                turns.append(fitting[0])
    return path


def _fits(dataset: h5py.Dataset, name: str) -> bool:
    number = dataset.dtype.kind in "iuf"
    if name == "scale-offset":  # It keeps whole numbers only.
        return number and bool(np.all(dataset[()] % 1 == 0))
    return number or name.partition(" ")[0] not in NUMBERS_ONLY


def _encode(dataset: h5py.Dataset, how: Mapping[str, Any]) -> None:
    values, name, parent = dataset[()], dataset.name, dataset.parent
    attributes, kind = dict(dataset.attrs), dataset.dtype
    del parent[name]
    chunks = tuple(max(1, -(-size // 3)) for size in values.shape)
    parent.create_dataset(name, data=values, dtype=kind, chunks=chunks, **how).attrs.update(attributes)


def labels(folder: Path) -> list[str]:
    return list(pd.read_parquet(folder / "annotations.parquet")["label"])


def test_every_filter_that_a_file_may_use_is_run_here() -> None:
    assert set(ALLOWED.values()) <= ENCODINGS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_many_encodings_have_every_filter(kind: str, plain: anndata.AnnData, tmp_path: Path) -> None:
    found = set[int]()
    for name in ("many", "many others"):
        with h5py.File(stored(plain[:60, ::5], tmp_path / f"{name}.h5ad", kind, name)) as file:
            file.visititems(lambda _, node: found.update(_filters(node)))
    assert found == set(ALLOWED)


def _filters(node: h5py.HLObject) -> set[int]:
    if not isinstance(node, h5py.Dataset):
        return set()
    made = node.id.get_create_plist()
    return {made.get_filter(place)[0] for place in range(made.get_nfilters())}


@pytest.mark.parametrize(("name", "kind"), ALL, ids=map(" in ".join, ALL))
def test_an_encoded_matrix_is_read_as_the_plain_one(
    name: str, kind: str, plain: anndata.AnnData, tmp_path: Path
) -> None:
    some = plain[:60, ::5]
    source = BytesSource(stored(some, tmp_path / "encoded.h5ad", kind, name).read_bytes())
    assert (read_all(source, only_matrix(source)) != some.X).nnz == 0


def _marks(run: tuple[str, str]) -> list[pytest.MarkDecorator]:
    if run in ALWAYS:
        return []
    return [pytest.mark.slow] if run in SHARE else [pytest.mark.exhaustive]


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(*run, marks=_marks(run), id=" in ".join(run)) for run in [*ALL, *sorted(MIXED)]],
)
def test_an_encoded_file_gets_the_labels_of_the_plain_one_and_its_own_cells_back(
    name: str, kind: str, wanted: list[str], celldrop: Celldrop, plain: anndata.AnnData, tmp_path: Path
) -> None:
    done = celldrop("run", stored(plain, tmp_path / "encoded.h5ad", kind, name), *OPTIONS)
    assert done.status == 0, done.stderr
    assert labels(done.folder) == wanted
    after = anndata.read_h5ad(done.folder / "annotated.h5ad")
    pd.testing.assert_frame_equal(after.obs[plain.obs.columns], plain.obs)
    assert list(after.obs["celldrop_label"]) == wanted
    assert (sp.csr_matrix(after.X) != plain.X).nnz == 0
    np.testing.assert_array_equal(after.obsm["X_umap"], plain.obsm["X_umap"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # anndata says at length that this file's layout is an old one
@pytest.mark.parametrize(
    "name", ["zstd", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("bzip2", "blosc2"))]
)
def test_an_old_file_compressed_by_a_plugin_is_annotated(
    name: str, celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "old.h5ad"
    path.write_bytes((data_dir / "h5ad/pbmc68k_reduced_v050.h5ad").read_bytes())
    with h5py.File(path, "r+") as file:
        _encode(file["obs"], ENCODINGS[name])
    variables = {"CELLDROP_MODELS_DIR": str(ROOT / "models"), "CELLDROP_DEFAULT_MODEL": "pbmc-sorted"}
    done = celldrop("run", path, *OPTIONS, **variables)
    assert done.status == 0, done.stderr
    after = anndata.read_h5ad(done.folder / "annotated.h5ad")
    assert after.obs["celldrop_label"].notna().all()
    assert after.n_obs == 700


def test_a_file_with_a_filter_that_we_cannot_read_is_refused_by_its_name(
    celldrop: Celldrop, plain: anndata.AnnData, tmp_path: Path
) -> None:
    path = tmp_path / "lossy.h5ad"
    plain.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        _encode(file["X/data"], hdf5plugin.Zfp(accuracy=0.5))
    done = celldrop("run", path, "--json")
    assert (done.status, done.json["code"]) == (3, "FILE_UNSAFE")
    assert "the HDF5 filter zfp (/X/data)" in done.json["message"]
    assert 'compression="gzip"' in done.json["hint"]


def test_the_docs_name_every_filter_that_a_file_may_use() -> None:
    page = (ROOT / "docs" / "reference" / "encodings.md").read_text()
    assert [name for name in ALLOWED.values() if name not in page.partition("Any other filter")[0]] == []
