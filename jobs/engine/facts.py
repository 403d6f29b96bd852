"""The facts of each cell that are kept beside the scores of its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEPS = 64
"""Coordinates of an embedding are whole numbers of 1/64: what is computed from them is exact on every machine."""


@dataclass(frozen=True, slots=True)
class CellFacts:
    """The facts of n consecutive cells, one array each.

    A new fact is a field here and a line in ``jobs.inference.parts.part.FACTS``. If users shall read it, it is also a
    line in ``jobs.inference.merge.columns``.

    Attributes:
        total_n: Total over all genes of the file, float32. None, or NaN for each cell, if it is not known.
        n_genes_n: Genes of the file with a value above 0, int32.
        note_n: The ``CellNote`` of each cell, uint8.
        mito_n: Share of the total that is of mitochondrial genes, float32. Likewise.
        unfamiliarity_n: See ``jobs.engine.familiarity``; float32. None, or NaN for each cell, if it is not known.
    """

    total_n: npt.NDArray[np.float32] | None
    n_genes_n: npt.NDArray[np.int32]
    note_n: npt.NDArray[np.uint8]
    unfamiliarity_n: npt.NDArray[np.float32] | None = None
    mito_n: npt.NDArray[np.float32] | None = None
