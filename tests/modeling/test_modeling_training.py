"""Training learns what is there, finds nothing where nothing is, and says so on its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from safetensors.torch import save

from jobs.modeling.bundles import write_bundle
from jobs.modeling.evaluation import evaluate
from jobs.modeling.kinds.table import RECIPES
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.reporting import Progress
from jobs.modeling.settings import ClassWeights, TrainingSettings
from jobs.modeling.splits import hold_out
from jobs.modeling.trainable import check_trainable, training_warnings, without_rare
from jobs.modeling.training import TrainedModel, train
from shared.bundles.card import Activation, Features, Kind, Label
from shared.bundles.groups import Group
from shared.bundles.stored import card_bytes, parse_card
from shared.domain.errors import InvalidOptionError, NoMatrixError, TrainingDataError
from tests.modeling.synthetic import MARKERS_EACH, SMALL, Population, names_of, quick, shuffled


def nothing(_: Progress) -> None:
    pass


@pytest.fixture(scope="module", params=RECIPES)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def small(kind: Kind) -> TrainedModel:
    return train(SMALL.cells(), quick(kind=kind), nothing)


def accuracy(model: TrainedModel) -> float:
    assert model.report.held_out.labels is not None
    return model.report.held_out.labels.accuracy


def test_labels_with_clear_markers_are_learnt(small: TrainedModel) -> None:
    assert accuracy(small) >= 0.97


def test_shuffled_labels_are_not_better_than_chance(kind: Kind) -> None:
    cells = shuffled(Population({"B": 150, "NK": 150, "T": 150}).cells())
    model = train(cells, quick(kind=kind), nothing)
    # 90 held-out cells of three labels: chance is 1/3, and 0.15 is three standard deviations.
    assert abs(accuracy(model) - 1 / 3) < 0.15
    assert abs(model.report.choice.best.accuracy_mean - 1 / 3) < 0.1


def test_two_runs_give_the_same_bytes(small: TrainedModel, kind: Kind) -> None:
    again = train(SMALL.cells(), quick(kind=kind), nothing)
    assert save(dict(again.tensors)) == save(dict(small.tensors))
    assert card_bytes(again.card) == card_bytes(small.card)


def test_another_seed_holds_out_other_cells(small: TrainedModel, kind: Kind) -> None:
    other = train(SMALL.cells(), quick(kind=kind, seed=1), nothing)
    assert save(dict(other.tensors)) != save(dict(small.tensors))


def test_the_most_informative_genes_are_chosen() -> None:
    model = train(SMALL.cells(), quick(n_genes=3 * MARKERS_EACH), nothing)
    assert list(model.card.features.symbol) == SMALL.genes[: 3 * MARKERS_EACH]


def test_only_genes_of_the_named_table_are_used() -> None:
    wanted = ("GENE3", "GENE7", "GENE11", "GENE40", "ELSEWHERE")
    settings = quick(features_from=Features(symbol=wanted), features_source="list")
    model = train(SMALL.cells(), settings, nothing)
    assert model.card.features.symbol == wanted[:-1]
    assert model.card.training.parameters["genes_from"] == "list"


def test_a_table_without_a_shared_gene_is_refused() -> None:
    with pytest.raises(TrainingDataError, match=r"no gene to learn from: .*ELSEWHERE.*GENE0, GENE1"):
        train(SMALL.cells(), quick(features_from=Features(symbol=("ELSEWHERE",))), nothing)


@pytest.mark.parametrize(("left", "refused"), [(0, True), (9, True), (10, False)])
def test_a_label_with_hardly_a_cell_that_expresses_a_gene_is_refused(left: int, refused: bool) -> None:
    cells = SMALL.cells()
    value_ng = cells.value_ng.tolil()
    value_ng[np.flatnonzero(cells.class_n == 1)[left:]] = 0
    emptied = replace(cells, value_ng=value_ng.tocsr())
    settings = quick(min_cells_per_label=10)
    if not refused:
        check_trainable(emptied, settings)
        return
    with pytest.raises(TrainingDataError, match="nearly all cells of 'NK' have no value above 0 in X") as error:
        train(emptied, settings, nothing)
    assert "at least 10 cells of each label that express a gene" in str(error.value.expected)


def test_balanced_weights_rescue_a_rare_label() -> None:
    cells = Population({"B": 600, "T": 30}, fold=1.8).cells()
    balanced, plain = (
        train(cells, quick(class_weights=weights, thinned_to=None), nothing)
        for weights in (ClassWeights.BALANCED, ClassWeights.NONE)
    )
    assert recall(balanced, "T") > recall(plain, "T")


def recall(model: TrainedModel, label: str) -> float:
    return model.card.training.per_label[label]["recall"]


def test_the_final_weights_are_a_fit_to_all_cells_unless_told_otherwise(small: TrainedModel, kind: Kind) -> None:
    split = train(SMALL.cells(), quick(kind=kind, refit_on_all=False), nothing)
    assert (small.card.training.n_cells, split.card.training.n_cells) == (180, 144)
    assert small.card.training.parameters["refit_on_all"] is True
    assert split.card.training.parameters["refit_on_all"] is False
    assert small.card.training.metrics == split.card.training.metrics
    assert save(dict(small.tensors)) != save(dict(split.tensors))


def test_held_out_cells_do_not_touch_weights_that_are_not_refitted(kind: Kind) -> None:
    cells = SMALL.cells()
    settings = quick(kind=kind, refit_on_all=False)
    model = train(cells, settings, nothing)
    generator = np.random.default_rng(settings.seed)
    held = hold_out(cells.class_n, settings.held_out_share, generator)
    spoilt_ng = cells.value_ng.tolil()
    spoilt_ng[np.flatnonzero(held)] = 1.0
    spoilt = train(replace(cells, value_ng=spoilt_ng.tocsr()), settings, nothing)
    assert save(dict(spoilt.tensors)) == save(dict(model.tensors))
    assert accuracy(spoilt) < accuracy(model)


def test_the_card_says_what_the_model_is_and_how_good(small: TrainedModel) -> None:
    card = small.card
    assert card.activation is Activation.SOFTMAX
    assert [step.step for step in card.preprocessing] == ["normalise", "log1p", "standardise"]
    assert names_of(card.labels) == ["B", "NK", "T"]
    assert card.labels[0].ontology_id == "CL:0000236"
    assert card.labels[0].lineage == "lymphoid"
    assert {"accuracy", "balanced_accuracy", "macro_f1", "lineage_accuracy", "calibration_error"} <= set(
        card.training.metrics
    )
    assert card.training.per_label["T"]["support"] == 12


def test_a_written_bundle_annotates_a_file_of_new_cells(small: TrainedModel, tmp_path: Path) -> None:
    card = write_bundle(tmp_path, small.card, small.tensors)
    file = Population({"B": 40, "NK": 40, "T": 40}, seed=99).write(tmp_path / "new.h5ad")
    report = evaluate(card, small.tensors, file, "label")
    assert report.labels is not None
    assert report.labels.accuracy >= 0.97


def test_more_cells_than_the_limit_are_sampled() -> None:
    model = train(SMALL.cells(), quick(max_cells=90), nothing)
    assert model.card.training.n_cells == 90


def test_progress_rises_to_the_end(kind: Kind) -> None:
    told: list[Progress] = []
    train(SMALL.cells(), quick(kind=kind), told.append)
    done = [step.done for step in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].total
    assert {"fold 1 of 3", "without the held-out cells", "all cells"} <= {step.stage for step in told}


def of_values(values: Any, folder: Path) -> LabelledCells:
    """The cells as they are read from a file with these values."""
    cells = SMALL.cells()
    obs = pd.DataFrame({"label": [cells.labels[place].name for place in cells.class_n]})
    obs.index = pd.Index([f"cell{place}" for place in range(len(obs))])
    var = pd.DataFrame(index=pd.Index(SMALL.genes))
    path = folder / "cells.h5ad"
    anndata.AnnData(sp.csr_matrix(values).astype(np.float32), obs=obs, var=var).write_h5ad(path)
    return read_labelled(path, "label")


def scaled(total: float) -> sp.csr_matrix:
    counts_ng = SMALL.counts().astype(np.float64)
    return sp.csr_matrix(counts_ng / counts_ng.sum(axis=1, keepdims=True) * total)


UNCOUNTED = {
    "log1p of 10,000": scaled(1e4).log1p(),
    "log1p of a million": scaled(1e6).log1p(),
    "log2 of 10,000": scaled(1e4).log1p() / np.log(2),
    "log10 of 10,000": scaled(1e4).log1p() / np.log(10),
    "a total of 1,234.5": scaled(1234.5),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_without_counts_the_model_is_the_one_of_counts_that_are_not_thinned(name: str, tmp_path: Path) -> None:
    cells = of_values(UNCOUNTED[name], tmp_path)
    model = train(cells, quick(), nothing)
    counted = train(of_values(SMALL.counts(), tmp_path), quick(thinned_to=None), nothing)
    assert model.card.training.parameters["thinned_to"] is None
    assert model.card.features == counted.card.features
    # float32 values that were scaled, logged and undone: a relative error of 1e-6 in the expression.
    np.testing.assert_allclose(model.tensors["mean"], counted.tensors["mean"], rtol=1e-5)
    np.testing.assert_allclose(model.tensors["coef"], counted.tensors["coef"], rtol=1e-2, atol=1e-3)
    assert "TRAINED_WITHOUT_COUNTS" in [warning.code for warning in training_warnings(cells)]


def test_an_odd_fraction_among_counts_changes_nothing_else(tmp_path: Path) -> None:
    counts_ng = sp.csr_matrix(SMALL.counts()).astype(np.float64)
    counts_ng.data[0] += 0.5
    cells = of_values(counts_ng, tmp_path)
    model = train(cells, quick(), nothing)
    assert model.card.training.parameters["thinned_to"] == quick().thinned_to
    assert "TRAINED_WITHOUT_COUNTS" not in [warning.code for warning in training_warnings(cells)]


def test_values_that_prove_nothing_are_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(NoMatrixError, match="counts") as caught:
        of_values(scaled(1e4).log1p().toarray() - 0.5, tmp_path)
    assert "counts" in caught.value.hint


def test_one_label_is_refused() -> None:
    with pytest.raises(TrainingDataError, match="at least two labels"):
        train(Population({"B": 60}).cells(), quick(), nothing)


def test_no_labelled_cell_is_refused() -> None:
    empty = replace(SMALL.cells().take(np.zeros(180, dtype=bool)), labels=())
    with pytest.raises(TrainingDataError, match="no labelled cell"):
        train(empty, quick(), nothing)


def test_a_rare_label_is_refused_by_name_and_number() -> None:
    with pytest.raises(TrainingDataError, match=r"'NK' \(5\)") as caught:
        train(Population({"B": 60, "NK": 5}).cells(), quick(), nothing)
    assert caught.value.code == "TRAINING_DATA_UNUSABLE"


@pytest.mark.parametrize("changes", [{"name": "No Capitals"}, {"version": "1 0"}])
def test_a_bad_name_or_version_is_refused_before_training(changes: dict[str, str]) -> None:
    told: list[Progress] = []
    with pytest.raises(InvalidOptionError):
        train(SMALL.cells(), quick(**changes), told.append)
    assert told == []


def test_default_settings_are_those_of_the_card(small: TrainedModel, kind: Kind) -> None:
    settings = TrainingSettings(name="small", version="1.0.0")
    parameters = small.card.training.parameters
    assert parameters["held_out_share"] == settings.held_out_share
    assert parameters[RECIPES[kind].candidate] == small.report.choice.candidate
    assert RECIPES[kind].parameters(settings).keys() <= parameters.keys()


@pytest.mark.parametrize(("field", "text"), [("lineage", "Unassigned"), ("name", "a\0b"), ("name", " ")], ids=repr)
def test_labels_that_no_card_has_are_refused_before_training(field: str, text: str) -> None:
    cells = SMALL.cells()
    cells = replace(cells, labels=(cells.labels[0].model_copy(update={field: text}), *cells.labels[1:]))
    seen: list[Progress] = []
    with pytest.raises(TrainingDataError, match="no model can have these labels"):
        train(cells, quick(), seen.append)
    assert seen == []


def test_labels_with_few_cells_are_left_out_by_name() -> None:
    cells = Population({"B": 60, "Mast": 7, "NK": 60, "T": 60}).cells()
    kept, left_out = without_rare(cells, 20)
    assert left_out == {"Mast": 7}
    assert [label.name for label in kept.labels] == ["B", "NK", "T"]
    assert np.bincount(kept.class_n).tolist() == [60, 60, 60]
    whole = cells.value_ng.toarray()[cells.class_n != 1]
    assert (kept.value_ng.toarray() == whole).all()
    assert without_rare(cells, 7) == (cells, {})
    with pytest.raises(TrainingDataError, match="too few cells of 'Mast'"):
        train(cells, quick(), nothing)
    assert [label.name for label in train(cells, quick(min_cells_per_label=5), nothing).card.labels][1] == "Mast"


def test_labels_that_no_card_can_have_are_refused_before_any_training() -> None:
    def never(progress: Progress) -> None:
        pytest.fail(f"training began: {progress.stage}")

    cells = SMALL.cells()
    first, second, third = cells.labels
    wrong = {
        f"each label must have a name of its own, found {first.name!r} again": (first, first, third),
        "a lineage must have a name": (first.model_copy(update={"lineage": "Unassigned"}), second, third),
    }
    for reason, labels in wrong.items():
        with pytest.raises(TrainingDataError, match=reason) as caught:
            train(replace(cells, labels=labels), quick(), never)
        assert "Value error" not in caught.value.message
        assert "--names" in caught.value.hint
    tree = (Group(name="pair", labels=(first.name, second.name)),)
    with pytest.raises(TrainingDataError, match="a name of its own"):
        train(replace(cells, labels=(first, second, second)), quick(tree=tree), never)


@pytest.mark.parametrize("name", ["Unassigned", "unassigned", "UNASSIGNED"])
def test_a_label_that_means_none_cannot_be_trained_but_an_old_card_may_have_it(name: str) -> None:
    cells = SMALL.cells()
    called = (Label(name=name), *cells.labels[1:])
    with pytest.raises(TrainingDataError, match=f"a label is called '{name}'") as caught:
        train(replace(cells, labels=called), quick(), nothing)
    assert "without a label" in caught.value.hint
    card = train(cells, quick(), nothing).card
    old = card.model_dump_json().replace(f'"name":"{card.labels[0].name}"', f'"name":"{name}"')
    assert parse_card(old.encode(), where="old").labels[0].name == name
