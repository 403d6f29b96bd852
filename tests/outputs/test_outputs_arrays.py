"""Columns over NumPy's memory: those that pyarrow itself makes, without the library that it would load for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from jobs.inference.parts.arrays import column_of, text_column, values_of

LOADED = """
import sys

import numpy as np

from jobs.engine.facts import CellFacts
from jobs.inference.merge.calls import Calls, Vocabulary
from jobs.inference.merge.columns import annotation_table
from jobs.inference.outputs.annotation_files import annotations_csv, annotations_parquet
from jobs.inference.parts.arrays import text_column
from shared.bundles.card import Label

vocabulary = Vocabulary((Label(name="a"), Label(name="b")))
scores = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
counts, flags = np.array([5, np.nan], np.float32), np.array([False, True])
best, genes, notes = np.array([[0, 1], [1, 0]]), np.ones(2, np.int32), np.zeros(2, np.uint8)
facts = CellFacts(counts, genes, notes, counts, counts)
calls = Calls(text_column(["x", "y"]), best, scores, flags, flags, facts)
table = annotation_table(calls, vocabulary, 2)
assert b"".join(annotations_csv([table])) and b"".join(annotations_parquet([table], {}))
assert "pandas" not in sys.modules
"""


COLUMNS = npst.arrays(st.sampled_from([np.int32, np.int64, np.uint8, np.bool_]), st.integers(0, 20))
MARKS = st.lists(st.booleans(), min_size=20, max_size=20)


@given(COLUMNS, MARKS)
def test_a_column_is_the_one_that_pyarrow_makes(values: npt.NDArray[np.generic], marks: list[bool]) -> None:
    absent = np.array(marks[: len(values)], bool)
    assert column_of(values).equals(pa.array(values))
    assert column_of(values, absent).equals(pa.array(values, mask=absent))


@given(COLUMNS, MARKS, st.integers(0, 5))
def test_a_column_is_read_as_pyarrow_reads_it(values: npt.NDArray[np.generic], marks: list[bool], first: int) -> None:
    absent = np.array(marks[: len(values)], bool)
    column = pa.array(values, mask=absent)[first:]
    assert np.array_equal(values_of(pa.array(values)[first:]), values[first:])
    assert np.array_equal(values_of(column, 1), np.where(absent, values.dtype.type(1), values)[first:])


def test_a_null_where_none_may_be_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="a null"):
        values_of(pa.array([1, None]))


def test_a_column_without_memory_is_empty() -> None:
    assert len(values_of(pa.chunked_array([], type=pa.float32()).combine_chunks())) == 0


@given(st.lists(st.text()))
def test_texts_are_those_that_pyarrow_makes(texts: list[str]) -> None:
    assert text_column(texts).equals(pa.array(texts, pa.string()))


def test_a_column_of_a_matrix_is_its_own() -> None:
    values_nk = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert column_of(values_nk[:, 1]).to_pylist() == [1, 3, 5]


def test_writing_annotations_loads_no_pandas() -> None:
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
