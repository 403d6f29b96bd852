"""The pydantic schemas of the status API's responses: a submission, a list of them, a problem (RFC 9457)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from shared.domain.plan import Accelerator
from shared.domain.submission import State
from shared.domain.summaries import share_in
from shared.domain.verdict import MOSTLY_UNFAMILIAR, GeneIds, MatrixEncoding, MatrixState, Severity, Species

Summary = dict[str, str | int | float | dict[str, int]]


class _View(BaseModel):
    # Built from the domain's dataclasses by attribute. A field that a view does not name is not shown.
    model_config = ConfigDict(frozen=True, from_attributes=True)


class SourceView(_View):
    """The object generation to annotate."""

    bucket: str
    name: str
    generation: int


class RequesterView(_View):
    """Who requested the submission, as they named themselves."""

    correlation_id: str
    source: str


class ModelView(_View):
    """The model bundle, pinned by its digest."""

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
    """The gene identifiers that were matched to the model's genes."""

    column: str
    kind: GeneIds
    species: Species
    n_duplicates: int


class OverlapView(_View):
    """How much of the model the file covers.

    Attributes:
        fraction: The share of the model's genes that the file has.
    """

    n_model: int
    n_matched: int
    fraction: float


class ForecastView(_View):
    """The expected time and cost, estimated at validation. Dollars are null where nothing is billed."""

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
    """How the submission is computed: on what, in how many tasks, and at what estimated time and cost."""

    accelerator: Accelerator
    n_tasks: int
    n_cells: int
    estimated_s: float
    estimated_usd: float | None


class ProgressView(_View):
    """Progress of the current epoch, summed over its tasks' documents."""

    rows_done: int
    rows_total: int
    tasks_done: int
    tasks_total: int
    last_beat_at: datetime | None

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented use; mypy knows no decorated property
    @property
    def fraction(self) -> float:
        """The share of cells that are annotated, 0 to 1."""
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
        crc32c: The file's CRC-32C (Castagnoli) in 8 hexadecimal digits, as in the manifest; null if not computed.
        href: The path of its URL on this server.
    """

    name: str
    size_bytes: int
    crc32c: str | None
    updated_at: datetime
    href: str


class SubmissionItem(_View):
    """One submission in a list."""

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
        """Number of cells per label, largest first; empty before the commit."""
        return dict(sorted(self.counts_of("labels").items(), key=lambda item: (-item[1], item[0])))

    def counts_of(self, name: str) -> dict[str, int]:
        """Number of cells by name, as the summary has them; empty if it has none."""
        counts = self.summary.get(name)
        return counts if isinstance(counts, dict) else {}

    @property
    def unfamiliar_share(self) -> float:
        """Share of cells that are unlike the model's training cells, of those that can be judged; 0 if none can."""
        return share_in(self.summary, "n_unfamiliar") or 0.0

    @property
    def reliable_share(self) -> float | None:
        """Share of cells with a reliable label; None if that is not known."""
        return share_in(self.summary, "n_reliable_label")

    @property
    def is_doubtful(self) -> bool:
        """Whether most cells are unlike the model's training cells, so that their labels mean little."""
        return self.unfamiliar_share > MOSTLY_UNFAMILIAR


class SubmissionView(SubmissionItem):
    """Everything that is known of a submission.

    Attributes:
        place: Position in the queue of the machine that runs this server, from 1; null if it is not queued there.
        given_up: A follow-up step (an event, say) that failed for good, and why, as text; usually empty.
        version: Send it as ``?wait=…&version=…`` to get a response as soon as something has changed.
        read_at: The store's clock at this read. Compare all other times with it, not with your own clock.
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
    """The latest submissions, newest first. ``more`` says that older ones were left out."""

    schema_version: Literal[1] = 1
    submissions: tuple[SubmissionItem, ...]
    more: bool


class Problem(_View):
    """An error: RFC 9457 problem details, with our stable ``code`` and a ``hint`` that says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str


class Health(_View):
    """The answer of the health check."""

    status: Literal["ok"] = "ok"
