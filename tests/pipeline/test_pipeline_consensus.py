"""A consensus of several models through every door: their own answers, the main model's bytes, one pass, any tasks."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cli.embedded import Embedded, open_embedded
from functions.ingest.schemas import StorageObject
from jobs.modeling.bundles import write_bundle
from shared.bundles.card import Features
from shared.domain.options import Options
from shared.domain.outputs import ANNOTATED_H5AD, CONSENSUS, reproducible
from shared.domain.submission import Submission
from shared.domain.verdict import Species
from shared.domain.words import percent
from shared.records.messages import AnnotationRequest
from shared.settings import load_settings
from tests.engine.cards import make_card, make_tensors
from tests.pipeline.conftest import ROOT, SORTED, Celldrop, Ended, command_in, own_environment
from tests.pipeline.few_cells import few_cells
from tests.pipeline.test_pipeline_run import TIMEOUT_S, start, wait_for_task
from tests.scvi.library import MODELS

OPTIONS = ("--json", "--set", "map=off")
TWO = ("--model", "pbmc", "--model", "pbmc-sorted")
RELATIONS = {
    "same": "same",
    "wider": "wider",
    "different": "different",
    "not comparable": "not_comparable",
    "no answer": "unsaid",
}
"""How ``consensus_relation`` says what the manifest counts."""
MAIN_FILES = set(reproducible()) - {ANNOTATED_H5AD.name}
"""Files that are the main model's alone, whatever further models say."""

