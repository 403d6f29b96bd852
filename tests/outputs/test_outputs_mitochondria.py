"""The share of counts in mitochondrial genes: exact, without a change to what the model sees, and told alike."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from jobs.inference.annotated.h5ad import absent_of
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.survey import Survey
from jobs.inference.outputs.annotation_files import annotations_csv
from jobs.inference.parts.part import PartLayout
from jobs.inference.report.gathering import gather
from jobs.inference.report.mapping import NoMap
from jobs.inference.task.mitochondria import Mitochondria
from shared.bundles.card import Label
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote
from shared.h5ad.read.blocks import RowBlock
from shared.h5ad.read.projected import ProjectedBlock
from shared.h5ad.read.projecting import projected_by_numpy, with_silent_cells
from tests.outputs.stand_ins import Draws, merge_of
from tests.outputs.test_outputs_report import context_of

CODING = [
    f"MT-{name}" for name in ["ND1", "ND2", "ND3", "ND4", "ND4L", "ND5", "ND6", "CYB", "CO1", "CO2", "CO3", "ATP6"]
]
NAMES = ["CD3D", *CODING[:6], "LYZ", "MALAT1", *CODING[6:], "MT-RNR2"]
FEATURE_G = np.full(len(NAMES), -1, np.int32)
FEATURE_G[[0, 2, 7, 12]] = [2, 0, 1, 3]
"""The model knows two mitochondrial genes, and CD3D and LYZ."""
OWN_G = np.array([name.startswith("MT-") for name in NAMES])


def counts(n_cells: int = 300) -> sp.csr_matrix:
    draw = np.random.default_rng(3)
    found_ng = draw.poisson(0.6, (n_cells, len(NAMES)))
    found_ng[5] = 0
    found_ng[6] = np.where(OWN_G & (FEATURE_G < 0), 4, 0)
    return sp.csr_matrix(found_ng.astype(np.float32))


def projected(matrix: sp.csr_matrix, feature_g: np.ndarray[tuple[int], np.dtype[np.int32]]) -> ProjectedBlock:
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    block = RowBlock(Rows(512, 512 + matrix.shape[0]), indptr=indptr, indices=indices, data=matrix.data)
    return with_silent_cells(projected_by_numpy(block, feature_g))


def test_shares_are_exact_and_the_model_sees_what_it_would_have_seen() -> None:
    matrix = counts()
    found = Mitochondria.among(NAMES, FEATURE_G)
    assert found is not None
    seen = found.look(projected(matrix, found.feature_g))
    dense_ng = matrix.toarray().astype(np.float64)
    with np.errstate(invalid="ignore"):
        wanted_n = (dense_ng[:, OWN_G].sum(axis=1) / dense_ng.sum(axis=1)).astype(np.float32)
    np.testing.assert_array_equal(found.share_of.pop(512), wanted_n)
    assert np.isnan(wanted_n).tolist() == [row == 5 for row in range(300)]
    alone = projected(matrix, FEATURE_G)
    assert alone.note_n[6] == CellNote.SILENT
    for name in ("indptr", "feature", "value", "total_n", "n_genes_n", "note_n"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(alone, name), err_msg=name)
        assert getattr(seen, name).dtype == getattr(alone, name).dtype


def test_a_file_without_mitochondrial_genes_is_read_as_ever() -> None:
    assert Mitochondria.among(["CD3D", "LYZ", *CODING[:3]], FEATURE_G[:5]) is None


def merged(*, mito: bool = True) -> Merge:
    draws = Draws(PartLayout(700, n_labels=4, top_k=2), counted=True, mito=mito)
    return merge_of(draws, 3, None, [Label(name=name) for name in ("a", "b", "c", "d")])


@pytest.mark.parametrize("mito", [True, False])
def test_column_counts_and_report_agree(*, mito: bool) -> None:
    merge = merged(mito=mito)
    frame = pd.read_csv(io.BytesIO(b"".join(annotations_csv(merge.tables()))), compression="gzip")
    survey = Survey(merge)
    list(survey.tables())
    findings = survey.findings()
    share_n = frame["mito_share"].dropna()
    assert ("mito_share" in absent_of(findings.tally)) == (not mito)
    assert findings.tally.mito_b.sum() == len(share_n) == (690 if mito else 0)
    assert findings.tally.n_much_mito == (share_n > 0.2).sum()
    labels = merge.vocabulary.labels
    data = gather(findings, replace(context_of(labels)), NoMap("none"))
    remarks = [notice.message for notice in data.remarks if "mitochondrial" in notice.message]
    if not mito:
        assert (data.mitochondria, remarks) == ("", [])
        return
    high, told = int((share_n > 0.2).sum()), re.search(r"genes: (\d+)% in the median cell", data.mitochondria)
    assert told is not None
    assert float(told[1]) == pytest.approx(share_n.median() * 100, abs=0.6)
    assert f"{high} cells ({high / 690:.0%}) have more than 20%" in data.mitochondria
    assert remarks == [f"{high} cells ({high / 690:.0%}) have more than 20% of their counts in mitochondrial genes."]
