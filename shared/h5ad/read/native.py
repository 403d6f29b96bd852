"""The compiled inner loops of reading (``native.c``), where ``tools/build-native`` could build them.

They need a compiler when celldrop is set up, none when it runs, and are never needed: without them, or for whatever
they cannot take, NumPy computes the same values.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.h5ad.read.projected import RowBuffers
from shared.telemetry import event

log = logging.getLogger(__name__)

LIBRARY = Path(__file__).with_name("_native.so")
VERSION = 2
"""As in native.c: a library left by another version is not used."""
DEFLATED, SHUFFLED = 1, 2
"""Steps that a chunk went through when it was written."""
_KINDS = {"data": frozenset("fiu"), "indices": frozenset("iu")}
_WIDEST = 8
_NARROWEST_FLOAT = 4


@dataclass(frozen=True, slots=True)
class StoredChunks:
    """Consecutive chunks of an array as they lie in the file.

    Attributes:
        starts: (n + 1,) places of the first value of each, and the end; int64.
        parts: The stored bytes of each.
        steps: (n,) DEFLATED | SHUFFLED of each; uint8.
    """

    dtype: np.dtype[np.generic]
    starts: npt.NDArray[np.int64]
    parts: Sequence[memoryview]
    steps: npt.NDArray[np.uint8]


class _Rows(ctypes.Structure):
    _fields_ = (
        ("n_rows", ctypes.c_int64),
        ("pointers", ctypes.c_void_p),
        ("feature_of_column", ctypes.c_void_p),
        ("n_columns", ctypes.c_int32),
        ("only_genes", ctypes.c_int32),
        ("values", ctypes.c_int32),
        ("least_sum", ctypes.c_float),
        ("most_sum", ctypes.c_float),
        ("feature", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("indptr", ctypes.c_void_p),
        ("total_n", ctypes.c_void_p),
        ("n_genes_n", ctypes.c_void_p),
        ("seen_in", ctypes.c_void_p),
        ("row", ctypes.c_int64),
        ("kept", ctypes.c_int64),
        ("sum", ctypes.c_double * 4),
        ("powers", ctypes.c_double),
        ("largest", ctypes.c_float),
        ("fractions", ctypes.c_int32),
    )


class _Stored(ctypes.Structure):
    _fields_ = (
        ("n_chunks", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("bytes", ctypes.c_void_p),
        ("n_bytes", ctypes.c_void_p),
        ("steps", ctypes.c_void_p),
        ("kind", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("raw", ctypes.c_void_p),
        ("shuffled", ctypes.c_void_p),
        ("converted", ctypes.c_void_p),
    )


class _Inflater(ctypes.Structure):
    _fields_ = (("alloc", ctypes.c_void_p), ("inflate", ctypes.c_void_p), ("free", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class _Library:
    code: ctypes.CDLL
    inflater: _Inflater


def available() -> bool:
    """Whether the compiled loops are there; where not, it is said once."""
    return _library() is not None


def project(room: RowBuffers, columns: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> bool:
    """Fill a room from arrays that hold the values of all its rows; False where that cannot be done here.

    Python's lock is not held meanwhile.
    """
    library = _library()
    if library is None:
        return False
    rows = _rows(room)
    start, stop = int(room.pointers[0]), int(room.pointers[-1])
    found: int = library.code.celldrop_project(ctypes.byref(rows), columns.ctypes.data, values.ctypes.data, start, stop)
    return found == 0


def load(room: RowBuffers, data: StoredChunks, indices: StoredChunks) -> bool:
    """Fill a room from the stored chunks of all its rows; False where that cannot be done here.

    That is so for chunks that do not inflate to what they should, values that are negative or not finite, columns
    outside the matrix or twice in a row, rows that do not hold what is expected: read them by the other way,
    which tells what is wrong or mends it. Python's lock is not held meanwhile.
    """
    library = _library()
    if library is None or not (_taken("data", data) and _taken("indices", indices)):
        return False
    rows = _rows(room)
    (of_data, kept_data), (of_indices, kept_indices) = _stored(data), _stored(indices)
    found: int = library.code.celldrop_load(
        ctypes.byref(rows), ctypes.byref(of_data), ctypes.byref(of_indices), ctypes.byref(library.inflater)
    )
    del kept_data, kept_indices
    return found == 0


def _taken(name: str, array: StoredChunks) -> bool:
    kind = array.dtype
    narrow = kind.kind == "f" and kind.itemsize < _NARROWEST_FLOAT
    return kind.kind in _KINDS[name] and kind.itemsize <= _WIDEST and kind.isnative and not narrow


def _rows(room: RowBuffers) -> _Rows:
    for array in (room.pointers, room.feature_of_column, room.feature, room.value):
        assert array.flags.c_contiguous
    assert room.pointers.dtype == np.int64
    assert room.feature_of_column.dtype == np.int32
    found = (room.feature, room.value, room.indptr, room.total_n, room.n_genes_n, room.seen_in)
    return _Rows(
        len(room.pointers) - 1,
        room.pointers.ctypes.data,
        room.feature_of_column.ctypes.data,
        len(room.feature_of_column),
        room.only_genes,
        room.expected.values,
        room.expected.least_sum,
        room.expected.most_sum,
        *(array.ctypes.data for array in found),
    )


def _stored(array: StoredChunks) -> tuple[_Stored, list[npt.NDArray[np.generic]]]:
    """As the library takes it, and the arrays that must live as long."""
    views = [np.frombuffer(part, np.uint8) for part in array.parts]
    addresses = np.array([view.ctypes.data for view in views], np.uintp)
    sizes = np.array([len(view) for view in views], np.int64)
    longest = int(np.diff(array.starts).max(initial=0))
    raw, shuffled = (np.empty(longest * array.dtype.itemsize, np.uint8) for _ in range(2))
    converted = np.empty(longest, np.int32)
    made = _Stored(
        len(views),
        array.starts.ctypes.data,
        addresses.ctypes.data,
        sizes.ctypes.data,
        array.steps.ctypes.data,
        ord(array.dtype.kind),
        array.dtype.itemsize,
        *(room.ctypes.data for room in (raw, shuffled, converted)),
    )
    return made, [*views, addresses, sizes, raw, shuffled, converted, array.starts, array.steps]


@cache
def _library() -> _Library | None:
    try:
        code = ctypes.CDLL(str(LIBRARY))
        found = code.celldrop_version()
        if found == VERSION:
            place = ctypes.c_int64
            code.celldrop_project.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, place, place)
            return _Library(code, _inflater())
        reason = f"version {found} of the compiled loops"
    except (OSError, AttributeError, ImportError) as error:
        reason = str(error)
    event(log, "reading without compiled loops", level=logging.WARNING, found=reason, hint="tools/build-native")
    return None


def _inflater() -> _Inflater:
    """Libdeflate's own functions, out of the package that brings it."""
    from deflate import _deflate  # noqa: PLC0415  # private: where it is called otherwise, there is no fast path

    code = ctypes.CDLL(_deflate.__file__)
    names = ("libdeflate_alloc_decompressor", "libdeflate_zlib_decompress", "libdeflate_free_decompressor")
    return _Inflater(*(ctypes.cast(getattr(code, name), ctypes.c_void_p) for name in names))
