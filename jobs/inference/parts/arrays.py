"""Arrow columns over the memory of NumPy arrays, and back.

``pa.array`` and ``to_numpy`` would load pandas: 0.4 s and 50 MB in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

F32Array = npt.NDArray[np.float32]

_DTYPES: Mapping[pa.DataType, type[np.generic]] = {
    pa.from_numpy_dtype(kind): kind for kind in (np.float32, np.int16, np.int32, np.int64, np.uint8, np.uint16)
}
"""Of all columns of numbers that parts and results have."""


def column_of(values: npt.NDArray[np.generic], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of numbers or booleans, null where ``absent``."""
    kept = np.ascontiguousarray(values)
    data = np.packbits(kept, bitorder="little") if kept.dtype == np.bool_ else kept
    present = None if absent is None else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(kept.dtype), len(kept), [present, pa.py_buffer(data)])


def text_column(values: Sequence[str]) -> pa.StringArray:
    """A column of texts without nulls."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def fixed_lists(values_nk: npt.NDArray[np.generic], kind: pa.FixedSizeListType) -> pa.Array:
    """A column of lists of one length, of the rows of a matrix."""
    flat = values_nk.reshape(-1).astype(kind.value_type.to_pandas_dtype(), copy=False)
    return pa.FixedSizeListArray.from_arrays(column_of(flat), type=kind)


def values_of(column: pa.Array, absent: float | None = None) -> npt.NDArray[Any]:
    """The values of a column of numbers or booleans: a view of its memory where nothing has to be changed.

    Args:
        absent: What stands for a null, in a column that has any.
    """
    valid, data = column.buffers()
    part = slice(column.offset, column.offset + len(column))
    values = _bits(data)[part] if pa.types.is_boolean(column.type) else _numbers(data, column.type)[part]
    if not column.null_count:
        return values
    assert absent is not None, "a null in a column that has none"
    return np.where(_bits(valid)[part], values, values.dtype.type(absent))


def _numbers(data: pa.Buffer | None, kind: pa.DataType) -> npt.NDArray[Any]:
    dtype = np.dtype(_DTYPES[kind])
    return np.zeros(0, dtype) if data is None else np.frombuffer(data, dtype, data.size // dtype.itemsize)


def _bits(data: pa.Buffer | None) -> npt.NDArray[np.bool_]:
    packed = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return np.unpackbits(packed, bitorder="little").view(np.bool_)
