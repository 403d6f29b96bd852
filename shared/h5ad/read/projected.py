"""Rows as a model sees them: the values of its own features, and what is to be known of all the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.domain.geometry import Rows
from shared.h5ad.read.blocks import Columns, Genes, Pointers, Values

UNMATCHED = -1
"""In place of a feature: a gene that the model does not know."""
NOT_A_GENE = -2
"""In place of a feature: a column that is no gene, an antibody for example."""


@dataclass(frozen=True, slots=True)
class ProjectedBlock:
    """Consecutive cells, reduced to a model's features.

    Attributes:
        rows: Which n cells of the file.
        indptr: (n + 1,) int32, where each cell begins in the next two, and the end.
        feature: The feature's position in the model, int32; each at most once in a cell, in the order stored.
        value: The stored value, float32, above 0 and finite.
        total_n: Sum of all of a cell's genes, float64: exact for counts, whatever is beside them.
        n_genes_n: Genes of a cell with a value other than 0, int32.
        note_n: ``CellNote`` of each cell, uint8.
    """

    rows: Rows
    indptr: npt.NDArray[np.int32]
    feature: Columns
    value: Values
    total_n: npt.NDArray[np.float64]
    n_genes_n: npt.NDArray[np.int32]
    note_n: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Expected:
    """What every row should hold, for the compiled loops, which leave any other to be looked at.

    Attributes:
        values: ANY, LINEAR, LOGARITHMS or WHOLE, as in native.c.
        least_sum: Of exp(x) - 1 over a row of logarithms; ``most_sum`` likewise.
    """

    values: int = 0
    least_sum: float = 0.0
    most_sum: float = 0.0


ANY = Expected()


@dataclass(slots=True)
class ScratchBuffers:
    """Memory that one thread uses again and again.

    There is place for all values, and it is touched as far as some are kept. Taken anew each time, it would soon come
    from the heap, where it counts in full.
    """

    _feature: Columns = field(default_factory=lambda: np.empty(0, np.int32))
    _value: Values = field(default_factory=lambda: np.empty(0, np.float32))

    def cleared(self, size: int) -> tuple[Columns, Values]:
        """Place for so many features and values."""
        if size > len(self._feature):
            self._feature, self._value = np.empty(size, np.int32), np.empty(size, np.float32)
        return self._feature[:size], self._value[:size]


@dataclass(frozen=True, slots=True)
class RowBuffers:
    """Where the native code puts what it finds of some consecutive rows.

    Attributes:
        pointers: Of n rows, n + 1 places in the file's arrays.
        feature_of_column: For each column of the matrix the feature, UNMATCHED or NOT_A_GENE.
    """

    pointers: Pointers
    feature_of_column: Columns
    only_genes: bool
    feature: Columns
    value: Values
    indptr: npt.NDArray[np.int32]
    total_n: npt.NDArray[np.float64]
    n_genes_n: npt.NDArray[np.int32]
    seen_in: npt.NDArray[np.int32]
    expected: Expected = ANY

    @classmethod
    def of(
        cls,
        pointers: Pointers,
        feature_of_column: Columns,
        scratch: ScratchBuffers,
        *,
        only_genes: bool = True,
        expected: Expected = ANY,
    ) -> RowBuffers:
        """Room for all of their values, on a scratch where nothing is needed any more."""
        n_rows = len(pointers) - 1
        feature, value = scratch.cleared(int(pointers[-1] - pointers[0]))
        indptr, totals_n, n_genes_n = np.zeros(n_rows + 1, np.int32), np.zeros(n_rows), np.zeros(n_rows, np.int32)
        found = (feature, value, indptr, totals_n, n_genes_n, np.zeros(len(feature_of_column), np.int32))
        return cls(pointers, feature_of_column, only_genes, *found, expected)

    def blocks(self, rows: Rows) -> Iterator[ProjectedBlock]:
        """What was found of ``rows``, cut at the boundaries of ``rows.blocks()``; copied as they are asked for."""
        return (self.block(block, block.start - rows.start) for block in rows.blocks())

    def block(self, rows: Rows, first: int = 0) -> ProjectedBlock:
        """A copy of what was found of the rows here from the ``first`` on, which are ``rows`` of the file."""
        last = first + len(rows)
        place = slice(self.indptr[first], self.indptr[last])
        return ProjectedBlock(
            rows,
            self.indptr[first : last + 1] - self.indptr[first],
            self.feature[place].copy(),
            self.value[place].copy(),
            self.total_n[first:last],
            self.n_genes_n[first:last],
            np.zeros(len(rows), np.uint8),
        )


def features_of_columns(feature_of_gene: Columns, genes: Genes) -> Columns:
    """The feature of each column of a stored matrix, where only some of them may be genes."""
    assert feature_of_gene.shape == (genes.n_genes,)
    if genes.position is None:
        return np.ascontiguousarray(feature_of_gene, dtype=np.int32)
    found = np.full(genes.n_columns, NOT_A_GENE, np.int32)
    found[genes.position >= 0] = feature_of_gene
    return found
