"""Writes pseudobulk.h5ad: the exact sums of the counts of all genes over the cells of each label and sample."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import h5py
import numpy as np
import numpy.typing as npt

from jobs.inference.annotated.columns import TEXT, create_categorical, create_values, mark, set_column_order, write_text
from jobs.inference.merge.calls import Vocabulary, name_codes
from jobs.inference.merge.groups import Merge
from jobs.inference.outputs.manifest import PseudobulkFacts
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote, MatrixEncoding, MatrixState, Verdict
from shared.h5ad.read.groupings import Grouping, NoGrouping, read_grouping
from shared.h5ad.read.rows import GeneTable, ProjectedBlock, open_matrix, read_gene_table
from shared.h5ad.source import RangeSource

MOST_VALUES = 2**25
"""Sums that are held at once, in 256 MiB: those of 900 groups with 36,000 genes."""
BY_COLUMN_ROWS = 2**22
"""Rows of a matrix stored by columns that are summed at once: any range of rows needs all values, at least twice."""
_FIRST_GROUPS = 16
_EXACT = 2**24
"""float32, in which cells are read, holds whole numbers exactly up to here."""
_CHUNK_BYTES = 1 << 20
_SUMMED = (CellNote.NONE, CellNote.SILENT)


class NoPseudobulkError(ValueError):
    """There is no pseudobulk; the message is the reason, a sentence for the manifest."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to sum.

    Attributes:
        sample: The obs column that tells samples apart; None if all cells are of one.
        most_values: Limit on groups times genes.
        beat: Called for every block, as a sign of life.
    """

    source: RangeSource
    verdict: Verdict
    sample: str | None
    beat: Callable[[], None]
    most_values: int = MOST_VALUES


@dataclass(slots=True)
class Pseudobulk:
    """Sums of counts by group.

    Memory: 8 bytes for each group and gene, in rows that grow in number by doubling as groups appear.

    Attributes:
        names: The names of the labels, ``Unassigned`` among them.
        samples: The names of the samples; empty if they are not told apart.
        most: Limit on the number of groups.
        sums_pg: Sums of counts, groups x genes, int64; a group's row is in ``row_of``, by label and sample. Rows
            beyond are of no group.
        cells_p: Number of cells in each group.
        n_without_sample: Cells that have no sample, and are in no group.
        n_without_counts: Cells whose values are not whole numbers, likewise.
    """

    names: Sequence[str]
    samples: Sequence[str]
    n_genes: int
    most: int
    sums_pg: npt.NDArray[np.int64] = field(init=False)
    cells_p: npt.NDArray[np.int64] = field(init=False)
    row_of: dict[tuple[int, int], int] = field(default_factory=dict)
    n_without_sample: int = 0
    n_without_counts: int = 0

    def __post_init__(self) -> None:
        first = min(_FIRST_GROUPS, self.most)
        self.sums_pg, self.cells_p = np.zeros((first, self.n_genes), np.int64), np.zeros(first, np.int64)

    @property
    def facts(self) -> PseudobulkFacts:
        """What the manifest says of it."""
        return PseudobulkFacts(
            n_groups=len(self.row_of),
            n_cells=int(self.cells_p.sum()),
            n_without_counts=self.n_without_counts,
            n_without_sample=self.n_without_sample,
        )

    def add(self, block: ProjectedBlock, label_n: npt.NDArray[np.int32], sample_n: npt.NDArray[np.int32]) -> None:
        """Add the cells of a block.

        Args:
            block: With a gene's column in the place of its feature.
            label_n: The positions of the cells' labels in ``names``.
            sample_n: Likewise of their samples; -1 for none.

        Raises:
            NoPseudobulkError: There are too many groups.
        """
        size_n = np.diff(block.indptr)
        whole_z = (np.rint(block.value) == block.value) & (block.value < _EXACT)
        broken_n = np.bincount(np.repeat(np.arange(len(size_n)), size_n)[~whole_z], minlength=len(size_n)) > 0
        counted_n = np.isin(block.note_n, _SUMMED) & ~broken_n
        self.n_without_counts += int((~counted_n).sum())
        self.n_without_sample += int((counted_n & (sample_n < 0)).sum())
        used_n = counted_n & (sample_n >= 0)
        row_n = np.array(
            [self._row(*pair) for pair in zip(label_n[used_n].tolist(), sample_n[used_n].tolist(), strict=True)],
            np.int64,
        )
        self._make_room()
        np.add.at(self.cells_p, row_n, 1)
        used_z = np.repeat(used_n, size_n)
        key_z = np.repeat(row_n, size_n[used_n]) * self.sums_pg.shape[1] + block.feature[used_z]
        np.add.at(self.sums_pg.reshape(-1), key_z, block.value[used_z].astype(np.int64))

    def _row(self, label: int, sample: int) -> int:
        row = self.row_of.setdefault((label, sample), len(self.row_of))
        if row >= self.most:
            raise NoPseudobulkError(
                f"The cells have more than {self.most:,} combinations of a label and a sample, with {self.n_genes:,} "
                "genes each: that is more than a merge holds in memory. Name a column of obs with fewer samples."
            )
        return row

    def _make_room(self) -> None:
        size = len(self.cells_p)
        while size < len(self.row_of):
            size = min(2 * size, self.most)
        # In place, as a copy would need both at once. Nothing else refers to them.
        self.sums_pg.resize((size, self.n_genes), refcheck=False)
        self.cells_p.resize(size, refcheck=False)


def sum_counts(merge: Merge, wanted: Wanted) -> Pseudobulk:
    """Sum the counts of all genes of the file's chosen matrix, in a second pass over the file.

    Memory beside the sums: 4 bytes for each cell with samples, and what the reader needs of a range of rows.

    Raises:
        NoPseudobulkError: The file has no counts, or no cell that can be summed, or too many groups.
        InputError: The file cannot be read; see ``MatrixReader.projected``.
    """
    choice = wanted.verdict.matrix
    assert choice is not None
    if choice.state is not MatrixState.COUNTS:
        raise NoPseudobulkError(f"The file has no counts to sum: {choice.path} was used, and its values are no counts.")
    samples = _samples(wanted)
    with open_matrix(wanted.source, choice) as matrix:
        most = max(1, wanted.most_values // max(matrix.n_genes, 1))
        found = Pseudobulk(merge.vocabulary.names, samples.names if samples else (), matrix.n_genes, most)
        every_gene = np.arange(matrix.n_genes, dtype=np.int32)
        for span, label_n in _labels(merge, BY_COLUMN_ROWS if choice.encoding is MatrixEncoding.CSC else 1):
            for block in matrix.projected(span, every_gene, lambda block: block):
                wanted.beat()
                rows = slice(block.rows.start, block.rows.stop)
                own = slice(rows.start - span.start, rows.stop - span.start)
                sample_n = samples.code_n[rows] if samples else np.zeros(len(block.rows), np.int32)
                found.add(block, label_n[own], sample_n)
    if not found.row_of:
        raise NoPseudobulkError(_nothing_to_sum(found, choice.path))
    return found


def _labels(merge: Merge, least_rows: int) -> Iterator[tuple[Rows, npt.NDArray[np.int32]]]:
    """Ranges of whole groups, of at least so many rows but for the last, with the labels of their cells."""
    start, held = 0, list[npt.NDArray[np.int32]]()
    for group in merge.groups():
        held.append(name_codes(group.calls, merge.vocabulary).astype(np.int32))
        if group.rows.stop - start >= least_rows:
            yield Rows(start, group.rows.stop), np.concatenate(held)
            start, held = group.rows.stop, []
    if held:
        yield Rows(start, merge.layout.n_cells), np.concatenate(held)


def _nothing_to_sum(found: Pseudobulk, path: str) -> str:
    text = f"No cell can be summed: {found.n_without_counts:,} have values in {path} that are not whole counts"
    text += f", and {found.n_without_sample:,} have no sample." if found.n_without_sample else "."
    if found.n_without_counts:
        text += " Round estimated counts (of alevin, kallisto, RSEM or SoupX, for example) first."
    return text


def _samples(wanted: Wanted) -> Grouping | None:
    if wanted.sample is None:
        return None
    found = read_grouping(wanted.source, wanted.sample)
    if isinstance(found, NoGrouping):
        raise NoPseudobulkError(f"Samples cannot be told apart: {found.reason}.")
    return found


def pseudobulk_h5ad(
    found: Pseudobulk, vocabulary: Vocabulary, wanted: Wanted, about: Mapping[str, str]
) -> Iterator[bytes]:
    """Stream ``pseudobulk.h5ad``. The same sums give the same bytes.

    X has the sums, int64. obs has a row for each label, or label and sample, that has cells, in the model's order of
    labels; ``psbulk_cells`` and ``psbulk_counts``, as decoupler calls them, are its numbers of cells and of counts. var
    has the index and the columns of the file's var that name genes.

    Args:
        about: Written to ``uns['celldrop']``.
    """
    file = io.BytesIO()
    genes = read_gene_table(wanted.source, wanted.verdict)
    with h5py.File(file, "w") as out:
        mark(out, "anndata", "0.1.0")
        pairs = sorted(found.row_of)
        row_p = np.array([found.row_of[pair] for pair in pairs], np.int64)
        _write_sums(out, found.sums_pg, row_p)
        _write_obs(out, found, pairs, vocabulary)
        _write_var(out, genes)
        left_out = {"n_cells_without_counts": found.n_without_counts, "n_cells_without_sample": found.n_without_sample}
        _write_uns(out, {**about, **{name: str(number) for name, number in left_out.items()}})
    data = file.getbuffer()
    for start in range(0, len(data), _CHUNK_BYTES):
        wanted.beat()
        yield bytes(data[start : start + _CHUNK_BYTES])


def _write_sums(out: h5py.File, sums_pg: npt.NDArray[np.int64], row_p: npt.NDArray[np.int64]) -> None:
    shape = (len(row_p), sums_pg.shape[1])
    chunks = (1, shape[1]) if all(shape) else None
    packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True} if chunks else {}
    dataset = out.create_dataset("X", shape, np.int64, chunks=chunks, **packed)
    mark(dataset, "array", "0.2.0")
    for place, row in enumerate(row_p.tolist()):
        dataset[place] = sums_pg[row]


def _write_obs(out: h5py.File, found: Pseudobulk, pairs: Sequence[tuple[int, int]], vocabulary: Vocabulary) -> None:
    obs = _frame(out, "obs")
    names = [found.names[label] for label, _ in pairs]
    samples = [found.samples[sample] for _, sample in pairs] if found.samples else None
    by_name = {label.name: label for label in vocabulary.labels}
    labels = [by_name.get(name) for name in names]
    columns: dict[str, Sequence[str | None]] = {"label": names}
    columns["label_id"] = [label.ontology_id if label else None for label in labels]
    columns["lineage"] = [label.lineage if label else None for label in labels]
    columns |= {"sample": samples} if samples else {}
    kept = {name: values for name, values in columns.items() if any(values)}
    for name, values in kept.items():
        categories = sorted({value for value in values if value})
        codes = create_categorical(obs, name, len(pairs), categories)
        codes[:] = [categories.index(value) if value else -1 for value in values]
    row_p = np.array([found.row_of[pair] for pair in pairs], np.int64)
    numbers = {"psbulk_cells": found.cells_p[row_p], "psbulk_counts": found.sums_pg.sum(axis=1)[row_p]}
    for name, values_p in numbers.items():
        create_values(obs, name, len(pairs), np.int64)[:] = values_p
    index = names if samples is None else [f"{sample}_{name}" for sample, name in zip(samples, names, strict=True)]
    write_text(obs, "_index", _distinct(index))
    set_column_order(obs, [*kept, *numbers])


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which none occurs twice: sample ``a_b`` with label ``c`` would be named like ``a`` with ``b_c``."""
    found: dict[str, None] = {}
    for name in names:
        free, number = name, 0
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found[free] = None
    return list(found)


def _write_var(out: h5py.File, genes: GeneTable) -> None:
    var = _frame(out, "var")
    write_text(var, "_index", genes.index)
    for name, values in genes.columns.items():
        write_text(var, name, values)
    set_column_order(var, list(genes.columns))


def _frame(out: h5py.File, name: str) -> h5py.Group:
    frame = out.create_group(name)
    mark(frame, "dataframe", "0.2.0")
    frame.attrs["_index"] = "_index"
    return frame


def _write_uns(out: h5py.File, about: Mapping[str, str]) -> None:
    uns = out.create_group("uns")
    mark(uns, "dict", "0.1.0")
    own = uns.create_group("celldrop")
    mark(own, "dict", "0.1.0")
    for key, value in about.items():
        mark(own.create_dataset(key, data=np.array(value, object), dtype=TEXT), "string", "0.2.0")
