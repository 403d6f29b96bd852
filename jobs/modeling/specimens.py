"""What labelled cells are from: tissue, stage, assay and donors, as their file or the user says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain.words import cut
from shared.h5ad.read.groupings import Grouping, read_grouping
from shared.h5ad.source import RangeSource

COLUMNS = {"tissues": "tissue", "stages": "development_stage", "assays": "assay"}
"""The obs columns of CELLxGENE's schema, in which atlases are published."""
_DONORS = "donor_id"
_NOT_KNOWN = frozenset({"unknown", "na", "n/a", "none", "not available", "not applicable", ""})
_MOST, _LETTERS = 20, 80


@dataclass(frozen=True, slots=True)
class Specimens:
    """What cells are from. What is not known is empty.

    Attributes:
        donors: Their names, of which the card has the number.
    """

    tissues: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    assays: tuple[str, ...] = ()
    donors: frozenset[str] = frozenset()

    def card_fields(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a card's training record. What the user says comes before what the file says."""
        found = {name: getattr(self, name) for name in COLUMNS}
        found["n_donors"] = len(self.donors) or None
        return {name: said.get(name) or value for name, value in found.items()}


def specimens_of(source: RangeSource, kept_n: npt.NDArray[np.bool_]) -> Specimens:
    """What the marked cells are from, by the columns of CELLxGENE's schema; of many names the most frequent.

    Args:
        kept_n: The cells, a boolean for each cell of the file.
    """
    found = {name: _names(source, column, kept_n)[:_MOST] for name, column in COLUMNS.items()}
    return Specimens(**found, donors=frozenset(_names(source, _DONORS, kept_n)))


def together(specimens: Sequence[Specimens]) -> Specimens:
    """What the cells of several files are from. Donors of one name are one donor."""
    found = {name: _distinct(getattr(one, name) for one in specimens)[:_MOST] for name in COLUMNS}
    return Specimens(**found, donors=frozenset().union(*(one.donors for one in specimens)))


def _distinct(several: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in several for name in names))


def _names(source: RangeSource, column: str, kept_n: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    grouping = read_grouping(source, column)
    if not isinstance(grouping, Grouping):
        return ()
    code_m = grouping.code_n[kept_n]
    size_g = np.bincount(code_m[code_m >= 0], minlength=len(grouping.names))
    order = sorted(np.flatnonzero(size_g), key=lambda group: (-size_g[group], grouping.names[group]))
    names = (cut(grouping.names[group].strip(), _LETTERS) for group in order)
    return tuple(name for name in names if name.lower() not in _NOT_KNOWN)
