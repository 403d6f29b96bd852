"""One obs column as groups of cells: a small number for each cell, and the names that the numbers stand for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import TruncatedFileError
from shared.domain.words import cut, listed
from shared.h5ad.names.label_columns import MISSING
from shared.h5ad.read.columns import CompoundFrame, Frame, GroupFrame, is_list, old_categories, open_frame, text, texts
from shared.h5ad.read.held import Held
from shared.h5ad.read.inflating import sliced
from shared.h5ad.read.layouts import find_layout
from shared.h5ad.read.opening import decoding, open_file
from shared.h5ad.read.safety import check_stored
from shared.h5ad.source import RangeSource

Int32s: TypeAlias = npt.NDArray[np.int32]
_Read: TypeAlias = Callable[[int, int], Any]
"""Values from and to a place, as an array."""

MOST_NAMES = 1_000
"""Groups of one column. More are ids or measurements, and no table of them can be read."""
MOST_LETTERS = 1_000
"""Of a group's name."""
_WINDOW_ROWS = 4_096
"""Texts read together. They are Python objects, each of any length."""
_WINDOW_NUMBERS = 65_536
_WHOLE_UP_TO = 2.0**53
"""Beyond, neighbouring whole numbers are one and the same float64."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of a file's cells by one obs column.

    Attributes:
        code_n: The position of each cell's group in ``names``, int32; -1 if it has none.
        names: Distinct names of the groups that occur: categories in their stored order, others sorted.
    """

    column: str
    code_n: Int32s
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoGrouping:
    """A column that does not divide the cells into groups, and why: a clause such as "obs has no column 'x'"."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is accepted as a grouping.

    Attributes:
        names: Groups, at most; None for any number.
        fractions: Whether numbers with fractions are names of groups.
        missing: Texts that mean that a cell has no group; an empty text always does.
        empty: Whether a column in which no cell has a group is a grouping.
        gets_on: Called after each window.
    """

    names: int | None = MOST_NAMES
    fractions: bool = False
    missing: Collection[str] = MISSING
    empty: bool = False
    gets_on: Callable[[], None] = lambda: None


_USUAL = Bounds()


def read_grouping(source: RangeSource, column: str, bounds: Bounds = _USUAL) -> Grouping | NoGrouping:
    """Read one obs column of a file that was inspected before, in any encoding of AnnData.

    Texts and categories are taken as they are, integers and booleans as text. Whole numbers that are stored as floats
    since pandas has no other way to leave some out are integers; other floats are no groups. An empty text is no group,
    and neither are texts that mean "missing", such as ``nan``. If no cell has a group, the column is no grouping.
    Memory: 4 bytes a cell and one window.

    Raises:
        TruncatedFileError: The column does not decode, or has codes beyond its categories.
        UnsafeFileError: It would grow far beyond what is declared.
    """
    with open_file(source) as opened:
        return grouping_in(opened.file, column, source.size_bytes, bounds)


def grouping_in(file: h5py.File, column: str, size_bytes: int, bounds: Bounds = _USUAL) -> Grouping | NoGrouping:
    """As ``read_grouping``, of an open file of ``size_bytes``.

    Raises:
        As ``read_grouping``.
    """
    with decoding("obs"):
        layout = find_layout(file)
        if layout.tenx:
            return NoGrouping(column, f"{layout.name} files have no obs")
        frame = open_frame(file, layout.obs)
        if column not in frame.names:
            return NoGrouping(column, f"obs has no column {column!r}")
        n_cells = len(frame)
    with decoding(f"obs/{column}"):
        stored = _stored(file, frame, column)
        if stored is None or stored.n_values != n_cells:
            return NoGrouping(column, f"obs column {column!r} is not a list of one value per cell")
        for dataset in stored.datasets:
            check_stored(dataset, size_bytes)
        try:
            return _Reading(column, stored, bounds).grouping()
        except _NoGroupsError as error:
            return NoGrouping(column, f"obs column {column!r} {error}")


class _NoGroupsError(Exception):
    """Why a column is no grouping, as the end of a sentence."""


