"""A pass of reconcile ends in time and looks at everyone, whatever cannot be read, asked or paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from shared.adapters.local.bus import InProcessBus
from shared.domain import machine
from shared.domain.errors import AccessDeniedError, CelldropError, UnavailableError
from shared.domain.submission import EntryKind, State, Topic
from shared.ports.events import Message
from shared.ports.jobs import ExecutionReport, ExecutionState
from shared.records.budget import MOST_IN_A_ROW
from shared.records.updates import update
from tests.fakes.calls import FailNext, nothing
from tests.services.house import House

REQUEST_S = 20.0
"""The time limit of one publication."""
PASS_S = 210.0
CUT_OFF_S = 300.0
"""When the platform would end the pass."""


@dataclass
class Stopwatch:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch(house: House) -> Stopwatch:
    found = Stopwatch()
    house.reconcile = replace(house.reconcile, seconds=found, pass_s=PASS_S)
    return found


def queued(house: House, name: str) -> str:
    house.source = house.blobs.write("inbox", f"{name}.h5ad", [b"cells"]).ref
    return house.accept().value.id


def cancelled(house: House, name: str) -> str:
    submission_id = queued(house, name)
    update(house.store, submission_id, lambda record, now: machine.cancel(record, now=now))
    return submission_id


def lost(house: House, name: str) -> str:
    """A submission whose execution ended before it said a word."""
    house.bus.take(Topic.JOBS)
    submission_id = queued(house, name)
    house.deliver()
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "evicted")
    return submission_id


def state_of(house: House, submission_id: str) -> State:
    return house.store.get(submission_id).value.state


def outcomes(house: House) -> set[str]:
    return {message.id.partition("/")[0] for message in house.bus.outcomes()}


def hanging(house: House, watch: Stopwatch, hangs: Callable[[Topic], bool]) -> Counter[Topic]:
    """Have publications on some topics take their whole time and fail. Returns how many were tried."""
    real, tried = house.bus.publish, Counter[Topic]()

    def publish(topic: Topic, message: Message) -> None:
        tried[topic] += 1
        if hangs(topic):
            watch.now_s += REQUEST_S
            raise UnavailableError("Pub/Sub did not answer")
        real(topic, message)

    setattr(house.bus, "publish", publish)  # noqa: B010  # a method of this one bus
    return tried


# --- What cannot be read or asked ---


def test_a_record_that_cannot_be_read_stops_no_other_and_is_reported_once(house: House) -> None:
    newer, healthy, run = cancelled(house, "newer"), cancelled(house, "healthy"), lost(house, "run")
    house.store.unreadable.add(newer)
    before = house.store.records[newer]
    done = house.reconcile.sweep()
    assert outcomes(house) == {healthy}
    assert state_of(house, run) is State.QUEUED
    (fault,) = done.faults
    assert fault.startswith(f"{newer}: RECORD_UNREADABLE: ")
    assert house.store.records[newer] == before


@pytest.mark.parametrize("error", [UnavailableError("no answer"), TypeError("a bug")], ids=["no answer", "bug"])
@pytest.mark.parametrize(
    ("moment", "after"),
    [("status.find_owing", 0), ("status.find_owing", 1), ("status.find", 0), ("status.find", 1), ("status.find", 2)],
    ids=["messages", "upkeep", "at work", "waiting", "outbox"],
)
def test_one_query_that_fails_stops_no_other(house: House, moment: str, after: int, error: Exception) -> None:
    over, run, forgotten = cancelled(house, "over"), lost(house, "run"), queued(house, "forgotten")
    house.bus.take(Topic.JOBS)
    house.later(minutes=20)
    house.store.hook = FailNext(moment, error, after=after)
    done = house.reconcile.sweep()
    assert len(done.faults) == 1
    repaired = [house.store.get(run).value.state is State.QUEUED, forgotten in done.mended, over in outcomes(house)]
    assert repaired.count(False) <= 1
    done = house.reconcile.sweep()
    assert (done.faults, state_of(house, run), outcomes(house)) == ([], State.QUEUED, {over})


def test_a_store_that_answers_nothing_is_an_error_of_the_pass(house: House) -> None:
    def down(moment: str) -> None:
        if moment.startswith("status.find"):
            raise UnavailableError("no answer")

    house.store.hook = down
    with pytest.raises(UnavailableError):
        house.reconcile.sweep()


# --- Messages first, whatever else fails ---


def test_messages_are_sent_although_the_execution_cannot_be_described(house: House) -> None:
    run = lost(house, "run")
    house.bus.hook = FailNext("bus.publish", UnavailableError("no answer"))
    house.source = house.blobs.stat("inbox", "run.h5ad").ref
    with pytest.raises(UnavailableError):
        house.accept(who="order-7")

    def denied(moment: str) -> None:
        if moment == "jobs.describe":
            raise AccessDeniedError("may not look")

    house.jobs.hook = denied
    for mend in (house.reconcile.sweep, lambda: house.reconcile.mend_all([house.store.get(run)])):
        assert [fault.split(": ")[1] for fault in mend().faults] == ["ACCESS_DENIED"]
    assert any(b"order-7" in message.data for message in house.bus.messages(Topic.EVENTS))
    assert house.store.get(run).value.outbox == ()


def test_a_message_sent_only_now_is_not_sent_again_in_the_same_pass(house: House) -> None:
    real = house.bus.publish
    tried = hanging(house, Stopwatch(), lambda topic: topic is Topic.JOBS)
    with pytest.raises(UnavailableError):
        queued(house, "late")
    setattr(house.bus, "publish", real)  # noqa: B010  # a method of this one bus
    house.later(minutes=20)
    house.reconcile.sweep()
    assert tried[Topic.JOBS] == 1
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_an_entry_that_failed_is_tried_once_in_a_pass(house: House, watch: Stopwatch) -> None:
    run = lost(house, "run")
    tried = hanging(house, watch, lambda topic: topic is Topic.EVENTS)
    with pytest.raises(UnavailableError):
        house.ingest.submit(house.drop(who="order-7"))
    tried.clear()
    assert house.reconcile.sweep().mended == [run]
    assert tried[Topic.EVENTS] == 1


# --- What hangs ---


def test_a_topic_that_hangs_is_left_alone_and_repairs_are_made(house: House, watch: Stopwatch) -> None:
    for number in range(30):
        cancelled(house, str(number))
    run = lost(house, "run")
    tried = hanging(house, watch, lambda topic: topic is Topic.EVENTS)
    done = house.reconcile.sweep()
    assert watch.now_s <= PASS_S
    assert tried == {Topic.EVENTS: MOST_IN_A_ROW, Topic.JOBS: 1}
    assert done.mended == [run]
    untried = [one for one in house.store.find(limit=99) if not any(entry.tries for entry in one.value.outbox)]
    assert len(untried) == 30 - MOST_IN_A_ROW + 1, "an entry that was not tried is not put off"


def test_both_topics_may_hang(house: House, watch: Stopwatch) -> None:
    for number in range(30):
        queued(house, str(number))
        cancelled(house, f"{number}-over")
    house.bus.take(Topic.JOBS)
    house.later(minutes=20)
    hanging(house, watch, lambda _topic: True)
    house.reconcile.sweep()
    assert watch.now_s < CUT_OFF_S


def test_everything_is_told_once_the_topic_answers_again(house: House, watch: Stopwatch) -> None:
    over = {cancelled(house, str(number)) for number in range(30)}
    real = house.bus.publish
    hanging(house, watch, lambda topic: topic is Topic.EVENTS)
    house.reconcile.sweep()
    setattr(house.bus, "publish", real)  # noqa: B010  # a method of this one bus
    house.later(minutes=1)
    house.reconcile.sweep()
    assert outcomes(house) == over


def test_messages_that_take_their_time_leave_repairs_a_share(house: House, watch: Stopwatch) -> None:
    for number in range(30):
        cancelled(house, str(number))
    run = lost(house, "run")

    def slow(moment: str) -> None:
        if moment == "bus.publish":
            watch.now_s += REQUEST_S - 1

    house.bus.hook = slow
    done = house.reconcile.sweep()
    assert done.mended == [run]
    assert len(outcomes(house)) > 1
    assert done.left > 0
    assert watch.now_s < CUT_OFF_S


def test_time_that_a_group_does_not_need_goes_to_the_others(house: House, watch: Stopwatch) -> None:
    over = {cancelled(house, str(number)) for number in range(20)}

    def slow(moment: str) -> None:
        if moment == "bus.publish":
            watch.now_s += 10.0

    house.bus.hook = slow
    done = house.reconcile.sweep()
    assert (outcomes(house), done.left) == (over, 0)


def test_descriptions_that_hang_keep_no_later_run_waiting_for_ever(house: House, watch: Stopwatch) -> None:
    runs = [lost(house, str(number)) for number in range(12)]
    stuck = {f"execution-{number}" for number in range(1, 9)}
    real = house.jobs.describe

    def describe(execution: str) -> ExecutionReport:
        if execution in stuck:
            watch.now_s += 60.0
            raise UnavailableError("no answer")
        return real(execution)

    setattr(house.jobs, "describe", describe)  # noqa: B010  # a method of this one runner
    for _ in range(12):
        house.reconcile.sweep()
        house.later(minutes=1)
    assert {state_of(house, run) for run in runs[8:]} == {State.QUEUED}


# --- Many requesters, many files ---


@pytest.fixture
def many(house: House) -> House:
    """A submission with four pages of requesters, which is over; its outcome is owed."""
    for number in range(4 * 64):
        house.accept(who=str(number))
    house.bus.take(Topic.EVENTS)
    house.cancel()
    return house


def test_an_outcome_goes_on_at_the_page_where_it_failed(many: House) -> None:
    many.bus.hook = FailNext("bus.publish", UnavailableError("no answer"), after=2)
    assert len(many.reconcile.sweep().faults) == 1
    assert len(many.bus.outcomes()) == 2
    many.later(minutes=1)
    many.reconcile.sweep()
    assert Counter(message.id for message in many.bus.outcomes()).most_common(1)[0][1] == 1
    assert len(many.bus.outcomes()) == 4
    assert EntryKind.OUTCOME not in {entry.kind for entry in many.only().outbox}


def test_an_outcome_of_more_pages_than_a_pass_has_time_for_goes_on_in_the_next(many: House, watch: Stopwatch) -> None:
    def slow(moment: str) -> None:
        if moment == "bus.publish":
            watch.now_s += PASS_S

    many.bus.hook = slow
    for n_told in (1, 2, 3, 4):
        done = many.reconcile.sweep()
        assert (done.faults, len(many.bus.outcomes())) == ([], n_told)
    assert EntryKind.OUTCOME not in {entry.kind for entry in many.only().outbox}
    assert all(entry.tries == 0 for entry in many.only().outbox)


def test_a_requester_who_comes_while_an_outcome_is_half_told_is_told_too(many: House) -> None:
    many.bus.hook = FailNext("bus.publish", UnavailableError("no answer"), after=2)
    many.reconcile.sweep()
    many.bus.hook = nothing
    many.accept(who="late")
    many.later(minutes=1)
    many.reconcile.sweep()
    told = b"".join(message.data for message in many.bus.outcomes())
    for who in ("0", "127", "128", "255", "late"):
        assert f'"correlation_id":"{who}"'.encode() in told


def test_files_whose_messages_wait_in_this_process_are_not_written_again(house: House) -> None:
    bus = InProcessBus()
    bus.subscribe(Topic.JOBS, lambda _message: None, lambda _message: False)  # No process is free.
    house.ingest = replace(house.ingest, outbox=replace(house.ingest.outbox, bus=bus))
    house.reconcile = replace(house.reconcile, outbox=replace(house.reconcile.outbox, bus=bus))
    ids = [queued(house, str(number)) for number in range(20)]
    versions = [house.store.get(one).version for one in ids]
    for _ in range(3):
        bus.deliver_pending()
        house.later(minutes=20)
        done = house.reconcile.sweep()
        assert (done.mended, done.faults) == ([], [])
    assert [house.store.get(one).version for one in ids] == versions


def test_a_file_whose_message_was_given_up_in_this_process_is_told_of_again(house: House) -> None:
    def refuse(_message: Message) -> None:
        raise CelldropError("a bug")

    bus = InProcessBus()
    bus.subscribe(Topic.JOBS, refuse)
    house.ingest = replace(house.ingest, outbox=replace(house.ingest.outbox, bus=bus))
    house.reconcile = replace(house.reconcile, outbox=replace(house.reconcile.outbox, bus=bus))
    submission_id = queued(house, "one")
    bus.deliver_pending()
    house.later(seconds=1)
    assert house.reconcile.sweep().mended == []
    house.clock.advance(timedelta(minutes=20))
    assert house.reconcile.sweep().mended == [submission_id]
