"""Where the parts of an annotated matrix lie, in every layout that is known."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import h5py

from shared.domain.errors import NotAnnDataError
from shared.domain.verdict import MatrixEncoding
from shared.h5ad.columns import names_in, text

GENE_EXPRESSION = "Gene Expression"
TYPE_COLUMNS = ("feature_types", "feature_type")
_FOREIGN = {
    "row_attrs": ("a loom file", "Read it with scanpy.read_loom() and write it with adata.write_h5ad()."),
    "mod": ("a MuData file", 'Write the RNA alone: mdata.mod["rna"].write_h5ad().'),
    "assays": ("an h5Seurat file", "Convert it with SeuratDisk::Convert(FILE, dest = 'h5ad')."),
    "shape": ("a bare sparse matrix", "Write an AnnData with obs and var: adata.write_h5ad()."),
}


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
    raise _foreign(file, genomes)


def _foreign(file: h5py.File, genomes: list[str]) -> NotAnnDataError:
    expected = "obs, var and X as AnnData writes them, or Cell Ranger's .h5"
    if genomes:
        hint = "Write one genome with AnnData and send that."
        return NotAnnDataError(
            f"{len(genomes)} genomes in one file: {', '.join(genomes)}", expected=expected, hint=hint
        )
    for key, (what, hint) in _FOREIGN.items():
        if key in file:
            return NotAnnDataError(what, expected=expected, hint=hint)
    inside = ", ".join(sorted(names_in(file))[:8]) or "nothing"
    hint = "Save the data with adata.write_h5ad() and send that file."
    return NotAnnDataError(f"an HDF5 file with {inside} inside", expected=expected, hint=hint)


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
        return f"anndata {text(version)}"
    return "anndata <0.7" if old else "anndata 0.7"


def describe(file: h5py.File, path: str, *, tenx: bool) -> Shape:
    """How the matrix at ``path`` is stored.

    Raises:
        ValueError: It is not a matrix, with the reason.
    """
    node = file[path]
    if isinstance(node, h5py.Dataset):
        return _dense(node)
    if not {"data", "indices", "indptr"} <= set(node):
        raise ValueError("not a matrix")
    encoding, shape = _sparse_form(node, tenx=tenx)
    major = shape[0] if encoding is MatrixEncoding.CSR else shape[1]
    data, indices, indptr = (node[name] for name in ("data", "indices", "indptr"))
    if data.shape != indices.shape or len(data.shape) != 1 or indptr.shape != (major + 1,):
        raise ValueError(f"data {data.shape}, indices {indices.shape} and indptr {indptr.shape} do not fit {shape}")
    if data.dtype.kind not in "iufb" or {indices.dtype.kind, indptr.dtype.kind} - set("iu"):
        raise ValueError(f"values of type {data.dtype} at positions of type {indices.dtype}")
    chunk_bytes = max(_chunk_bytes(data), _chunk_bytes(indices))
    return Shape(encoding, str(data.dtype), *shape, int(data.shape[0]), chunk_bytes)


def _dense(node: h5py.Dataset) -> Shape:
    if node.dtype.kind not in "iufb" or len(node.shape) != 2:
        raise ValueError(f"an array of shape {node.shape} and type {node.dtype}")
    n_cells, n_columns = map(int, node.shape)
    return Shape(MatrixEncoding.DENSE, str(node.dtype), n_cells, n_columns, n_cells * n_columns, _chunk_bytes(node))


def _sparse_form(node: h5py.Group, *, tenx: bool) -> tuple[MatrixEncoding, tuple[int, int]]:
    if tenx:
        n_genes, n_cells = (int(size) for size in node["shape"][()])
        return MatrixEncoding.CSR, (n_cells, n_genes)
    kind = text(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    stored = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if kind[:3] not in {"csr", "csc"} or stored is None or len(stored) != 2:
        raise ValueError(f"a group of encoding {kind!r}")
    return MatrixEncoding(kind[:3]), (int(stored[0]), int(stored[1]))


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return prod(dataset.chunks) * int(dataset.dtype.itemsize) if dataset.chunks else 0
