"""What Cloud Run says of executions, told apart and put into words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.cloud.run_v2 import Execution

from shared.adapters.gcp.executions import report_of
from shared.ports.jobs import ExecutionReport, ExecutionState

CASES = json.loads((Path(__file__).parents[1] / "events" / "cloud_run_executions.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_execution_is_told_with_its_problem(case: dict[str, Any]) -> None:
    execution = Execution.from_json(json.dumps(case["execution"]), ignore_unknown_fields=False)
    kinds = {kind: case.get(kind, False) for kind in ("no_room", "refused")}
    told = replace(ExecutionReport(ExecutionState(case["state"]), case.get("problem", "")), **kinds)
    assert report_of(execution) == told
