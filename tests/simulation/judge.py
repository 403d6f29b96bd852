"""What must always hold: looked at with every effect, by rules written apart from the code that they judge."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import google_crc32c

from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.domain.owed import SWEEP_DELAY
from shared.domain.submission import Lease, ObjectRef, State, Submission, TaskRecord, Topic
from shared.ports.blobs import BlobInfo
from shared.ports.events import Message
from shared.ports.jobs import ExecutionState, JobRequest
from shared.ports.status import Stored
from tests.fakes.clock import START
from tests.simulation.harm import AT_WORK, Harm
from tests.simulation.platform import Execution, SimulatedJobs
from tests.simulation.ports import SimulatedBlobStore, SimulatedStatusStore
from tests.simulation.world import Process, Role, World

MAX_ATTEMPTS, MAX_EPOCHS, MAX_FINALIZE_ATTEMPTS = 3, 12, 5
"""Of one submission, whatever happens: so at most ``MAX_EPOCHS * (1 + MAX_FINALIZE_ATTEMPTS)`` executions."""

MOST_IN_A_RECORD, MOST_OWED = 64, 40
"""Requesters, and entries of the outbox: a stop for each execution, and one of each other kind."""
MOST_SILENT_S = 5400.0
"""From the end to the outcome event, while nothing goes wrong: the longest pause between two tries, and some."""
MOST_OPEN_S = 3 * 3600.0
"""From the last fault to the end of a submission: the longest grace of a finalizer, and some pauses."""
MOST_UNSTOPPED_S = 1800.0
"""From the end of an epoch to the last begin of an execution of it, with an outage on the way."""

FOLLOWS: Mapping[State | None, frozenset[State]] = {
    None: frozenset({State.QUEUED, State.REJECTED}),
    State.QUEUED: frozenset({State.DISPATCHING, State.FAILED, State.CANCELLED}),
    State.DISPATCHING: frozenset(
        {State.RUNNING, State.QUEUED, State.WAITING_CAPACITY, State.FAILED, State.CANCELLED},
    ),
    State.RUNNING: frozenset({State.FINALIZING, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.FINALIZING: frozenset({State.SUCCEEDED, State.RUNNING, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.WAITING_CAPACITY: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
}
"""What one write may lead to: the arrows of DESIGN, and the shortcuts of ADR 3."""


class Judge:
    """Keeps what it saw, and every breach.

    Attributes:
        violations: In words, in order.
        commits: How often each submission was turned into SUCCEEDED.
        joined: Who ever asked for each submission.
        asked_in_time: Who had asked for each submission while it was open.
        told: The outcome events of each submission.
        told_accepted: Its accepted events.
        over_at_s: When the record left each epoch.
        noted: The executions that a record has ever named, with their epochs.
        lease_takers: Which process took a submission's lease with each token.
        made: The submissions that the deliveries of each event made or joined.
        harm: What struck each submission, and what it lost.
        heartbeat: The shortest silence that any version in use takes for death.
        finalize_lease: The shortest of the finalizer's leases.
    """

    def __init__(self, world: World, heartbeat: timedelta, finalize_lease: timedelta) -> None:
        self._world = world
        self._heartbeat = heartbeat
        self._finalize_lease = finalize_lease
        self.store: SimulatedStatusStore
        self.blobs: SimulatedBlobStore
        self.jobs: SimulatedJobs
        self.violations: list[str] = []
        self.harm = Harm()
        self.commits: Counter[str] = Counter()
        self.final_at_s: dict[str, float] = {}
        self.told_at_s: dict[tuple[str, str], float] = {}
        self.joined_at_s: dict[str, dict[str, float]] = defaultdict(dict)
        self.calm_at_s = self.faults_stop_s = 0.0
        self.final_at: dict[str, datetime] = {}
        self.messages: dict[str, Message] = {}
        self.asked_in_time: dict[str, set[str]] = defaultdict(set)
        self.joined: dict[str, set[str]] = defaultdict(set)
        self.told: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.told_accepted: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.made: dict[str, set[str]] = defaultdict(set)
        self.created_at_s: dict[str, float] = {}
        self.over_at_s: dict[tuple[str, int], float] = {}
        self.noted: dict[str, int] = {}
        self.last_taker: dict[str, Process | None] = {}
        self.lease_takers: dict[tuple[str, str], Process | None] = {}
        self.asked: list[JobRequest] = []

    def breach(self, what: str) -> None:
        """Something that must never be."""
        self.violations.append(f"at {self._world.now_s:.3f} s: {what}")
        self._world.tell(f"BREACH: {what}")

    def hold(self, holds: bool, what: str) -> None:
        if not holds:
            self.breach(what)

    # --- Records ---

    def record_written(self, before: Stored[Submission] | None, after: Submission) -> None:
        old = before.value if before else None
        was = old.state if old else None
        self._in_time(after)
        if was is not after.state:
            owing = ", ".join(entry.kind for entry in after.outbox)
            self._world.tell(f"{_short(after.id)}: {was or 'new'} → {after.state}, epoch {after.epoch}; owes {owing}")
            if was is None or was.final or after.state not in FOLLOWS[was]:
                self.hold(was is None, f"{was} became {after.state}")
            if after.state.final:
                self.final_at_s[after.id] = self._world.now_s
                self.final_at[after.id] = self._world.clock()
            self._lease_or_commit(old, after)
        self.noted |= dict.fromkeys(after.executions, after.epoch)
        self._made_once(after)
        if old is None:
            self.created_at_s[after.id] = self._world.now_s
            self.hold(after.state in FOLLOWS[None] and after.epoch == 0, f"began as {after.state}")
            return
        self._epochs_grow(old, after)
        if old.state in AT_WORK and after.state not in AT_WORK:
            self.over_at_s[after.id, after.epoch] = self._world.now_s
        self.harm.record_written(old, after, self._world.now_s)
        if old.state.final:
            self._stays_final(old, after)
        elif self._world.current is not None and self._world.current.role is Role.RECONCILE:
            self._takes_no_living_work(old, after)

    def _lease_or_commit(self, old: Submission | None, new: Submission) -> None:
        if new.state is State.SUCCEEDED:
            self._committed(old, new)
        if new.state is State.FINALIZING and new.lease is not None:
            self.lease_takers[new.id, new.lease.token] = self.last_taker[new.id] = self._world.current

    def _made_once(self, record: Submission) -> None:
        event = self._world.current.event if self._world.current else ""
        if event:
            self.made[event].add(record.id)
            self.hold(len(self.made[event]) == 1, f"one event made {len(self.made[event])} submissions")

    def _in_time(self, record: Submission) -> None:
        names = {who.correlation_id for who in record.requesters}
        self.joined[record.id] |= names
        for name in names:
            self.joined_at_s[record.id].setdefault(name, self._world.now_s)
        if not record.state.final:
            self.asked_in_time[record.id] |= names
        self.hold(len(names) <= MOST_IN_A_RECORD, f"a record holds {len(names)} requesters")
        self.hold(len(record.outbox) <= MOST_OWED, f"a record owes {len(record.outbox)} entries")

    def _epochs_grow(self, old: Submission, new: Submission) -> None:
        claimed = old.state is State.QUEUED and new.state is State.DISPATCHING
        self.hold(new.epoch == old.epoch + claimed, f"{old.state} → {new.state}: epoch {old.epoch} → {new.epoch}")
        self.hold(new.attempts <= MAX_ATTEMPTS, f"attempt {new.attempts}")
        if old.owner is not None and new.epoch == old.epoch and new.state is not State.QUEUED:
            self.hold(new.owner == old.owner, f"the owner of epoch {old.epoch} changed: {old.owner} → {new.owner}")

    def _stays_final(self, old: Submission, new: Submission) -> None:
        asked = new.requesters[: len(old.requesters)] if new.pages == old.pages else old.requesters
        kept = (old.result, old.failure, old.epoch, old.requesters) == (new.result, new.failure, new.epoch, asked)
        self.hold(kept, f"a final record changed: {old.state}")

    def _takes_no_living_work(self, old: Submission, new: Submission) -> None:
        """Reconcile may take work away only when its lease has run out, its beats have, or its execution is over."""
        if old.state is new.state or new.state is State.RUNNING is old.state:
            return
        over = self._over(old)
        match old.state:
            case State.DISPATCHING | State.FINALIZING:
                self.hold(over or self._expired(old.lease), f"a living lease was taken from {old.state}")
                self._spares_the_slow(old, new)
            case State.RUNNING if new.state is State.QUEUED:
                self.hold(over or self._silent(old), "a living run was given up")
            case _:
                return

    def _spares_the_slow(self, old: Submission, new: Submission) -> None:
        """A finalizer whose execution is known to run may be slow: it gets another lease's time, and no end."""
        known = {self.jobs.report_of(name).state for name in old.executions}
        if old.state is not State.FINALIZING or old.lease is None or ExecutionState.RUNNING not in known:
            return
        late = self._world.clock() - old.lease.expires_at
        self.hold(late >= self._finalize_lease, "a finalizer that was only slow was given up at once")
        self.hold(new.state is not State.FAILED, "a finalizer was failed while it was at work")

    def _over(self, record: Submission) -> bool:
        """Whether an execution is over, and none is known to run."""
        states = {self.jobs.executions[name].state for name in record.executions if name in self.jobs.executions}
        known = {self.jobs.report_of(name).state for name in record.executions}
        return bool(states - {ExecutionState.RUNNING}) and ExecutionState.RUNNING not in known

    def _expired(self, lease: Lease | None) -> bool:
        return lease is None or self._world.clock() >= lease.expires_at

    def _silent(self, record: Submission) -> bool:
        beats = [task.updated_at for task in self.store._tasks_of(record.id, record.epoch)]
        latest = max([*beats, record.changed_at or self._world.clock()])
        return self._world.clock() - latest > self._heartbeat

    # --- The commit ---

    def _committed(self, old: Submission | None, new: Submission) -> None:
        self.commits[new.id] += 1
        self.hold(self.commits[new.id] == 1, f"commit number {self.commits[new.id]}")
        if old is None or new.result is None or new.plan is None or old.lease is None:
            self.breach("a commit without a lease, a plan or a result")
            return
        holder = self.lease_takers[new.id, old.lease.token]
        self.hold(holder is self._world.current, "the commit is not by the holder of the finalizer's lease")
        manifest = self.blobs.ever.get(new.result.manifest)
        if manifest is None or not self._is_there(new.result.manifest):
            self.breach("the committed manifest does not exist")
            return
        self._whole(new, json.loads(manifest))

    def _whole(self, record: Submission, manifest: Mapping[str, Any]) -> None:
        """The manifest names whole, crc-matched parts of one execution that cover every row once."""
        assert record.plan is not None
        pinned = self.blobs.ever[record.source].decode()
        name, generation = manifest["annotations"]
        annotations = self._bytes_of(manifest["annotations"])
        if annotations is None or not self._is_there(ObjectRef("results", name, generation)):
            self.breach("the committed annotations do not exist")
            return
        parts = json.loads(annotations)
        self.hold(manifest["input"] == pinned, "the results tell of another generation than the pinned one")
        self.hold(len(parts) == len(manifest["parts"]), "the manifest names other parts than were merged")
        for part, (name, generation, crc32c) in zip(parts, manifest["parts"], strict=False):
            whole = self._bytes_of([name, generation], "work")
            matched = whole is not None and google_crc32c.value(whole) == crc32c
            self.hold(
                matched and json.loads(whole or b"null") == part, f"part {name} was merged though it is not whole"
            )
            self.hold(set(part["input"]) <= {pinned}, f"part {name} was computed from another generation")
            self.hold(
                part["part"].split("/")[:3] == [record.id, str(record.epoch), record.owner], f"foreign part {name}"
            )
        spans = sorted(tuple(part["rows"]) for part in parts)
        edges = [0, *(stop for _, stop in spans)]
        once = all(start == edge for (start, _), edge in zip(spans, edges, strict=False))
        self.hold(once and edges[-1] == record.plan.n_cells, f"rows {spans} of {record.plan.n_cells}")

    def _is_there(self, ref: ObjectRef) -> bool:
        info, _ = self.blobs.objects.get((ref.bucket, ref.name), (None, b""))
        return info is not None and info.ref == ref

    def _bytes_of(self, named: list[Any], bucket: str = "results") -> bytes | None:
        name, generation = named
        return next(
            (
                data
                for ref, data in self.blobs.ever.items()
                if (ref.bucket, ref.name, ref.generation) == (bucket, name, generation)
            ),
            None,
        )

    # --- Tasks, objects, messages, starts ---

    def task_written(self, before: TaskRecord | None, after: TaskRecord) -> None:
        if before is not None and before.receipt is not None:
            self.hold(after.receipt == before.receipt, f"the receipt of task {before.index} was replaced")

    def blob_written(self, before: BlobInfo | None, info: BlobInfo, data: bytes) -> None:
        bucket, name = info.ref.bucket, info.ref.name
        if bucket not in {"work", "results"}:
            return
        record_id, _, rest = name.partition("/")
        if rest != "manifest.json":
            self.hold(before is None, f"{bucket}/{name} was written over")
            return
        record = self.store.records[record_id].value
        named = record.result and self.blobs.ever.get(record.result.manifest)
        self.hold(named == data, "manifest.json tells of something that was not committed")

    def blob_deleted(self, bucket: str, name: str) -> None:
        record = self.store.records.get(name.partition("/")[0])
        result = record.value.result if record else None
        if bucket == "results" and result is not None:
            self.hold(not name.startswith(result.prefix), f"a committed file was removed: {name}")

    def published(self, topic: Topic, message: Message) -> None:
        first = self.messages.setdefault(message.id, message)
        self.hold(first.data == message.data, f"two messages of one id differ: {message.id}")
        if topic is Topic.EVENTS:
            event = json.loads(message.data)
            stored = self.store.records[event["subject"]]
            if event["type"] == "celldrop.submission.accepted.v1":
                self._accepted_told(stored, event)
            else:
                self._outcome_told(stored.value, event)

    def _outcome_told(self, record: Submission, event: Mapping[str, Any]) -> None:
        self.told[record.id].append(event)
        for who in event["data"]["requesters"]:
            self.told_at_s.setdefault((record.id, who["correlation_id"]), self._world.now_s)
        self.hold(record.state.final, f"an outcome is told of {record.state}")
        self.hold(record.state == event["data"]["state"], f"an event says {event['data']['state']}")
        self.hold(event["type"] == f"celldrop.submission.{record.state.lower()}.v1", f"an event is {event['type']}")

    def _accepted_told(self, stored: Stored[Submission], event: Mapping[str, Any]) -> None:
        """True whatever has become of it: that it was taken on, when, and for whom."""
        record, data = stored.value, event["data"]
        self.told_accepted[record.id].append(event)
        self.hold(record.state is not State.REJECTED, "a rejected submission was told as accepted")
        self.hold(data["state"] == State.QUEUED, f"an accepted event says {data['state']}")
        self.hold(event["time"] == stored.created_at.isoformat(), "an accepted event tells another time")
        names = {who["correlation_id"] for who in data["requesters"]}
        self.hold(names <= self.asked_in_time[record.id], "an accepted event names who came after the end")

    def started(self, request: JobRequest) -> None:
        self.asked.append(request)
        asked = [other for other in self.asked if other.submission_id == request.submission_id]
        mine = [other for other in asked if self.jobs.began(other)]
        alike = sum((other.epoch, other.finalize_only) == (request.epoch, request.finalize_only) for other in mine)
        most = MAX_FINALIZE_ATTEMPTS if request.finalize_only else 1
        self.hold(alike <= most, f"start number {alike} for epoch {request.epoch}")
        self.hold(len({other.epoch for other in mine}) <= MAX_EPOCHS, f"more than {MAX_EPOCHS} epochs were started")

    # --- What work costs ---

    def dispatched(self) -> None:
        """The running dispatch says that it has started an execution: it must be known to the record, or stopped."""
        assert self._world.current is not None
        name = self.jobs.answered[self._world.current]
        running = self.jobs.executions[name].state is ExecutionState.RUNNING
        self.hold(name in self.noted or not running, f"{name} runs, and nobody knows of it")

    def execution_begun(self, execution: Execution) -> None:
        """An execution that the record knew of does not begin long after its epoch was over."""
        key = (execution.request.submission_id, execution.request.epoch)
        late_s = self._world.now_s - self.over_at_s.get(key, self._world.now_s)
        known = execution.name in self.noted
        self.hold(not known or late_s < MOST_UNSTOPPED_S, "an execution began long after its epoch was over")

    def task_ended(self, me: TaskIdentity, ended: Ended) -> None:
        """A finalizer that was only slow does not stop while nobody has taken its place."""
        process = self._world.current
        assert process is not None
        record = self.store.records[me.submission_id].value
        unmoved = (
            record.state is State.RUNNING and record.epoch == me.epoch and self.last_taker.get(record.id) is process
        )
        given_up = ended is Ended.STALE and unmoved and not process.failed_calls
        self.hold(not given_up, "a finalizer stopped, though nobody had taken its place")


