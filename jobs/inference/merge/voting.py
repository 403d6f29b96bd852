"""Majority voting: the cells of a cluster vote on its label, as in CellTypist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

from jobs.engine.agreement import cross_counts
from jobs.engine.sampling import every
from jobs.inference.merge.calls import name_codes
from jobs.inference.merge.clusters import (
    Clusters,
    Int16s,
    Int32s,
    centres_of,
    nearest,
    sample_stride,
)
from jobs.inference.merge.groups import Merge
from jobs.inference.parts.arrays import values_of
from jobs.inference.parts.part import coordinates_of
from shared.domain.verdict import CellNote

Beat = Callable[[], None]

_MOSTLY = 0.5
"""The share of unfamiliar cells from which a cluster is unassigned."""


def _silent() -> None:
    """No sign of life is needed."""


def clusters_by_expression(merge: Merge, beat: Beat = _silent) -> Clusters | None:
    """Find clusters of cells with similar expression, and let their cells vote; None if there are too few cells.

    The largest cluster is called 1. Cells without a value of the model's genes have no cluster. Two passes over the
    parts, in memory for one group, the sample and 8 bytes per cell, of which 4 are kept.

    Domínguez Conde et al., Science 376 (2022), doi:10.1126/science.abl5197.

    Args:
        beat: Called for each batch, as a sign of life.
    """
    # Matrices are small: a second thread would take 20 times the processor's time, waiting.
    with threadpool_limits(1, "blas"):
        centre_cd = centres_of(_sampled(merge, beat), merge.layout.n_cells)
        if centre_cd is None:
            return None
        code_n = np.full(merge.layout.n_cells, -1, np.int32)
        for rows, place_nd, heard_n in _places(merge):
            code_n[rows][heard_n] = nearest(place_nd[heard_n], centre_cd)
            beat()
    cells_c = np.bincount(code_n[code_n >= 0], minlength=len(centre_cd))
    order = np.argsort(-cells_c, kind="stable")[: np.count_nonzero(cells_c)]
    rank_c = np.full(len(centre_cd) + 1, -1, np.int32)
    rank_c[order] = np.arange(len(order))
    names = [str(place + 1) for place in range(len(order))]
    return vote(merge, names, rank_c[code_n], beat=beat)


def vote(
    merge: Merge, names: Sequence[str], code_n: Int32s, column: str | None = None, beat: Beat = _silent
) -> Clusters:
    """Count the labels of each cluster's cells. The label with most cells wins; of several, the model's first.

    A cluster is unassigned if that is what most of its cells are, or if half of its cells are unfamiliar. One pass over
    the parts.

    Args:
        names: The names of the clusters.
        code_n: The cluster of each cell; -1 without one.
        column: The column of obs that the clusters are from.
        beat: Called for each group of cells, as a sign of life.
    """
    n_names, vocabulary = len(merge.vocabulary.names), merge.vocabulary
    votes_cl = np.zeros((len(names), n_names), np.int64)
    unfamiliar_c, doubted_c = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for group in merge.groups():
        beat()
        cluster_n = code_n[group.rows.start : group.rows.stop].astype(np.int64)
        there_n = cluster_n >= 0
        label_n, unfamiliar_n = name_codes(group.calls, vocabulary), group.calls.unfamiliar_n
        votes_cl += cross_counts(cluster_n[there_n], label_n[there_n], votes_cl.shape)
        unfamiliar_c += np.bincount(cluster_n[there_n & unfamiliar_n], minlength=len(names))
        doubted_n = unfamiliar_n | (label_n == vocabulary.unassigned_code)
        doubted_c += np.bincount(cluster_n[there_n & doubted_n], minlength=len(names))
    cells_c = votes_cl.sum(axis=1)
    mostly = [is_mostly_unfamiliar(*pair) for pair in zip(unfamiliar_c.tolist(), cells_c.tolist(), strict=True)]
    label_c = np.where(mostly, vocabulary.unassigned_code, votes_cl.argmax(axis=1))
    own_c = votes_cl[np.arange(len(names)), label_c]
    agreeing_c = np.where(label_c == vocabulary.unassigned_code, doubted_c, own_c)
    return Clusters(tuple(names), code_n, votes_cl, label_c, unfamiliar_c, agreeing_c, column)


def is_mostly_unfamiliar(unfamiliar: float, cells: float) -> bool:
    """Whether so many of a cluster's cells are unlike the model's training cells that it has no label."""
    return unfamiliar > 0 and unfamiliar >= _MOSTLY * cells


def _sampled(merge: Merge, beat: Beat) -> Int16s:
    """The coordinates of evenly spaced cells."""
    stride = sample_stride(merge.layout.n_cells)
    found = [np.zeros((0, merge.layout.dimensions), np.int16)]
    for rows, place_nd, heard_n in _places(merge):
        chosen = every(stride, rows.start, len(heard_n))
        found.append(place_nd[chosen[heard_n[chosen]]])
        beat()
    return np.concatenate(found)


def _places(merge: Merge) -> Iterator[tuple[slice, Int16s, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """The rows, the coordinates, and which cells have a value of the model's genes, batch by batch."""
    start = 0
    for batch in merge.batches():
        rows = slice(start, start + batch.num_rows)
        heard_n = values_of(batch["note"]) != CellNote.SILENT
        yield rows, coordinates_of(batch), heard_n
        start = rows.stop
