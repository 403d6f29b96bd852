"""Importing checkpoints of cellarium-ml: what a bundle of one says, and what is refused by its name."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.engine.kinds.table import check_tensors
from jobs.modeling.cellarium import import_cellarium
from jobs.modeling.importing import ImportedAs, import_foreign
from shared.bundles.card import Activation, Log1p, ModelCard, Normalise, NormaliseFeatures, Standardise
from shared.domain.errors import CelldropError, InvalidOptionError, UnsafeModelError, UnsupportedModelError
from shared.domain.verdict import Species
from tests.cellarium.contents import Contents, Library
from tests.cellarium.library import MODELS
from tests.modeling_import.pickles import Runs

FILTER, NORMALISE, LOG, SCORE = range(4)
"""The transforms of the model ``logistic``."""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def imported(path: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    return import_foreign(path, ImportedAs("blood", "1"))


def refused(path: Path) -> CelldropError:
    with pytest.raises(CelldropError) as error:
        imported(path)
    return error.value


# --- What is imported ---------------------------------------------------------------------------------------------


def test_a_logistic_regression_is_a_linear_model_of_its_z_scores() -> None:
    card, tensors = imported(MODELS / "logistic.ckpt")
    check_tensors(card, tensors)
    assert (len(card.labels), len(card.features), card.species) == (8, 120, Species.HUMAN)
    assert card.labels[0].name == "b-cells"
    assert card.features.ensembl[0] == "ENSG00000184009"
    assert card.preprocessing == (Normalise(target_sum=1e4), Log1p(), Standardise(clip_max=None))
    assert card.activation is Activation.SOFTMAX
    assert card.title == "cellarium-ml model logistic"
    assert (card.training.n_cells, card.training.source) == (1_000, "logistic.ckpt")
    assert card.training.parameters["steps"] == "Filter → NormalizeTotal → Log1p → ZScore → LogisticRegression"
    assert tensors["coef"].dtype == torch.float32
    assert float(tensors["mean"].max()) > 1


def test_a_checkpoint_of_a_pca_as_a_transform_becomes_part_of_the_weights() -> None:
    card, tensors = imported(MODELS / "pca_logistic.ckpt")
    check_tensors(card, tensors)
    assert tensors["coef"].shape == (8, 90)
    assert card.preprocessing == (NormaliseFeatures(target_sum=1_000), Log1p(), Standardise(clip_max=None))
    assert "scaled by their own total" in card.description
    assert card.training.parameters["steps"] == (
        "NormalizeTotal → Log1p → DivideByScale → IncrementalPCA → LogisticRegression"
    )


def test_a_checkpoint_is_recognised_without_its_ending(tmp_path: Path) -> None:
    shutil.copy(MODELS / "logistic.ckpt", tmp_path / "model.zip")
    assert imported(tmp_path / "model.zip")[0].training.method == "imported from cellarium-ml"


def test_without_totals_of_the_cells_the_filtered_genes_are_the_total(library: Library, tmp_path: Path) -> None:
    held = library.contents("logistic")
    del held["datamodule_hyper_parameters"]["batch_keys"]["total_mrna_umis_n"]
    assert imported(library.saved(tmp_path, held))[0].preprocessing[0] == NormaliseFeatures(target_sum=1e4)
    filtering, scaling, *others = held["hyper_parameters"]["transforms"]
    held["hyper_parameters"]["transforms"] = (scaling, filtering, *others)
    assert imported(library.saved(tmp_path, held))[0].preprocessing[0] == Normalise(target_sum=1e4)
    more = np.array([*filtering.filter_list, "ENSG00000000000"])
    held["hyper_parameters"]["transforms"] = (filtering, scaling, *others)
    filtering.filter_list = more
    assert "over 121 filtered genes, of which the model takes 120" in refused(library.saved(tmp_path, held)).message


def test_a_missing_gene_is_not_expressed_where_the_filter_says_so(library: Library, tmp_path: Path) -> None:
    held = library.contents("logistic")
    held["hyper_parameters"]["transforms"][FILTER].allow_missing = True
    _, before = imported(MODELS / "logistic.ckpt")
    _, tensors = imported(library.saved(tmp_path, held))
    assert not tensors["mean"].any()
    zero_f = -before["mean"].double() / before["std"].double()
    expected_l = before["intercept"].double() + before["coef"].double() @ zero_f
    torch.testing.assert_close(tensors["intercept"].double(), expected_l)


def test_transforms_on_the_cpu_come_first_and_those_without_effect_do_not_matter(
    library: Library, tmp_path: Path
) -> None:
    held = library.contents("logistic")
    settings = held["hyper_parameters"]
    settings["cpu_transforms"], settings["transforms"] = settings["transforms"][:1], settings["transforms"][1:]
    assert imported(library.saved(tmp_path, held))[0].preprocessing[0] == Normalise(target_sum=1e4)
    dense = library.made("transforms.densify", "Densify")
    settings["transforms"] = (dense, *settings["transforms"])
    state = held["state_dict"]
    for name in [name for name in state if name.startswith("pipeline.")]:
        _, place, rest = name.split(".", 2)
        state[f"moved.{int(place) + 1}.{rest}"] = state.pop(name)
    held["state_dict"] = {name.replace("moved", "pipeline"): tensor for name, tensor in state.items()}
    card, tensors = imported(library.saved(tmp_path, held))
    assert torch.equal(tensors["coef"], imported(MODELS / "logistic.ckpt")[1]["coef"])
    assert "Densify" in str(card.training.parameters["steps"])


def test_labels_that_are_terms_have_their_ids(library: Library, tmp_path: Path) -> None:
    held = library.contents("logistic")
    held["hyper_parameters"]["model"].y_categories[0] = "CL:0000236"
    card, _ = imported(library.saved(tmp_path, held))
    assert (card.labels[0].name, card.labels[0].ontology_id) == ("CL:0000236", "CL:0000236")


def test_the_ontology_gives_labels_that_are_ids_their_names(library: Library, tmp_path: Path) -> None:
    held = library.contents("logistic")
    held["hyper_parameters"]["model"].y_categories[0] = "CL:0000236"
    path, ontology = library.saved(tmp_path, held), tmp_path / "cl.obo"
    ontology.write_text("format-version: 1.2\n\n[Term]\nid: CL:0000236\nname: B cell\n")
    card, _ = import_cellarium(path, path.read_bytes(), name="blood", version="1", ontology=ontology)
    label = card.labels[0]
    assert (label.name, label.ontology_id, label.submitted) == ("B cell", "CL:0000236", "CL:0000236")
    assert [term.id for term in card.terms] == ["CL:0000236"]


# --- What is refused ----------------------------------------------------------------------------------------------


def test_a_pca_alone_has_no_labels() -> None:
    error = refused(MODELS / "pca.ckpt")
    assert error.code == "MODEL_UNSUPPORTED"
    assert error.message.startswith("an IncrementalPCA of cellarium-ml, which has no labels")
    assert "with this checkpoint as a transform" in error.hint


def test_statistics_of_genes_have_no_labels() -> None:
    error = refused(MODELS / "statistics.ckpt")
    assert error.code == "MODEL_UNSUPPORTED"
    assert error.message.startswith("statistics of genes by cellarium-ml, which has no labels")


def renamed(path: Path, folder: Path, **names: str) -> Path:
    """A checkpoint whose pickle names other classes."""
    out = folder / "renamed.ckpt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for entry in source.namelist():
            data = source.read(entry)
            for old, new in names.items() if entry.endswith("data.pkl") else ():
                data = re.sub(rb"ccellarium[a-z._0-9]*\n%s\n" % old.encode(), new.encode(), data)
            target.writestr(entry, data)
    return out


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("models.scvi", "SingleCellVariationalInference", "an scVI model of cellarium-ml, which has no classifier"),
        ("models.scanvi", "SCANVI", "a scANVI model of cellarium-ml"),
        ("models.geneformer", "Geneformer", "a Geneformer model of cellarium-ml"),
        ("models.cellarium_gpt", "CellariumGPT", "a CellariumGPT model of cellarium-ml"),
        ("models.socam", "SOCAM", "a SOCAM model of cellarium-ml"),
        ("models.probabilistic_pca", "ProbabilisticPCA", "a ProbabilisticPCA of cellarium-ml, which has no labels"),
        ("models.next_year", "Another", "a model of cellarium-ml other than LogisticRegression"),
        ("transforms.dropout", "Dropout", "a pipeline of cellarium-ml with a transform that a bundle has no place for"),
    ],
)
def test_other_models_and_transforms_are_named(module: str, name: str, told: str, tmp_path: Path) -> None:
    path = renamed(MODELS / "logistic.ckpt", tmp_path, LogisticRegression=f"ccellarium.ml.{module}\n{name}\n")
    error = refused(path)
    assert error.code == "MODEL_UNSUPPORTED"
    assert error.message.startswith(f"{told}")
    assert name in error.message
    assert "models train" in error.hint


def _set(place: int, **changes: object) -> Callable[[Contents], object]:
    return lambda held: held["hyper_parameters"]["transforms"][place].__dict__.update(changes)


def _model(**changes: object) -> Callable[[Contents], object]:
    return lambda held: held["hyper_parameters"]["model"].__dict__.update(changes)


def _tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Contents], object]:
    def changed(held: Contents) -> None:
        held["state_dict"][name] = change(held["state_dict"][name])

    return changed


def _order(*places: int) -> Callable[[Contents], object]:
    def changed(held: Contents) -> None:
        transforms = held["hyper_parameters"]["transforms"]
        held["hyper_parameters"]["transforms"] = tuple(transforms[place] for place in places)
        own = [name for name in held["state_dict"] if name.startswith("pipeline.4.")]
        held["state_dict"] = {name.replace("4", str(len(places)), 1): held["state_dict"][name] for name in own}

    return changed


def _other_lightning(held: Contents) -> None:
    held["hyper_parameters"] = {"layers": 3}


def _without(*keys: str) -> Callable[[Contents], object]:
    def changed(held: Contents) -> None:
        inner: Any = held
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]

    return changed


W, B = "pipeline.4.W_gc", "pipeline.4.b_c"
REFUSED: dict[str, tuple[Callable[[Contents], object], str]] = {
    "of another program": (_other_lightning, "a checkpoint of PyTorch Lightning that cellarium-ml did not write"),
    "no settings": (_without("hyper_parameters"), "that cellarium-ml did not write"),
    "codes": (_model(y_categories=np.arange(8)), r"with codes for labels \(0, 1, 2\), not names"),
    "no labels": (_model(y_categories=None), "without the names of its labels"),
    "one label": (_model(y_categories=np.array(["B cell"])), "the label 'B cell' alone"),
    "labels of one name": (_model(y_categories=np.array(["B cell"] * 8)), "labels of the same name"),
    "labels too few": (_model(y_categories=np.array(["B", "T"])), r"'W_gc' has the shape \(120, 8\), not \(120, 2\)"),
    "genes too few": (_model(var_names_g=np.array(["A", "B"])), r"'W_gc' has the shape \(120, 8\), not \(2, 8\)"),
    "other genes": (_model(var_names_g=np.array([f"G{i}" for i in range(120)])), "a ZScore without 120 of the genes"),
    "no weights": (_without("state_dict", W), "without 'W_gc'"),
    "a bias too short": (_tensor(B, lambda it: it[:-1].clone()), r"'b_c' has the shape \(7,\)"),
    "NaN": (_tensor(W, lambda it: it * float("nan")), "NaN or infinite values in 'W_gc' of LogisticRegression"),
    "integers": (_tensor(W, lambda it: it.int()), "whose 'W_gc'"),
    "a negative scale": (_tensor("pipeline.3.std_g", lambda it: -it), "a ZScore that divides by 0 or less"),
    "no logarithm": (_order(FILTER, NORMALISE), "without Log1p"),
    "no total": (_order(FILTER, LOG), "without NormalizeTotal"),
    "nothing at all": (_order(), "without Log1p"),
    "log before the total": (_order(FILTER, LOG, NORMALISE), "without Log1p before the model"),
    "scaled before the total": (_order(LOG, NORMALISE, LOG), "a pipeline with Log1p before NormalizeTotal"),
    "a negative target": (_set(NORMALISE, target_count=-1), "a NormalizeTotal to -1"),
    "a large eps": (_set(NORMALISE, eps=1.0), r"adds 1\.0 to each total"),
    "an eps that is none": (_set(NORMALISE, eps="x"), "with an eps of 'x'"),
    "another filter": (_set(FILTER, filter_list=np.array(["A"])), "a Filter without 120 of the genes that follow"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_bundle_can_be_is_refused_by_its_name(name: str, library: Library, tmp_path: Path) -> None:
    damage, told = REFUSED[name]
    held = library.contents("logistic")
    damage(held)
    with pytest.raises(UnsupportedModelError, match=told) as error:
        imported(library.saved(tmp_path, held))
    assert error.value.hint
    assert str(tmp_path) in error.value.message


def test_a_pca_before_a_model_of_genes_is_refused(library: Library, tmp_path: Path) -> None:
    held = library.contents("pca_logistic")
    held["hyper_parameters"]["model"].var_names_g = np.array([f"G{i}" for i in range(12)])
    assert "an IncrementalPCA before a step that takes G0, G1" in refused(library.saved(tmp_path, held)).message


def test_files_that_are_no_archive_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text("no model")
    assert "not an archive of PyTorch" in refused(path).message
    whole = (MODELS / "logistic.ckpt").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    error = refused(path)
    assert (error.code, "not a whole archive" in error.message) == ("MODEL_UNSUPPORTED", True)
    torch.save({"weight": torch.ones(2)}, path)
    assert "that cellarium-ml did not write" in refused(path).message
    assert refused(tmp_path / "missing.ckpt").code == "INPUT_NOT_FOUND"


def test_a_checkpoint_has_no_batches() -> None:
    with pytest.raises(InvalidOptionError, match="without batches"):
        import_foreign(MODELS / "logistic.ckpt", ImportedAs("blood", "1", batch="first"))


@pytest.mark.parametrize(("name", "version"), [("Not a name", "1"), ("blood", "no version")])
def test_a_name_that_no_bundle_can_have_is_refused(name: str, version: str) -> None:
    with pytest.raises(InvalidOptionError):
        import_foreign(MODELS / "logistic.ckpt", ImportedAs(name, version))


def test_a_checkpoint_that_wants_to_run_something_is_refused_and_nothing_runs(library: Library, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    held = library.contents("logistic")
    held["hyper_parameters"]["optim_fn"] = Runs(os.system, f"touch {trace}")
    with pytest.raises(UnsafeModelError, match=r"the global posix\.system"):
        imported(library.saved(tmp_path, held))
    assert not trace.exists()


def test_a_checkpoint_nested_without_end_is_refused(library: Library, tmp_path: Path) -> None:
    held = library.contents("pca_logistic")
    inner = held["hyper_parameters"]["transforms"][0]
    for _ in range(20):
        pipeline = library.made("core.pipeline", "CellariumPipeline", _modules={"0": inner})
        inner = library.made("core.module", "CellariumModule", _modules={"pipeline": pipeline})
    held["hyper_parameters"]["transforms"] = (inner,)
    assert "a step that is no transform" in refused(library.saved(tmp_path, held)).message
