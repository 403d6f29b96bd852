"""How records are stored in Firestore: paths, fields, versions, times, and the indexes that queries need.

    submissions/{id}                        state, owes, tell_at, tend_at, created_at: for queries;
                                            changes, written_by, record, expires_at
    submissions/{id}/tasks/{epoch-index}    written_by, record, expires_at
    submissions/{id}/history/{n}            record, expires_at
    submissions/{id}/requesters/{n}         record, expires_at
    events/{key}                            record, expires_at

``record`` is the JSON of ``shared.records.documents``, as text. It is not a Firestore map, because some of its keys
come from users (options, cell labels), and Firestore does not allow empty keys or keys like ``__unknown__``. Only what
is queried is a field. If the database has a TTL policy, Firestore deletes a document after its ``expires_at``; null
means never.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, TypeAlias, TypeVar

from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud.firestore import (
    SERVER_TIMESTAMP,
    CollectionReference,
    DocumentReference,
    DocumentSnapshot,
    FieldFilter,
    Query,
)

from shared.domain import owed
from shared.domain.admission import Request
from shared.domain.errors import InternalError, SubmissionNotFoundError
from shared.domain.submission import Requester, State, Submission, TaskRecord
from shared.ports.status import HistoryEntry, Stored
from shared.records.documents import (
    Document,
    history_document,
    history_from,
    page_document,
    page_from,
    parsed,
    request_document,
    request_from,
    submission_document,
    submission_from,
    task_document,
)

T = TypeVar("T")

SUBMISSIONS = "submissions"
TASKS = "tasks"
HISTORY = "history"
REQUESTERS = "requesters"
EVENTS = "events"

GROUPS = (SUBMISSIONS, TASKS, HISTORY, REQUESTERS, EVENTS)

EXPIRES_AT = "expires_at"

MAX_RECORD_BYTES = 1_000_000
"""The longest JSON. Firestore's limit is 1 MiB per document, including field names and indexed fields."""

_ID = re.compile(r"(?!__.*__$)[\w-]{1,128}", re.ASCII)
_DIGITS = 6

Fields = dict[str, Any]
Snapshot: TypeAlias = "DocumentSnapshot[DocumentReference]"


# --- Paths ---


def submission_at(submissions: CollectionReference, submission_id: str) -> DocumentReference:
    """The path of a submission.

    Raises:
        SubmissionNotFoundError: The id is not valid as a document's name, so there is no such submission.
    """
    if not _ID.fullmatch(submission_id):
        raise SubmissionNotFoundError(f"no submission {submission_id!r}", hint="Check the id.")
    at: DocumentReference = submissions.document(submission_id)
    return at


def task_at(submission: DocumentReference, epoch: int, index: int) -> DocumentReference:
    """The path of a task. The names of an epoch's tasks sort like their indexes."""
    at: DocumentReference = submission.collection(TASKS).document(f"{epoch:0{_DIGITS}d}-{index:0{_DIGITS}d}")
    return at


def tasks_of(submission: DocumentReference, epoch: int) -> Query:
    """Query the tasks of an epoch, sorted by index: a range of names, which needs no database index."""
    first, beyond = task_at(submission, epoch, 0), task_at(submission, epoch + 1, 0)
    found: Query = submission.collection(TASKS).where(filter=FieldFilter("__name__", ">=", first))
    return found.where(filter=FieldFilter("__name__", "<", beyond)).order_by("__name__")


def change_at(submission: DocumentReference, n: int) -> DocumentReference:
    """The path of the n-th history entry."""
    at: DocumentReference = submission.collection(HISTORY).document(f"{n:0{_DIGITS}d}")
    return at


def page_at(submission: DocumentReference, number: int) -> DocumentReference:
    """The path of a full page of requesters."""
    at: DocumentReference = submission.collection(REQUESTERS).document(f"{number:0{_DIGITS}d}")
    return at


# --- Finding ---


def submissions_where(
    submissions: CollectionReference, states: Collection[State], *, with_outbox: bool, oldest_first: bool
) -> Query:
    """Query submissions in any of the states (empty: all states), optionally only those with a non-empty outbox."""
    found: Query = submissions  # type: ignore[assignment]  # a collection is its own query for everything
    if states:
        found = found.where(filter=FieldFilter("state", "in", sorted(states)))
    if with_outbox:
        found = found.where(filter=FieldFilter("owes", "==", value=True))
    return found.order_by("created_at", direction=Query.ASCENDING if oldest_first else Query.DESCENDING)


def submissions_owing(submissions: CollectionReference, *, messages: bool) -> Query:
    """Query submissions that owe messages, or upkeep, longest due first: by one field, which needs no index."""
    field = "tell_at" if messages else "tend_at"
    found: Query = submissions.where(filter=FieldFilter(field, ">=", datetime(1970, 1, 1, tzinfo=UTC)))
    return found.order_by(field)


