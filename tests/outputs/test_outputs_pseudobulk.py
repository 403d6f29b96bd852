"""pseudobulk.h5ad: anndata reads the same sums that numpy makes of the same cells, in every encoding of a matrix."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scanpy
import scipy.sparse as sp

from jobs.inference.annotated.contents import IN_PSEUDOBULK
from jobs.inference.annotated.pseudobulk import MOST_VALUES, NoPseudobulkError, Wanted, pseudobulk_h5ad, sum_counts
from jobs.inference.merge.groups import Merge
from jobs.inference.outputs.manifest import FileFacts, PseudobulkFacts
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.gathering import gather
from jobs.inference.report.mapping import NoMap
from shared.bundles.card import UNASSIGNED, Label
from shared.domain.geometry import GROUP_ROWS
from shared.domain.outputs import PSEUDOBULK
from shared.h5ad.judge.judging import validate
from shared.h5ad.source import BytesSource
from shared.ports.blobs import ByteRange
from tests.outputs.stand_ins import Draws, merge_of
from tests.outputs.test_outputs_report import context_of, findings_of

N_CELLS, N_GENES = 600, 40
LABELS = [Label(name="B", ontology_id="CL:0000236", lineage="lymphoid"), Label(name="T", lineage="lymphoid")]
ENSEMBL = [f"ENSG{place:011d}" for place in range(1, N_GENES + 1)]
SAMPLE_N = np.array(["s2", "s1", "s1_x"])[np.arange(N_CELLS) % 3]
ABOUT = {"model": "demo@1"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
Counts = npt.NDArray[np.int64]


def counts() -> Counts:
    """Counts of which some are large: 32-bit sums would overflow."""
    values_ng = np.random.default_rng(2).poisson(1.2, (N_CELLS, N_GENES))
    values_ng[::7, 3] = 12_000_000
    return values_ng


def file_of(values: Any, tmp_path: Path, **obs: Any) -> bytes:
    columns = pd.DataFrame(obs, index=[f"cell-{row}" for row in range(len(SAMPLE_N))])
    var = pd.DataFrame({"gene_ids": ENSEMBL}, index=[f"GENE{place}" for place in range(N_GENES)])
    path = tmp_path / "cells.h5ad"
    ad.AnnData(values, obs=columns, var=var).write_h5ad(path)
    return path.read_bytes()


def wanted_of(data: bytes, sample: str | None = None, most_values: int = 2**20) -> Wanted:
    verdict = validate(BytesSource(data))
    assert verdict.matrix is not None, verdict.findings
    return Wanted(BytesSource(data), verdict, sample, lambda: None, most_values)


def merge(n_tasks: int = 1) -> Merge:
    draws = Draws(PartLayout(N_CELLS, n_labels=2, top_k=2), softmax=True)
    return merge_of(draws, n_tasks, min_score=0.6, labels=LABELS)


def labels_of(merged: Merge) -> npt.NDArray[np.object_]:
    return np.concatenate([table["label"].to_numpy(zero_copy_only=False) for table in merged.tables()])


def written(merged: Merge, wanted: Wanted) -> bytes:
    return b"".join(pseudobulk_h5ad(sum_counts(merged, wanted), merged.vocabulary, wanted, ABOUT))


def opened(data: bytes, tmp_path: Path) -> ad.AnnData:
    path = tmp_path / "pseudobulk.h5ad"
    path.write_bytes(data)
    return ad.read_h5ad(path)


ENCODINGS: dict[str, Callable[[Counts], Any]] = {
    "csr of float32": lambda values: sp.csr_matrix(values.astype(np.float32)),
    "csr of int64": sp.csr_matrix,
    "csc": lambda values: sp.csc_matrix(values.astype(np.float32)),
    "dense": lambda values: values.astype(np.float64),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_sums_by_label_and_sample_are_exact(encoding: str, tmp_path: Path) -> None:
    data = file_of(ENCODINGS[encoding](counts()), tmp_path, donor=SAMPLE_N)
    merged = merge()
    found = opened(written(merged, wanted_of(data, "donor")), tmp_path)
    labels = labels_of(merged)
    assert found.X.dtype == np.int64
    groups = pd.MultiIndex.from_arrays([labels, SAMPLE_N])
    assert sorted(zip(found.obs["label"], found.obs["sample"], strict=True)) == sorted(groups.unique())
    for place, (label, sample) in enumerate(zip(found.obs["label"], found.obs["sample"], strict=True)):
        own_n = (labels == label) & (sample == SAMPLE_N)
        np.testing.assert_array_equal(found.X[place], counts()[own_n].sum(axis=0))
        assert found.obs["psbulk_cells"].iloc[place] == own_n.sum()
        assert found.obs["psbulk_counts"].iloc[place] == counts()[own_n].sum()
    assert int(found.X.sum()) == int(counts().sum())
    assert found.obs_names.is_unique
    places = {f'obs["{name}"]' for name in found.obs.columns} | {
        f'uns["celldrop"]["{key}"]' for key in found.uns["celldrop"]
    }
    documented = {element.place for element in IN_PSEUDOBULK} - {
        'uns["celldrop"]["model_digest"]',
        'uns["celldrop"]["version"]',
    }
    assert documented == places | {"X", "var", "obs_names"}
    assert "s2_B" in found.obs_names


def test_without_samples_there_is_a_row_for_each_label_with_what_the_model_says_of_it(tmp_path: Path) -> None:
    data = file_of(sp.csr_matrix(counts()), tmp_path)
    found = opened(written(merge(), wanted_of(data)), tmp_path)
    assert found.obs_names.tolist() == ["B", "T", UNASSIGNED]
    assert found.obs["label_id"].astype(object).fillna("").tolist() == ["CL:0000236", "", ""]
    assert found.obs["lineage"].astype(object).fillna("").tolist() == ["lymphoid", "lymphoid", ""]
    assert "sample" not in found.obs
    assert found.var_names.tolist() == [f"GENE{place}" for place in range(N_GENES)]
    assert found.var.iloc[:, 0].tolist() == ENSEMBL
    assert found.uns["celldrop"]["model"] == "demo@1"


def test_any_number_of_tasks_gives_the_same_bytes(tmp_path: Path) -> None:
    wanted = wanted_of(file_of(sp.csr_matrix(counts()), tmp_path, donor=SAMPLE_N), "donor")
    assert written(merge(1), wanted) == written(merge(3), wanted)


def test_cells_without_a_sample_or_without_counts_are_left_out_and_counted(tmp_path: Path) -> None:
    values_ng = counts().astype(np.float64)
    values_ng[5] += 0.25
    donors = pd.Series(SAMPLE_N, dtype=object)
    donors[donors.index < 4] = None
    data = file_of(sp.csr_matrix(values_ng), tmp_path, donor=pd.Categorical(donors))
    found = opened(written(merge(), wanted_of(data, "donor")), tmp_path)
    assert found.uns["celldrop"]["n_cells_without_sample"] == "4"
    assert found.uns["celldrop"]["n_cells_without_counts"] == "1"
    assert found.obs["psbulk_cells"].sum() == N_CELLS - 5
    kept_n = ~np.isin(np.arange(N_CELLS), [0, 1, 2, 3, 5])
    np.testing.assert_array_equal(found.X.sum(axis=0), counts()[kept_n].sum(axis=0))


def test_the_manifest_has_the_numbers_of_cells_that_are_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    values_ng = counts().astype(np.float64)
    values_ng[5:11] += 0.25
    donors = pd.Series(SAMPLE_N, dtype=object)
    donors[donors.index < 4] = None
    data = file_of(sp.csr_matrix(values_ng), tmp_path, donor=pd.Categorical(donors))
    merged = merge()
    facts = sum_counts(merged, wanted_of(data, "donor")).facts
    assert (facts.n_cells, facts.n_without_counts, facts.n_without_sample) == (N_CELLS - 10, 6, 4)
    n_groups = len(set(zip(labels_of(merged)[11:], SAMPLE_N[11:], strict=True)))
    assert facts.n_groups == n_groups
    said = remarks_with(merged, facts)
    assert "pseudobulk.h5ad leaves out 1.7% of the cells: " in said
    assert "6 cells with values that are not whole counts and 4 cells without a sample." in said
    assert "leaves out" not in remarks_with(merged, facts.model_copy(update=NONE_LEFT_OUT))
    assert "leaves out" not in remarks_with(merged, None)


NONE_LEFT_OUT = {"n_without_counts": 0, "n_without_sample": 0}


def remarks_with(merged: Merge, facts: PseudobulkFacts | None) -> str:
    context = replace(context_of(tuple(LABELS)), sums=facts)
    return " ".join(one.message for one in gather(findings_of(merged), context, NoMap("none")).remarks)


def test_estimated_counts_of_which_no_cell_is_whole_make_no_empty_file(tmp_path: Path) -> None:
    values_ng = counts().astype(np.float64)
    values_ng[np.arange(N_CELLS), 4 + np.arange(N_CELLS) % (N_GENES - 4)] += 0.5
    wanted = wanted_of(file_of(sp.csr_matrix(values_ng), tmp_path, donor=SAMPLE_N), "donor")
    with pytest.raises(NoPseudobulkError, match=r"No cell can be summed: 600 have values in X .* Round estimated"):
        sum_counts(merge(), wanted)


def test_names_of_groups_differ_even_if_they_read_alike(tmp_path: Path) -> None:
    labels = [Label(name="B"), Label(name="x_B")]
    draws = Draws(PartLayout(N_CELLS, n_labels=2, top_k=2), softmax=True)
    data = file_of(sp.csr_matrix(counts()), tmp_path, donor=SAMPLE_N)
    found = opened(written(merge_of(draws, 1, None, labels), wanted_of(data, "donor")), tmp_path)
    assert {"s1_x_B", "s1_x_B-1"} <= set(found.obs_names)


def log_normalised(values_ng: Counts) -> sp.csr_matrix[np.float32]:
    return sp.csr_matrix(np.log1p(values_ng / values_ng.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))


def test_a_file_without_counts_has_none_and_the_reason_says_so(tmp_path: Path) -> None:
    values_ng = np.random.default_rng(2).poisson(1.2, (N_CELLS, N_GENES))
    wanted = wanted_of(file_of(log_normalised(values_ng), tmp_path))
    with pytest.raises(NoPseudobulkError, match="no counts to sum: X was used"):
        sum_counts(merge(), wanted)


def test_more_groups_than_memory_is_given_for_are_refused_with_a_reason(tmp_path: Path) -> None:
    data = file_of(sp.csr_matrix(counts()), tmp_path, donor=SAMPLE_N)
    with pytest.raises(NoPseudobulkError, match=r"more than 3 combinations .* 40 genes"):
        sum_counts(merge(), wanted_of(data, "donor", most_values=3 * N_GENES))
    assert sum_counts(merge(), wanted_of(data, None, most_values=3 * N_GENES)).cells_p.sum() == N_CELLS


def test_memory_for_sums_is_taken_as_groups_appear(tmp_path: Path) -> None:
    many = np.array([f"s{row % 150}" for row in range(N_CELLS)])
    wanted = wanted_of(file_of(sp.csr_matrix(counts()), tmp_path, donor=many), "donor", MOST_VALUES)
    merged = merge()
    tracemalloc.start()
    found = sum_counts(merged, wanted)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.row_of) > 150
    assert peak_bytes < MOST_VALUES
    assert found.cells_p.sum() == N_CELLS
    assert found.sums_pg.sum() == counts().sum()


@dataclass
class Counting:
    """A source that counts the bytes that are read."""

    inner: BytesSource
    n_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return self.inner.size_bytes

    def read(self, span: ByteRange) -> bytes:
        self.n_bytes += span.length
        return self.inner.read(span)

    def read_many(self, spans: Sequence[ByteRange]) -> list[bytes]:
        return [self.read(span) for span in spans]


def test_a_matrix_stored_by_columns_is_not_read_again_for_every_group_of_rows(tmp_path: Path) -> None:
    n_cells, n_genes = 3 * GROUP_ROWS, 12
    values_ng = np.random.default_rng(1).integers(0, 3, (n_cells, n_genes))
    path = tmp_path / "cells.h5ad"
    var = pd.DataFrame(index=[f"ENSG{place:011d}" for place in range(n_genes)])
    ad.AnnData(sp.csc_matrix(values_ng.astype(np.float32)), var=var).write_h5ad(path)
    data = path.read_bytes()
    wanted = wanted_of(data)
    source = Counting(BytesSource(data))
    merged = merge_of(Draws(PartLayout(n_cells, n_labels=2, top_k=2), softmax=True), 1, None, LABELS)
    found = sum_counts(merged, replace(wanted, source=source))
    labels = labels_of(merged)
    for (label, _), row in found.row_of.items():
        np.testing.assert_array_equal(found.sums_pg[row], values_ng[labels == found.names[label]].sum(axis=0))
    # Every index is read twice and every value once, of 4 bytes each; the rest is head, tail and pointers.
    assert source.n_bytes < 3 * 4 * np.count_nonzero(values_ng) + 2**22


def test_a_column_that_is_gone_is_a_reason(tmp_path: Path) -> None:
    data = file_of(sp.csr_matrix(counts()), tmp_path)
    with pytest.raises(NoPseudobulkError, match="Samples cannot be told apart: obs has no column 'donor'"):
        sum_counts(merge(), wanted_of(data, "donor"))


def test_antibodies_are_no_genes(tmp_path: Path) -> None:
    data = file_of(sp.csr_matrix(counts()), tmp_path)
    cells = opened(data, tmp_path)
    cells.var["feature_types"] = ["Gene Expression"] * (N_GENES - 2) + ["Antibody Capture"] * 2
    path = tmp_path / "mixed.h5ad"
    cells.write_h5ad(path)
    found = opened(written(merge(), wanted_of(path.read_bytes())), tmp_path)
    assert found.var_names.tolist() == cells.var_names[: N_GENES - 2].tolist()
    np.testing.assert_array_equal(found.X.sum(axis=0), counts()[:, : N_GENES - 2].sum(axis=0))


def test_the_report_tells_how_to_go_on_with_the_sums_if_there_are_any(tmp_path: Path) -> None:
    merged = merge()
    labels = tuple(LABELS)
    there = FileFacts(name=PSEUDOBULK.name, size_bytes=1, crc32c=None, content_type="x", what="Sums.")
    with_sums = replace(context_of(labels), files=(there,))
    data, plain = (gather(findings_of(merged), context, NoMap("none")) for context in (with_sums, context_of(labels)))
    (added,) = [one for one in data.snippets if one.title not in {other.title for other in plain.snippets}]
    (tmp_path / PSEUDOBULK.name).write_bytes(written(merged, wanted_of(file_of(sp.csr_matrix(counts()), tmp_path))))
    known: dict[str, Any] = {"sc": scanpy}
    exec(added.code.replace('"pseudobulk', f'"{tmp_path}/pseudobulk'), known)
    own_n = labels_of(merged) == data.labels[0].name
    np.testing.assert_array_equal(known["counts"].to_numpy()[0], counts()[own_n].sum(axis=0))
