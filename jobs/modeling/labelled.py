"""Labelled cells of an .h5ad: the matrix that the pipeline would choose, its genes, and a label for each cell."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from jobs.modeling.sources import open_source, sha256_of
from shared.bundle import Features, Label
from shared.domain.errors import InputError, NoMatrixError, TrainingDataError
from shared.domain.verdict import Finding, GeneIds, MatrixState, Species
from shared.h5ad.facts import FileFacts, GeneTable
from shared.h5ad.genes import bare_ids, describe_column
from shared.h5ad.inspection import inspect
from shared.h5ad.judging import judge
from shared.h5ad.layouts import GENE_EXPRESSION, TYPE_COLUMNS

Int64s = npt.NDArray[np.int64]
_ONTOLOGY_ID = r"CL:\d{7}"


@dataclass(frozen=True, slots=True)
class LabelledCells:
    """Cells with labels.

    Attributes:
        value_ng: Stored values of the chosen matrix, cells x genes, CSR float32.
        state: What they are.
        matrix: Where they lie in the file.
        genes: Symbol and Ensembl id of each gene, as far as the file says.
        class_n: Position of each cell's label in ``labels``.
        labels: Every label that occurs, by name.
        n_unlabelled: Cells left out for want of a label.
        source: The file's name; with ``sha256``, what the model card says of it.
    """

    value_ng: sp.csr_matrix
    state: MatrixState
    matrix: str
    genes: Features
    species: Species
    class_n: Int64s
    labels: tuple[Label, ...]
    n_unlabelled: int = 0
    source: str = ""
    sha256: str | None = None

    @property
    def n_cells(self) -> int:
        """Cells with a label."""
        return len(self.class_n)

    def take(self, cells: npt.NDArray[np.bool_] | Int64s) -> LabelledCells:
        """Some of the cells, in the order given; the labels stay."""
        return replace(self, value_ng=sp.csr_matrix(self.value_ng[cells]), class_n=self.class_n[cells])


def read_labelled(
    path: Path,
    column: str,
    *,
    ids_from: str | None = None,
    lineages: Mapping[str, str] | None = None,
    matrix: str | None = None,
) -> LabelledCells:
    """Read the cells that have a label, after the same safety scan and choice of matrix as every submission.

    The matrix is held in memory.

    Args:
        column: The obs column of labels; cells without one are left out.
        ids_from: An obs column of Cell Ontology ids, one for each label.
        lineages: Lineage of each label; labels that are not named have none.
        matrix: The option of that name; None lets the evidence choose.

    Raises:
        InputError: The file cannot be used; the leaf says why.
        TrainingDataError: There is no such column, or no cell has a label, or a label has several ids.
    """
    with open_source(path) as source:
        facts = inspect(source)
    verdict = judge(facts, matrix=matrix)
    if verdict.matrix is None:
        raise _unusable(verdict.refusals, path)
    adata = _read(path)
    label_n = _texts(adata.obs, column, path)
    labelled_n = label_n.notna().to_numpy()
    names, class_n = np.unique(label_n[labelled_n].to_numpy(dtype=str), return_inverse=True)
    ids = _ontology_ids(label_n, _texts(adata.obs, ids_from, path)) if ids_from else {}
    return LabelledCells(
        value_ng=sp.csr_matrix(_values(adata, verdict.matrix.path)[labelled_n]),
        state=verdict.matrix.state,
        matrix=verdict.matrix.path,
        genes=_features(facts, verdict.matrix.genes_path, path),
        species=verdict.genes.species if verdict.genes else Species.UNKNOWN,
        class_n=class_n.astype(np.int64),
        labels=tuple(_label(name, ids, lineages or {}) for name in names.tolist()),
        n_unlabelled=int((~labelled_n).sum()),
        source=path.name,
        sha256=sha256_of(path),
    )


def read_genes(path: Path) -> Features:
    """Symbols and Ensembl ids of the genes of the matrix that the pipeline would choose in a file.

    Raises:
        InputError: The file cannot be used; the leaf says why.
    """
    with open_source(path) as source:
        facts = inspect(source)
    verdict = judge(facts)
    if verdict.matrix is None:
        raise _unusable(verdict.refusals, path)
    return _features(facts, verdict.matrix.genes_path, path)


def _unusable(refusals: Sequence[Finding], path: Path) -> InputError:
    first = refusals[0]
    return NoMatrixError(first.message, where=str(path), hint=first.hint)


# --- Genes --------------------------------------------------------------------------------------------------------


def _features(facts: FileFacts, genes_path: str, path: Path) -> Features:
    """The first column of symbols and the first of Ensembl ids; an index of no known kind stands in for symbols."""
    table = facts.genes_of(genes_path)
    if table is None or not table.columns:
        raise NoMatrixError("the matrix has no gene names", where=f"{path}: {genes_path}")
    symbols = _identifiers(table, GeneIds.SYMBOL)
    ensembl = _identifiers(table, GeneIds.ENSEMBL)
    if not symbols and describe_column(table.columns[0]).kind is GeneIds.UNKNOWN:
        symbols = tuple(identifier or None for identifier in table.columns[0].ids)
    return Features(symbol=symbols, ensembl=ensembl)


def _identifiers(table: GeneTable, kind: GeneIds) -> tuple[str | None, ...]:
    for column in table.columns:
        space = describe_column(column)
        if space.kind is kind:
            return tuple(identifier or None for identifier in bare_ids(column.ids, versioned=space.versioned))
    return ()


# --- Labels -------------------------------------------------------------------------------------------------------


def _texts(obs: pd.DataFrame, column: str, path: Path) -> pd.Series[str]:
    """A column as texts; what is empty or missing becomes NA."""
    if column not in obs:
        raise TrainingDataError(
            f"obs has no column {column!r}",
            expected=f"one of {', '.join(map(repr, obs.columns)) or 'no columns at all'}",
            where=str(path),
            hint="Name the column that holds the labels with --labels.",
        )
    values = obs[column]
    text_n = values.astype(object).where(values.notna(), None).map(str, na_action="ignore").str.strip()
    return text_n.where(text_n.notna() & (text_n != ""), None)


def _ontology_ids(label_n: pd.Series[str], id_n: pd.Series[str]) -> dict[str, str]:
    """The Cell Ontology id of each label.

    Raises:
        TrainingDataError: A label has more than one, or something that is no such id.
    """
    pairs = pd.DataFrame({"label": label_n, "id": id_n}).dropna().drop_duplicates()
    repeated = pairs[pairs["label"].duplicated(keep=False)]
    if len(repeated):
        raise _bad_ids(f"label {repeated['label'].iloc[0]!r} has the ids {', '.join(repeated['id'])[:200]}")
    foreign = pairs[~pairs["id"].str.fullmatch(_ONTOLOGY_ID)]
    if len(foreign):
        raise _bad_ids(f"{foreign['id'].iloc[0]!r} stands for label {foreign['label'].iloc[0]!r}")
    return dict(zip(pairs["label"], pairs["id"], strict=True))


def _bad_ids(found: str) -> TrainingDataError:
    return TrainingDataError(
        found,
        expected="one Cell Ontology id, such as CL:0000236, for each label",
        hint="Name another column with --ids-from, or correct the file.",
    )


def _label(name: str, ids: Mapping[str, str], lineages: Mapping[str, str]) -> Label:
    return Label(name=name, ontology_id=ids.get(name), lineage=lineages.get(name))


# --- Values -------------------------------------------------------------------------------------------------------


def _read(path: Path) -> anndata.AnnData:
    with warnings.catch_warnings():
        # Old layouts and repeated names make anndata warn; the verdict has said so already, in our words.
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(path)


def _values(adata: anndata.AnnData, matrix: str) -> sp.csr_matrix:
    """The matrix at a path of the file, without features that are no genes."""
    holder = adata.raw if matrix.startswith("raw") else adata
    values = adata.layers[matrix.removeprefix("layers/")] if matrix.startswith("layers/") else holder.X
    value_ng = sp.csr_matrix(values, dtype=np.float32)
    genes = _genes(holder.var)
    if genes is not None:
        value_ng = sp.csr_matrix(value_ng[:, genes])
    value_ng.sum_duplicates()
    value_ng.eliminate_zeros()
    return value_ng


def _genes(var: pd.DataFrame) -> Int64s | None:
    """Positions of the genes where the file says that other features are none; None where all are genes."""
    for name in TYPE_COLUMNS:
        positions = np.flatnonzero(var[name] == GENE_EXPRESSION) if name in var else np.zeros(0, np.int64)
        if positions.size:
            return positions.astype(np.int64)
    return None
