from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.engine.kinds.table import check_tensors
from jobs.modeling.celltypist import import_celltypist
from shared.bundles.card import ModelCard, Standardise
from shared.domain.errors import InputNotFoundError, InvalidOptionError, UnsupportedModelError
from shared.domain.verdict import Species
from tests.engine.blocks import Scorer, block_of
from tests.modeling_import.pickles import model_parts

Parts = dict[str, Any]


def imported(parts: Parts, folder: Path, **options: Any) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    path = folder / "made.pkl"
    path.write_bytes(pickle.dumps(parts))
    return import_celltypist(path, **({"name": "made", "version": "1"} | options))


@pytest.mark.parametrize(
    ("name", "n_labels", "n_features", "n_cells", "classifier"),
    [
        ("adams_45_f_0", 45, 3947, 230_833, "SGDClassifier"),
        ("adams_COV_f_0", 51, 4007, 453_156, "SGDClassifier"),
        ("adams_LuCA_full", 33, 3205, 624_607, "SGDClassifier"),
        ("popv_celltypist", 31, 3971, 334, "LogisticRegression"),
    ],
)
def test_third_party_models_are_imported(
    name: str, n_labels: int, n_features: int, n_cells: int, classifier: str, data_dir: Path
) -> None:
    path = data_dir / "models" / f"{name}.pkl"
    card, tensors = import_celltypist(path, name="third-party", version="1.0.0")
    check_tensors(card, tensors)
    assert (len(card.labels), len(card.features)) == (n_labels, n_features)
    assert card.species is Species.HUMAN
    assert card.min_score is None
    assert card.training.n_cells == n_cells
    assert card.training.parameters["classifier"] == classifier
    assert card.training.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_labels_that_the_ontology_knows_get_their_ids(data_dir: Path) -> None:
    obo = data_dir / "reference" / "cl-simple-2026-03-26.obo"
    for name in ("adams_LuCA_full", "popv_celltypist"):
        card, _ = import_celltypist(data_dir / "models" / f"{name}.pkl", name="cl", version="1", ontology=obo)
        ids = {label.name: label.ontology_id for label in card.labels}
        assert ids["B cell"] == "CL:0000236"
        assert all(ids.values())


def test_labels_have_no_ids_without_an_ontology(tmp_path: Path) -> None:
    card, _ = imported(model_parts(["B cell", "T cell", "monocyte"]), tmp_path)
    assert [label.ontology_id for label in card.labels] == [None, None, None]


@pytest.mark.parametrize("name", ["", " ", "a\0b"], ids=repr)
def test_a_model_with_a_label_that_no_card_has_is_refused_for_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="must have names"):
        imported(model_parts([name, "b", "c"]), tmp_path)


def test_the_card_says_where_the_model_comes_from(tmp_path: Path) -> None:
    card, _ = imported(model_parts(["a", "b", "c"]), tmp_path, licence="MIT")
    assert card.title == "made for a test"
    assert card.citation == "https://doi.org/10.1/x"
    assert card.licence == "MIT"
    assert card.training.method == "imported from CellTypist"
    assert card.training.trained_at == "2026-01-02 03:04:05"
    assert card.training.parameters["model_version"] == "v7"
    assert card.preprocessing[2] == Standardise(clip_max=10.0)


@pytest.mark.parametrize("sgd", [False, True])
@pytest.mark.parametrize("classes", [["b", "a"], ["x", "y", "z"]])
def test_scores_are_those_of_the_classifier_itself(classes: list[str], sgd: bool, tmp_path: Path) -> None:
    parts = model_parts(classes, sgd=sgd)
    card, tensors = imported(parts, tmp_path)
    expression = np.random.default_rng(5).gamma(0.5, 1.0, (30, 5)).astype(np.float32)
    genes = np.arange(5, dtype=np.int32)
    annotator = Scorer.of(card, tensors, genes, torch.device("cpu"), as_it_is=True)
    found = annotator.annotate(block_of(expression))

    scaled = np.minimum(parts["Scaler_"].transform(expression.astype(np.float64)), 10)
    decision = parts["Model"].decision_function(scaled)
    if len(classes) == 2:  # as CellTypist's predict_labels_and_prob
        decision = np.column_stack([-decision, decision])
    np.testing.assert_allclose(found.decision_nl, decision, rtol=1e-5, atol=1e-5)
    names = np.array([label.name for label in card.labels])
    assert list(names) == sorted(classes)
    assert list(names[found.decision_nl.argmax(axis=1)]) == list(parts["Model"].predict(scaled))


