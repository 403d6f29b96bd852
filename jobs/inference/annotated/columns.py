"""Adds columns to obs in an open HDF5 file: their names, encoding and values, written block by block."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.inference.merge.columns import CATEGORY, COLUMNS, InObs
from jobs.inference.merge.consensus import CONSENSUS_COLUMNS
from jobs.inference.parts.arrays import values_of
from shared.domain.added import added_name

CHUNK_ROWS = 65_536
TEXT = h5py.string_dtype()
LEGACY_CATEGORIES = "__categories"


class Encoding(StrEnum):
    """Versions of anndata's data frame encoding that columns can be added to."""

    V0_1 = "0.1.0"
    """anndata 0.7: a categorical is a dataset of codes that refers to its categories in ``__categories``."""
    V0_2 = "0.2.0"
    """anndata 0.8 and later: a categorical is a group of codes and categories."""


@dataclass(frozen=True, slots=True)
class ObsColumn:
    """A new column of obs.

    Attributes:
        source: The column of the annotation table that it is copied from.
        dtype: The type of plain values; None for a categorical.
    """

    name: str
    source: str
    dtype: npt.DTypeLike | None = None


_DTYPES: Mapping[pa.DataType, npt.DTypeLike | None] = {CATEGORY: None, pa.float32(): np.float32, pa.bool_(): np.bool_}

_ABSENT: Mapping[npt.DTypeLike | None, float] = {np.float32: np.nan, np.bool_: 0}
"""What stands for no value: anndata's arrays of booleans have none."""

OBS_COLUMNS = tuple(
    ObsColumn(f"celldrop_{name}", name, _DTYPES[kind])
    for name, kind, in_obs in (
        *((column.name, column.kind, column.in_obs) for column in COLUMNS),
        *((column.name, column.kind, column.in_obs) for column in CONSENSUS_COLUMNS),
    )
    if in_obs is not InObs.NO
)
"""The columns added to obs. Existing columns of these names are from an earlier run, and are replaced."""


def columns_beside(index: str) -> tuple[ObsColumn, ...]:
    """The columns for an obs with this name of its index; a column with the same name is renamed."""
    return tuple(replace(column, name=added_name(column.name, index)) for column in OBS_COLUMNS)


def drop_columns(obs: h5py.Group, columns: Sequence[ObsColumn]) -> None:
    """Remove the columns of an earlier run."""
    for column in columns:
        for parent in (obs, obs.get(LEGACY_CATEGORIES)):
            if isinstance(parent, h5py.Group) and column.name in parent:
                del parent[column.name]
    ours = {column.name for column in columns}
    set_column_order(obs, [name for name in column_order(obs) if name not in ours])


def add_columns(
    obs: h5py.Group,
    columns: Sequence[ObsColumn],
    tables: Iterable[pa.Table],
    n_cells: int,
    categories: Mapping[str, Sequence[str]],
    absent: Collection[str] = (),
) -> None:
    """Append columns to a data frame group, and fill them from the tables one after the other.

    Args:
        categories: The values that occur in each categorical source column.
        absent: Source columns to leave out, as no cell has a value.
    """
    encoding = Encoding(text(obs.attrs["encoding-version"]))
    columns = [column for column in columns if column.source not in absent]
    targets = {column: _create(obs, column, n_cells, categories.get(column.source, ()), encoding) for column in columns}
    start = 0
    for table in tables:
        for column, target in targets.items():
            values = table[column.source].combine_chunks()
            target[start : start + len(table)] = (
                _codes(values, categories[column.source])
                if column.dtype is None
                else values_of(values, _ABSENT[column.dtype])
            )
        start += len(table)
    set_column_order(obs, [*column_order(obs), *(column.name for column in columns)])


def column_order(obs: h5py.Group) -> list[str]:
    """The names of a frame's columns. Without columns, anndata writes an empty array of floats."""
    names = obs.attrs["column-order"]
    return [] if isinstance(names, h5py.Empty) else [text(name) for name in np.atleast_1d(names)]


