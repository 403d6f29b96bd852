"""What a record owes the world: the entries of its outbox, made under constant ids."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.submission import EntryKind, OutboxEntry, Submission

SWEEP_DELAY = timedelta(minutes=15)
"""How long a worker that lost may still be writing before its leftovers are removed."""

WORK = (EntryKind.JOB, EntryKind.FINALIZE)
"""Entries that ask for work, and are void once the submission moves on."""


def owes(record: Submission, kind: EntryKind) -> bool:
    """Whether an entry of a kind still is to be paid."""
    return any(entry.kind is kind for entry in record.outbox)


def queue(record: Submission, *entries: OutboxEntry) -> Submission:
    """Owe entries; one that is owed already is owed once."""
    new = {entry.id for entry in entries}
    return replace(record, outbox=(*(old for old in record.outbox if old.id not in new), *entries))


def without(record: Submission, *kinds: EntryKind) -> tuple[OutboxEntry, ...]:
    """What is owed but for some kinds."""
    return tuple(entry for entry in record.outbox if entry.kind not in kinds)


def paid(record: Submission, entry_ids: Collection[str]) -> Submission:
    """Take entries that were paid out of the outbox."""
    return replace(record, outbox=tuple(entry for entry in record.outbox if entry.id not in entry_ids))


def with_acceptance(record: Submission) -> Submission:
    """Owe the event that it was accepted; it names everyone who has asked so far."""
    n = len(record.requesters)
    return queue(record, OutboxEntry(f"{record.id}/accepted/{n}", EntryKind.ACCEPTED, n_requesters=n))


def with_outcome(record: Submission) -> Submission:
    """Owe the outcome event; it names everyone who has asked so far."""
    n = len(record.requesters)
    entry = OutboxEntry(f"{record.id}/{record.state.lower()}/{n}", EntryKind.OUTCOME, record.epoch, n_requesters=n)
    return queue(record, entry)


def job(record_id: str, epoch: int, not_before: datetime | None = None) -> OutboxEntry:
    """The message that leads to an epoch."""
    return OutboxEntry(f"{record_id}/job/{epoch}", EntryKind.JOB, epoch=epoch, not_before=not_before)


def finalize(record: Submission, number: int, not_before: datetime | None = None) -> OutboxEntry:
    """The message that leads to a finalize-only execution of the present epoch."""
    entry_id = f"{record.id}/finalize/{record.epoch}/{number}"
    return OutboxEntry(entry_id, EntryKind.FINALIZE, epoch=record.epoch, number=number, not_before=not_before)


def manifest(record: Submission) -> OutboxEntry:
    """The manifest under its well-known name."""
    return OutboxEntry(f"{record.id}/manifest", EntryKind.MANIFEST)


def stops(record: Submission) -> tuple[OutboxEntry, ...]:
    """The end of every execution known in the present epoch."""
    return tuple(
        OutboxEntry(f"{record.id}/stop/{execution}", EntryKind.STOP, epoch=record.epoch, execution=execution)
        for execution in record.executions
    )


def sweep(record: Submission, not_before: datetime | None) -> OutboxEntry:
    """The removal of parts and leftovers, when it is due."""
    return OutboxEntry(f"{record.id}/sweep", EntryKind.SWEEP, not_before=not_before)
