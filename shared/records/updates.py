"""Conditional update of a submission's record: read, change, write if the version is unchanged, else start again."""

from __future__ import annotations

from shared.domain.errors import PreconditionFailedError, UnavailableError
from shared.domain.machine import Change
from shared.domain.submission import Submission
from shared.ports.status import StatusStore, Stored

MAX_TRIES = 20


def update(store: StatusStore, submission_id: str, change: Change) -> Stored[Submission]:
    """Apply a pure change to the newest version of a record. The change gets the store's time.

    Nothing is written if the change returns an equal record, so the update is idempotent if ``change`` is.

    Raises:
        UnavailableError: Another write came first at every try, or the store did not answer.
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
    raise UnavailableError(
        f"submission {submission_id} was changed by others during each of {MAX_TRIES} tries", hint="Try again."
    )
