"""The product with one mechanism switched off at a time: each must be caught, or the simulator proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from functions.dispatch.services import Dispatch
from functions.reconcile.passes import Group
from functions.reconcile.services import WAITING_STATES, Reconcile, _Mend
from jobs.inference import services as computing
from jobs.inference.task import finalizing
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import TaskIdentity
from shared.domain import admission, machine, owed, waiting
from shared.domain.errors import StaleWorkerError
from shared.domain.limits import Limits
from shared.domain.outputs import MANIFEST
from shared.domain.planning import plan_of
from shared.domain.submission import (
    EntryKind,
    NotStarted,
    Obstacle,
    OutboxEntry,
    Receipt,
    Requester,
    State,
    Submission,
    TaskRecord,
)
from shared.ports.blobs import BlobInfo
from shared.ports.events import Message
from shared.ports.status import StatusStore, Stored
from shared.records import outbox as paying
from shared.records.messages import JobMessage, Page, accepted_message
from shared.records.outbox import Outbox
from shared.records.updates import update
from tests.simulation.mutant import FOREVER, Mutant, Patch
from tests.simulation.mutants_repairs import REPAIRS
from tests.simulation.town import Town


def _claim(patch: Patch) -> None:
    def claim_or_not(self: Dispatch, message: JobMessage) -> Stored[Submission]:
        def change(record: Submission, now: datetime) -> Submission:
            if record.state is not State.QUEUED:
                return record
            plan = plan_of(record, self.fleet)
            return machine.claim(record, now=now, token="", plan=plan, limits=self.limits)

        return update(self.store, message.submission_id, change)

    patch(Dispatch, "_claim", claim_or_not)


def _epoch(patch: Patch) -> None:
    real = machine.claim
    patch(machine, "claim", lambda record, **how: replace(real(record, **how), epoch=1))


def _owner(patch: Patch) -> None:
    real = machine.adopt

    def adopt(record: Submission, *, epoch: int, execution: str, now: datetime) -> Submission:
        if record.epoch == epoch and record.state in {State.RUNNING, State.FINALIZING}:
            return record
        return real(record, epoch=epoch, execution=execution, now=now)

    def receipts_complete(record: Submission, tasks: Sequence[TaskRecord]) -> bool:
        return record.plan is not None and len([task for task in tasks if task.receipt]) == record.plan.n_tasks

    def receipts(self: Finalizer, record: Submission) -> list[Receipt]:
        tasks = self.store.tasks(record.id, record.epoch)
        return [stored.value.receipt for stored in tasks if stored.value.receipt is not None]

    patch(machine, "adopt", adopt)
    patch(machine, "receipts_complete", receipts_complete)
    patch(Finalizer, "_receipts", receipts)
    patch(computing, "_owns", lambda record, me: record.state is State.RUNNING and record.epoch == me.epoch)


def _attempt(patch: Patch) -> None:
    name = property(lambda me: f"{me.submission_id}/{me.epoch}/{me.execution}/{me.index:05d}.arrow")
    patch(TaskIdentity, "part_name", name)


def _parts_written_over(town: Town) -> None:
    real = town.blobs.write

    def write(bucket: str, name: str, chunks: Any, **how: Any) -> BlobInfo:
        return real(bucket, name, chunks, **({**how, "if_generation": None} if bucket == "work" else how))

    setattr(town.blobs, "write", write)  # noqa: B010  # a method of this one store


def _receipt_set(patch: Patch) -> None:
    def finishers(record: Submission, tasks: Sequence[TaskRecord]) -> bool:
        n = sum(task.attempt + 1 for task in tasks if task.receipt is not None)
        return record.plan is not None and n >= record.plan.n_tasks

    patch(machine, "receipts_complete", finishers)


def _token(patch: Patch) -> None:
    def check(record: Submission, epoch: int, _token: str) -> None:
        if record.state is not State.FINALIZING or record.epoch != epoch:
            raise StaleWorkerError("not finalizing", expected="a finalizer")

    patch(machine, "_check_finalizer", check)


def _outbox(patch: Patch) -> None:
    real = Outbox.pay

    def forget_first(self: Outbox, stored: Stored[Submission]) -> Stored[Submission]:
        due = {entry.id for entry in stored.value.outbox if self._pays(entry, stored.read_at)}
        if not due:
            return stored
        update(self.store, stored.value.id, lambda record, _now: owed.paid(record, due))
        return real(self, stored)

    patch(Outbox, "pay", forget_first)


def _no_reconcile(town: Town) -> None:
    town.reconciles = False


def _endless_lease(town: Town) -> None:
    limits = replace(town.version.limits, dispatch_lease=FOREVER, finalize_lease=FOREVER)
    town.version = town.other_version = replace(town.version, limits=limits)


def _lease_not_honoured(patch: Patch) -> None:
    real = Reconcile._lost_finalizer

    def lost(self: Reconcile, record: Submission, _now: datetime) -> machine.Change | None:
        assert record.lease is not None
        return real(self, record, record.lease.expires_at)

    patch(Reconcile, "_lost_finalizer", lost)


def _heartbeat(patch: Patch) -> None:
    real = Reconcile._lost_run

    def lost(
        self: Reconcile, record: Submission, tasks: Sequence[Stored[TaskRecord]], now: datetime
    ) -> machine.Change | None:
        return real(self, record, tasks, now + timedelta(days=1))

    patch(Reconcile, "_lost_run", lost)


def _isolation(town: Town) -> None:
    town.store.transactions_isolated = False


def _blind(town: Town) -> None:
    store = town.store
    real = store.replace

    def replace_blindly(record: Submission, *, if_version: str) -> Stored[Submission]:
        del if_version
        town.world.cut("status.replace.blind")
        return real(record, if_version=store.records[record.id].version)

    def unguarded(moment: str) -> None:
        if moment not in {"status.replace", "status.replace.done"}:
            town.world.cut(moment)

    store.hook = unguarded
    setattr(store, "replace", replace_blindly)  # noqa: B010  # a method of this one store


def _made_anew(town: Town) -> None:
    store = town.store
    real = store.create

    def create(record: Submission) -> Stored[Submission]:
        if record.id in store.records:
            return store._write(store.records[record.id], record)
        return real(record)

    setattr(store, "create", create)  # noqa: B010  # a method of this one store


def _resolved_anew(town: Town) -> None:
    setattr(town.store, "resolved", lambda _event: None)  # noqa: B010  # methods of this one store
    setattr(town.store, "resolve", lambda _event, request: request)  # noqa: B010


def _slot(patch: Patch) -> None:
    def write(self: Any, task: TaskRecord) -> None:
        store: StatusStore = self._protocol.store
        found = store.get_task(self._me.submission_id, task.epoch, task.index)
        self._stored = store.put_task(self._me.submission_id, task, if_version=found.version if found else None)

    patch(computing._Slot, "write", write)


def _own_clock(town: Town) -> None:
    store = town.store
    real = store._now

    def now(stored: Stored[Any]) -> Stored[Any]:
        read = real(stored)
        process = town.world.current
        return replace(read, read_at=read.read_at + timedelta(seconds=process.skew_s)) if process else read

    setattr(store, "_now", now)  # noqa: B010  # a method of this one store


def _unguarded(patch: Patch) -> None:
    patch(_Mend, "guarded", lambda mend: lambda newest, _tasks, now: mend.change(newest, now))


def _late_requester(patch: Patch) -> None:
    _join_silently(patch, lambda record: record.state.final)


def _silent_join(patch: Patch) -> None:
    _join_silently(patch, lambda record: not record.state.final)


def _join_silently(patch: Patch, silently: Callable[[Submission], bool]) -> None:
    real = admission.join

    def join(record: Submission, requester: Requester) -> Submission:
        joined = real(record, requester)
        return replace(joined, outbox=record.outbox) if silently(record) else joined

    patch(admission, "join", join)


def _acceptance_void(patch: Patch) -> None:
    real = owed.without

    def without(record: Submission, *kinds: EntryKind) -> tuple[OutboxEntry, ...]:
        return real(record, *kinds, EntryKind.ACCEPTED)

    patch(owed, "without", without)


def _acceptance_dated(patch: Patch) -> None:
    def dated(stored: Stored[Submission], page: Page) -> Message:
        return accepted_message(replace(stored, created_at=stored.value.changed_at or stored.created_at), page)

    patch(paying, "accepted_message", dated)


def _sweep(patch: Patch) -> None:
    def sweep(self: Outbox, record: Submission) -> None:
        assert self.blobs is not None
        for bucket in (self.work_bucket, self.results_bucket):
            for info in list(self.blobs.list(bucket, f"{record.id}/")):
                if not info.ref.name.endswith(MANIFEST.name):
                    self.blobs.delete(bucket, info.ref.name)

    patch(Outbox, "_sweep", sweep)


def _free_waiting(patch: Patch) -> None:
    real = machine.not_started

    def at_a_price(record: Submission, why: NotStarted, *, now: datetime, limits: Limits) -> Submission:
        made = real(record, why, now=now, limits=limits)
        return replace(made, attempts=record.attempts) if why.obstacle is Obstacle.NO_ROOM else made

    patch(machine, "not_started", at_a_price)


def _refused_for_good(patch: Patch) -> None:
    real = machine.not_started

    def at_once(record: Submission, why: NotStarted, *, now: datetime, limits: Limits) -> Submission:
        if why.obstacle is Obstacle.REFUSED:
            return machine.fail(record, why.failure, now=now)
        return real(record, why, now=now, limits=limits)

    patch(machine, "not_started", at_once)


def _by_the_clock(patch: Patch) -> None:
    patch(waiting, "MOST_BETWEEN_S", float("inf"))


def _never_closed(patch: Patch) -> None:
    patch(owed, "MOST_TRIES", float("inf"))


def _oldest_first(patch: Patch) -> None:
    def groups(self: Reconcile) -> list[Group]:
        states = machine.AT_WORK | WAITING_STATES
        return [
            Group(partial(self.store.find, states, limit=self.batch, oldest_first=True), self.mend),
            Group(partial(self.store.find, with_outbox=True, limit=self.batch, oldest_first=True), self.mend),
        ]

    patch(Reconcile, "_groups", groups)


def _endless_page(patch: Patch) -> None:
    patch(admission, "_is_full", lambda _page: False)


def _last_page_told(patch: Patch) -> None:
    patch(owed, "with_outcome_for_all", owed.with_outcome)


def _page_not_kept(town: Town) -> None:
    setattr(town.store, "put_page", lambda *_page: None)  # noqa: B010  # a method of this one store


def _prefix(patch: Patch) -> None:
    real = Finalizer._merge_and_commit

    def one_prefix(self: Finalizer, me: TaskIdentity, record: Submission, token: str, _prefix: str) -> Any:
        return real(self, me, record, token, f"{me.submission_id}/{me.epoch}/")

    patch(Finalizer, "_merge_and_commit", one_prefix)


def _impatient(patch: Patch) -> None:
    patch(Reconcile, "_grace", lambda _self, _record: timedelta(0))


def _tries_on(patch: Patch) -> None:
    for module in (computing, finalizing):
        patch(module, "crash_of", lambda _error: None)


MUTANTS = (
    Mutant("claim", "a second delivery of the job message starts a second execution", 100, _claim),
    Mutant("epoch", "every dispatch is epoch 1", 100, _epoch),
    Mutant("owner", "any execution of the epoch may work and finish", 500, _owner),
    Mutant("attempt", "parts are named without the attempt, and written over", 500, _attempt, _parts_written_over),
    Mutant("receipt-set", "finishers are counted, retried ones twice", 200, _receipt_set),
    Mutant("commit-transaction", "the commit writes over whatever came meanwhile", 500, town=_isolation),
    Mutant("finalizer-token", "whoever once held the finalizer's lease may commit", 1500, _token),
    Mutant("finalizer-prefix", "all finalizers of an epoch write under one prefix", 200, _prefix),
    Mutant("outbox", "entries are taken out before they are paid", 100, _outbox),
    Mutant("reconcile", "it never runs", 100, town=_no_reconcile),
    Mutant("lease-expires", "leases last for ever", 200, town=_endless_lease),
    Mutant("lease-holds", "a finalizer's lease is taken as soon as it is seen", 100, _lease_not_honoured),
    Mutant("server-time", "leases are judged by the machine's own clock", 500, town=_own_clock),
    Mutant("news-wins", "reconcile mends what it saw, whatever came meanwhile", 500, _unguarded),
    Mutant("heartbeat", "a run is given up without waiting for its beats", 100, _heartbeat),
    Mutant("conditional-write", "records are written whatever version is there", 200, town=_blind),
    Mutant("create-only", "a second delivery makes the record anew", 200, town=_made_anew),
    Mutant("event-kept", "what an event asks for is resolved anew at every delivery", 200, town=_resolved_anew),
    Mutant("task-version", "an attempt writes over another's task document", 500, _slot),
    Mutant("late-requester", "who asks after the end is not told", 200, _late_requester),
    Mutant("accepted-joined", "who joins an open submission is not told that it is accepted", 200, _silent_join),
    Mutant("accepted-kept", "the accepted event is dropped once the submission moves on", 100, _acceptance_void),
    Mutant("accepted-constant", "the accepted event tells of the time that it is paid at", 100, _acceptance_dated),
    Mutant("sweep", "the sweep takes the committed files too", 100, _sweep),
    Mutant("free-waiting", "waiting for capacity costs an attempt", 500, _free_waiting),
    Mutant("put-off", "a start that is refused once is the end", 100, _refused_for_good),
    Mutant("offered-time", "a clock that jumps uses up a deadline", 500, _by_the_clock),
    Mutant("page-turned", "a record holds everyone who asks", 300, _endless_page),
    Mutant("page-kept", "a full page of requesters is dropped", 300, town=_page_not_kept),
    Mutant("page-told", "the outcome is told to the last page of requesters", 300, _last_page_told),
    Mutant("debt-closed", "what is refused for good is owed for ever", 100, _never_closed),
    Mutant("fair-debts", "the oldest debts are tried first, however often they failed", 1500, _oldest_first),
    Mutant("patience", "a finalizer that is only slow is given up as its lease runs out", 200, _impatient),
    Mutant("same-fault", "a fault of ours that was met twice is met again and again", 200, _tries_on),
    *REPAIRS,
)
