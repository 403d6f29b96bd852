"""The WDL workflow: nothing to object to, its inputs described, and the pipeline's bytes under miniwdl."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import WDL
from scipy.sparse import csr_matrix
from WDL.Tree import Workflow

from shared.domain.options import Options, Scores, parse_options
from shared.domain.outputs import OUTPUTS, reproducible
from tests.cromwell.conftest import BUNDLE, FILE
from tests.cromwell.miniwdl import WORKFLOW, Ran, check, run
from tests.images.containers import INFERENCE, require_image

EXAMPLES = sorted(WORKFLOW.parent.glob("*.json"))
README = WORKFLOW.with_name("README.md").read_text()


# --- As it is written ---


def workflow() -> Workflow:
    found = WDL.load(str(WORKFLOW)).workflow
    assert found is not None
    return found


def names(inputs: WDL.Env.Bindings[Any]) -> set[str]:
    return {binding.name for binding in inputs if "." not in binding.name}


def wdl_name(file: str) -> str:
    """What the workflow calls a file of the result."""
    name = file.removesuffix(".gz")
    return {"report.html": "report", "manifest.json": "manifest"}.get(file, name.replace(".", "_"))


def test_every_file_of_a_result_is_an_output() -> None:
    outputs = {binding.name for binding in workflow().effective_outputs}
    assert {wdl_name(output.name) for output in OUTPUTS} <= outputs
    gathered = re.findall(r'"results/(.+?)"', WORKFLOW.read_text())
    assert sorted(gathered) == sorted(output.name for output in OUTPUTS)


def test_the_checker_is_content() -> None:
    done = check(WORKFLOW)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_checker_would_find_a_slip(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wdl"
    text = WORKFLOW.read_text()
    assert "--index ~{index}" in text
    broken.write_text(text.replace("--index ~{index}", "--index ~{indx}"))
    assert check(broken).returncode != 0


def test_every_input_is_described() -> None:
    assert set(workflow().parameter_meta) == names(workflow().available_inputs)


def test_every_input_has_a_line_in_the_readme() -> None:
    assert [name for name in names(workflow().available_inputs) if f"| `{name}` |" not in README] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_gives_all_that_is_needed_and_nothing_else(path: Path) -> None:
    example = json.loads(path.read_text())
    given = {name.removeprefix("celldrop.") for name in example}
    assert names(workflow().required_inputs) <= given <= names(workflow().available_inputs)
    options = dict(option.split("=", 1) for option in example.get("celldrop.options", []))
    parse_options(options)


# --- As it runs ---


def given(file: Path, **more: object) -> dict[str, object]:
    """Inputs: a file and the bundle, on this machine's few cores."""
    card, weights = (str(BUNDLE / name) for name in ("model.json", "weights.safetensors"))
    return {"h5ad": str(file), "model_card": card, "model_weights": weights, "image": INFERENCE, "cpu": 1, **more}


def ten_x(file: Path, *, of: Path) -> Path:
    """The counts of a file as 10x writes them."""
    cells = anndata.read_h5ad(of)
    counts = csr_matrix(cells.X)
    n_genes = counts.shape[1]
    with h5py.File(file, "w") as made:
        for name, values in {
            "barcodes": np.array(cells.obs_names, dtype="S"),
            "data": counts.data.astype(np.int32),
            "indices": counts.indices.astype(np.int64),
            "indptr": counts.indptr.astype(np.int64),
            "shape": np.array([n_genes, counts.shape[0]], dtype=np.int32),
            "features/id": np.array(cells.var_names, dtype="S"),
            "features/name": np.array(cells.var_names, dtype="S"),
            "features/feature_type": np.array(["Gene Expression"] * n_genes, dtype="S"),
        }.items():
            made[f"matrix/{name}"] = values
    return file


def stderr_of_the_failed(ended: Ran) -> str:
    return Path(ended.answer["cause"]["stderr_file"]).read_text()


@pytest.fixture(scope="module")
def three_shards(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    require_image(INFERENCE)
    return run(tmp_path_factory.mktemp("shards"), given(data_dir / FILE, shards=3, options=["scores=full"]))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_three_shards_under_miniwdl_give_the_pipelines_bytes(three_shards: Ran, pipelines_own: Path) -> None:
    assert three_shards.status == 0, three_shards.log
    assert "2,700 cells in 3 shards" in three_shards.log
    for name in reproducible(Options(scores=Scores.FULL)):
        made = three_shards.output(wdl_name(name))
        assert made is not None, name
        assert made.read_bytes() == (pipelines_own / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_report_and_manifest_come_with_them(three_shards: Ran) -> None:
    report, manifest = (three_shards.output(name) for name in ("report", "manifest"))
    assert report is not None
    assert manifest is not None
    assert "<html" in report.read_text()
    assert json.loads(manifest.read_text())["model"]["name"] == "pbmc-sorted-765"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_a_10x_file_with_nothing_asked_for_is_one_shard_and_has_no_annotated_copy(
    data_dir: Path, pipelines_own: Path, tmp_path: Path
) -> None:
    require_image(INFERENCE)
    ended = run(tmp_path, given(ten_x(tmp_path / "cells.h5", of=data_dir / FILE)))
    assert ended.status == 0, ended.log
    assert "2,700 cells in 1 shard: " in ended.log
    assert (ended.output("annotated_h5ad"), ended.output("scores_parquet")) == (None, None)
    tables = ended.output("annotations_csv")
    assert tables is not None
    assert tables.read_bytes() == (pipelines_own / "annotations.csv.gz").read_bytes()


@pytest.mark.slow
@pytest.mark.xdist_group("images")
def test_a_refused_file_fails_the_task_with_code_and_hint_in_its_stderr_and_is_not_tried_again(
    data_dir: Path, tmp_path: Path
) -> None:
    require_image(INFERENCE)
    ended = run(tmp_path, given(data_dir / "awkward" / "soma_x-none.h5ad", max_retries=2))
    cause = ended.answer["cause"]
    assert (cause["error"], cause["exit_status"], cause["run"]) == ("CommandFailed", 3, "call-plan")
    (refusal,) = tmp_path.glob("ran/call-plan/work*/planned.json")
    told = json.loads(refusal.read_text())
    assert told["code"] == "NO_USABLE_MATRIX"
    assert told["hint"]
    assert stderr_of_the_failed(ended).strip() == f"{told['code']}: {told['message']} {told['hint']}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_shards_that_were_promised_a_gpu_and_find_none_fail_with_the_code(data_dir: Path, tmp_path: Path) -> None:
    require_image(INFERENCE)
    ended = run(tmp_path, given(data_dir / FILE, gpu=True, max_retries=0))
    assert ended.answer["cause"]["run"].startswith("call-annotate_on_gpu")
    assert "GPU_UNAVAILABLE: " in stderr_of_the_failed(ended)
