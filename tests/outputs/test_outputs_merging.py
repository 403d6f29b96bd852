"""The merge: any cut into tasks gives the same bytes, and nothing is merged that is not whole."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.inference.merge import cell_ids as merging_ids
from jobs.inference.merge.columns import CSV_COLUMNS
from jobs.inference.merge.groups import Merge, ordered
from jobs.inference.merge.survey import Survey
from jobs.inference.merge.tally import LOG_STEP, SCORE_BINS, log_bins, log_value, median_bin, median_score, score_bins
from jobs.inference.outputs.annotation_files import (
    annotations_csv,
    annotations_parquet,
    score_group_rows,
    scores_parquet,
)
from jobs.inference.parts.part import PartLayout
from shared.bundles.card import UNASSIGNED, Label
from shared.domain.errors import CorruptBlobError, DuplicateCellsError, InternalError
from shared.domain.geometry import Rows
from shared.domain.submission import ObjectRef, Receipt
from tests.outputs.stand_ins import Draws, Shelf, keep_part, merge_of

LAYOUT = PartLayout(n_cells=3000, n_labels=8, top_k=4, full=True)


def outputs(merge: Merge) -> tuple[bytes, bytes, bytes]:
    return (
        b"".join(annotations_parquet(merge.tables(), {"model": "a@1"})),
        b"".join(annotations_csv(merge.tables())),
        b"".join(scores_parquet(merge, {"model": "a@1"})),
    )


@pytest.fixture(scope="module")
def merge() -> Merge:
    return merge_of(Draws(LAYOUT), 1, min_score=0.8)


@pytest.fixture(scope="module")
def frame(merge: Merge) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(outputs(merge)[0]))


@given(n_cells=st.integers(1, 2000), n_tasks=st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_any_number_of_tasks_gives_the_same_bytes(n_cells: int, n_tasks: int) -> None:
    draws = Draws(replace(LAYOUT, n_cells=n_cells))
    assert outputs(merge_of(draws, n_tasks, 0.7)) == outputs(merge_of(draws, 1, 0.7))


def test_row_groups_have_absolute_boundaries() -> None:
    draws = Draws(PartLayout(n_cells=70_000, n_labels=3, top_k=2, full=True))
    one, seven = outputs(merge_of(draws, 1))[0], outputs(merge_of(draws, 7))[0]
    metadata = pq.read_metadata(io.BytesIO(one))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [65_536, 4_464]
    assert one == seven


def test_pandas_reads_every_cell_in_order(frame: pd.DataFrame) -> None:
    assert frame["cell_id"].tolist() == [f"cell-{row}" for row in range(3000)]
    block = Draws(LAYOUT).block(Rows(0, 256))
    best = block.decision_nl.argmax(axis=1)
    np.testing.assert_array_equal(frame["score"][:256], block.probability_nl[np.arange(256), best])
    assert [lists[0] for lists in frame["top_labels"][:256]] == [f"label {place}" for place in best]
    assert {len(lists) for lists in frame["top_scores"]} == {4}
    assert frame["n_genes"].tolist() == [row * 3 % 4000 for row in range(3000)]


def test_a_cell_below_the_threshold_is_unassigned_and_keeps_its_best_guess(frame: pd.DataFrame) -> None:
    abstained = frame[frame["abstained"]]
    assert 0 < len(abstained) < 3000
    assert set(abstained["label"]) == {UNASSIGNED}
    assert abstained["label_id"].isna().all()
    assert (abstained["score"] < np.float32(0.8)).all()
    assert all(lists[0].startswith("label ") for lists in abstained["top_labels"])
    assert (frame.loc[~frame["abstained"], "score"] >= np.float32(0.8)).all()


def test_without_a_threshold_no_cell_abstains() -> None:
    table = next(merge_of(Draws(LAYOUT), 2).tables())
    assert not any(table["abstained"].to_pylist())


def test_the_csv_says_what_the_parquet_says(merge: Merge, frame: pd.DataFrame) -> None:
    data = outputs(merge)[1]
    table = pd.read_csv(io.BytesIO(data), compression="gzip", keep_default_na=False, na_values=[""])
    assert tuple(table.columns) == CSV_COLUMNS
    assert (table["score"].astype(np.float32) == frame["score"]).all()
    assert table["label"].tolist() == frame["label"].tolist()
    assert table["label_id"].isna().tolist() == frame["label_id"].isna().tolist()
    assert data[4:8] == bytes(4), "the gzip header carries no time"


def test_the_csv_header_is_exact(merge: Merge) -> None:
    header = gzip.decompress(outputs(merge)[1]).split(b"\n", 1)[0].decode()
    wanted = (
        "cell_id,label,score,label_id,second_label,second_score,abstained,n_counts,n_genes,mito_share,value_note,"
        "lineage,lineage_score,reliable_label,unfamiliar,unfamiliarity,cluster,cluster_label,cluster_share"
    )
    assert header.replace('"', "") == wanted


def test_a_cell_that_was_converted_is_noted_and_no_other() -> None:
    merge = merge_of(Draws(replace(LAYOUT, n_cells=10), noted=4), 1)
    table = pd.read_csv(io.BytesIO(b"".join(annotations_csv(merge.tables()))), compression="gzip")
    assert table["value_note"].dropna().to_dict() == {0: "converted", 4: "converted", 8: "converted"}


def test_counts_are_empty_where_there_are_none() -> None:
    merge = merge_of(Draws(replace(LAYOUT, n_cells=10), counted=False), 1)
    table = pd.read_csv(io.BytesIO(b"".join(annotations_csv(merge.tables()))), compression="gzip")
    assert table["n_counts"].isna().all()


def test_hostile_cell_ids_survive_the_csv() -> None:
    prefix = 'a,"b"\n=1+1 é\t'
    merge = merge_of(Draws(replace(LAYOUT, n_cells=20), prefix=prefix), 1)
    table = pd.read_csv(io.BytesIO(b"".join(annotations_csv(merge.tables()))), compression="gzip")
    assert table["cell_id"].tolist() == [f"{prefix}{row}" for row in range(20)]


@pytest.mark.parametrize(
    "prefix", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", '=HYPERLINK("x")']
)
def test_what_a_spreadsheet_would_run_is_neutralised_in_the_csv_alone(prefix: str) -> None:
    merge = merge_of(Draws(replace(LAYOUT, n_cells=20), prefix=prefix), 1)
    lines = gzip.decompress(b"".join(annotations_csv(merge.tables()))).decode()
    ids = [row[0] for row in csv.reader(io.StringIO(lines, newline=""))]
    assert ids[1:] == [f"'{prefix}{row}" for row in range(20)]
    assert pq.read_table(io.BytesIO(outputs(merge)[0]))["cell_id"].to_pylist() == [
        f"{prefix}{row}" for row in range(20)
    ]


def test_a_label_that_a_spreadsheet_would_run_is_neutralised_too() -> None:
    labels = [Label(name=f"={i}") for i in range(LAYOUT.n_labels)]
    merge = merge_of(Draws(replace(LAYOUT, n_cells=20)), 1, labels=labels)
    table = pd.read_csv(io.BytesIO(b"".join(annotations_csv(merge.tables()))), compression="gzip")
    for column in ("label", "second_label"):
        assert table[column].str.fullmatch(r"'=\d").all()


@pytest.mark.parametrize("prefix", ["'=1", "a=1", "1-1", "A+", " =1", "é"])
def test_what_a_spreadsheet_would_not_run_stays_in_the_csv(prefix: str) -> None:
    merge = merge_of(Draws(replace(LAYOUT, n_cells=20), prefix=prefix), 1)
    lines = gzip.decompress(b"".join(annotations_csv(merge.tables()))).decode()
    assert [row[0] for row in csv.reader(io.StringIO(lines, newline=""))][1:] == [f"{prefix}{row}" for row in range(20)]


def test_every_probability_is_written_when_all_are_asked_for(merge: Merge) -> None:
    scores = pd.read_parquet(io.BytesIO(outputs(merge)[2]))
    assert scores.shape == (3000, 9)
    block = Draws(LAYOUT).block(Rows(2816, 3000))
    np.testing.assert_array_equal(scores.iloc[2816:, 1:].to_numpy(), block.probability_nl)


def test_labels_that_share_a_name_keep_a_column_each() -> None:
    labels = [Label(name=name) for name in ("T", "T", "cell_id")]
    layout = PartLayout(n_cells=5, n_labels=3, top_k=2, full=True)
    merge = merge_of(Draws(layout), 1, labels=labels)
    names = pq.read_schema(io.BytesIO(b"".join(scores_parquet(merge, {})))).names
    assert names == ["cell_id", "T", "T (1)", "cell_id (2)"]
    assert set(next(merge.tables())["label"].to_pylist()) <= {"T", "cell_id"}


@given(st.integers(2, 100_000))
def test_a_row_group_of_scores_is_bounded_and_cuts_no_block(n_labels: int) -> None:
    rows = score_group_rows(n_labels)
    assert rows % 256 == 0
    assert rows == 256 or rows * n_labels * 4 <= 16 << 20


def test_a_duplicate_across_parts_is_refused_and_named(shelf: Shelf) -> None:
    layout = replace(LAYOUT, n_cells=600)
    draws = Draws(layout)
    first, second = draws.block(Rows(0, 256)), draws.block(Rows(256, 512))
    third = draws.block(Rows(512, 600))
    third.cell_ids[5] = "cell-9"
    receipts = [
        keep_part(shelf, "a", [first, second], layout, Rows(0, 512)),
        keep_part(shelf, "b", [third], layout, Rows(512, 600)),
    ]
    merge = replace(merge_of(draws, 1), store=shelf, receipts=ordered(receipts, 600))
    with pytest.raises(DuplicateCellsError, match="'cell-9'"):
        shelf.write("results", "annotations.parquet", annotations_parquet(Survey(merge).tables(), {}))
    assert not list(shelf.list("results"))


def test_ids_that_only_share_a_hash_are_not_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging_ids, "hash", len, raising=False)
    assert len(list(Survey(merge_of(Draws(replace(LAYOUT, n_cells=300)), 2)).tables())) == 1


def test_a_damaged_part_writes_nothing(shelf: Shelf) -> None:
    rows = Rows(0, 3000)
    receipt = keep_part(shelf, "part", Draws(LAYOUT).blocks(rows), LAYOUT, rows)
    data = bytearray(shelf.blobs[receipt.part])
    data[len(data) // 2] ^= 1
    shelf.blobs[receipt.part] = bytes(data)
    damaged = replace(merge_of(Draws(LAYOUT), 1), store=shelf, receipts=(receipt,))
    with pytest.raises(CorruptBlobError):
        shelf.write("results", "annotations.parquet", annotations_parquet(damaged.tables(), {}))
    assert not list(shelf.list("results"))


@pytest.mark.parametrize(
    "cuts", [[(0, 256)], [(0, 256), (512, 600)], [(0, 512), (256, 600)], [(0, 100), (100, 600)], [(256, 600)]]
)
def test_parts_that_leave_gaps_or_overlap_are_refused(cuts: list[tuple[int, int]]) -> None:
    receipts = [Receipt(ObjectRef("work", f"{cut}", 1), 1, 0, Rows(*cut)) for cut in cuts]
    with pytest.raises(InternalError):
        ordered(receipts, 600)


def test_the_tally_is_what_pandas_counts(frame: pd.DataFrame) -> None:
    survey = Survey(merge_of(Draws(LAYOUT), 3, 0.8))
    list(survey.tables())
    tally = survey.findings().tally
    assert tally.label_counts == {str(name): int(n) for name, n in frame["label"].value_counts().items() if n}
    assert tally.n_abstained == int(frame["abstained"].sum())
    assert tally.n_few_genes == int((frame["n_genes"] < 200).sum())
    assert sum(tally.id_counts.values()) == int(frame["label_id"].notna().sum())
    best = frame["top_labels"].str[0]
    close = frame[(frame["second_score"] * 2 >= frame["score"]) & (best == "label 1")]
    second = tally.vocabulary.names.index("label 2")
    assert tally.close_cc[1, second] == int((close["second_label"] == "label 2").sum())


def test_the_sample_is_the_same_for_every_cut() -> None:
    draws = Draws(PartLayout(n_cells=9100, n_labels=4, top_k=2))
    samples = []
    for n_tasks in (1, 5):
        survey = Survey(merge_of(draws, n_tasks, 0.8))
        list(survey.tables())
        samples.append(survey.findings().sample)
    one, five = samples
    assert one.row_n.tolist() == list(range(0, 9100, 4)) == five.row_n.tolist()
    np.testing.assert_array_equal(one.decision_nl, five.decision_nl)
    assert one.cell_ids[1] == "cell-4"
    np.testing.assert_array_equal(one.decision_nl[3], draws.block(Rows(0, 256)).decision_nl[12])


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50))
def test_medians_off_the_histogram_are_within_a_bin(values: list[int]) -> None:
    histogram = np.bincount(log_bins(np.array(values)), minlength=1000)
    found = float(log_value(median_bin(histogram)))
    exact = sorted(values)[(len(values) - 1) // 2]
    assert found == pytest.approx(exact, rel=math.expm1(LOG_STEP / 2) + 1e-9)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_half_of_the_cells_have_the_median_score_or_more(values: list[float]) -> None:
    score_n = np.array(values, np.float32)
    found = median_score(np.bincount(score_bins(score_n), minlength=SCORE_BINS))
    assert 2 * np.count_nonzero(score_n >= found - 1e-6) >= len(values)
    assert sorted(values)[(len(values) - 1) // 2] - found <= 0.0101


def test_no_time_and_no_run_is_in_the_bytes(merge: Merge) -> None:
    metadata = pq.read_metadata(io.BytesIO(outputs(merge)[0])).metadata
    assert set(metadata) == {b"ARROW:schema", b"celldrop.model"}
    assert not re.search(rb"20[23]\d-\d\d-\d\d", outputs(merge)[0])
