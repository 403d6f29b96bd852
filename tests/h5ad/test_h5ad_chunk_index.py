"""What is foreseen is in the cache when the HDF5 library asks for it; what cannot be foreseen is read all the same."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.read.chunk_index import Foresight
from shared.h5ad.source import HEAD_BYTES, TAIL_BYTES, BytesSource, RangedFile
from tests.fakes.sources import CountingSource
from tests.h5ad.h5ad_files import Recipe, random_counts, write_file

N_VALUES = 1_000_000
SPACE = b"\0" * (HEAD_BYTES + TAIL_BYTES)


@dataclass(frozen=True)
class Written:
    """A file with one dataset, and enough beside it that neither head nor tail reach its index."""

    data: bytes
    values: np.ndarray[Any, np.dtype[np.int32]]


def _written(chunk: int, *, user_block: int = 0, libver: str = "earliest", **storage: Any) -> Written:
    values = np.random.default_rng(0).integers(0, 1000, N_VALUES, dtype=np.int32)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=user_block, libver=libver) as file:
        file["before"] = np.frombuffer(SPACE, np.uint8)
        file.create_dataset("x", data=values, chunks=(chunk,), **storage)
        file["after"] = np.frombuffer(SPACE, np.uint8)
    return Written(buffer.getvalue(), values)


FILES = {
    "gzip": _written(1_000, compression="gzip"),
    "many chunks": _written(100),
    "one chunk": _written(N_VALUES),
    "user block": _written(2_000, user_block=1024, compression="gzip"),
    "latest": _written(1_000, libver="latest", compression="gzip"),
}
UNDERSTOOD = ("gzip", "many chunks", "one chunk", "user block")

NODE_HEADER, ENTRY = 24, 32
"""Bytes before the entries of a node, and of each: size, mask, two places and an address."""

spans = st.tuples(st.integers(0, N_VALUES - 1), st.integers(0, 5_000)).map(
    lambda span: range(span[0], min(N_VALUES, sum(span)))
)


def _read(data: bytes, wanted: list[range], *, foreseen: bool) -> tuple[object, int]:
    """The values of these spans or how reading them fails, and how often the source was asked for them."""
    counting = CountingSource(BytesSource(data))
    with RangedFile(counting) as raw:
        try:
            with h5py.File(raw, "r") as file:
                if foreseen:
                    Foresight(raw, file.userblock_size).expect(file["x"], wanted)
                before = counting.calls
                found: object = [file["x"][span.start : span.stop].tolist() for span in wanted]
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            return type(error), 0
    return found, counting.calls - before


@pytest.mark.parametrize("name", FILES)
@given(wanted=st.lists(spans, max_size=8))
@settings(max_examples=30)
def test_the_values_are_the_same(name: str, wanted: list[range]) -> None:
    written = FILES[name]
    found, _ = _read(written.data, wanted, foreseen=True)
    assert found == [written.values[span.start : span.stop].tolist() for span in wanted]


@pytest.mark.parametrize("name", UNDERSTOOD)
@given(wanted=st.lists(spans, min_size=1, max_size=8))
@example(wanted=[range(1), range(324_900, 324_901)])  # In two branches of the tree.
@settings(max_examples=30)
def test_what_was_foreseen_asks_the_source_no_more(name: str, wanted: list[range]) -> None:
    _, calls = _read(FILES[name].data, wanted, foreseen=True)
    assert calls == 0


def test_without_foresight_each_place_is_waited_for() -> None:
    wanted = [range(place, place + 10) for place in range(0, N_VALUES, N_VALUES // 16)]
    _, calls = _read(FILES["gzip"].data, wanted, foreseen=False)
    assert calls > 10


def _tree(data: bytes) -> list[int]:
    """Where the nodes of chunk trees lie."""
    places, at = [], data.find(b"TREE\x01")
    while at >= 0:
        places.append(at)
        at = data.find(b"TREE\x01", at + 1)
    return places


@given(
    where=st.integers(0, 10_000),
    offset=st.integers(0, 200),
    value=st.integers(0, 255),
    wanted=st.lists(spans, max_size=4),
)
@settings(max_examples=150)
def test_a_damaged_index_fails_as_it_does_without(where: int, offset: int, value: int, wanted: list[range]) -> None:
    # A chunk whose mask says that it is not compressed, though it is: HDF5 reads on in memory that nobody wrote.
    assume(not (offset >= NODE_HEADER and 4 <= (offset - NODE_HEADER) % ENTRY < 8))
    data = bytearray(FILES["gzip"].data)
    places = _tree(FILES["gzip"].data)
    data[places[where % len(places)] + offset] = value
    plainly, _ = _read(bytes(data), wanted, foreseen=False)
    found, _ = _read(bytes(data), wanted, foreseen=True)
    assert found == plainly


def test_looking_a_file_through_walks_no_whole_index() -> None:
    matrix = random_counts(20_000, 500, density=0.3)
    options = {"chunks": (1_000,), "compression": "gzip"}
    data = write_file(matrix, Recipe(data_options=options, index_options=options))
    counting = CountingSource(BytesSource(data))
    assert inspect(counting).n_cells == 20_000
    assert counting.calls < 20
    assert counting.bytes_read < 0.6 * len(data)
