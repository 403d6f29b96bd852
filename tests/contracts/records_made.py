"""Records of every shape, for status stores to keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from shared.domain.admission import Request
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator, CostHints, Plan
from shared.domain.submission import (
    EntryKind,
    Failure,
    Lease,
    ModelRef,
    NotStarted,
    ObjectRef,
    Obstacle,
    OutboxEntry,
    Receipt,
    Requester,
    Result,
    State,
    Submission,
    TaskRecord,
)

THEN = datetime(2026, 3, 1, 8, 30, 15, 123456, tzinfo=UTC)
SOURCE = ObjectRef("inbox", "lab/größe.h5ad", 1_795_368_057_196_351)
OWED = OutboxEntry("s1/job/1", EntryKind.JOB, epoch=1)

ASKED = Request(SOURCE, {"model": "größe", "": "\udcff"}, "again", Requester("their-id", "lims"))
REFUSED = Request(SOURCE, {}, refusal=Failure("INPUT_NOT_FOUND", "it is not there", "upload it"))


def plain(record_id: str = "s1", state: State = State.QUEUED) -> Submission:
    return Submission(record_id, SOURCE, {"model": "pbmc"}, state)


def owing(record_id: str = "s1", state: State = State.QUEUED) -> Submission:
    return replace(plain(record_id, state), outbox=(OWED,))


def full() -> Submission:
    """Every field set that a record can have but the verdict, which has tests of its own."""
    return replace(
        plain("full", State.FAILED),
        requesters=(Requester("their-id", "pubsub"), Requester("other")),
        rerun_token="again",
        model=ModelRef("pbmc", "1.0", "d" * 64, "models", "pbmc/1.0/", CostHints(1e6, 12_345, needs_gpu=True)),
        plan=Plan(Accelerator.GPU, 3, 700, 12.5, 0.0123, 0.00029),
        epoch=4,
        attempts=2,
        finalize_attempts=1,
        lease=Lease("token", THEN),
        owner="execution-1",
        executions=("execution-1", "execution-2"),
        changed_at=THEN,
        dispatched_at=THEN,
        waiting_since=THEN,
        not_started=NotStarted(Obstacle.REFUSED, Failure("START_REFUSED", "may not", "grant it")),
        last_problem="it was killed",
        result=Result(
            "results", "full/4-token/", SOURCE, {"seconds": 1.5, "labels": {"B": 3}, "kind": "linear", "n": 7}
        ),
        failure=Failure("INTERNAL", "something", "do this"),
        outbox=(OWED, OutboxEntry("s1/failed/2", EntryKind.OUTCOME, epoch=4, n_requesters=2, not_before=THEN)),
    )


def task(index: int = 0, epoch: int = 1, rows_done: int = 0) -> TaskRecord:
    return TaskRecord(epoch, index, "execution-1", 0, Rows(index * 256, index * 256 + 256), rows_done)


def finished_task(index: int = 0, epoch: int = 1) -> TaskRecord:
    part = ObjectRef("work", f"s1/{epoch}/execution-1/{index}-0", 7)
    rows = Rows(index * 256, index * 256 + 256)
    receipt = Receipt(part, 1234, 0xFFFFFFFF, rows, device={"device": "cuda", "name": "NVIDIA L4"})
    return replace(task(index, epoch, 256), receipt=receipt, failure=Failure("A", "b"))
