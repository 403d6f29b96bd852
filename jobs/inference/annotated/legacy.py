"""Converts the old layout of anndata before 0.7: compound obs and var become data frame groups, without loss."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
import numpy.typing as npt

from jobs.inference.annotated.columns import (
    CHUNK_ROWS,
    LEGACY_CATEGORIES,
    TEXT,
    Encoding,
    create_values,
    mark,
    set_column_order,
    write_text,
)
from shared.h5ad.read.columns import INDEX_NAMES, names_in, old_categories
from shared.h5ad.read.inflating import check_inflation, sliced

_TEXT_ROWS = 4096
"""Rows of text per read, as each text may be long."""
_SUFFIX = "_categories"
_ASIDE = "celldrop-aside"


def modernise_frames(file: h5py.File) -> None:
    """Convert compound obs and var to groups that anndata reads the same way.

    Both are converted together: anndata only looks up old categories in uns while obs is compound, so a compound var
    would lose its categories. As in anndata, they move from uns into the columns.
    """
    used: set[str] = set()
    for axis in ("obs", "var"):
        if isinstance(file.get(axis), h5py.Dataset):
            used |= _modernise(file, axis)
    for name in used:
        del file["uns"][name + _SUFFIX]


def complete_frame(obs: h5py.Group) -> None:
    """Add the attributes of a data frame, which anndata requires, to a group of columns without them."""
    if "encoding-version" in obs.attrs or "encoding-type" in obs.attrs:
        return
    index = next((name for name in (_text(obs.attrs.get("_index", "")), *INDEX_NAMES) if name and name in obs), None)
    if index is None:
        return
    obs.attrs["_index"] = index
    if "column-order" not in obs.attrs:
        set_column_order(obs, [name for name in names_in(obs) if name not in {index, LEGACY_CATEGORIES}])
    mark(obs, "dataframe", (Encoding.V0_1 if LEGACY_CATEGORIES in obs else Encoding.V0_2).value)


def _modernise(file: h5py.File, axis: str) -> set[str]:
    file.move(axis, _ASIDE)
    table = file[_ASIDE]
    index, *columns = table.dtype.names
    frame = file.create_group(axis)
    mark(frame, "dataframe", "0.2.0")
    frame.attrs["_index"] = index
    categorical = {name for name in columns if _write_column(frame, table, name, _categories(file, name))}
    _write_column(frame, table, index, None)
    set_column_order(frame, columns)
    del file[_ASIDE]
    return categorical


def _categories(file: h5py.File, column: str) -> list[str] | npt.NDArray[np.generic] | None:
    """The column's categories in uns; None if there are none. A single category may be a scalar."""
    found = old_categories(file, column)
    if found is None:
        return None
    check_inflation(found)
    values = np.atleast_1d(found[()])
    if values.dtype.kind in "OSU":
        return [_text(value) for value in values]
    return values


def _write_column(
    frame: h5py.Group, table: h5py.Dataset, name: str, categories: list[str] | npt.NDArray[np.generic] | None
) -> bool:
    """Copy a field, as a categorical if its codes fit the categories, as anndata does. Returns whether it is one."""
    if categories is not None and table.dtype[name].kind in "iu" and _largest(table, name) < len(categories):
        _write_categorical(frame, table, name, categories)
        return True
    if table.dtype[name].kind in "OSU":
        if h5py.check_string_dtype(table.dtype[name]) is None:
            raise TypeError(f"the obs or var column {name} has an HDF5 type that NumPy does not have")
        target = frame.create_dataset(name, (len(table),), TEXT, chunks=(min(len(table), CHUNK_ROWS),))
        mark(target, "string-array", "0.2.0")
    else:
        target = create_values(frame, name, len(table), table.dtype[name])
    for start, values in _blocks(table, name):
        target[start : start + len(values)] = values
    return False


def _write_categorical(
    frame: h5py.Group, table: h5py.Dataset, name: str, categories: list[str] | npt.NDArray[np.generic]
) -> None:
    column = frame.create_group(name)
    mark(column, "categorical", "0.2.0")
    column.attrs["ordered"] = False
    if isinstance(categories, list):
        write_text(column, "categories", categories)
    else:
        mark(column.create_dataset("categories", data=categories), "array", "0.2.0")
    codes = create_values(column, "codes", len(table), table.dtype[name])
    for start, values in _blocks(table, name):
        codes[start : start + len(values)] = values


def _largest(table: h5py.Dataset, name: str) -> int:
    return max((int(values.max()) for _, values in _blocks(table, name)), default=-1)


def _blocks(table: h5py.Dataset, name: str) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    rows = _TEXT_ROWS if table.dtype[name].kind in "OSU" else CHUNK_ROWS
    for start in range(0, len(table), rows):
        values = sliced(table, start, start + rows, name)
        if values.dtype.kind in "OSU":
            values = np.array([_text(value) for value in values], object)
        yield start, values


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
