"""Any sequence of calls to a status store, beside dictionaries that say what should come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.domain.errors import PreconditionFailedError, SubmissionNotFoundError
from shared.domain.submission import State, Submission, TaskRecord
from tests.contracts.racing import StatusDoor
from tests.contracts.records_made import OWED, plain, task

IDS = st.sampled_from(["s1", "s2", "s3"])
EPOCHS = st.integers(1, 2)
INDEXES = st.integers(0, 2)


@st.composite
def records(draw: st.DrawFn) -> Submission:
    return replace(
        plain(state=draw(st.sampled_from(State))),
        epoch=draw(st.integers(0, 2)),
        attempts=draw(st.integers(0, 3)),
        outbox=draw(st.sampled_from([(), (OWED,)])),
        last_problem=draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)),
    )


@dataclass(frozen=True, slots=True)
class Becomes:
    """A change that another process can be handed: another record of that id, which counts the tasks it was shown."""

    record: Submission

    def __call__(self, found: Submission, tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
        return replace(self.record, id=found.id, attempts=100 + len(tasks))


class StatusMachine(RuleBasedStateMachine):
    """Doors lead to the same records: to come in by one is to open the store anew."""

    def __init__(self, doors: Sequence[StatusDoor]) -> None:
        super().__init__()
        self.doors = doors
        self.store = doors[0]()
        self.there: dict[str, tuple[Submission, str]] = {}
        self.history: dict[str, list[tuple[State, int]]] = {}
        self.tasks: dict[tuple[str, int, int], tuple[TaskRecord, str]] = {}

    @initialize(first=st.lists(records(), max_size=3))
    def begin(self, first: list[Submission]) -> None:
        for number, record in enumerate(first):
            made = replace(record, id=f"s{number + 1}")
            self._wrote(made, self.store.create(made).version)

    @rule(number=st.integers(0, 3))
    def open_anew(self, number: int) -> None:
        self.store = self.doors[number % len(self.doors)]()

    @rule(record_id=IDS, record=records())
    def create(self, record_id: str, record: Submission) -> None:
        record = replace(record, id=record_id)
        if record_id in self.there:
            with pytest.raises(PreconditionFailedError):
                self.store.create(record)
        else:
            self._wrote(record, self.store.create(record).version)

    @rule(record_id=IDS, record=records(), stale=st.booleans())
    def replace(self, record_id: str, record: Submission, stale: bool) -> None:
        record = replace(record, id=record_id)
        if record_id not in self.there:
            with pytest.raises(SubmissionNotFoundError):
                self.store.replace(record, if_version="1")
        elif stale:
            with pytest.raises(PreconditionFailedError):
                self.store.replace(record, if_version="no such version")
        else:
            version = self.there[record_id][1]
            self._wrote(record, self.store.replace(record, if_version=version).version)

    @rule(record_id=IDS, record=records())
    def transact(self, record_id: str, record: Submission) -> None:
        if record_id not in self.there:
            return
        before, _ = self.there[record_id]
        n_tasks = sum(key[:2] == (record_id, before.epoch) for key in self.tasks)
        stored = self.store.transact(record_id, Becomes(record))
        assert stored.value.attempts == 100 + n_tasks
        self._wrote(stored.value, stored.version)

    @rule(record_id=IDS, epoch=EPOCHS, index=INDEXES, rows_done=st.integers(0, 256), first=st.booleans())
    def put_task(self, record_id: str, epoch: int, index: int, rows_done: int, first: bool) -> None:
        key = (record_id, epoch, index)
        new = task(index, epoch, rows_done)
        expected = self.tasks[key][1] if key in self.tasks else None
        version = None if first else expected or "1"
        if version == expected:
            self.tasks[key] = (new, self.store.put_task(record_id, new, if_version=version).version)
        else:
            with pytest.raises(PreconditionFailedError):
                self.store.put_task(record_id, new, if_version=version)

    @rule(record_id=IDS, epoch=EPOCHS)
    def the_tasks_are_what_they_should_be(self, record_id: str, epoch: int) -> None:
        found = [(stored.value, stored.version) for stored in self.store.tasks(record_id, epoch)]
        assert found == [self.tasks[key] for key in sorted(self.tasks) if key[:2] == (record_id, epoch)]

    @rule(
        states=st.sets(st.sampled_from(State), max_size=3),
        limit=st.sampled_from([1, 2, 100]),
        with_outbox=st.booleans(),
        oldest_first=st.booleans(),
    )
    def what_is_found_is_what_should_be(
        self, states: set[State], limit: int, with_outbox: bool, oldest_first: bool
    ) -> None:
        found = self.store.find(states, limit=limit, with_outbox=with_outbox, oldest_first=oldest_first)
        expected = [
            (record, version)
            for record, version in self.there.values()
            if (record.state in states or not states) and (record.outbox or not with_outbox)
        ]
        in_order = expected if oldest_first else expected[::-1]
        assert [(stored.value, stored.version) for stored in found] == in_order[:limit]

    @invariant()
    def the_records_are_what_they_should_be(self) -> None:
        for record_id, expected in self.there.items():
            found = self.store.get(record_id)
            assert (found.value, found.version) == expected
            history = self.store.history(record_id)
            assert [(entry.state, entry.epoch) for entry in history] == self.history[record_id]
            assert [entry.n for entry in history] == list(range(1, len(history) + 1))
            assert all(before.at <= after.at for before, after in pairwise(history))

    def _wrote(self, record: Submission, version: str) -> None:
        log = self.history.setdefault(record.id, [])
        if not log or log[-1] != (record.state, record.epoch):
            log.append((record.state, record.epoch))
        self.there[record.id] = (record, version)
