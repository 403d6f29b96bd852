"""Dispatch claims before it starts, so that nothing is started twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from shared.domain.errors import CelldropError, NoCapacityError, SettingsError, StartRefusedError, UnavailableError
from shared.domain.submission import State, Topic
from shared.records.messages import parse_job
from tests.fakes.calls import FailEvery, FailNext, nothing
from tests.platform.observed import RowSays
from tests.services.house import House


def test_a_job_message_becomes_one_execution_of_the_planned_tasks(house: House) -> None:
    house.accept({"tasks": "3"})
    house.deliver()
    (request,) = house.jobs.requests.values()
    assert (request.epoch, request.n_tasks, request.finalize_only) == (1, 3, False)
    record = house.only()
    assert record.state is State.DISPATCHING
    assert record.executions == (house.jobs.latest,)


def test_a_second_delivery_starts_nothing(house: House) -> None:
    house.accept()
    (message,) = house.bus.messages(Topic.JOBS)
    outcomes = [house.dispatch.handle(parse_job(message.data)) for _ in range(3)]
    assert outcomes == ["started", "stale", "stale"]
    assert len(house.jobs.requests) == 1


def test_a_message_for_an_unknown_submission_is_stale(house: House) -> None:
    message = parse_job(b'{"schema_version": 1, "submission_id": "none", "kind": "job", "epoch": 1}')
    assert house.dispatch.handle(message) == "stale"


def test_no_capacity_waits_without_costing_an_attempt(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start", NoCapacityError("full"))
    assert house.deliver() == ["waiting for capacity"]
    assert (house.only().state, house.only().attempts) == (State.WAITING_CAPACITY, 0)
    house.later(minutes=2)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    assert house.only().epoch == 2


def test_a_start_that_is_refused_is_tried_again_and_costs_no_attempt(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start", StartRefusedError("may not start it", hint="grant it"))
    assert house.deliver() == ["refused for now"]
    assert (house.only().state, house.only().attempts) == (State.QUEUED, 0)
    assert "may not start it" in house.only().last_problem
    assert house.deliver() == []
    house.later(minutes=1)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    assert house.only().epoch == 2


def test_a_start_that_goes_on_being_refused_ends_after_the_deadline(row_says: RowSays, house: House) -> None:
    refused_to_the_end(house, StartRefusedError("may not start it"), 2, "START_REFUSED", "may not start it.")
    row_says(house.only().state, "START_REFUSED")


def test_a_start_that_finds_no_room_ends_after_the_deadline(house: House) -> None:
    said = "no capacity in 6 h (no quota is left)."
    refused_to_the_end(house, NoCapacityError("no quota is left"), 6, "CAPACITY_DEADLINE", said)


def refused_to_the_end(house: House, refusal: CelldropError, hours: int, code: str, said: str) -> None:
    """Its failure quotes what was said last."""
    house.accept()
    began = house.clock()
    house.jobs.hook = FailEvery("jobs.start", type(refusal)("said at first"))
    house.deliver()
    house.jobs.hook = FailEvery("jobs.start", refusal)
    while not house.only().state.final:
        assert house.only().attempts == 0
        house.later(minutes=1)
        house.reconcile.sweep()
        house.deliver()
    failure = house.only().failure
    assert failure is not None
    assert (failure.code, failure.message) == (code, said)
    assert timedelta(hours=hours) < house.clock() - began < timedelta(hours=hours, minutes=15)


def test_hours_of_refusals_are_no_hours_without_room(house: House) -> None:
    house.accept()
    house.jobs.hook = FailEvery("jobs.start", StartRefusedError("403: may not start it"))
    for _ in range(106):
        house.deliver()
        house.later(minutes=1)
        house.reconcile.sweep()
    house.jobs.hook = nothing
    while not house.deliver():
        house.later(minutes=1)
        house.reconcile.sweep()
    started = house.clock()
    while not house.only().state.final:
        house.later(minutes=1)
        house.reconcile.sweep()
    failure = house.only().failure
    assert failure is not None
    assert (failure.code, "403" in failure.message) == ("CAPACITY_DEADLINE", False)
    assert timedelta(hours=6) < house.clock() - started < timedelta(hours=6, minutes=15)


def test_a_start_whose_answer_was_lost_is_left_to_its_first_task(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start.done", UnavailableError("no answer"))
    house.deliver()
    assert house.only().state is State.DISPATCHING
    house.run_all()
    assert house.only().state is State.SUCCEEDED


def test_a_start_that_was_lost_is_tried_again_when_the_lease_has_run_out(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start", UnavailableError("no answer"))
    house.deliver()
    house.reconcile.sweep()
    assert house.only().state is State.DISPATCHING
    house.later(minutes=11)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    assert house.only().epoch == 2


def test_a_claim_whose_holder_is_known_to_be_gone_is_not_waited_for(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start", UnavailableError("no answer"))
    house.deliver()
    lease = house.only().lease
    assert lease is not None
    house.jobs.gone.add(lease.token)
    house.reconcile.sweep()
    assert house.deliver() == ["started"]
    assert (house.only().epoch, house.only().attempts) == (2, 1)


def test_the_execution_that_a_claim_led_to_outlives_its_holder(house: House) -> None:
    house.accept()
    house.deliver()
    lease = house.only().lease
    assert lease is not None
    house.jobs.gone.add(lease.token)
    house.reconcile.sweep()
    assert (house.only().state, house.only().epoch) == (State.DISPATCHING, 1)


def test_a_start_that_can_never_work_fails_with_its_reason(house: House) -> None:
    house.accept()
    house.jobs.hook = FailNext("jobs.start", SettingsError("no such job", hint="deploy it"))
    assert house.deliver() == ["failed"]
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "INVALID_SETTING"


def test_what_can_never_be_planned_fails_with_its_reason(house: House) -> None:
    stored = house.accept()
    house.store.replace(replace(stored.value, requested={"tasks": "of another version"}), if_version=stored.version)
    assert house.deliver() == ["failed"]
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "INVALID_OPTION"


def test_an_execution_that_was_cancelled_while_it_started_is_stopped(house: House) -> None:
    house.accept()

    def cancel_meanwhile(name: str) -> None:
        if name == "jobs.start.done":
            house.jobs.hook = lambda _: None
            house.cancel()

    house.jobs.hook = cancel_meanwhile
    house.deliver()
    assert house.jobs.cancelled == [house.jobs.latest]
