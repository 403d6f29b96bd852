"""Turns the services' snapshots into the schemas of the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from functions.status.data_manager import ResultFile
from functions.status.schemas import (
    FailureView,
    FileView,
    HistoryView,
    ModelView,
    PlanView,
    ProgressView,
    RequesterView,
    SourceView,
    SubmissionItem,
    SubmissionList,
    SubmissionView,
    VerdictView,
)
from functions.status.services import Listing, Snapshot
from shared.domain.submission import Submission


def submission_view(snapshot: Snapshot) -> SubmissionView:
    """The view of one submission, with everything that is known of it."""
    stored, record = snapshot.stored, snapshot.record
    return SubmissionView(
        **_item_fields(snapshot),
        version=snapshot.version,
        place=snapshot.place,
        epoch=record.epoch,
        attempts=record.attempts,
        requested=dict(record.requested),
        requesters=tuple(RequesterView.model_validate(who) for who in record.requesters),
        verdict=VerdictView.model_validate(record.verdict) if record.verdict else None,
        plan=PlanView.model_validate(record.plan) if record.plan else None,
        last_problem=record.last_problem,
        given_up=record.given_up,
        files=tuple(_file_view(record, file) for file in snapshot.files),
        history=tuple(HistoryView.model_validate(entry) for entry in snapshot.history),
        waiting_since=record.waiting_since,
        updated_at=stored.updated_at,
        read_at=stored.read_at,
    )


def submission_list(listing: Listing) -> SubmissionList:
    """The view of a list of submissions."""
    items = tuple(SubmissionItem(**_item_fields(snapshot)) for snapshot in listing.snapshots)
    return SubmissionList(submissions=items, more=listing.more)


def _item_fields(snapshot: Snapshot) -> dict[str, Any]:
    stored, record = snapshot.stored, snapshot.record
    return {
        "id": record.id,
        "state": record.state,
        "final": record.state.final,
        "source": SourceView.model_validate(record.source),
        "model": ModelView.model_validate(record.model) if record.model else None,
        "progress": ProgressView.model_validate(snapshot),
        "failure": FailureView.model_validate(record.failure) if record.failure else None,
        "summary": dict(record.result.summary) if record.result else {},
        "created_at": stored.created_at,
        "changed_at": record.changed_at or stored.created_at,
        "href": f"/v1/submissions/{record.id}",
    }


def _file_view(record: Submission, file: ResultFile) -> FileView:
    info = file.info
    return FileView(
        name=file.name,
        size_bytes=info.size_bytes,
        crc32c=None if info.crc32c is None else f"{info.crc32c:08x}",
        updated_at=info.updated_at,
        href=f"/v1/submissions/{record.id}/files/{quote(file.name)}",
    )
