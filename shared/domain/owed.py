"""The outbox of a record: entries for messages and other actions that are still to be done, with constant ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.domain.errors import CelldropError, SettingsError, UnavailableError
from shared.domain.submission import EntryKind, OutboxEntry, Submission

SWEEP_DELAY = timedelta(minutes=15)
"""How long to wait before leftovers are removed, as a stale worker may still be writing."""

WORK = (EntryKind.JOB, EntryKind.FINALIZE)
"""Entries that request work. They are void once the submission changes state."""

UPKEEP = frozenset({EntryKind.STOP, EntryKind.SWEEP})
"""Entries that nobody waits for. All others are messages, or files that messages point to, and come first."""

MOST_TRIES = 16
"""Tries before an entry that is refused is given up: about eight hours."""
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_MOST_DOUBLINGS = 10
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def owes(record: Submission, kind: EntryKind) -> bool:
    """Whether the outbox holds an entry of this kind."""
    return any(entry.kind is kind for entry in record.outbox)


def queue(record: Submission, *entries: OutboxEntry) -> Submission:
    """Add entries to the outbox. An entry with the same id is replaced."""
    new = {entry.id for entry in entries}
    return replace(record, outbox=(*(old for old in record.outbox if old.id not in new), *entries))


def without(record: Submission, *kinds: EntryKind) -> tuple[OutboxEntry, ...]:
    """The outbox without entries of these kinds."""
    return tuple(entry for entry in record.outbox if entry.kind not in kinds)


def paid(record: Submission, entry_ids: Collection[str]) -> Submission:
    """Remove delivered entries from the outbox."""
    return replace(record, outbox=tuple(entry for entry in record.outbox if entry.id not in entry_ids))


def in_order(record: Submission) -> list[OutboxEntry]:
    """The outbox, messages first."""
    return sorted(record.outbox, key=lambda entry: entry.kind in UPKEEP)


def due_at(record: Submission, *, messages: bool) -> datetime | None:
    """When the first message (or the first upkeep entry) is due; None if there is none.

    An entry that was never tried is due before every entry that has failed.
    """
    owed = [entry for entry in record.outbox if (entry.kind not in UPKEEP) is messages]
    return min((entry.not_before or _ALWAYS for entry in owed), default=None)


def told(record: Submission, seen: OutboxEntry, page: int) -> Submission:
    """Note that an event was told to the pages up to this one, so that a later try starts with the next.

    Args:
        seen: The entry that was told from. If the record's own starts elsewhere by now, it is left as it is.
    """

    def moved(entry: OutboxEntry) -> OutboxEntry:
        is_same = (entry.id, entry.first_page) == (seen.id, seen.first_page)
        return replace(entry, first_page=page + 1) if is_same else entry

    return replace(record, outbox=tuple(moved(entry) for entry in record.outbox))


def tried(record: Submission, done: Collection[str], failed: Mapping[str, CelldropError], now: datetime) -> Submission:
    """Remove delivered entries from the outbox, and postpone failed ones, longer with every try.

    An entry that is refused too often is given up, and noted in the record; otherwise it would be tried for ever.
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
    """Whether further tries would fail in the same way. A service that is down or not set up yet is not a refusal."""
    if isinstance(error, UnavailableError | SettingsError):
        return False
    return entry.kind in UPKEEP or not error.retryable


def with_acceptance(record: Submission) -> Submission:
    """Queue the event that the submission was accepted, for the current page and earlier pages still waiting for it."""
    return _telling(record, EntryKind.ACCEPTED, first_page=record.pages)


def with_outcome(record: Submission) -> Submission:
    """Queue the outcome event for the current page of requesters, and for earlier pages still waiting for it."""
    return _telling(record, EntryKind.OUTCOME, first_page=record.pages)


def with_outcome_for_all(record: Submission) -> Submission:
    """Queue the outcome event for every requester so far."""
    return _telling(record, EntryKind.OUTCOME, first_page=0)


def told_id(record: Submission, kind: EntryKind, page: int, n_requesters: int) -> str:
    """The id of an event for a page of requesters. It contains their number: one id always names the same ones."""
    name = "accepted" if kind is EntryKind.ACCEPTED else record.state.lower()
    place = f"{page}-{n_requesters}" if page else str(n_requesters)
    return f"{record.id}/{name}/{place}"


def _telling(record: Submission, kind: EntryKind, *, first_page: int) -> Submission:
    """Queue one event. A waiting event of the same kind is merged into it: there is at most one of each kind."""
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
    """The message that makes dispatch open an epoch."""
    return OutboxEntry(f"{record_id}/job/{epoch}", EntryKind.JOB, epoch=epoch, not_before=not_before)


def finalize(record: Submission, number: int, not_before: datetime | None = None) -> OutboxEntry:
    """The message that makes dispatch start a finalize-only execution of the current epoch."""
    entry_id = f"{record.id}/finalize/{record.epoch}/{number}"
    return OutboxEntry(entry_id, EntryKind.FINALIZE, epoch=record.epoch, number=number, not_before=not_before)


def manifest(record: Submission) -> OutboxEntry:
    """The write of the manifest under its well-known name."""
    return OutboxEntry(f"{record.id}/manifest", EntryKind.MANIFEST)


def stops(record: Submission) -> tuple[OutboxEntry, ...]:
    """The calls that stop every known execution of the current epoch."""
    return tuple(
        OutboxEntry(f"{record.id}/stop/{execution}", EntryKind.STOP, epoch=record.epoch, execution=execution)
        for execution in record.executions
    )


def sweep(record: Submission, not_before: datetime | None) -> OutboxEntry:
    """The removal of parts and leftovers, due at a given time."""
    return OutboxEntry(f"{record.id}/sweep", EntryKind.SWEEP, not_before=not_before)
