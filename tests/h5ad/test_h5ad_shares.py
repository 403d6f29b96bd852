"""A task's share of a matrix takes the chunks of its rows, and of the chunk index what leads to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import h5py
import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from shared.domain.errors import InputError
from shared.domain.geometry import task_rows
from shared.h5ad.read.arrays import open_array
from shared.h5ad.read.chunk_index import Foresight, StoredChunk
from shared.h5ad.read.rows import open_matrix
from shared.h5ad.source import HEAD_BYTES, TAIL_BYTES, BytesSource, RangedFile
from tests.fakes.sources import CountingSource
from tests.h5ad.h5ad_files import Recipe, only_matrix, random_counts, read_all, write_file

OPTIONS = {"chunks": (500,), "compression": "gzip"}
N_CELLS = 3_000
COUNTS = random_counts(N_CELLS, 800, density=0.3)
DATA = write_file(COUNTS, Recipe(data_options=OPTIONS, index_options=OPTIONS))
CHOICE = only_matrix(BytesSource(DATA))
N_TASKS = 7
NODES_BYTES = 512 * 1024
"""Of the index: some 30 nodes, a block each."""


class Blind(Foresight):
    """Knows no index, so that the library lists every chunk."""

    @override
    def chunks(self, dataset: h5py.Dataset, wanted: Sequence[range]) -> list[StoredChunk] | None:
        return None


def test_seven_shares_are_the_whole() -> None:
    shares = [read_all(BytesSource(DATA), CHOICE, task_rows(N_CELLS, N_TASKS, index)) for index in range(N_TASKS)]
    assert (sp.vstack(shares).toarray() == COUNTS.toarray()).all()


@cache
def _long() -> bytes:
    """So long that neither head nor tail reach what is looked for; 72 MB of values in 3,600 chunks of each array."""
    options = {"chunks": (2_000,), "compression": "gzip"}
    return write_file(random_counts(30_000, 800, density=0.3), Recipe(data_options=options, index_options=options))


def test_a_share_reads_little_more_than_its_part_of_the_file() -> None:
    choice = only_matrix(BytesSource(_long()))
    for index in range(N_TASKS):
        counting = CountingSource(BytesSource(_long()))
        with open_matrix(counting, choice) as matrix:
            for _ in matrix.blocks(task_rows(choice.n_cells, N_TASKS, index)):
                pass
        opening = HEAD_BYTES + TAIL_BYTES
        assert counting.bytes_read < 1.1 * len(_long()) / N_TASKS + opening + NODES_BYTES


def test_the_index_is_walked_level_by_level_and_not_node_by_node() -> None:
    calls = [_calls(kind) for kind in (Foresight, Blind)]
    assert calls[0] < 8
    assert calls[1] > 3 * calls[0]


def _calls(kind: type[Foresight]) -> int:
    """How often the source was waited for, to learn where a seventh of the values lies."""
    counting = CountingSource(BytesSource(_long()))
    with RangedFile(counting, cache_bytes=1) as raw, h5py.File(raw, "r") as file:
        dataset = file["X/data"]
        before = counting.calls
        size = len(dataset) // N_TASKS
        open_array(dataset, len(_long()), kind(raw, file.userblock_size)).window(3 * size, 4 * size)
        return counting.calls - before


def test_chunks_that_were_never_written_hold_the_fill_value_either_way() -> None:
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        file.create_dataset("x", (10_000,), "i4", chunks=(10,), fillvalue=7)
        file["x"][5_000:5_005] = 1
        file["x"][9_990:] = 2
    for kind in (Foresight, Blind):
        with RangedFile(BytesSource(buffer.getvalue())) as raw, h5py.File(raw, "r") as file:
            window = open_array(file["x"], len(buffer.getvalue()), kind(raw, 0)).window(4_000, 10_000)
            parts = [memoryview(buffer.getvalue()[s.offset : s.offset + s.length]) for s in window.spans(4_990, 10_000)]
            assert (window.decode(4_990, 10_000, parts) == file["x"][4_990:]).all()


@given(where=st.integers(0, 10_000), offset=st.integers(0, 2_000), value=st.integers(0, 255), index=st.integers(0, 6))
@settings(max_examples=100)
def test_a_damaged_index_is_noticed_or_does_not_matter(where: int, offset: int, value: int, index: int) -> None:
    data = bytearray(DATA)
    nodes = [at for at in range(0, len(DATA), 8) if DATA[at : at + 5] == b"TREE\x01"]
    at = nodes[where % len(nodes)] + offset
    data[min(at, len(data) - 1)] = value
    rows = task_rows(N_CELLS, N_TASKS, index)
    try:
        found = read_all(BytesSource(bytes(data)), CHOICE, rows)
    except InputError:
        return
    assert found.shape == (len(rows), 800)
    assert np.isfinite(found.data).all()
