"""Mutants of what is done when something is lost: retries, leases, stops, and what waits for whom."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from functions.dispatch.services import Dispatch
from functions.ingest.retrying import Delivery
from functions.ingest.services import Ingest
from functions.reconcile.services import Reconcile
from jobs.inference.task import finalizing
from jobs.inference.task.finalizing import Finalizer
from jobs.inference.task.protocol import Ended, TaskIdentity
from shared.domain import machine, owed, reasons
from shared.domain.admission import Request
from shared.domain.errors import StaleWorkerError
from shared.domain.limits import Limits
from shared.domain.submission import EntryKind, OutboxEntry, Submission
from shared.ports.jobs import ExecutionReport
from shared.ports.status import Stored
from shared.records.outbox import Outbox
from shared.records.updates import update
from tests.simulation.mutant import Mutant, Patch


def _one_life(patch: Patch) -> None:
    def fail(
        record: Submission, *, problem: str, now: datetime, limits: Limits, interrupted: bool = False
    ) -> Submission:
        del limits, interrupted
        return machine.fail(record, reasons.exhausted(f"1 attempt was lost: {problem}"), now=now)

    patch(machine, "requeue", fail)


def _one_finalizer(patch: Patch) -> None:
    def fail(record: Submission, *, now: datetime, limits: Limits) -> Submission:
        del limits
        return machine.fail(record, reasons.exhausted("the results could not be written"), now=now)

    patch(machine, "request_finalizer", fail)


def _interrupted_counts(patch: Patch) -> None:
    real = machine.requeue

    def requeue(
        record: Submission, *, problem: str, now: datetime, limits: Limits, interrupted: bool = False
    ) -> Submission:
        del interrupted
        return real(record, problem=problem, now=now, limits=limits)

    patch(machine, "requeue", requeue)


def _never_stopped(patch: Patch) -> None:
    real = Outbox._pay_one

    def pay_one(self: Outbox, stored: Stored[Submission], entry: OutboxEntry, told: dict[str, int]) -> None:
        if entry.kind is not EntryKind.STOP:
            real(self, stored, entry, told)

    patch(Outbox, "_pay_one", pay_one)


def _not_settled(patch: Patch) -> None:
    def settle(_self: Ingest, request: Request, _delivery: Delivery) -> Request:
        return request

    patch(Ingest, "_settle", settle)


def _waiting_is_lost(patch: Patch) -> None:
    real = Reconcile._report

    def report(self: Reconcile, record: Submission) -> ExecutionReport:
        return replace(real(self, record), begun=True)

    patch(Reconcile, "_report", report)


def _lease_not_retaken(patch: Patch) -> None:
    def refuse(record: Submission, tasks: object, **how: object) -> Submission:
        del tasks, how
        raise StaleWorkerError(f"{record.id} was released", expected="a lease that is held")

    patch(machine, "retake_finalizing", refuse)


def _kept_by_dispatch(patch: Patch) -> None:
    patch(Dispatch, "_hand_back", lambda *_message: None)


def _not_reminded(patch: Patch) -> None:
    patch(Reconcile, "_remind", lambda *_stored: None)


def _not_noted(patch: Patch) -> None:
    patch(Dispatch, "_note", lambda *_execution: None)


def _stale_start_runs(patch: Patch) -> None:
    def note(self: Dispatch, record: Submission, execution: str) -> None:
        with suppress(StaleWorkerError):
            update(
                self.store,
                record.id,
                lambda newest, _: machine.note_execution(newest, epoch=record.epoch, execution=execution),
            )

    patch(Dispatch, "_note", note)


def _damage_left(patch: Patch) -> None:
    patch(finalizing, "DAMAGED_PARTS", ())


def _not_handed_back(patch: Patch) -> None:
    def recover(_self: Finalizer, _me: TaskIdentity, _token: str, _prefix: str, error: Exception) -> Ended:
        raise error

    patch(Finalizer, "_recover", recover)


def _loses_its_commit(patch: Patch) -> None:
    def after_losing(self: Finalizer, _me: TaskIdentity, prefix: str) -> Ended:
        self.computation.discard(prefix)
        return Ended.STALE

    patch(Finalizer, "_after_losing", after_losing)


def _swept_at_once(patch: Patch) -> None:
    patch(owed, "SWEEP_DELAY", timedelta(0))


def _never_begun_is_lost(patch: Patch) -> None:
    patch(ExecutionReport, "not_started", property(lambda _report: None))


def _crash_retried(patch: Patch) -> None:
    patch(Reconcile, "_report", _without_crashes(Reconcile._report))


def _without_crashes(real: object) -> object:
    def report(self: Reconcile, record: Submission) -> ExecutionReport:
        assert callable(real)
        found = real(self, record)
        assert isinstance(found, ExecutionReport)
        return replace(found, crashes=(), crashes_alike=False)

    return report


REPAIRS = (
    Mutant("retry", "the first attempt that is lost is the last", 100, _one_life),
    Mutant("finalizer-again", "a finalizer that is lost is never replaced", 100, _one_finalizer),
    Mutant("free-interruption", "an attempt that was interrupted from outside counts", 500, _interrupted_counts),
    Mutant("stop", "executions of an epoch that is over are never stopped", 500, _never_stopped),
    Mutant("stale-start", "an execution that was started too late is not stopped", 500, _stale_start_runs),
    Mutant("noted-start", "dispatch does not record the execution that it started", 100, _not_noted),
    Mutant("lease-retaken", "a finalizer that was only slow stops, though nobody took over", 500, _lease_not_retaken),
    Mutant("handed-back", "a finalizer's start that is refused counts as started", 1000, _kept_by_dispatch),
    Mutant("reminder", "a job message that does not come is never sent again", 500, _not_reminded),
    Mutant("damage-mended", "damaged parts are merged again and again, and never computed again", 500, _damage_left),
    Mutant("recovery", "a finalizer that fails says nothing, and keeps its lease", 500, _not_handed_back),
    Mutant(
        "own-commit", "a commit whose answer was lost is taken for lost, and its files removed", 3000, _loses_its_commit
    ),
    Mutant("sweep-waits", "leftovers are swept while stale workers may still write", 1000, _swept_at_once),
    Mutant("never-begun", "an execution that never began is an attempt that was lost", 200, _never_begun_is_lost),
    Mutant("event-settled", "two deliveries of an event may come to different ends", 200, _not_settled),
    Mutant("waits-for-room", "an execution that waits for room is taken for one at work", 2000, _waiting_is_lost),
    Mutant("native-crash", "a crash at the same place is met again and again", 500, _crash_retried),
)
