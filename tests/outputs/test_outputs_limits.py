"""Where a threshold of the results lies, on both sides: abstaining, close runners-up, the type of a label's code."""

from __future__ import annotations

import io
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from jobs.inference.annotated.h5ad import NewColumns, write_annotated_h5ad
from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.groups import Merge, ordered
from jobs.inference.merge.survey import Survey
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.parts.part import AnnotatedBlock, PartLayout
from jobs.inference.report.gathering import confusions
from shared.bundles.card import UNASSIGNED, Label
from shared.domain.geometry import Rows
from shared.h5ad.source import BytesSource
from shared.ports.blobs import BlobInfo
from tests.outputs.stand_ins import Shelf, facts_without_counts, keep_part

F32 = np.float32


def scored(probability_nl: np.ndarray, names: list[str], min_score: float | None = None) -> Merge:
    """Cells with these very scores, as a part has them."""
    n_cells, n_labels = probability_nl.shape
    layout = PartLayout(n_cells, n_labels, 2)
    shelf = Shelf()
    blocks = [
        AnnotatedBlock(
            rows,
            [f"cell-{row}" for row in range(rows.start, rows.stop)],
            probability_nl[rows.start : rows.stop],
            probability_nl[rows.start : rows.stop],
            facts_without_counts(np.full(len(rows), 500, np.int32)),
        )
        for rows in Rows(0, n_cells).blocks()
    ]
    receipt = keep_part(shelf, "part", blocks, layout, Rows(0, n_cells))
    labels = tuple(Label(name=name) for name in names)
    return Merge(shelf, ordered([receipt], n_cells), layout, Vocabulary(labels), Rules(min_score))


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.7, 1.0])
def test_a_cell_abstains_below_the_threshold_and_not_at_it(threshold: float) -> None:
    at, below = F32(threshold), np.nextafter(F32(threshold), F32(0))
    scores = np.array([[at, 0], [below, 0], [0, at], [0, below]], F32)
    merge = scored(scores, ["T cell", "B cell"], min_score=threshold)
    frame = pd.read_parquet(io.BytesIO(b"".join(annotations_parquet(merge.tables(), {}))))
    assert frame["label"].tolist() == ["T cell", UNASSIGNED, "B cell", UNASSIGNED]
    assert frame["abstained"].tolist() == [False, True, False, True]


@pytest.mark.parametrize(("runner_up", "close"), [(0.4, True), (0.399, False), (0.3, False), (0.8, True)])
def test_a_runner_up_is_close_from_half_of_the_best_score_on(
    runner_up: float,
    close: bool,  # of a table
) -> None:
    scores = np.tile(np.array([[0.8, runner_up]], F32), (100, 1))
    survey = Survey(scored(scores, ["T cell", "NK cell"]))
    list(survey.tables())
    assert [one.cells for one in confusions(survey.findings().tally)] == ([100] if close else [])


@pytest.mark.parametrize(("n_labels", "code_type"), [(128, "int8"), (129, "int16"), (200, "int16")])
def test_a_model_of_many_labels_keeps_each_in_annotated_h5ad(n_labels: int, code_type: str, tmp_path: Path) -> None:
    names = [f"type {number:03}" for number in range(n_labels)]
    merge = scored(np.eye(n_labels, dtype=F32), names)
    survey = Survey(merge)
    list(survey.tables())
    columns = NewColumns.of(merge, survey.findings().tally, {}, beat=lambda: None)
    cells = ad.AnnData(sp.csr_matrix(np.eye(n_labels, 5, dtype=F32)))
    cells.obs_names = [f"cell-{row}" for row in range(n_labels)]
    cells.write_h5ad(tmp_path / "in.h5ad")
    shelf = Shelf()
    source = BytesSource((tmp_path / "in.h5ad").read_bytes())
    outcome = write_annotated_h5ad(shelf, "results", "a.h5ad", source, columns)
    assert isinstance(outcome, BlobInfo), outcome
    written = tmp_path / "out.h5ad"
    written.write_bytes(shelf.read(outcome.ref))
    assert ad.read_h5ad(written).obs["celldrop_label"].tolist() == names
    with h5py.File(written) as file:
        assert file["obs/celldrop_label/codes"].dtype == code_type
