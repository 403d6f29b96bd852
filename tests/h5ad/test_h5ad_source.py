"""Bytes by range, and the file object that h5py reads through."""

from __future__ import annotations

import io
from collections.abc import Sequence

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InputChangedError, TruncatedFileError
from shared.h5ad.read.arrays import fetch
from shared.h5ad.source import (
    BLOCK_BYTES,
    HEAD_BYTES,
    TAIL_BYTES,
    BlobSource,
    BytesSource,
    OpenedSource,
    RangedFile,
)
from shared.ports.blobs import ByteRange
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.sources import CountingSource
from tests.h5ad.h5ad_files import random_counts, write_file

LONG = bytes(np.random.default_rng(0).integers(0, 256, 9 * 2**20, dtype=np.uint8))


class Gone:
    """A source that fails from the second call on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.calls = 0
        self.size_bytes = len(data)

    def read(self, span: ByteRange) -> bytes:
        return self.read_many([span])[0]

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        self.calls += 1
        if self.calls > 1:
            raise InputChangedError("gone")
        return BytesSource(self.data).read_many(spans)


@given(st.lists(st.tuples(st.integers(0, len(LONG) + 10), st.integers(0, 300_000)), max_size=20))
def test_any_reads_give_the_files_bytes(reads: list[tuple[int, int]]) -> None:
    with RangedFile(BytesSource(LONG), cache_bytes=1) as file:
        for offset, length in reads:
            file.seek(offset)
            assert file.read(length) == LONG[offset : offset + length]


def test_reading_on_after_a_read_continues_there() -> None:
    with RangedFile(BytesSource(LONG)) as file:
        file.seek(-100, io.SEEK_END)
        assert file.read(60) + file.read(60) == LONG[-100:]
        assert file.tell() == len(LONG)


def test_head_and_tail_come_in_one_call() -> None:
    counting = CountingSource(BytesSource(LONG))
    with RangedFile(counting) as file:
        file.seek(100)
        file.read(10_000)
        file.seek(-1_000_000, io.SEEK_END)
        file.read(10_000)
    assert counting.calls == 1


def test_misses_in_a_row_are_read_ahead() -> None:
    counting = CountingSource(BytesSource(LONG))
    with RangedFile(counting) as file:
        file.seek(300_000)
        for _ in range(64):
            file.read(BLOCK_BYTES)
    assert counting.calls < 12


def test_the_cache_keeps_to_its_bound() -> None:
    with RangedFile(BytesSource(LONG), cache_bytes=1) as file:
        for offset in range(0, len(LONG), BLOCK_BYTES):
            file.seek(offset)
            file.read(1)
        assert sum(map(len, file._blocks.values())) <= 4 * 2**20


def test_a_short_answer_is_damage() -> None:
    class Short(BytesSource):
        __slots__ = ()

        @property
        def size_bytes(self) -> int:
            return len(self.data) * 2

    with pytest.raises(TruncatedFileError):
        RangedFile(Short(LONG))


def test_a_blob_that_is_gone_is_a_changed_input() -> None:
    store = MemoryBlobStore()
    info = store.write("inbox", "a.h5ad", [b"0123456789"])
    source = BlobSource(store, info.ref, info.size_bytes)
    assert source.read(ByteRange(2, 3)) == b"234"
    store.delete("inbox", "a.h5ad")
    with pytest.raises(InputChangedError):
        source.read(ByteRange(2, 3))
    with pytest.raises(InputChangedError):
        source.read_many([ByteRange(2, 3)])


def test_a_change_noticed_inside_hdf5_comes_out_as_it_is() -> None:
    data = write_file(random_counts(200, 3000, density=0.9))
    data = data + bytes(3 * 2**20)
    with pytest.raises(InputChangedError), RangedFile(Gone(data)) as raw, h5py.File(raw) as file:
        file["X/data"][()]


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 5 * 2**20)), max_size=12))
def test_coalesced_reads_give_each_range_its_bytes(wanted: list[tuple[int, int]]) -> None:
    spans = [ByteRange(offset, min(length, len(LONG) - offset)) for offset, length in wanted]
    assert [bytes(part) for part in fetch(BytesSource(LONG), spans)] == BytesSource(LONG).read_many(spans)


def test_neighbouring_ranges_are_one_request() -> None:
    counting = CountingSource(BytesSource(LONG))
    fetch(counting, [ByteRange(offset, 5_000) for offset in range(0, 100_000, 10_000)])
    assert (counting.calls, counting.requests) == (1, 1)


@given(st.integers(0, len(LONG)), st.lists(st.tuples(st.integers(0, len(LONG) + 10), st.integers(0, 3_000_000))))
def test_an_opened_file_has_the_files_bytes(size: int, reads: list[tuple[int, int]]) -> None:
    opened = OpenedSource.of(BytesSource(LONG[:size]))
    spans = [ByteRange(offset, length) for offset, length in reads]
    assert opened.read_many(spans) == BytesSource(LONG[:size]).read_many(spans)


@pytest.mark.parametrize("size", [0, 1, 100_000, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + TAIL_BYTES + 5, len(LONG)])
def test_an_opened_file_is_opened_by_h5py_with_nothing_more_asked(size: int) -> None:
    counting = CountingSource(BytesSource(LONG[:size]))
    opened = OpenedSource.of(counting)
    before = counting.calls
    RangedFile(opened).close()
    assert counting.calls == before
