"""What Cloud Run says of executions, told apart and put into words."""

from __future__ import annotations

import json
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
    told = ExecutionReport(ExecutionState(case["state"]), case.get("problem", ""), no_room=case.get("no_room", False))
    assert report_of(execution) == told
