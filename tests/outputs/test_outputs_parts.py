"""Part files: what is in them, that they stream, and that damage is noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.inference.parts.part import AnnotatedBlock, PartLayout, iter_part, read_part
from shared.domain.errors import BlobNotFoundError, CorruptBlobError, InternalError
from shared.domain.geometry import Rows
from shared.domain.submission import Receipt
from tests.outputs.stand_ins import Draws, Shelf, facts_without_counts, keep_part

LAYOUT = PartLayout(n_cells=700, n_labels=9, top_k=3, full=True)


@pytest.fixture
def receipt(shelf: Shelf) -> Receipt:
    rows = Rows(0, 700)
    return keep_part(shelf, "part", Draws(LAYOUT).blocks(rows), LAYOUT, rows)


def test_a_part_gives_back_what_was_put_in(shelf: Shelf, receipt: Receipt) -> None:
    batches = list(read_part(shelf, receipt, LAYOUT))
    assert [batch.num_rows for batch in batches] == [256, 256, 188]
    block = Draws(LAYOUT).block(Rows(256, 512))
    best = np.argmax(block.decision_nl, axis=1)
    assert [lists[0] for lists in batches[1]["top_label"].to_pylist()] == best.tolist()
    assert batches[1]["cell_id"].to_pylist() == block.cell_ids
    full = batches[1]["probability"].flatten().to_numpy().reshape(-1, 9)
    assert np.array_equal(full, block.probability_nl)


def test_labels_are_ranked_by_decision_score_and_ties_keep_the_models_order(shelf: Shelf) -> None:
    layout = PartLayout(n_cells=1, n_labels=4, top_k=4)
    decision = np.array([[2.0, 9.0, 9.0, 30.0]], np.float32)
    saturated = np.array([[0.9, 1.0, 1.0, 1.0]], np.float32)
    block = AnnotatedBlock(Rows(0, 1), ["a"], saturated, decision, facts_without_counts(np.array([5], np.int32)))
    receipt = keep_part(shelf, "tied", [block], layout, Rows(0, 1))
    (batch,) = read_part(shelf, receipt, layout)
    assert batch["top_label"].to_pylist() == [[3, 1, 2, 0]]
    assert batch["n_counts"].to_pylist() == [None]


def test_decision_scores_are_kept_for_the_same_rows_whatever_the_cut(shelf: Shelf) -> None:
    layout = PartLayout(n_cells=7000, n_labels=3, top_k=2)
    assert layout.map_stride == 3
    rows = Rows(512, 1024)
    receipt = keep_part(shelf, "second", Draws(layout).blocks(rows), layout, rows)
    kept = [one for batch in read_part(shelf, receipt, layout) for one in batch["decision"].is_valid().to_pylist()]
    assert [512 + place for place, one in enumerate(kept) if one] == [row for row in range(512, 1024) if row % 3 == 0]


def test_the_second_best_is_kept_even_when_one_label_is_asked_for() -> None:
    assert PartLayout(n_cells=10, n_labels=30, top_k=1).kept == 2
    assert PartLayout(n_cells=10, n_labels=3, top_k=5).kept == 3


def test_a_part_streams_in_small_pieces(shelf: Shelf) -> None:
    layout = PartLayout(n_cells=3000, n_labels=400, top_k=5, full=True)
    rows = Rows(0, 3000)
    receipt = keep_part(shelf, "wide", Draws(layout).blocks(rows), layout, rows)
    assert receipt.size_bytes > 4 << 20
    assert shelf.largest_chunk < 2 << 20


def test_an_empty_part_is_a_part(shelf: Shelf) -> None:
    receipt = keep_part(shelf, "empty", [], LAYOUT, Rows(0, 0))
    assert list(read_part(shelf, receipt, LAYOUT)) == []


def test_a_block_out_of_order_is_a_fault_of_ours() -> None:
    draws = Draws(LAYOUT)
    with pytest.raises(InternalError):
        list(iter_part([draws.block(Rows(0, 256)), draws.block(Rows(512, 700))], LAYOUT))


def test_a_block_whose_columns_differ_in_length_is_a_fault_of_ours() -> None:
    with pytest.raises(InternalError):
        replace(Draws(LAYOUT).block(Rows(0, 4)), cell_ids=["a"])


@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, flip: int) -> None:
    shelf = Shelf()
    layout = PartLayout(n_cells=40, n_labels=5, top_k=2)
    receipt = keep_part(shelf, "part", Draws(layout).blocks(Rows(0, 40)), layout, Rows(0, 40))
    data = bytearray(shelf.blobs[receipt.part])
    data[place % len(data)] ^= flip
    shelf.blobs[receipt.part] = bytes(data)
    with pytest.raises(CorruptBlobError) as caught:
        list(read_part(shelf, receipt, layout))
    assert caught.value.hint


@given(kept=st.integers(0, 4000))
def test_a_part_cut_short_is_noticed(kept: int) -> None:
    shelf = Shelf()
    layout = PartLayout(n_cells=40, n_labels=5, top_k=2)
    receipt = keep_part(shelf, "part", Draws(layout).blocks(Rows(0, 40)), layout, Rows(0, 40))
    shelf.blobs[receipt.part] = shelf.blobs[receipt.part][: min(kept, receipt.size_bytes - 1)]
    with pytest.raises(CorruptBlobError):
        list(read_part(shelf, receipt, layout))


@pytest.mark.parametrize("other", [replace(LAYOUT, full=False), replace(LAYOUT, n_labels=10)])
def test_a_part_of_another_layout_is_refused(shelf: Shelf, receipt: Receipt, other: PartLayout) -> None:
    with pytest.raises(CorruptBlobError):
        list(read_part(shelf, receipt, other))


def test_a_part_of_other_rows_is_refused(shelf: Shelf, receipt: Receipt) -> None:
    with pytest.raises(CorruptBlobError):
        list(read_part(shelf, replace(receipt, rows=Rows(256, 956)), LAYOUT))
    with pytest.raises(CorruptBlobError):
        list(read_part(shelf, replace(receipt, rows=Rows(0, 800)), LAYOUT))


def test_a_part_that_is_gone_says_so(shelf: Shelf, receipt: Receipt) -> None:
    shelf.delete("work", "part")
    with pytest.raises(BlobNotFoundError):
        list(read_part(shelf, receipt, LAYOUT))


def test_a_part_opens_with_plain_pyarrow(shelf: Shelf, receipt: Receipt) -> None:
    table = pa.ipc.open_file(pa.BufferReader(shelf.blobs[receipt.part])).read_all()
    assert table.num_rows == 700
