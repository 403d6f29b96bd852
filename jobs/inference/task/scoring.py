"""Scores rows of a file into a part. Importing this module loads torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
import torch

from jobs.engine.annotator import Annotator, BlockScores, CellBlock
from jobs.engine.device import one_thread
from jobs.engine.embedding import learn, sampled_ranges
from jobs.engine.facts import CellFacts
from jobs.engine.sampling import SampledCells, every
from jobs.engine.streaming import scored
from jobs.inference.data_manager import InferenceData, TaskInputs
from jobs.inference.parts.part import AnnotatedBlock, iter_part
from jobs.inference.process.memory import give_back
from jobs.inference.task.mitochondria import Mitochondria
from jobs.inference.task.models import parse_weights
from shared.domain.errors import InternalError
from shared.domain.geometry import Rows
from shared.domain.verdict import CellNote, MatrixChoice, MatrixEncoding, MatrixState
from shared.h5ad.read.csc import BAND_VALUES
from shared.h5ad.read.rows import CellIds, MatrixReader, features_among, open_cell_ids, open_matrix, read_gene_names
from shared.ports.blobs import BlobInfo

Int32s = np.ndarray[tuple[int], np.dtype[np.int32]]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Scored:
    """A written part.

    Attributes:
        n_converted: Cells with values of another kind than the rest, which were converted.
        n_unclear: Cells with values of another, unknown kind, which were not converted.
        n_silent: Cells without a value of any of the model's genes.
    """

    info: BlobInfo
    n_converted: int
    n_unclear: int
    n_silent: int


class Progress(Protocol):
    """Who is told how a task gets on."""

    def done(self, rows: int) -> None:
        """So many rows are done."""

    def sign(self) -> None:
        """Give a sign of life, from any thread."""


def write_scores(
    data: InferenceData,
    inputs: TaskInputs,
    rows: Rows,
    part_name: str,
    device: torch.device,
    progress: Progress,
) -> Scored:
    """Score the cells of ``rows`` into a part.

    Memory is bounded by the reader's window and the scores of one block, or by the batches of a GPU.

    Args:
        progress: Told often.
    """
    beat = progress.done
    features, genes, mitochondria = find_features(inputs)
    weights = parse_weights(inputs.weights, where=inputs.card.reference)
    source, inputs = inputs.source, replace(inputs, weights=b"")
    choice = matrix_of(inputs)
    counted = choice.state is MatrixState.COUNTS
    annotator = Annotator(inputs.card, weights, features, device, as_it_is=choice.as_it_is, counted=counted)
    annotator.give_signs(progress.sign)
    del weights  # The annotator keeps a copy in its own form.
    give_back()
    tally = Counter[int]()
    with one_thread(), open_matrix(source, choice) as matrix, open_cell_ids(source) as cells:
        if inputs.layout.dimensions:
            sample = _sample(matrix, features, annotator, lambda: beat(0), at_once=_is_read_at_once(choice))
            annotator.projection = learn(sample, annotator.n_features, inputs.layout.dimensions).to(device)
            del sample
            give_back()
        sampler = _Sampler(annotator, inputs.layout.map_stride, genes)
        reading = _Reading(matrix, rows, features, beat, sampler, mitochondria if counted else None)
        blocks = _blocks(reading, cells, annotator, counted=counted)
        info = data.write_part(part_name, iter_part(_tallied(blocks, tally), inputs.layout))
    return Scored(info, tally[CellNote.CONVERTED], tally[CellNote.UNCLEAR], tally[CellNote.SILENT])


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Keeps the expression of the sampled cells of each block until its scores are there.

    Attributes:
        genes: The file's name of each of the model's features; None for a feature that it lacks.
    """

    annotator: Annotator
    stride: int
    genes: tuple[str | None, ...]
    cells: dict[int, SampledCells] = field(default_factory=dict)

    def looking(self, then: Callable[[CellBlock], Made]) -> Callable[[CellBlock], Made]:
        """Look at each block before ``then`` gets it, in the thread that read it."""

        def looked(block: CellBlock) -> Made:
            place_m = every(self.stride, block.rows.start, len(block.rows))
            self.cells[block.rows.start] = self.annotator.sampled(block, place_m)
            return then(block)

        return looked


