"""The Cloud Run job runner keeps its contract: Google's own client, over HTTP, against a stand-in for the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.cloud_run_world import CloudRunWorld
from tests.contracts.job_contract import JobRunnerContract, JobWorld


class TestCloudRunJobRunner(JobRunnerContract):
    @pytest.fixture
    def world(self, scratch: Path) -> Iterator[JobWorld]:
        with CloudRunWorld(scratch) as world:
            yield world
