"""The computation of a task: scores rows into a part, and merges parts into results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.inference.data_manager import InferenceData, OpenedInput, is_embedded
from jobs.inference.merge.groups import ordered
from jobs.inference.process.memory import loading, peak_rss_bytes, within_memory
from jobs.inference.process.pulse import Pulse, ShowingSource
from jobs.inference.task.looking import inspect_for_merge
from jobs.inference.task.protocol import Computation
from shared.domain.geometry import Rows
from shared.domain.options import parse_options
from shared.domain.plan import Accelerator
from shared.domain.submission import Receipt, Result, Submission
from shared.h5ad.inspect.inspection import inspect
from shared.h5ad.inspect.plan import Plan
from shared.telemetry import event

log = logging.getLogger(__name__)


MAP_BUDGET_S = 120.0
"""Forty times the time of a map on an idle core."""


@dataclass(frozen=True, slots=True)
class Annotation(Computation):
    """The computation with torch on real files. A separate thread gives the heartbeats.

    Attributes:
        map_budget_s: Time limit for the report's map, in seconds, after which it is left out.
    """

    data: InferenceData
    accelerator: Accelerator
    map_budget_s: float = MAP_BUDGET_S

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """See ``Computation``."""
        progress = _Progress(beat)
        with within_memory(), Pulse(progress.beat) as pulse:
            progress.show, progress.signal = pulse.show, pulse.sign
            return self._annotate(record, rows, part_name, progress, pulse)

    def _annotate(self, record: Submission, rows: Rows, part_name: str, progress: _Progress, pulse: Pulse) -> Receipt:
        """Load torch, inspect the file (in parallel, for a CPU task), and score the rows."""
        with ThreadPoolExecutor(1, thread_name_prefix="celldrop-inspect") as pool:
            inspected = self._open_inspected
            opening = pool.submit(inspected, record, pulse, rows) if self.accelerator is Accelerator.CPU else None
            with pulse.stage("load torch"), loading():
                from jobs.engine.device import choose_device, describe_device  # noqa: PLC0415  # it imports torch
                from jobs.inference.task.scoring import write_scores  # noqa: PLC0415  # likewise

            began_s = time.monotonic()  # The planner counts loading of libraries as part of the start.
            device = choose_device(self.accelerator)
            facts = describe_device(device)
            event(log, "device found", accelerator=self.accelerator, facts=facts)
            opened = opening.result() if opening else inspected(record, pulse, rows)
        with pulse.stage("load the model"):
            inputs = self.data.open_inputs(record, opened)
        with pulse.stage("score the cells"):
            scored = write_scores(self.data, inputs, rows, part_name, device, progress)
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
            coverage=scored.coverage,
        )

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """See ``Computation``. Parts are streamed, never held in memory together."""
        with within_memory(), Pulse(beat) as pulse:
            began_s = time.monotonic()
            with pulse.stage("load the merge's libraries"), loading():
                from jobs.inference.task.looking_up import known_of  # noqa: PLC0415  # not needed by tasks that only compute
                from jobs.inference.task.results import Results  # noqa: PLC0415  # likewise

            opened = self._open_inspected(record, pulse)
            with pulse.stage("load the model"):
                inputs = self.data.open_inputs(record, opened)
                known = known_of(inputs)
                inputs.drop_weights()
            in_order = ordered(receipts, inputs.layout.n_cells)
            return Results(self.data, inputs, known, in_order, prefix, pulse, began_s, self.map_budget_s).write()

    def discard(self, prefix: str) -> None:
        """See ``Computation``."""
        self.data.discard(prefix)

    def _open_inspected(self, record: Submission, pulse: Pulse, rows: Rows | None = None) -> OpenedInput:
        """Open the input and inspect it again, with the cell ids of ``rows``, because this process will parse it."""
        with pulse.stage("inspect the file"):
            opened = self.data.open_input(record)
            source = ShowingSource(opened.source, pulse.sign)
            chosen = record.verdict.matrix if record.verdict else None
            matrix = chosen.path if chosen else None
            if rows is not None:
                wanted = parse_options(record.requested).clusters
                inspect(source, matrix=matrix, plan=Plan(rows, elsewhere=is_embedded(record, wanted)))
                return OpenedInput(opened.info, source)
            return OpenedInput(opened.info, source, inspect_for_merge(source, record, matrix))


@dataclass(slots=True)
class _Progress:
    """The progress of a task, for its heartbeats."""

    shown: Callable[[int], None]
    rows_done: int = 0
    show: Callable[[], None] = lambda: None
    signal: Callable[[], None] = lambda: None

    def beat(self) -> None:
        """Report the number of rows done."""
        self.shown(self.rows_done)

    def done(self, rows: int) -> None:
        """Set the number of rows done, and give a sign of life."""
        self.rows_done = rows
        self.show()

    def sign(self) -> None:
        """Give a sign of life from within a library, in any thread."""
        self.signal()
