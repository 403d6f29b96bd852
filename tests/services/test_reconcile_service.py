"""Reconcile brings everything that was lost to an end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.inference.task.protocol import Ended
from shared.domain import machine, owed
from shared.domain.errors import AccessDeniedError, CelldropError, NoCapacityError, StartRefusedError, UnavailableError
from shared.domain.submission import EntryKind, State, Topic
from shared.ports.events import Message
from shared.ports.jobs import ExecutionReport, ExecutionState
from tests.fakes.calls import FailEvery, FailNext, nothing
from tests.services.house import LIMITS, House


def started(house: House, tasks: int = 2) -> House:
    house.accept({"tasks": str(tasks)})
    house.deliver()
    return house


def to_be_merged(house: House) -> House:
    """Its only task has left its receipt, and its execution ended before anybody merged."""
    started(house, tasks=1)
    house.store.hook = FailNext("status.transact", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED)
    return house


def test_a_full_outbox_is_paid(house: House) -> None:
    house.bus.hook = FailNext("bus.publish", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.accept()
    house.reconcile.sweep()
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_a_job_message_that_never_arrived_is_sent_again(house: House) -> None:
    house.accept()
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]


def test_an_event_that_cannot_be_told_does_not_keep_a_job_message_from_being_sent_again(house: House) -> None:
    house.store.hook = FailNext("status.replace", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.accept()
    house.bus.take(Topic.JOBS)
    taken = house.bus.publish

    def no_events(topic: Topic, message: Message) -> None:
        if topic is Topic.EVENTS:
            raise UnavailableError("no such topic")
        taken(topic, message)

    setattr(house.bus, "publish", no_events)  # noqa: B010  # a method of this one bus
    for _ in range(2):
        house.later(minutes=11)
        house.reconcile.sweep()
        house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    house.reconcile.sweep()
    assert len(house.bus.messages(Topic.JOBS)) == 1
    assert {entry.kind for entry in house.only().outbox} == {EntryKind.ACCEPTED}


def test_a_dead_execution_is_replaced_at_once(house: House) -> None:
    started(house).run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "out of memory")
    house.reconcile.sweep()
    assert (house.only().state, house.only().last_problem) == (State.QUEUED, "out of memory")
    house.deliver()
    house.run_all()
    assert (house.only().state, house.only().epoch) == (State.SUCCEEDED, 2)


def test_a_running_execution_is_left_alone_however_silent(house: House) -> None:
    started(house).run_task(0)
    house.later(hours=1)
    house.reconcile.sweep()
    assert house.only().state is State.RUNNING


def test_an_execution_nobody_knows_is_replaced_after_the_silence(house: House) -> None:
    started(house).run_task(0)
    house.jobs.forget(house.jobs.latest)
    house.reconcile.sweep()
    assert house.only().state is State.RUNNING
    house.later(minutes=3)
    house.reconcile.sweep()
    assert house.only().state is State.QUEUED


def test_a_beat_that_comes_meanwhile_keeps_the_run(house: House) -> None:
    started(house).run_task(0)
    house.jobs.forget(house.jobs.latest)
    house.later(minutes=3)

    def beat(moment: str) -> None:
        if moment == "status.transact":
            house.store.hook = lambda _: None
            found = house.store.get_task(house.only().id, 1, 0)
            assert found is not None
            again = replace(found.value, beats=found.value.beats + 1)
            house.store.put_task(house.only().id, again, if_version=found.version)

    house.store.hook = beat
    house.reconcile.sweep()
    assert house.only().state is State.RUNNING
    house.later(minutes=3)
    house.reconcile.sweep()
    assert house.only().state is State.QUEUED


def test_a_submission_that_keeps_dying_fails_with_the_last_reason(house: House) -> None:
    house.accept()
    for _ in range(LIMITS.max_attempts):
        house.deliver_later()
        house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "out of memory")
        house.reconcile.sweep()
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "ATTEMPTS_EXHAUSTED"
    assert "out of memory" in failure.message


def test_receipts_without_a_finalizer_lead_to_a_finalize_only_execution(house: House) -> None:
    started(house, tasks=1)
    house.store.hook = FailNext("status.transact", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "exit status 1")
    house.reconcile.sweep()
    house.deliver()
    request = house.jobs.requests[house.jobs.latest]
    assert (request.finalize_only, request.epoch, request.n_tasks) == (True, 1, 1)
    assert house.run_task(0) is Ended.COMMITTED
    assert len(house.computation.annotated) == 1


def test_a_finalizer_that_fell_silent_is_replaced(house: House) -> None:
    started(house, tasks=1)

    class KilledError(BaseException):
        pass

    def killed() -> None:
        house.computation.before_result = lambda: None
        raise KilledError

    house.computation.before_result = killed
    with pytest.raises(KilledError):
        house.run_task(0)
    assert house.only().state is State.FINALIZING
    house.reconcile.sweep()
    assert house.only().state is State.FINALIZING
    house.later(minutes=6)
    house.reconcile.sweep()
    assert house.only().state is State.FINALIZING, "its execution is known to run: it may only be slow"
    house.later(minutes=5)
    house.reconcile.sweep()
    house.deliver()
    assert house.run_task(0) is Ended.COMMITTED
    assert house.only().epoch == 1


@pytest.mark.parametrize("refusal", [NoCapacityError("full"), StartRefusedError("may not")])
def test_a_finalizer_that_is_not_started_is_asked_for_again_under_the_same_number(
    house: House, refusal: CelldropError
) -> None:
    to_be_merged(house)
    house.reconcile.sweep()
    house.jobs.hook = FailNext("jobs.start", refusal)
    with pytest.raises(type(refusal)):
        house.deliver()
    house.later(minutes=3)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    assert house.only().finalize_attempts == 1


@pytest.mark.parametrize(
    ("refusal", "hours", "code", "said"),
    [
        (StartRefusedError("may not start it"), 2, "START_REFUSED", "may not start it."),
        (NoCapacityError("no quota is left"), 6, "CAPACITY_DEADLINE", "no capacity in 6 h (no quota is left)."),
    ],
)
def test_a_finalizer_that_goes_on_being_refused_has_the_deadline_of_any_start(
    house: House, refusal: CelldropError, hours: int, code: str, said: str
) -> None:
    to_be_merged(house)
    house.jobs.hook = FailEvery("jobs.start", refusal)
    house.reconcile.sweep()
    began = house.clock()
    while not house.only().state.final:
        with suppress(type(refusal)):
            house.deliver()
        assert house.only().state.final or house.only().last_problem == refusal.message
        house.later(minutes=1)
        house.reconcile.sweep()
    failure = house.only().failure
    assert failure is not None
    assert (failure.code, failure.message) == (code, said)
    assert timedelta(hours=hours) < house.clock() - began < timedelta(hours=hours, minutes=15)


def test_a_finalizer_that_was_taken_on_after_hours_of_refusals_is_not_ended_by_them(house: House) -> None:
    to_be_merged(house)
    house.jobs.hook = FailEvery("jobs.start", StartRefusedError("may not start it"))
    for _ in range(115):
        house.reconcile.sweep()
        with suppress(StartRefusedError):
            house.deliver()
        house.later(minutes=1)
    house.jobs.hook = nothing
    while house.deliver() != ["started"]:
        house.later(minutes=1)
        house.reconcile.sweep()
    house.later(minutes=15)
    house.reconcile.sweep()
    assert house.only().failure is None


@pytest.mark.parametrize(
    "report",
    [
        ExecutionReport(ExecutionState.FAILED, "full", no_room=True),
        ExecutionReport(ExecutionState.FAILED, "no such image", refused=True),
    ],
)
def test_a_finalizer_that_was_taken_on_and_never_began_costs_no_attempt(house: House, report: ExecutionReport) -> None:
    to_be_merged(house)
    house.reconcile.sweep()
    for _ in range(5):
        assert house.deliver_later() == ["started"]
        house.jobs.tell(house.jobs.latest, report)
        house.later(minutes=3)
        house.reconcile.sweep()
    assert (house.only().state, house.only().finalize_attempts) == (State.RUNNING, 1)


def test_a_finalizer_that_waits_for_room_is_neither_replaced_nor_charged(house: House) -> None:
    to_be_merged(house)
    house.reconcile.sweep()
    assert house.deliver_later() == ["started"]
    house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.RUNNING))
    for _ in range(20):
        house.later(minutes=15)
        house.reconcile.sweep()
        assert house.deliver() == []
    assert (house.only().state, house.only().finalize_attempts) == (State.RUNNING, 1)
    house.later(minutes=61)
    house.reconcile.sweep()
    assert house.only().finalize_attempts == 2, "after six hours it is taken for lost"


def test_what_a_cancelled_submission_runs_is_stopped(house: House) -> None:
    started(house).run_task(0)
    house.cancel()
    house.reconcile.sweep()
    assert house.jobs.cancelled == [house.jobs.latest]


def test_parts_of_a_failed_submission_are_swept_when_late_workers_are_through(house: House) -> None:
    started(house).run_task(0)
    house.cancel()
    house.reconcile.sweep()
    assert list(house.blobs.list("work"))
    house.later(minutes=16)
    house.reconcile.sweep()
    assert list(house.blobs.list("work")) == []
    assert house.only().outbox == ()


def test_a_losers_leftovers_are_swept_and_the_result_stays(house: House) -> None:
    started(house, tasks=1)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED)
    house.reconcile.sweep()
    house.deliver()
    submission = house.only().id
    house.blobs.write("results", f"{submission}/1-dead/annotations.parquet", [b"half"])
    house.run_all()
    house.later(minutes=16)
    house.reconcile.sweep()
    record = house.only()
    assert record.result is not None
    names = [info.ref.name for info in house.blobs.list("results")]
    assert names == [record.result.manifest.name, f"{submission}/manifest.json"]


def test_an_entry_that_cannot_be_paid_does_not_keep_the_others_waiting(house: House) -> None:
    started(house).run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "out of memory")

    def no_cancelling(name: str) -> None:
        if name == "jobs.cancel":
            raise UnavailableError("no answer")

    house.jobs.hook = no_cancelling
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    house.jobs.hook = lambda _: None
    house.reconcile.sweep()
    assert house.only().outbox == ()


def test_what_was_interrupted_from_outside_costs_no_attempt(house: House) -> None:
    house.accept()
    for _ in range(2 * LIMITS.max_attempts):
        assert house.deliver_later() == ["started"]
        house.jobs.end(house.jobs.latest, ExecutionState.CANCELLED, "the process that supervised it is gone")
        house.reconcile.sweep()
    assert (house.only().state, house.only().attempts) == (State.QUEUED, 0)


def test_a_service_that_is_down_costs_no_attempt(house: House) -> None:
    house.accept()

    def down() -> None:
        raise UnavailableError("the store does not answer")

    house.computation.before_part = down
    for _ in range(2 * LIMITS.max_attempts):
        assert house.deliver_later() == ["started"]
        with pytest.raises(UnavailableError):
            house.run_task(0)
        house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "task 0 failed")
        house.reconcile.sweep()
    assert (house.only().state, house.only().attempts) == (State.QUEUED, 0)
    assert "the store does not answer" in house.only().last_problem


def test_a_right_that_is_not_known_everywhere_yet_costs_no_attempt_for_half_an_hour(house: House) -> None:
    house.accept()
    house.computation.before_part = _denied
    cost = []
    while not house.only().state.final:
        house.deliver_later()
        with pytest.raises(AccessDeniedError):
            house.run_task(0)
        house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "task 0 failed")
        house.reconcile.sweep()
        cost.append(house.only().attempts)
    failure = house.only().failure
    assert failure is not None
    assert failure.message.endswith("the last one: task 0 failed: the bucket may not be read.")
    assert cost == [0] * 8 + list(range(1, LIMITS.max_attempts + 1))


def test_starts_that_found_no_room_are_not_among_those_that_a_grant_is_waited_for(house: House) -> None:
    house.accept()
    for _ in range(10):
        house.jobs.hook = FailNext("jobs.start", NoCapacityError("full"))
        assert house.deliver_later() == ["waiting for capacity"]
    house.deliver_later()
    house.computation.before_part = _denied
    with pytest.raises(AccessDeniedError):
        house.run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "task 0 failed")
    house.reconcile.sweep()
    assert (house.only().state, house.only().attempts) == (State.QUEUED, 0)


def _denied() -> None:
    raise AccessDeniedError("the bucket may not be read")


def test_an_execution_that_found_no_room_waits_and_costs_no_attempt(house: House) -> None:
    started(house)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "Cloud Run had no room for it", no_room=True)
    house.reconcile.sweep()
    assert (house.only().state, house.only().attempts) == (State.WAITING_CAPACITY, 0)
    assert house.deliver_later() == ["started"]


def test_an_execution_that_cannot_be_started_as_it_is_deployed_is_tried_again_within_a_deadline(house: House) -> None:
    started(house)
    tries = 0
    while not house.only().state.final:
        house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.FAILED, "no such image", refused=True))
        house.reconcile.sweep()
        tries += 1
        assert house.only().state.final or house.only().attempts == 0
        house.deliver_later()
    failure = house.only().failure
    assert failure is not None
    assert (failure.code, "no such image" in failure.message) == ("START_REFUSED", True)
    assert tries > 5


def test_an_execution_that_waits_for_room_and_then_cannot_be_started_is_not_tried_for_ever(house: House) -> None:
    started(house)
    began = house.clock()
    while not house.only().state.final:
        for _ in range(3):
            house.later(minutes=6)
            house.reconcile.sweep()
        house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.FAILED, "no such image", refused=True))
        house.reconcile.sweep()
        house.deliver_later()
    assert house.clock() - began < timedelta(hours=24)


def test_what_was_begun_and_a_clock_that_jumped_use_up_no_deadline(house: House) -> None:
    started(house)
    house.later(hours=24)
    house.reconcile.sweep()
    assert house.only().state is State.DISPATCHING
    house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.RUNNING, begun=True))
    for _ in range(50):
        house.later(minutes=10)
        house.reconcile.sweep()
    assert house.only().state is State.DISPATCHING


def test_an_execution_that_never_gets_room_has_a_deadline(house: House) -> None:
    name = started(house).jobs.latest
    for _ in range(35):
        house.later(minutes=10)
        house.reconcile.sweep()
    assert house.only().state is State.DISPATCHING
    for _ in range(2):
        house.later(minutes=10)
        house.reconcile.sweep()
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "CAPACITY_DEADLINE"
    assert house.jobs.cancelled == [name]


def test_a_start_that_nobody_answered_costs_no_attempt(house: House) -> None:
    house.accept()
    for _ in range(2 * LIMITS.max_attempts):
        house.jobs.hook = FailNext("jobs.start", UnavailableError("no answer"))
        assert house.deliver_later() == ["no answer"]
        house.later(minutes=11)
        house.reconcile.sweep()
    assert (house.only().state, house.only().attempts) == (State.QUEUED, 0)


def test_every_further_start_waits_longer(house: House) -> None:
    house.accept()
    waits = []
    for _ in range(4):
        house.deliver_later()
        house.jobs.end(house.jobs.latest, ExecutionState.CANCELLED)
        house.reconcile.sweep()
        due = [entry.not_before for entry in house.only().outbox if entry.kind is EntryKind.JOB]
        waits.append([(at - house.clock()).total_seconds() for at in due if at])
    assert waits == [[], [30], [60], [120]]


def test_a_finalizer_that_is_asked_for_is_not_asked_for_again(house: House) -> None:
    to_be_merged(house)
    house.bus.hook = FailNext("bus.publish", UnavailableError("no answer"))
    house.reconcile.sweep()
    asked = house.only()
    house.later(minutes=3)
    house.reconcile.sweep()
    assert (house.only().changed_at, house.only().outbox) == (asked.changed_at, ())


def test_the_oldest_is_never_starved(house: House) -> None:
    first = house.accept().value.id
    house.bus.take(Topic.JOBS)
    for number in range(5):
        house.later(seconds=1)
        house.ingest.submit(house.drop(rerun=str(number)))
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    replace(house.reconcile, batch=1).sweep()
    assert [first in message.id for message in house.bus.messages(Topic.JOBS)] == [True]


def test_leftovers_of_a_submission_that_never_succeeded_are_swept_too(house: House) -> None:
    started(house).run_task(0)
    house.blobs.write("results", f"{house.only().id}/1-killed/annotations.parquet", [b"half"])
    house.cancel()
    house.later(minutes=16)
    house.reconcile.sweep()
    assert list(house.blobs.list("results")) == []


def test_a_task_leaves_word_of_why_it_failed(house: House) -> None:
    started(house)

    def full() -> None:
        raise UnavailableError("no space left on the device")

    house.computation.before_part = full
    with pytest.raises(UnavailableError):
        house.run_task(0)
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "task 0 failed")
    house.reconcile.sweep()
    assert house.only().last_problem == "task 0 failed: no space left on the device."


def test_a_finalizer_that_nobody_noted_is_left_to_work(house: House) -> None:
    to_be_merged(house)
    house.reconcile.sweep()
    house.jobs.hook = FailNext("jobs.start.done", UnavailableError("no answer"))
    house.deliver()

    def swept_meanwhile() -> None:
        house.reconcile.sweep()
        assert house.only().state is State.FINALIZING

    house.computation.before_result = swept_meanwhile
    assert house.run_task(0) is Ended.COMMITTED


def test_an_unexpected_fault_of_one_does_not_stop_the_others(house: House) -> None:
    house.accept()
    house.ingest.submit(house.drop(rerun="2"))
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    house.bus.hook = FailNext("bus.publish", OSError("broken pipe"))
    assert len(house.reconcile.sweep().faults) == 1
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_one_submissions_fault_does_not_stop_the_others(house: House) -> None:
    house.accept()
    house.ingest.submit(house.drop(rerun="2"))
    house.bus.take(Topic.JOBS)
    house.later(minutes=11)
    house.bus.hook = FailNext("bus.publish", UnavailableError("no answer"))
    done = house.reconcile.sweep()
    assert len(done.faults) == 1
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_debts_that_cannot_be_paid_hold_up_nobody(house: House) -> None:
    house.reconcile = replace(house.reconcile, batch=3)
    for number in range(5):
        house.source = house.blobs.write("inbox", f"{number}.h5ad", [b"cells"]).ref
        record = house.accept().value
        house.blobs.write("work", f"{record.id}/part", [b"kept"])
        house.store.transact(record.id, lambda newest, _tasks, now: machine.cancel(newest, now=now))
    house.later(minutes=16)
    house.blobs.hook = _refuse_deletes
    house.reconcile.sweep()
    house.source = house.blobs.write("inbox", "last.h5ad", [b"cells"]).ref
    last = house.accept().value
    house.store.transact(last.id, lambda newest, _tasks, now: machine.cancel(newest, now=now))
    house.reconcile.sweep()
    assert any(f"{last.id}/cancelled".encode() in message.data for message in house.bus.messages(Topic.EVENTS))


def test_a_debt_that_is_refused_for_good_is_put_off_and_then_given_up_with_a_note(house: House) -> None:
    record = house.accept().value
    house.blobs.write("work", f"{record.id}/part", [b"kept"])
    house.cancel()
    house.blobs.hook = _refuse_deletes
    house.later(minutes=16)
    passes = 0
    while house.only().outbox:
        house.reconcile.sweep()
        house.later(minutes=10)
        passes += 1
        assert passes < 100
    assert passes > owed.MOST_TRIES
    assert house.only().given_up.startswith("sweep was given up after 16 tries: it is retained")


def test_a_debt_waits_for_a_service_that_is_down_for_as_long_as_it_takes(house: House) -> None:
    record = house.accept().value
    house.blobs.write("work", f"{record.id}/part", [b"cells"])
    house.cancel()
    house.blobs.hook = _down
    for _ in range(50):
        house.later(hours=1)
        house.reconcile.sweep()
    house.blobs.hook = nothing
    house.later(hours=1)
    house.reconcile.sweep()
    assert (house.only().outbox, house.only().given_up) == ((), "")
    assert list(house.blobs.list("work")) == []


def _refuse_deletes(moment: str) -> None:
    if moment == "blobs.delete":
        raise AccessDeniedError("it is retained")


def _down(moment: str) -> None:
    if moment.startswith("blobs."):
        raise UnavailableError("no answer")
