"""Reads one obs column as texts, from every encoding that labels are stored in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from shared.domain.errors import TruncatedFileError
from shared.h5ad.read.columns import CompoundFrame, Frame, GroupFrame, texts
from shared.h5ad.read.safety import check_stored

_WHOLE = re.compile(r"(-?\d+)\.0")


def column_texts(file: h5py.File, frame: Frame, column: str, size_bytes: int) -> list[str] | None:
    """The column's values as text, or None if it is not a list.

    Masked values are empty. Integers that are stored as floats because some are missing lose their ".0". Exceptions of
    the HDF5 library pass through.
    """
    if not _is_list(frame, column):
        return None
    for dataset in _datasets(file, frame, column):
        check_stored(dataset, size_bytes)
    old = _old_categories(file, frame, column)
    if old is not None:
        return old
    found = frame.strings(column, 0, len(frame))
    return found if frame.is_text(column) else _without_point_zero(found)


def _is_list(frame: Frame, column: str) -> bool:
    if isinstance(frame, CompoundFrame):
        return frame.held.dataset.dtype[column].shape == () and frame.held.dataset.dtype[column].names is None
    if not isinstance(frame, GroupFrame):
        return False
    node = frame.group[column]
    parts = [node.get(name) for name in ("codes", "values")] if isinstance(node, h5py.Group) else [node]
    lists = [part for part in parts if isinstance(part, h5py.Dataset)]
    return bool(lists) and all(part.shape is not None and len(part.shape) == 1 for part in lists)


def _datasets(file: h5py.File, frame: Frame, column: str) -> Iterator[h5py.Dataset]:
    """The datasets that h5py will read."""
    if isinstance(frame, CompoundFrame):
        yield frame.held.dataset
        found = _categories_in_uns(file, column)
        if found is not None:
            yield found
    elif isinstance(frame, GroupFrame):
        beside = frame.group.get(f"__categories/{column}")
        for node in (frame.group[column], beside):
            parts = node.values() if isinstance(node, h5py.Group) else [node]
            yield from (part for part in parts if isinstance(part, h5py.Dataset))


# --- AnnData before 0.7 -------------------------------------------------------------------------------------------


def _old_categories(file: h5py.File, frame: Frame, column: str) -> list[str] | None:
    """The values of a categorical in a compound obs, with its categories in uns; None for any other column."""
    if not isinstance(frame, CompoundFrame) or frame.held.dataset.dtype[column].kind not in "iu":
        return None
    found = _categories_in_uns(file, column)
    if found is None:
        return None
    names = texts(np.atleast_1d(found[()]))  # a single category may be a scalar
    codes = frame.held.dataset.fields(column)[()]
    return _looked_up(codes.tolist(), names, column)


def _categories_in_uns(file: h5py.File, column: str) -> h5py.Dataset | None:
    uns = file.get("uns")
    found = uns.get(f"{column}_categories") if isinstance(uns, h5py.Group) else None
    return found if isinstance(found, h5py.Dataset) and found.shape is not None and len(found.shape) <= 1 else None


def _looked_up(codes: Sequence[int], names: Sequence[str], column: str) -> list[str]:
    if codes and max(codes) >= len(names):
        raise TruncatedFileError(
            f"category {max(codes)} of {len(names)}", where=f"obs/{column}", hint="Write the file again with AnnData."
        )
    return [names[code] if code >= 0 else "" for code in codes]


def _without_point_zero(values: list[str]) -> list[str]:
    """Remove ".0" if all values are whole numbers: pandas stores integers as floats if one is missing."""
    numbers = {value: _WHOLE.fullmatch(value) for value in set(values) if value not in {"", "nan"}}
    if not numbers or not all(numbers.values()):
        return values
    return [found[1] if (found := numbers.get(value)) else value for value in values]
