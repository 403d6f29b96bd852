"""What waits for its turn on this machine is queued, with its place, and starts as soon as a process is free."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded import Embedded, drop_of_file, open_embedded
from functions.status.dependencies import service_over
from shared.domain.plan import Accelerator
from shared.domain.submission import State
from shared.ports.jobs import JobRequest
from shared.settings import load_settings
from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells

ELSEWHERE = JobRequest("0" * 32, epoch=1, n_tasks=1, accelerator=Accelerator.CPU, timeout_s=600)
TIMEOUT_S = 60.0


@pytest.fixture
def small(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "small.h5ad"
    few_cells(data_dir, 300).write_h5ad(path)
    return path


@pytest.fixture
def embedded(tmp_path: Path, celltypist_models: Path) -> Iterator[Embedded]:
    settings = load_settings(
        home=tmp_path / "home",
        models_dir=celltypist_models,
        default_model="adams-45-f-0",
        local_parallel=1,
        _env_file=None,
    )
    opened = open_embedded(settings)
    yield opened
    opened.close()


def states_and_places(embedded: Embedded, ids: list[str]) -> list[tuple[State, int | None]]:
    service = service_over(embedded.local.ports, in_line=True)
    found = [service.look_up(submission_id) for submission_id in ids]
    return [(snapshot.record.state, snapshot.place) for snapshot in found]


def test_a_second_file_waits_as_queued_until_the_first_is_done(
    embedded: Embedded, celldrop: Celldrop, small: Path, tmp_path: Path
) -> None:
    ids = []
    for name in ("one.h5ad", "two.h5ad"):
        file = Path(shutil.copy(small, tmp_path / name))
        ids.append(embedded.submit(drop_of_file(embedded.blobs, file, {})).value.id)
    running = embedded.local.runner.start(ELSEWHERE)
    embedded.step()
    assert states_and_places(embedded, ids) == [(State.QUEUED, 1), (State.QUEUED, 2)]
    assert "number 2 in the queue" in celldrop("status", ids[1]).stdout
    embedded.local.runner.cancel(running)
    embedded.local.runner.wait(running, TIMEOUT_S)
    embedded.step()
    assert states_and_places(embedded, ids) == [(State.DISPATCHING, None), (State.QUEUED, 1)]


def test_a_queue_is_gone_on_with_by_the_next_server(embedded: Embedded, small: Path) -> None:
    queued = embedded.submit(drop_of_file(embedded.blobs, small, {})).value
    again = open_embedded(embedded.settings)
    try:
        again.take_over_all()
        for _ in range(2):
            again.step()
        assert again.local.ports.store.get(queued.id).value.state is State.DISPATCHING
    finally:
        again.close()
