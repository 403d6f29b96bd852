"""A file that is no AnnData is called what it is, with what to do, whatever its name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import time
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.verdict import Finding
from shared.h5ad.foreign.recognising import recognise
from shared.h5ad.judge.judging import validate
from shared.h5ad.source import BytesSource
from tests.fakes.sources import CountingSource
from tests.foreign.foreign_files import CSV, MTX, MTX_FOLDER, RDS, hdf5, npy, npz, pickled, tarred, zipped
from tests.h5ad.h5ad_files import random_counts

GOOD = hdf5("obs", "var", "X")

NOT_HDF5 = {
    "empty": (b"", "empty file", "Send the file again"),
    "zeros": (bytes(5000), "file of zeros", "Send the file again"),
    "rds, gzip": (gzip.compress(RDS), "gzip-compressed R object (.rds)", "anndataR::write_h5ad"),
    "rds, bzip2": (bz2.compress(RDS), "bzip2-compressed R object (.rds)", "anndataR::write_h5ad"),
    "rds, xz": (lzma.compress(RDS), "xz-compressed R object (.rds)", "anndataR::write_h5ad"),
    "rds, plain": (RDS, "R object (.rds)", "anndataR::write_h5ad"),
    "rds, ascii": (b"A\n3\n262657\n197888\n6\nCP1252", "R object (.rds)", "anndataR::write_h5ad"),
    "RData": (gzip.compress(b"RDX3\nX\n\0\0\0"), "R workspace (.RData)", "load("),
    "qs": (b"\x0b\x0e\x0a\x0c" + bytes(40), "qs package", "qs::qread"),
    "csv": (CSV, "comma-separated values (.csv) that starts “cell,CD3D,LYZ”", "scanpy.read_csv(FILE)"),
    "csv.gz": (gzip.compress(CSV), "gzip-compressed table of comma-separated values", "scanpy.read_csv(FILE)"),
    "csv, UTF-16": (CSV.decode().encode("utf-16"), "comma-separated values", "scanpy.read_csv(FILE)"),
    "csv, Latin-1": ("gène,b\né,1\nü,2\n".encode("latin-1"), "“gène,b”", "scanpy.read_csv(FILE)"),
    "csv, semicolons": (b"a;b;c\nx;1,5;2\ny;2,5;3\n", "semicolon-separated", "delimiter=';'"),
    "tsv": (b"\tA\tB\nCD3D\t1\t2\nLYZ\t0\t1\n", "tab-separated", r"delimiter='\t'"),
    "barcodes.tsv.gz": (gzip.compress(b"AAACCTGAGAAACCAT-1\n" * 9), "list of cell barcodes", "scanpy.read_10x_mtx"),
    "features.tsv": (b"ENSG00000243485\tMIR1302\tGene Expression\n" * 9, "list of genes", "scanpy.read_10x_mtx"),
    "mtx": (MTX, "a Matrix Market file (.mtx)", "scanpy.read_10x_mtx(FOLDER)"),
    "mtx.gz": (gzip.compress(MTX), "a gzip-compressed Matrix Market file", "scanpy.read_10x_mtx(FOLDER)"),
    "tar.gz of 10x": (tarred(MTX_FOLDER), "tar archive of 10x .mtx files (f/barcodes.tsv.gz", "scanpy.read_10x_mtx"),
    "tar of 10x": (tarred(MTX_FOLDER, "w:"), "a tar archive of 10x .mtx files", "scanpy.read_10x_mtx"),
    "zip of 10x": (zipped(MTX_FOLDER), "zip archive of 10x .mtx files", "scanpy.read_10x_mtx"),
    "tar of h5ad": (tarred(["a.h5ad", "b.h5ad"]), "tar archive with a.h5ad, b.h5ad", "send the .h5ad inside: a.h5ad"),
    "zip of h5ad": (zipped(["x.h5ad", "__MACOSX/._x.h5ad"]), "zip archive with x.h5ad;", "Unpack it"),
    "zip of others": (zipped(["readme.txt"]), "zip archive with readme.txt", "adata.write_h5ad"),
    "zarr v2, zip": (zipped([".zgroup", "X/.zarray"]), "zipped zarr store", "anndata.read_zarr"),
    "zarr v3, zip": (zipped(["x.zarr/zarr.json", "x.zarr/X/zarr.json"]), "zipped zarr store", "anndata.read_zarr"),
    "zarr.json": (b'{"zarr_format": 3, "node_type": "group"}', "piece of a zarr store", "anndata.read_zarr"),
    "xlsx": (zipped(["[Content_Types].xml", "xl/workbook.xml"]), "Excel workbook", "scanpy.read_excel"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "Excel .xls", "scanpy.read_csv"),
    "npz": (npz(), "NumPy arrays (.npz)", "anndata.AnnData(X, obs, var)"),
    "npy": (npy(), "NumPy array (.npy)", "anndata.AnnData(X, obs, var)"),
    "pickle, protocol 0": (pickled(0), "Python pickle", "run code"),
    "pickle, protocol 2": (pickled(2), "Python pickle", "run code"),
    "pickle, protocol 5": (pickled(5), "Python pickle", "run code"),
    "CellTypist model": (b"\x80\x04\x95sklearn.linear_model._logistic", "CellTypist model", "`celldrop models import"),
    "scVI model.pt": (zipped({"m/data.pkl": b"attr_dict"}), "scvi-tools model (model.pt)", "AnnData"),
    "torch": (zipped(["archive/data.pkl", "archive/version"]), "PyTorch file", "AnnData"),
    "torch, old": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch file", "AnnData"),
    "safetensors": (bytes([50]) + bytes(7) + b'{"a":{"dtype":"F32"', "safetensors", "AnnData"),
    "parquet": (b"PAR1" + bytes(20) + b"PAR1", "Parquet table", "pandas.read_parquet"),
    "feather": (b"ARROW1\0\0" + bytes(20), "Arrow or Feather table", "pandas.read_feather"),
    "BAM": (gzip.compress(b"BAM\x01" + bytes(50)), "BAM file", "Cell Ranger"),
    "FASTQ": (gzip.compress(b"@A00:1\nACGTNN\n+\nFFFFFF\n"), "FASTQ", "Cell Ranger"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "PDF document", "adata.write_h5ad"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(9), "picture", "adata.write_h5ad"),
    "login page": (
        b"<!DOCTYPE html><html><head><title>Sign in</title></head>",
        "web page (HTML) that says “Sign in”",
        "Log in",
    ),
    "page without title": (b"\n<html><body><script>x</script>Quota exceeded</body>", "“Quota exceeded”", "Log in"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "Git LFS pointer", "git lfs pull"),
    "annex pointer": (b"/annex/objects/MD5E-s123--abc.h5ad\n", "git-annex", "git annex get"),
    "DVC pointer": (b"outs:\n- md5: abc\n  size: 1\n", "DVC", "dvc pull"),
    "XML error": (
        b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
        "“AccessDenied: Request has expired”",
        "new link",
    ),
    "JSON error": (b'{"error": {"code": 403, "message": "No permission"}}', "“No permission”", "new link"),
    "plain error": (b"404: Not Found", "“404: Not Found”", "new link"),
    "address": (b"https://example.org/sample.h5ad\n", "internet shortcut", "Download"),
    "h5ad, gzip": (gzip.compress(GOOD), "HDF5 file compressed with gzip", "gunzip FILE"),
    "h5ad, gzip twice": (gzip.compress(gzip.compress(GOOD)), "HDF5 file compressed with gzip", "gunzip FILE"),
    "h5ad, bzip2": (bz2.compress(GOOD), "HDF5 file compressed with bzip2", "bunzip2 FILE"),
    "h5ad, xz": (lzma.compress(GOOD), "HDF5 file compressed with xz", "unxz FILE"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(40), "compressed with zstd", "unzstd FILE"),
    "gzip, damaged": (b"\x1f\x8b\x08\x00" + b"\xff" * 40, "damaged file", "Send the file again"),
    "macOS companion": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "macOS", "without the ._"),
    "multipart form": (b"------WebKit\r\n\r\n" + GOOD, "HDF5 file with 16 bytes put before it", "without them"),
    "text": (b"hello", "text file that starts “hello”", "adata.write_h5ad"),
    "noise": (bytes(range(128, 250)) * 10, "first bytes are 80 81", "adata.write_h5ad"),
}

OTHER_HDF5 = {
    "MuData": (hdf5("obs", "var", "mod/rna", "mod/prot"), "MuData file (.h5mu) of prot, rna", '.mod["rna"].write_h5ad'),
    "MuData by name": (hdf5("obs", "var", "X", "mod/GEX", encoding_type="MuData"), "of GEX", '.mod["GEX"]'),
    "loom": (hdf5("row_attrs", "col_attrs", "matrix", "layers"), "a loom file", "scanpy.read_loom(FILE)"),
    "h5Seurat": (hdf5("assays", "cell.names", "meta.data"), "an h5Seurat file", "SeuratDisk::Convert"),
    "molecule_info.h5": (
        hdf5("barcode_idx", "barcodes", "count", "feature_idx", "features", "umi"),
        "molecule_info.h5",
        "filtered_feature_bc_matrix.h5",
    ),
    "SnapATAC": (hdf5("HD", "BD", "FM"), "SnapATAC", "gene expression"),
    "Keras": (hdf5("model_weights"), "Keras model", "AnnData"),
    "bare Keras": (hdf5("dense_1", keras_version="2"), "Keras model", "AnnData"),
    "PyTables": (hdf5("df", PYTABLES_FORMAT_VERSION="2.1"), "PyTables", "pandas.read_hdf"),
    "BPCells": (hdf5("idxptr", "val", "row_names", "col_names"), "BPCells", "write_matrix_anndata_hdf5"),
    "sparse matrix": (hdf5("data", "indices", "indptr", "shape"), "bare sparse matrix", "adata.write_h5ad"),
    "two genomes": (
        hdf5("hg19/barcodes", "hg19/genes", "mm10/barcodes", "mm10/genes"),
        "2 genomes in one file: hg19, mm10",
        'scanpy.read_10x_h5(FILE, genome="hg19")',
    ),
    "no var": (hdf5("X", "obs"), "AnnData file without var", "adata.write_h5ad"),
    "unknown": (hdf5("a", "b"), "HDF5 file that holds a, b", "adata.write_h5ad"),
    "nothing": (hdf5(), "HDF5 file that is empty", "adata.write_h5ad"),
}


def refusal(data: bytes) -> Finding:
    (found,) = validate(BytesSource(data)).refusals
    return found


@pytest.mark.parametrize(("data", "called", "advice"), NOT_HDF5.values(), ids=NOT_HDF5.keys())
def test_what_is_not_hdf5_is_called_what_it_is(data: bytes, called: str, advice: str) -> None:
    found = refusal(data)
    assert found.code == "NOT_HDF5"
    assert called in found.message
    assert advice in found.hint
    assert not re.search(r"\bb'|\\x|Error:|Traceback", found.message)


@pytest.mark.parametrize(("data", "called", "advice"), OTHER_HDF5.values(), ids=OTHER_HDF5.keys())
def test_an_hdf5_file_of_another_kind_is_called_what_it_is(data: bytes, called: str, advice: str) -> None:
    found = refusal(data)
    assert found.code == "NOT_ANNDATA"
    assert called in found.message
    assert advice in found.hint


@pytest.mark.parametrize(
    "data",
    [GOOD.replace(b"\r\n", b"\n"), GOOD.decode("latin-1").encode(), GOOD.decode("utf-8", "replace").encode()],
    ids=["line ends", "encoded again", "replaced"],
)
def test_hdf5_spoiled_by_a_text_mode_transfer_is_damaged(data: bytes) -> None:
    found = refusal(data)
    assert found.code == "FILE_DAMAGED"
    assert "text mode" in found.message
    assert "binary mode" in found.hint


def test_a_piece_of_a_zarr_store_is_told_by_its_name() -> None:
    (found,) = validate(BytesSource(b"\x02\x01\x91\x04" * 9), name="drops/pbmc.zarr/X/data/0").refusals
    assert "a piece of the zarr store pbmc.zarr" in found.message


def test_a_foreign_file_is_called_so_even_where_an_anndata_would_be_unsafe() -> None:
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        file.create_group("#refs#")
        file["counts"] = np.array([file.ref], dtype=h5py.ref_dtype)
    found = refusal(buffer.getvalue())
    assert found.code == "NOT_ANNDATA"
    assert "MATLAB" in found.message


def test_what_other_programs_add_to_cell_rangers_file_is_no_matter() -> None:
    counts = random_counts(30, 300)
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"], group["indptr"] = counts.data.astype("i4"), counts.indices, counts.indptr
        group["shape"], group["barcodes"] = [300, 30], np.array([f"B{i}-1".encode() for i in range(30)])
        group["features/id"] = np.array([f"ENSG{i:011d}".encode() for i in range(300)])
        group["features/feature_type"] = np.array([b"Gene Expression"] * 300)
        for name in ("droplet_latents/cell_probability", "global_latents/ambient_expression", "metadata/estimator"):
            file[name] = np.ones(3)  # As CellBender does.
    assert validate(BytesSource(buffer.getvalue())).accepted


MAGIC = st.sampled_from(
    [
        b"",
        b"\x1f\x8b\x08\x00",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"PK\x03\x04",
        b"\x80\x04",
        b"<html>",
        b"<!---->",
        b"{",
        b"@r\n",
    ]
)


@settings(max_examples=200, deadline=None)
@given(MAGIC, st.binary(max_size=300), st.integers(1, 300))
def test_any_bytes_are_called_something_in_a_few_plain_words(magic: bytes, data: bytes, times: int) -> None:
    found = recognise(BytesSource((magic + data) * times)).refusal()
    assert len(found.message) <= 1_000
    assert found.message.isprintable()
    assert found.hint


def test_a_page_of_endless_comments_is_soon_read() -> None:
    started = time.monotonic()
    assert "XML" in recognise(BytesSource(b"<!---->" * 1_000 + b"<x")).what
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("words", ["\x1b[31m red", "a" * 5000, "[/bold]", "x\x00"])
def test_words_of_a_file_are_few_and_plain(words: str) -> None:
    message = refusal(f"<html><title>{words}</title>".encode()).message
    assert len(message) < 400
    assert message.isprintable()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_a_compressed_file_is_looked_into_but_never_unpacked_whole(pack: object) -> None:
    bomb = pack(bytes(60 * 2**20))  # type: ignore[operator]
    source = CountingSource(BytesSource(bomb))
    tracemalloc.start()
    found = recognise(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "zeros" in found.what
    assert peak < 16 * 2**20
    assert source.bytes_read <= 64 * 1024
