"""A file, or cells of it, cut to selected genes is told of, however many columns it has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from shared.domain.verdict import Finding
from shared.h5ad.inspect.household import GROUPS, panel
from shared.h5ad.judge.judging import validate
from shared.h5ad.names.gene_table import names_of
from shared.h5ad.source import BytesSource
from tests.values.forms import as_bytes, each, scaled

RIBOSOMAL = re.compile(r"RP[SL]\d+[AXYL]?\d?|RPLP[012]|RPSA")


@pytest.fixture(scope="module")
def cells(data_dir: Path) -> anndata.AnnData:
    found = anndata.read_h5ad(data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad")[::9]
    return anndata.AnnData(
        found.X.tocsr(), obs=pd.DataFrame(index=found.obs_names), var=pd.DataFrame(index=found.var_names)
    )


def told(cells: anndata.AnnData) -> list[Finding]:
    verdict = validate(BytesSource(as_bytes(cells)))
    assert verdict.accepted
    return [finding for finding in verdict.warnings if finding.code == "SUBSET_OF_GENES"]


def misnamed(cells: anndata.AnnData) -> list[Finding]:
    verdict = validate(BytesSource(as_bytes(cells)))
    return [finding for finding in verdict.warnings if finding.code == "GENES_DISAGREE"]


def in_ensembl(cells: anndata.AnnData) -> anndata.AnnData:
    table = names_of("ENSG")
    assert table is not None
    kept = [name in table.number for name in cells.var_names]
    made = cells[:, kept].copy()
    made.var_names = [f"ENSG{table.number[name]:011d}" for name in made.var_names]
    return made


def without(cells: anndata.AnnData, chosen: Callable[[str], object]) -> anndata.AnnData:
    return cells[:, [not chosen(name) for name in cells.var_names]].copy()


def variable(cells: anndata.AnnData, n_genes: int) -> np.ndarray:
    """By dispersion, as scanpy and Seurat choose them: genes of few cells, rather than those that all have."""
    mean = np.asarray(cells.X.mean(axis=0)).ravel()
    square = np.asarray(cells.X.multiply(cells.X).mean(axis=0)).ravel()
    order = np.argsort(
        -np.where(mean > 0, (square - mean**2) / np.maximum(mean, 1e-12) * (mean < 1), -1), kind="stable"
    )
    return np.sort(order[:n_genes])


@pytest.mark.parametrize("ids", ["symbols", "ensembl", "lower case"])
def test_a_whole_file_is_not_told_of(cells: anndata.AnnData, ids: str) -> None:
    made = in_ensembl(cells) if ids == "ensembl" else cells.copy()
    if ids == "lower case":
        made.var_names = made.var_names.str.capitalize()
    assert told(made) == []
    in_three = np.asarray((made.X > 0).sum(axis=0)).ravel() >= 3
    assert told(made[:, in_three].copy()) == []


@pytest.mark.parametrize("ids", ["symbols", "ensembl"])
@pytest.mark.parametrize(
    ("group", "lacks"),
    [
        ("ribosomal", RIBOSOMAL.fullmatch),
        ("mitochondrial", lambda name: name.startswith("MT-")),
        ("MALAT1", lambda name: name == "MALAT1"),
    ],
)
def test_loud_genes_that_were_left_out_are_named(
    cells: anndata.AnnData, group: str, lacks: Callable[[str], object], ids: str
) -> None:
    made = without(cells, lacks)
    (finding,) = told(in_ensembl(made) if ids == "ensembl" else made)
    assert f"{group}" in finding.message
    assert "all genes" in finding.hint


def test_genes_that_were_left_out_are_missed_however_many_columns_are_there(cells: anndata.AnnData) -> None:
    chosen = variable(cells, 8_000)
    assert told(cells[:, chosen].copy())
    zeroed = cells.copy()
    keep = np.zeros(cells.n_vars)
    keep[variable(cells, 3_000)] = 1
    zeroed.X = sp.csr_matrix(cells.X @ sp.diags(keep))
    assert misnamed(zeroed)


def test_cells_of_selected_genes_among_whole_ones_are_told_of(cells: anndata.AnnData) -> None:
    keep = np.zeros(cells.n_vars)
    keep[variable(cells, 3_000)] = 1
    cut = sp.csr_matrix(cells.X @ sp.diags(keep))
    made = cells.copy()
    made.X = sp.vstack([cut[:150], cells.X[150:]]).tocsr()
    (finding,) = told(made)
    assert "selected genes" in finding.message
    assert 0.2 < float(str(finding.details["share"])) < 0.8


def test_names_that_lie_beside_other_columns_are_told_of(cells: anndata.AnnData) -> None:
    made = cells.copy()
    made.var_names = sorted(cells.var_names)
    assert "the names do not fit the columns" in misnamed(made)[0].message
    emptied = without(cells, RIBOSOMAL.fullmatch)
    assert misnamed(emptied) == []


@pytest.mark.parametrize("fault", ["other order", "emptied"])
@pytest.mark.parametrize("where", ["X", "layers/counts"])
def test_a_matrix_whose_columns_are_other_genes_stands_behind_one_that_fits(
    cells: anndata.AnnData, where: str, fault: str
) -> None:
    if fault == "emptied":
        keep = np.zeros(cells.n_vars)
        keep[variable(cells, 3_000)] = 1
        wrong = sp.csr_matrix(cells.X @ sp.diags(keep))
    else:
        wrong = cells.X[:, np.random.default_rng(0).permutation(cells.n_vars)].tocsr()
    logs = each(scaled(cells.X), np.log1p).astype(np.float32)
    first, second = (wrong, logs) if where == "X" else (logs, wrong)
    made = anndata.AnnData(first, obs=cells.obs, var=cells.var)
    made.layers["lognorm" if where == "X" else "counts"] = second
    verdict = validate(BytesSource(as_bytes(made)))
    assert verdict.matrix is not None
    assert verdict.matrix.path == ("layers/lognorm" if where == "X" else "X")
    assert not any(f"matrix={where}" in finding.hint for finding in verdict.warnings)
    asked = validate(BytesSource(as_bytes(made)), matrix=where)
    (told_of,) = [finding for finding in asked.warnings if finding.code == "PART_OF_COUNTS"]
    assert "lack genes that they have in another matrix" in told_of.message
    assert "would be used if none were asked for" in told_of.message


@pytest.mark.parametrize("logs", [False, True])
def test_names_beside_other_columns_are_told_of_in_deep_cells_of_filtered_genes_too(
    cells: anndata.AnnData, logs: bool
) -> None:
    pools = sp.csr_matrix(sp.kron(sp.eye(cells.n_obs // 6), np.ones((1, 6))) @ cells.X[: cells.n_obs // 6 * 6])
    often = np.asarray((pools > 0).mean(axis=0)).ravel() >= 0.1
    values = each(pools, np.log1p) if logs else pools
    made = anndata.AnnData(values[:, often].astype(np.float32), var=cells.var[often].copy())
    assert told(made) == []
    assert misnamed(made) == []
    made.var_names = sorted(made.var_names)
    assert "the names do not fit the columns" in misnamed(made)[0].message


def test_a_matrix_whose_names_tell_nothing_is_no_measure_for_another(cells: anndata.AnnData) -> None:
    some = without(cells, lambda name: RIBOSOMAL.fullmatch(name) or name.startswith("MT-"))
    probes = pd.DataFrame(index=[f"probe{place}" for place in range(some.n_vars)])
    made = anndata.AnnData(some.X, obs=cells.obs, var=some.var)
    made.raw = anndata.AnnData(each(scaled(some.X), np.log1p).astype(np.float32), obs=cells.obs, var=probes)
    verdict = validate(BytesSource(as_bytes(made)))
    assert verdict.matrix is not None
    assert verdict.matrix.path == "X"


def test_every_gene_of_the_panel_is_in_gencode_of_man_and_mouse() -> None:
    symbols = {name for names in GROUPS.values() for name in names}
    for prefix in ("ENSG", "ENSMUSG"):
        found = {symbol for name, (_, symbol) in panel().items() if re.fullmatch(prefix + r"\d{11}", name)}
        assert len(symbols - found) <= 3, sorted(symbols - found)


@pytest.mark.parametrize("sign", [".", "_", "\u2011"])
def test_genes_whose_names_have_other_signs_are_not_missed(cells: anndata.AnnData, sign: str) -> None:
    made = cells.copy()
    made.var_names = made.var_names.str.replace("-", sign)
    verdict = validate(BytesSource(as_bytes(made)))
    assert {"SUBSET_OF_GENES", "UNKNOWN_FEATURES"} & {finding.code for finding in verdict.warnings} == set()
