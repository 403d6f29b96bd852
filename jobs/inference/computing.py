"""The computation behind the protocol: rows through the engine into a part, parts through the merge into results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jobs.inference.data_manager import InferenceData, OpenedInput
from jobs.inference.memory import loading, peak_rss_bytes
from jobs.inference.merging import ordered
from jobs.inference.protocol import Computation
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator
from shared.domain.submission import Receipt, Result, Submission
from shared.h5ad.inspection import inspect
from shared.telemetry import event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Annotation(Computation):
    """Real cells, real torch."""

    data: InferenceData
    accelerator: Accelerator

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says; torch loads here, and on a CPU the file is looked through meanwhile."""
        with ThreadPoolExecutor(1, thread_name_prefix="celldrop-look") as beside:
            looked = beside.submit(self._looked_through, record, rows) if self.accelerator is Accelerator.CPU else None
            with loading():
                from jobs.engine.device import choose_device, describe_device  # noqa: PLC0415  # it imports torch
                from jobs.inference.scoring import write_scores  # noqa: PLC0415  # likewise

            began_s = time.monotonic()  # Loading libraries is part of the start, as the planner reckons it.
            device = choose_device(self.accelerator)
            facts = describe_device(device)
            event(log, "device found", accelerator=self.accelerator, facts=facts)
            opened = looked.result() if looked else self._looked_through(record, rows)
        beat(0)
        scored = write_scores(self.data, self.data.open_job(record, opened), rows, part_name, device, beat)
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
        )

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says; streams, and never holds two parts."""
        began_s = time.monotonic()
        with loading():
            from jobs.inference.results import Results  # noqa: PLC0415  # what tasks that only compute are spared

        job = replace(self.data.open_job(record, self._looked_through(record)), weights=b"")
        return Results(self.data, job, ordered(receipts, job.layout.n_cells), prefix, beat, began_s).write()

    def discard(self, prefix: str) -> None:
        """As the protocol says."""
        self.data.discard(prefix)

    def _looked_through(self, record: Submission, rows: Rows | None = None) -> OpenedInput:
        """The input, scanned again: this process parses it, and the ids of ``rows``, whoever looked at it before."""
        opened = self.data.open_input(record)
        inspect(opened.source, rows=rows)
        return opened
