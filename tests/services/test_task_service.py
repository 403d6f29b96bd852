"""A task's protocol: one commit, whatever is lost, doubled or late."""

from __future__ import annotations

import logging

import pytest

from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.domain.errors import (
    BadValuesError,
    DeviceUnavailableError,
    DuplicateCellsError,
    ObjectRefusedError,
    PreconditionFailedError,
    UnavailableError,
)
from shared.domain.submission import EntryKind, State
from tests.fakes.calls import FailNext
from tests.services.house import House


def started(house: House, tasks: int = 3) -> House:
    house.accept({"tasks": str(tasks)})
    house.deliver()
    return house


def test_the_last_task_commits_and_all_that_is_owed_is_paid(house: House) -> None:
    ended = started(house).run_all()
    assert ended == [Ended.PART_WRITTEN, Ended.PART_WRITTEN, Ended.COMMITTED]
    record = house.only()
    assert (record.state, record.outbox) == (State.SUCCEEDED, ())
    assert house.blobs.read(house.blobs.stat("results", f"{record.id}/manifest.json").ref) == b"0-256;256-512;512-1000;"
    assert len(house.bus.outcomes()) == 1
    assert list(house.blobs.list("work")) == []


def test_every_task_computes_only_its_own_rows(house: House) -> None:
    started(house).run_all()
    assert [(rows.start, rows.stop) for _, rows in house.computation.annotated] == [(0, 256), (256, 512), (512, 1000)]


def test_a_retried_task_whose_receipt_stands_computes_nothing(house: House) -> None:
    started(house).run_task(0)
    house.run_task(0, attempt=1)
    assert len(house.computation.annotated) == 1


