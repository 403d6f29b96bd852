"""Looking submissions up, waiting for their news, and listing them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from functions.status.schemas import Health, SubmissionList, SubmissionView
from functions.status.services import MAX_WAIT_S
from shared.domain.plan import Accelerator
from shared.domain.submission import Requester, State
from tests.status.world import FILES, LABEL_COUNTS, MODEL, N_CELLS, World


def look_up(client: FlaskClient, submission_id: str, **parameters: str) -> SubmissionView:
    response = client.get(f"/v1/submissions/{submission_id}", query_string=parameters)
    assert response.status_code == 200
    assert response.content_type == "application/json"
    return SubmissionView.model_validate_json(response.data)


def listed(client: FlaskClient, query: str = "") -> SubmissionList:
    return SubmissionList.model_validate_json(client.get(f"/v1/submissions{query}").data)


@pytest.mark.parametrize("path", ["/healthz", "/health"])
def test_the_server_says_that_it_is_up(client: FlaskClient, path: str) -> None:
    assert Health.model_validate_json(client.get(path).data).status == "ok"


def test_a_queued_submission_shows_who_asked_for_what(client: FlaskClient, world: World) -> None:
    found = world.queued(options={"top_k": "3"}, requester=Requester("lims-7", "core facility"))
    view = look_up(client, found)
    assert (view.id, view.state, view.final, view.epoch) == (found, State.QUEUED, False, 0)
    assert view.requested == {"top_k": "3"}
    assert [(who.correlation_id, who.source) for who in view.requesters] == [("lims-7", "core facility")]
    assert view.source.model_dump() == {"bucket": "inbox", "name": "sample.h5ad", "generation": 7}
    assert view.model is not None
    assert (view.model.name, view.model.digest) == (MODEL.name, MODEL.digest)
    assert view.plan is None
    assert (view.progress.rows_done, view.progress.rows_total) == (0, N_CELLS)


def test_the_verdict_comes_with_its_warnings(client: FlaskClient, world: World) -> None:
    verdict = look_up(client, world.queued()).verdict
    assert verdict is not None
    assert verdict.accepted
    assert [finding.code for finding in verdict.warnings] == ["GENES_DUPLICATED"]
    assert verdict.refusals == ()
    assert verdict.overlap is not None
    assert verdict.overlap.fraction == pytest.approx(7980 / 8025)
    assert verdict.matrix is not None
    assert verdict.matrix.path == "X"


def test_progress_adds_up_over_tasks(client: FlaskClient, world: World) -> None:
    found = world.running(n_tasks=2)
    world.progress(found, 0, index=0, whole=True)
    world.progress(found, 100, index=1)
    view = look_up(client, found)
    first = world.store.tasks(found, 1)[0].value.rows
    assert view.progress.rows_done == len(first) + 100
    assert (view.progress.tasks_done, view.progress.tasks_total) == (1, 2)
    assert view.progress.fraction == pytest.approx(view.progress.rows_done / N_CELLS)
    assert view.progress.last_beat_at is not None
    assert view.plan is not None
    assert view.plan.accelerator is Accelerator.CPU


def test_progress_never_passes_the_number_of_cells(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.progress(found, 10 * N_CELLS)
    assert look_up(client, found).progress.fraction == 1.0


def test_a_success_shows_its_result(client: FlaskClient, world: World) -> None:
    view = look_up(client, world.succeeded())
    assert view.final
    assert view.progress.fraction == 1.0
    assert view.label_counts == LABEL_COUNTS
    assert list(view.label_counts)[:2] == ["CD4 T cell", "Unassigned"]
    assert {file.name: file.size_bytes for file in view.files} == {name: len(data) for name, data in FILES.items()}


def test_a_files_checksum_is_told_as_in_the_manifest(client: FlaskClient, world: World) -> None:
    (file,) = look_up(client, world.succeeded(files={"a.csv": b"123456789"})).files
    assert file.crc32c == "e3069283"  # The check value that CRC-32C is published with.


def test_every_file_is_where_its_href_says(client: FlaskClient, world: World) -> None:
    odd = {"a b?#%.csv": b"odd", "ünï/code.json": b"{}"}
    view = look_up(client, world.succeeded(files={**FILES, **odd}))
    assert {file.name: client.get(file.href).data for file in view.files} == {**FILES, **odd}


def test_a_failure_says_why_and_what_to_do(client: FlaskClient, world: World) -> None:
    view = look_up(client, world.failed())
    assert view.failure is not None
    assert (view.failure.code, view.failure.hint) == ("ATTEMPTS_EXHAUSTED", "Look at the task's log.")
    assert view.progress.rows_done == 1024
    assert view.files == ()


def test_a_rejection_has_its_refusal(client: FlaskClient, world: World) -> None:
    view = look_up(client, world.rejected())
    assert (view.state, view.epoch, view.model) == (State.REJECTED, 0, None)
    assert view.verdict is not None
    assert not view.verdict.accepted
    assert [finding.code for finding in view.verdict.refusals] == ["NO_USABLE_MATRIX"]


def test_the_history_is_told_from_its_beginning_in_utc(client: FlaskClient, world: World) -> None:
    view = look_up(client, world.succeeded())
    states = [State.QUEUED, State.DISPATCHING, State.RUNNING, State.FINALIZING, State.SUCCEEDED]
    assert [entry.state for entry in view.history] == states
    assert [entry.n for entry in view.history] == [1, 2, 3, 4, 5]
    assert all(entry.at.tzinfo == UTC for entry in view.history)
    assert view.created_at <= view.changed_at <= view.updated_at <= view.read_at


# --- Watching -----------------------------------------------------------------------------------------------------


def test_a_watcher_is_answered_at_once_when_there_is_news_already(client: FlaskClient, world: World) -> None:
    found = world.running()
    seen = look_up(client, found).version
    world.progress(found, 256)
    view = look_up(client, found, wait="30", version=seen)
    assert view.progress.rows_done == 256
    assert world.time.slept_s == []


def test_a_watcher_waits_for_progress(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.progress(found, 0)
    steps = iter([0, 0, 512])
    world.time.then = lambda: world.progress(found, next(steps))
    view = look_up(client, found, wait="30", version=look_up(client, found).version)
    assert view.progress.rows_done == 512
    assert len(world.time.slept_s) == 3


def test_a_watcher_waits_for_a_change_of_state(client: FlaskClient, world: World) -> None:
    found = world.queued()
    world.time.then = lambda: world.service.cancel(found)
    view = look_up(client, found, wait="30", version=look_up(client, found).version)
    assert view.state is State.CANCELLED
    assert [entry.state for entry in view.history] == [State.QUEUED, State.CANCELLED]


@pytest.mark.parametrize(("asked", "waited_s"), [("0", 0.0), ("7.5", 7.5), ("30", 30.0), ("9000", MAX_WAIT_S)])
def test_a_watcher_waits_as_long_as_asked_but_never_longer_than_the_limit(
    client: FlaskClient, world: World, asked: str, waited_s: float
) -> None:
    found = world.running()
    look_up(client, found, wait=asked, version=look_up(client, found).version)
    assert sum(world.time.slept_s) == pytest.approx(waited_s)
    assert len(world.time.slept_s) < 20


def test_a_watcher_that_knows_no_version_waits_for_the_next_change(client: FlaskClient, world: World) -> None:
    found = world.running()
    world.time.then = lambda: world.progress(found, 1)
    assert look_up(client, found, wait="30").progress.rows_done == 1
    assert len(world.time.slept_s) == 1


def test_what_is_over_is_never_waited_for(client: FlaskClient, world: World) -> None:
    found = world.succeeded()
    look_up(client, found, wait="30", version=look_up(client, found).version)
    assert world.time.slept_s == []


@pytest.mark.parametrize("wait", ["", "-1", "nan", "inf", "1e3", "ten", "0x10", "٣", "1" * 50])
def test_a_wait_that_is_no_number_of_seconds_is_refused(client: FlaskClient, world: World, wait: str) -> None:
    response = client.get(f"/v1/submissions/{world.queued()}", query_string={"wait": wait})
    assert (response.status_code, response.get_json()["code"]) == (400, "INVALID_OPTION")


# --- Listing ------------------------------------------------------------------------------------------------------


def test_the_list_is_empty_at_first(client: FlaskClient) -> None:
    assert listed(client) == SubmissionList(submissions=(), more=False)


def test_the_list_has_the_latest_first(client: FlaskClient, world: World) -> None:
    ids = [world.queued("one.h5ad"), world.running("two.h5ad"), world.succeeded("three.h5ad")]
    assert [item.id for item in listed(client).submissions] == ids[::-1]


def test_the_list_tells_when_older_ones_are_left_out(client: FlaskClient, world: World) -> None:
    ids = [world.queued(f"{n}.h5ad") for n in range(4)]
    found = listed(client, "?limit=3")
    assert [item.id for item in found.submissions] == ids[:0:-1]
    assert found.more
    assert not listed(client, "?limit=4").more


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?state=QUEUED", ["one.h5ad"]),
        ("?state=queued,RUNNING", ["two.h5ad", "one.h5ad"]),
        ("?state=SUCCEEDED&state=RUNNING", ["three.h5ad", "two.h5ad"]),
        ("?state=CANCELLED", []),
        ("?state=", ["three.h5ad", "two.h5ad", "one.h5ad"]),
    ],
)
def test_the_list_can_be_of_some_states(client: FlaskClient, world: World, query: str, names: list[str]) -> None:
    world.queued("one.h5ad")
    world.running("two.h5ad")
    world.succeeded("three.h5ad")
    assert [item.source.name for item in listed(client, query).submissions] == names


def test_the_list_shows_progress_of_what_computes_and_labels_of_what_is_done(client: FlaskClient, world: World) -> None:
    world.progress(world.running("two.h5ad"), 1350)
    world.succeeded("three.h5ad")
    done, computing = listed(client).submissions
    assert done.label_counts == LABEL_COUNTS
    assert computing.progress.fraction == 0.5
    assert client.get(computing.href).status_code == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=501", "limit=x", "limit=", "limit=1.5", "limit=9" + "9" * 99]
)
def test_a_limit_out_of_range_is_refused(client: FlaskClient, query: str) -> None:
    response = client.get(f"/v1/submissions?{query}")
    assert (response.status_code, response.get_json()["code"]) == (400, "INVALID_OPTION")
    assert "1 to 500" in response.get_json()["detail"]


def test_an_unknown_state_is_refused_without_being_repeated(client: FlaskClient) -> None:
    response = client.get("/v1/submissions?state=<script>")
    assert response.get_json()["code"] == "INVALID_OPTION"
    assert "script" not in response.text


def test_times_in_json_are_of_one_form(client: FlaskClient, world: World) -> None:
    text = client.get(f"/v1/submissions/{world.queued()}").get_json()["created_at"]
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == world.store.find()[0].created_at