def set_column_order(frame: h5py.Group, names: Sequence[str]) -> None:
    """Write the names of a frame's columns, in their order."""
    frame.attrs.create("column-order", np.array(names, object), dtype=TEXT)


def mark(element: h5py.Group | h5py.Dataset, kind: str, version: str) -> None:
    """Write the attributes with an element's encoding, as anndata does."""
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = version


def write_text(group: h5py.Group, name: str, values: Sequence[str]) -> h5py.Dataset:
    """Write an array of strings."""
    dataset = group.create_dataset(name, data=np.array(values, object), dtype=TEXT)
    mark(dataset, "string-array", "0.2.0")
    return dataset


def write_string(group: h5py.Group, name: str, value: str) -> None:
    """Write one string."""
    mark(group.create_dataset(name, data=np.array(value, object), dtype=TEXT), "string", "0.2.0")


def mapping(file: h5py.File, name: str) -> h5py.Group | None:
    """The group ``obsm`` or ``uns``, which is made if it is not there; None if it is something else than a group."""
    if name not in file:
        mark(file.create_group(name), "dict", "0.1.0")
    return file[name] if isinstance(file[name], h5py.Group) else None


def drop(file: h5py.File, name: str, key: str) -> None:
    """Remove an element of ``obsm`` or ``uns``, if it is there."""
    if isinstance(file.get(name), h5py.Group) and key in file[name]:
        del file[name][key]


def create_values(group: h5py.Group, name: str, n_cells: int, dtype: npt.DTypeLike) -> h5py.Dataset:
    """Create a compressed array with one value per cell."""
    chunks = (min(n_cells, CHUNK_ROWS),)
    dataset = group.create_dataset(
        name, (n_cells,), dtype, chunks=chunks, compression="gzip", compression_opts=4, shuffle=True
    )
    mark(dataset, "array", "0.2.0")
    return dataset


def create_matrix(group: h5py.Group, name: str, n_cells: int, n_columns: int) -> h5py.Dataset:
    """Create a compressed float32 matrix with one row per cell."""
    chunks = (max(1, min(n_cells, CHUNK_ROWS // n_columns)), n_columns)
    dataset = group.create_dataset(
        name, (n_cells, n_columns), np.float32, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
    )
    mark(dataset, "array", "0.2.0")
    return dataset


def create_categorical(group: h5py.Group, name: str, n_cells: int, categories: Sequence[str]) -> h5py.Dataset:
    """Create a categorical of anndata 0.8 and later. Returns its codes, not yet filled; -1 means missing."""
    categorical = group.create_group(name)
    mark(categorical, "categorical", "0.2.0")
    categorical.attrs["ordered"] = False
    write_text(categorical, "categories", categories)
    return create_values(categorical, "codes", n_cells, _code_type(len(categories)))


def _create(
    obs: h5py.Group, column: ObsColumn, n_cells: int, categories: Sequence[str], encoding: Encoding
) -> h5py.Dataset:
    if column.dtype is not None:
        return create_values(obs, column.name, n_cells, column.dtype)
    if encoding is Encoding.V0_2:
        return create_categorical(obs, column.name, n_cells, categories)
    codes = create_values(obs, column.name, n_cells, _code_type(len(categories)))
    names = write_text(obs.require_group(LEGACY_CATEGORIES), column.name, categories)
    names.attrs["ordered"] = False
    codes.attrs["categories"] = names.ref
    return codes


def _code_type(n_categories: int) -> npt.DTypeLike:
    """The smallest signed integer type, as in pandas."""
    return np.min_scalar_type(-max(n_categories, 1))


def _codes(values: pa.DictionaryArray, categories: Sequence[str]) -> npt.NDArray[np.int64]:
    place = {name: code for code, name in enumerate(categories)}
    code_d = np.array([place.get(name, -1) for name in values.dictionary.to_pylist()] + [-1], np.int64)
    codes: npt.NDArray[np.int64] = code_d[values_of(values.indices, -1)]
    return codes


def text(value: str | bytes) -> str:
    """Decode the text of an attribute or dataset."""
    return value.decode() if isinstance(value, bytes) else str(value)
