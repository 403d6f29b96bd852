"""Evaluation compares what can be compared, and names what cannot."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from jobs.modeling import correcting
from jobs.modeling.evaluation import evaluate
from jobs.modeling.labelled import read_labelled
from jobs.modeling.lineages import BLOOD_LINEAGES, read_mapping
from jobs.modeling.metrics import agreement
from jobs.modeling.training import TrainedModel, train
from shared.domain.errors import InvalidOptionError, LabelsNotComparableError
from tests.modeling.synthetic import SMALL, Population, quick

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(pairs)
def test_measures_are_those_of_scikit_learn(drawn: list[tuple[int, int]]) -> None:
    true_n, predicted_n = (np.array(column, dtype=np.int64) for column in zip(*drawn, strict=True))
    found = agreement(true_n, predicted_n, "abcd")
    present = np.unique(true_n)
    precision, recall, _, support = precision_recall_fscore_support(
        true_n, predicted_n, labels=range(4), zero_division=0
    )
    assert found.accuracy == pytest.approx((true_n == predicted_n).mean())
    assert found.macro_f1 == pytest.approx(
        f1_score(true_n, predicted_n, labels=present, average="macro", zero_division=0)
    )
    assert found.balanced_accuracy == pytest.approx(recall[present].mean())
    assert [label.precision for label in found.per_label] == pytest.approx(precision.tolist())
    assert [label.support for label in found.per_label] == support.tolist()


def test_balanced_accuracy_is_the_mean_recall() -> None:
    true_n, predicted_n = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert agreement(true_n, predicted_n, "ab").balanced_accuracy == balanced_accuracy_score(true_n, predicted_n)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(SMALL.cells(), quick(), lambda _: None)


def test_other_names_are_compared_through_a_mapping(model: TrainedModel, tmp_path: Path) -> None:
    file = Population({"Bcell": 30, "NKcell": 30, "Tcell": 30, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    mapping = {"Bcell": "B", "NKcell": "innate", "Tcell": "lymphoid"}
    report = evaluate(model.card, model.tensors, file, "label", mapping)
    assert report.labels is not None
    assert report.lineages is not None
    assert report.labels.n_cells == 30
    assert report.lineages.n_cells == 90
    assert report.lineages.accuracy >= 0.97
    assert report.n_left_out == {"Mast": 30}


def test_a_label_that_the_model_has_is_compared_though_a_mapping_gives_its_lineage(
    model: TrainedModel, tmp_path: Path
) -> None:
    file = Population({"B cells": 30, "NK cells": 30, "Mast": 30}, seed=5).write(tmp_path / "a.h5ad")
    mapping = {"B cells": "lymphoid", "NK cells": "lymphoid", "Mast": "innate"}
    report = evaluate(model.card, model.tensors, file, "label", mapping)
    assert report.labels is not None
    assert report.lineages is not None
    assert report.labels.n_cells == 30  # What the file calls NK cells shall be lymphoid here, as is no NK of the model.
    assert report.lineages.n_cells == 90
    assert report.counterparts == {"B cells": "B"}


def test_a_file_with_nothing_to_compare_is_refused_with_a_way_out(model: TrainedModel, tmp_path: Path) -> None:
    file = Population({"x": 30, "y": 30}).write(tmp_path / "a.h5ad")
    with pytest.raises(LabelsNotComparableError, match="no label of 'label': 'x', 'y'") as caught:
        evaluate(model.card, model.tensors, file, "label")
    assert caught.value.code == "LABELS_NOT_COMPARABLE"
    assert "mapping" in caught.value.hint


def test_a_column_that_is_not_there_cannot_be_compared_and_the_others_are_named(
    model: TrainedModel, tmp_path: Path
) -> None:
    file = SMALL.write(tmp_path / "a.h5ad")
    with pytest.raises(LabelsNotComparableError, match=r"obs has no column 'nothing'.*'label'") as caught:
        evaluate(model.card, model.tensors, file, "nothing")
    assert caught.value.where == str(file)
    assert "--labels" in caught.value.hint


def test_abstaining_is_counted_and_kept_cells_are_judged_apart(model: TrainedModel, tmp_path: Path) -> None:
    file = Population({"B": 60, "NK": 60, "T": 60}, fold=2.0, seed=5).write(tmp_path / "a.h5ad")
    strict = model.card.model_copy(update={"min_score": 0.9})
    report = evaluate(strict, model.tensors, file, "label")
    assert report.labels is not None
    assert report.kept_accuracy is not None
    assert 0.0 < report.abstained_share < 1.0
    assert report.kept_accuracy > report.labels.accuracy


def test_cells_without_a_gene_of_the_model_are_unassigned_as_in_a_run(model: TrainedModel, tmp_path: Path) -> None:
    cells = anndata.read_h5ad(Population({"B": 60, "NK": 60, "T": 60}, seed=5).write(tmp_path / "a.h5ad"))
    value_ng = sp.hstack([cells.X, sp.csr_matrix((cells.n_obs, 1))]).tolil()
    value_ng[:45] = 0
    value_ng[:45, -1] = 7  # A gene that the model does not have.
    var = pd.concat([cells.var, pd.DataFrame(index=["OTHER"])])
    anndata.AnnData(value_ng.tocsr(), obs=cells.obs, var=var).write_h5ad(tmp_path / "b.h5ad")
    report = evaluate(model.card.model_copy(update={"min_score": None}), model.tensors, tmp_path / "b.h5ad", "label")
    whole = evaluate(model.card.model_copy(update={"min_score": None}), model.tensors, tmp_path / "a.h5ad", "label")
    assert (report.n_without_genes, report.abstained_share) == (45, 0.25)
    assert (whole.n_without_genes, whole.abstained_share) == (0, 0.0)
    assert report.kept_accuracy is not None
    assert report.kept_accuracy > 0.95


def test_a_label_without_a_lineage_counts_as_a_wrong_lineage(model: TrainedModel, tmp_path: Path) -> None:
    bare = [label.model_copy(update={"lineage": None}) if label.name == "T" else label for label in model.card.labels]
    card = model.card.model_copy(update={"labels": tuple(bare)})
    always_t = {**model.tensors, "intercept": torch.tensor([0.0, 0.0, 1e6])}
    file = Population({"Bcell": 30, "Tcell": 30}, seed=5).write(tmp_path / "a.h5ad")
    report = evaluate(card, always_t, file, "label", {"Bcell": "lymphoid"})
    assert report.lineages is not None
    assert report.lineages.accuracy == 0.0


def test_blood_is_known_by_name() -> None:
    assert read_mapping("blood") is BLOOD_LINEAGES
    assert BLOOD_LINEAGES["naive-t"] == BLOOD_LINEAGES["CD8 T"] == "T cell"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "naive\tT cell\n\nb\tB cell\n"),
        ("a.csv", "naive,T cell\nb,B cell\n"),
        ("a.json", '{"naive": "T cell", "b": "B cell"}'),
    ],
)
def test_a_mapping_is_read_from_a_file(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert dict(read_mapping(str(tmp_path / name))) == {"naive": "T cell", "b": "B cell"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_mapping_is_read_in_any_encoding(encoding: str, end: str, tmp_path: Path) -> None:
    text = end.join(["na\u00efve\tT cell", "b\tB cell"])
    (tmp_path / "A.TSV").write_bytes(text.encode(encoding))
    assert dict(read_mapping(str(tmp_path / "A.TSV"))) == {"na\u00efve": "T cell", "b": "B cell"}


@pytest.mark.parametrize(("name", "text"), [("a.tsv", "one\n"), ("a.json", "[1]"), ("a.json", "{"), ("a.tsv", "")])
def test_a_mapping_that_makes_no_sense_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidOptionError, match="lineages cannot be read"):
        read_mapping(str(tmp_path / name))


def test_a_missing_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError):
        read_mapping(str(tmp_path / "nowhere.tsv"))


def test_shares_are_those_of_a_run_in_any_number_of_pieces_in_memory_or_not(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Population({"B": 400, "NK": 60, "T": 300}, fold=2.0, seed=5).write(tmp_path / "a.h5ad")
    whole = evaluate(model.card, model.tensors, file, "label")
    monkeypatch.setattr(correcting, "GROUP_ROWS", 256)
    monkeypatch.setattr(correcting, "MOST_BYTES", 1)
    pieces = evaluate(model.card, model.tensors, file, "label")
    plain = evaluate(model.card, model.tensors, file, "label", composition=False)
    assert whole.composition is not None
    assert list(whole.composition) == ["B", "T", "NK"]
    assert pieces.composition == pytest.approx(whole.composition, abs=2e-6)
    assert (pieces.cells_tp == whole.cells_tp).all()
    assert (plain.cells_tp != whole.cells_tp).any()
    assert plain.composition is None
    assert plain.labels is not None
    assert whole.labels is not None
    assert whole.labels.accuracy > plain.labels.accuracy


def test_cells_that_trained_the_model_are_told_by_their_file_alone(tmp_path: Path) -> None:
    file = SMALL.write(tmp_path / "a.h5ad")
    model = train(read_labelled(file, "label"), quick(), lambda _: None)
    *others, told = evaluate(model.card, model.tensors, file, "label").warnings
    assert told.code == "TRAINED_ON_THIS_FILE"
    assert told.message.endswith("the figures are too good.")
    other = Population({"B": 30, "NK": 30, "T": 30}, seed=6).write(tmp_path / "b.h5ad")
    assert list(evaluate(model.card, model.tensors, other, "label").warnings) == others
    several = model.card.training.model_copy(
        update={"source_sha256": f"{'0' * 64}, {model.card.training.source_sha256}"}
    )
    of_several = model.card.model_copy(update={"training": several})
    assert told in evaluate(of_several, model.tensors, file, "label").warnings
    unknown = model.card.training.model_copy(update={"source_sha256": None})
    without = model.card.model_copy(update={"training": unknown})
    assert list(evaluate(without, model.tensors, file, "label").warnings) == others
