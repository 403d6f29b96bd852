"""The report's section on clusters: how their cells voted, and which of them are doubtful."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.inference.merge.calls import Vocabulary
from jobs.inference.merge.clusters import Clusters
from jobs.inference.merge.voting import is_mostly_unfamiliar
from shared.domain.words import percent, plural, shortened

MOST_SHOWN = 15
_DIVIDED = 0.5
_NAME_LIMIT = 60


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster's row in the table.

    Attributes:
        label: The label that most of its cells have.
        share: The share of its cells with that label, 0 to 1.
        second: The most frequent other label of its cells; empty if there is none.
        unfamiliar: The share of its cells that are unlike the model's training cells; None if the model cannot tell.
        mostly_unfamiliar: Whether so many are that the vote is Unassigned, whatever label most of them have.
        divided: Whether less than half of its cells agree, for another reason.
    """

    name: str
    cells: int
    label: str
    share: float
    second: str
    second_share: float
    unfamiliar: float | None
    mostly_unfamiliar: bool
    divided: bool

    @property
    def doubtful(self) -> bool:
        """Whether its vote means little."""
        return self.divided or self.mostly_unfamiliar


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """The section.

    Attributes:
        rows: The largest doubtful clusters, then the largest of the others.
        hidden: Number of further clusters.
        divided_cells: Number of cells in clusters of which no label has half.
    """

    sentences: tuple[str, ...]
    rows: tuple[ClusterRow, ...]
    hidden: int
    divided_cells: int

    @property
    def can_tell_unfamiliar(self) -> bool:
        """Whether it is known which cells are unlike the model's training cells."""
        return any(row.unfamiliar is not None for row in self.rows)


def cluster_table(clusters: Clusters | None, vocabulary: Vocabulary, *, can_tell: bool) -> ClusterTable | None:
    """Build the section; None if no cell has a cluster.

    Args:
        can_tell: Whether it is known which cells are unfamiliar.
    """
    if clusters is None or not clusters.cells_c.any():
        return None
    order = [int(place) for place in np.argsort(-clusters.cells_c, kind="stable") if clusters.cells_c[place]]
    rows = [_row(clusters, place, vocabulary, can_tell=can_tell) for place in order]
    rows.sort(key=lambda row: not row.doubtful)
    divided_cells = sum(row.cells for row in rows if row.divided)
    hidden = max(0, len(rows) - MOST_SHOWN)
    return ClusterTable(_sentences(clusters, rows), tuple(rows[:MOST_SHOWN]), hidden, divided_cells)


def _row(clusters: Clusters, place: int, vocabulary: Vocabulary, *, can_tell: bool) -> ClusterRow:
    votes_l = clusters.votes_cl[place]
    label = int(votes_l.argmax())
    cells, names = int(votes_l.sum()), vocabulary.names
    others_l = votes_l.copy()
    others_l[label] = 0
    second = int(others_l.argmax())
    share = int(votes_l[label]) / cells
    unfamiliar = int(clusters.unfamiliar_c[place])
    mostly_unfamiliar = is_mostly_unfamiliar(unfamiliar, cells)
    return ClusterRow(
        name=clusters.names[place],
        cells=cells,
        label=names[label],
        share=share,
        second=names[second] if others_l[second] else "",
        second_share=int(others_l[second]) / cells,
        unfamiliar=unfamiliar / cells if can_tell else None,
        mostly_unfamiliar=mostly_unfamiliar,
        divided=share < _DIVIDED and not mostly_unfamiliar,
    )


def _sentences(clusters: Clusters, rows: list[ClusterRow]) -> tuple[str, ...]:
    cells, agreeing = int(clusters.cells_c.sum()), int(clusters.agreeing_c.sum())
    if clusters.column is None:
        first = (
            f"{plural(len(rows), 'cluster')} of cells with similar expression were found, many more than cell types."
        )
    else:
        first = f"The clusters are those of obs[{shortened(clusters.column, _NAME_LIMIT)!r}]."
    divided = [row for row in rows if row.divided]
    strange = [row for row in rows if row.mostly_unfamiliar]
    voted = "The cells of each voted on its label"
    if len(strange) < len(rows):
        voted += f", and {percent(agreeing / cells)} of the cells agree with their cluster's vote"
    beside = "The vote stands beside each cell's own label (celldrop_cluster_label in obs) and changes nothing else."
    found = [first, f"{voted}.", beside]
    if divided:
        n_cells = sum(row.cells for row in divided)
        found.append(
            f"In {plural(len(divided), 'cluster')} ({percent(n_cells / cells)} of the cells), no label has half of the "
            "votes: check these with marker genes."
        )
    if strange:
        share = percent(sum(row.cells for row in strange) / cells)
        where = (
            f"In {plural(len(strange), 'cluster')} ({share} of the cells)"
            if len(strange) < len(rows)
            else "In each of them"
        )
        found.append(
            f"{where}, half of the cells or more are unlike the model's training cells: their vote is Unassigned, and "
            "the table shows what it would have been."
        )
    return tuple(found)
