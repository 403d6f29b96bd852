"""The runs over the fakes that the example messages beside this module come from."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from functions.ingest.schemas import parse_push
from jobs.inference.outputs.manifest import Labels, summary_of
from jobs.inference.task.protocol import Ended
from shared.access.cloud_events import MESSAGE_PUBLISHED, parse_pushed
from shared.bundles.stored import card_bytes
from shared.domain.actual import actual_of
from shared.domain.errors import DuplicateCellsError, NoMatrixError, UnavailableError
from shared.domain.plan import Accelerator, Plan
from shared.domain.submission import Receipt, Result, Submission, Topic
from shared.domain.verdict import Finding, MatrixState, Severity, Verdict
from shared.h5ad.judge.matrices import in_words
from shared.ports.events import Message
from shared.ports.jobs import ExecutionState
from tests.fakes.calls import FailNext
from tests.services.house import House, StandIn, card, good_verdict

FOLDER = Path(__file__).resolve().parent
SUFFIX = ".json"
GENERATION = 1767268800123456
PUBLISHED_AT = "2026-01-01T12:00:00.123Z"
MESSAGE_ID = "13524712344921573"

REQUEST: Mapping[str, Any] = {
    "schema_version": 1,
    "bucket": "inbox",
    "name": "lab-7/sample.h5ad",
    "generation": GENERATION,
    "options": {"model": "pbmc", "top_k": "3"},
    "correlation_id": "order-4711",
    "source": "lims.example.org",
    "rerun": "2026-01-01",
}
MINIMAL: Mapping[str, Any] = {
    "schema_version": 1,
    "bucket": "inbox",
    "name": "lab-7/sample.h5ad",
    "correlation_id": "order-4711",
}
LABELS = {"CD4 helper T cell": 1143, "B cell": 344, "CD14 monocyte": 480, "NK cell": 155, "Unassigned": 516}

COMPUTED_S, MERGED_S = 1.4, 4.3
PLAN = Plan(Accelerator.CPU, 1, sum(LABELS.values()), 16.6, estimated_usd=0.0054, usd_per_task_s=0.000088)
"""Of rates and prices as they once were: what is measured anew changes no example."""


class Counting(StandIn):
    """A stand-in whose results have a summary such as the real ones have."""

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        counted = Labels(n_cells=sum(LABELS.values()), n_unassigned=LABELS["Unassigned"], counts=LABELS)
        timed = [replace(receipt, seconds=COMPUTED_S) for receipt in receipts]
        planned = replace(record, plan=PLAN)
        summary = summary_of(planned, counted, actual_of(planned, timed, MERGED_S))
        return replace(super().merge(record, receipts, prefix, beat), summary=summary)


class Lab(House):
    """A house with names and numbers such as users have."""

    def __init__(self) -> None:
        super().__init__()
        named = card().model_copy(update={"name": "pbmc", "version": "1.0.0"})
        self.blobs.write("models", "pbmc/1.0.0/model.json", [card_bytes(named)])
        self.blobs.write("models", "pbmc/1.0.0/weights.safetensors", [b"weights"])
        self.blobs._generation = GENERATION - 1
        self.source = self.blobs.write("inbox", REQUEST["name"], [b"cells"]).ref
        self.computation = Counting(self.blobs)
        self.verdict = good_verdict(sum(LABELS.values()))
        dice = random.Random(7)
        self._tokens = (dice.randbytes(6).hex() for _ in iter(int, 1))

    def take(self, push: Mapping[str, Any]) -> None:
        """Let a push in, as the function's door does."""
        self.ingest.handle(parse_push(parse_pushed(push["headers"], json.dumps(push["body"]).encode())))

    def queue(self) -> None:
        """Take the full request, and a moment later start what it asks for."""
        self.take(pushed_plainly(REQUEST))
        self.later(seconds=2)
        self.deliver()
        self.later(seconds=41)

    def latest(self, topic: Topic) -> Message:
        return self.bus.messages(topic)[-1]


