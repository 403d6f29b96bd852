"""Columns of obs and var as text or numbers, in every encoding that AnnData and Cell Ranger ever wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from shared.domain.errors import NotAnnDataError, TruncatedFileError
from shared.h5ad.read.held import Held
from shared.h5ad.read.inflating import sliced

Floats = npt.NDArray[np.float64]
INDEX_NAMES = ("_index", "index")
Slices: TypeAlias = Callable[[int, int], list[str]]
"""Values from and to a place, as text."""


class Frame(Protocol):
    """A table with an index, whatever its encoding."""

    @property
    def index(self) -> str:
        """Name of the column that is the index."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Columns other than the index."""
        ...

    @property
    def index_node(self) -> h5py.Dataset:
        """The dataset that holds the index, or its codes."""
        ...

    def __len__(self) -> int: ...

    def is_text(self, name: str) -> bool:
        """Whether the column holds strings, or categories that are strings."""
        ...

    def strings(self, name: str, start: int, stop: int) -> list[str]:
        """Values as text; a missing one is empty."""
        ...

    def slices(self, name: str) -> Slices:
        """The same of a column that is read slice after slice: no chunk of it is inflated a second time."""
        ...

    def numbers(self, name: str, start: int, stop: int) -> Floats:
        """Values as numbers; KeyError or ValueError where they are none."""
        ...

    def n_categories(self, name: str) -> int | None:
        """How many different values a categorical has; None for any other column."""
        ...


INDEX = "_index"
"""What verdicts call an index, whatever its own name."""


def label_of_index(frame: Frame) -> str:
    """``_index``, or the index's own name if a column is called so, as SeuratDisk does."""
    return frame.index if INDEX in frame.names else INDEX


def name_of(frame: Frame, label: str) -> str:
    """The stored name of a column, or of the index, by what verdicts call it."""
    return frame.index if label == label_of_index(frame) else label


def open_frame(file: h5py.File, path: str) -> Frame:
    """The table at ``path``: a group of columns, a compound dataset, or Cell Ranger's features.

    Raises:
        NotAnnDataError: There is nothing of the kind.
    """
    node = file.get(path)
    if isinstance(node, h5py.Dataset) and is_list(node):
        names, held = node.dtype.names, Held.of(node)
        return CompoundFrame(held) if names else SingleFrame(held)
    if isinstance(node, h5py.Group):
        return GroupFrame(node, _index_of(node))
    raise NotAnnDataError(
        f"no table at {path}", expected="obs and var as AnnData writes them", hint="Write the file with AnnData."
    )


def _index_of(group: h5py.Group) -> str:
    named = group.attrs.get("_index")
    for name in (text(named) if named is not None else "", *INDEX_NAMES, "id", "genes"):
        if name and name in group:
            return name
    raise NotAnnDataError(
        f"the table {group.name} has no index",
        expected="an _index attribute naming a column",
        hint="Write the file again with adata.write_h5ad().",
    )


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """A dataframe as a group with one object a column (AnnData since 0.7, Cell Ranger)."""

    group: h5py.Group
    index: str

    @property
    def names(self) -> tuple[str, ...]:
        """Columns other than the index."""
        return tuple(name for name in names_in(self.group) if name not in {self.index, "__categories"})

    @property
    def index_node(self) -> h5py.Dataset:
        """The dataset that holds the index, or its codes."""
        return _index_node(self.group[self.index])

    def __len__(self) -> int:
        return int(self.index_node.shape[0])

    def is_text(self, name: str) -> bool:
        """Whether the column holds strings."""
        node = self.group[name]
        categories = _categories_of(node, self.group, name)
        values = categories if categories is not None else _values_of(node)
        return values is not None and is_list(values) and is_string(values)

    def strings(self, name: str, start: int, stop: int) -> list[str]:
        """Values as text."""
        return self.slices(name)(start, stop)

    def slices(self, name: str) -> Slices:
        """The same, slice after slice; categories are read at once."""
        node, where = self.group[name], f"{self.group.name}/{name}"
        categories = _categories_of(node, self.group, name)
        if categories is not None:
            words = texts(sliced(categories))
            codes = Held.of(node["codes"] if isinstance(node, h5py.Group) else node)
            return lambda start, stop: _lookup(codes(start, stop), words, where)
        if isinstance(node, h5py.Group):
            values, mask = Held.of(node["values"]), Held.of(node["mask"]) if "mask" in node else None
            return lambda start, stop: _masked(texts(values(start, stop)), mask(start, stop) if mask else None)
        held = Held.of(node)
        return lambda start, stop: texts(held(start, stop))

    def numbers(self, name: str, start: int, stop: int) -> Floats:
        """Values as numbers."""
        values = _values_of(self.group[name])
        if values is None or not is_list(values) or not is_number(values):
            raise ValueError(name)
        return np.asarray(sliced(values, start, stop), dtype=np.float64)

    def n_categories(self, name: str) -> int | None:
        """How many different values a categorical has."""
        categories = _categories_of(self.group[name], self.group, name)
        return None if categories is None else int(categories.shape[0])


