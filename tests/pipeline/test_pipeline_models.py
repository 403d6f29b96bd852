"""`celldrop models …` and `doctor`, through the real command."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import anndata
import h5py
import hdf5plugin
import pandas as pd
import pytest
import scanpy as sc

from jobs.modeling.kinds.table import RECIPES
from shared.bundles.card import Kind
from tests.pipeline.conftest import ROOT, Celldrop

ZHENG = "h5ad/zheng_sorted_pbmc_train.h5ad"


def test_an_imported_model_is_listed_shown_and_used(celldrop: Celldrop, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundles"
    pkl = data_dir / "models/adams_45_f_0.pkl"
    done = celldrop("models", "import", pkl, "--name", "adams", "--version", "1", "--out", out, "--json")
    assert done.status == 0, done.stderr
    assert Path(done.json["path"]) == out / "adams" / "1"
    listed = celldrop("models", "list", "--models", out, "--json").json["models"]
    assert celldrop("models", "list", "--out", out, "--json").json["models"] == listed  # as it was called before
    assert [(one["name"], one["version"], one["default"], one["newest"]) for one in listed] == [
        ("adams", "1", False, True)
    ]
    card = celldrop("models", "show", out, "--json").json
    assert card["digest"] == listed[0]["digest"]
    assert len(card["labels"]) == 45
    verdict = celldrop("validate", data_dir / "h5ad/pbmc3k_raw_labelled.h5ad", "--model", out, "--json").json
    assert verdict["overlap"]["n_model"] == 3947
    again = celldrop("models", "import", pkl, "--name", "adams", "--version", "2", "--models", out, "--json")
    assert Path(again.json["path"]) == out / "adams" / "2", again.stderr


def test_the_newest_versions_are_listed_and_the_default_is_marked(celldrop: Celldrop, tmp_path: Path) -> None:
    for name, version in [("pbmc", "1.2.0"), ("pbmc", "1.1.0"), ("pbmc-765", "1.0.0")]:
        shutil.copytree(ROOT / "models" / name / version, tmp_path / "models" / name / version)
    settings = {"CELLDROP_MODELS_DIR": str(tmp_path / "models"), "CELLDROP_DEFAULT_MODEL": "pbmc"}
    few, every = (celldrop("models", "list", *flag, **settings).stdout for flag in ((), ("--all",)))
    assert re.findall(r"(pbmc\S*@\S+)(?: (\(default\)))?", few) == [("pbmc@1.2.0", "(default)"), ("pbmc-765@1.0.0", "")]
    assert "1 older version not shown: --all lists them." in few
    assert "pbmc@1.1.0" in every
    assert "older version" not in every
    told = celldrop("models", "list", "--json", **settings).json["models"]
    assert [(one["version"], one["default"], one["newest"]) for one in told] == [
        ("1.2.0", True, True),
        ("1.1.0", False, False),
        ("1.0.0", False, True),
    ]
    assert "0.929 of 14" in celldrop("models", "show", "pbmc", **settings).stdout


@pytest.mark.parametrize(
    ("bundle", "heads", "row"),
    [
        ("pbmc/1.2.0", "max_error a label or wider type is reliable from a score of", "0.05 0.70"),
        ("pbmc-sorted/1.3.0", "max_error a label is reliable from a score of a lineage", "0.05 0.69 0.50"),
    ],
)
def test_a_card_says_from_which_scores_on_labels_are_reliable(
    celldrop: Celldrop, bundle: str, heads: str, row: str
) -> None:
    told = [" ".join(line.split()) for line in celldrop("models", "show", ROOT / "models" / bundle).stdout.splitlines()]
    assert heads in told
    assert row in told[told.index(heads) :]


def test_a_card_without_a_record_of_errors_says_so(celldrop: Celldrop) -> None:
    assert "no label is called reliable" in celldrop("models", "show", "adams-45-f-0").stdout


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(celldrop: Celldrop, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    bad = tmp_path / "evil.pkl"
    bad.write_bytes(pickle.dumps({"Model": Evil(), "Scaler_": None, "description": {}}))
    done = celldrop("models", "import", bad, "--name", "evil", "--version", "1", "--out", tmp_path / "out", "--json")
    assert (done.status, done.json["code"]) == (3, "MODEL_UNSAFE")
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def labelled(tmp_path: Path, data_dir: Path) -> Path:
    """A few hundred cells of two populations that are easily told apart."""
    cells = anndata.read_h5ad(data_dir / ZHENG)
    chosen = cells.obs["sorted_population"].isin(["b-cells", "cd14-monocytes"]).to_numpy().nonzero()[0]
    path = tmp_path / "labelled.h5ad"
    cells[chosen[::12]].copy().write_h5ad(path)
    return path


@pytest.mark.parametrize("kind", RECIPES)
def test_a_model_is_trained_evaluated_and_used(kind: Kind, celldrop: Celldrop, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundles"
    arguments = ("--labels", "sorted_population", "--name", "mine", "--version", "1", "--out", out, "--n-genes", "300")
    trained = celldrop("models", "train", labelled, *arguments, "--kind", kind, "--json")
    assert trained.status == 0, trained.stderr
    assert trained.json["metrics"]["accuracy"] > 0.95
    assert celldrop("models", "show", out / "mine" / "1", "--json").json["kind"] == kind
    done = celldrop("run", labelled, "--model", out / "mine" / "1", "--json", "--set", "map=off")
    assert done.status == 0, done.stderr
    manifest = json.loads((done.folder / "manifest.json").read_text())
    without = [one["reason"] for one in manifest["missing"] if one["name"] == "evidence.csv"]
    assert (done.folder / "evidence.csv").exists() == (kind is not Kind.NEIGHBOURS) == (not without)
    assert all("does not score by single genes" in reason for reason in without)
    labels = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert (labels["celldrop_label"].astype(str) == labels["sorted_population"].astype(str)).mean() > 0.95
    if kind is not Kind.LINEAR:
        return  # The rest does not depend on the kind.
    figures = ("--labels", "sorted_population", "--out", tmp_path / "figures")
    judged = celldrop("models", "evaluate", out / "mine" / "1", labelled, *figures, "--json")
    assert judged.json["labels"]["accuracy"] > 0.95
    assert [one["code"] for one in judged.json["warnings"]] == ["TRAINED_ON_THIS_FILE"]
    assert "TRAINED_ON_THIS_FILE" in judged.stderr
    for name in ("metrics.csv", "evaluation.html"):
        assert "TRAINED_ON_THIS_FILE" in (tmp_path / "figures" / name).read_text()


def test_a_model_is_trained_on_several_files_with_the_genes_of_all(
    celldrop: Celldrop, labelled: Path, tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(labelled)
    paths = [tmp_path / "even.h5ad", tmp_path / "odd.h5ad"]
    cells[::2].copy().write_h5ad(paths[0])
    cells[1::2, 500:].copy().write_h5ad(paths[1])
    arguments = ("--labels", "sorted_population", "--name", "both", "--version", "1", "--out", tmp_path / "bundles")
    done = celldrop("models", "train", *paths, *arguments, "--n-genes", "200")
    assert done.status == 0, done.stderr
    assert f"{cells.n_obs:,} cells with 2 labels in even.h5ad, odd.h5ad" in done.stdout
    card = json.loads((tmp_path / "bundles/both/1/model.json").read_text())
    assert card["training"]["source"] == "even.h5ad, odd.h5ad"
    assert len(card["training"]["source_sha256"].split(", ")) == 2
    assert set(card["features"]["symbol"]) <= set(cells.var_names[500:])


def test_an_index_of_reference_cells_takes_more_of_them_and_is_used(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(data_dir / ZHENG)
    paths = [tmp_path / "first.h5ad", tmp_path / "second.h5ad"]
    cells[::24].copy().write_h5ad(paths[0])
    cells[5::8].copy().write_h5ad(paths[1])
    out, labels = tmp_path / "bundles", ("--labels", "sorted_population", "--out", tmp_path / "bundles")
    first = ("models", "train", paths[0], *labels, "--kind", "neighbours", "--name", "blood", "--version", "1")
    assert celldrop(*first, "--n-genes", "300").status == 0
    own, named = {"CELLDROP_MODELS_DIR": str(out)}, ("--labels", "sorted_population", "--models", tmp_path / "other")
    done = celldrop("models", "index", "blood@1", *paths, *named, "--version", "2", "--json", **own)
    assert done.status == 0, done.stderr
    assert done.json["model"] == "blood@2"
    assert done.json["path"] == str(tmp_path / "other" / "blood" / "2")
    there = celldrop("models", "index", "blood@2", *paths, *named, "--version", "2", "--json", **own)
    assert there.json["code"] == "MODEL_EXISTS", "it is looked up there, too"
    nowhere = celldrop("models", "index", "blood@3", *paths, *named, "--version", "4", "--json", **own)
    assert (nowhere.json["code"], "blood@1" in nowhere.json["message"]) == ("MODEL_NOT_FOUND", True)
    assert done.json["n_reference"] == len(cells[::24]) + len(cells[5::8])
    assert done.json["metrics"]["accuracy"] > 0.7
    ran = celldrop("run", paths[0], "--model", tmp_path / "other" / "blood" / "2", "--json", "--set", "map=off")
    assert ran.status == 0, ran.stderr
    found = anndata.read_h5ad(ran.folder / "annotated.h5ad").obs
    # Each cell is one of its own neighbours, so that it is told more often than any other.
    assert (found["celldrop_label"].astype(str) == found["sorted_population"].astype(str)).mean() > 0.75
    again = celldrop("models", "index", ROOT / "models/pbmc/1.2.0", paths[1], *labels, "--version", "9", "--json")
    assert (again.status, again.json["code"]) == (2, "INVALID_OPTION")


def test_a_version_is_never_written_over(celldrop: Celldrop, data_dir: Path, tmp_path: Path) -> None:
    arguments = ("models", "import", data_dir / "models/adams_45_f_0.pkl", "--name", "a", "--version", "1")
    first, second = (celldrop(*arguments, "--out", tmp_path / "out", "--json") for _ in range(2))
    assert (first.status, second.json["code"]) == (0, "MODEL_EXISTS")


def test_labels_that_are_not_there_are_named(celldrop: Celldrop, labelled: Path, tmp_path: Path) -> None:
    arguments = ("--labels", "nothing", "--name", "mine", "--version", "1", "--out", tmp_path, "--json")
    done = celldrop("models", "train", labelled, *arguments)
    assert (done.status, done.json["code"]) == (3, "TRAINING_DATA_UNUSABLE")
    assert "sorted_population" in done.stdout


def test_a_model_is_trained_on_a_compressed_file_with_the_genes_of_a_list(
    celldrop: Celldrop, labelled: Path, tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(labelled)
    names = cells.obs["sorted_population"].astype(object)
    names.iloc[:5] = "nan"
    cells.obs["sorted_population"] = names
    cells.write_h5ad(labelled)
    with h5py.File(labelled, "r+") as file:
        values = file["X/data"][()]
        del file["X/data"]
        file["X"].create_dataset("data", data=values, chunks=(2_000,), **hdf5plugin.Zstd())
    genes = tmp_path / "genes.txt"
    genes.write_text("# f\u00fcr sp\u00e4ter\r\n" + "\r\n".join(cells.var_names[:4_000]), encoding="latin-1")
    arguments = ("--labels", "sorted_population", "--name", "mine", "--version", "1", "--out", tmp_path / "bundles")
    done = celldrop("models", "train", labelled, *arguments, "--n-genes", "200", "--features-from", genes)
    assert done.status == 0, done.stderr
    assert "2 labels" in done.stdout
    assert "5 cells have no label and are left out; of these 5 'nan'" in done.stdout
    assert "4,000 of its 8,025 genes are in genes.txt too" in done.stdout
    again = celldrop("models", "train", labelled, *arguments, "--json")
    assert (again.status, again.json["code"]) == (2, "MODEL_EXISTS")


def test_a_mouse_is_no_zero_for_a_human_model(celldrop: Celldrop, labelled: Path) -> None:
    cells = anndata.read_h5ad(labelled)
    cells.var = pd.DataFrame(index=[name.capitalize() for name in cells.var_names])
    cells.write_h5ad(labelled)
    shipped = ROOT / "models" / "pbmc-sorted" / "1.0.0"
    done = celldrop("models", "evaluate", shipped, labelled, "--labels", "sorted_population", "--json")
    assert (done.status, done.json["code"]) == (3, "WRONG_SPECIES")
    assert "accuracy" not in done.stdout


def test_an_evaluation_prints_its_warnings_and_what_it_cannot_compare(celldrop: Celldrop, labelled: Path) -> None:
    cells = anndata.read_h5ad(labelled)
    names = cells.obs["sorted_population"].astype(object)
    names.iloc[:7] = "dragon"
    cells.obs["sorted_population"] = names
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    cells.write_h5ad(labelled)
    shipped = ROOT / "models" / "pbmc-sorted" / "1.0.0"
    done = celldrop("models", "evaluate", shipped, labelled, "--labels", "sorted_population")
    assert done.status == 0, done.stderr
    assert "LOG_NORMALISED_INPUT" in done.stdout
    assert "not labels of pbmc-sorted@1.0.0, left out: dragon (7)" in done.stdout


def test_doctor_finds_a_sound_installation_sound(celldrop: Celldrop) -> None:
    done = celldrop("doctor", "--json")
    assert done.status == 0, done.stdout
    assert {check["health"] for check in done.json["checks"]} == {"ok"}


def test_doctor_names_a_model_that_is_not_whole(celldrop: Celldrop, celltypist_models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(celltypist_models, broken)
    weights = broken / "adams-45-f-0" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    done = celldrop("doctor", "--json", CELLDROP_MODELS_DIR=str(broken))
    assert done.status == 1
    assert "models" in {check["name"] for check in done.json["checks"] if check["health"] == "wrong"}


OBO = """format-version: 1.2

