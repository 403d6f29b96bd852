"""The whole proof, walked on this machine: every step passes, faults end as the docs say, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cloud.pubsub_session import INSISTING
from tests.prove.faults import FAULTS
from tests.prove.hands import LISTEN, LOCAL_SOON_S, SHARE
from tests.prove.options import ROOT
from tests.prove.report import PLAIN

LIMIT_S = 1800
EVERY_FAULT = tuple(fault.name for fault in FAULTS)
NOT_HERE = {fault.name for fault in FAULTS if fault.only_at_google} | {"drop delivered again"}
"""What no stand-in on this machine can do."""
SHARE_OF_THE_SUITE = "-k cannot_be_used"
"""The contract that the suite consists of is tested of the local cloud in tests/cloud, too."""
SHARE_OF_THE_FAULTS = (
    *(PLAIN, "customer-supplied key", "empty object first", "temporary names", "malformed requests"),
    *("bucket that is not allowed", "name with a line break", "unknown model", "request delivered again"),
    *("execution cancelled from outside", "no token, or a false one"),
)
"""What only a whole cloud has, and what runs no cells; the simulator has the others in every run."""
QUICK_LISTEN_S = 5.0
"""How long the share listens for what ought not to come; the whole listens as long as a proof by hand."""


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
@pytest.mark.xdist_group("local-cloud")
@pytest.mark.parametrize(
    ("of_the_suite", "of_the_faults", "listen_s"),
    [
        pytest.param(
            *(SHARE_OF_THE_SUITE, SHARE_OF_THE_FAULTS, QUICK_LISTEN_S),
            id="a share of suite and faults",
            marks=pytest.mark.exhaustive,  # Its steps are walked in test_prove_walk, its faults are in tests/cloud.
        ),
        pytest.param("", EVERY_FAULT, LOCAL_SOON_S, id="all of it", marks=pytest.mark.exhaustive),
    ],
)
def test_the_local_cloud_is_proved_and_nothing_is_left(
    of_the_suite: str, of_the_faults: Sequence[str], listen_s: float, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.prove", "--local", "--out", str(tmp_path)]
    share = {"PYTEST_ADDOPTS": of_the_suite, SHARE: ";".join(of_the_faults), LISTEN: str(listen_s)}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **share}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if "EmulatorMissingError" in done.stdout and not any(name in os.environ for name in INSISTING):
        pytest.skip("the emulators are not here")
    [folder] = tmp_path.iterdir()
    report = json.loads((folder / "report.json").read_text())
    problems = {step["name"]: step["problems"] for step in report["steps"] if step["problems"]}
    assert problems == {}, done.stdout
    assert (done.returncode, report["left_behind"]) == (0, [])
    faults = json.loads((folder / "faults.json").read_text())["faults"]
    assert {fault["fault"] for fault in faults} == set(of_the_faults)
    assert {fault["fault"] for fault in faults if fault["result"] == "not provoked"} == NOT_HERE & set(of_the_faults)
    assert {fault["result"] for fault in faults} == {"as documented", "not provoked"}
    plain = faults[0]["facts"]["seconds"]
    assert plain["DISPATCHING to RUNNING"] > 0
