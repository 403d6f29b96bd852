"""Submissions in every state that a dispatch, a run or a merge brings them to."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.domain import admission, machine
from shared.domain.admission import Request
from shared.domain.errors import NoCapacityError, StartRefusedError
from shared.domain.limits import Limits
from shared.domain.plan import Accelerator, CostHints, Plan
from shared.domain.submission import (
    ModelRef,
    NotStarted,
    ObjectRef,
    Receipt,
    Requester,
    Result,
    Submission,
    TaskRecord,
)
from shared.domain.verdict import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(max_attempts=3, max_finalize_attempts=2)
PLAN = Plan(Accelerator.CPU, n_tasks=2, n_cells=600, estimated_s=1.0)
SOURCE = ObjectRef("inbox", "sample.h5ad", 7)
MODEL = ModelRef("m", "1", "d" * 64, "models", "m/1/", CostHints(1.0, 1))
RESULT = Result("results", "id/1-t/", ObjectRef("results", "id/1-t/manifest.json", 1))


FULL = NotStarted.of(NoCapacityError("no GPU is free"))
MAY_NOT = NotStarted.of(StartRefusedError("may not", hint="grant it"))


def new() -> Submission:
    return admission.queued(Request(SOURCE, {}, None, Requester("first")), Verdict(), MODEL)


def claimed(record: Submission | None = None) -> Submission:
    return machine.claim(record or new(), now=NOW, token="dispatch", plan=PLAN, limits=LIMITS)


def running() -> Submission:
    return machine.adopt(claimed(), epoch=1, execution="x", now=NOW)


def receipts(record: Submission, execution: str = "x") -> list[TaskRecord]:
    return [
        TaskRecord(
            record.epoch,
            index,
            execution,
            0,
            PLAN.rows_of(index),
            receipt=Receipt(ObjectRef("work", f"p{index}", 1), 1, 1, PLAN.rows_of(index)),
        )
        for index in range(PLAN.n_tasks)
    ]


def finalizing(token: str = "t") -> Submission:
    record = running()
    return machine.begin_finalizing(record, receipts(record), epoch=1, token=token, now=NOW, limits=LIMITS)
