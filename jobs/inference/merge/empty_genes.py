"""Finds the genes that a file has by name only, in the cells that are sampled for the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from jobs.engine.abstaining import says_shares
from jobs.engine.empty_genes import LEAST_EXPECTED, Typical, depth_of
from jobs.inference.merge.coverage import EmptyGenes
from jobs.inference.merge.groups import Group
from jobs.inference.parts.arrays import column_of, values_of
from jobs.inference.parts.part import names_in_file
from shared.domain.geometry import Rows

SECTIONS = 10
"""A file is also looked at in stretches of its rows, by tenths: data sets that were joined lie one after the other."""
LEAST_IMPORTANCE = 0.1
"""Genes that make up less of what a model tells labels apart by are no sign of a fault (``LEAST_EXPECTED``)."""
LEAST_GENES, LEAST_GENES_IN_ROWS = 5, 10
"""Fewer genes with at least half the mean importance are no sign of one either, in the whole file and in a stretch.

A lab sorts or gates cells by some genes, and joins samples of which one has cells without them. Measured (2026-12-01)
on files without a fault: at most 4 in the whole file (naive T cells), 2 that make up 36 % in cells gated by NKG7 and
GNLY; in stretches 8, which make up 21 %, where PBMC 3k and sorted cells were joined.
"""
MOST_LABELS = 50
"""So many labels, those with the most cells, say what the rest of a file expresses."""
_NEARLY = 0.9

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Sampled:
    """The sampled cells that are like the training cells: which features each has a value of.

    Attributes:
        label_n: The label of each.
        section_n: The section that it is in.
        depth_n: How deeply it was sequenced (``depth_of``).
        feature_z: The features that the first has, then those of the second, and so on.
        n_features_n: How many each has.
    """

    label_n: list[Int64s] = field(default_factory=list)
    section_n: list[Int64s] = field(default_factory=list)
    depth_n: list[Float64s] = field(default_factory=list)
    feature_z: list[npt.NDArray[np.integer]] = field(default_factory=list)
    n_features_n: list[Int64s] = field(default_factory=list)

    def add(self, group: Group, n_cells: int) -> None:
        calls, start = group.calls, 0
        familiar_n = says_shares(calls.unfamiliar_n, calls.facts.note_n)
        total_n, n_genes_n = calls.facts.total_n, calls.facts.n_genes_n
        for batch in group.batches:
            place_m = np.flatnonzero(values_of(batch["feature"].is_valid()))
            place_m = place_m[familiar_n[start : start + batch.num_rows][place_m]]
            at_m = start + place_m
            total_m = np.full(len(at_m), np.nan) if total_n is None else total_n[at_m].astype(np.float64)
            feature = batch["feature"].take(column_of(place_m))
            self.label_n.append(calls.top_label_nk[at_m, 0])
            self.section_n.append((group.rows.start + at_m) * SECTIONS // n_cells)
            self.depth_n.append(depth_of(total_m, n_genes_n[at_m]))
            self.feature_z.append(values_of(pc.list_flatten(feature)))
            self.n_features_n.append(values_of(pc.list_value_length(feature)).astype(np.int64))
            start += batch.num_rows

    def summed(self, n_labels: int, n_features: int) -> _Sums:
        """Sums over the sections up to each, by label, of the ``MOST_LABELS`` labels with the most cells."""
        label_n, section_n, n_features_n = (
            np.concatenate(pieces) for pieces in (self.label_n, self.section_n, self.n_features_n)
        )
        depth_n, feature_z = np.concatenate(self.depth_n), np.concatenate(self.feature_z)
        most = np.argsort(-np.bincount(label_n, minlength=n_labels), kind="stable")[:MOST_LABELS]
        slot_l = np.full(n_labels, len(most))
        slot_l[most] = np.arange(len(most))
        slot_n, n_slots = slot_l[label_n], len(most) + 1
        end_n = np.concatenate([[0], n_features_n.cumsum()])
        depth_sl, found_slf = np.zeros((SECTIONS + 1, n_slots)), np.zeros((SECTIONS + 1, n_slots, n_features), np.int32)
        for section in range(SECTIONS):  # Cells are in row order, so those of a section lie side by side.
            own = slice(*np.searchsorted(section_n, [section, section + 1]).tolist())
            place_z = (
                np.repeat(slot_n[own] * n_features, n_features_n[own]) + feature_z[end_n[own.start] : end_n[own.stop]]
            )
            counted = np.bincount(place_z, minlength=n_slots * n_features).reshape(n_slots, n_features)
            found_slf[section + 1] = found_slf[section] + counted
            depth_sl[section + 1] = depth_sl[section] + np.bincount(slot_n[own], depth_n[own], n_slots)
        return _Sums(np.bincount(label_n, depth_n, n_labels).astype(np.float64), depth_sl, found_slf)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the sampled cells.

    Attributes:
        depth_l: The depth of all cells by label.
        depth_sl: The depth of the cells in the first 0 to ``SECTIONS`` sections, by label; all labels but those with
            the most cells together are the last.
        found_slf: The number of cells that have a value of a feature, likewise.
    """

    depth_l: Float64s
    depth_sl: Float64s
    found_slf: npt.NDArray[np.int32]

    @property
    def seen_f(self) -> Bools:
        """Whether any cell has a value of a feature."""
        return np.asarray(self.found_slf[-1].any(axis=0))

    def emptied(self) -> Iterator[tuple[slice, Bools]]:
        """For each stretch of sections, the features that no cell in it has, though ``LEAST_EXPECTED`` should.

        Expected is their share, by depth, of what the cells with the same labels in the whole file have.
        """
        whole_l, whole_lf = self.depth_sl[-1, :-1], self.found_slf[-1, :-1].astype(np.float64)
        seen_sf = self.found_slf.sum(axis=1)
        for start in range(SECTIONS):
            for stop in range(start + 1, SECTIONS + (start > 0)):
                depth_l = self.depth_sl[stop, :-1] - self.depth_sl[start, :-1]
                share_l = np.divide(depth_l, whole_l, out=np.zeros_like(depth_l), where=whole_l > 0)
                # Without BLAS, whose order of summation depends on the machine.
                expected_f = np.einsum("l,lf->f", share_l, whole_lf)
                yield slice(start, stop), (seen_sf[stop] == seen_sf[start]) & (expected_f >= LEAST_EXPECTED)


