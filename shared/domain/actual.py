"""What a submission took in the end, to stand beside what was forecast for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.prices import TIER_1
from shared.domain.submission import Receipt, Submission


@dataclass(frozen=True, slots=True)
class Actual:
    """Seconds and dollars of the epoch that was committed.

    Attributes:
        seconds: From the claim that led to it to its results, by the store's clock, whatever was waited for; None where
            nothing was dispatched: steps run by a workflow engine.
        machine_s: Of the tasks' own work and of the merge, as their receipts have it, without starts, retries and lost
            epochs.
        usd: What they are billed for machines at the price that the plan was made with; None where nothing is billed.
    """

    seconds: float | None
    machine_s: float
    usd: float | None


def actual_of(record: Submission, receipts: Sequence[Receipt], merge_s: float) -> Actual:
    """What a submission took whose finalizer has merged for ``merge_s``."""
    tasks_s = sorted(receipt.seconds for receipt in receipts) or [0.0]
    tasks_s[-1] += merge_s  # Of a task that was still at it when the others had ended: taken to be the longest.
    price = record.plan.usd_per_task_s if record.plan else None
    usd = None if price is None else round(price * sum(map(TIER_1.billed_s, tasks_s)), 6)
    return Actual(_seconds(record, merge_s), round(sum(tasks_s), 1), usd)


def _seconds(record: Submission, merge_s: float) -> float | None:
    """Both times are the store's: finalizing began at the record's last change of state."""
    if record.dispatched_at is None or record.changed_at is None:
        return None
    return round((record.changed_at - record.dispatched_at).total_seconds() + merge_s, 1)
