"""Who is only slow keeps its work; what breaks the same way twice ends, in words; trouble elsewhere is neither."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.inference.task.protocol import Ended
from shared.domain.errors import AccessDeniedError, InternalError, PreconditionFailedError, UnavailableError
from shared.domain.submission import EntryKind, State, Submission
from shared.ports.jobs import ExecutionReport, ExecutionState
from tests.fakes.calls import FailNext
from tests.services.house import LIMITS, House

LONG_MINUTES = 11
"""Past the finalizer's lease, and past the time that one gets which is known to run."""


def started(house: House, tasks: int = 1) -> House:
    house.accept({"tasks": str(tasks)})
    house.deliver()
    return house


def silent(house: House) -> None:
    """The machine stands still for longer than the lease, and reconcile gives the finalizer up."""
    house.computation.before_result = lambda: None
    house.later(minutes=LONG_MINUTES)
    house.reconcile.sweep()
    assert house.only().state is State.RUNNING


# --- Slow, and still at work ---


def test_a_finalizer_that_lost_its_lease_and_was_not_replaced_commits(house: House) -> None:
    started(house)
    house.computation.before_result = lambda: silent(house)
    assert house.run_task() is Ended.COMMITTED
    record = house.only()
    assert (record.state, record.finalize_attempts) == (State.SUCCEEDED, 0)
    assert EntryKind.FINALIZE not in [entry.kind for entry in record.outbox]
    assert house.deliver() == ["stale"], "nobody is started for what is done"


def test_a_finalizer_that_loses_its_lease_again_after_retaking_it_commits(house: House) -> None:
    started(house)
    transactions: list[str] = []

    def lose_at_the_second_commit(name: str) -> None:
        if name == "status.transact":
            transactions.append(name)
            if len(transactions) == 3:  # The first commit, the retake, and now the second commit.
                silent(house)

    def lose() -> None:
        silent(house)
        house.store.hook = lose_at_the_second_commit

    house.computation.before_result = lose
    assert house.run_task() is Ended.COMMITTED
    assert house.only().state is State.SUCCEEDED
    assert len(transactions) > 3, "another retake and commit"


def test_a_finalizer_takes_its_lease_again_at_the_next_beat(house: House) -> None:
    started(house, tasks=2)
    house.run_task(0)
    seen: list[Submission] = []
    real = house.computation.merge

    def merge(record: Submission, receipts: object, prefix: str, beat: Callable[[], None]) -> object:
        silent(house)
        beat()
        seen.append(house.only())
        return real(record, receipts, prefix, beat)  # type: ignore[arg-type]  # the stand-in's own arguments

    setattr(house.computation, "merge", merge)  # noqa: B010  # a method of this one stand-in
    assert house.run_task(1) is Ended.COMMITTED
    assert seen[0].state is State.FINALIZING
    assert seen[0].lease is not None
    assert seen[0].lease.expires_at == house.clock() + LIMITS.finalize_lease


def test_a_finalizer_whose_work_was_taken_over_stops_and_leaves_nothing(house: House) -> None:
    started(house)

    def replaced() -> None:
        silent(house)
        house.deliver()
        assert house.run_task() is Ended.COMMITTED

    house.computation.before_result = replaced
    first = house.jobs.latest
    assert house.run_task(execution=first) is Ended.STALE
    record = house.only()
    assert record.result is not None
    kept = {info.ref.name for info in house.blobs.list("results")}
    assert kept == {f"{record.id}/manifest.json", f"{record.result.prefix}manifest.json"}


def test_a_finalizer_known_to_run_is_not_failed_however_often_it_was_slow(house: House) -> None:
    started(house)

    def very_slow() -> None:
        house.computation.before_result = lambda: None
        for _ in range(LIMITS.max_finalize_attempts + 3):
            house.later(hours=3)
            house.reconcile.sweep()
            house.deliver_later()
        assert house.only().state in {State.RUNNING, State.FINALIZING}

    house.computation.before_result = very_slow
    assert house.run_task() is Ended.COMMITTED


def test_a_finalizer_of_an_execution_that_is_over_is_replaced_at_once(house: House) -> None:
    started(house)

    def over() -> None:
        house.computation.before_result = lambda: None
        house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "out of memory")
        house.reconcile.sweep()
        assert house.only().finalize_attempts == 1

    house.computation.before_result = over
    house.run_task()


def test_a_beat_that_got_no_answer_does_not_end_the_work(house: House) -> None:
    started(house)
    house.store.hook = FailNext("status.put_task", UnavailableError("busy"), after=1)
    assert house.run_task() is Ended.COMMITTED


def test_a_beat_that_was_written_but_not_answered_is_known_as_our_own(house: House) -> None:
    started(house)
    house.store.hook = FailNext("status.put_task.done", UnavailableError("no answer"), after=1)
    assert house.run_task() is Ended.COMMITTED


# --- Broken ---


def breaking(error: Callable[[], Exception]) -> Callable[[], None]:
    def broken() -> None:
        raise error()

    return broken


