"""An obs column is read as groups in every encoding, as anndata reads it; what names no groups is said."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InputError, TruncatedFileError
from shared.h5ad.names.label_columns import MISSING
from shared.h5ad.read.groupings import Bounds, Grouping, NoGrouping, only_beside, read_grouping
from shared.h5ad.source import BytesSource
from tests.h5ad.h5ad_files import REAL_FILES, Recipe, random_counts, write_file

SIX = write_file(random_counts(6, 5), Recipe(cells=list("abcdef")))


def source_of(column: Any) -> BytesSource:
    """A file as anndata writes it, with one column ``x``."""
    obs = pd.DataFrame({"x": column}, index=[f"c{row}" for row in range(len(column))])
    with anndata.settings.override(allow_write_nullable_strings=True):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            anndata.io.write_elem(file, "/", anndata.AnnData(np.eye(len(obs), 3, dtype=np.float32), obs=obs))
    return BytesSource(buffer.getvalue())


def put(put_it: Callable[[h5py.Group], object]) -> BytesSource:
    buffer = io.BytesIO(SIX)
    with h5py.File(buffer, "r+") as file:
        put_it(file["obs"])
    return BytesSource(buffer.getvalue())


def values_of(found: Grouping | NoGrouping) -> list[str | None]:
    assert isinstance(found, Grouping)
    assert found.code_n.dtype == np.int32
    return [found.names[code] if code >= 0 else None for code in found.code_n.tolist()]


def as_text(series: pd.Series[Any]) -> list[str | None]:
    """What a cell's group is called: by pandas' own reading, also of texts."""
    return [None if pd.isna(one) or one in {"", "nan", "NA"} else str(one) for one in series.tolist()]


def is_as(found: Grouping | NoGrouping, theirs: list[str | None]) -> bool:
    """Whether the groups are those expected; a column without any is none."""
    if not any(theirs):
        return found == NoGrouping("x", "obs column 'x' has no value in any cell")
    return values_of(found) == theirs


TEXTS = st.lists(st.sampled_from(["B", "T", "", "Zoë", "nan", "NA", "b", " T", "0"]), min_size=1, max_size=12)
WHOLE = st.lists(st.integers(-5, 300), min_size=1, max_size=12)
GAPS = st.lists(st.booleans(), min_size=12, max_size=12)


def gapped(values: list[Any], gaps: list[bool]) -> list[Any]:
    return [None if gap else one for one, gap in zip(values, gaps, strict=False)]


@given(values=st.one_of(TEXTS, WHOLE), gaps=GAPS, kind=st.sampled_from(["plain", "category", "nullable"]))
def test_a_column_is_read_as_anndata_reads_it(values: list[Any], gaps: list[bool], kind: str) -> None:
    some = gapped(values, gaps)
    nullable = "string" if isinstance(values[0], str) else "Int64"
    dtype: Any = {"plain": object if isinstance(values[0], str) else int, "category": "category"}.get(kind, nullable)
    source = source_of(pd.Series(values if kind == "plain" else some, dtype=dtype).array)
    with h5py.File(io.BytesIO(source.data)) as file:
        theirs = as_text(anndata.io.read_elem(file["obs"])["x"])
    assert is_as(read_grouping(source, "x"), theirs)


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=12))
def test_whole_numbers_that_a_gap_made_floats_are_whole(values: list[int | None]) -> None:
    column = np.array([np.nan if one is None else one for one in values], float)
    assert is_as(read_grouping(source_of(column), "x"), [None if one is None else str(one) for one in values])


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_booleans_are_groups(values: list[bool]) -> None:
    assert values_of(read_grouping(source_of(values), "x")) == list(map(str, values))


def test_names_are_distinct_and_in_order() -> None:
    by_size = pd.Categorical(["T", "B", "T"], categories=["T", "NK", "B"])
    assert read_grouping(source_of(by_size), "x").names == ("T", "B")  # type: ignore[union-attr]
    assert read_grouping(source_of(["T", "B", "T"]), "x").names == ("B", "T")  # type: ignore[union-attr]
    assert read_grouping(source_of([10, 9, 10]), "x").names == ("9", "10")  # type: ignore[union-attr]


def test_one_name_stored_twice_is_one_group() -> None:
    def twice(obs: h5py.Group) -> None:
        group = obs.create_group("x")
        group["codes"] = np.array([0, 1, 2, 0, 1, -1], np.int8)
        group["categories"] = np.array([b"T", b"B", b"T"])

    assert values_of(read_grouping(put(twice), "x")) == ["T", "B", "T", "T", "B", None]


def seven(obs: h5py.Group) -> None:
    """As AnnData 0.7 keeps categories: beside all columns, and referred to."""
    obs["x"] = np.array([0, 1, -1, 0, 1, 1], np.int8)
    obs["__categories/x"] = np.array([b"B", b"T"])
    obs["x"].attrs["categories"] = obs["__categories/x"].ref


def test_categories_of_anndata_0_7_are_read() -> None:
    assert values_of(read_grouping(put(seven), "x")) == ["B", "T", None, "B", "T", "T"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", ["B", "T", None, "B", "T", "B"]),
        ("plain", ["b", "t", "b", "t", None, "b"]),
        ("cluster", ["10", "9", "9", "9", "9", "9"]),
        ("single", ["only"] * 6),
    ],
)
def test_columns_of_an_old_layout_are_read(column: str, values: list[str | None]) -> None:
    buffer = io.BytesIO(SIX)
    with h5py.File(buffer, "r+") as file:
        del file["obs"], file.attrs["encoding-type"], file.attrs["encoding-version"]
        records = np.zeros(6, [("index", "S2"), ("label", "i1"), ("plain", "S1"), ("cluster", "i4"), ("single", "i1")])
        records["index"], records["label"] = list("abcdef"), [0, 1, -1, 0, 1, 0]
        records["plain"], records["cluster"] = [b"b", b"t", b"b", b"t", b"", b"b"], [10, 9, 9, 9, 9, 9]
        file["obs"] = records
        file["uns/label_categories"] = np.array([b"B", b"T"])
        file["uns/single_categories"] = b"only"
    assert values_of(read_grouping(BytesSource(buffer.getvalue()), column)) == values


@pytest.mark.parametrize("kind", [str, int, "category"])
def test_too_many_names_are_no_groups(kind: Any) -> None:
    column = (
        pd.Series(range(12)).astype(kind).to_numpy() if kind != "category" else pd.Categorical([*map(str, range(12))])
    )
    source = source_of(column)
    found = read_grouping(source, "x", Bounds(names=11))
    assert found == NoGrouping("x", "obs column 'x' has more than 11 different values, so it names no groups")
    assert isinstance(read_grouping(source, "x", Bounds(names=12)), Grouping)


def test_categories_that_no_cell_has_do_not_count() -> None:
    column = pd.Categorical(["7", "7", "9000"], categories=[str(number) for number in range(9_001)])
    assert read_grouping(source_of(column), "x", Bounds(names=2)).names == ("7", "9000")  # type: ignore[union-attr]


ODD: dict[str, tuple[Callable[[h5py.Group], object], str]] = {
    "fractions": (lambda obs: obs.create_dataset("x", data=np.arange(6) + 0.5), "holds fractions .0.5, 1.5, 2.5 and 3"),
    "infinite": (lambda obs: obs.create_dataset("x", data=np.full(6, np.inf)), "holds fractions .inf"),
    "two columns": (lambda obs: obs.create_dataset("x", data=np.zeros((6, 2))), "is not a list"),
    "short": (lambda obs: obs.create_dataset("x", data=np.arange(3)), "is not a list"),
    "nothing": (lambda obs: obs.create_dataset("x", data=h5py.Empty("f4")), "is not a list"),
    "group": (lambda obs: obs.create_group("x"), "is not a list"),
    "references": (lambda obs: obs.create_dataset("x", data=[obs.ref] * 6, dtype=h5py.ref_dtype), "holds values of"),
    "complex": (lambda obs: obs.create_dataset("x", data=np.zeros(6, complex)), "holds values of"),
    "lists": (lambda obs: obs.create_dataset("x", (6,), dtype=h5py.vlen_dtype(np.int8)), "holds values of"),
    "a book": (lambda obs: obs.create_dataset("x", data=["a" * 2000] * 6), "holds a text of 2,000 characters"),
    "codes of floats": (lambda obs: codes(obs, np.zeros(6)), "has codes of type float64"),
    "a short mask": (lambda obs: masked(obs, np.zeros(2, bool)), "is not a list"),
}


def codes(obs: h5py.Group, values: Any) -> None:
    group = obs.create_group("x")
    group["codes"], group["categories"] = values, np.array([b"B", b"T"])


def masked(obs: h5py.Group, mask: Any) -> None:
    group = obs.create_group("x")
    group["values"], group["mask"] = np.arange(6), mask


@pytest.mark.parametrize("name", ODD)
def test_what_names_no_groups_is_said(name: str) -> None:
    put_it, words = ODD[name]
    found = read_grouping(put(put_it), "x")
    assert isinstance(found, NoGrouping)
    assert pd.Series([found.reason]).str.match(f"obs column 'x' {words}").all()


CODES = st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), max_size=9)


@given(CODES)
def test_one_text_beside_all_cells_of_a_name_is_found(pairs: list[tuple[int, int]]) -> None:
    name_n, other_n = (np.array([pair[place] for pair in pairs], np.int32) for place in (0, 1))
    beside = {name: {other for one, other in pairs if one == name} for name in range(3)}
    theirs = {"abc"[name]: "xyz"[min(texts)] for name, texts in beside.items() if len(texts) == 1 and min(texts) >= 0}
    assert only_beside(Grouping("a", name_n, ("a", "b", "c")), Grouping("x", other_n, ("x", "y", "z"))) == theirs


def test_texts_beside_names_are_found_in_little_memory() -> None:
    code_n = np.arange(4_000_000, dtype=np.int32) % 1_000
    grouping = Grouping("x", code_n, tuple(map(str, range(1_000))))
    tracemalloc.start()
    assert len(only_beside(grouping, grouping)) == 1_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # The names themselves are a million pairs.


def test_a_caller_can_ask_for_every_text() -> None:
    source, every = source_of(["nan", "", "NA"]), Bounds(missing=(), empty=True)
    assert values_of(read_grouping(source, "x", every)) == ["nan", None, "NA"]
    assert read_grouping(source_of(["", ""]), "x", every).names == ()  # type: ignore[union-attr]


def test_a_column_that_is_not_there_is_said() -> None:
    assert read_grouping(BytesSource(SIX), "x") == NoGrouping("x", "obs has no column 'x'")
    assert isinstance(read_grouping(BytesSource(SIX), "_index"), NoGrouping)


def test_a_code_beyond_the_categories_is_damage() -> None:
    with pytest.raises(TruncatedFileError, match="category 9 of 2"):
        read_grouping(put(lambda obs: codes(obs, np.array([0, 1, 9, 0, 0, 0], np.uint8))), "x")


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_told_as_the_files_fault(seed: int) -> None:
    """Bytes of the column's own parts are changed at random: an answer or an InputError, never another exception."""
    data = bytearray(source_of(pd.Categorical(list("abab"))).data)
    generator = np.random.default_rng(seed)
    with h5py.File(io.BytesIO(bytes(data))) as file:
        start = min(file[f"obs/x/{name}"].id.get_offset() or len(data) for name in ("codes", "categories"))
    for place in generator.integers(max(start - 600, 0), len(data), 60).tolist():
        data[place] = int(generator.integers(256))
    try:
        found = read_grouping(BytesSource(bytes(data)), "x")
    except InputError:
        return
    assert isinstance(found, Grouping | NoGrouping)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [path.name for path in REAL_FILES if path.suffix == ".h5ad"])
def test_columns_of_real_files_are_anndatas(name: str) -> None:
    path = next(path for path in REAL_FILES if path.name == name)
    obs, source = anndata.read_h5ad(path).obs, BytesSource(path.read_bytes())
    for column in obs.columns:
        found, theirs = read_grouping(source, column, Bounds(names=None)), obs[column].astype(object).tolist()
        texts = [None if pd.isna(one) or one in MISSING else str(int(one) if _whole(one) else one) for one in theirs]
        if isinstance(found, Grouping):
            assert values_of(found) == texts
        else:
            assert ("holds fractions" if any(texts) else "has no value in any cell") in found.reason


def _whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()
