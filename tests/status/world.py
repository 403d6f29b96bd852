"""A world of fakes around the status service, with submissions brought to any state through the state machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from functions.status.data_manager import ResultData
from functions.status.dependencies import service_over
from functions.status.services import StatusService
from shared.domain import admission, machine
from shared.domain.admission import Request
from shared.domain.limits import Limits
from shared.domain.plan import Accelerator, CostHints, Fleet, Plan
from shared.domain.planning import with_forecast
from shared.domain.submission import (
    Failure,
    ModelRef,
    ObjectRef,
    Receipt,
    Requester,
    Result,
    Submission,
    TaskRecord,
)
from shared.domain.verdict import (
    Finding,
    GeneIds,
    GeneSpace,
    MatrixChoice,
    MatrixEncoding,
    MatrixState,
    Overlap,
    Severity,
    Species,
    Verdict,
)
from shared.records.updates import update
from shared.wiring.ports import MadePorts
from tests.fakes.blobs import MemoryBlobStore
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore

N_CELLS = 2700
LIMITS = Limits()
MODEL = ModelRef("pbmc-sorted", "1.0.0", "ab" * 32, "models", "pbmc-sorted/1.0.0/", CostHints(1e6, 2**20))
WARNING = Finding("GENES_DUPLICATED", Severity.WARNING, "12 gene symbols occur twice.", "They were added up.")
REFUSAL = Finding("NO_USABLE_MATRIX", Severity.REFUSAL, "X is scaled.", "Keep the counts in a layer.")
LABEL_COUNTS = {"CD4 T cell": 1200, "B cell": 350, "NK cell": 150, "Unassigned": 1000}
FILES = {
    "report.html": b"<!doctype html><title>report</title>",
    "annotated.h5ad": bytes(range(256)) * 40,
    "annotations.csv.gz": b"\x1f\x8b",
    "manifest.json": b"{}",
    "extra/embeddings.parquet": b"PAR1",
}


def verdict(*findings: Finding) -> Verdict:
    return Verdict(
        n_cells=N_CELLS,
        n_genes=32_738,
        size_bytes=5_900_000,
        layout="anndata 0.1.0",
        matrix=MatrixChoice(
            "X", MatrixState.COUNTS, "whole numbers", MatrixEncoding.CSR, "float32", N_CELLS, 32_738, 2_286_884, "var"
        ),
        considered=(("X", MatrixState.COUNTS),),
        genes=GeneSpace("_index", GeneIds.SYMBOL, Species.HUMAN),
        overlap=Overlap(8025, 7980),
        findings=findings,
    )


@dataclass
class Sleep:
    """Time that passes only by being slept through; ``then`` runs during each sleep."""

    now_s: float = 1000.0
    slept_s: list[float] = field(default_factory=list)
    then: Callable[[], object] = lambda: None

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds
        self.then()


class World:
    """The fakes, and the service over them."""

    def __init__(self) -> None:
        self.clock = SettableClock(tick=timedelta(seconds=1))
        self.store = MemoryStatusStore(self.clock)
        self.blobs = MemoryBlobStore(self.clock)
        self.bus = MemoryBus()
        self.jobs = RecordedJobRunner()
        self.time = Sleep()
        built = service_over(MadePorts(self.blobs, self.bus, self.store, self.jobs))
        self.service: StatusService = replace(built, sleep=self.time.sleep, clock=self.time.clock)

    @property
    def data(self) -> ResultData:
        return self.service.data

    def queued(
        self,
        name: str = "sample.h5ad",
        *,
        options: Mapping[str, str] | None = None,
        requester: Requester | None = None,
        findings: tuple[Finding, ...] = (WARNING,),
        fleet: Fleet | None = None,
    ) -> str:
        """A queued submission.

        Args:
            fleet: What its forecast is made for; None: a record from before there were forecasts.
        """
        request = Request(ObjectRef("inbox", name, 7), options or {}, None, requester)
        found = verdict(*findings)
        judged = with_forecast(found, MODEL.cost, fleet, request.requested) if fleet else found
        return self.store.create(admission.queued(request, judged, MODEL)).value.id

    def rejected(self, name: str = "bad.h5ad", message: str = "X is scaled.") -> str:
        request = Request(ObjectRef("inbox", name, 7), {})
        failure = Failure("NO_USABLE_MATRIX", message, "Keep the counts in a layer.")
        return self.store.create(admission.rejected(request, failure, verdict(REFUSAL))).value.id

    def running(self, name: str = "sample.h5ad", *, n_tasks: int = 1, usd: float | None = None) -> str:
        found = self.queued(name)
        plan = Plan(Accelerator.CPU, n_tasks, N_CELLS, 4.1, usd)
        update(self.store, found, lambda was, at: machine.claim(was, now=at, token="t", plan=plan, limits=LIMITS))
        execution = f"execution-of-{found}"
        update(self.store, found, lambda was, _: machine.note_execution(was, epoch=1, execution=execution))
        update(self.store, found, lambda was, at: machine.adopt(was, epoch=1, execution=execution, now=at))
        return found

    def progress(self, submission_id: str, rows_done: int, *, index: int = 0, whole: bool = False) -> None:
        record = self.record(submission_id)
        assert record.plan is not None
        assert record.owner is not None
        rows = record.plan.rows_of(index)
        receipt = Receipt(ObjectRef("work", f"part-{index}", 1), 10, 1, rows) if whole else None
        task = TaskRecord(record.epoch, index, record.owner, 0, rows, rows_done, receipt)
        before = self.store.get_task(submission_id, record.epoch, index)
        self.store.put_task(submission_id, task, if_version=before.version if before else None)

    def succeeded(
        self,
        name: str = "sample.h5ad",
        *,
        files: Mapping[str, bytes] = FILES,
        label_counts: Mapping[str, int] = LABEL_COUNTS,
        taken: Mapping[str, float | dict[str, int]] | None = None,
    ) -> str:
        found = self.running(name)
        self.progress(found, N_CELLS, whole=True)
        tasks = [task.value for task in self.store.tasks(found, 1)]
        update(
            self.store,
            found,
            lambda was, at: machine.begin_finalizing(was, tasks, epoch=1, token="f", now=at, limits=LIMITS),
        )
        result = self.write_result(found, f"{found}/1-f/", files, label_counts)
        result = replace(result, summary={**result.summary, **(taken or {})})
        update(
            self.store,
            found,
            lambda was, at: machine.commit(was, tasks, epoch=1, token="f", result=result, now=at),
        )
        return found

    def write_result(
        self, submission_id: str, prefix: str, files: Mapping[str, bytes], label_counts: Mapping[str, int]
    ) -> Result:
        for name, data in files.items():
            self.blobs.write("results", prefix + name, [data])
        # Leftovers of a finalizer that lost, and the manifest beside the prefixes: neither is of the result.
        self.blobs.write("results", f"{submission_id}/1-lost/report.html", [b"lost"])
        self.blobs.write("results", f"{submission_id}/manifest.json", [b"{}"])
        manifest = ObjectRef("results", f"{prefix}manifest.json", 1)
        return Result("results", prefix, manifest, {"seconds": 4.2, "labels": dict(label_counts)})

    def failed(self, name: str = "sample.h5ad") -> str:
        found = self.running(name)
        self.progress(found, 1024)
        failure = Failure("ATTEMPTS_EXHAUSTED", "3 attempts were lost.", "Look at the task's log.")
        update(self.store, found, lambda was, at: machine.fail(was, failure, now=at))
        return found

    def record(self, submission_id: str) -> Submission:
        return self.store.get(submission_id).value