pytestmark = [pytest.mark.xdist_group("consensus"), pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def cells(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    few_cells(data_dir, 700).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def blood_run(cells: Path, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Runs the command with the shipped models, in a home that all tests of this module share."""
    folder = tmp_path_factory.mktemp("consensus")
    command = command_in({**own_environment(celltypist_models, folder), **SORTED}, folder)

    def run(*arguments: object) -> Ended:
        done = command("run", cells, *OPTIONS, *arguments)
        assert done.status == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def both(blood_run: Callable[..., Ended]) -> Ended:
    return blood_run(*TWO)


def table(folder: Path, name: str = CONSENSUS.name) -> pd.DataFrame:
    return pd.read_csv(folder / name, keep_default_na=False, index_col="cell_id")


def test_every_model_says_what_it_says_alone_and_the_main_files_keep_their_bytes(
    both: Ended, blood_run: Callable[..., Ended]
) -> None:
    main, other = blood_run("--model", "pbmc"), blood_run("--model", "pbmc-sorted")
    for name in MAIN_FILES:
        assert (both.folder / name).read_bytes() == (main.folder / name).read_bytes(), name
    assert not (main.folder / CONSENSUS.name).exists()
    found = table(both.folder)
    for columns, alone in ((("label", "score", "reliable_label"), main), (("model2_label", "model2_score"), other)):
        own = table(alone.folder, "annotations.csv.gz")
        for column in columns:
            assert (found[column] == own[column.removeprefix("model2_")]).all(), column
    assert (found["model2_reliable_label"] == table(other.folder, "annotations.csv.gz")["reliable_label"]).all()
    obs, before = (anndata.read_h5ad(one.folder / "annotated.h5ad").obs for one in (both, main))
    pd.testing.assert_frame_equal(obs[before.columns], before)
    more = [column.removeprefix("celldrop_") for column in obs.columns.difference(before.columns, sort=False)]
    assert more == [*found.columns[3:6], *found.columns[6:]]
    for column in ("consensus_label", "consensus_relation", "model2_reliable_label"):
        assert (obs[f"celldrop_{column}"].astype(str) == found[column]).all()


def test_the_consensus_is_the_same_type_or_the_narrowest_common_one(both: Ended) -> None:
    found = table(both.folder)
    assert set(found["consensus_agreement"]) == {"1", ""}, "both of two models, or no consensus"
    assert ((found["consensus_label"] == "Unassigned") == (found["consensus_agreement"] == "")).all()
    same = (found["reliable_label"] == found["model2_reliable_label"]) & (found["reliable_label"] != "Unassigned")
    assert same.any()
    assert (found["consensus_label"][same] == found["reliable_label"][same]).all()
    pair = (found["reliable_label"] == "CD16 monocyte") & (found["model2_reliable_label"] == "CD14 monocyte")
    assert pair.any()
    assert set(found["consensus_label"][pair]) == {"Monocyte"}
    assert set(found["consensus_id"][pair]) == {"CL:0000576"}
    silent = (found["reliable_label"] == "Unassigned") | (found["model2_reliable_label"] == "Unassigned")
    assert set(found["consensus_label"][silent]) == {"Unassigned"}


def test_manifest_report_and_summary_tell_of_it(both: Ended) -> None:
    manifest = json.loads((both.folder / "manifest.json").read_text())
    facts, found = manifest["consensus"], table(both.folder)
    assert [f"{one['name']}@{one['version']}" for one in facts["models"]] == ["pbmc@1.2.0", "pbmc-sorted@1.3.0"]
    assert manifest["options"]["consensus"] == ["pbmc-sorted@1.3.0"]
    assert facts["counts"] == found["consensus_label"].value_counts().to_dict()
    assert sum(facts[f"n_{how}"] for how in RELATIONS.values()) == len(found)
    counted = found["consensus_relation"].value_counts().to_dict()
    assert counted == {word: n for word, how in RELATIONS.items() if (n := facts[f"n_{how}"])}
    assert facts["common_sources"] == [
        {"models": ["pbmc@1.2.0", "pbmc-sorted@1.3.0"], "source": "doi:10.1038/ncomms14049"}
    ]
    assert both.json["summary"]["n_different_label"] == facts["n_different"] > 0
    report = (both.folder / "report.html").read_text()
    assert "Do the models agree?" in report
    assert "are made from the same source (doi:10.1038/ncomms14049)" in report
    assert "None of its labels is known to be CD16 monocyte" in report
    assert facts["n_not_comparable"] > 0, "of labels in one lineage, one may be a kind of another"
    assert "celldrop models add NAME --ontology FILE" in report
    top = report[: report.index("What the cells are")]
    assert "By the two models" in top
    assert "that they agree is no independent evidence" in top
    assert "What most of the models agree on is celldrop_consensus_label" in top
    shown = report[report.index("What most of the models agree on</h3>") :]
    most, n_most = next((name, n) for name, n in facts["counts"].items() if name != "Unassigned")
    first = f'<th scope="row">{most}</th><td class="n">{n_most}</td><td class="n">{percent(n_most / 700)}</td>'
    assert shown.index(first) < shown.index("Labels that another model disputes")
    assert "consensus_label&#34;].value_counts()" in report
    assert both.json["summary"]["consensus_labels"] == facts["counts"]
    assert re.search(rf"^{most} +{n_most} +", both.stderr, re.MULTILINE)
    n_without = both.json["summary"]["n_no_consensus"]
    assert n_without == facts["counts"]["Unassigned"]
    assert f"{percent(n_without / 700)} of the cells have no type that most of the models agree on" in both.stderr
    assert "Made from the same data: pbmc@1.2.0, pbmc-sorted@1.3.0 (doi:10.1038/ncomms14049)" in both.stderr


def test_any_number_of_tasks_gives_the_same_bytes_and_a_result_is_reproduced(
    both: Ended, blood_run: Callable[..., Ended], cells: Path, celldrop: Celldrop
) -> None:
    seven = blood_run("--set", "model=pbmc", "--set", "consensus=pbmc-sorted", "--set", "tasks=3")
    assert seven.json["plan"]["n_tasks"] == 3
    names = reproducible(Options(consensus=("pbmc-sorted",)))
    assert CONSENSUS.name in names
    for name in names:
        assert (both.folder / name).read_bytes() == (seven.folder / name).read_bytes(), name
    again = celldrop("reproduce", both.folder, cells, "--json", **SORTED)
    assert again.status == 0, again.stdout
    assert again.json["files"][CONSENSUS.name] == "same bytes"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the task through /proc")
def test_a_killed_task_is_tried_again_with_all_models(
    both: Ended, environment: dict[str, str], cells: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start({**environment, **SORTED}, "run", cells, *TWO, *OPTIONS)
    os.kill(wait_for_task(home, process), signal.SIGKILL)
    assert process.wait(TIMEOUT_S) == 0
    (link,) = [path for path in home.iterdir() if path.is_symlink()]
    assert (link / CONSENSUS.name).read_bytes() == (both.folder / CONSENSUS.name).read_bytes()


def test_models_of_all_kinds_without_ids_or_records_of_errors_vote_too(
    celldrop: Celldrop, cells: Path, tmp_path: Path
) -> None:
    """A scANVI model of counts and a CellTypist model of another tissue beside pbmc."""
    out = tmp_path / "bundles"
    scanvi = out / "mine" / "1"
    done = celldrop("models", "import", MODELS / "scanvi", "--name", "mine", "--version", "1", "--out", out)
    assert done.status == 0, done.stderr
    models = ("--model", ROOT / "models/pbmc/1.2.0", "--model", scanvi, "--model", "adams-45-f-0")
    done = celldrop("run", cells, *OPTIONS, *models)
    assert done.status == 0, done.stderr
    found = table(done.folder)
    alone = table(celldrop("run", cells, *OPTIONS, "--model", scanvi).folder, "annotations.csv.gz")
    assert (found["model2_label"] == alone["label"]).all()
    assert (found["model2_score"] == alone["score"]).all()
    assert set(found["model2_reliable_label"]) == {""}
    assert {one for one in found["consensus_agreement"] if one} <= {"0.6666667", "1"}
    facts = json.loads((done.folder / "manifest.json").read_text())["consensus"]
    assert facts["n_not_comparable"] == (found["consensus_relation"] == "not comparable").sum() > 0
    report = (done.folder / "report.html").read_text()
    assert "Dotted" in report
    assert "celldrop models add NAME --ontology FILE" in report
    assert (
        "Of the further model adams-45-f-0@1: for most cells, none of its labels stands out"
        in (report[: report.index("What the cells are")])
    )
    assert "warning LOW_SCORES: adams-45-f-0@1: the median score is only" in done.stderr
    further = done.json["verdict"]["others"][1]
    assert "LOW_SCORES" in {finding["code"] for finding in further["findings"]}
    obs = anndata.read_h5ad(done.folder / "annotated.h5ad").obs
    assert "celldrop_model3_label" in obs
    assert "celldrop_model3_reliable_label" not in obs
    again = celldrop("run", done.folder / "annotated.h5ad", *OPTIONS, "--model", ROOT / "models/pbmc/1.2.0")
    assert again.status == 0, again.stderr
    left = anndata.read_h5ad(again.folder / "annotated.h5ad").obs.columns
    assert not [name for name in left if "model3" in name or "consensus" in name], "of an earlier run"


# --- Other doors -------------------------------------------------------------------------------------------------


def seen_through(embedded: Embedded, record: Submission) -> Path:
    store = embedded.local.ports.store
    deadline = time.monotonic() + TIMEOUT_S
    while not store.get(record.id).value.state.final and time.monotonic() < deadline:
        embedded.step()
        time.sleep(0.05)
    ended = store.get(record.id).value
    assert ended.result is not None, ended.failure
    return embedded.layout.results / ended.result.prefix


def drop(embedded: Embedded, cells: Path, name: str) -> int:
    """Put a copy of the file into the inbox. Returns its generation."""
    place = embedded.layout.home / "inbox" / name
    place.parent.mkdir(parents=True)
    shutil.copyfile(cells, place)
    return embedded.blobs.stat("inbox", name).ref.generation


def by_segments(embedded: Embedded, cells: Path) -> Submission:
    name = "lab/model=pbmc/consensus=pbmc-sorted/cells.h5ad"
    event = StorageObject(bucket="inbox", name=name, generation=drop(embedded, cells, name))
    stored = embedded.ingest.handle(event)
    assert stored is not None
    return stored.value


def by_request(embedded: Embedded, cells: Path) -> Submission:
    drop(embedded, cells, "lab/cells.h5ad")
    options = {"model": "pbmc", "consensus": "pbmc-sorted", "map": "off"}
    asked = AnnotationRequest(bucket="inbox", name="lab/cells.h5ad", options=options, correlation_id="lims-7")
    return embedded.ingest.handle_request(asked, "message-1").value


@pytest.mark.parametrize("door", [by_segments, by_request])
def test_an_object_path_and_a_request_ask_for_the_same(
    door: Callable[[Embedded, Path], Submission], both: Ended, cells: Path, tmp_path: Path
) -> None:
    embedded = open_embedded(load_settings(home=tmp_path / "home", models_dir=ROOT / "models", _env_file=None))
    try:
        record = door(embedded, cells)
        assert [model.reference for model in record.consensus] == ["pbmc-sorted@1.3.0"]
        assert record.model is not None
        assert record.cost.flops_per_cell == record.model.cost.flops_per_cell + record.consensus[0].cost.flops_per_cell
        folder = seen_through(embedded, record)
    finally:
        embedded.close()
    assert (folder / CONSENSUS.name).read_bytes() == (both.folder / CONSENSUS.name).read_bytes()


# --- Workflow engines -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shards_of_several_models_gathered_are_the_bytes_of_one_run(
    both: Ended, celldrop: Celldrop, cells: Path, tmp_path: Path
) -> None:
    folders = [ROOT / "models" / reference for reference in ("pbmc/1.2.0", "pbmc-sorted/1.3.0")]
    models = [word for folder in folders for word in ("--model", folder)]
    planned = celldrop("shards", "plan", cells, *models, "--set", "tasks=2", *OPTIONS)
    assert planned.json["shards"] == 2, planned.stderr
    parts = [tmp_path / f"{index}.arrow" for index in range(2)]
    for index, part in enumerate(parts):
        done = celldrop("shards", "annotate", cells, *models, "--index", index, "--part", part)
        assert done.status == 0, done.stderr
    few = celldrop("shards", "gather", cells, *parts, *models[:2], "--out", tmp_path / "few", "--json")
    assert (few.status, few.json["code"]) == (2, "INVALID_OPTION")
    done = celldrop("shards", "gather", cells, *parts, *models, "--out", tmp_path / "out")
    assert done.status == 0, done.stderr
    for name in reproducible(Options(consensus=("pbmc-sorted",))):
        assert (tmp_path / "out" / name).read_bytes() == (both.folder / name).read_bytes(), name


def test_shards_take_folders_and_no_names(celldrop: Celldrop, cells: Path) -> None:
    done = celldrop(
        "shards", "plan", cells, "--model", ROOT / "models/pbmc/1.2.0", "--set", "consensus=pbmc-sorted", "--json"
    )
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert "--model FOLDER" in done.json["hint"]


# --- Refusals ----------------------------------------------------------------------------------------------------


def bundle(folder: Path, **changes: object) -> Path:
    """A model of 30 made-up genes."""
    card = write_bundle(folder, make_card(3, 30, **changes), make_tensors(3, 30))
    return folder / card.name / card.version


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.parametrize(
    ("consensus", "code", "words"),
    [
        ("nobody", "MODEL_NOT_FOUND", "no model 'nobody'"),
        ("pbmc-sorted@9", "MODEL_NOT_FOUND", "pbmc-sorted@9"),
        ("pbmc@1.2.0", "INVALID_OPTION", "pbmc@1.2.0 is the same model as pbmc"),
        ("pbmc-sorted,pbmc-sorted@1.3.0", "INVALID_OPTION", "is the same model as pbmc-sorted"),
        ("pbmc-sorted,pbmc-sorted", "INVALID_OPTION", "each once"),
        ("a,b,c,d,e", "INVALID_OPTION", "1 to 4 other models"),
        ("", "INVALID_OPTION", "1 to 4 other models"),
        (",", "INVALID_OPTION", "1 to 4 other models"),
        ("../../etc/passwd", "MODEL_NOT_FOUND", "passwd"),
        ("x" * 300, "INVALID_OPTION", "1 to 4 other models"),
        ("sha256:0", "MODEL_NOT_FOUND", "0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    celldrop: Celldrop, cells: Path, command: str, consensus: str, code: str, words: str
) -> None:
    done = celldrop(command, cells, "--model", "pbmc", "--set", f"consensus={consensus}", "--json", **SORTED)
    assert done.status in {2, 3}, done.stdout
    assert done.json["code"] == code
    assert words in done.json["message"]


def test_a_file_that_does_not_suit_another_model_is_refused_and_the_model_named(
    celldrop: Celldrop, cells: Path, tmp_path: Path
) -> None:
    strange: Mapping[str, Path] = {
        "NO_GENE_OVERLAP": bundle(tmp_path / "none", name="strange"),
        "SPECIES_MISMATCH": bundle(
            tmp_path / "mouse",
            name="mouse",
            species=Species.MOUSE,
            features=Features(ensembl=tuple(f"ENSMUSG{number:011d}" for number in range(30))),
        ),
    }
    for folder in strange.values():
        done = celldrop("validate", cells, "--model", "pbmc", "--model", folder, "--json", **SORTED)
        alone = celldrop("validate", cells, "--model", folder, "--json", **SORTED)
        assert done.status == alone.status == 3, done.stdout
        assert done.json["code"] == alone.json["code"]
        assert done.json["message"] == f"{alone.json['model']}: {alone.json['message']}"
        ran = celldrop("run", cells, "--model", "pbmc", "--model", folder, "--json", **SORTED)
        assert (ran.status, ran.json["code"]) == (3, alone.json["code"])


def test_further_models_given_in_two_ways_are_refused(celldrop: Celldrop, cells: Path) -> None:
    done = celldrop("run", cells, *TWO, "--set", "consensus=pbmc-765", "--json", **SORTED)
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")


@pytest.mark.parametrize("command", ["run", "validate", "submit"])
@pytest.mark.parametrize(
    ("others", "code", "words"),
    [
        (["a", "b", "c", "d", "e"], "INVALID_OPTION", "one main model, and at most 4 further ones"),
        (["pbmc-sorted", "pbmc-sorted"], "INVALID_OPTION", "--model pbmc-sorted twice"),
        (["pbmc-sorted,pbmc-765"], "INVALID_OPTION", "Give each further model a --model of its own"),
        (["x" * 230], "INVALID_OPTION", "the folder of a bundle"),
        (["x" * 300], "MODEL_NOT_FOUND", "File name too long"),
        (["./a,b/"], "MODEL_NOT_FOUND", "no model.json in a,b"),
        (["pbmc@1.2.0"], "INVALID_OPTION", "pbmc@1.2.0 is the same model as pbmc"),
        ([ROOT / "models/pbmc/1.2.0"], "INVALID_OPTION", "is the same model as pbmc"),
        (["nobody"], "MODEL_NOT_FOUND", "is given as its folder: `celldrop "),
    ],
)
def test_what_is_wrong_with_further_models_is_said_of_the_option_that_names_them(
    celldrop: Celldrop, cells: Path, command: str, others: list[object], code: str, words: str
) -> None:
    models = [word for model in ("pbmc", *others) for word in ("--model", model)]
    done = celldrop(command, cells, *models, "--json", **SORTED)
    assert (done.status, done.json["code"]) == (2, code), done.stdout
    assert words in f"{done.json['message']} {done.json['hint']} {done.stderr}"
    assert not any(word in done.stdout for word in ("consensus=", "option consensus", "--set", "bucket", "sha256:"))


def test_a_further_model_may_lie_in_a_folder_with_commas_in_its_path(
    celldrop: Celldrop, cells: Path, both: Ended, tmp_path: Path
) -> None:
    folder = tmp_path / ("of the lab, " * 15) / "a,b"
    shutil.copytree(ROOT / "models/pbmc-sorted/1.3.0", folder)
    for command in ("validate", "run"):
        done = celldrop(command, cells, "--model", "pbmc", "--model", folder, *OPTIONS, **SORTED)
        assert done.status == 0, done.stderr
    assert (done.folder / CONSENSUS.name).read_bytes() == (both.folder / CONSENSUS.name).read_bytes()
    again = celldrop("reproduce", done.folder, cells, "--model", "pbmc", "--model", folder, "--json", **SORTED)
    assert again.status == 0, again.stdout


@pytest.mark.parametrize("command", ["run", "submit"])
def test_the_help_says_how_many_models_there_may_be(celldrop: Celldrop, command: str) -> None:
    words = " ".join(celldrop(command, "--help", COLUMNS="300").stdout.replace("│", " ").split())
    assert "the main model first, then at most four further ones" in words


def test_the_table_is_plain_csv_that_a_spreadsheet_can_open(both: Ended) -> None:
    lines = gzip.decompress((both.folder / CONSENSUS.name).read_bytes()).decode().splitlines()
    assert lines[0].replace('"', "") == (
        "cell_id,label,score,reliable_label,consensus_label,consensus_id,consensus_agreement,"
        "consensus_relation,model2_label,model2_score,model2_reliable_label"
    )
    assert len(lines) == 701
    assert np.isfinite(table(both.folder)["model2_score"].astype(float)).all()