def test_numbers_keep_their_precision(tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    _, tensors = imported(parts, tmp_path)
    assert tensors["coef"].dtype is torch.float64
    assert np.array_equal(tensors["coef"].numpy(), parts["Model"].coef_)
    assert np.array_equal(tensors["std"].numpy(), parts["Scaler_"].scale_)


def test_a_scaler_without_centring_has_means_of_zero(tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    parts["Scaler_"].with_mean = False
    _, tensors = imported(parts, tmp_path)
    assert not tensors["mean"].any()


@pytest.mark.parametrize(
    ("genes", "symbols", "ensembl", "species"),
    [
        (["MS4A1", "CD3D", "C1orf112", "NKG7", "LYZ"], True, False, Species.HUMAN),
        (["Ms4a1", "Cd3d", "Nkg7", "H2-Aa", "Gm1992"], True, False, Species.MOUSE),
        ([f"ENSG0000000000{i}.{i}" for i in range(1, 6)], False, True, Species.HUMAN),
        ([f"ENSMUSG0000000000{i}" for i in range(5)], False, True, Species.MOUSE),
        (["MS4A1", "ENSG00000000003", "CD3D", "LYZ", "NKG7"], True, True, Species.HUMAN),
        (["g-1", "g-2", "g-3", "g-4", "g-5"], True, False, Species.UNKNOWN),
    ],
)
def test_genes_go_to_the_column_that_they_belong_to(
    genes: list[str], symbols: bool, ensembl: bool, species: Species, tmp_path: Path
) -> None:
    parts = model_parts(["a", "b", "c"])
    parts["Model"].features = np.array(genes)
    card, _ = imported(parts, tmp_path)
    assert (bool(card.features.symbol), bool(card.features.ensembl)) == (symbols, ensembl)
    assert card.species is species
    assert "ENSG00000000001.1" not in card.features.ensembl


def _set(owner: str, attribute: str, value: object) -> Callable[[Parts], object]:
    return lambda parts: setattr(parts[owner], attribute, value)


BROKEN: dict[str, Callable[[Parts], object]] = {
    "without Model": lambda parts: parts.pop("Model"),
    "without Scaler_": lambda parts: parts.pop("Scaler_"),
    "loss 'hinge'": _set("Model", "loss", "hinge"),
    "without features": lambda parts: delattr(parts["Model"], "features"),
    "same name twice": _set("Model", "features", np.array(["A", "A", "B", "C", "D"])),
    "coef_ of shape": _set("Model", "coef_", np.zeros((3, 4))),
    "numbers in coef_": _set("Model", "coef_", np.array([["x"] * 5] * 3)),
    "values in coef_": _set("Model", "coef_", np.full((3, 5), np.nan)),
    "without numbers in mean_": _set("Scaler_", "mean_", None),
    "without numbers in scale_": _set("Scaler_", "scale_", None),
    "standard deviation of 0": _set("Scaler_", "scale_", np.zeros(5)),
    "intercept_ of shape": _set("Model", "intercept_", np.zeros(2)),
}


@pytest.mark.parametrize("told", BROKEN)
def test_a_model_that_is_not_celltypists_is_refused_with_the_reason(told: str, tmp_path: Path) -> None:
    parts = model_parts(["a", "b", "c"])
    BROKEN[told](parts)
    with pytest.raises(UnsupportedModelError) as caught:
        imported(parts, tmp_path)
    assert all(word in caught.value.message for word in told.split())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no such file"):
        import_celltypist(tmp_path / "missing.pkl", name="x", version="1")


@pytest.mark.parametrize("option", [{"name": "Not A Name"}, {"version": "v/1"}])
def test_a_name_that_a_bundle_cannot_have_is_refused(option: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(option.values()))):
        imported(model_parts(["a", "b"]), tmp_path, **option)
