"""Row blocks: the sparse rows that the engine computes with, and the checks that every one of them passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.errors import BadValuesError, TruncatedFileError
from shared.domain.geometry import Rows

Pointers = npt.NDArray[np.int64]
Columns = npt.NDArray[np.int32]
Values = npt.NDArray[np.float32]
_ANEW = "The file is damaged: write it anew with adata.write_h5ad() and send that."


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Consecutive cells as compressed sparse rows.

    Attributes:
        rows: Which cells of the file.
        indptr: (n + 1,) from 0.
        indices: (nnz,) gene columns of the chosen matrix, in the order stored; each once in a cell.
        data: (nnz,) values, finite and not negative; zeros may be among them.
    """

    rows: Rows
    indptr: Pointers
    indices: Columns
    data: Values

    @property
    def nnz(self) -> int:
        """Stored values."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Genes:
    """The columns of a stored matrix.

    Attributes:
        n_columns: As stored.
        position: Each stored column's place among the genes, -1 for other features; None when all are genes.
    """

    n_columns: int
    position: Columns | None = None

    @property
    def n_genes(self) -> int:
        """Columns that are genes."""
        return self.n_columns if self.position is None else int((self.position >= 0).sum())


def genes_from(n_columns: int, mask: npt.NDArray[np.bool_] | None) -> Genes:
    """Number the genes among the columns."""
    if mask is None:
        return Genes(n_columns)
    return Genes(n_columns, np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int32))


def checked_columns(columns: npt.NDArray[np.generic], bound: int, where: str) -> Columns:
    """Column numbers as int32.

    Raises:
        TruncatedFileError: One is outside the matrix.
    """
    if columns.size and not (int(columns.min()) >= 0 and int(columns.max()) < bound):
        raise TruncatedFileError(
            f"indices from {columns.min()} to {columns.max()}",
            expected=f"0 to {bound - 1}",
            where=where,
            hint=_ANEW,
        )
    return columns.astype(np.int32, copy=False)


def as_float32(values: npt.NDArray[np.generic]) -> Values:
    """Any numbers as float32; what is too large becomes infinite, and is refused later."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def check_pointers(pointers: Pointers, nnz: int, where: str) -> None:
    """Row pointers must ascend inside the matrix.

    Raises:
        TruncatedFileError: They do not.
    """
    inside = pointers.size and pointers[0] >= 0 and pointers[-1] <= nnz
    if not inside or (np.diff(pointers) < 0).any():
        raise TruncatedFileError(
            "row pointers that do not ascend inside the matrix", expected=f"0 to {nnz}", where=where, hint=_ANEW
        )


def finished(block: RowBlock, genes: Genes, where: str) -> RowBlock:
    """A block with several entries of one gene summed, other features taken out and its values checked.

    Raises:
        BadValuesError: NaN, infinite or negative, with the first cell that has it.
    """
    block = _summed(block, genes.n_columns)
    if genes.position is not None:
        block = _only_genes(block, genes.position)
    # NaN fails both comparisons.
    if block.nnz and not (block.data.min() >= 0 and block.data.max() < np.inf):
        raise _bad_value(block, where)
    return block


def _summed(block: RowBlock, n_columns: int) -> RowBlock:
    """Every gene once in each cell: scipy sums several entries of one place, and so does anndata's user.

    Rows without any stay as they are, in the order stored.
    """
    falls = np.flatnonzero(np.diff(block.indices) <= 0) + 1
    if np.isin(falls, block.indptr).all():
        return block
    row_z = np.repeat(np.arange(len(block.indptr) - 1), np.diff(block.indptr))
    key_z = row_z * n_columns + block.indices
    order = np.argsort(key_z, kind="stable")
    key_z = key_z[order]
    new_z = np.concatenate([[True], key_z[1:] != key_z[:-1]])
    if new_z.all():
        return block
    starts = np.flatnonzero(new_z)
    sums = as_float32(np.add.reduceat(block.data[order], starts, dtype=np.float64))
    rows_of, columns = np.divmod(key_z[starts], n_columns)
    indptr = np.searchsorted(rows_of, np.arange(len(block.indptr))).astype(np.int64)
    return RowBlock(block.rows, indptr, columns.astype(np.int32), sums)


def _only_genes(block: RowBlock, position: Columns) -> RowBlock:
    places = position[block.indices]
    keep = places >= 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return RowBlock(block.rows, before[block.indptr], places[keep], block.data[keep])


def _bad_value(block: RowBlock, where: str) -> BadValuesError:
    bad = np.flatnonzero(~((block.data >= 0) & (block.data < np.inf)))
    row = block.rows.start + int(np.searchsorted(block.indptr, bad[0], side="right")) - 1
    return BadValuesError(
        f"{block.data[bad[0]]} in cell {row} (counted from 0), gene column {block.indices[bad[0]]}",
        expected="finite values that are not negative",
        where=where,
        hint="Find where it comes from (often a division by an empty cell's total), and write the file again.",
    )