FAULTS: dict[str, Callable[[], Exception]] = {
    "of Python": lambda: ValueError("shapes (3,) and (4,)"),
    "of ours": lambda: InternalError("a gap", expected="none"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_task_that_breaks_twice_at_one_place_ends_the_submission(
    house: House, fault: Callable[[], Exception]
) -> None:
    started(house).computation.before_part = breaking(fault)
    with pytest.raises(type(fault())):
        house.run_task()
    assert house.run_task(attempt=1) is Ended.FAILED
    _crashed(house.only(), "task 0 crashed twice at the same place", str(fault().args[0]))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_merge_that_breaks_twice_at_one_place_ends_the_submission(
    house: House, fault: Callable[[], Exception]
) -> None:
    started(house).computation.before_result = breaking(fault)
    with pytest.raises(type(fault())):
        house.run_task()
    assert house.run_task(attempt=1) is Ended.FAILED
    _crashed(house.only(), "writing the results crashed twice at the same place", str(fault().args[0]))
    assert list(house.blobs.list("results")) == []


def test_a_fault_is_known_again_in_the_next_epoch(house: House) -> None:
    started(house).computation.before_part = breaking(FAULTS["of Python"])
    with pytest.raises(ValueError, match="shapes"):
        house.run_task()
    house.jobs.end(house.jobs.latest, ExecutionState.FAILED, "task 0 failed 1 time")
    house.reconcile.sweep()
    house.deliver_later()
    assert house.run_task() is Ended.FAILED
    _crashed(house.only(), "task 0 crashed twice")


def test_a_fault_at_another_place_may_be_tried_again(house: House) -> None:
    started(house).computation.before_part = breaking(FAULTS["of Python"])
    with pytest.raises(ValueError, match="shapes"):
        house.run_task()

    def elsewhere() -> None:
        raise ValueError("shapes")

    house.computation.before_part = elsewhere
    with pytest.raises(ValueError, match="shapes"):
        house.run_task(attempt=1)
    house.computation.before_part = lambda: None
    assert house.run_task(attempt=2) is Ended.COMMITTED


ELSEWHERE = [
    UnavailableError("down"),
    AccessDeniedError("not yet"),
    OSError(28, "No space left"),
    MemoryError(),
    PreconditionFailedError("there"),
]


@pytest.mark.parametrize("error", ELSEWHERE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["before_part", "before_result"])
def test_trouble_elsewhere_is_met_again_without_an_end(house: House, where: str, error: Exception) -> None:
    started(house)
    setattr(house.computation, where, breaking(lambda: error))
    for attempt in range(4):
        with pytest.raises(type(error)):
            house.run_task(attempt=attempt)
    setattr(house.computation, where, lambda: None)
    assert house.run_task(attempt=4) is Ended.COMMITTED


def _crashed(record: Submission, *words: str) -> None:
    assert record.failure is not None
    assert (record.state, record.failure.code) == (State.FAILED, "TASK_CRASHED")
    for word in words:
        assert word in record.failure.message
    assert "in broken" in record.failure.message
    assert record.executions[0] in record.failure.hint


# --- Crashed, and could not say so ---

SEGV = "signal 11 (SIGSEGV) at embedding.py, line 88, in embed"


def test_a_task_given_up_for_crashing_twice_ends_the_submission(house: House) -> None:
    started(house)
    problem = f"task 0 crashed twice at the same place: {SEGV}"
    report = ExecutionReport(
        ExecutionState.FAILED, problem, crashes=(SEGV, SEGV), crashes_alike=True, log="/home/task.log"
    )
    adopted(house)
    house.jobs.tell(house.jobs.latest, report)
    house.reconcile.sweep()
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "TASK_CRASHED"
    assert SEGV in failure.message
    assert "/home/task.log" in failure.hint


def adopted(house: House) -> None:
    """A first attempt that dies without a word."""

    class KilledError(BaseException):
        pass

    def killed() -> None:
        raise KilledError

    house.computation.before_part = killed
    with pytest.raises(KilledError):
        house.run_task()


def dead_merge(house: House) -> None:
    class KilledError(BaseException):
        pass

    def killed() -> None:
        raise KilledError

    house.computation.before_result = killed
    with pytest.raises(KilledError):
        house.run_task()


@pytest.mark.parametrize(
    ("second", "state"),
    [(SEGV, State.FAILED), ("signal 6 (SIGABRT)", State.RUNNING), ("", State.RUNNING)],
    ids=["alike", "another crash", "evicted"],
)
def test_a_merge_that_crashes_in_two_executions_ends_the_submission(house: House, second: str, state: State) -> None:
    started(house)
    dead_merge(house)
    house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.SUCCEEDED, crashes=(SEGV,), log="a.log"))
    house.reconcile.sweep()
    assert SEGV in house.only().last_problem
    house.deliver_later()
    dead_merge(house)
    crashes = (second,) if second else ()
    house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.SUCCEEDED, crashes=crashes, log="b.log"))
    house.reconcile.sweep()
    record = house.only()
    assert record.state is state
    if record.failure:
        assert (record.failure.code, "b.log" in record.failure.hint) == ("TASK_CRASHED", True)


def test_a_crash_is_known_again_in_the_next_epoch(house: House) -> None:
    started(house)
    for _ in range(2):
        adopted(house)
        house.jobs.tell(house.jobs.latest, ExecutionReport(ExecutionState.FAILED, "status 139", crashes=(SEGV,)))
        house.reconcile.sweep()
        house.deliver_later()
    failure = house.only().failure
    assert failure is not None
    assert failure.code == "TASK_CRASHED"


def test_an_attempt_whose_document_is_another_s_stops(house: House) -> None:
    """What was not answered is ours only if it lies there as we wrote it."""
    started(house)

    def taken_over() -> None:
        house.computation.before_part = lambda: None
        house.store.hook = lambda _moment: None
        house.run_task(attempt=1)

    house.store.hook = FailNext("status.put_task", UnavailableError("busy"), after=1)
    house.computation.before_part = taken_over
    assert house.run_task() is Ended.STALE
    assert house.only().state is State.SUCCEEDED
