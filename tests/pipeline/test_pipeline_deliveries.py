"""One delivery or ten, of every event and message: one submission, one commit, the same bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cli.embedded import Embedded, drop_of_file, open_embedded
from shared.domain import owed
from shared.domain.outputs import reproducible
from shared.domain.submission import State, Submission, Topic
from shared.records.messages import job_message
from shared.settings import load_settings
from tests.pipeline.few_cells import few_cells


@pytest.fixture
def small(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "small.h5ad"
    few_cells(data_dir, 600).write_h5ad(path)
    return path


def annotate(home: Path, models: Path, file: Path, times: int) -> tuple[Embedded, Submission]:
    """Deliver the drop, and every job message, so many times; then see it through."""
    embedded = open_embedded(load_settings(home=home, models_dir=models, default_model="adams-45-f-0"))
    try:
        drop = drop_of_file(embedded.blobs, file, {"map": "off"})
        record = embedded.ingest.submit(drop).value
        first = job_message(record, owed.job(record.id, 1))
        for _ in range(times - 1):
            embedded.ingest.submit(drop)
            embedded.local.bus.publish(Topic.JOBS, first)
        deadline = time.monotonic() + 120
        store = embedded.local.ports.store
        while not store.get(record.id).value.state.final and time.monotonic() < deadline:
            embedded.step()
            time.sleep(0.05)
        for _ in range(times - 1):
            embedded.ingest.submit(drop)
            embedded.local.bus.publish(Topic.JOBS, first)
            embedded.step()
        return embedded, store.get(record.id).value
    finally:
        embedded.close()


def test_ten_deliveries_are_one_commit_and_the_same_bytes(tmp_path: Path, celltypist_models: Path, small: Path) -> None:
    results = []
    for times in (1, 10):
        embedded, record = annotate(tmp_path / f"home{times}", celltypist_models, small, times)
        store = embedded.local.ports.store
        assert len(store.find()) == 1
        states = [entry.state for entry in store.history(record.id)]
        assert states.count(State.SUCCEEDED) == 1
        assert record.epoch == 1
        assert record.result is not None
        results.append(embedded.layout.results / record.result.prefix)
    for name in reproducible():
        assert (results[0] / name).read_bytes() == (results[1] / name).read_bytes()