def settled(judge: Judge, hold: Callable[[bool, str], None]) -> None:
    """What must hold once the faults have stopped and everything has come to rest."""
    for stored in judge.store.records.values():
        record, name = stored.value, _short(stored.value.id)
        hold(record.state.final, f"{name} still is {record.state}")
        hold(not record.outbox, f"{name} still owes {[entry.kind for entry in record.outbox]}")
        events = judge.told[record.id]
        hold(bool(events), f"nobody was told of the end of {name}")
        named = {who["correlation_id"] for event in events for who in event["data"]["requesters"]}
        hold(named == judge.joined[record.id], f"not every requester of {name} was told")
        _acceptance(judge, record, hold)
        hold(judge.commits[record.id] == (record.state is State.SUCCEEDED), f"{judge.commits[record.id]} commits")
        _in_good_time(judge, record, hold)
        _tidy(judge, record, hold)
        _chronicle(judge, record, hold)
    hold(not judge.jobs.running, f"{len(judge.jobs.running)} executions are left running")
    for unexpected in judge.jobs.unexpected:
        hold(False, unexpected)


def _in_good_time(judge: Judge, record: Submission, hold: Callable[[bool, str], None]) -> None:
    """Once nothing goes wrong any more, a submission ends soon; and everyone is told soon, whatever else is owed."""
    final_at_s = judge.final_at_s.get(record.id, 0.0)
    open_s = final_at_s - max(judge.faults_stop_s, judge.created_at_s[record.id])
    hold(open_s < MOST_OPEN_S, f"{_short(record.id)} was open for {open_s / 3600:.1f} h without a fault")
    for name, asked_at_s in judge.joined_at_s[record.id].items():
        due_at_s = max(judge.calm_at_s, final_at_s, asked_at_s)
        late_s = judge.told_at_s.get((record.id, name), 0.0) - due_at_s
        hold(late_s < MOST_SILENT_S, f"the outcome of {_short(record.id)} was told {late_s / 3600:.1f} h late")
    hold(not record.given_up or judge.blobs.retains, f"given up, and nothing stood in the way: {record.given_up}")