def only_beside(names: Grouping, others: Grouping) -> dict[str, str]:
    """For each name the one text that all its cells have in another column; names with several or none are left out.

    Memory: a byte for each pair of a name and a text, and one window.
    """
    width = len(others.names) + 1  # The first one is of cells without a text.
    occur = np.zeros(len(names.names) * width, bool)
    for start in range(0, len(names.code_n), _WINDOW_NUMBERS):
        name_n, other_n = (one.code_n[start : start + _WINDOW_NUMBERS] for one in (names, others))
        known_n = name_n >= 0
        occur[name_n[known_n].astype(np.int64) * width + other_n[known_n] + 1] = True
    found: dict[str, list[int]] = {}
    for pair in np.flatnonzero(occur).tolist():
        found.setdefault(names.names[pair // width], []).append(pair % width - 1)
    return {name: others.names[codes[0]] for name, codes in found.items() if len(codes) == 1 and codes[0] >= 0}


# --- How a column is stored ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stored:
    """A column's datasets.

    Attributes:
        dtype: Of its values, or of its codes.
        categories: What its codes stand for; None if its values stand for themselves.
    """

    n_values: int
    dtype: np.dtype[np.generic]
    read: _Read
    datasets: tuple[h5py.Dataset, ...]
    mask: _Read | None = None
    categories: h5py.Dataset | None = None


def _stored(file: h5py.File, frame: Frame, column: str) -> _Stored | None:
    """None if it is no list of single values."""
    if isinstance(frame, CompoundFrame):
        return _in_records(file, frame, column)
    return _in_group(frame, column) if isinstance(frame, GroupFrame) else None


def _in_records(file: h5py.File, frame: CompoundFrame, column: str) -> _Stored | None:
    """A field of a compound obs; the categories of codes are in uns (AnnData before 0.7)."""
    records, dtype = frame.held, frame.held.dataset.dtype[column]
    if dtype.shape or dtype.names is not None:
        return None
    categories = old_categories(file, column) if dtype.kind in "iu" else None
    if categories is not None and len(categories.shape) > 1:
        return None
    datasets = (records.dataset, *([] if categories is None else [categories]))
    return _Stored(len(frame), dtype, lambda start, stop: records(start, stop, column), datasets, categories=categories)


def _in_group(frame: GroupFrame, column: str) -> _Stored | None:
    """A dataset, or a group of codes and categories, or of values and a mask."""
    node, mask = frame.group[column], None
    categories: object = None
    if isinstance(node, h5py.Group):
        found = node.get("categories")
        categories = found.get("values") if isinstance(found, h5py.Group) else found
        mask = node.get("mask")
        node = node.get("values" if categories is None else "codes")
    elif "categories" in node.attrs:  # AnnData 0.7: beside all columns.
        categories = frame.group.get(f"__categories/{column}")
    lists = [part for part in (node, categories, mask) if part is not None]
    if node is None or not all(isinstance(part, h5py.Dataset) and is_list(part) for part in lists):
        return None
    values, length = Held.of(node), int(node.shape[0])
    if mask is not None and int(mask.shape[0]) != length:
        return None
    masked = None if mask is None else Held.of(mask)
    datasets = tuple(held.dataset for held in (values, masked) if held is not None)
    if isinstance(categories, h5py.Dataset):
        datasets += (categories,)
        return _Stored(length, values.dataset.dtype, values, datasets, masked, categories)
    return _Stored(length, values.dataset.dtype, values, datasets, masked)


# --- Reading it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """One column, read window by window."""

    column: str
    stored: _Stored
    bounds: Bounds

    def grouping(self) -> Grouping:
        dtype = self.stored.dtype
        if self.stored.categories is not None:
            if dtype.kind not in "iu":
                raise _NoGroupsError(f"has codes of type {dtype}")
            return self._of_codes(self.stored.categories)
        if h5py.check_string_dtype(dtype) is not None:
            return self._of_texts()
        if dtype.kind not in "iufb":
            raise _NoGroupsError(f"holds values of type {cut(str(dtype), 60)}")
        return self._of_numbers()

    def _of_codes(self, categories: h5py.Dataset) -> Grouping:
        code_n, used = self._empty(), set[int]()
        n_categories = int(categories.shape[0]) if categories.shape else 1
        for rows, present_n, value_n in self._windows(_WINDOW_NUMBERS):
            if value_n.size and int(value_n.max()) >= n_categories:
                raise _beyond(int(value_n.max()), n_categories, self.column)
            code_n[rows][present_n] = np.where(value_n < 0, -1, value_n)
            used.update(np.unique(code_n[rows]).tolist())
            self._check_number(len(used - {-1}))
        places = sorted(used - {-1})
        name_of = dict(zip(places, self._names_at(categories, places), strict=True))
        return self._grouping(code_n, name_of, name_of.values())

    def _names_at(self, categories: h5py.Dataset, places: list[int]) -> list[str]:
        """The names of some categories, without holding all of them."""
        if not categories.shape:  # A single category may be a scalar.
            return self._named(np.atleast_1d(categories[()]).tolist())[: len(places)]
        found: list[object] = []
        for start in sorted({place // _WINDOW_ROWS * _WINDOW_ROWS for place in places}):
            window = sliced(categories, start, min(start + _WINDOW_ROWS, int(categories.shape[0]))).tolist()
            found += [window[place - start] for place in places if start <= place < start + _WINDOW_ROWS]
            self.bounds.gets_on()
        return self._named(found)

    def _of_texts(self) -> Grouping:
        code_n, place_of = self._empty(), {"": -1}
        for rows, present_n, value_n in self._windows(_WINDOW_ROWS):
            found = texts(value_n)
            new = sorted(set(found) - place_of.keys())
            place_of.update({name: len(place_of) - 1 + place for place, name in enumerate(self._checked(new))})
            self._check_number(len(place_of) - 1)
            code_n[rows][present_n] = [place_of[name] for name in found]
        return self._grouping(code_n, {code: name for name, code in place_of.items()}, sorted(place_of))

    def _of_numbers(self) -> Grouping:
        code_n, place_of = self._empty(), dict[object, int]()
        for rows, present_n, value_n in self._windows(_WINDOW_NUMBERS):
            distinct, inverse_n = np.unique(value_n, return_inverse=True)
            known = ~np.isnan(distinct) if distinct.dtype.kind == "f" else np.ones(len(distinct), bool)
            self._check_whole(distinct[known])
            code_of = np.full(len(distinct), -1, np.int32)
            code_of[known] = [place_of.setdefault(value, len(place_of)) for value in distinct[known].tolist()]
            self._check_number(len(place_of))
            code_n[rows][present_n] = code_of[inverse_n.reshape(-1)]
        ordered = sorted(place_of)  # type: ignore[type-var]  # one type of number
        names = self._named(ordered)
        return self._grouping(code_n, {place_of[one]: name for one, name in zip(ordered, names, strict=True)}, names)

    def _empty(self) -> Int32s:
        return np.full(self.stored.n_values, -1, np.int32)

    def _windows(self, n_rows: int) -> Iterator[tuple[slice, npt.NDArray[np.bool_], npt.NDArray[Any]]]:
        """Rows, which of them have a value, and these values."""
        for start in range(0, self.stored.n_values, n_rows):
            stop = min(start + n_rows, self.stored.n_values)
            present_n = np.ones(stop - start, bool)
            if self.stored.mask is not None:
                present_n = ~np.asarray(self.stored.mask(start, stop)).astype(bool)
            yield slice(start, stop), present_n, np.asarray(self.stored.read(start, stop))[present_n]
            self.bounds.gets_on()

    def _check_number(self, n_names: int) -> None:
        if self.bounds.names is not None and n_names > self.bounds.names:
            raise _NoGroupsError(f"has more than {self.bounds.names:,} different values, so it names no groups")

    def _check_whole(self, values: npt.NDArray[Any]) -> None:
        if not self.bounds.fractions and (fractions := [str(one) for one in values.tolist() if not _is_whole(one)]):
            raise _NoGroupsError(f"holds fractions ({listed(fractions)}), so it names no groups")

    def _named(self, values: list[Any]) -> list[str]:
        """Texts for values of one type; whole numbers have no fraction."""
        whole = all(map(_is_whole, values))
        plain = [int(one) if whole and isinstance(one, float) else one for one in values]
        return self._checked([one.decode("utf-8", "replace") if isinstance(one, bytes) else text(one) for one in plain])

    @staticmethod
    def _checked(names: list[str]) -> list[str]:
        longest = max(map(len, names), default=0)
        if longest > MOST_LETTERS:
            raise _NoGroupsError(f"holds a text of {longest:,} characters, so it names no groups")
        return names

    def _grouping(self, code_n: Int32s, name_of: Mapping[int, str], order: Iterable[str]) -> Grouping:
        """Replace each code by its name's place among the distinct names that occur; those of ``missing`` are none."""
        codes = np.array(sorted(name_of), np.int64)
        used = np.zeros(len(codes), bool)
        for window in self._numbered(code_n):
            used[np.searchsorted(codes, window[window >= 0])] = True
        occur = {name_of[code] for code in codes[used].tolist()} - {"", *self.bounds.missing}
        names = tuple(name for name in dict.fromkeys(order) if name in occur)
        if not names and not self.bounds.empty:
            raise _NoGroupsError("has no value in any cell")
        place = {name: position for position, name in enumerate(names)}
        place_of = np.array([place.get(name_of[code], -1) for code in codes.tolist()], np.int32)
        for window in self._numbered(code_n):
            window[window >= 0] = place_of[np.searchsorted(codes, window[window >= 0])]
        return Grouping(self.column, code_n, names)

    @staticmethod
    def _numbered(code_n: Int32s) -> Iterator[Int32s]:
        return (code_n[start : start + _WINDOW_NUMBERS] for start in range(0, len(code_n), _WINDOW_NUMBERS))


def _is_whole(value: object) -> bool:
    return not isinstance(value, float) or (value.is_integer() and abs(value) <= _WHOLE_UP_TO)


def _beyond(code: int, n_categories: int, column: str) -> TruncatedFileError:
    return TruncatedFileError(
        f"category {code} of {n_categories}", where=f"obs/{column}", hint="Write the file again with AnnData."
    )
