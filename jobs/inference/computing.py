"""The computation behind the protocol: rows through the engine into a part, parts through the merge into results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from jobs.engine.annotator import Annotator, CellBlock
from jobs.engine.device import choose_device, describe_device, one_thread
from jobs.engine.streaming import scored
from jobs.inference.data_manager import InferenceData, Job
from jobs.inference.memory import give_back, peak_rss_bytes
from jobs.inference.merging import ordered
from jobs.inference.parts import AnnotatedBlock, iter_part
from jobs.inference.protocol import Computation
from shared.domain.errors import InternalError
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator
from shared.domain.submission import Receipt, Result, Submission
from shared.domain.verdict import MatrixChoice
from shared.h5ad.genes import features_of, map_genes
from shared.h5ad.inspection import inspect
from shared.h5ad.rows import CellIds, MatrixReader, open_cell_ids, open_matrix, read_genes
from shared.telemetry import event

log = logging.getLogger(__name__)

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Annotation(Computation):
    """Real cells, real torch."""

    data: InferenceData
    accelerator: Accelerator

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says; memory is bounded by the reader's window and one block's scores, or a GPU's batches."""
        began_s = time.monotonic()
        device = choose_device(self.accelerator)
        facts = describe_device(device)
        event(log, "device found", accelerator=self.accelerator, facts=facts)
        job = self.data.open_job(record)
        inspect(job.source)  # The file is scanned again: this process parses it, whoever looked at it before.
        beat(0)
        features = gene_to_feature(job)
        annotator = Annotator(job.card, job.weights, features, matrix_of(job).state, device)
        source, job = job.source, replace(job, weights={})  # The annotator has them in its own form.
        give_back()
        with one_thread(), open_matrix(source, matrix_of(job)) as matrix, open_cell_ids(source) as cells:
            blocks = _blocks(_Reading(matrix, rows, features, beat), cells, annotator)
            info = self.data.write_part(part_name, iter_part(blocks, job.layout))
        assert info.crc32c is not None
        seconds = round(time.monotonic() - began_s, 3)
        return Receipt(info.ref, info.size_bytes, info.crc32c, rows, seconds, peak_rss_bytes(), facts)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says; streams, and never holds two parts."""
        began_s = time.monotonic()
        from jobs.inference.results import Results  # noqa: PLC0415  # two seconds that tasks which only compute are spared

        job = self.data.open_job(record)
        inspect(job.source)
        return Results(self.data, job, ordered(receipts, job.layout.n_cells), prefix, beat, began_s).write()

    def discard(self, prefix: str) -> None:
        """As the protocol says."""
        self.data.discard(prefix)


@dataclass(slots=True)
class _Reading:
    """A task's blocks, with a sign of life for each: a GPU is given several before the first scores come out."""

    matrix: MatrixReader
    rows: Rows
    features: np.ndarray[tuple[int], np.dtype[np.int32]]
    beat: Callable[[int], None]
    done: int = 0

    def __call__(self, then: Callable[[CellBlock], Made], /) -> Iterator[Made]:
        for result in self.matrix.projected(self.rows, self.features, then):
            self.beat(self.done)
            yield result

    def scored(self, rows: Rows) -> None:
        """These are done."""
        self.done = rows.stop - self.rows.start
        self.beat(self.done)


def _blocks(reading: _Reading, cells: CellIds, annotator: Annotator) -> Iterator[AnnotatedBlock]:
    for scores in scored(reading, annotator):
        yield AnnotatedBlock(
            rows=scores.rows,
            cell_ids=cells.ids(scores.rows),
            probability_nl=scores.probability_nl,
            decision_nl=scores.decision_nl,
            n_counts_n=scores.n_counts_n,
            n_genes_n=scores.n_genes_n,
        )
        reading.scored(scores.rows)


def gene_to_feature(job: Job) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """For each gene of the chosen matrix the position of its feature in the model, or -1; int32."""
    verdict = job.record.verdict
    if verdict is None or verdict.genes is None:
        raise InternalError("a submission without a gene space was dispatched", expected="an accepted verdict")
    ids = read_genes(job.source, verdict)
    return np.array(map_genes(ids, features_of(job.card.features, verdict.genes.kind)), dtype=np.int32)


def matrix_of(job: Job) -> MatrixChoice:
    """The matrix that the verdict chose."""
    verdict = job.record.verdict
    if verdict is None or verdict.matrix is None:
        raise InternalError("a submission without a matrix was dispatched", expected="an accepted verdict")
    return verdict.matrix
