"""Formats forecasts, and their comparison with the actual time and cost."""

from __future__ import annotations

from shared.domain.plan import Accelerator, Forecast
from shared.domain.submission import Submission


def forecast_words(forecast: Forecast) -> str:
    """Format a forecast as one line: machine, tasks, time and cost."""
    where = _where(forecast.accelerator, forecast.n_tasks)
    parts = f"start {forecast.start_s:g}, computing {forecast.compute_s:g}, merging {forecast.merge_s:g}"
    return f"{where}, about {forecast.seconds:g} s ({parts}), {_cost(forecast)}"


def comparison_words(record: Submission) -> str:
    """Format as one line the expected time and cost, and the actual ones once known. Empty without a plan."""
    plan = record.plan
    if plan is None:
        return ""
    words = f"{_where(plan.accelerator, plan.n_tasks)}, expected {_amount(plan.estimated_s, plan.estimated_usd)}"
    taken = record.result.summary if record.result else {}
    seconds, usd = taken.get("actual_s"), taken.get("actual_usd")
    if isinstance(seconds, int | float):
        words += f"; took {_amount(seconds, usd if isinstance(usd, int | float) else None)}"
    return words


def _where(accelerator: Accelerator, n_tasks: int) -> str:
    return f"{n_tasks:,} {'task' if n_tasks == 1 else 'tasks'} on {accelerator.upper()}"


def _amount(seconds: float, usd: float | None) -> str:
    return f"{seconds:g} s" if usd is None else f"{seconds:g} s and ${usd:.4f}"


def _cost(forecast: Forecast) -> str:
    if forecast.usd is None:
        return "on this machine: nothing is billed"
    return f"${forecast.usd:.4f} (machines ${forecast.compute_usd:.4f}, requests ${forecast.operations_usd:.4f})"
