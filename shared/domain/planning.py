"""Makes the plan of a record and the forecast of a verdict, in the same way for ingest, dispatch and the CLI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.options import parse_options
from shared.domain.plan import CostHints, Fleet, Forecast, Plan, Workload, forecast, make_plan
from shared.domain.submission import Submission
from shared.domain.verdict import Verdict


def plan_of(record: Submission, fleet: Fleet) -> Plan:
    """Make the plan of an accepted submission, from its verdict, its models' cost hints and its options.

    Raises:
        InvalidOptionError: An option of another version of celldrop.
    """
    assert record.verdict is not None
    options = parse_options(record.requested)
    work = workload_of(record.verdict)
    return make_plan(work, record.cost, fleet, objective=options.objective, tasks=options.tasks)


def with_forecast(verdict: Verdict, cost: CostHints, fleet: Fleet, requested: Mapping[str, str]) -> Verdict:
    """Add a forecast to an accepted verdict, made by the same function that dispatch plans with.

    Raises:
        InvalidOptionError: An option that is unknown or out of range.
    """
    if not verdict.accepted:
        return verdict
    return replace(verdict, forecast=forecast_of(verdict, cost, fleet, requested))


def forecast_of(verdict: Verdict, cost: CostHints, fleet: Fleet, requested: Mapping[str, str]) -> Forecast:
    """Forecast the time and cost of an accepted file."""
    options = parse_options(requested)
    return forecast(workload_of(verdict), cost, fleet, objective=options.objective, tasks=options.tasks)


def workload_of(verdict: Verdict) -> Workload:
    """The workload of an accepted file."""
    assert verdict.matrix is not None
    return Workload(verdict.matrix.n_cells, verdict.matrix.nnz, verdict.size_bytes)
