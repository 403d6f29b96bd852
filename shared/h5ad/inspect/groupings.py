"""Reads, in the confined child, the obs columns that will be read as groups of cells outside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import h5py

from shared.domain.errors import InputError
from shared.domain.words import cut
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.names.label_columns import IDS_BESIDE, recognised
from shared.h5ad.read.columns import open_frame
from shared.h5ad.read.groupings import Bounds, NoGrouping, grouping_in
from shared.h5ad.read.layouts import find_layout

_MOST_TRIED = 10
"""Recognised columns that are read before none is found."""
_WORDS = 300


def groupings(file: h5py.File, size_bytes: int, plan: Plan, gets_on: Callable[[], None]) -> tuple[GroupingFacts, ...]:
    """The columns that the plan names, and those recognised up to the first that groups the cells."""
    reading = _Reading(file, size_bytes, Bounds(gets_on=gets_on))
    return (*map(reading.column, plan.columns), *(reading.recognised() if plan.recognise else ()))


class _Reading:
    """Columns of one file."""

    def __init__(self, file: h5py.File, size_bytes: int, bounds: Bounds) -> None:
        self._file, self._size_bytes, self._bounds = file, size_bytes, bounds
        layout = find_layout(file)
        self._names = () if layout.tenx else open_frame(file, layout.obs).names

    def column(self, name: str) -> GroupingFacts:
        """Read one column, and the ids beside it."""
        problem = self._problem(name)
        beside = f"{name}{IDS_BESIDE}"
        ids = beside if not problem and beside in self._names and not self._problem(beside) else None
        return GroupingFacts(name, problem, ids)

    def recognised(self) -> Iterator[GroupingFacts]:
        """Read the columns that are recognised, until one groups the cells."""
        for name in recognised(self._names)[:_MOST_TRIED]:
            found = replace(self.column(name), recognised=True)
            yield found
            if not found.problem:
                return

    def _problem(self, name: str) -> str:
        try:
            found = grouping_in(self._file, name, self._size_bytes, self._bounds)
        except InputError as error:
            return cut(f"obs column {name!r} cannot be read: {error.found}", _WORDS)
        return cut(found.reason, _WORDS) if isinstance(found, NoGrouping) else ""
