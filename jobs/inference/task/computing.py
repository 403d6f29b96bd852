"""The computation behind the protocol: rows through the engine into a part, parts through the merge into results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jobs.inference.data_manager import InferenceData, OpenedInput
from jobs.inference.merge.groups import ordered
from jobs.inference.process.memory import loading, peak_rss_bytes, within_memory
from jobs.inference.process.pulse import Pulse, ShowingSource
from jobs.inference.task.protocol import Computation
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator
from shared.domain.submission import Receipt, Result, Submission
from shared.h5ad.inspect.inspection import inspect
from shared.telemetry import event

log = logging.getLogger(__name__)


MAP_BUDGET_S = 120.0
"""Forty times what it takes on a core of its own."""


@dataclass(frozen=True, slots=True)
class Annotation(Computation):
    """Real cells, real torch; the beats come from a thread beside them.

    Attributes:
        map_budget_s: How long the report's map may take; then it is left out.
    """

    data: InferenceData
    accelerator: Accelerator
    map_budget_s: float = MAP_BUDGET_S

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says."""
        progress = _Progress(beat)
        with within_memory(), Pulse(progress.beat) as pulse:
            progress.show = pulse.show
            return self._annotate(record, rows, part_name, progress, pulse)

    def _annotate(self, record: Submission, rows: Rows, part_name: str, progress: _Progress, pulse: Pulse) -> Receipt:
        """Torch loads here, and on a CPU the file is looked through meanwhile."""
        with ThreadPoolExecutor(1, thread_name_prefix="celldrop-look") as beside:
            look = self._looked_through
            looked = beside.submit(look, record, pulse, rows) if self.accelerator is Accelerator.CPU else None
            with pulse.stage("load torch"), loading():
                from jobs.engine.device import choose_device, describe_device  # noqa: PLC0415  # it imports torch
                from jobs.inference.task.scoring import write_scores  # noqa: PLC0415  # likewise

            began_s = time.monotonic()  # Loading libraries is part of the start, as the planner reckons it.
            device = choose_device(self.accelerator)
            facts = describe_device(device)
            event(log, "device found", accelerator=self.accelerator, facts=facts)
            opened = looked.result() if looked else look(record, pulse, rows)
        with pulse.stage("load the model"):
            inputs = self.data.open_inputs(record, opened)
        with pulse.stage("score the cells"):
            scored = write_scores(self.data, inputs, rows, part_name, device, progress.done)
        info = scored.info
        assert info.crc32c is not None
        return Receipt(
            part=info.ref,
            size_bytes=info.size_bytes,
            crc32c=info.crc32c,
            rows=rows,
            seconds=round(time.monotonic() - began_s, 3),
            peak_rss_bytes=peak_rss_bytes(),
            device=facts,
            n_converted=scored.n_converted,
            n_unclear=scored.n_unclear,
            n_silent=scored.n_silent,
        )

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says; streams, and never holds two parts."""
        with within_memory(), Pulse(beat) as pulse:
            began_s = time.monotonic()
            with pulse.stage("load the merge's libraries"), loading():
                from jobs.inference.task.results import Results  # noqa: PLC0415  # what tasks that only compute are spared

            opened = self._looked_through(record, pulse)
            with pulse.stage("load the model"):
                inputs = replace(self.data.open_inputs(record, opened), weights=b"")
            in_order = ordered(receipts, inputs.layout.n_cells)
            return Results(self.data, inputs, in_order, prefix, pulse, began_s, self.map_budget_s).write()

    def discard(self, prefix: str) -> None:
        """As the protocol says."""
        self.data.discard(prefix)

    def _looked_through(self, record: Submission, pulse: Pulse, rows: Rows | None = None) -> OpenedInput:
        """The input, scanned again: this process parses it, and the ids of ``rows``, whoever looked at it before."""
        with pulse.stage("look through the file"):
            opened = self.data.open_input(record)
            source = ShowingSource(opened.source, pulse.sign)
            chosen = record.verdict.matrix if record.verdict else None
            inspect(source, matrix=chosen.path if chosen else None, rows=rows, merge=rows is None)
        return OpenedInput(opened.info, source)


@dataclass(slots=True)
class _Progress:
    """How far a task is, for the beats."""

    shown: Callable[[int], None]
    rows_done: int = 0
    show: Callable[[], None] = lambda: None

    def beat(self) -> None:
        """Tell it."""
        self.shown(self.rows_done)

    def done(self, rows: int) -> None:
        """So far; a sign of life."""
        self.rows_done = rows
        self.show()
