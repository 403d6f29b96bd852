"""What status answers with, as pydantic schemas: a submission, a list of them, a problem (RFC 9457)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from shared.domain.plan import Accelerator
from shared.domain.submission import State
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
    """How much of the model the file can feed; ``fraction`` is of its features."""

    n_model: int
    n_matched: int
    fraction: float


class ForecastView(_View):
    """What computing it was expected to take when it was taken in; dollars are null where nothing is billed."""

    accelerator: Accelerator
    n_tasks: int
    seconds: float
    usd: float | None
    start_s: float
    compute_s: float
    merge_s: float
    machine_s: float
    compute_usd: float | None
    operations_usd: float | None


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
    forecast: ForecastView | None


class PlanView(_View):
    """How it is computed."""

    accelerator: Accelerator
    n_tasks: int
    n_cells: int
    estimated_s: float
    estimated_usd: float | None


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
        crc32c: Of its bytes (Castagnoli), 8 hexadecimal digits as in the manifest; None where it was not computed.
        href: Where to get it, on this server.
    """

    name: str
    size_bytes: int
    crc32c: str | None
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
        counts = self.summary.get("labels")
        if not isinstance(counts, dict):
            return {}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class SubmissionView(SubmissionItem):
    """A submission with all that is known of it.

    Attributes:
        place: In the queue of the machine that this server runs on, from 1; null where it is not queued there.
        given_up: What was owed after it and could not be done in the end, and why, for people; empty but for that.
        version: Give it back as ``?wait=…&version=…`` to be answered when something has changed.
        read_at: The store's time at this read, beside which all other times are to be judged.
    """

    schema_version: Literal[1] = 1
    version: str
    place: int | None = None
    epoch: int
    attempts: int
    requested: dict[str, str]
    requesters: tuple[RequesterView, ...]
    verdict: VerdictView | None
    plan: PlanView | None
    last_problem: str
    given_up: str
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
