"""Where the parts of an annotated matrix lie, in every layout that is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import h5py

from shared.domain.errors import NotAnnDataError, UnsafeFileError
from shared.domain.verdict import MatrixEncoding
from shared.domain.words import cut, listed
from shared.h5ad.foreign.hdf5 import mudata, recognise_hdf5, refusal, unknown
from shared.h5ad.foreign.kinds import Foreign
from shared.h5ad.read.columns import names_in, text
from shared.h5ad.read.inflating import sliced

_WORDS = 60
"""What a file calls its encodings, in our messages."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths inside the file.

    Attributes:
        matrices: Path of each matrix and of its genes.
        tenx: Cell Ranger's .h5: matrices are stored genes x cells, and their CSC is our CSR.
    """

    name: str
    obs: str
    matrices: tuple[tuple[str, str], ...]
    old: bool = False
    tenx: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """How one matrix is stored.

    Attributes:
        n_columns: Columns as stored, whether or not all of them are genes.
    """

    encoding: MatrixEncoding
    dtype: str
    n_cells: int
    n_columns: int
    nnz: int
    chunk_bytes: int


def find_layout(file: h5py.File) -> Layout:
    """Recognise the layout.

    Raises:
        NotAnnDataError: None of those known.
    """
    if _is_mudata(file):
        raise mudata(names_in(file["mod"]))
    if "obs" in file and "var" in file:
        return _anndata(file)
    if isinstance(file.get("matrix"), h5py.Group) and "features" in file["matrix"]:
        return Layout("10x v3", "matrix/barcodes", (("matrix", "matrix/features"),), tenx=True)
    genomes = [
        name
        for name in names_in(file)
        if isinstance(file[name], h5py.Group) and {"barcodes", "genes"} <= set(file[name])
    ]
    if len(genomes) == 1:
        return Layout("10x v2", f"{genomes[0]}/barcodes", ((genomes[0], genomes[0]),), tenx=True)
    raise _several(genomes) if genomes else _foreign(file)


@contextmanager
def calling_it_by_name(file: h5py.File) -> Iterator[None]:
    """While a file is scanned: one of another kind is called that, since what is unsafe in an AnnData is usual there.

    Raises:
        NotAnnDataError: In place of UnsafeFileError, for what the names at the root tell.
    """
    try:
        yield
    except UnsafeFileError as error:
        kind = recognise_hdf5(names_in(file))
        if kind is None or {"obs", "var"} <= set(file):
            raise
        raise refusal(kind) from error


def _is_mudata(file: h5py.File) -> bool:
    """Whether there are several AnnData inside; MuData has obs and var at its root too, and no X."""
    if not isinstance(file.get("mod"), h5py.Group):
        return False
    kind = file.attrs.get("encoding-type")
    return "X" not in file or (kind is not None and text(kind) == "MuData")


def _several(genomes: list[str]) -> NotAnnDataError:
    return NotAnnDataError(
        f"{len(genomes)} genomes in one file: {listed(genomes)}",
        expected="Cell Ranger's .h5 of one genome",
        hint=f'Write one of them: scanpy.read_10x_h5(FILE, genome="{cut(genomes[0], _WORDS)}").write_h5ad("NEW.h5ad").',
    )


def _foreign(file: h5py.File) -> NotAnnDataError:
    names = names_in(file)
    kind = recognise_hdf5(names, list(file.attrs))
    if kind is None and {"X", "obs", "var"} & set(names):
        lacking = " and ".join(name for name in ("obs", "var") if name not in names)
        kind = Foreign(f"an AnnData file without {lacking}")
    return refusal(kind or unknown(names))


def _anndata(file: h5py.File) -> Layout:
    old = isinstance(file["obs"], h5py.Dataset)
    places: list[tuple[str, str]] = []
    for path, genes in (("X", "var"), ("raw/X", "raw/var"), ("raw.X", "raw.var")):
        if path in file and genes in file:
            places.append((path, genes))
    layers = file.get("layers")
    if isinstance(layers, h5py.Group):
        places += [(f"layers/{name}", "var") for name in names_in(layers)]
    return Layout(_version(file, old=old), "obs", tuple(places), old=old)


def _version(file: h5py.File, *, old: bool) -> str:
    version = file.attrs.get("encoding-version")
    if version is not None:
        return f"anndata {cut(text(version), 20)}"
    return "anndata <0.7" if old else "anndata 0.7"


def describe(file: h5py.File, path: str, *, tenx: bool) -> Shape:
    """How the matrix at ``path`` is stored.

    Raises:
        ValueError: It is not a matrix, with the reason.
    """
    node = file[path]
    if isinstance(node, h5py.Dataset):
        return _dense(node)
    if not isinstance(node, h5py.Group) or not {"data", "indices", "indptr"} <= set(node):
        raise ValueError("not a matrix")
    encoding, shape = _sparse_form(node, tenx=tenx)
    major = shape[0] if encoding is MatrixEncoding.CSR else shape[1]
    data, indices, indptr = _arrays(node)
    if data.shape != indices.shape or len(data.shape) != 1 or indptr.shape != (major + 1,):
        raise ValueError(f"data {data.shape}, indices {indices.shape} and indptr {indptr.shape} do not fit {shape}")
    if data.dtype.kind not in "iufb" or {indices.dtype.kind, indptr.dtype.kind} - set("iu"):
        raise ValueError(f"values of type {data.dtype} at positions of type {indices.dtype}")
    chunk_bytes = max(_chunk_bytes(data), _chunk_bytes(indices))
    return Shape(encoding, str(data.dtype), *shape, int(data.shape[0]), chunk_bytes)


def _arrays(node: h5py.Group) -> list[h5py.Dataset]:
    arrays = [node.get(name) for name in ("data", "indices", "indptr")]
    if any(not isinstance(array, h5py.Dataset) or array.shape is None for array in arrays):
        raise ValueError("a sparse matrix without data, indices or indptr")
    return arrays


def _dense(node: h5py.Dataset) -> Shape:
    if node.shape is None:
        raise ValueError("it is empty (null)")
    if node.dtype.kind not in "iufb" or len(node.shape) != 2:
        raise ValueError(f"an array of shape {node.shape} and type {node.dtype}")
    n_cells, n_columns = map(int, node.shape)
    return Shape(MatrixEncoding.DENSE, str(node.dtype), n_cells, n_columns, n_cells * n_columns, _chunk_bytes(node))


def _sparse_form(node: h5py.Group, *, tenx: bool) -> tuple[MatrixEncoding, tuple[int, int]]:
    if tenx:
        n_genes, n_cells = (int(size) for size in sliced(node["shape"]))
        return MatrixEncoding.CSR, (n_cells, n_genes)
    kind = text(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    stored = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if kind[:3] not in {"csr", "csc"} or stored is None or len(stored) != 2:
        raise ValueError(f"a group of encoding {cut(kind, _WORDS)!r}")
    return MatrixEncoding(kind[:3]), (int(stored[0]), int(stored[1]))


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return prod(dataset.chunks) * int(dataset.dtype.itemsize) if dataset.chunks else 0
