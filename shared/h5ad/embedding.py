"""A stored two-dimensional embedding of the cells, for the report's map."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.geometry import Rows
from shared.h5ad.decoding import decoding
from shared.h5ad.opening import open_file
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


def _read(node: h5py.Group | h5py.Dataset, rows: Rows) -> Coordinates | None:
    compound = isinstance(node, h5py.Dataset)
    names = node.dtype.names or () if compound else tuple(node)
    by_rank = {str(name).lower(): str(name) for name in names}
    for wanted in PREFERRED:
        name = by_rank.get(wanted)
        if name is None:
            continue
        values = node.fields(name) if compound else node[name]
        if compound or _is_map(values, rows):
            found = np.asarray(values[rows.start : rows.stop])
            if len(found.shape) == 2 and found.shape[1] >= 2:
                return Coordinates(name, found[:, :2].astype(np.float32))
    return None


def _is_map(values: object, rows: Rows) -> bool:
    return (
        isinstance(values, h5py.Dataset)
        and len(values.shape) == 2
        and values.shape[1] >= 2
        and values.shape[0] >= rows.stop
        and values.dtype.kind in "iuf"
    )
