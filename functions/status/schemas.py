"""What status answers with, as pydantic schemas: a submission, a list of them, a problem (RFC 9457)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, computed_field

from functions.status.data_manager import ResultFile
from functions.status.services import Listing, Snapshot
from shared.domain.plan import Accelerator
from shared.domain.submission import State, Submission
from shared.domain.verdict import GeneIds, MatrixEncoding, MatrixState, Severity, Species

Summary = dict[str, str | int | float | dict[str, int]]


class _View(BaseModel):
    # Made from the domain's own dataclasses by attribute; what a view does not name is not shown.
    model_config = ConfigDict(frozen=True, from_attributes=True)


class SourceView(_View):
    """The object generation that is annotated."""

    bucket: str
    name: str
    generation: int


class RequesterView(_View):
    """Who asked, in their own words."""

    correlation_id: str
    source: str


class ModelView(_View):
    """The bundle, pinned by digest."""

    name: str
    version: str
    digest: str


class FindingView(_View):
    """One warning or refusal."""

    code: str
    severity: Severity
    message: str
    hint: str
    details: dict[str, str | int | float | bool | list[str]]


class MatrixView(_View):
    """The matrix that was chosen."""

    path: str
    why: str
    state: MatrixState
    encoding: MatrixEncoding
    dtype: str
    nnz: int


class GenesView(_View):
    """The identifiers that the model's genes were found by."""

    column: str
    kind: GeneIds
    species: Species
    n_duplicates: int


class OverlapView(_View):
    """How much of the model the file can feed; ``fraction`` is of its features, ``weight_fraction`` of its weight."""

    n_model: int
    n_matched: int
    fraction: float
    weight_fraction: float | None


class VerdictView(_View):
    """What validation found."""

    accepted: bool
    n_cells: int
    n_genes: int
    size_bytes: int
    layout: str
    matrix: MatrixView | None
    genes: GenesView | None
    overlap: OverlapView | None
    warnings: tuple[FindingView, ...]
    refusals: tuple[FindingView, ...]


class PlanView(_View):
    """How it is computed."""

    accelerator: Accelerator
    n_tasks: int
    n_cells: int
    estimated_s: float


class ProgressView(_View):
    """How far the present epoch has come, from its tasks' own documents."""

    rows_done: int
    rows_total: int
    tasks_done: int
    tasks_total: int
    last_beat_at: datetime | None

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented use; mypy knows no decorated property
    @property
    def fraction(self) -> float:
        """Share of the cells that are done, 0 to 1."""
        return self.rows_done / self.rows_total if self.rows_total else 0.0


class FailureView(_View):
    """Why there are no results, and what to do."""

    code: str
    message: str
    hint: str


class HistoryView(_View):
    """One change of state."""

    n: int
    at: datetime
    state: State
    epoch: int
    note: str


class FileView(_View):
    """One file of the committed result.

    Attributes:
        crc32c: Of its bytes (Castagnoli); None where the store has not computed it.
        href: Where to get it, on this server.
    """

    name: str
    size_bytes: int
    crc32c: int | None
    updated_at: datetime
    href: str


class SubmissionItem(_View):
    """A submission in a list."""

    id: str
    state: State
    final: bool
    source: SourceView
    model: ModelView | None
    progress: ProgressView
    failure: FailureView | None
    summary: Summary
    created_at: datetime
    changed_at: datetime
    href: str

    @property
    def label_counts(self) -> dict[str, int]:
        """Cells of each label, most first; empty before the commit."""
        tables = (value for value in self.summary.values() if isinstance(value, dict))
        counts = next(tables, {})
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class SubmissionView(SubmissionItem):
    """A submission with all that is known of it.

    Attributes:
        version: Give it back as ``?wait=…&version=…`` to be answered when something has changed.
        read_at: The store's time at this read, beside which all other times are to be judged.
    """

    schema_version: Literal[1] = 1
    version: str
    epoch: int
    attempts: int
    requested: dict[str, str]
    requesters: tuple[RequesterView, ...]
    verdict: VerdictView | None
    plan: PlanView | None
    last_problem: str
    files: tuple[FileView, ...]
    history: tuple[HistoryView, ...]
    waiting_since: datetime | None
    updated_at: datetime
    read_at: datetime


class SubmissionList(_View):
    """The latest submissions, latest first; ``more`` when older ones were left out."""

    schema_version: Literal[1] = 1
    submissions: tuple[SubmissionItem, ...]
    more: bool


class Problem(_View):
    """A refusal or fault: RFC 9457 with our stable ``code`` and a ``hint`` of what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class Health(_View):
    """That the server answers."""

    status: Literal["ok"] = "ok"


def submission_view(snapshot: Snapshot) -> SubmissionView:
    """Everything about one submission."""
    stored, record = snapshot.stored, snapshot.record
    return SubmissionView(
        **_item_fields(snapshot),
        version=snapshot.version,
        epoch=record.epoch,
        attempts=record.attempts,
        requested=dict(record.requested),
        requesters=tuple(RequesterView.model_validate(who) for who in record.requesters),
        verdict=VerdictView.model_validate(record.verdict) if record.verdict else None,
        plan=PlanView.model_validate(record.plan) if record.plan else None,
        last_problem=record.last_problem,
        files=tuple(_file_view(record, file) for file in snapshot.files),
        history=tuple(HistoryView.model_validate(entry) for entry in snapshot.history),
        waiting_since=record.waiting_since,
        updated_at=stored.updated_at,
        read_at=stored.read_at,
    )


def submission_list(listing: Listing) -> SubmissionList:
    """The latest submissions."""
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
        crc32c=info.crc32c,
        updated_at=info.updated_at,
        href=f"/v1/submissions/{record.id}/files/{quote(file.name)}",
    )
