"""What is said beforehand stands beside what came of it, from the first command to the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells


@pytest.fixture
def file(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    few_cells(data_dir, 600).write_h5ad(path)
    return path


def test_validating_tells_what_it_would_take(celldrop: Celldrop, file: Path) -> None:
    told = celldrop("validate", file, "--model", "adams-45-f-0", "--json").json["forecast"]
    assert (told["accelerator"], told["n_tasks"], told["usd"]) == ("cpu", 1, None)
    assert told["seconds"] > told["merge_s"] > 0
    said = celldrop("validate", file, "--model", "adams-45-f-0").stdout
    assert f"plan    1 task on CPU, about {told['seconds']:g} s" in said
    assert "nothing is billed" in said


def test_where_files_are_billed_validating_tells_the_cost(
    celldrop: Celldrop, file: Path, environment: dict[str, str]
) -> None:
    environment["CELLDROP_BACKEND"] = "gcp"
    told = celldrop("validate", file, "--json").json["forecast"]
    assert told["usd"] == pytest.approx(told["compute_usd"] + told["operations_usd"], abs=2e-6)
    assert 0.005 < told["usd"] < 0.01  # A minute of one task, the least that is billed.


def test_a_refused_file_has_no_forecast(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("validate", data_dir / "awkward/scp_bad.h5", "--json")
    assert done.json.get("forecast") is None


def test_a_run_s_manifest_has_the_forecast_the_plan_and_what_it_took(celldrop: Celldrop, file: Path) -> None:
    done = celldrop("run", file, "--json", "--set", "objective=fastest", "--set", "map=off")
    assert done.status == 0, done.stderr
    manifest = json.loads((done.folder / "manifest.json").read_text())
    told, plan, actual = manifest["verdict"]["forecast"], manifest["plan"], manifest["cost"]["actual"]
    assert (plan["estimated_s"], plan["estimated_usd"]) == (told["seconds"], told["usd"])
    assert (plan["estimated_usd"], actual["usd"]) == (None, None)
    stages = manifest["cost"]["seconds"]
    assert actual["seconds"] > actual["machine_s"] > stages["task 0"]
    beside_s = max(stages[name] for name in ("annotations.csv.gz", "annotated.h5ad"))
    in_turn_s = sum(stages[name] for name in ("task 0", "annotations.parquet", "report.html"))
    assert actual["machine_s"] >= in_turn_s + beside_s - 0.1
    summary = done.json["summary"]
    assert (summary["estimated_s"], summary["actual_s"]) == (
        plan["estimated_s"],
        pytest.approx(actual["seconds"], abs=1),
    )
    assert done.json["plan"] == plan
    report = (done.folder / "report.html").read_text()
    assert f"1 task on CPU: {plan['estimated_s']:g} s estimated" in report
    shown = celldrop("status", done.json["submission_id"]).stdout
    assert f"Plan: 1 task on CPU, expected {plan['estimated_s']:g} s; took {summary['actual_s']:g} s" in shown
