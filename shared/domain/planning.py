"""From a record to its plan, and from a verdict to its forecast: one way for ingest, dispatch and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.options import parse_options
from shared.domain.plan import CostHints, Fleet, Forecast, Plan, Workload, forecast, make_plan
from shared.domain.submission import Submission
from shared.domain.verdict import Verdict


def plan_of(record: Submission, fleet: Fleet) -> Plan:
    """The plan for an accepted submission: from its verdict, its model's cost hints and what was asked for.

    Raises:
        InvalidOptionError: An option of another version.
    """
    assert record.verdict is not None
    assert record.model is not None
    asked = parse_options(record.requested)
    work = workload_of(record.verdict)
    return make_plan(work, record.model.cost, fleet, objective=asked.objective, tasks=asked.tasks)


def with_forecast(verdict: Verdict, cost: CostHints, fleet: Fleet, requested: Mapping[str, str]) -> Verdict:
    """The verdict with what its plan will take, by the very function that dispatch plans with; a refusal has none.

    Raises:
        InvalidOptionError: An option that is unknown or out of range.
    """
    if not verdict.accepted:
        return verdict
    return replace(verdict, forecast=forecast_of(verdict, cost, fleet, requested))


def forecast_of(verdict: Verdict, cost: CostHints, fleet: Fleet, requested: Mapping[str, str]) -> Forecast:
    """What the plan for an accepted file will take."""
    asked = parse_options(requested)
    return forecast(workload_of(verdict), cost, fleet, objective=asked.objective, tasks=asked.tasks)


def workload_of(verdict: Verdict) -> Workload:
    """What an accepted file gives to compute."""
    assert verdict.matrix is not None
    return Workload(verdict.matrix.n_cells, verdict.matrix.nnz, verdict.size_bytes)
