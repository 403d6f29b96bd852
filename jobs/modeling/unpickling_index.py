"""Reads the vectors of an index of hnswlib (``Index.save_index``), without the library.

Standard library only, as it runs in a bare child process (``unpickling_child``). The layout is that of hnswlib 0.8
(``HierarchicalNSW::saveIndex`` in ``hnswalg.h``): a header of 96 bytes; for each cell, its links on the lowest level,
its vector and its number, all of one length; then the links of each on the higher levels, after their length in bytes.
Which distance an index is for is not in the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from jobs.modeling.unpickling_machine import ForeignPickleError

_HEADER = struct.Struct("<QQQQQQiIQQQdQ")
_FLOAT_BYTES, _LINK_BYTES, _NUMBER_BYTES = 4, 4, 8
_MOST_COMPONENTS = 10_000
_DELETED = 1
"""In the third byte of a cell's links: it is not to be found any more."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the header says.

    Attributes:
        n_cells: Number of cells.
        cell_bytes: The bytes of each, links, vector and number.
        vector_at: Where its vector starts.
        number_at: Where its number starts.
    """

    n_cells: int
    cell_bytes: int
    vector_at: int
    number_at: int

    @property
    def n_components(self) -> int:
        """The length of a vector."""
        return (self.number_at - self.vector_at) // _FLOAT_BYTES


def shape_of(start: bytes) -> Shape:
    """Read the header from the first bytes of a file.

    Raises:
        ForeignPickleError: They are not those of an index.
    """
    if len(start) < _HEADER.size:
        raise ForeignPickleError("is shorter than the header of an index of hnswlib")
    first, _, n_cells, cell_bytes, number_at, vector_at, _, _, _, most_links, *_ = _HEADER.unpack_from(start)
    shape = Shape(n_cells, cell_bytes, vector_at, number_at)
    fits = (
        first == 0
        and vector_at == _LINK_BYTES * (most_links + 1)
        and (number_at - vector_at) % _FLOAT_BYTES == 0
        and 1 <= shape.n_components <= _MOST_COMPONENTS
        and cell_bytes == number_at + _NUMBER_BYTES
    )
    if not fits:
        raise ForeignPickleError("is no index of hnswlib, or one of another version")
    return shape


def read_index(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Read the vectors and numbers of the cells that can be found; the answer is as that for a pickle.

    Raises:
        ForeignPickleError: The bytes are not a whole index.
    """
    shape = shape_of(data)
    end = _HEADER.size + shape.n_cells * shape.cell_bytes
    if end > len(data):
        found = (len(data) - _HEADER.size) // shape.cell_bytes
        raise ForeignPickleError(f"ends after {found:,} of {shape.n_cells:,} cells of an index of hnswlib")
    _check_links(data, end, shape.n_cells)
    starts = [start for start in range(_HEADER.size, end, shape.cell_bytes) if not data[start + 2] & _DELETED]
    vectors = b"".join(data[start + shape.vector_at : start + shape.number_at] for start in starts)
    numbers = b"".join(data[start + shape.number_at : start + shape.cell_bytes] for start in starts)
    arrays = {
        "vectors": {"array": 0, "dtype": "<f4", "shape": [len(starts), shape.n_components], "fortran": False},
        "numbers": {"array": 1, "dtype": "<u8", "shape": [len(starts)], "fortran": False},
    }
    return {"dict": [[name, array] for name, array in arrays.items()]}, [vectors, numbers]


def _check_links(data: bytes, start: int, n_cells: int) -> None:
    """Check that the links on the higher levels follow, up to the end of the file."""
    for _ in range(n_cells):
        if start + _LINK_BYTES > len(data):
            raise ForeignPickleError("ends before the last links of an index of hnswlib")
        start += _LINK_BYTES + int.from_bytes(data[start : start + _LINK_BYTES], "little")
    if start != len(data):
        raise ForeignPickleError("does not end with the last links of an index of hnswlib")
