"""A stored two-dimensional embedding of the cells, for the report's map."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import InputError
from shared.domain.geometry import Rows
from shared.h5ad.read.columns import is_list, is_number, names_in
from shared.h5ad.read.inflating import check_inflation
from shared.h5ad.read.opening import decoding, open_file
from shared.h5ad.source import RangeSource

PREFERRED = ("x_umap", "umap", "x_tsne", "tsne", "x_draw_graph_fa", "x_phate", "x_mde")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Places of cells on a map.

    Attributes:
        name: Key in obsm.
        xy_n2: (n, 2) float32; NaN where the file has none.
    """

    name: str
    xy_n2: npt.NDArray[np.float32]


def read_embedding(source: RangeSource, rows: Rows) -> Coordinates | None:
    """The first two coordinates of ``rows`` in a UMAP, t-SNE or the like; None where the file has none.

    Raises:
        TruncatedFileError: There is one that does not decode.
    """
    with open_file(source) as opened:
        node = opened.file.get("obsm")
        if node is None:
            return None
        with decoding("obsm"):
            return _read(node, rows)


def maps_in(node: object) -> list[h5py.Dataset]:
    """The arrays that are looked at for a map, in the order in which they are."""
    if not isinstance(node, h5py.Group):
        return [node] if isinstance(node, h5py.Dataset) else []
    by_rank = {name.lower(): name for name in names_in(node)}
    found = [node[by_rank[name]] for name in PREFERRED if name in by_rank]
    return [values for values in found if isinstance(values, h5py.Dataset) and values.shape is not None]


def _read(node: object, rows: Rows) -> Coordinates | None:
    """From a group of arrays, or, before AnnData 0.7, an array with a field for each."""
    if isinstance(node, h5py.Group):
        named = {name: node[name] for name in names_in(node) if isinstance(node[name], h5py.Dataset)}
    elif isinstance(node, h5py.Dataset) and is_list(node) and len(node) >= rows.stop:
        check_inflation(node, rows.start, rows.stop)
        named = {str(name): node.fields(str(name)) for name in node.dtype.names or ()}
    else:
        return None
    by_rank = {name.lower(): name for name in named}
    for name in filter(None, map(by_rank.get, PREFERRED)):
        found = _two(named[name], rows)
        if found is not None:
            return Coordinates(name, found)
    return None


def _two(values: object, rows: Rows) -> npt.NDArray[np.float32] | None:
    """The first two columns, where there are two of real numbers."""
    if isinstance(values, h5py.Dataset):
        return _columns(values, rows) if _is_map(values, rows) else None
    assert hasattr(values, "__getitem__")
    found = np.asarray(values[rows.start : rows.stop])
    if len(found.shape) != 2 or found.shape[1] < 2 or found.dtype.kind not in "iuf":
        return None
    return found[:, :2].astype(np.float32)


def _columns(values: h5py.Dataset, rows: Rows) -> npt.NDArray[np.float32] | None:
    try:
        check_inflation(values, rows.start, rows.stop)
    except InputError:
        return None
    return np.asarray(values[rows.start : rows.stop, :2]).astype(np.float32)


def _is_map(values: h5py.Dataset, rows: Rows) -> bool:
    if values.shape is None or len(values.shape) != 2 or not is_number(values):
        return False
    n_rows, n_columns = map(int, values.shape)
    return n_rows >= rows.stop and n_columns >= 2
