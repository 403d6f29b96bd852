"""Conditional change of a submission's record: read, decide, write over the version read, again if it moved."""

from __future__ import annotations

from shared.domain.errors import PreconditionFailedError, UnavailableError
from shared.domain.machine import Change
from shared.domain.submission import Submission
from shared.ports.status import StatusStore, Stored

MAX_TRIES = 20


def update(store: StatusStore, submission_id: str, change: Change) -> Stored[Submission]:
    """Apply a pure change to the newest version of a record; the change sees the store's own time.

    Idempotent when ``change`` is: a change that leaves the record as it was writes nothing.

    Raises:
        UnavailableError: The record kept moving under every try, or the store did not answer.
    """
    for _ in range(MAX_TRIES):
        stored = store.get(submission_id)
        changed = change(stored.value, stored.read_at)
        if changed == stored.value:
            return stored
        try:
            return store.replace(changed, if_version=stored.version)
        except PreconditionFailedError:
            continue
    raise UnavailableError(f"submission {submission_id} changed under each of {MAX_TRIES} tries", hint="Try again.")