[Term]
id: CL:0000084
name: T cell

[Term]
id: CL:0000624
name: CD4-positive T cell
is_a: CL:0000084 ! T cell

[Term]
id: CL:0000895
name: naive CD4 T cell
is_a: CL:0000624 ! CD4-positive T cell

[Term]
id: CL:0000492
name: CD4-positive helper T cell
is_a: CL:0000624 ! CD4-positive T cell

[Term]
id: CL:0000900
name: naive CD8 T cell
is_a: CL:0000084 ! T cell

[Term]
id: CL:0000236
name: B cell
"""
NAMES = """submitted,name,id,lineage
naive-t,Naive CD4 T cell,,T cell
cd4-t-helper,Helper,CL:0000492,T cell
naive-cytotoxic,Naive CD8 T cell,,T cell
b-cells,Bees,,B cell
"""


def test_a_model_with_a_tree_and_readable_names_is_trained_shown_used_and_evaluated(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    cells = anndata.read_h5ad(data_dir / ZHENG)
    population = cells.obs["sorted_population"].astype(str)
    chosen = population.isin(["naive-t", "cd4-t-helper", "naive-cytotoxic", "b-cells"]).to_numpy().nonzero()[0]
    file, out = tmp_path / "four.h5ad", tmp_path / "bundles"
    cells[chosen[::6]].copy().write_h5ad(file)
    (tmp_path / "cl.obo").write_text(OBO)
    (tmp_path / "names.csv").write_text(NAMES)
    train = (
        "models",
        "train",
        file,
        "--labels",
        "sorted_population",
        "--n-genes",
        "300",
        "--version",
        "1",
        "--out",
        out,
    )
    tree = ("--names", tmp_path / "names.csv", "--ontology", tmp_path / "cl.obo")
    done = celldrop(*train, *tree, "--name", "four", "--out", out)
    assert done.status == 0, done.stderr
    assert "'Bees' is no term" not in done.stdout, "the submitted name is"
    assert "CD4-positive T cell (2), T cell (3)" in " ".join(done.stdout.split())
    card = celldrop("models", "show", "four", "--out", out, "--json").json
    assert [(one["name"], one["submitted"], one["ontology_id"]) for one in card["labels"]] == [
        ("Bees", "b-cells", "CL:0000236"),
        ("Helper", "cd4-t-helper", "CL:0000492"),
        ("Naive CD4 T cell", "naive-t", "CL:0000895"),
        ("Naive CD8 T cell", "naive-cytotoxic", "CL:0000900"),
    ]
    assert [group["ontology_id"] for group in card["tree"]] == ["CL:0000624", "CL:0000084"]
    assert [one["tree_score"] is not None for one in card["reliability"]][-3:] == [True] * 3
    ran = celldrop("run", file, "--model", out / "four" / "1", "--set", "composition=off", "--json")
    assert ran.status == 0, ran.stderr
    frame = pd.read_parquet(ran.folder / "annotations.parquet")
    labels = json.loads((ran.folder / "manifest.json").read_text())["labels"]
    counts = frame["reliable_label"].value_counts()
    assert labels["reliable"] == counts.to_dict()
    assert labels["n_reliable_group"] == counts["CD4-positive T cell"] > 10
    assert "only a wider type (CD4-positive T cell" in (ran.folder / "report.html").read_text()
    h5ad = anndata.read_h5ad(ran.folder / "annotated.h5ad")
    assert h5ad.obs["celldrop_reliable_label"].tolist() == frame["reliable_label"].tolist()
    judged = celldrop(
        *("models", "evaluate", "four", file, "--labels", "sorted_population", "--models", out, "--json")
    ).json
    assert judged["labels"]["n_cells"] == len(frame), "submitted names are known"


def test_a_file_of_names_or_terms_that_is_none_is_refused(celldrop: Celldrop, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("b-cells\n")
    train = ("models", "train", labelled, "--labels", "sorted_population", "--name", "x", "--version", "1")
    for option in ("--names", "--ontology"):
        done = celldrop(*train, option, tmp_path / "none.csv", "--out", tmp_path / "out", "--json")
        assert (done.status, done.json["code"]) == (2, "INVALID_OPTION"), option
    assert not (tmp_path / "out").exists()
