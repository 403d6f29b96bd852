"""What every status store must do with records that this version of celldrop cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from shared.domain.errors import PreconditionFailedError, UnreadableRecordError
from shared.domain.submission import EntryKind, OutboxEntry, State, Submission, TaskRecord
from shared.ports.status import StatusStore
from shared.records.documents import Document, submission_document
from tests.contracts.racing import StatusDoor
from tests.contracts.records_made import OWED, owing, plain

Rewrite = Callable[[str, str], None]
"""Puts another text in the place of a stored record: of this id, with this text."""

SWEEP = OutboxEntry("s/sweep", EntryKind.SWEEP)


def _with(**fields: Any) -> Callable[[Document], str]:
    return lambda document: json.dumps({**document, **fields})


TEXTS: dict[str, Callable[[Document], str]] = {
    "a state of a newer version": _with(state="PAUSED"),
    "an entry of a newer version": _with(outbox=[{"id": "s/x", "kind": "newer"}]),
    "a field of another type": _with(epoch={"number": 1}),
    "a field missing": lambda document: json.dumps({**document, "source": {}}),
    "another shape": lambda _document: "[]",
    "not JSON": lambda _document: '{"id": ',
}


class UnreadableRecordsContract:
    """Fixtures to give, besides those of ``StatusStoreContract``: ``rewrite``."""

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_a_record_that_cannot_be_read_is_an_error_that_names_it(
        self, store: StatusStore, rewrite: Rewrite, text: Callable[[Document], str]
    ) -> None:
        store.create(plain("newer"))
        rewrite("newer", text(submission_document(plain("newer"))))
        with pytest.raises(UnreadableRecordError) as caught:
            store.get("newer")
        assert (caught.value.where, caught.value.retryable) == ("newer", True)

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_searches_pass_over_what_cannot_be_read_and_name_it(
        self, store: StatusStore, rewrite: Rewrite, text: Callable[[Document], str]
    ) -> None:
        for name in ("a", "newer", "b"):
            store.create(replace(owing(name), outbox=(OWED, SWEEP)))
        rewrite("newer", text(submission_document(owing("newer"))))
        searches = [
            store.find(oldest_first=True),
            store.find([State.QUEUED], oldest_first=True),
            store.find(with_outbox=True, oldest_first=True),
            store.find_owing(messages=True),
            store.find_owing(messages=False),
        ]
        assert [[stored.value.id for stored in found] for found in searches] == [["a", "b"]] * 5
        assert [[error.where for error in found.unreadable] for found in searches] == [["newer"]] * 5

    def test_what_cannot_be_read_takes_nobodys_place(self, store: StatusStore, rewrite: Rewrite) -> None:
        for name in ("a", "b", "c", "d", "e"):
            store.create(owing(name))
        for name in ("a", "b"):
            rewrite(name, _with(state="PAUSED")(submission_document(owing(name))))
        for found in (store.find(limit=2, oldest_first=True), store.find_owing(messages=True, limit=2)):
            assert [stored.value.id for stored in found] == ["c", "d"]
            assert [error.where for error in found.unreadable] == ["a", "b"]
        assert [stored.value.id for stored in store.find(limit=2)] == ["e", "d"]
        assert len(store.find(limit=4)) == 3

    def test_what_cannot_be_read_is_never_written_over(
        self, store: StatusStore, door: StatusDoor, rewrite: Rewrite, raw: Callable[[str], Document]
    ) -> None:
        version = store.create(plain("newer")).version
        rewrite("newer", _with(outbox=[{"id": "s/x", "kind": "newer"}])(submission_document(plain("newer"))))
        before = raw("newer")

        def cancelled(record: Submission, _tasks: Sequence[TaskRecord], _now: datetime) -> Submission:
            return replace(record, state=State.CANCELLED)

        with pytest.raises(PreconditionFailedError):
            store.create(plain("newer"))
        with pytest.raises((UnreadableRecordError, PreconditionFailedError)):
            store.replace(replace(plain("newer"), state=State.CANCELLED), if_version=version)
        with pytest.raises(UnreadableRecordError):
            door().transact("newer", cancelled)
        assert raw("newer") == before