def recorded() -> dict[str, Any]:
    """Every example, by its file's name without the suffix."""
    return {
        "request": REQUEST,
        "request-minimal": MINIMAL,
        "push-plain": pushed_plainly(REQUEST),
        "push-eventarc": pushed_by_eventarc(REQUEST),
        **{name: json.loads(message.data) for name, message in published().items()},
    }


def published() -> dict[str, Message]:
    """The example of each message that celldrop publishes, as the bus got it."""
    runs = {
        "accepted": accepted,
        "succeeded": succeeded,
        "failed": failed,
        "rejected": rejected,
        "cancelled": cancelled,
        "job": job,
        "finalize": finalize,
    }
    return {name: run(Lab()) for name, run in runs.items()}


def accepted(lab: Lab) -> Message:
    lab.take(pushed_plainly(REQUEST))
    return lab.latest(Topic.EVENTS)


def job(lab: Lab) -> Message:
    lab.take(pushed_plainly(REQUEST))
    return lab.latest(Topic.JOBS)


def succeeded(lab: Lab) -> Message:
    lab.queue()
    assert lab.run_all() == [Ended.COMMITTED]
    return lab.latest(Topic.EVENTS)


def failed(lab: Lab) -> Message:
    """Cell ids are looked at by the one who merges, so that this is not found any sooner."""

    def repeated() -> None:
        raise DuplicateCellsError(
            "2 cell ids occur more than once, such as 'AAACATACAACCAC-1'",
            expected="every cell id once",
            where="the index of obs",
            hint="Make them unique with adata.obs_names_make_unique(), save the file and drop it again.",
        )

    lab.queue()
    lab.computation.before_result = repeated
    assert lab.run_all() == [Ended.FAILED]
    return lab.latest(Topic.EVENTS)


def rejected(lab: Lab) -> Message:
    error = NoMatrixError(
        f"no matrix can be used: X: {in_words(MatrixState.SCALED)}",
        expected="counts or log-normalised values",
        hint='Keep the counts: adata.layers["counts"] = adata.X.copy() before you normalise.',
    )
    lab.verdict = Verdict(findings=(Finding(error.code, Severity.REFUSAL, error.message, error.hint),))
    lab.take(pushed_plainly(REQUEST))
    return lab.latest(Topic.EVENTS)


def cancelled(lab: Lab) -> Message:
    lab.queue()
    lab.cancel()
    lab.reconcile.sweep()
    return lab.latest(Topic.EVENTS)


def finalize(lab: Lab) -> Message:
    """The only task has written its part, and is gone before it could commit."""
    lab.queue()
    lab.store.hook = FailNext("status.transact", UnavailableError("no answer"))
    try:
        lab.run_all()
    except UnavailableError:
        lab.jobs.end(lab.jobs.latest, ExecutionState.FAILED, "exit status 1")
    lab.reconcile.sweep()
    return lab.latest(Topic.JOBS)


def pushed_plainly(request: Mapping[str, Any]) -> dict[str, Any]:
    """As a push subscription delivers it."""
    return {"headers": {"Content-Type": "application/json"}, "body": _envelope(request)}


def pushed_by_eventarc(request: Mapping[str, Any]) -> dict[str, Any]:
    """As Eventarc delivers it: a CloudEvent in binary mode."""
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": MESSAGE_ID,
        "ce-type": MESSAGE_PUBLISHED,
        "ce-source": "//pubsub.googleapis.com/projects/my-project/topics/celldrop-requests",
        "ce-time": PUBLISHED_AT,
    }
    return {"headers": headers, "body": _envelope(request)}


def _envelope(request: Mapping[str, Any]) -> dict[str, Any]:
    message = {
        "data": base64.b64encode(json.dumps(request).encode()).decode(),
        "messageId": MESSAGE_ID,
        "message_id": MESSAGE_ID,
        "publishTime": PUBLISHED_AT,
        "publish_time": PUBLISHED_AT,
    }
    return {"message": message, "subscription": "projects/my-project/subscriptions/celldrop-requests"}


def text_of(example: object) -> str:
    """An example as its file has it."""
    return json.dumps(example, indent=1, ensure_ascii=False) + "\n"


def read(name: str) -> Any:
    """An example as it lies in its file."""
    return json.loads((FOLDER / f"{name}{SUFFIX}").read_text())
