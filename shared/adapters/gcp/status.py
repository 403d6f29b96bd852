"""Submissions, tasks and history in Firestore."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.api_core.gapic_v1.method import DEFAULT
from google.api_core.retry import Retry, exponential_sleep_generator, if_exception_type
from google.cloud.firestore import (
    Client,
    DocumentReference,
    Query,
    Transaction,
    WriteBatch,
    WriteOption,
    transactional,
)
from typing_extensions import override

from shared.adapters.gcp.documents import (
    EVENTS,
    HISTORY,
    SUBMISSIONS,
    Snapshot,
    change_at,
    created,
    event_fields,
    history_fields,
    history_of,
    moment,
    never,
    page_at,
    page_fields,
    page_of,
    request_of,
    stored,
    submission_at,
    submission_fields,
    submission_of,
    submissions_owing,
    submissions_where,
    task_at,
    task_fields,
    tasks_of,
    version_of,
)
from shared.adapters.gcp.errors import TRANSIENT, answering
from shared.domain import owed
from shared.domain.admission import Request
from shared.domain.errors import (
    CelldropError,
    InternalError,
    PreconditionFailedError,
    SettingsError,
    SubmissionNotFoundError,
    UnavailableError,
)
from shared.domain.submission import Requester, State, Submission, TaskRecord
from shared.ports.status import Found, HistoryEntry, StatusStore, Stored, TransactedChange
from shared.records.documents import task_from
from shared.records.finding import readable
from shared.records.history import history_entry

T = TypeVar("T")

REQUEST_S = 10.0
"""The time limit of one request."""
RETRY_S = 30.0
"""The time limit of one request with its retries."""
MAX_TRIES = 20
"""The most tries of a transaction, the same as for a change in ``shared.records.updates``."""

USER = "roles/datastore.user on the project"
_AGAIN = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.FailedPrecondition,
    exceptions.InternalServerError,
    exceptions.Unknown,
)
_WRITTEN_THEN = datetime.min.replace(tzinfo=UTC)
"""Placeholder for the server time of the write."""


class FirestoreStatusStore(StatusStore):
    """Firestore as a status store; safe for many threads and processes. The only clock is Firestore's own.

    A version is a document's update time. Every write includes a new token, so that it makes a new version even if
    nothing else changes. All writes are conditional, so each can be retried until it is answered. If an answer is lost
    and the retry finds the condition unmet, the token shows whether the first write was ours. (If another write has
    replaced ours by then, ours counts as failed: the caller reads again, and finds its own change in the new record.)

    Args:
        client: Makes the client of one database, at the first use.
        sleep: Waits between two tries of a transaction.
        retry_s: Seconds to retry a request.
        expiry: When Firestore may delete a document written now; None: never.
    """

    def __init__(
        self,
        client: Client,
        *,
        new_token: Callable[[], str] = secrets.token_hex,
        sleep: Callable[[float], None] = time.sleep,
        retry_s: float = RETRY_S,
        expiry: Callable[[], datetime | None] = never,
    ) -> None:
        self._client = client
        self._submissions = client.collection(SUBMISSIONS)
        self._events = client.collection(EVENTS)
        self._new_token = new_token
        self._sleep = sleep
        self._expiry = expiry
        self._retry = Retry(
            predicate=if_exception_type(*TRANSIENT), initial=0.1, maximum=4.0, multiplier=2.0, timeout=retry_s
        )

    # --- Events ---

    @override
    def resolved(self, event: str) -> Request | None:
        found = self._read(self._events.document(event))
        return request_of(found) if found.exists else None

    @override
    def resolve(self, event: str, request: Request) -> Request:
        at = self._events.document(event)
        batch = self._client.batch()
        batch.create(at, event_fields(request, expires_at=self._expiry()))
        try:
            with self._writing(at):
                batch.commit(retry=self._retry, timeout=REQUEST_S)
        except PreconditionFailedError:
            # Written by another delivery, or by us with a lost answer: the stored request is valid.
            return request_of(self._read(at))
        return request

    # --- Records ---

    @override
    def create(self, record: Submission) -> Stored[Submission]:
        at, token, expires_at = submission_at(self._submissions, record.id), self._new_token(), self._expiry()
        batch = self._client.batch()
        batch.create(at, created(submission_fields(record, n_changes=1, token=token, expires_at=expires_at)))
        entry = history_entry(None, record, n=1, at=_WRITTEN_THEN)
        assert entry is not None
        # Not "create": history entries remain if somebody deletes a record by hand.
        batch.set(change_at(at, 1), history_fields(entry, expires_at=expires_at))
        return _written(record, self._commit(batch, at, token), None)

    @override
    def get(self, submission_id: str) -> Stored[Submission]:
        return submission_of(self._existing(submission_id))

    @override
    def replace(self, record: Submission, *, if_version: str) -> Stored[Submission]:
        before = self._existing(record.id)
        _check_version(before, if_version)
        token = self._new_token()
        batch = self._client.batch()
        _write_over(batch, before, record, token, self._expiry())
        return _written(record, self._commit(batch, before.reference, token), before)

    @override
    def transact(self, submission_id: str, change: TransactedChange) -> Stored[Submission]:
        """As in the port, in at most ``MAX_TRIES`` transactions.

        The record is read before each transaction, and its version is a condition of the commit. Only the tasks are
        read under a lock. With a read lock on the record, transactions would wait for each other: with 8 threads, 64
        commits took more than 300 s, against 1.7 s without it (emulator, 2026-11).

        Raises:
            UnavailableError: The record changed during every try.
        """
        token = ""
        for pause_s in islice(exponential_sleep_generator(0.02, 1.0), MAX_TRIES):
            before = self._existing(submission_id)
            if token and _is_by(token, before):
                return submission_of(before)
            token = self._new_token()
            result = self._try(before, change, token)
            if result is not None:
                return result
            self._sleep(pause_s)
        raise UnavailableError(
            f"submission {submission_id} changed during each of {MAX_TRIES} tries", hint="Try again."
        )

    def _try(self, before: Snapshot, change: TransactedChange, token: str) -> Stored[Submission] | None:
        """Run one transaction. None if it lost to another one, or may have."""
        record = submission_of(before)
        faults: list[BaseException] = []

        @transactional
        def body(transaction: Transaction) -> Submission:
            tasks = [task.value for task in self._tasks(before.reference, record.value.epoch, transaction)]
            try:
                after = change(record.value, tasks, record.read_at)
            except BaseException as error:
                faults.append(error)
                raise
            if after.id != record.value.id:
                raise InternalError(f"a change of {record.value.id} made {after.id}")
            _write_over(transaction, before, after, token, self._expiry())
            return after

        transaction = self._client.transaction(max_attempts=1)
        try:
            with self._writing(before.reference):
                after = body(transaction)
        except (CelldropError, ValueError) as error:
            if faults:
                # Rolling back may have raised another error on top of it.
                raise faults[0]  # noqa: B904
            # The client retries a commit whose answer was lost, and then finds the transaction closed.
            if _may_go_through(error) or _is_by(token, self._read(before.reference)):
                return None
            raise
        assert transaction.write_results is not None
        return _written(after, transaction.write_results[0].update_time, before)

    @override
    def find(
        self,
        states: Iterable[State] = (),
        *,
        limit: int = 100,
        with_outbox: bool = False,
        oldest_first: bool = False,
    ) -> Found:
        query = submissions_where(self._submissions, set(states), with_outbox=with_outbox, oldest_first=oldest_first)
        found = self._found(query, limit)
        # The queried field has milliseconds; the documents' own times are more precise.
        found.sort(key=lambda submission: submission.created_at, reverse=not oldest_first)
        return found

    @override
    def find_owing(self, *, messages: bool, limit: int = 100) -> Found:
        found = self._found(submissions_owing(self._submissions, messages=messages), limit)
        due = [(owed.due_at(submission.value, messages=messages), submission) for submission in found]
        now_due = [submission for at, submission in due if at is not None and at <= submission.read_at]
        return Found(now_due, found.unreadable)

    def _found(self, query: Query, limit: int) -> Found:
        def ask(n: int) -> list[Snapshot]:
            with self._reading(SUBMISSIONS):
                return list(query.limit(n).stream(retry=self._retry, timeout=REQUEST_S))

        return readable(ask, submission_of, limit)

    @override
    def put_page(self, submission_id: str, number: int, requesters: tuple[Requester, ...]) -> None:
        at = page_at(submission_at(self._submissions, submission_id), number)
        with self._writing(at):
            at.set(page_fields(requesters, expires_at=self._expiry()), retry=self._retry, timeout=REQUEST_S)

    @override
    def page(self, submission_id: str, number: int) -> tuple[Requester, ...]:
        found = self._read(page_at(submission_at(self._submissions, submission_id), number))
        return page_of(found) if found.exists else ()

    @override
    def history(self, submission_id: str) -> list[HistoryEntry]:
        entries = submission_at(self._submissions, submission_id).collection(HISTORY)
        with self._reading(submission_id):
            return [history_of(snapshot) for snapshot in entries.stream(retry=self._retry, timeout=REQUEST_S)]

    # --- Tasks ---

    @override
    def put_task(self, submission_id: str, task: TaskRecord, *, if_version: str | None) -> Stored[TaskRecord]:
        at = task_at(submission_at(self._submissions, submission_id), task.epoch, task.index)
        before = None if if_version is None else self._read(at)
        token = self._new_token()
        fields = task_fields(task, token=token, expires_at=self._expiry())
        batch = self._client.batch()
        if before is None:
            batch.create(at, fields)
        else:
            _check_version(before, if_version)
            batch.update(at, fields, option=_over(before))
        return _written(task, self._commit(batch, at, token), before)

    @override
    def get_task(self, submission_id: str, epoch: int, index: int) -> Stored[TaskRecord] | None:
        snapshot = self._read(task_at(submission_at(self._submissions, submission_id), epoch, index))
        return stored(snapshot, task_from) if snapshot.exists else None

    @override
    def tasks(self, submission_id: str, epoch: int) -> list[Stored[TaskRecord]]:
        submission = submission_at(self._submissions, submission_id)
        with self._reading(submission_id):
            return self._tasks(submission, epoch, None)

    def _tasks(
        self, submission: DocumentReference, epoch: int, transaction: Transaction | None
    ) -> list[Stored[TaskRecord]]:
        # A read that is aborted in a transaction can only be retried with the whole transaction.
        retry = self._retry if transaction is None else DEFAULT
        found = tasks_of(submission, epoch).stream(transaction, retry=retry, timeout=REQUEST_S)
        return [stored(snapshot, task_from) for snapshot in found]

    # --- Requests ---

    def _existing(self, submission_id: str) -> Snapshot:
        snapshot = self._read(submission_at(self._submissions, submission_id))
        if not snapshot.exists:
            raise _unknown(submission_id)
        return snapshot

    def _read(self, at: DocumentReference) -> Snapshot:
        with self._reading(at.path):
            return at.get(retry=self._retry, timeout=REQUEST_S)

    def _commit(self, batch: WriteBatch, at: DocumentReference, token: str) -> DatetimeWithNanoseconds:
        """Write all of a batch or nothing. Returns the time of its first write, which is to ``at``."""
        written: DatetimeWithNanoseconds
        try:
            with self._writing(at):
                written = batch.commit(retry=self._retry, timeout=REQUEST_S)[0].update_time
        except PreconditionFailedError:
            snapshot = self._read(at)
            if not _is_by(token, snapshot):
                raise
            written = snapshot.update_time
        return written

    def _reading(self, where: str) -> AbstractContextManager[None]:
        lacking = SettingsError(
            "the Firestore database lacks an index, or is not in Native mode",
            hint="Create the indexes of deploy/firestore.indexes.json; they take some minutes to build.",
        )
        return answering(where, grant=USER, missing=self._no_database(), unmet=lacking)

    def _writing(self, at: DocumentReference) -> AbstractContextManager[None]:
        return answering(at.path, grant=USER, missing=_unknown(at.id))

    def _no_database(self) -> SettingsError:
        hint = "Create it in Native mode (`gcloud firestore databases create`), or correct the setting that names it."
        return SettingsError(f"there is no Firestore database {self._client.project}", hint=hint)


def _write_over(
    batch: WriteBatch, before: Snapshot, record: Submission, token: str, expires_at: datetime | None
) -> None:
    """Replace a record that was read, and add any change of state to its history."""
    n: int = before.get("changes")
    entry = history_entry(submission_of(before).value, record, n=n + 1, at=_WRITTEN_THEN)
    fields = submission_fields(record, n_changes=n + (entry is not None), token=token, expires_at=expires_at)
    batch.update(before.reference, fields, option=_over(before))
    if entry is not None:
        batch.set(change_at(before.reference, entry.n), history_fields(entry, expires_at=expires_at))


def _over(before: Snapshot) -> WriteOption:
    return Client.write_option(last_update_time=before.update_time)


def _is_by(token: str, found: Snapshot) -> bool:
    return found.exists and bool(found.get("written_by") == token)


def _check_version(found: Snapshot, expected: str | None) -> None:
    version = version_of(found.update_time) if found.exists else "none"
    if version != expected:
        where = found.reference.path
        raise PreconditionFailedError(f"found version {version}", expected=f"version {expected}", where=where)


def _written(value: T, at: DatetimeWithNanoseconds, before: Snapshot | None) -> Stored[T]:
    then = moment(at)
    return Stored(value, version_of(at), then, moment(before.create_time) if before else then, then)


def _unknown(submission_id: str) -> SubmissionNotFoundError:
    return SubmissionNotFoundError(f"no submission {submission_id}", hint="Check the id.")


def _may_go_through(error: BaseException | None) -> bool:
    """Whether a transaction lost to another or was interrupted, so that a retry may succeed."""
    while error is not None:
        if isinstance(error, _AGAIN):
            return True
        error = error.__cause__ or error.__context__
    return False