@dataclass(slots=True)
class _Reading:
    """Reads a task's blocks, with a sign of life for each, because a GPU gets several before the first scores."""

    matrix: MatrixReader
    rows: Rows
    features: Int32s
    beat: Callable[[int], None]
    sampler: _Sampler
    mitochondria: Mitochondria | None = None
    done: int = 0

    def __call__(self, then: Callable[[CellBlock], Made], /) -> Iterator[Made]:
        for result in self._projected(self.sampler.looking(then)):
            self.beat(self.done)
            yield result

    def _projected(self, looking: Callable[[CellBlock], Made]) -> Iterator[Made]:
        if self.mitochondria is None:
            return self.matrix.projected(self.rows, self.features, looking)
        return self.matrix.projected(self.rows, self.mitochondria.feature_g, self.mitochondria.looking(looking))

    def facts(self, scores: BlockScores, *, counted: bool) -> CellFacts:
        """The facts of a block's cells, with those that were taken as it was read."""
        mito_n = None if self.mitochondria is None else self.mitochondria.share_of.pop(scores.rows.start)
        facts = scores.facts if counted else replace(scores.facts, total_n=None)
        return replace(facts, mito_n=mito_n)

    def scored(self, rows: Rows) -> None:
        """Count rows as done."""
        self.done = rows.stop - self.rows.start
        self.beat(self.done)


def _is_read_at_once(choice: MatrixChoice) -> bool:
    """Whether reading all rows of a matrix takes less time than the sampled ranges.

    Of a matrix stored by columns, every range of rows needs all of it, and so does every band of ``BAND_VALUES``.
    """
    ranges = len(sampled_ranges(choice.n_cells))
    return choice.encoding is MatrixEncoding.CSC and choice.nnz <= ranges * BAND_VALUES


def _sample(
    matrix: MatrixReader, features: Int32s, annotator: Annotator, beat: Callable[[], None], *, at_once: bool
) -> list[SampledCells]:
    """The expression of the cells that the embedding is learned from, the same in every task.

    Args:
        at_once: Whether to read all rows instead of each range.
    """
    ranges = {rows.start: rows for rows in sampled_ranges(matrix.n_cells)}
    read = (Rows(0, matrix.n_cells),) if at_once else ranges.values()

    def sampled(block: CellBlock) -> SampledCells | None:
        chosen = ranges.get(block.rows.start)
        return annotator.sampled(block, np.arange(len(chosen))) if chosen else None

    found = []
    for rows in read:
        found += [one for one in matrix.projected(rows, features, sampled) if one is not None]
        beat()
    return found


def _blocks(reading: _Reading, cells: CellIds, annotator: Annotator, *, counted: bool) -> Iterator[AnnotatedBlock]:
    for scores in scored(reading, annotator):
        yield AnnotatedBlock(
            rows=scores.rows,
            cell_ids=cells.ids(scores.rows),
            probability_nl=scores.probability_nl,
            decision_nl=scores.decision_nl,
            facts=reading.facts(scores, counted=counted),
            embedding_nd=scores.embedding_nd,
            sampled=reading.sampler.cells.pop(scores.rows.start),
            genes=None if scores.rows.start else reading.sampler.genes,
        )
        reading.scored(scores.rows)


def _tallied(blocks: Iterator[AnnotatedBlock], tally: Counter[int]) -> Iterator[AnnotatedBlock]:
    """Pass blocks through, and count the notes of their cells."""
    for block in blocks:
        if block.facts.note_n.any():
            tally.update(block.facts.note_n.tolist())
        yield block


def find_features(inputs: TaskInputs) -> tuple[Int32s, tuple[str | None, ...], Mitochondria | None]:
    """Find the model's features in the file, and the mitochondrial genes.

    Returns:
        For the genes of the chosen matrix, the position of each among the card's genes, or -1, int32; and the name in
        the file of each feature, None if the file lacks it. If several genes are one feature, the first names it.
        And what adds up the counts of mitochondrial genes; None if there are too few.
    """
    verdict = inputs.record.verdict
    if verdict is None or verdict.genes is None:
        raise InternalError("a submission without a gene space was dispatched", expected="an accepted verdict")
    card = inputs.card
    names = read_gene_names(inputs.source, verdict)
    found_g = features_among(names, card.features, card.species, card.watched)
    feature, first = np.unique(found_g, return_index=True)
    named: dict[int, str] = {f: names.ids[g] for f, g in zip(feature.tolist(), first.tolist(), strict=True)}
    return found_g, tuple(named.get(f) for f in range(len(card.features))), Mitochondria.among(names.ids, found_g)


def matrix_of(inputs: TaskInputs) -> MatrixChoice:
    """The matrix chosen by the verdict."""
    verdict = inputs.record.verdict
    if verdict is None or verdict.matrix is None:
        raise InternalError("a submission without a matrix was dispatched", expected="an accepted verdict")
    return verdict.matrix
