"""What every deployed pipeline does, on this machine or in a project: a drop, a request, a refusal, a cancellation."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shared.domain.options import Options, Scores
from shared.domain.outputs import reproducible
from tests import warm
from tests.cloud.local_cloud import ROOT
from tests.cloud.pipeline_cloud import Cloud
from tests.pipeline.few_cells import few_cells
from tests.platform.doors import ODD_NAMES

MODEL = "pbmc-sorted-765"
N_CELLS = 600
"""Three blocks, for two tasks."""
AT_ONCE_BYTES = 8 * 2**20
"""``gcloud storage cp`` uploads a larger file in a form of its own, which can be resumed."""


class PipelineContract:
    """Fixture to give: ``cloud``, one for all of these tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def file(cls, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return blood(data_dir, tmp_path_factory.mktemp("blood"))

    @pytest.fixture(scope="class")
    @classmethod
    def dropped(cls, cloud: Cloud, file: Path) -> str:
        """The name of an object that was dropped once for all who ask about one."""
        return cloud.drop("folder/blood.h5ad", file.read_bytes(), tasks="2", scores="full", model=MODEL)

    def test_a_drop_comes_out_as_the_same_bytes_as_embedded(
        self, cloud: Cloud, file: Path, dropped: str, tmp_path: Path
    ) -> None:
        outcome = cloud.end_of(dropped)
        assert outcome["state"] == "SUCCEEDED"
        embedded = _embedded(file, tmp_path)
        for output in reproducible(Options(scores=Scores.FULL)):
            assert cloud.result(outcome, output) == (embedded / output).read_bytes(), output
        assert pq.read_table(io.BytesIO(cloud.result(outcome, "annotations.parquet"))).num_rows == N_CELLS
        _all_agree(cloud, outcome)

    def test_a_request_is_answered_to_who_asked(self, cloud: Cloud, dropped: str) -> None:
        cloud.end_of(dropped)
        order = {"correlation_id": cloud.at.folder, "source": "lims"}
        cloud.ask(cloud.request(dropped, **order, options={"top_k": "2", "model": MODEL, "map": "off"}))
        event = cloud.event_where(
            lambda event: (
                any(who["correlation_id"] == cloud.at.folder for who in event["data"]["requesters"])
                and event["type"] == "celldrop.submission.succeeded.v1"
            )
        )
        assert event["data"]["requesters"] == [order]

    def test_a_request_of_a_later_version_is_a_dead_letter_and_a_malformed_one_is_not(self, cloud: Cloud) -> None:
        mark = cloud.at.folder
        cloud.ask(f"no request, {mark}".encode())
        cloud.ask({**cloud.request("x.h5ad", source=mark), "schema_version": 99})
        dead = json.loads(cloud.dead_request_where(lambda data: mark.encode() in data))
        assert dead["schema_version"] == 99
        assert [data for data in cloud.dead_requests() if mark.encode() in data and b"no request" in data] == []

    def test_a_file_that_cannot_be_used_is_rejected_with_its_reason(self, cloud: Cloud) -> None:
        outcome = cloud.end_of(cloud.drop("notes.h5ad", b"these are notes, not cells\n" * 100, model=MODEL))
        assert (outcome["state"], outcome["code"]) == ("REJECTED", "NOT_HDF5")
        assert cloud.http(f"v1/submissions/{outcome['submission_id']}")["state"] == "REJECTED"

    def test_the_command_line_submits_watches_and_cancels(self, cloud: Cloud, file: Path) -> None:
        submitted = cloud.celldrop("submit", file, "--json", "--set", "map=off", "--model", MODEL)
        assert submitted.status == 0, submitted.stderr
        submission_id = submitted.json["submission_id"]
        watched = cloud.celldrop("watch", submission_id, "--json")
        assert (watched.status, watched.json["state"]) == (0, "SUCCEEDED"), watched.stderr
        other = cloud.celldrop("submit", file, "--json", "--model", MODEL).json["submission_id"]
        cloud.event_where(lambda event: bool(event["subject"] == other))
        cancelled = cloud.celldrop("cancel", other, "--json")
        assert (cancelled.status, cancelled.json["state"]) == (0, "CANCELLED"), cancelled.stderr
        name = cloud.http(f"v1/submissions/{other}")["source"]["name"]
        assert cloud.end_of(name)["state"] == "CANCELLED"


class GcloudContract:
    """Fixture to give: ``cloud``, whose storage takes gcloud's own form of uploads."""

    def test_gcloud_storage_cp_fires_the_pipeline(self, cloud: Cloud, data_dir: Path, tmp_path: Path) -> None:
        cells, larger = blood(data_dir, tmp_path), blood(data_dir, tmp_path, beside_bytes=AT_ONCE_BYTES)
        assert cells.stat().st_size < AT_ONCE_BYTES < larger.stat().st_size
        small = cloud.gcloud_drop(cells, model=MODEL, map="off")
        large = cloud.gcloud_drop(larger, model=MODEL, map="off")
        ends = [cloud.end_of(name) for name in (small, large)]
        assert [end["state"] for end in ends] == ["SUCCEEDED", "SUCCEEDED"]
        assert [end["summary"]["n_cells"] for end in ends] == [N_CELLS, N_CELLS]
        _all_agree(cloud, ends[0])

    def test_odd_names_come_through_as_they_are(self, cloud: Cloud) -> None:
        names = [cloud.drop(name, b"these are notes, not cells\n" * 100, model=MODEL) for name in ODD_NAMES]
        assert [cloud.end_of(name)["code"] for name in names] == ["NOT_HDF5"] * len(ODD_NAMES)


def blood(data_dir: Path, folder: Path, beside_bytes: int = 0) -> Path:
    """A file of real cells, with so much beside them that nobody looks at."""
    cells = few_cells(data_dir, N_CELLS)
    if beside_bytes:
        cells.obsm["X_other"] = np.random.default_rng(0).random((N_CELLS, beside_bytes // N_CELLS // 8 + 1))
    path = folder / ("larger.h5ad" if beside_bytes else "blood.h5ad")
    cells.write_h5ad(path, compression="gzip")
    return path


def _embedded(file: Path, tmp_path: Path) -> Path:
    env = {**os.environ, "CELLDROP_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    options = ("--json", "--set", "scores=full", "--set", "map=off", "--model", MODEL)
    status, output, errors = warm.command(["run", str(file), *options], env, tmp_path)
    assert status == 0, errors
    return Path(json.loads(output)["results"])


def _all_agree(cloud: Cloud, outcome: dict[str, Any]) -> None:
    """The command line, which asks Firestore, HTTP and the event tell the same."""
    told = cloud.celldrop("status", outcome["submission_id"], "--json").json
    seen = cloud.http(f"v1/submissions/{outcome['submission_id']}")
    assert told["state"] == seen["state"] == outcome["state"]
    assert told["results"] == f"gs://{outcome['result_bucket']}/{outcome['result_prefix']}"
    files = {file.rpartition("/")[2] for file in told["files"]}
    assert files >= {"annotations.parquet", "annotated.h5ad", "report.html", "manifest.json"}
    assert [entry["state"] for entry in told["history"]] == [entry["state"] for entry in seen["history"]]
    assert [entry["state"] for entry in told["history"]][-1] == "SUCCEEDED"
    _cost_is_told(seen, outcome)


def _cost_is_told(seen: dict[str, Any], outcome: dict[str, Any]) -> None:
    """What was forecast is what was planned and what the event tells, and what it took stands beside it."""
    forecast, plan, told = seen["verdict"]["forecast"], seen["plan"], outcome["summary"]
    assert (plan["estimated_s"], plan["estimated_usd"]) == (forecast["seconds"], forecast["usd"])
    assert (told["estimated_s"], told["estimated_usd"]) == (forecast["seconds"], forecast["usd"])
    assert told["actual_s"] > 0
    assert told["actual_usd"] > 0
