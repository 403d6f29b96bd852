"""The labels that a file has already: one obs column, and what its names mean to the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.bundles.aligning import Aligner, Meaning
from shared.domain.errors import TruncatedFileError, UnsafeFileError
from shared.domain.options import OFF
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.names.label_columns import CLUSTERS
from shared.h5ad.read.groupings import Bounds, Grouping, NoGrouping, only_beside, read_grouping
from shared.h5ad.source import RangeSource

log = logging.getLogger(__name__)

Int32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class OwnLabels:
    """The file's own labels of n cells.

    Attributes:
        column: The obs column.
        asked: Whether the option ``truth`` names it; else it was recognised.
        code_n: Positions in ``names``, int32; -1 for a cell without a label.
        meanings: What each name means to the model.
    """

    column: str
    asked: bool
    code_n: Int32s
    names: tuple[str, ...]
    meanings: tuple[Meaning, ...]

    @property
    def are_clusters(self) -> bool:
        """Whether the names are numbers, as those of clusters."""
        return all(name.lstrip("-").isdigit() for name in self.names)


@dataclass(frozen=True, slots=True)
class NoOwnLabels:
    """Why there is nothing to compare with: a sentence."""

    reason: str = ""


SWITCHED_OFF = NoOwnLabels("Not compared with labels of the file (option truth=off).")
_NONE_FOUND = (
    "The file has no column of labels that is recognised by its name, such as cell_type, annotation or "
    f"{CLUSTERS[0]}. Name one with the option truth."
)


def read_own_labels(
    source: RangeSource,
    truth: str | None,
    found: Sequence[GroupingFacts],
    aligner: Aligner,
    show: Callable[[], None] = lambda: None,
) -> OwnLabels | NoOwnLabels:
    """Read the labels of a file that was inspected before. Memory: 4 bytes a cell, 8 while ids are read.

    Args:
        truth: The option of that name.
        found: The columns that were looked at when the file was inspected.
        aligner: That of the model's labels.
        show: Called after each window of cells, as a sign of life.
    """
    if truth == OFF:
        return SWITCHED_OFF
    tried = [one for one in found if (one.recognised if truth is None else one.column == truth)]
    usable = [one for one in tried if not one.problem]
    problems = [one.problem for one in tried if one.problem]
    if not usable:
        return NoOwnLabels(_sentence(problems) if problems else _NONE_FOUND)
    chosen = usable[-1]
    try:
        bounds = Bounds(gets_on=show)
        grouping = read_grouping(source, chosen.column, bounds)
        ids = read_grouping(source, chosen.ids, bounds) if chosen.ids else None
    except (TruncatedFileError, UnsafeFileError) as error:
        log.warning("own labels left out: %s", error.message)
        return NoOwnLabels(_sentence([f"obs column {chosen.column!r} cannot be read: {error.found}"]))
    if isinstance(grouping, NoGrouping):
        return NoOwnLabels(_sentence([grouping.reason]))
    beside = only_beside(grouping, ids) if isinstance(ids, Grouping) else {}
    meanings = aligner.meanings(grouping.names, [beside.get(name) for name in grouping.names])
    return OwnLabels(chosen.column, truth is not None, grouping.code_n, grouping.names, meanings)


def _sentence(problems: Sequence[str]) -> str:
    words = "; ".join(problems)
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}."