def find_empty_genes(
    groups: Iterable[Group], typical: Typical, n_cells: int, beat: Callable[[], None] = lambda: None
) -> EmptyGenes | None:
    """Find the genes that are in a file by name, but have no values where some are expected.

    By the sampled cells, which are the same for any number of tasks; cells unlike the training cells do not count. In
    the whole file, values are expected as the model tells; in a stretch of its rows, as cells with the same labels in
    the other rows have them. Measured (2026-12-01) by the importance of the genes found empty in a stretch: at most 1 %
    in PBMC 3k, in Zheng et al., and in each of their populations alone, and up to 26 % but of few genes where two of
    them were joined (``LEAST_GENES_IN_ROWS``); 36 % to 88 % where the 15 or 150 genes that tell labels apart best were
    set to zero in the first third or half of PBMC 3k.
    """
    sampled, names = _Sampled(), tuple[str | None, ...]()
    for group in groups:
        beat()
        if not group.rows.start:
            names = names_in_file(group.batches[0])
        sampled.add(group, n_cells)
    if not any(names):
        return None
    sums = sampled.summed(*typical.speaks_lf.shape)
    named_f = np.array([bool(name) for name in names], np.bool_)
    found, rows = typical.empty_f(sums.depth_l, sums.seen_f) & named_f, None
    if not _is_fault(found, typical, LEAST_GENES):
        emptied = [(sections, empty_f & named_f) for sections, empty_f in sums.emptied()]
        most = max(typical.importance_of(empty_f) for _, empty_f in emptied)
        worst = [one for one in emptied if typical.importance_of(one[1]) >= _NEARLY * most]
        sections, found = max(worst, key=lambda one: one[0].stop - one[0].start)
        rows = Rows(*(-(-place * n_cells // SECTIONS) for place in (sections.start, sections.stop)))
        if not _is_fault(found, typical, LEAST_GENES_IN_ROWS):
            return None
    order = np.argsort(-typical.importance_f, kind="stable")
    return EmptyGenes(tuple(names[f] or "" for f in order if found[f]), round(typical.importance_of(found), 4), rows)


def _is_fault(empty_f: Bools, typical: Typical, least_genes: int) -> bool:
    n_telling = int((empty_f & (typical.importance_f > 0.5 / len(empty_f))).sum())
    return n_telling >= least_genes and typical.importance_of(empty_f) >= LEAST_IMPORTANCE
