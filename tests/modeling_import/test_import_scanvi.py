"""Importing scANVI models: what a bundle of one says, and what is refused by its name."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from jobs.engine.kinds.table import check_tensors
from jobs.modeling.importing import ImportedAs, import_foreign
from jobs.modeling.scanvi import import_scanvi
from jobs.modeling.unpickling_child import read
from shared.bundles.card import Log1p, ModelCard
from shared.bundles.kinds import NeuralCard
from shared.domain.errors import (
    CelldropError,
    InputNotFoundError,
    InvalidOptionError,
    UnsafeModelError,
    UnsupportedModelError,
)
from shared.domain.verdict import Species
from tests.modeling_import.pickles import Runs
from tests.scvi.library import MODELS

FIRST = "z_encoder.encoder.fc_layers.Layer 0.0.weight"
Contents = dict[str, Any]


def imported(path: Path, batch: str | None = None) -> tuple[NeuralCard, dict[str, torch.Tensor]]:
    return import_scanvi(path, name="blood", version="1", batch=batch)


def contents(name: str = "scanvi") -> Contents:
    """What scvi-tools saved, without what it has of each cell; the classes of its tables are not needed here."""
    saved: Contents = torch.load(MODELS / name / "model.pt", weights_only=False)
    about = saved["attr_dict"]
    return saved | {"attr_dict": {key: about[key] for key in ("registry_", "init_params_")}}


def saved_as(folder: Path, held: object, **how: Any) -> Path:
    path = folder / "model.pt"
    torch.save(held, path, **how)
    return path


# --- What is imported ---------------------------------------------------------------------------------------------


def test_labels_genes_and_sizes_are_those_of_the_model() -> None:
    card, tensors = imported(MODELS / "scanvi")
    check_tensors(card, tensors)
    held = contents()
    mapping = held["attr_dict"]["registry_"]["field_registries"]["labels"]["state_registry"]["categorical_mapping"]
    assert [label.name for label in card.labels] == [name for name in mapping if name != "Unknown"]
    assert list(card.features.symbol) == list(held["var_names"])
    assert (card.n_hidden, card.n_latent, card.n_encoder_layers, card.n_classifier_layers) == (16, 8, 1, 1)
    assert card.preprocessing == (Log1p(),)
    assert (card.needs_counts, card.species, card.batch) == (True, Species.HUMAN, None)
    assert card.title == "scANVI model scanvi"
    assert card.training.n_cells == 1_200
    assert card.training.parameters["scvi_tools"] == "1.4.2"
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_a_linear_classifier_behind_two_layers_with_layer_norm_and_a_batch() -> None:
    card, tensors = imported(MODELS / "scanvi_covariates", "first")
    check_tensors(card, tensors)
    assert (card.n_encoder_layers, card.n_classifier_layers, card.n_classifier_hidden) == (2, 0, 0)
    assert (card.encoder_layer_norm, card.classifier_layer_norm) == (True, False)
    assert card.batch == "first"
    assert "treats every cell as one of the batch 'first'" in card.description
    other, _ = imported(MODELS / "scanvi_covariates", "second")
    assert other.batch == "second"
    assert not torch.equal(imported(MODELS / "scanvi_covariates", "second")[1]["encoder_bias"], tensors["encoder_bias"])


@pytest.mark.parametrize("path", ["scanvi", "scanvi/model.pt"])
def test_a_folder_and_the_file_in_it_are_the_same_model(path: str) -> None:
    card, _ = import_foreign(MODELS / path, ImportedAs("blood", "1"))
    assert card == imported(MODELS / "scanvi")[0]


def test_a_file_with_a_prefix_gives_the_model_its_name(tmp_path: Path) -> None:
    shutil.copy(MODELS / "scanvi" / "model.pt", tmp_path / "lung_model.pt")
    card, _ = imported(tmp_path)
    assert (card.title, card.training.source) == ("scANVI model lung", "lung_model.pt")


def test_a_model_of_plain_counts_says_so(tmp_path: Path) -> None:
    held = contents()
    held["attr_dict"]["init_params_"]["kwargs"]["model_kwargs"]["log_variational"] = False
    assert imported(saved_as(tmp_path, held))[0].preprocessing == ()


def test_a_model_of_one_batch_needs_none(tmp_path: Path) -> None:
    held = contents("scanvi_covariates")
    held["attr_dict"]["registry_"]["field_registries"]["batch"]["state_registry"]["categorical_mapping"] = ["first"]
    for name in (FIRST, FIRST.replace("Layer 0", "Layer 1")):
        held["model_state_dict"][name] = held["model_state_dict"][name][:, :-2].contiguous()
    card, _ = imported(saved_as(tmp_path, held))
    assert card.batch is None


def test_a_tensor_that_is_stored_by_columns_is_the_same(tmp_path: Path) -> None:
    held = contents()
    name = "z_encoder.mean_encoder.weight"
    held["model_state_dict"][name] = held["model_state_dict"][name].T.contiguous().T
    assert torch.equal(imported(saved_as(tmp_path, held))[1]["latent"], imported(MODELS / "scanvi")[1]["latent"])


# --- What is refused ----------------------------------------------------------------------------------------------


def test_an_scvi_model_has_no_classifier() -> None:
    with pytest.raises(UnsupportedModelError, match="an scVI model, which has no classifier of labels") as refused:
        imported(MODELS / "scvi")
    assert "from_scvi_model" in refused.value.hint


def _registry(**changes: object) -> Callable[[Contents], object]:
    return lambda held: held["attr_dict"]["registry_"].update(changes)


def _settings(**changes: object) -> Callable[[Contents], object]:
    return lambda held: held["attr_dict"]["init_params_"]["kwargs"]["model_kwargs"].update(changes)


def _tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Contents], object]:
    def changed(held: Contents) -> None:
        held["model_state_dict"][name] = change(held["model_state_dict"][name])

    return changed


def _old(held: Contents) -> None:
    held["attr_dict"] = {"scvi_setup_dict_": {"scvi_version": "0.8.0"}}


def _without(*keys: str) -> Callable[[Contents], object]:
    def changed(held: Contents) -> None:
        inner: Any = held
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]

    return changed


def _other_genes(held: Contents) -> None:
    held["var_names"] = held["var_names"][:-1]


def _same_gene(held: Contents) -> None:
    held["var_names"][3] = held["var_names"][4]


def _several_modalities(held: Contents) -> None:
    held["var_names"] = {"rna": held["var_names"]}


def _groups(held: Contents) -> None:
    held["model_state_dict"]["classifier_groups.classifier.1.weight"] = torch.ones(2, 8)


NORM = "classifier.classifier.0.fc_layers.Layer 0.1"
REFUSED: dict[str, tuple[Callable[[Contents], object], str]] = {
    "another class": (_registry(model_name="TOTALVI"), "a model of the class TOTALVI of scvi-tools 1.4.2"),
    "no class": (_registry(model_name=""), "a model of the class unknown"),
    "an old version": (_old, "a model of scvi-tools 0.8.0 without a registry"),
    "no genes": (_without("var_names"), "without the genes and labels"),
    "several modalities": (_several_modalities, "a model of several modalities"),
    "the same gene twice": (_same_gene, "genes of the same name"),
    "a gene too few": (_other_genes, "takes 1 number beside 159 genes"),
    "no labels": (_registry(field_registries={}), "without the names of its labels"),
    "no encoder": (_without("model_state_dict", FIRST), "without 'z_encoder.*weight'"),
    "no classifier": (_without("model_state_dict", "classifier.classifier.1.weight"), "a classifier of 0 labels"),
    "labels too few": (
        _tensor("classifier.classifier.1.weight", lambda it: it[:-2].contiguous()), "a classifier of 6 labels and 9"
    ),
    "a bias too short": (
        _tensor("classifier.classifier.1.bias", lambda it: it[:-1].contiguous()), r"do not fit: 'classifier.*\(7,\)"
    ),
    "a layer too narrow": (
        _tensor("z_encoder.mean_encoder.weight", lambda it: it[:, :-1].contiguous()), "do not fit: 'z_encoder.mean"
    ),
    "a norm too short": (_tensor(f"{NORM}.running_mean", lambda it: it[:-1].contiguous()), "do not fit"),
    "a negative variance": (_tensor(f"{NORM}.running_var", lambda it: -it), "a variance below 0"),
    "NaN": (_tensor("z_encoder.mean_encoder.weight", lambda it: it * float("nan")), "NaN or infinite"),
    "integers": (_tensor("z_encoder.mean_encoder.weight", lambda it: it.int()), "do not fit"),
    "bfloat16": (_tensor("z_encoder.mean_encoder.weight", lambda it: it.bfloat16()), "numbers of type BFloat16"),
    "with gaps": (_tensor("z_encoder.mean_encoder.weight", lambda it: it.repeat(1, 2)[:, ::2]), "not stored by rows"),
    "groups of labels": (_groups, "use_labels_groups"),
    "another activation": (_settings(classifier_parameters={"activation_fn": "x"}), "its own activation_fn"),
    "another encoder": (_settings(extra_encoder_kwargs={"bias": False}), "its own bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_bundle_can_be_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    damage, told = REFUSED[name]
    held = contents()
    damage(held)
    with pytest.raises(UnsupportedModelError, match=told) as refused:
        imported(saved_as(tmp_path, held))
    assert refused.value.hint
    assert str(tmp_path) in refused.value.message


def test_further_covariates_of_an_encoder_are_refused(tmp_path: Path) -> None:
    held = contents("scanvi_covariates")
    wide = held["model_state_dict"][FIRST]
    held["model_state_dict"][FIRST] = torch.cat([wide, wide[:, :3]], dim=1)
    with pytest.raises(UnsupportedModelError, match="takes 5 numbers beside 160 genes: further covariates"):
        imported(saved_as(tmp_path, held), "first")


@pytest.mark.parametrize(
    ("model", "batch", "told"),
    [
        ("scanvi", "first", "the same labels whatever its batch"),
        ("scanvi_covariates", None, "expected --batch with one of first, second"),
        ("scanvi_covariates", "third", "knows no batch 'third'"),
    ],
)
def test_the_batch_is_asked_for_where_it_matters_and_only_there(model: str, batch: str | None, told: str) -> None:
    with pytest.raises(InvalidOptionError, match=told):
        imported(MODELS / model, batch)


@pytest.mark.parametrize(("name", "version"), [("Not a name", "1"), ("blood", "no version")])
def test_a_name_that_no_bundle_can_have_is_refused(name: str, version: str) -> None:
    with pytest.raises(InvalidOptionError):
        import_scanvi(MODELS / "scanvi", name=name, version=version)


# --- Files of another kind ----------------------------------------------------------------------------------------


def foreign(path: Path) -> CelldropError:
    with pytest.raises(CelldropError) as refused:
        import_foreign(path, ImportedAs("blood", "1"))
    return refused.value


def test_files_of_an_old_version_are_named_with_how_to_convert_them(tmp_path: Path) -> None:
    for name in ("model_params.pt", "attr.pkl", "var_names.csv"):
        (tmp_path / name).write_bytes(b"x")
    for path in (tmp_path, tmp_path / "model_params.pt"):
        error = foreign(path)
        assert error.code == "MODEL_UNSUPPORTED"
        assert "a model of scvi-tools before 0.15" in error.message
        assert "convert_legacy_save" in error.hint


def test_an_archive_of_an_old_pytorch_is_named(tmp_path: Path) -> None:
    error = foreign(saved_as(tmp_path, contents(), _use_new_zipfile_serialization=False))
    assert error.code == "MODEL_UNSUPPORTED"
    assert "the format of PyTorch before 1.6" in error.message


def test_several_models_in_one_folder_are_named(tmp_path: Path) -> None:
    for name in ("a_model.pt", "b_model.pt"):
        shutil.copy(MODELS / "scanvi" / "model.pt", tmp_path / name)
    assert "a folder of 2 models: a_model.pt, b_model.pt" in foreign(tmp_path).message


def test_folders_and_files_without_a_model(tmp_path: Path) -> None:
    assert "a folder without a model" in foreign(tmp_path).message
    assert isinstance(foreign(tmp_path / "missing.pt"), InputNotFoundError)
    (tmp_path / "text.pt").write_text("no model")
    assert "not an archive of PyTorch" in foreign(tmp_path / "text.pt").message
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "a zip archive that PyTorch did not write" in foreign(tmp_path / "other.pt").message
    assert "without the genes and labels" in foreign(saved_as(tmp_path, {"weight": torch.ones(2)})).message


def test_a_whole_network_is_named(tmp_path: Path) -> None:
    error = foreign(saved_as(tmp_path, torch.nn.Linear(2, 3)))
    assert error.code == "MODEL_UNSUPPORTED"
    assert "a whole network of PyTorch" in error.message


def test_a_random_forest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "forest.pkl"
    path.write_bytes(pickle.dumps({"Model": RandomForestClassifier(2).fit([[0], [1]], [0, 1])}))
    error = foreign(path)
    assert error.code == "MODEL_UNSUPPORTED"
    assert error.message.startswith("a random forest (sklearn.ensemble._forest.RandomForestClassifier)")


def test_a_batch_is_none_of_celltypists_business(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="without batches"):
        import_foreign(tmp_path / "model.pkl", ImportedAs("blood", "1", batch="first"))


# --- Nothing runs -------------------------------------------------------------------------------------------------


def test_an_archive_that_wants_to_run_something_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    held = contents()
    held["attr_dict"]["registry_"]["evil"] = Runs(os.system, f"touch {trace}")
    with pytest.raises(UnsafeModelError, match=r"the global posix\.system"):
        imported(saved_as(tmp_path, held))
    assert not trace.exists()


def test_what_was_kept_of_each_cell_is_not_read(tmp_path: Path) -> None:
    held = contents()
    held["attr_dict"]["labels_"] = np.array(["B cell"] * 1_100_000, dtype=object)
    assert imported(saved_as(tmp_path, held))[0].training.n_cells == 1_200


def rewritten(change: Callable[[str, bytes], bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive of a small model with its entries changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(MODELS / "scvi" / "model.pt") as source, zipfile.ZipFile(out, "w", compression) as target:
        for entry in source.namelist():
            target.writestr(entry, change(entry, source.read(entry)))
    return out.getvalue()


def answer(data: bytes) -> str:
    found, _ = read(data, ALLOWED, archive=True)
    return str(found.get("foreign", found.get("hostile", "a value")))


ALLOWED = [
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch", "FloatStorage"),
    ("torch", "LongStorage"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
]


def test_archives_that_pytorch_does_not_write() -> None:
    assert answer(rewritten(lambda _, data: data)) == "a value"
    assert "compressed" in answer(rewritten(lambda _, data: data, compression=zipfile.ZIP_DEFLATED))
    assert "another byte order" in answer(rewritten(lambda name, data: b"big" if name.endswith("byteorder") else data))
    assert "lacks some numbers" in answer(rewritten(lambda name, data: data[:-4] if "/data/" in name else data))
    whole = rewritten(lambda _, data: data)
    assert "is not a whole archive" in answer(whole[: len(whole) // 2])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_archive_never_breaks_its_reader(data: st.DataObject) -> None:
    damaged = bytearray((MODELS / "scvi" / "model.pt").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the places are in the pickle, or in the directory at the end, where most damage is done.
        place = data.draw(st.integers(0, len(damaged) - 1) | st.integers(len(damaged) - 4_000, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    found, _ = read(bytes(damaged), ALLOWED, archive=True)
    assert found.keys() <= {"value", "hostile", "global", "foreign"}


def test_a_reference_to_something_beside_a_plain_pickle_is_refused() -> None:
    found, _ = read(b"\x80\x04)Q.", [], archive=False)
    assert found == {"hostile": "the step BINPERSID"}


def test_a_card_of_a_scanvi_model_is_read_again() -> None:
    card, _ = imported(MODELS / "scanvi")
    assert isinstance(card, ModelCard)
    assert NeuralCard.model_validate_json(card.model_dump_json()) == card


OBO = """format-version: 1.2

[Term]
id: CL:0000000
name: cell

[Term]
id: CL:0000542
name: lymphocyte
is_a: CL:0000000

[Term]
id: CL:0000236
name: b-cells
is_a: CL:0000542
"""


def test_labels_have_their_terms_and_all_wider_ones(tmp_path: Path) -> None:
    ontology = tmp_path / "cl.obo"
    ontology.write_text(OBO)
    card, _ = import_scanvi(MODELS / "scanvi", name="mine", version="1", ontology=ontology)
    assert {label.name: label.ontology_id for label in card.labels if label.ontology_id} == {"b-cells": "CL:0000236"}
    assert [term.id for term in card.terms] == ["CL:0000000", "CL:0000542", "CL:0000236"]
