"""Several models are compared on the cells whose own label all of them have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anndata
import pytest

from jobs.modeling.common_cells import Common, by_file, common_heads, common_rows, commons, different_words
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


def evaluated(model: TrainedModel, file: Path, mapping: Mapping[str, str] = MAST) -> Evaluated:
    """One evaluation; each cell by itself, whatever others are in the file."""
    report = evaluate(model.card, model.tensors, file, "label", mapping, composition=False)
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
            different=False,
            n_lineage_cells=210,
            lineage_accuracy=(by_lineage, by_lineage),
            lineages_different=False,
        )
    ]


def with_lineages(model: TrainedModel, *names: str) -> TrainedModel:
    """The same model, whose labels have other lineages: of the names given, in this order; without names none."""
    given = names or (None,) * len(model.card.labels)
    labels = tuple(
        label.model_copy(update={"lineage": name}) for label, name in zip(model.card.labels, given, strict=True)
    )
    return replace(model, card=model.card.model_copy(update={"labels": labels}))


def test_a_model_without_lineages_is_compared_on_the_same_cells(three: TrainedModel, tmp_path: Path) -> None:
    file = Population({**SIZES, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    (common,) = commons([evaluated(three, file), evaluated(with_lineages(three), file)])
    assert (common.n_cells, common.different, common.lineages_different) == (180, False, False)
    assert common.accuracy[0] == common.accuracy[1]
    assert (common.n_lineage_cells, common.lineage_accuracy, different_words(common)) == (0, (), "")


def test_lineages_are_compared_only_between_models_that_have_the_same(three: TrainedModel, tmp_path: Path) -> None:
    file = Population({**SIZES, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    one, other = evaluated(three, file), evaluated(with_lineages(three, "B", "innate", "T"), file)
    (two_sets,) = commons([one, other])
    assert (two_sets.different, two_sets.lineages_different, two_sets.lineage_accuracy) == (False, True, ())
    assert "By lineage, they cannot be compared" in different_words(two_sets)
    assert common_heads(two_sets) == ["model", "accuracy (180 cells)"]
    (three_models,) = commons([one, other, one])
    assert three_models.n_lineage_cells == 210
    assert [place for place, share in enumerate(three_models.lineage_accuracy) if share is None] == [1]
    assert "which model is better" not in different_words(three_models)
    assert common_rows(three_models)[1][2] == "-"


def test_models_that_share_only_lineages_are_not_called_better(three: TrainedModel, tmp_path: Path) -> None:
    file = Population({**SIZES, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    renamed = tuple(label.model_copy(update={"name": f"my {place}"}) for place, label in enumerate(three.card.labels))
    other = replace(three, card=three.card.model_copy(update={"labels": renamed}))
    lineages = dict(zip(["B", "NK", "T"], ["my 0", "my 1", "my 2"], strict=True))
    (same,) = commons([evaluated(three, file), evaluated(other, file, lineages)])
    assert (same.n_cells, same.different) == (180, False), "the table of lineages also names labels"
    lineages = {"B": "lymphoid", "NK": "innate", "T": "lymphoid"}
    (common,) = commons([evaluated(three, file), evaluated(other, file, lineages)])
    assert (common.n_cells, common.accuracy, common.different) == (0, (), True)
    assert common.n_lineage_cells == 180
    words = different_words(common)
    assert "do not say which model is better" in words
    assert "which model finds lineages better, not which one labels better" in words
    assert common_heads(common) == ["model", "lineages (180 cells)"]


def test_what_cannot_be_compared_has_nothing_in_common(three: TrainedModel, tmp_path: Path) -> None:
    file = Population(SIZES, seed=5).write(tmp_path / "a.h5ad")
    failed = Evaluated(three.card, file, "other", error=LabelsNotComparableError("no", expected="yes"))
    one = evaluated(three, file)
    assert commons([one, failed]) == []
    assert [[len(group), group[0].column] for group in by_file([one, failed, one])] == [[2, "label"], [1, "other"]]
