"""The actual time and cost of a submission, to compare with its forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.prices import TIER_1
from shared.domain.submission import Receipt, Submission


@dataclass(frozen=True, slots=True)
class Actual:
    """Time and cost of the epoch that was committed.

    Attributes:
        seconds: From the epoch's claim to its results, waiting included, by the store's clock. None if nothing was
            dispatched, as in steps run by a workflow engine.
        machine_s: Seconds of the tasks (from their receipts) and of the merge, without starts, retries and lost epochs.
        usd: The cost of these machine seconds at the plan's price; None where nothing is billed.
    """

    seconds: float | None
    machine_s: float
    usd: float | None


def actual_of(record: Submission, receipts: Sequence[Receipt], merge_s: float) -> Actual:
    """The actual time and cost of a submission whose merge took ``merge_s``."""
    tasks_s = sorted(receipt.seconds for receipt in receipts) or [0.0]
    tasks_s[-1] += merge_s  # The last task to end also merges. It is assumed to be the longest one.
    price = record.plan.usd_per_task_s if record.plan else None
    usd = None if price is None else round(price * sum(map(TIER_1.billed_s, tasks_s)), 6)
    return Actual(_seconds(record, merge_s), round(sum(tasks_s), 1), usd)


def _seconds(record: Submission, merge_s: float) -> float | None:
    """From claim to results. The last change of state was the start of finalizing; both times are the store's."""
    if record.dispatched_at is None or record.changed_at is None:
        return None
    return round((record.changed_at - record.dispatched_at).total_seconds() + merge_s, 1)
