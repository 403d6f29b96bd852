"""Converts records to JSON documents and back, for every status store."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.domain.admission import Request
from shared.domain.errors import UnreadableRecordError
from shared.domain.plan import Plan
from shared.domain.submission import Receipt, Requester, Submission, TaskRecord
from shared.domain.verdict import Verdict
from shared.faults import first_fault
from shared.ports.status import HistoryEntry

_SUBMISSION: TypeAdapter[Submission] = TypeAdapter(Submission)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_PAGE: TypeAdapter[tuple[Requester, ...]] = TypeAdapter(tuple[Requester, ...])
_TASK: TypeAdapter[TaskRecord] = TypeAdapter(TaskRecord)
_RECEIPT: TypeAdapter[Receipt] = TypeAdapter(Receipt)
_HISTORY: TypeAdapter[HistoryEntry] = TypeAdapter(HistoryEntry)
_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)

Document = dict[str, Any]
T = TypeVar("T")


def parsed(text: object, parse: Callable[[Document], T], where: str) -> T:
    """Read a value from the JSON text of a stored document.

    Args:
        text: A text, unless the database is damaged.
        where: Whose document it is; for a record, the id of the submission.

    Raises:
        UnreadableRecordError: A newer version of celldrop wrote the document, or it is damaged.
    """
    try:
        return parse(json.loads(str(text)))
    except (ValueError, TypeError, KeyError) as error:
        found = first_fault(error) if isinstance(error, ValidationError) else None
        value = f" ({found.found!r})" if found and found.found else ""
        raise UnreadableRecordError(
            f"the record cannot be read: {found or error}{value}",
            expected="a record of this version or an earlier one",
            where=where,
            hint="If a newer version of celldrop wrote it, run that version again. The record is left as it is.",
        ) from error


def submission_document(record: Submission) -> Document:
    """Convert a record to a JSON document."""
    document: Document = _SUBMISSION.dump_python(record, mode="json")
    return document


def submission_from(document: Document) -> Submission:
    """Read a record from a document. Unknown fields, from a newer version, are ignored."""
    return _SUBMISSION.validate_python(document, strict=False)


def request_document(request: Request) -> Document:
    """Convert the request that an event was resolved to."""
    document: Document = _REQUEST.dump_python(request, mode="json")
    return document


def request_from(document: Document) -> Request:
    """Read the request that an event was resolved to."""
    return _REQUEST.validate_python(document, strict=False)


def page_document(requesters: tuple[Requester, ...]) -> Document:
    """Convert a page of requesters."""
    return {"requesters": _PAGE.dump_python(requesters, mode="json")}


def page_from(document: Document) -> tuple[Requester, ...]:
    """Read a page of requesters."""
    return _PAGE.validate_python(document["requesters"], strict=False)


def task_document(task: TaskRecord) -> Document:
    """Convert a task."""
    document: Document = _TASK.dump_python(task, mode="json")
    return document


def task_from(document: Document) -> TaskRecord:
    """Read a task."""
    return _TASK.validate_python(document, strict=False)


def receipt_document(receipt: Receipt) -> Document:
    """Convert a receipt."""
    document: Document = _RECEIPT.dump_python(receipt, mode="json")
    return document


def receipt_from(document: Document) -> Receipt:
    """Read a receipt."""
    return _RECEIPT.validate_python(document, strict=False)


def history_document(entry: HistoryEntry) -> Document:
    """Convert a history entry."""
    document: Document = _HISTORY.dump_python(entry, mode="json")
    return document


def history_from(document: Document) -> HistoryEntry:
    """Read a history entry."""
    return _HISTORY.validate_python(document, strict=False)


def plan_document(plan: Plan) -> Document:
    """Convert a plan."""
    document: Document = _PLAN.dump_python(plan, mode="json")
    return document


def verdict_document(verdict: Verdict) -> Document:
    """Convert a verdict, with the derived field ``accepted``."""
    document: Document = _VERDICT.dump_python(verdict, mode="json")
    return {"accepted": verdict.accepted, **document}