def indexes() -> Fields:
    """The indexes that ``submissions_where`` needs, as the content of a ``firestore.indexes.json``."""
    composites = [
        {"collectionGroup": SUBMISSIONS, "queryScope": "COLLECTION", "fields": [*equal, _ordered("created_at", way)]}
        for equal, way in product(
            ([_ordered("state")], [_ordered("owes")], [_ordered("owes"), _ordered("state")]),
            (Query.ASCENDING, Query.DESCENDING),
        )
    ]
    unsearched = [
        {"collectionGroup": group, "fieldPath": field, "indexes": []}
        for group, field in product(GROUPS, ("record", "written_by"))
    ]
    # An index on a steadily growing time would limit the rate of writes.
    expiring = [{"collectionGroup": group, "fieldPath": EXPIRES_AT, "ttl": True, "indexes": []} for group in GROUPS]
    return {"indexes": composites, "fieldOverrides": [*unsearched, *expiring]}


def _ordered(field: str, way: str = Query.ASCENDING) -> Fields:
    return {"fieldPath": field, "order": way}


# --- Records to fields and back ---


def submission_fields(record: Submission, *, n_changes: int, token: str, expires_at: datetime | None) -> Fields:
    """The fields of a submission, without its creation time.

    Args:
        n_changes: The number of history entries, including this write's.
        token: Identifies the call that wrote it.
        expires_at: When it may be deleted. A submission's other documents have their own times.
    """
    return {
        "state": str(record.state),
        "owes": bool(record.outbox),
        "tell_at": owed.due_at(record, messages=True),
        "tend_at": owed.due_at(record, messages=False),
        "changes": n_changes,
        "written_by": token,
        "record": _text(submission_document(record), f"submission {record.id}"),
        EXPIRES_AT: expires_at,
    }


def task_fields(task: TaskRecord, *, token: str, expires_at: datetime | None) -> Fields:
    """The fields of a task."""
    text = _text(task_document(task), f"task {task.epoch}-{task.index}")
    return {"written_by": token, "record": text, EXPIRES_AT: expires_at}


def history_fields(entry: HistoryEntry, *, expires_at: datetime | None) -> Fields:
    """The fields of a history entry, without its time, which is that of the write."""
    document = history_document(entry)
    del document["at"]
    return {"record": _text(document, f"history entry {entry.n}"), EXPIRES_AT: expires_at}


def event_fields(request: Request, *, expires_at: datetime | None) -> Fields:
    """The fields of the request of an event."""
    return {"record": _text(request_document(request), "the request of an event"), EXPIRES_AT: expires_at}


def page_fields(requesters: tuple[Requester, ...], *, expires_at: datetime | None) -> Fields:
    """The fields of a page of requesters."""
    return {"record": _text(page_document(requesters), "a page of requesters"), EXPIRES_AT: expires_at}


def expiry_after(days: int) -> Callable[[], datetime | None]:
    """Makes a function that says when a document written now may be deleted; for 0 days, never.

    It uses this machine's clock. A few minutes do not matter, as nothing else depends on this time.
    """
    return lambda: datetime.now(UTC) + timedelta(days=days) if days else None


def never() -> None:
    """Say that documents are never deleted."""


def created(fields: Fields) -> Fields:
    """Add the creation time of a new submission, which is the server's time."""
    return {**fields, "created_at": SERVER_TIMESTAMP}


def submission_of(snapshot: Snapshot) -> Stored[Submission]:
    """A submission as read."""
    return stored(snapshot, submission_from)


def request_of(snapshot: Snapshot) -> Request:
    """The request of an event, as read."""
    return _parsed(snapshot, request_from)


def page_of(snapshot: Snapshot) -> tuple[Requester, ...]:
    """A page of requesters, as read."""
    return _parsed(snapshot, page_from)


def history_of(snapshot: Snapshot) -> HistoryEntry:
    """A history entry as read. It is written only once, so its time is that of the latest write."""
    return _parsed(snapshot, lambda document: history_from({**document, "at": moment(snapshot.update_time)}))


def stored(snapshot: Snapshot, parse: Callable[[Document], T]) -> Stored[T]:
    """A document's value, with its version and the server's times."""
    return Stored(
        _parsed(snapshot, parse),
        version_of(snapshot.update_time),
        moment(snapshot.read_time),
        moment(snapshot.create_time),
        moment(snapshot.update_time),
    )


def version_of(updated: DatetimeWithNanoseconds) -> str:
    """A document's version: the time of its latest write, to the nanosecond."""
    version: str = updated.rfc3339()
    return version


def moment(stamp: DatetimeWithNanoseconds) -> datetime:
    """A server time as a plain datetime, to the microsecond."""
    plain: datetime = stamp.timestamp_pb().ToDatetime(tzinfo=UTC)
    return plain


def _parsed(snapshot: Snapshot, parse: Callable[[Document], T]) -> T:
    """Read a document's record. An error names the submission, or else the event."""
    _, top, *_ = snapshot.reference.path.split("/")
    return parsed((snapshot.to_dict() or {}).get("record"), parse, top)


def _text(document: Document, what: str) -> str:
    # ASCII only: names from damaged files can contain characters that UTF-8 cannot encode.
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MAX_RECORD_BYTES:
        raise InternalError(
            f"{what} takes {len(text):,} bytes",
            expected=f"at most {MAX_RECORD_BYTES:,}, the limit of a Firestore document",
            hint="Nothing was written. Send the request again with a new `rerun`, which starts a new record.",
        )
    return text
