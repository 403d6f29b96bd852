"""Our import and our arithmetic give SCimilarity's own answers, cell for cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.modeling.scimilarity import import_scimilarity
from tests.scimilarity.library import MODEL, Answers, Theirs, ask_scimilarity, first_cells, kept, ours

TOLERANCE = 1e-5
"""SCimilarity computes in float32, where rounding moves a coordinate by some 1e-7."""
SMOOTHED = 0.02
"""A score is a share of 51 votes, one of which is of all labels in equal parts."""


def test_cells_get_the_labels_and_coordinates_that_scimilarity_gave_them() -> None:
    theirs, genes, counts_ng = kept()
    card, tensors = import_scimilarity(MODEL, name="imported", version="1")
    _compare(ours(card, tensors, genes, counts_ng), theirs, same=1.0)


@pytest.mark.exhaustive
def test_two_thousand_cells_get_the_answers_of_scimilarity(data_dir: Path, tmp_path: Path) -> None:
    h5ad = data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    theirs = ask_scimilarity(h5ad, 2_000, tmp_path)
    card, tensors = import_scimilarity(MODEL, name="imported", version="1")
    found = ours(card, tensors, *first_cells(h5ad, 2_000))
    _compare(found, theirs, same=0.999)
    assert (found.labels == theirs.by_index).mean() >= 0.99


def _compare(found: Answers, theirs: Theirs, *, same: float) -> None:
    assert len(found.labels) == len(theirs.labels)
    assert (found.labels == theirs.labels).mean() >= same
    np.testing.assert_allclose(found.embedding, theirs.embedding, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.share, theirs.share, rtol=0, atol=SMOOTHED)
