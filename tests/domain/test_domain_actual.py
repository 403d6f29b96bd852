"""What a submission took is reckoned from the store's clock and from receipts, at the price of its plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.actual import actual_of
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator, Plan
from shared.domain.submission import ObjectRef, Receipt, State, Submission

CLAIMED = datetime(2026, 1, 5, 14, 3, tzinfo=UTC)
PRICED = Plan(Accelerator.CPU, 2, 600, 60.0, 0.01, usd_per_task_s=0.0001)
UNPRICED = Plan(Accelerator.CPU, 2, 600, 60.0)


def record(plan: Plan | None, *, dispatched_at: datetime | None = CLAIMED) -> Submission:
    finalizing_at = CLAIMED + timedelta(seconds=40)
    source = ObjectRef("inbox", "a.h5ad", 1)
    return Submission(
        "s1", source, {}, State.FINALIZING, plan=plan, changed_at=finalizing_at, dispatched_at=dispatched_at
    )


def receipt(seconds: float) -> Receipt:
    return Receipt(ObjectRef("work", "part", 1), 1, 1, Rows(0, 256), seconds)


def test_the_time_is_from_the_claim_to_finalizing_and_the_merge() -> None:
    actual = actual_of(record(UNPRICED), [receipt(30.0), receipt(20.0)], 5.0)
    assert (actual.seconds, actual.machine_s, actual.usd) == (45.0, 55.0, None)


def test_every_task_is_billed_for_a_minute_at_least_and_the_last_one_also_merges() -> None:
    short, long = receipt(10.0), receipt(70.0)
    assert actual_of(record(PRICED), [long, short], 30.0).usd == pytest.approx(0.0001 * (60 + 100))


def test_a_record_from_before_the_claim_was_timed_tells_machine_time_alone() -> None:
    actual = actual_of(record(None, dispatched_at=None), [receipt(2.5)], 1.0)
    assert (actual.seconds, actual.machine_s, actual.usd) == (None, 3.5, None)
