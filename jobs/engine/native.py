"""The compiled loops of the search for nearest cells (``native.c``), where ``tools/build-native`` could build them.

They need a compiler when celldrop is set up, none when it runs, and are never needed: without them, or for whatever
they cannot take, torch makes the shortlists.
"""

from __future__ import annotations

import ctypes
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from shared.telemetry import event

log = logging.getLogger(__name__)

LIBRARY = Path(__file__).with_name("_native.so")
VERSION = 1
"""As in native.c: a library left by another version is not used."""
QUERIES, CELLS = 4, 16
"""So many of each are compared at once, as in native.c."""
MOST, LEAST = (1 << 31) - 1, -(1 << 31)
_CPUS = frozenset({"AVX2", "AVX512"})
"""What torch calls the CPUs that have the instructions."""
_PLACE, _COUNT, _ADDRESS = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


@dataclass(frozen=True, slots=True)
class Lists:
    """Queries, and the reference cells that are listed for each.

    Attributes:
        query_bpq: Coordinates, times -1: blocks of ``QUERIES`` queries x pairs x queries, each two int16 in an int32.
        square_n: Their squared norms, int32, as all that follows.
        below_n: What a cell's value must be less than to be listed.
        count_n: How many are listed; -1 where there is no list.
        value_nm: Half of the squared distance, less half of the query's squared norm.
        place_nm: The listed cells' positions, ascending.
        k: How many neighbours are looked for.
        slack: Distances that differ by less may be in the other order.
    """

    query_bpq: torch.Tensor
    square_n: torch.Tensor
    below_n: torch.Tensor
    count_n: torch.Tensor
    value_nm: torch.Tensor
    place_nm: torch.Tensor
    k: int
    slack: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """Reference cells as they are compared with queries.

    Attributes:
        panel_cpc: Coordinates: blocks of ``CELLS`` cells x pairs x cells, each two int16 in an int32.
        half_c: Half of their squared norms, int32.
        n_rows: How many they are.
    """

    panel_cpc: torch.Tensor
    half_c: torch.Tensor
    n_rows: int


class _Search(ctypes.Structure):
    _fields_ = (
        ("n_pairs", ctypes.c_int32),
        ("k", ctypes.c_int32),
        ("room", ctypes.c_int32),
        ("slack", ctypes.c_float),
        ("query", _ADDRESS),
        ("square_n", _ADDRESS),
        ("below_n", _ADDRESS),
        ("count_n", _ADDRESS),
        ("value_nm", _ADDRESS),
        ("place_nm", _ADDRESS),
    )


def available() -> bool:
    """Whether the compiled loops are there, and run on this CPU."""
    return torch.backends.cpu.get_cpu_capability() in _CPUS and _library() is not None


def pack(reference_rd: torch.Tensor, centre_d: torch.Tensor, scale: float) -> Chunk:
    """Round ``(reference - centre) · scale``. Both are float32."""
    assert reference_rd.is_contiguous()
    (n_rows, d), n_blocks = reference_rd.shape, -(-len(reference_rd) // CELLS)
    n_pairs = -(-d // 2)
    panel_cpc = torch.empty((n_blocks, n_pairs, CELLS), dtype=torch.int32)
    half_c = torch.empty(n_blocks * CELLS, dtype=torch.int32)
    row = torch.empty(2 * n_pairs, dtype=torch.int32)
    found = (row.data_ptr(), panel_cpc.data_ptr(), half_c.data_ptr())
    _code().celldrop_pack(reference_rd.data_ptr(), centre_d.data_ptr(), scale, d, n_rows, *found)
    return Chunk(panel_cpc, half_c, n_rows)


def compare(lists: Lists, chunk: Chunk, first: int, queries: slice) -> None:
    """List the cells of a chunk for some queries, whole blocks of them; ``first`` is the position of the first cell.

    Python's lock is not held meanwhile.
    """
    search, n_blocks = _search(lists, queries), -(-(queries.stop - queries.start) // QUERIES)
    cells = (chunk.panel_cpc.data_ptr(), chunk.half_c.data_ptr(), chunk.n_rows)
    _code().celldrop_compare(ctypes.byref(search), n_blocks, *cells, first)


def settle(lists: Lists, queries: slice) -> None:
    """Shorten the lists of some queries to what is needed, once all of the reference has been compared."""
    _code().celldrop_settle(ctypes.byref(_search(lists, queries)), queries.stop - queries.start)


def _search(lists: Lists, queries: slice) -> _Search:
    assert queries.start % QUERIES == 0
    arrays = (lists.square_n, lists.below_n, lists.count_n, lists.value_nm, lists.place_nm)
    found = [array[queries.start :].data_ptr() for array in arrays]
    query = lists.query_bpq[queries.start // QUERIES :].data_ptr()
    return _Search(lists.query_bpq.shape[1], lists.k, lists.place_nm.shape[1], lists.slack, query, *found)


def _code() -> ctypes.CDLL:
    code = _library()
    assert code is not None
    return code


@cache
def _library() -> ctypes.CDLL | None:
    try:
        code = ctypes.CDLL(str(LIBRARY))
        found = code.celldrop_version()
        if found == VERSION:
            array = _ADDRESS
            code.celldrop_pack.argtypes = (array, array, ctypes.c_float, _PLACE, _COUNT, array, array, array)
            code.celldrop_compare.argtypes = (array, _COUNT, array, array, _COUNT, _PLACE)
            code.celldrop_settle.argtypes = (array, _COUNT)
            return code
        reason = f"version {found} of the compiled loops"
    except (OSError, AttributeError) as error:
        reason = str(error)
    event(log, "searching without compiled loops", level=logging.WARNING, found=reason, hint="tools/build-native")
    return None