def _acceptance(judge: Judge, record: Submission, hold: Callable[[bool, str], None]) -> None:
    """Whoever asked while it was open was told that it is accepted; of a rejected one nobody was."""
    events, name = judge.told_accepted[record.id], _short(record.id)
    hold(bool(events) == (record.id in judge.asked_in_time), f"{len(events)} accepted events of {name}")
    named = {who["correlation_id"] for event in events for who in event["data"]["requesters"]}
    hold(named == judge.asked_in_time.get(record.id, set()), f"who asked for {name} was not told that it is accepted")


def _tidy(judge: Judge, record: Submission, hold: Callable[[bool, str], None]) -> None:
    known = f"{record.id}/manifest.json"
    succeeded = record.state is State.SUCCEEDED
    hold((("results", known) in judge.blobs.objects) == succeeded, f"{record.state} and manifest.json do not agree")
    over_at = judge.final_at.get(record.id, START)
    for (bucket, name), (info, _) in judge.blobs.objects.items():
        if not name.startswith(f"{record.id}/") or (record.result and name.startswith((record.result.prefix, known))):
            continue
        if judge.blobs.retains:
            continue
        # A worker that was paused for longer than the sweep waits may still write then; the buckets' lifecycle ends it.
        at_once = bucket == "work" and succeeded and record.epoch == 1 and record.finalize_attempts == 0
        late = info.updated_at >= over_at + (timedelta(0) if at_once else SWEEP_DELAY)
        hold(late, f"{bucket}/{name} was left behind")


def _chronicle(judge: Judge, record: Submission, hold: Callable[[bool, str], None]) -> None:
    history = judge.store._history[record.id]
    hold([entry.n for entry in history] == list(range(1, len(history) + 1)), "the history has a gap")
    hold(all(first.at <= second.at for first, second in pairwise(history)), "the history runs backwards")
    hold(history[-1].state is record.state, "the history ends otherwise than the record")


def _short(record_id: str) -> str:
    return record_id[:6]
