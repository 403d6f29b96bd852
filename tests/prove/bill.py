"""What a proof costs: forecast from the flavor and the table of prices, and counted from what Google says it ran."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from shared.domain.prices import TIER_1, Operations, Shape
from tests.prove.terraform_commands import DEPLOY, FLAVOR

SUBMISSIONS = 40
"""Executions of the suite and the faults: some 25, and those that the faults have run again."""
EXECUTION_S = 75.0
"""Of small files, start included; the least that is billed is a minute."""
TASKS = 1.5
"""Most have one, some two or three."""
REQUEST_S = 10.0
"""Of a function for one submission: inspection, dispatch, polling, all of them with their cold starts."""
PASS_S = 2.0
"""Of reconcile, every minute."""
OPERATIONS = Operations(firestore_reads=500, firestore_writes=100, storage_a=60, storage_b=500, pubsub_bytes=200_000)
"""Of one submission, well above what is counted on this machine."""
MARGIN = 2.5
"""Functions cost a third more by request; tier 2 costs more; logs, images and alerts are not in the table."""


@dataclass(frozen=True, slots=True)
class Bill:
    """In US dollars, list prices without free tiers."""

    jobs: float
    functions: float
    operations: float
    margin: float = 1.0

    @property
    def usd(self) -> float:
        """All of it."""
        return round((self.jobs + self.functions + self.operations) * self.margin, 4)

    @property
    def document(self) -> dict[str, Any]:
        """For the report."""
        parts = {name: round(value, 4) for name, value in asdict(self).items()}
        return {**parts, "usd": self.usd, "prices_of": TIER_1.as_of}


def forecast(limit_minutes: float) -> Bill:
    """Of a whole proof that lasts to its limit, with a margin."""
    flavor = json.loads((DEPLOY / "flavors" / f"{FLAVOR}.json").read_text())
    functions = flavor["functions"]
    passes = limit_minutes * PASS_S * _shape(functions["reconcile"]).usd_per_s(TIER_1)
    requests = SUBMISSIONS * REQUEST_S * sum(_shape(size).usd_per_s(TIER_1) for size in functions.values())
    task_s = TIER_1.billed_s(EXECUTION_S)
    jobs = SUBMISSIONS * TASKS * task_s * _shape(flavor["jobs"]["cpu"]).usd_per_s(TIER_1)
    return Bill(jobs, passes + requests, SUBMISSIONS * OPERATIONS.usd(TIER_1), MARGIN)


def counted(executions: Iterable[Mapping[str, Any]], requests: Iterable[Mapping[str, Any]]) -> Bill:
    """From the executions that Google lists and the requests that it has logged; operations are not listed anywhere."""
    flavor = json.loads((DEPLOY / "flavors" / f"{FLAVOR}.json").read_text())
    task = _shape(flavor["jobs"]["cpu"]).usd_per_s(TIER_1)
    jobs = sum(_tasks(one) * TIER_1.billed_s(_seconds(one)) * task for one in executions)
    functions = 0.0
    for entry in requests:
        part = entry["resource"]["labels"]["service_name"].rpartition("-")[2]
        latency_s = float(entry.get("httpRequest", {}).get("latency", "0s").rstrip("s"))
        functions += latency_s * _shape(flavor["functions"][part]).usd_per_s(TIER_1)
    return Bill(jobs, functions, 0.0)


def _shape(size: Mapping[str, Any]) -> Shape:
    return Shape(size["cpu"], size["memory_mib"])


def _tasks(execution: Mapping[str, Any]) -> int:
    return int(execution.get("spec", {}).get("taskCount", 1))


def _seconds(execution: Mapping[str, Any]) -> float:
    status = execution.get("status", {})
    started, ended = status.get("startTime"), status.get("completionTime")
    if not started or not ended:
        return 0.0
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
