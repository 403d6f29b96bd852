"""Inspects a file before a merge, with the obs columns that it may read as groups of cells."""

from __future__ import annotations

import logging
from dataclasses import replace

from shared.domain.errors import TruncatedFileError, UnsafeFileError
from shared.domain.geometry import Rows
from shared.domain.options import parse_options
from shared.domain.outputs import PSEUDOBULK
from shared.domain.submission import Submission
from shared.h5ad.facts import GroupingFacts
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.h5ad.read.limits import DEFAULT_LIMITS
from shared.h5ad.source import RangeSource
from shared.telemetry import event

log = logging.getLogger(__name__)


def inspect_for_merge(source: RangeSource, record: Submission, matrix: str | None) -> tuple[GroupingFacts, ...]:
    """Inspect a file for a merge. Returns the columns that were named by options or recognised.

    A recognised column is no reason to lose the results: if reading one ends the inspection, another one leaves them
    out.

    Raises:
        InputError: The file cannot be used.
    """
    options = parse_options(record.requested)
    every_row = Rows(0, record.plan.n_cells if record.plan else 0)
    rows = every_row if PSEUDOBULK.wanted(options) else None  # Then the merge reads the matrix, as a task does.
    plan = Plan(rows, merge=True, columns=tuple(options.columns.values()), recognise=options.truth is None)
    limits = DEFAULT_LIMITS.for_rows(every_row)
    try:
        return inspect(source, matrix=matrix, plan=plan, limits=limits).groupings
    except (TruncatedFileError, UnsafeFileError) as error:
        if not plan.recognise:
            raise
        found = inspect(source, matrix=matrix, plan=replace(plan, recognise=False), limits=limits).groupings
        event(log, "columns left out", level=logging.WARNING, code=error.code, problem=error.message)
        problem = f"the obs columns that look like labels cannot be read: {error.found}"
        return (*found, GroupingFacts("", problem, recognised=True))
