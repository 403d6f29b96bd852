"""The WDL workflow: nothing to object to, its inputs described, and the pipeline's bytes under miniwdl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import WDL
from WDL.Tree import Workflow

from shared.domain.options import parse_options
from tests.cromwell.conftest import BUNDLE, FILE
from tests.cromwell.miniwdl import WORKFLOW, Ran, check, run
from tests.images.containers import INFERENCE, require_image

SAME_BYTES = {
    "annotations_parquet": "annotations.parquet",
    "annotations_csv": "annotations.csv.gz",
    "scores_parquet": "scores.parquet",
    "annotated_h5ad": "annotated.h5ad",
}
EXAMPLES = sorted(WORKFLOW.parent.glob("*.json"))
README = WORKFLOW.with_name("README.md").read_text()


# --- As it is written ---


def workflow() -> Workflow:
    found = WDL.load(str(WORKFLOW)).workflow
    assert found is not None
    return found


def names(inputs: WDL.Env.Bindings[Any]) -> set[str]:
    return {binding.name for binding in inputs if "." not in binding.name}


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


@pytest.fixture(scope="module")
def three_shards(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    require_image(INFERENCE)
    return run(
        tmp_path_factory.mktemp("three shards"),
        h5ad=str(data_dir / FILE),
        model_card=str(BUNDLE / "model.json"),
        model_weights=str(BUNDLE / "weights.safetensors"),
        image=INFERENCE,
        options=["scores=full"],
        shards=3,
        cpu=1,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_three_shards_under_miniwdl_give_the_pipelines_bytes(three_shards: Ran, pipelines_own: Path) -> None:
    assert three_shards.status == 0, three_shards.log
    assert "2,700 cells in 3 shards" in three_shards.log
    for output, name in SAME_BYTES.items():
        made = three_shards.output(output)
        assert made is not None, output
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
@pytest.mark.xdist_group("images")
def test_a_refused_file_fails_the_task_with_code_and_hint_in_its_stderr(data_dir: Path, tmp_path: Path) -> None:
    require_image(INFERENCE)
    ended = run(
        tmp_path,
        h5ad=str(data_dir / "awkward" / "soma_x-none.h5ad"),
        model_card=str(BUNDLE / "model.json"),
        model_weights=str(BUNDLE / "weights.safetensors"),
        image=INFERENCE,
        cpu=1,
    )
    cause = ended.answer["cause"]
    assert (cause["error"], cause["exit_status"], cause["run"]) == ("CommandFailed", 3, "call-plan")
    assert "NO_USABLE_MATRIX: " in Path(cause["stderr_file"]).read_text()
