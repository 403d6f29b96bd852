"""Reads the labelled cells of a file into memory: values of the chosen matrix, genes and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from jobs.modeling.expression import TARGET_SUM
from jobs.modeling.file_genes import features_of_file
from jobs.modeling.judged import judged
from jobs.modeling.labels import read_labels
from jobs.modeling.readable import Readable
from jobs.modeling.sources import open_source, sha256_of
from jobs.modeling.specimens import Specimens, specimens_of
from jobs.modeling.splits import at_most
from shared.bundles.card import Features, Label
from shared.domain.errors import TrainingDataError
from shared.domain.geometry import Rows
from shared.domain.verdict import Finding, MatrixChoice, MatrixState, Species
from shared.h5ad.read.groupings import NoGrouping, read_grouping
from shared.h5ad.read.rows import RowBlock, open_matrix
from shared.h5ad.read.settling import Stored, settle
from shared.h5ad.source import RangeSource

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sample:
    """A random sample of at most ``max_cells``: all cells of rare labels, and equally many of the others."""

    max_cells: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LabelledCells:
    """Cells with labels.

    Attributes:
        value_ng: Values of the chosen matrix, cells x genes, CSR float32.
        state: The state of these values, after conversion: counts, or log1p of counts per 10,000.
        matrix: The matrix's path in the file.
        genes: Symbol and Ensembl id of each gene, as far as the file has them.
        class_n: The position of each cell's label in ``labels``.
        labels: Every label that occurs, by name.
        n_unlabelled: Cells left out because they have no label.
        n_sampled_away: Labelled cells left out by the sample.
        missing: As in ``Labelling``.
        warnings: The verdict's warnings about the file.
        source: The file's name, for the model card.
        sha256: The file's digest, for the model card.
        batch_n: The batch of each cell, -1 if it has none; None if batches are not told apart.
        batches: The obs column that names them; empty likewise.
        specimens: What the cells are from.
        rows_sha256: Which rows of the file they are: ``digest_of_rows``.
    """

    value_ng: sp.csr_matrix
    state: MatrixState
    matrix: str
    genes: Features
    species: Species
    class_n: Int64s
    labels: tuple[Label, ...]
    n_unlabelled: int = 0
    n_sampled_away: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    source: str = ""
    sha256: str | None = None
    batch_n: npt.NDArray[np.int32] | None = None
    batches: str = ""
    specimens: Specimens = field(default_factory=Specimens)
    rows_sha256: str = ""

    @property
    def n_cells(self) -> int:
        """The number of cells."""
        return len(self.class_n)

    def take(self, cells: Bools | Int64s) -> LabelledCells:
        """Select cells, in the given order. ``labels`` is unchanged."""
        batch_n = None if self.batch_n is None else self.batch_n[cells]
        value_ng = sp.csr_matrix(self.value_ng[cells])
        return replace(self, value_ng=value_ng, class_n=self.class_n[cells], batch_n=batch_n)


def read_labelled(  # noqa: PLR0913  # one parameter a column or choice
    path: Path,
    column: str,
    *,
    ids_from: str | None = None,
    lineages: Mapping[str, str] | None = None,
    readable: Mapping[str, Readable] | None = None,
    matrix: str | None = None,
    sample: Sample | None = None,
    batches: str = "",
) -> LabelledCells:
    """Read the cells that have a label. The file is validated like any submission.

    Memory: 8 bytes for each non-zero value of the cells that are read, twice while they are put together; about 100
    bytes for each cell of the file; and the reader's windows (see ``MatrixReader.blocks``).

    Args:
        column: The obs column with the labels. Cells without a label are left out.
        ids_from: An obs column with Cell Ontology ids, one for each label.
        lineages: The lineage of each label, if it has one. ``readable``: its readable name, likewise.
        matrix: As the option ``matrix``; None chooses by evidence.
        batches: The obs column that names batches; empty if they are not to be told apart.

    Raises:
        InputError: The file cannot be used, with the same code as in ``celldrop run``.
        TrainingDataError: A column does not exist, or a label has several ids.
    """
    with open_source(path) as source:
        file = judged(source, path, matrix=matrix)
        labelling = read_labels(source, column, ids_from=ids_from, lineages=lineages, readable=readable)
        kept_n = sampled(labelling.class_n, sample)
        return LabelledCells(
            value_ng=_values(source, file.matrix, kept_n),
            state=_settled_state(file.matrix),
            matrix=file.matrix.path,
            genes=features_of_file(source, file, path),
            species=file.species,
            class_n=labelling.class_n[kept_n],
            labels=labelling.labels,
            n_unlabelled=int((~labelling.labelled_n).sum()),
            n_sampled_away=int(labelling.labelled_n.sum() - kept_n.sum()),
            missing=labelling.missing,
            warnings=file.warnings,
            source=path.name,
            sha256=sha256_of(path),
            batch_n=_batches(source, batches, path)[kept_n] if batches else None,
            batches=batches,
            specimens=specimens_of(source, kept_n),
            rows_sha256=digest_of_rows(kept_n),
        )


def _batches(source: RangeSource, column: str, path: Path) -> npt.NDArray[np.int32]:
    """The batch of each cell."""
    found = read_grouping(source, column)
    if isinstance(found, NoGrouping):
        raise TrainingDataError(
            found.reason,
            expected="an obs column that names the batch of each cell",
            where=str(path),
            hint="Name another column, or leave --batches out.",
        )
    return found.code_n


def sampled(class_n: Int64s, sample: Sample | None) -> Bools:
    """Mark the cells to read: those with a label, or a sample of them; bool."""
    labelled = np.flatnonzero(class_n >= 0)
    if sample is not None:
        generator = np.random.default_rng(sample.seed)
        labelled = labelled[at_most(class_n[labelled], sample.max_cells, generator)]
    kept_n = np.zeros(len(class_n), dtype=bool)
    kept_n[labelled] = True
    return kept_n


def digest_of_rows(kept_n: Bools) -> str:
    """The sha256 of which rows are marked, for a card."""
    return hashlib.sha256(np.packbits(kept_n).tobytes()).hexdigest()


# --- Values -------------------------------------------------------------------------------------------------------


def _settled_state(choice: MatrixChoice) -> MatrixState:
    return MatrixState.COUNTS if choice.state is MatrixState.COUNTS else MatrixState.LOG1P_CP10K


def _settled(block: RowBlock, stored: Stored) -> RowBlock:
    """Convert a block to counts, or else to log1p of counts per 10,000, with the total that inference divides by."""
    settled = settle(block, stored)
    if stored.counts or stored.as_it_is:
        return settled.block
    total_z = np.repeat(settled.total_n, np.diff(settled.block.indptr))
    return replace(settled.block, data=np.log1p(settled.block.data / total_z * TARGET_SUM).astype(np.float32))


def _values(source: RangeSource, choice: MatrixChoice, kept_n: Bools) -> sp.csr_matrix:
    """The values of the marked rows. All rows of the matrix are checked."""
    parts, stored = [sp.csr_matrix(np.zeros((0, choice.n_genes), np.float32))], Stored.of(choice)
    with open_matrix(source, choice) as matrix:
        for block in matrix.blocks(Rows(0, choice.n_cells)):
            kept = kept_n[block.rows.start : block.rows.stop]
            if kept.any():
                parts.append(_kept(_settled(block, stored), kept, choice.n_genes))
    value_ng = sp.csr_matrix(sp.vstack(parts, format="csr", dtype=np.float32))
    value_ng.sum_duplicates()
    value_ng.eliminate_zeros()
    return value_ng


def _kept(block: RowBlock, kept: Bools, n_genes: int) -> sp.csr_matrix:
    part = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(len(block.rows), n_genes))
    return sp.csr_matrix(part[kept])  # a copy, as the reader may reuse its memory
