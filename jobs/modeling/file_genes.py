"""The symbols and Ensembl ids of a file's genes, as the pipeline reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobs.modeling.celltypist_genes import feature_table
from jobs.modeling.judged import JudgedFile
from jobs.modeling.sources import open_source
from shared.bundles.card import Features
from shared.domain.errors import NoMatrixError, TrainingDataError
from shared.domain.verdict import GeneIds, Verdict
from shared.h5ad.facts import FileFacts, GeneTable
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.judge.judging import judge
from shared.h5ad.names.genes import describe_column
from shared.h5ad.read.rows import read_genes
from shared.h5ad.source import RangeSource

Names = tuple[str | None, ...]


def features_of_file(source: RangeSource, file: JudgedFile, path: Path) -> Features:
    """The genes of the chosen matrix: the first column of symbols and the first of Ensembl ids.

    Without symbols, an index of unknown kind takes their place, unless it only numbers the genes: a model with genes
    0, 1, 2 … would match every other such file.

    Raises:
        NoMatrixError: The matrix has no gene names.
        TrainingDataError: The names are only numbers.
    """
    table = file.facts.genes_of(file.matrix.genes_path)
    if table is None or not table.columns:
        raise NoMatrixError("the matrix has no gene names", where=f"{path}: {file.matrix.genes_path}")
    symbols = _identifiers(source, file.verdict, table, GeneIds.SYMBOL)
    ensembl = _identifiers(source, file.verdict, table, GeneIds.ENSEMBL)
    if not symbols and describe_column(table.columns[0]).kind is GeneIds.UNKNOWN:
        symbols = tuple(identifier or None for identifier in table.columns[0].ids)
    if not ensembl and all(name is None or name.isdecimal() for name in symbols):
        raise _only_numbers(symbols, path)
    return Features(symbol=symbols, ensembl=ensembl)


def _identifiers(source: RangeSource, verdict: Verdict, table: GeneTable, kind: GeneIds) -> Names:
    for column in table.columns:
        space = describe_column(column)
        if space.kind is kind:
            ids = read_genes(source, replace(verdict, genes=space))
            return tuple(identifier or None for identifier in ids)
    return ()


def _only_numbers(symbols: Names, path: Path) -> TrainingDataError:
    examples = ", ".join(repr(name) for name in symbols[:3])
    return TrainingDataError(
        f"the genes are named {examples}",
        expected="gene symbols or Ensembl ids, by which the model finds the genes of other files",
        where=str(path),
        hint="Put Ensembl ids or gene symbols into adata.var_names, and write the file again.",
    )


def read_file_genes(path: Path) -> Features:
    """The genes of the matrix that the pipeline would choose, or else of the first gene table. Values do not matter.

    Raises:
        InputError: The file cannot be read; its subclass says why.
    """
    with open_source(path) as source:
        facts = inspect(source)
        verdict = judge(facts)
        if verdict.matrix is not None:
            return features_of_file(source, JudgedFile(facts, verdict, verdict.matrix, ()), path)
    return _any_genes(facts, path)


def _any_genes(facts: FileFacts, path: Path) -> Features:
    table = next((table for table in facts.genes if table.columns), None)
    if table is None or not any(table.columns[0].ids):
        raise NoMatrixError("the file has no gene names", where=str(path))
    columns = [feature_table(column.ids) for column in table.columns]
    symbols = next((features.symbol for features in columns if features.symbol), ())
    ensembl = next((features.ensembl for features in columns if features.ensembl), ())
    return Features(symbol=symbols, ensembl=ensembl)