def test_a_retried_task_still_finalizes(house: House) -> None:
    started(house, tasks=1)
    house.store.hook = FailNext("status.transact", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.run_task(0)
    assert house.run_task(0, attempt=1) is Ended.COMMITTED
    assert len(house.computation.annotated) == 1


def test_a_second_execution_of_the_epoch_touches_nothing(house: House) -> None:
    started(house).run_task(0)
    assert house.run_task(1, execution="intruder") is Ended.STALE
    assert len(house.computation.annotated) == 1


def test_a_task_of_an_older_epoch_touches_nothing(house: House) -> None:
    started(house)
    old = house.jobs.latest
    house.jobs.forget(old)
    house.later(minutes=11)
    house.reconcile.sweep()
    house.deliver()
    request = house.jobs.requests[old]
    assert request.epoch == 1
    identity = house.task()
    assert identity.run(TaskIdentity(request.submission_id, 1, 0, 3, 0, old)) is Ended.STALE
    assert house.computation.annotated == []


def test_a_zombie_attempt_cannot_write_over_a_later_one(house: House) -> None:
    started(house)

    def later_attempt_comes_first() -> None:
        house.computation.before_part = lambda: None
        house.run_task(0, attempt=1)

    house.computation.before_part = later_attempt_comes_first
    assert house.run_task(0, attempt=0) is Ended.STALE
    task = house.store.get_task(house.only().id, 1, 0)
    assert task is not None
    assert task.value.attempt == 1
    assert task.value.receipt is not None


def test_the_same_attempt_run_twice_leaves_one_part(house: House) -> None:
    started(house)

    def twin() -> None:
        house.computation.before_part = lambda: None
        house.run_task(0, attempt=0)

    house.computation.before_part = twin
    with pytest.raises(PreconditionFailedError):
        house.run_task(0, attempt=0)
    assert house.run_task(0, attempt=1) is not Ended.STALE


def test_a_cancelled_submission_stops_its_tasks_at_the_next_heartbeat(house: House) -> None:
    started(house)
    house.cancel()
    assert house.run_task(0) is Ended.STALE
    assert house.only().state is State.CANCELLED


def test_cancelling_during_the_merge_wins_and_leaves_nothing(house: House) -> None:
    started(house, tasks=1)
    house.computation.before_result = house.cancel
    assert house.run_task(0) is Ended.STALE
    assert house.only().state is State.CANCELLED
    assert list(house.blobs.list("results")) == []


def test_a_file_that_turns_out_bad_fails_with_its_own_code(house: House) -> None:
    started(house)

    def bad() -> None:
        raise BadValuesError("NaN in row 7", hint="remove it")

    house.computation.before_part = bad
    assert house.run_task(0) is Ended.FAILED
    failure = house.only().failure
    assert failure is not None
    assert (failure.code, failure.hint) == ("BAD_VALUES", "remove it")


def test_an_absent_gpu_ends_the_submission_and_is_in_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    started(house)

    def absent() -> None:
        raise DeviceUnavailableError("no CUDA device", hint="give the job a GPU")

    house.computation.before_part = absent
    with caplog.at_level(logging.ERROR):
        assert house.run_task(0) is Ended.FAILED
    record = house.only()
    assert record.failure is not None
    assert (record.state, record.failure.code) == (State.FAILED, "GPU_UNAVAILABLE")
    (entry,) = caplog.records
    told = vars(entry)
    assert (told["code"], told["hint"], told["submission"]) == ("GPU_UNAVAILABLE", "give the job a GPU", record.id)


@pytest.mark.parametrize("moment", ["before_part", "before_result"])
def test_what_storage_refuses_for_good_ends_the_submission_with_its_reason(house: House, moment: str) -> None:
    started(house, tasks=1)

    def refused() -> None:
        raise ObjectRefusedError("the Cloud KMS key cannot be used", hint="Enable the key's version")

    setattr(house.computation, moment, refused)
    assert house.run_task(0) is Ended.FAILED
    record = house.only()
    assert record.failure is not None
    assert (record.state, record.failure.code) == (State.FAILED, "OBJECT_REFUSED")
    assert record.failure.hint == "Enable the key's version"


def test_duplicate_cells_found_by_the_merge_fail_with_their_own_code(house: House) -> None:
    started(house, tasks=1)

    def duplicate() -> None:
        raise DuplicateCellsError("AAAC occurs twice")

    house.computation.before_result = duplicate
    assert house.run_task(0) is Ended.FAILED
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "DUPLICATE_CELLS"


def test_a_merge_that_breaks_hands_its_lease_back_at_once(house: House) -> None:
    started(house, tasks=1)

    def breaks() -> None:
        house.computation.before_result = lambda: None
        raise UnavailableError("store away")

    house.computation.before_result = breaks
    with pytest.raises(UnavailableError):
        house.run_task(0)
    assert house.only().state is State.RUNNING
    assert house.run_task(0, attempt=1) is Ended.COMMITTED


def test_a_commit_whose_answer_was_lost_keeps_its_results(house: House) -> None:
    started(house, tasks=1)
    seen = []

    def lose_the_second_answer(name: str) -> None:
        if name == "status.transact.done":
            seen.append(name)
            if len(seen) == 2:
                raise UnavailableError("no answer")

    house.store.hook = lose_the_second_answer
    assert house.run_task(0) is Ended.COMMITTED
    record = house.only()
    assert record.result is not None
    assert house.blobs.read(record.result.manifest) == b"0-1000;"


def test_a_damaged_part_is_computed_afresh_in_a_new_epoch(house: House) -> None:
    started(house, tasks=2)
    house.run_task(0)
    (part,) = house.blobs.list("work")
    house.blobs.write("work", part.ref.name, [b"rot"])
    assert house.run_task(1) is Ended.FAILED
    assert house.only().state is State.QUEUED
    house.reconcile.sweep()
    house.deliver()
    house.run_all()
    record = house.only()
    assert (record.state, record.epoch) == (State.SUCCEEDED, 2)


def test_a_heartbeat_says_how_far_a_task_is(house: House) -> None:
    started(house)
    seen: list[int] = []

    def look() -> None:
        task = house.store.get_task(house.only().id, 1, 0)
        assert task is not None
        seen.append(task.value.rows_done)

    house.computation.before_part = look
    house.run_task(0)
    assert seen == [128]


def test_the_outcome_names_every_requester(house: House) -> None:
    house.accept(who="a")
    house.accept(who="b")
    house.deliver()
    house.run_all()
    (event,) = house.bus.outcomes()
    assert b'"correlation_id":"a"' in event.data
    assert b'"correlation_id":"b"' in event.data
    assert EntryKind.OUTCOME not in [entry.kind for entry in house.only().outbox]