@dataclass(frozen=True, slots=True)
class CompoundFrame:
    """A dataframe as one dataset of records (AnnData before 0.7)."""

    held: Held

    @property
    def index(self) -> str:
        """The field that is the index."""
        fields = tuple(self.held.dataset.dtype.names)
        return next((name for name in INDEX_NAMES if name in fields), fields[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Fields other than the index."""
        return tuple(name for name in self.held.dataset.dtype.names if name != self.index)

    @property
    def index_node(self) -> h5py.Dataset:
        """The dataset that holds the index."""
        return self.held.dataset

    def __len__(self) -> int:
        return int(self.held.dataset.shape[0])

    def is_text(self, name: str) -> bool:
        """Whether the field holds strings."""
        return h5py.check_string_dtype(self.held.dataset.dtype[name]) is not None

    def strings(self, name: str, start: int, stop: int) -> list[str]:
        """Values as text."""
        return texts(self.held(start, stop, name))

    def slices(self, name: str) -> Slices:
        """The same, slice after slice."""
        return partial(self.strings, name)

    def numbers(self, name: str, start: int, stop: int) -> Floats:
        """Values as numbers."""
        if self.held.dataset.dtype[name].kind not in "iufb":
            raise ValueError(name)
        return np.asarray(self.held(start, stop, name), dtype=np.float64)

    def n_categories(self, name: str) -> int | None:
        """Always None: this layout keeps categories in uns."""
        del name
        return None


@dataclass(frozen=True, slots=True)
class SingleFrame:
    """A bare list of identifiers (Cell Ranger's barcodes)."""

    held: Held
    index: str = "_index"
    names: tuple[str, ...] = ()

    @property
    def index_node(self) -> h5py.Dataset:
        """The dataset that holds the index."""
        return self.held.dataset

    def __len__(self) -> int:
        return int(self.held.dataset.shape[0])

    def is_text(self, name: str) -> bool:
        """Whether the list holds strings."""
        return name == self.index and is_string(self.held.dataset)

    def strings(self, name: str, start: int, stop: int) -> list[str]:
        """Values as text."""
        assert name == self.index
        return texts(self.held(start, stop))

    def slices(self, name: str) -> Slices:
        """The same, slice after slice."""
        return partial(self.strings, name)

    def numbers(self, name: str, start: int, stop: int) -> Floats:
        """Not for this column, which has no numbers: raises ValueError."""
        raise ValueError(name, start, stop)

    def n_categories(self, name: str) -> int | None:
        """Never a categorical."""
        del name
        return None


def old_categories(file: h5py.File, column: str) -> h5py.Dataset | None:
    """What uns has as the categories of a column of a compound table (AnnData before 0.7)."""
    path = f"uns/{column}_categories"
    if not isinstance(file.get("uns"), h5py.Group) or not isinstance(file.get(path, getlink=True), h5py.HardLink):
        return None
    found = file[path]
    # The safety scan may have left a large uns at that.
    plain = isinstance(found, h5py.Dataset) and not found.external and not found.is_virtual and found.shape is not None
    return found if plain else None


def is_list(dataset: h5py.Dataset) -> bool:
    """Whether a dataset has one dimension; a null one has not even none."""
    return dataset.shape is not None and len(dataset.shape) == 1


def is_string(dataset: h5py.Dataset) -> bool:
    """Whether it holds strings; references and arrays of any length look alike to NumPy."""
    dtype = _dtype(dataset)
    return dtype is not None and h5py.check_string_dtype(dtype) is not None


def is_number(dataset: h5py.Dataset) -> bool:
    """Whether it holds real numbers or booleans."""
    dtype = _dtype(dataset)
    return dtype is not None and dtype.kind in "iufb"


def _dtype(dataset: h5py.Dataset) -> np.dtype[np.generic] | None:
    """Its type; None for the few of HDF5 that NumPy has no word for."""
    try:
        found: np.dtype[np.generic] = dataset.dtype
    except TypeError:
        return None
    return found


def names_in(group: h5py.Group) -> list[str]:
    """What a group holds; names that are not UTF-8, which h5py gives as bytes, can be meant by nobody."""
    return [name for name in group if isinstance(name, str)]


_utf8 = partial(bytes.decode, encoding="utf-8")


def texts(values: npt.NDArray[np.generic]) -> list[str]:
    """Any values as text; bytes are UTF-8, and what is not is marked as such."""
    found = values.tolist()
    try:
        return list(map(_utf8, found))  # As nearly always, and in a third of the time.
    except (TypeError, UnicodeDecodeError):
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else text(v) for v in found]


def text(value: object) -> str:
    """One value as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _index_node(node: h5py.Dataset | h5py.Group) -> h5py.Dataset:
    values = node.get("codes", node.get("values")) if isinstance(node, h5py.Group) else node
    if not isinstance(values, h5py.Dataset) or not is_list(values) or not (is_string(values) or is_number(values)):
        raise NotAnnDataError(
            f"the index {node.name} is not a list of names",
            expected="one name for each row",
            hint="Write the file again with adata.write_h5ad().",
        )
    return values


def _values_of(node: h5py.Dataset | h5py.Group) -> h5py.Dataset | None:
    found = node.get("values") if isinstance(node, h5py.Group) else node
    return found if isinstance(found, h5py.Dataset) else None


def _categories_of(node: h5py.Dataset | h5py.Group, group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The categories: in the column's own group since 0.8, beside all columns in 0.7."""
    if isinstance(node, h5py.Group):
        found = node.get("categories")
        found = found["values"] if isinstance(found, h5py.Group) and "values" in found else found
    else:
        found = group.get(f"__categories/{name}") if "categories" in node.attrs else None
    return found if isinstance(found, h5py.Dataset) else None


def _lookup(codes: npt.NDArray[np.integer], categories: Sequence[str], where: str) -> list[str]:
    if codes.size and int(codes.max()) >= len(categories):
        raise TruncatedFileError(
            f"category {int(codes.max())} of {len(categories)}", where=where, hint="Write the file again with AnnData."
        )
    return [categories[code] if code >= 0 else "" for code in codes.tolist()]


def _masked(values: list[str], mask: npt.NDArray[np.bool_] | None) -> list[str]:
    if mask is None:
        return values
    return ["" if missing else value for value, missing in zip(values, mask.tolist(), strict=True)]
