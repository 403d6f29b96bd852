"""Several models are compared on the cells whose own label all of them have."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest

from jobs.modeling.common_cells import Common, by_file, commons
from jobs.modeling.evaluated import Evaluated
from jobs.modeling.evaluation import evaluate
from jobs.modeling.training import TrainedModel, train
from shared.domain.errors import LabelsNotComparableError
from tests.modeling.synthetic import SMALL, Population, quick

SIZES = {"B": 60, "NK": 60, "T": 60}
MAST = {"Mast": "innate"}


@pytest.fixture(scope="module")
def three() -> TrainedModel:
    return train(SMALL.cells(), quick(), lambda _: None)


@pytest.fixture(scope="module")
def two() -> TrainedModel:
    return train(Population({"B": 60, "T": 60}).cells(), quick(), lambda _: None)


def evaluated(model: TrainedModel, file: Path) -> Evaluated:
    """One evaluation; each cell by itself, whatever others are in the file."""
    report = evaluate(model.card, model.tensors, file, "label", MAST, composition=False)
    return Evaluated(model.card, file, "label", report)


def test_figures_on_the_common_cells_are_those_of_a_file_with_these_cells_alone(
    three: TrainedModel, two: TrainedModel, tmp_path: Path
) -> None:
    cells = Population({**SIZES, "Mast": 30}, fold=2.0, seed=5)
    file, few = cells.write(tmp_path / "all.h5ad"), tmp_path / "few.h5ad"
    adata = anndata.read_h5ad(file)
    adata[adata.obs["label"].isin(["B", "T"])].copy().write_h5ad(few)
    (common,) = commons([evaluated(three, file), evaluated(two, file)])
    alone = [evaluated(model, few).report for model in (three, two)]
    assert (common.n_cells, common.different) == (120, True)
    assert common.models == (three.card.reference, two.card.reference)
    assert common.accuracy == pytest.approx([one.labels.accuracy for one in alone if one and one.labels])
    assert max(common.accuracy) < 1, "a file in which nothing is wrong shows little"


def test_models_with_the_same_labels_are_compared_on_the_same_cells(three: TrainedModel, tmp_path: Path) -> None:
    file = Population({**SIZES, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    one = evaluated(three, file)
    assert one.report is not None
    assert one.report.labels is not None
    assert one.report.lineages is not None
    accuracy, by_lineage = one.report.labels.accuracy, one.report.lineages.accuracy
    assert commons([one, one]) == [
        Common(
            file=file,
            column="label",
            models=(three.card.reference,) * 2,
            n_cells=180,
            accuracy=(accuracy, accuracy),
            n_lineage_cells=210,
            lineage_accuracy=(by_lineage, by_lineage),
            different=False,
        )
    ]


def test_what_cannot_be_compared_has_nothing_in_common(three: TrainedModel, tmp_path: Path) -> None:
    file = Population(SIZES, seed=5).write(tmp_path / "a.h5ad")
    failed = Evaluated(three.card, file, "other", error=LabelsNotComparableError("no", expected="yes"))
    one = evaluated(three, file)
    assert commons([one, failed]) == []
    assert [[len(group), group[0].column] for group in by_file([one, failed, one])] == [[2, "label"], [1, "other"]]
