"""What a record owes the world: the entries of its outbox, made under constant ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.domain.errors import CelldropError, SettingsError, UnavailableError
from shared.domain.submission import EntryKind, OutboxEntry, Submission

SWEEP_DELAY = timedelta(minutes=15)
"""How long a worker that lost may still be writing before its leftovers are removed."""

WORK = (EntryKind.JOB, EntryKind.FINALIZE)
"""Entries that ask for work, and are void once the submission moves on."""

UPKEEP = frozenset({EntryKind.STOP, EntryKind.SWEEP})
"""Entries that nobody waits for; all others are messages, or what messages point to, and come first."""

MOST_TRIES = 16
"""After which an entry that is refused is given up: after some eight hours."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_MOST_DOUBLINGS = 10
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


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


def in_order(record: Submission) -> list[OutboxEntry]:
    """What is owed, messages first."""
    return sorted(record.outbox, key=lambda entry: entry.kind in UPKEEP)


def due_at(record: Submission, *, messages: bool) -> datetime | None:
    """Since when the first of its messages, or of its upkeep, is due; None where it owes none.

    What was never tried comes before everything that has failed: it is due since ever.
    """
    owed = [entry for entry in record.outbox if (entry.kind not in UPKEEP) is messages]
    return min((entry.not_before or _ALWAYS for entry in owed), default=None)


def tried(record: Submission, done: Collection[str], failed: Mapping[str, CelldropError], now: datetime) -> Submission:
    """Take what was paid out of the outbox, and put off what could not be paid, each for longer with every try.

    What is refused again and again is given up, with a note: it would be tried for ever.
    """
    record = paid(record, done)
    for entry in record.outbox:
        if entry.id in failed:
            record = _failed(record, entry, failed[entry.id], now)
    return record


def _failed(record: Submission, entry: OutboxEntry, error: CelldropError, now: datetime) -> Submission:
    tries = entry.tries + 1
    if tries >= MOST_TRIES and _is_refused(entry, error):
        left = paid(record, {entry.id})
        return replace(left, given_up=f"{entry.kind} was given up after {tries} tries: {error.message}")
    pause = min(_FIRST_PAUSE * 2 ** min(tries - 2, _MOST_DOUBLINGS), _LONGEST_PAUSE) if tries > 1 else timedelta(0)
    later = replace(entry, tries=tries, not_before=now + pause)
    return replace(record, outbox=tuple(later if old.id == entry.id else old for old in record.outbox))


def _is_refused(entry: OutboxEntry, error: CelldropError) -> bool:
    """Whether more tries would end the same way. A service that is down, or is not there yet, refuses nothing."""
    if isinstance(error, UnavailableError | SettingsError):
        return False
    return entry.kind in UPKEEP or not error.retryable


def with_acceptance(record: Submission) -> Submission:
    """Owe the event that it was accepted: to the page of who asked last, and to those before that still wait for it."""
    return _telling(record, EntryKind.ACCEPTED, first_page=record.pages)


def with_outcome(record: Submission) -> Submission:
    """Owe the outcome event, likewise: to who came after the end, and to those before that still wait for it."""
    return _telling(record, EntryKind.OUTCOME, first_page=record.pages)


def with_outcome_for_all(record: Submission) -> Submission:
    """Owe the outcome event to everyone who has asked so far."""
    return _telling(record, EntryKind.OUTCOME, first_page=0)


def told_id(record: Submission, kind: EntryKind, page: int, n_requesters: int) -> str:
    """The id of an event that names so many requesters of a page: who is named by it never changes."""
    name = "accepted" if kind is EntryKind.ACCEPTED else record.state.lower()
    place = f"{page}-{n_requesters}" if page else str(n_requesters)
    return f"{record.id}/{name}/{place}"


def _telling(record: Submission, kind: EntryKind, *, first_page: int) -> Submission:
    """One entry of a kind at most: what a new one names includes what an unpaid one would have named."""
    waiting = [entry.first_page for entry in record.outbox if entry.kind is kind]
    n = len(record.requesters)
    entry = OutboxEntry(
        told_id(record, kind, record.pages, n),
        kind,
        epoch=record.epoch if kind is EntryKind.OUTCOME else 0,
        first_page=min([first_page, *waiting]),
        page=record.pages,
        n_requesters=n,
    )
    return queue(replace(record, outbox=without(record, kind)), entry)


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
