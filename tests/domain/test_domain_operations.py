"""What a submission asks of Firestore and Pub/Sub is what the planner reckons with."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from jobs.inference.services import Task
from shared.domain.geometry import BLOCK_ROWS
from shared.domain.plan import Workload, operations
from shared.domain.rates import RATES
from shared.domain.submission import State, Topic
from shared.h5ad.read.arrays import READ_BYTES
from tests.services.house import House

EACH_BEATS_ONCE_S = RATES.beat_s
"""The stand-in for a computation beats once; so does a task of so many seconds."""


def played(n_tasks: int) -> tuple[House, Counter[str], str]:
    """A submission from drop to commit, every call of the store counted."""
    house, calls = House(), Counter[str]()
    house.store.hook = lambda moment: calls.update([moment.removeprefix("status.")])
    record_id = house.accept({"tasks": str(n_tasks)}).value.id
    house.deliver()
    house.run_all()
    assert house.store.records[record_id].value.state is State.SUCCEEDED
    return house, calls, record_id


@pytest.mark.parametrize("n_tasks", [1, 2, 3])
def test_firestore_is_asked_for_what_the_planner_counts(n_tasks: int) -> None:
    house, calls, record_id = played(n_tasks)
    counted = operations(Workload(n_tasks * BLOCK_ROWS, 1, 1), RATES, n_tasks=n_tasks, task_s=EACH_BEATS_ONCE_S)
    changes = len(house.store.history(record_id))
    assert counted.firestore_writes == int(house.store.records[record_id].version) + changes + calls["put_task"]
    # As the Firestore adapter reads: before it writes over, and all tasks in a transaction and when they are listed.
    over = calls["replace"] + calls["put_task"] - n_tasks
    in_transactions = calls["transact"] * (1 + n_tasks)
    listed = calls["tasks"] * n_tasks
    assert counted.firestore_reads == calls["get"] + calls["get_task"] + over + in_transactions + listed


def test_messages_are_no_larger_than_the_planner_takes_them_for() -> None:
    house, _, _ = played(1)
    sent = sum(len(message.data) for topic in Topic for message in house.bus.messages(topic))
    assert 0 < 2 * sent <= RATES.submission_bytes


def test_beats_and_reads_are_as_the_task_makes_them() -> None:
    (interval_s,) = (one.default for one in fields(Task) if one.name == "beat_interval_s")
    assert (RATES.beat_s, RATES.read_bytes) == (interval_s, READ_BYTES)
